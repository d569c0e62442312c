//! Tests of requests by TPPs, with and without the customer's credentials.

use super::*;

#[tokio::test]
async fn through_a_tpp_it_goes_step_by_step() {
    let scene = Scene::set().await;
    let tpp = scene.tpp.organisation();
    let consent = scene.consent(balances(&[HERS])).await;
    let id = scene
        .started(&consent, ScaApproach::Embedded, Some(&psu("anna")))
        .await;
    let early = scene
        .authorisations
        .authorise(key(tpp, &consent, &id), "000000")
        .await;
    assert_refused!(
        early,
        AuthorisationError::OutOfTurn(ScaStatus::PsuIdentified)
    );
    let wrong = scene
        .authorisations
        .authenticate(key(tpp, &consent, &id), None, "wrong horse")
        .await;
    assert_refused!(wrong, AuthorisationError::Sca(ScaError::WrongCredentials));
    let step = scene
        .authorisations
        .authenticate(key(tpp, &consent, &id), None, PASSWORD)
        .await
        .unwrap();
    assert_eq!(step.authorisation.status, ScaStatus::ScaMethodSelected);
    let Some(Challenge::Code(data)) = &step.challenge else {
        panic!("{:?}", step.challenge);
    };
    assert_eq!(data.otp_max_length, Some(6));
    let code = code_at(&secret("anna"), scene.clock.now().timestamp());
    let foreign = scene
        .authorisations
        .authorise(key(scene.other.organisation(), &consent, &id), &code)
        .await;
    assert_refused!(foreign, AuthorisationError::Unknown);
    let done = scene
        .authorisations
        .authorise(key(tpp, &consent, &id), &code)
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
            .authenticate(key(tpp, &consent, &id), None, PASSWORD)
            .await
            .unwrap();
        ids.push((consent, id));
    }
    let [(first, first_id), (second, second_id)] = [&ids[0], &ids[1]];
    // The second was asked for last: its codes begin with the next step, and the first gets none.
    let code = code_at(&secret("anna"), scene.clock.now().timestamp());
    let taken = scene
        .authorisations
        .authorise(key(tpp, first, first_id), &code)
        .await;
    assert_refused!(taken, AuthorisationError::Sca(ScaError::NoChallenge));
    let taken = scene
        .authorisations
        .authorise(key(tpp, second, second_id), &code)
        .await;
    assert_refused!(taken, AuthorisationError::Sca(ScaError::Taken));
    scene.clock.advance(TimeDelta::seconds(30));
    let code = code_at(&secret("anna"), scene.clock.now().timestamp());
    scene
        .authorisations
        .authorise(key(tpp, second, second_id), &code)
        .await
        .unwrap();
    scene
        .authorisations
        .select(key(tpp, first, first_id), MethodId::Totp)
        .await
        .unwrap();
    let replayed = scene
        .authorisations
        .authorise(key(tpp, first, first_id), &code)
        .await;
    assert_refused!(replayed, AuthorisationError::Sca(ScaError::Taken));
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
        .authenticate(key(tpp, &consent, &id), None, PASSWORD)
        .await
        .unwrap();
    for left in (0..5).rev() {
        let wrong = scene
            .authorisations
            .authorise(key(tpp, &consent, &id), "000000")
            .await;
        let Err(AuthorisationError::Sca(ScaError::WrongAnswer { attempts_left })) = wrong else {
            panic!("{wrong:?}")
        };
        assert_eq!(attempts_left, left);
    }
    let found = scene
        .authorisations
        .find(key(tpp, &consent, &id))
        .await
        .unwrap();
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
            .find(key(tpp, &consent, &id))
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
        .confirm(key(tpp, &consent, &id), &code)
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
        .confirm(key(tpp, &consent, &id), &code)
        .await;
    assert!(
        matches!(wrong, Err(AuthorisationError::WrongConfirmation)),
        "{wrong:?}"
    );
    assert_eq!(
        scene
            .authorisations
            .find(key(tpp, &consent, &id))
            .await
            .unwrap()
            .status,
        ScaStatus::Failed
    );
    assert_eq!(scene.status(&consent).await, ConsentStatus::Received);
}

