//! Tests of customers' approvals at the bank.

use super::*;

#[tokio::test]
async fn a_customer_approves_on_the_banks_own_page() {
    let scene = Scene::set().await;
    let consent = scene.consent(balances(&[HERS])).await;
    let started = scene
        .start(&consent, ScaApproach::Redirect, None)
        .await
        .unwrap();
    assert_eq!(started.status, ScaStatus::Received);
    let page = scene
        .authorisations
        .claim(&started.id, &psu("anna"))
        .await
        .unwrap();
    assert_eq!(page.authorisation.status, ScaStatus::PsuAuthenticated);
    assert_eq!(
        (page.tpp.name.as_str(), page.tpp.authority.as_str()),
        ("Bank A", "DE-BAFIN")
    );
    let done = scene
        .authorisations
        .approve(&started.id, scene.proof("anna", &started.id).await, None)
        .await
        .unwrap();
    assert_eq!(done.consent_status, ConsentStatus::Valid);
    assert_eq!(
        done.return_to,
        Some(Url::parse("https://tpp.example/back?state=7").unwrap())
    );
    assert_eq!(scene.opened(&consent).await.len(), 1);
    // Once more, by the back button: nothing happens twice.
    let again = scene
        .authorisations
        .approve(&started.id, scene.proof("anna", &started.id).await, None)
        .await;
    assert_refused!(again, AuthorisationError::ConsentOver(ConsentStatus::Valid));
}

#[tokio::test]
async fn a_consent_for_one_customers_account_is_not_approved_by_another() {
    let scene = Scene::set().await;
    let consent = scene.consent(balances(&[HERS])).await;
    let refused = scene.approve(&consent, "lucas").await;
    assert_refused!(refused, AuthorisationError::NotTheCustomers(_));
    assert_eq!(scene.status(&consent).await, ConsentStatus::Received);
    // One that the TPP has started for Anna is not Lucas's to see.
    let started = scene
        .start(&consent, ScaApproach::Redirect, Some(&psu("anna")))
        .await
        .unwrap();
    assert_eq!(started.status, ScaStatus::PsuIdentified);
    let refused = scene.authorisations.claim(&started.id, &psu("lucas")).await;
    assert_refused!(refused, AuthorisationError::OtherCustomer);
    // Nor does his proof count once she has logged in, nor one that he made for something else.
    scene
        .authorisations
        .claim(&started.id, &psu("anna"))
        .await
        .unwrap();
    let his = scene.proof("lucas", &started.id).await;
    let refused = scene.authorisations.approve(&started.id, his, None).await;
    assert_refused!(refused, AuthorisationError::OtherCustomer);
    let other_proof = scene.proof("anna", "another-authorisation").await;
    let refused = scene
        .authorisations
        .approve(&started.id, other_proof, None)
        .await;
    assert_refused!(refused, AuthorisationError::OtherCustomer);
    assert_eq!(scene.status(&consent).await, ConsentStatus::Received);
}

