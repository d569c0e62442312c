//! What TPPs do, and pass on.

use super::*;

#[tokio::test]
async fn through_a_tpp_it_goes_step_by_step() {
    let scene = Scene::set().await;
    let tpp = scene.tpp.organisation();
    let consent = scene.consent(balances(&[HERS])).await;
    let id = scene
        .start(&consent, ScaApproach::Embedded, Some(&psu("anna")))
        .await
        .unwrap()
        .id;
    let early = scene
        .authorisations
        .authorise(tpp, &consent, &id, "000000")
        .await;
    assert!(
        matches!(
            early,
            Err(AuthorisationError::OutOfTurn(ScaStatus::PsuIdentified))
        ),
        "{early:?}"
    );
    let wrong = scene
        .authorisations
        .authenticate(tpp, &consent, &id, None, "wrong horse")
        .await;
    assert!(
        matches!(
            wrong,
            Err(AuthorisationError::Sca(ScaError::WrongCredentials))
        ),
        "{wrong:?}"
    );
    let step = scene
        .authorisations
        .authenticate(tpp, &consent, &id, None, PASSWORD)
        .await
        .unwrap();
    assert_eq!(step.authorisation.status, ScaStatus::ScaMethodSelected);
    assert_eq!(step.challenge, Some(Challenge::Code { digits: 6 }));
    let code = code_at(&secret("anna"), scene.clock.now().timestamp());
    let foreign = scene
        .authorisations
        .authorise(scene.other.organisation(), &consent, &id, &code)
        .await;
    assert!(
        matches!(foreign, Err(AuthorisationError::Unknown)),
        "{foreign:?}"
    );
    let done = scene
        .authorisations
        .authorise(tpp, &consent, &id, &code)
        .await
        .unwrap();
    assert_eq!(done.authorisation.status, ScaStatus::Finalised);
    assert_eq!(scene.status(&consent).await, ConsentStatus::Valid);
}

#[tokio::test]
async fn a_code_for_one_authorisation_is_no_good_for_another_and_none_works_twice() {
    let scene = Scene::set().await;
    let tpp = scene.tpp.organisation();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let consent = scene.consent(balances(&[HERS])).await;
        let id = scene
            .start(&consent, ScaApproach::Embedded, Some(&psu("anna")))
            .await
            .unwrap()
            .id;
        scene
            .authorisations
            .authenticate(tpp, &consent, &id, None, PASSWORD)
            .await
            .unwrap();
        ids.push((consent, id));
    }
    let [(first, first_id), (second, second_id)] = [&ids[0], &ids[1]];
    // The second was asked for last: its codes begin with the next step, and the first gets none.
    let code = code_at(&secret("anna"), scene.clock.now().timestamp());
    let taken = scene
        .authorisations
        .authorise(tpp, first, first_id, &code)
        .await;
    assert!(
        matches!(taken, Err(AuthorisationError::Sca(ScaError::NoChallenge))),
        "{taken:?}"
    );
    let taken = scene
        .authorisations
        .authorise(tpp, second, second_id, &code)
        .await;
    assert!(
        matches!(taken, Err(AuthorisationError::Sca(ScaError::Taken))),
        "{taken:?}"
    );
    scene.clock.advance(TimeDelta::seconds(30));
    let code = code_at(&secret("anna"), scene.clock.now().timestamp());
    scene
        .authorisations
        .authorise(tpp, second, second_id, &code)
        .await
        .unwrap();
    scene
        .authorisations
        .select(tpp, first, first_id, MethodId::Totp)
        .await
        .unwrap();
    let replayed = scene
        .authorisations
        .authorise(tpp, first, first_id, &code)
        .await;
    assert!(
        matches!(replayed, Err(AuthorisationError::Sca(ScaError::Taken))),
        "{replayed:?}"
    );
}