/// Passes a password on for a list of accounts. Returns where that leads.
async fn list_by_password(scene: &Scene, tpp: &Tpp, name: &str) -> ScaStatus {
    let list = scene
        .consent_of(tpp, json!({ "availableAccounts": "allAccounts" }))
        .await;
    let (tpp, customer) = (tpp.organisation(), psu(name));
    let start = Start {
        tpp,
        consent_id: &list,
        request_id: SystemRandomness.uuid(),
        digest: "x",
        psu: Some(&customer),
        approach: ScaApproach::Embedded,
        redirect_uri: None,
        nok_redirect_uri: None,
    };
    let id = scene.authorisations.start(start).await.unwrap().id;
    let step = scene
        .authorisations
        .authenticate(key(tpp, &list, &id), None, PASSWORD)
        .await
        .unwrap();
    step.authorisation.status
}

#[tokio::test]
async fn a_list_of_accounts_is_exempted_for_180_days_after_an_authentication_through_the_same_tpp()
{
    let scene = Scene::with(|rules| rules.exempt_account_list = true).await;
    let asked = ScaStatus::ScaMethodSelected;
    // The first access never is, and no exempted one stands for an authentication.
    assert_eq!(list_by_password(&scene, &scene.tpp, "anna").await, asked);
    scene.clock.advance(TimeDelta::minutes(11));
    let consent = scene.consent(balances(&[HERS])).await;
    scene.approve(&consent, "anna").await.unwrap();
    for days in [0, 90, 89] {
        scene.clock.advance(TimeDelta::days(days));
        let exempted = list_by_password(&scene, &scene.tpp, "anna").await;
        assert_eq!(exempted, ScaStatus::Exempted, "{days}");
    }
    assert_eq!(list_by_password(&scene, &scene.other, "anna").await, asked);
    assert_eq!(list_by_password(&scene, &scene.tpp, "lucas").await, asked);
    scene.clock.advance(TimeDelta::days(1));
    assert_eq!(list_by_password(&scene, &scene.tpp, "anna").await, asked);
}

#[tokio::test]
async fn an_exempted_approval_is_confirmed_too_and_authenticates_nothing() {
    let scene = Scene::with(|rules| {
        rules.exempt_account_list = true;
        rules.confirmation_code = true;
    })
    .await;
    let tpp = scene.tpp.organisation();
    let first = scene.consent(balances(&[HERS])).await;
    let done = scene.approve(&first, "anna").await.unwrap();
    let all = scene.authorisations.list(tpp, &first).await.unwrap();
    let code = Scene::code_of(&done);
    let confirmed = scene
        .authorisations
        .confirm(key(tpp, &first, &all[0].id), &code);
    let confirmed = confirmed.await.unwrap();
    assert_eq!(confirmed.authorisation.status, ScaStatus::Finalised);

    let list = scene
        .consent(json!({ "availableAccounts": "allAccounts" }))
        .await;
    let id = scene.started(&list, ScaApproach::Redirect, None).await;
    let anna = psu("anna");
    scene.authorisations.claim(&id, &anna).await.unwrap();
    let done = scene.authorisations.approve_exempt(&id, &anna);
    let done = done.await.unwrap();
    assert_eq!(scene.status(&list).await, ConsentStatus::Received);
    let found = scene
        .authorisations
        .find(key(tpp, &list, &id))
        .await
        .unwrap();
    assert_eq!(found.status, ScaStatus::Unconfirmed);
    let code = Scene::code_of(&done);
    let confirmed = scene.authorisations.confirm(key(tpp, &list, &id), &code);
    let confirmed = confirmed.await.unwrap();
    assert_eq!(confirmed.authorisation.status, ScaStatus::Exempted);
    // The joint account waits for its other holder.
    let consent = scene.consents.find(tpp, &list).await.unwrap().unwrap();
    assert_eq!(
        (consent.status, consent.authenticated),
        (ConsentStatus::PartiallyAuthorised, None)
    );
}

#[tokio::test]
async fn a_choice_that_a_tpp_cannot_pass_on_is_not_made_for_the_customer() {
    let scene = Scene::set().await;
    let consent = scene
        .consent(json!({ "balances": [], "transactions": [] }))
        .await;
    let refused = scene
        .start(&consent, ScaApproach::Embedded, Some(&psu("anna")))
        .await;
    assert_refused!(refused, AuthorisationError::NeedsChoice);
    // Nor in one that was started before.
    let id = scene.started(&consent, ScaApproach::Redirect, None).await;
    scene.authorisations.claim(&id, &psu("anna")).await.unwrap();
    sqlx::query("UPDATE authorisation SET approach = 'EMBEDDED' WHERE id = $1")
        .bind(&id)
        .execute(scene.database.pool())
        .await
        .unwrap();
    let proof = scene.proof("anna", &id).await;
    let refused = scene.authorisations.approve(&id, proof, None).await;
    assert_refused!(refused, AuthorisationError::NeedsChoice);
    assert_eq!(scene.status(&consent).await, ConsentStatus::Received);
}