#[tokio::test]
async fn a_joint_account_needs_both() {
    let scene = Scene::set().await;
    let consent = scene.consent(balances(&[HERS, BOTHS])).await;
    let first = scene.approve(&consent, "anna").await.unwrap();
    assert_eq!(first.consent_status, ConsentStatus::PartiallyAuthorised);
    let twice = scene.approve(&consent, "anna").await;
    assert_refused!(twice, AuthorisationError::ApprovedBefore);
    let second = scene.approve(&consent, "lucas").await.unwrap();
    assert_eq!(second.consent_status, ConsentStatus::Valid);
    assert_eq!(scene.opened(&consent).await.len(), 2);
    // Each of them can end it.
    assert!(
        scene
            .authorisations
            .revoke(&psu("lucas"), &consent)
            .await
            .unwrap()
    );
    assert_eq!(scene.status(&consent).await, ConsentStatus::RevokedByPsu);
    assert!(
        !scene
            .authorisations
            .revoke(&psu("anna"), &consent)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_new_consent_takes_the_place_of_the_old_one_when_it_is_approved() {
    let scene = Scene::set().await;
    let old = scene.consent(balances(&[HERS])).await;
    scene.approve(&old, "anna").await.unwrap();
    let new = scene.consent(balances(&[HERS])).await;
    assert_eq!(scene.status(&old).await, ConsentStatus::Valid);
    scene.approve(&new, "anna").await.unwrap();
    assert_eq!(scene.status(&old).await, ConsentStatus::TerminatedByTpp);
    assert_eq!(scene.status(&new).await, ConsentStatus::Valid);
    let given = scene
        .authorisations
        .consents_of(&psu("anna"))
        .await
        .unwrap();
    assert_eq!(given.len(), 2);
    assert!(
        scene
            .authorisations
            .consents_of(&psu("lucas"))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn what_the_customer_chooses_of_an_offer_is_opened_and_no_more() {
    let scene = Scene::set().await;
    let consent = scene.consent(json!({ "balances": [] })).await;
    let id = scene.started(&consent, ScaApproach::Redirect, None).await;
    let page = scene.authorisations.claim(&id, &psu("anna")).await.unwrap();
    let offer = scene
        .authorisations
        .offer(&page, &psu("anna"))
        .await
        .unwrap();
    assert!(offer.is_choice && offer.accounts.len() == 2 && offer.approvals_needed == 2);
    let hers = offer.accounts[0].0.id.clone();
    let foreign = AccountId("00000000-0000-4000-8000-000000000002".to_owned());
    let none = scene
        .authorisations
        .approve(
            &id,
            scene.proof("anna", &id).await,
            Some(std::slice::from_ref(&foreign)),
        )
        .await;
    assert_refused!(none, AuthorisationError::NoAccount);
    let chosen = [hers.clone(), foreign];
    let done = scene
        .authorisations
        .approve(&id, scene.proof("anna", &id).await, Some(&chosen))
        .await
        .unwrap();
    assert_eq!(
        done.consent_status,
        ConsentStatus::Valid,
        "the joint account was left out"
    );
    assert_eq!(scene.opened(&consent).await, [hers]);
}

#[tokio::test]
async fn what_is_left_lying_fails_and_refusing_rejects() {
    let scene = Scene::set().await;
    let consent = scene.consent(balances(&[HERS])).await;
    let left = scene
        .start(&consent, ScaApproach::Redirect, None)
        .await
        .unwrap();
    scene
        .clock
        .advance(TimeDelta::minutes(15) - TimeDelta::seconds(1));
    assert_eq!(
        scene
            .authorisations
            .request(&left.id)
            .await
            .unwrap()
            .authorisation
            .status,
        ScaStatus::Received
    );
    scene.clock.advance(TimeDelta::seconds(1));
    assert_eq!(
        scene
            .authorisations
            .request(&left.id)
            .await
            .unwrap()
            .authorisation
            .status,
        ScaStatus::Failed
    );
    let late = scene.authorisations.claim(&left.id, &psu("anna")).await;
    assert_refused!(late, AuthorisationError::OutOfTurn(ScaStatus::Failed));
    let id = scene.started(&consent, ScaApproach::Redirect, None).await;
    scene.authorisations.claim(&id, &psu("anna")).await.unwrap();
    let done = scene
        .authorisations
        .refuse(&id, &psu("anna"))
        .await
        .unwrap();
    assert_eq!(
        done.return_to,
        Some(Url::parse("https://tpp.example/nok").unwrap())
    );
    assert_eq!(scene.status(&consent).await, ConsentStatus::Rejected);
    let over = scene.start(&consent, ScaApproach::Redirect, None).await;
    assert_refused!(
        over,
        AuthorisationError::ConsentOver(ConsentStatus::Rejected)
    );
}

#[tokio::test]
async fn in_the_app_it_waits_for_the_customer_alone() {
    let scene = Scene::set().await;
    let consent = scene.consent(balances(&[HERS])).await;
    let started = scene
        .start(&consent, ScaApproach::Decoupled, Some(&psu("anna")))
        .await
        .unwrap();
    assert_eq!(started.status, ScaStatus::Started);
    assert!(
        scene
            .authorisations
            .waiting_for(&psu("lucas"))
            .await
            .unwrap()
            .is_empty()
    );
    let waiting = scene
        .authorisations
        .waiting_for(&psu("anna"))
        .await
        .unwrap();
    assert_eq!(waiting.len(), 1);
    let (anna, subject) = (psu("anna"), Subject::authorisation(&started.id));
    let phone = scene.sca.phones().enrol(&anna).await.unwrap();
    let his = scene.sca.phones().enrol(&psu("lucas")).await.unwrap();
    let foreign = scene
        .sca
        .prove(&anna, &MethodId::App, &subject, &his.0, BROWSER)
        .await;
    assert_refused!(foreign, ScaError::WrongAnswer { .. });
    scene
        .authorisations
        .claim(&started.id, &anna)
        .await
        .unwrap();
    let proof = scene
        .sca
        .prove(&anna, &MethodId::App, &subject, &phone.0, BROWSER)
        .await
        .unwrap();
    let done = scene
        .authorisations
        .approve(&started.id, proof, None)
        .await
        .unwrap();
    assert_eq!(done.consent_status, ConsentStatus::Valid);
    assert!(
        scene
            .authorisations
            .waiting_for(&anna)
            .await
            .unwrap()
            .is_empty()
    );
    // No customer's app is flooded.
    for _ in 0..MAX_WAITING_OF_TPP {
        let consent = scene.consent(balances(&[HERS])).await;
        scene
            .start(&consent, ScaApproach::Decoupled, Some(&anna))
            .await
            .unwrap();
    }
    let consent = scene.consent(balances(&[HERS])).await;
    let flooded = scene
        .start(&consent, ScaApproach::Decoupled, Some(&anna))
        .await;
    assert_refused!(flooded, AuthorisationError::TooManyWaiting);
}

#[tokio::test]
async fn an_approval_counts_for_what_was_shown_and_nothing_else() {
    // Lucas and Anna are asked for all their accounts; the joint one is among Anna's. Both look at
    // it while neither has approved: each sees their own accounts.
    let scene = Scene::set().await;
    let consent = scene.consent(json!({ "allPsd2": "allAccounts" })).await;
    let mut ids = Vec::new();
    for name in ["anna", "lucas"] {
        let id = scene.started(&consent, ScaApproach::Redirect, None).await;
        scene.authorisations.claim(&id, &psu(name)).await.unwrap();
        ids.push(id);
    }
    let (hers, his) = (
        scene.proof("anna", &ids[0]).await,
        scene.proof("lucas", &ids[1]).await,
    );
    let first = scene
        .authorisations
        .approve(&ids[0], hers, None)
        .await
        .unwrap();
    assert_eq!(first.consent_status, ConsentStatus::PartiallyAuthorised);
    // His approval was for accounts of his: it is not the second one of hers.
    let second = scene.authorisations.approve(&ids[1], his, None).await;
    assert_refused!(second, AuthorisationError::OutOfTurn(_));
    assert_eq!(
        scene.status(&consent).await,
        ConsentStatus::PartiallyAuthorised
    );
    // Once he has been shown what it opens, it is.
    scene
        .authorisations
        .claim(&ids[1], &psu("lucas"))
        .await
        .unwrap();
    let his = scene.proof("lucas", &ids[1]).await;
    let second = scene
        .authorisations
        .approve(&ids[1], his, None)
        .await
        .unwrap();
    assert_eq!(second.consent_status, ConsentStatus::Valid);
}

#[tokio::test]
async fn approving_and_going_on_take_locks_in_one_order() {
    let scene = Scene::set().await;
    let anna = psu("anna");
    let consent = scene.consent(balances(&[HERS])).await;
    let id = scene.started(&consent, ScaApproach::Redirect, None).await;
    scene.authorisations.claim(&id, &anna).await.unwrap();
    let proof = scene.proof("anna", &id).await;
    // What goes on with an authorisation takes the customer's turn, and then the authorisation.
    let mut going_on = scene.database.begin_write().await.unwrap();
    going_on.take(AdvisoryLock::Customer(&anna)).await.unwrap();
    let approving = tokio::spawn({
        let (service, id) = (scene.authorisations.clone(), id.clone());
        async move { service.approve(&id, proof, None).await }
    });
    going_on.until_it_blocks_another().await;
    sqlx::query("UPDATE authorisation SET last_action = last_action WHERE id = $1")
        .bind(&id)
        .execute(&mut *going_on)
        .await
        .unwrap();
    going_on.commit().await.unwrap();
    let done = approving.await.unwrap().unwrap();
    assert_eq!(done.consent_status, ConsentStatus::Valid);
}

#[tokio::test]
async fn approvals_of_the_same_that_wait_for_their_confirmations_both_count() {
    let scene = Scene::with(|rules| rules.confirmation_code = true).await;
    let tpp = scene.tpp.organisation();
    // Both approve before either is confirmed: of the account that is both's, and of all that each
    // of them has.
    for (access, second) in [
        (balances(&[BOTHS]), Ok(ConsentStatus::Valid)),
        (json!({ "allPsd2": "allAccounts" }), Err(ScaStatus::Failed)),
    ] {
        let consent = scene.consent(access).await;
        let mut waiting = Vec::new();
        for name in ["anna", "lucas"] {
            let started = scene.start(&consent, ScaApproach::Redirect, None).await;
            let id = started.unwrap().id;
            scene.authorisations.claim(&id, &psu(name)).await.unwrap();
            let proof = scene.proof(name, &id).await;
            let done = scene.authorisations.approve(&id, proof, None).await;
            let back = done.unwrap().return_to.unwrap();
            let code = back.query_pairs().find(|(name, _)| name == "code");
            waiting.push((id, code.unwrap().1.into_owned()));
        }
        let confirm = async |(id, code): &(String, String)| {
            scene
                .authorisations
                .confirm(key(tpp, &consent, id), code)
                .await
        };
        confirm(&waiting[0]).await.unwrap();
        let outcome = match confirm(&waiting[1]).await {
            Ok(_) => Ok(scene.status(&consent).await),
            Err(AuthorisationError::OutOfTurn(status)) => Err(status),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(outcome, second);
    }
}