#[tokio::test]
async fn five_wrong_codes_end_an_authorisation() {
    let scene = Scene::set().await;
    let tpp = scene.tpp.organisation();
    let consent = scene.consent(balances(&[HERS])).await;
    let id = scene
        .start(&consent, ScaApproach::Embedded, Some(&psu("anna")))
        .await
        .unwrap()
        .id;
    scene
        .authorisations
        .authenticate(tpp, &consent, &id, None, PASSWORD)
        .await
        .unwrap();
    for left in (0..5).rev() {
        let wrong = scene
            .authorisations
            .authorise(tpp, &consent, &id, "000000")
            .await;
        let Err(AuthorisationError::Sca(ScaError::WrongAnswer { attempts_left })) = wrong else {
            panic!("{wrong:?}")
        };
        assert_eq!(attempts_left, left);
    }
    let found = scene.authorisations.find(tpp, &consent, &id).await.unwrap();
    assert_eq!(found.status, ScaStatus::Failed);
    assert_eq!(
        scene.status(&consent).await,
        ConsentStatus::Received,
        "another may be started"
    );
}

#[tokio::test]
async fn a_tpp_confirms_with_the_code_that_its_own_customer_brings() {
    let scene = Scene::with(|rules| rules.confirmation_code = true).await;
    let tpp = scene.tpp.organisation();
    let consent = scene.consent(balances(&[HERS])).await;
    let done = scene.approve(&consent, "anna").await.unwrap();
    assert_eq!(done.consent_status, ConsentStatus::Received);
    let id = scene.authorisations.list(tpp, &consent).await.unwrap()[0]
        .id
        .clone();
    assert_eq!(
        scene
            .authorisations
            .find(tpp, &consent, &id)
            .await
            .unwrap()
            .status,
        ScaStatus::Unconfirmed
    );
    let uri = done.return_to.unwrap();
    assert!(
        uri.as_str()
            .starts_with("https://tpp.example/back?state=7&code="),
        "{uri}"
    );
    let code = uri.query_pairs().last().unwrap().1.into_owned();
    let confirmed = scene
        .authorisations
        .confirm(tpp, &consent, &id, &code)
        .await
        .unwrap();
    assert_eq!(confirmed.authorisation.status, ScaStatus::Finalised);
    assert_eq!(scene.status(&consent).await, ConsentStatus::Valid);
    // With another code there is no second try.
    let consent = scene.consent(balances(&[HERS])).await;
    scene.approve(&consent, "anna").await.unwrap();
    let id = scene.authorisations.list(tpp, &consent).await.unwrap()[0]
        .id
        .clone();
    let wrong = scene
        .authorisations
        .confirm(tpp, &consent, &id, &code)
        .await;
    assert!(
        matches!(wrong, Err(AuthorisationError::WrongConfirmation)),
        "{wrong:?}"
    );
    assert_eq!(
        scene
            .authorisations
            .find(tpp, &consent, &id)
            .await
            .unwrap()
            .status,
        ScaStatus::Failed
    );
    assert_eq!(scene.status(&consent).await, ConsentStatus::Received);
}

#[tokio::test]
async fn a_list_of_accounts_can_be_exempted() {
    let scene = Scene::with(|rules| rules.exempt_account_list = true).await;
    let tpp = scene.tpp.organisation();
    let list = scene
        .consent(json!({ "availableAccounts": "allAccounts" }))
        .await;
    let id = scene
        .start(&list, ScaApproach::Embedded, Some(&psu("lucas")))
        .await
        .unwrap()
        .id;
    let step = scene
        .authorisations
        .authenticate(tpp, &list, &id, None, PASSWORD)
        .await
        .unwrap();
    assert_eq!(step.authorisation.status, ScaStatus::Exempted);
    let more = scene.consent(balances(&[HERS])).await;
    let id = scene
        .start(&more, ScaApproach::Embedded, Some(&psu("anna")))
        .await
        .unwrap()
        .id;
    let step = scene
        .authorisations
        .authenticate(tpp, &more, &id, None, PASSWORD)
        .await
        .unwrap();
    assert_eq!(step.authorisation.status, ScaStatus::ScaMethodSelected);
}