#[tokio::test]
async fn an_approval_that_was_left_unconfirmed_does_not_keep_the_customer_from_another() {
    let scene = Scene::with(|rules| rules.confirmation_code = true).await;
    let tpp = scene.tpp.organisation();
    let consent = scene.consent(balances(&[HERS])).await;
    scene.approve(&consent, "anna").await.unwrap();
    let twice = scene.approve(&consent, "anna").await;
    assert_refused!(twice, AuthorisationError::ApprovedBefore);
    scene.clock.advance(TimeDelta::minutes(15));
    let done = scene.approve(&consent, "anna").await.unwrap();
    let id = scene.authorisations.list(tpp, &consent).await.unwrap();
    let id = &id.last().unwrap().id;
    let code = Scene::code_of(&done);
    let confirmed = scene.authorisations.confirm(key(tpp, &consent, id), &code);
    confirmed.await.unwrap();
    assert_eq!(scene.status(&consent).await, ConsentStatus::Valid);
}

/// A change of a customer's credentials.
#[derive(Debug, Clone, Copy)]
enum NewElement {
    Credentials,
    Device,
    DeviceRemoved,
}

impl NewElement {
    async fn happen(self, scene: &Scene, device: &str) {
        let (phones, anna) = (scene.sca.phones(), psu("anna"));
        match self {
            Self::Credentials => scene.enrol_anew("anna").await,
            Self::Device => drop(phones.enrol(&anna).await.unwrap()),
            Self::DeviceRemoved => phones.forget(device).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn new_elements_end_approvals_that_do_not_count_yet() {
    let scene = Scene::with(|rules| rules.confirmation_code = true).await;
    let (tpp, anna) = (scene.tpp.organisation(), psu("anna"));
    for element in [
        NewElement::Credentials,
        NewElement::Device,
        NewElement::DeviceRemoved,
    ] {
        let device = scene.sca.phones().enrol(&anna).await.unwrap();
        // One is approved and not confirmed, one is shown to the customer, one waits for the code
        // through the TPP.
        let mut begun = Vec::new();
        for _ in 0..3 {
            begun.push(scene.consent(balances(&[HERS])).await);
        }
        let done = scene.approve(&begun[0], "anna").await.unwrap();
        let looked_at = scene.started(&begun[1], ScaApproach::Redirect, None).await;
        scene.authorisations.claim(&looked_at, &anna).await.unwrap();
        let passed_on = scene
            .start(&begun[2], ScaApproach::Embedded, Some(&anna))
            .await
            .unwrap()
            .id;
        scene
            .authorisations
            .authenticate(key(tpp, &begun[2], &passed_on), None, PASSWORD)
            .await
            .unwrap();
        // The customer has not authenticated for this one yet, so it continues.
        let later = scene.consent(balances(&[HERS])).await;
        let named = scene.start(&later, ScaApproach::Redirect, Some(&anna));
        let named = named.await.unwrap().id;

        element.happen(&scene, &device.0).await;
        for consent in &begun {
            let all = scene.authorisations.list(tpp, consent).await.unwrap();
            assert_eq!(all[0].status, ScaStatus::Failed, "{element:?}");
        }
        let (id, code) = (
            scene.authorisations.list(tpp, &begun[0]).await.unwrap()[0]
                .id
                .clone(),
            Scene::code_of(&done),
        );
        let late = scene
            .authorisations
            .confirm(key(tpp, &begun[0], &id), &code)
            .await;
        assert!(
            matches!(late, Err(AuthorisationError::OutOfTurn(ScaStatus::Failed))),
            "{element:?}: {late:?}"
        );
        assert_eq!(scene.status(&begun[0]).await, ConsentStatus::Received);
        scene.authorisations.claim(&named, &anna).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_proved_under_credentials_that_were_replaced_begins_nothing() {
    let scene = Scene::set().await;
    let anna = psu("anna");
    let consent = scene.consent(balances(&[HERS])).await;
    let id = scene
        .started(&consent, ScaApproach::Redirect, Some(&anna))
        .await;
    // The password is checked, but replaced before the approval is stored.
    let checked = scene.sca.check_password(&anna, PASSWORD, BROWSER).await;
    let checked = checked.unwrap();
    scene.enrol_anew("anna").await;
    let late = scene.authorisations.claim_under(&id, &anna, checked).await;
    assert_refused!(late, AuthorisationError::Sca(ScaError::CredentialsChanged));
    let late = scene
        .sca
        .phones()
        .enrol_in_place_of(None, &anna, Some(checked))
        .await;
    assert_refused!(late, PhonesError::CredentialsChanged);
    let checked = scene.sca.check_password(&anna, PASSWORD, BROWSER).await;
    let claimed = scene
        .authorisations
        .claim_under(&id, &anna, checked.unwrap());
    claimed.await.unwrap();
}

#[tokio::test]
async fn the_same_authenticator_given_anew_makes_no_spent_code_good() {
    let scene = Scene::set().await;
    let tpp = scene.tpp.organisation();
    let ids = [scene.passed_on().await, scene.passed_on().await];
    let code = code_at(&secret("anna"), scene.clock.now().timestamp());
    let authenticate = async |(consent, id): &(String, String)| {
        let step = scene
            .authorisations
            .authenticate(key(tpp, consent, id), None, PASSWORD);
        step.await.unwrap();
    };
    authenticate(&ids[0]).await;
    scene.enrol_anew("anna").await;
    authenticate(&ids[1]).await;
    let (consent, id) = &ids[1];
    let read_before = scene
        .authorisations
        .authorise(key(tpp, consent, id), &code)
        .await;
    assert_refused!(read_before, AuthorisationError::Sca(ScaError::Taken));
}

#[tokio::test]
async fn a_code_read_for_an_authorisation_that_failed_approves_no_other() {
    let scene = Scene::set().await;
    let tpp = scene.tpp.organisation();
    let ids = [scene.passed_on().await, scene.passed_on().await];
    let [(first, first_id), (second, second_id)] = [&ids[0], &ids[1]];
    let service = &scene.authorisations;
    let begun = service.authenticate(key(tpp, first, first_id), None, PASSWORD);
    begun.await.unwrap();
    let code = code_at(&secret("anna"), scene.clock.now().timestamp());
    for _ in 0..5 {
        let wrong = service.authorise(key(tpp, first, first_id), "000000").await;
        assert_refused!(wrong, AuthorisationError::Sca(ScaError::WrongAnswer { .. }));
    }
    // The wait after five wrong codes is over before the code is.
    let begun = service.authenticate(key(tpp, second, second_id), None, PASSWORD);
    begun.await.unwrap();
    scene.clock.advance(TimeDelta::seconds(30));
    let taken = service.authorise(key(tpp, second, second_id), &code).await;
    assert_refused!(taken, AuthorisationError::Sca(ScaError::Taken));
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
    assert_refused!(other, AuthorisationError::OtherRequest);
    for _ in 1..MAX_PER_CONSENT {
        start.request_id = SystemRandomness.uuid();
        scene.authorisations.start(start).await.unwrap();
    }
    start.request_id = SystemRandomness.uuid();
    let more = scene.authorisations.start(start).await;
    assert_refused!(more, AuthorisationError::TooMany);
    start.tpp = scene.other.organisation();
    let foreign = scene.authorisations.start(start).await;
    assert_refused!(foreign, AuthorisationError::NoSuchConsent);
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
        let outcome = scene
            .authorisations
            .confirm(key(tpp, &consent, id), code)
            .await;
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
    let id = scene.started(&consent, ScaApproach::Redirect, None).await;
    scene.authorisations.claim(&id, &psu("anna")).await.unwrap();
    for guess in ["anna", "lucas", "nobody"] {
        let asked = scene
            .authorisations
            .identify(key(tpp, &consent, &id), &psu(guess))
            .await;
        assert_refused!(
            asked,
            AuthorisationError::OutOfTurn(ScaStatus::PsuAuthenticated)
        );
    }
}

#[tokio::test]
async fn right_passwords_of_many_customers_of_one_network_at_once_are_no_failures() {
    let scene = Scene::set().await;
    let hash = Passwords::new(Arc::new(SystemRandomness))
        .hash(PASSWORD)
        .unwrap();
    let customers: Vec<_> = (0..60)
        .map(|number| psu(&format!("customer-{number}")))
        .collect();
    for customer in &customers {
        scene.credentials.set(customer, &hash, None).await.unwrap();
    }
    let checks = customers
        .iter()
        .map(|customer| scene.sca.check_password(customer, PASSWORD, BROWSER));
    for checked in futures::future::join_all(checks).await {
        // A machine that is busy may have no time for all of them.
        let is_no_failure = matches!(checked, Ok(_) | Err(ScaError::Busy));
        assert!(is_no_failure, "{checked:?}");
    }
}