#[tokio::test]
async fn a_request_has_one_effect_and_a_consent_a_bounded_number_of_authorisations() {
    let scene = Scene::set().await;
    let consent = scene.consent(balances(&[HERS])).await;
    let mut start = Start {
        tpp: scene.tpp.organisation(),
        consent_id: &consent,
        request_id: SystemRandomness.uuid(),
        digest: "x",
        psu: None,
        approach: ScaApproach::Redirect,
        redirect_uri: None,
        nok_redirect_uri: None,
    };
    let first = scene.authorisations.start(start).await.unwrap();
    assert_eq!(scene.authorisations.start(start).await.unwrap(), first);
    let other = scene
        .authorisations
        .start(Start {
            digest: "y",
            ..start
        })
        .await;
    assert!(
        matches!(other, Err(AuthorisationError::OtherRequest)),
        "{other:?}"
    );
    for _ in 1..PER_CONSENT {
        start.request_id = SystemRandomness.uuid();
        scene.authorisations.start(start).await.unwrap();
    }
    start.request_id = SystemRandomness.uuid();
    let more = scene.authorisations.start(start).await;
    assert!(matches!(more, Err(AuthorisationError::TooMany)), "{more:?}");
    start.tpp = scene.other.organisation();
    let foreign = scene.authorisations.start(start).await;
    assert!(
        matches!(foreign, Err(AuthorisationError::NoSuchConsent)),
        "{foreign:?}"
    );
}

#[tokio::test]
async fn two_customers_with_nothing_in_common_do_not_make_up_for_each_other() {
    // With a confirmation, both can approve before either counts.
    let scene = Scene::with(|rules| rules.confirmation_code = true).await;
    let tpp = scene.tpp.organisation();
    let consent = scene.consent(json!({ "allPsd2": "allAccounts" })).await;
    let mut codes = Vec::new();
    for name in ["anna", "lucas"] {
        let done = scene.approve(&consent, name).await.unwrap();
        codes.push(
            done.return_to
                .unwrap()
                .query_pairs()
                .last()
                .unwrap()
                .1
                .into_owned(),
        );
    }
    let ids: Vec<String> = scene
        .authorisations
        .list(tpp, &consent)
        .await
        .unwrap()
        .into_iter()
        .map(|one| one.id)
        .collect();
    let mut confirmed = Vec::new();
    // Each with its own code, which is right: one wrong code would end it before anything counts.
    for (id, code) in ids.iter().zip(&codes) {
        let outcome = scene.authorisations.confirm(tpp, &consent, id, code).await;
        confirmed.push(outcome.is_ok());
    }
    assert_eq!(
        confirmed.iter().filter(|confirmed| **confirmed).count(),
        1,
        "{confirmed:?}"
    );
    assert_eq!(
        scene.status(&consent).await,
        ConsentStatus::PartiallyAuthorised
    );
}

#[tokio::test]
async fn who_has_logged_in_at_the_bank_is_not_the_tpps_to_find_out() {
    let scene = Scene::set().await;
    let tpp = scene.tpp.organisation();
    let consent = scene.consent(balances(&[HERS])).await;
    let id = scene
        .start(&consent, ScaApproach::Redirect, None)
        .await
        .unwrap()
        .id;
    scene.authorisations.claim(&id, &psu("anna")).await.unwrap();
    for guess in ["anna", "lucas", "nobody"] {
        let asked = scene
            .authorisations
            .identify(tpp, &consent, &id, &psu(guess))
            .await;
        assert!(
            matches!(
                asked,
                Err(AuthorisationError::OutOfTurn(ScaStatus::PsuAuthenticated))
            ),
            "{asked:?}"
        );
    }
}
