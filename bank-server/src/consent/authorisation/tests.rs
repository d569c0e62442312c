//! Authorisations, from both sides, on a database and a clock of their own.

use bank_client::environment::{Clock, ManualClock, SystemRandomness};
use chrono_tz::Tz;
use serde_json::{Value, json};
use shared_types::consent::ConsentRequest;
use tempfile::TempDir;
use url::Url;

use super::*;
use crate::core_banking::AccountId;
use crate::core_banking::ledger::{Ledger, import};
use crate::identity::Tpp;
use crate::sca::{Challenge, MethodId, Passwords, Proof, Secret, Source, Subject, code_at};
use crate::store::consents::{Inserted, NewConsent};
use crate::store::credentials::CustomerCredentials;
use crate::store::vault::Vault;

const PASSWORD: &str = "correct horse";

const HERS: &str = "DE89370400440532013000";
const HIS: &str = "FR1420041010050500013M02606";
const BOTHS: &str = "NL91ABNA0417164300";

/// Anna and Lucas, with an account each and one that is both's and needs both.
struct Scene {
    authorisations: Authorisations,
    consents: Consents,
    sca: Sca,
    clock: Arc<ManualClock>,
    tpp: Tpp,
    other: Tpp,
    _folder: TempDir,
}

fn world() -> String {
    let account = |id: u8, iban: &str, more: Value| {
        let mut account = json!({
            "id": format!("00000000-0000-4000-8000-00000000000{id}"), "openingBalance": "0", "closingBalance": "0",
            "details": { "iban": iban, "currency": "EUR" }
        });
        account
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({ "account": account })
    };
    let lines = [
        json!({ "world": { "version": 1 } }),
        json!({ "customer": { "id": "anna", "name": "Anna" } }),
        json!({ "customer": { "id": "lucas", "name": "Lucas" } }),
        account(1, HERS, json!({ "customer": "anna" })),
        account(2, HIS, json!({ "customer": "lucas" })),
        account(
            3,
            BOTHS,
            json!({ "customer": "anna", "holders": ["lucas"], "approvals": 2 }),
        ),
    ];
    lines.map(|line| line.to_string()).join("\n")
}

fn psu(name: &str) -> PsuId {
    PsuId(name.to_owned())
}

fn secret(name: &str) -> Secret {
    Secret::new([name.len().to_le_bytes()[0]; 20])
}

impl Scene {
    async fn set() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Rules)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("bank.db"))
            .await
            .unwrap();
        import(&database, world().as_bytes()).await.unwrap();
        let clock = Arc::new(ManualClock::at("2026-11-24T12:00:00Z".parse().unwrap()));
        let calendar = Calendar::new(Arc::clone(&clock) as Arc<dyn Clock>, Tz::UTC);
        let randomness: Arc<dyn Randomness> = Arc::new(SystemRandomness);
        let vault = Vault::new(&[3; 32], Arc::clone(&randomness)).unwrap();
        let credentials = CustomerCredentials::new(database.clone(), vault.clone());
        let hash = Passwords::new(Arc::clone(&randomness))
            .hash(PASSWORD)
            .unwrap();
        for name in ["anna", "lucas"] {
            credentials
                .set(&psu(name), &hash, Some(&secret(name)))
                .await
                .unwrap();
        }
        let sca = Sca::new(
            &database,
            vault,
            None,
            calendar.clone(),
            Arc::clone(&randomness),
        );
        let mut rules = Rules {
            lifetime: TimeDelta::minutes(15),
            confirmation_code: false,
            exempt_account_list: false,
        };
        change(&mut rules);
        let core = Arc::new(Ledger::new(database.clone()));
        Self {
            authorisations: Authorisations::new(
                &database,
                core,
                sca.clone(),
                calendar,
                randomness,
                rules,
            ),
            consents: Consents::new(database),
            sca,
            clock,
            tpp: Tpp::sample("PSDDE-BAFIN-125314", "Bank A"),
            other: Tpp::sample("PSDFR-ACPR-11111", "Another"),
            _folder: folder,
        }
    }

    async fn consent(&self, access: Value) -> String {
        let request: ConsentRequest = serde_json::from_value(json!({
            "access": access, "recurringIndicator": true, "validUntil": "2026-12-31", "frequencyPerDay": 4,
            "combinedServiceIndicator": false
        }))
        .unwrap();
        let now = self.clock.now();
        let stored = self.consents.insert(NewConsent {
            id: SystemRandomness.uuid(),
            tpp: &self.tpp,
            request_id: SystemRandomness.uuid(),
            digest: "x",
            request: &request,
            valid_until: request.valid_until,
            now,
            redirect_uri: None,
            nok_redirect_uri: None,
            approach: ScaApproach::Redirect,
            approve_by: now + TimeDelta::hours(1),
        });
        match stored.await.unwrap() {
            Inserted::Consent(consent) => consent.id,
            Inserted::OtherBody => panic!("an id that was there"),
        }
    }

    async fn start(
        &self,
        consent: &str,
        approach: ScaApproach,
        psu: Option<&PsuId>,
    ) -> Result<Authorisation, AuthorisationError> {
        let start = Start {
            tpp: self.tpp.organisation(),
            consent_id: consent,
            request_id: SystemRandomness.uuid(),
            psu,
            approach,
            redirect_uri: Some("https://tpp.example/back?state=7"),
            nok_redirect_uri: Some("https://tpp.example/nok"),
        };
        self.authorisations.start(start).await
    }

    /// A proof of hers, for that authorisation, with a code of a new time step.
    async fn proof(&self, name: &str, id: &str) -> Proof {
        let (psu, subject) = (psu(name), Subject::authorisation(id));
        self.clock.advance(TimeDelta::seconds(60));
        self.sca
            .challenge(&psu, MethodId::Totp, &subject)
            .await
            .unwrap();
        let code = code_at(&secret(name), self.clock.now().timestamp());
        self.sca
            .prove(
                &psu,
                MethodId::Totp,
                &subject,
                &code,
                Source::UnknownBrowser,
            )
            .await
            .unwrap()
    }

    /// On the bank's own pages, from the log-in on.
    async fn approve(&self, consent: &str, name: &str) -> Result<Done, AuthorisationError> {
        let id = self.start(consent, ScaApproach::Redirect, None).await?.id;
        self.authorisations.claim(&id, &psu(name)).await?;
        let proof = self.proof(name, &id).await;
        self.authorisations.approve(&id, proof, None).await
    }

    async fn status(&self, id: &str) -> ConsentStatus {
        self.consents
            .find(self.tpp.organisation(), id)
            .await
            .unwrap()
            .unwrap()
            .status
    }

    async fn opened(&self, id: &str) -> Vec<AccountId> {
        let found = self
            .consents
            .find_with_grants(self.tpp.organisation(), id)
            .await
            .unwrap();
        found
            .unwrap()
            .1
            .into_iter()
            .map(|grant| grant.account)
            .collect()
    }
}

fn balances(ibans: &[&str]) -> Value {
    let references: Vec<Value> = ibans.iter().map(|iban| json!({ "iban": iban })).collect();
    json!({ "balances": references })
}

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
    assert!(
        matches!(
            again,
            Err(AuthorisationError::ConsentOver(ConsentStatus::Valid))
        ),
        "{again:?}"
    );
}

#[tokio::test]
async fn a_consent_for_one_customers_account_is_not_approved_by_another() {
    let scene = Scene::set().await;
    let consent = scene.consent(balances(&[HERS])).await;
    let refused = scene.approve(&consent, "lucas").await;
    assert!(
        matches!(refused, Err(AuthorisationError::NotTheCustomers(_))),
        "{refused:?}"
    );
    assert_eq!(scene.status(&consent).await, ConsentStatus::Received);
    // One that the TPP has started for Anna is not Lucas's to see.
    let started = scene
        .start(&consent, ScaApproach::Redirect, Some(&psu("anna")))
        .await
        .unwrap();
    assert_eq!(started.status, ScaStatus::PsuIdentified);
    let refused = scene.authorisations.claim(&started.id, &psu("lucas")).await;
    assert!(
        matches!(refused, Err(AuthorisationError::OtherCustomer)),
        "{refused:?}"
    );
    // Nor does his proof count once she has logged in, nor one that he made for something else.
    scene
        .authorisations
        .claim(&started.id, &psu("anna"))
        .await
        .unwrap();
    let his = scene.proof("lucas", &started.id).await;
    let refused = scene.authorisations.approve(&started.id, his, None).await;
    assert!(
        matches!(refused, Err(AuthorisationError::OtherCustomer)),
        "{refused:?}"
    );
    let elsewhere = scene.proof("anna", "another-authorisation").await;
    let refused = scene
        .authorisations
        .approve(&started.id, elsewhere, None)
        .await;
    assert!(
        matches!(refused, Err(AuthorisationError::OtherCustomer)),
        "{refused:?}"
    );
    assert_eq!(scene.status(&consent).await, ConsentStatus::Received);
}

#[tokio::test]
async fn a_joint_account_needs_both() {
    let scene = Scene::set().await;
    let consent = scene.consent(balances(&[HERS, BOTHS])).await;
    let first = scene.approve(&consent, "anna").await.unwrap();
    assert_eq!(first.consent_status, ConsentStatus::PartiallyAuthorised);
    let twice = scene.approve(&consent, "anna").await;
    assert!(
        matches!(twice, Err(AuthorisationError::ApprovedBefore)),
        "{twice:?}"
    );
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
    let id = scene
        .start(&consent, ScaApproach::Redirect, None)
        .await
        .unwrap()
        .id;
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
            Some(&[foreign.clone()]),
        )
        .await;
    assert!(
        matches!(none, Err(AuthorisationError::NoAccount)),
        "{none:?}"
    );
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
            .page(&left.id)
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
            .page(&left.id)
            .await
            .unwrap()
            .authorisation
            .status,
        ScaStatus::Failed
    );
    let late = scene.authorisations.claim(&left.id, &psu("anna")).await;
    assert!(
        matches!(late, Err(AuthorisationError::OutOfTurn(ScaStatus::Failed))),
        "{late:?}"
    );
    let id = scene
        .start(&consent, ScaApproach::Redirect, None)
        .await
        .unwrap()
        .id;
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
    assert!(
        matches!(
            over,
            Err(AuthorisationError::ConsentOver(ConsentStatus::Rejected))
        ),
        "{over:?}"
    );
}

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
        matches!(
            taken,
            Err(AuthorisationError::Sca(ScaError::WrongAnswer {
                attempts_left: 4
            }))
        ),
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
        matches!(
            replayed,
            Err(AuthorisationError::Sca(ScaError::WrongAnswer { .. }))
        ),
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
            .authorise(tpp, &consent, &id, "no code")
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
        .prove(
            &anna,
            MethodId::App,
            &subject,
            &his.0,
            Source::UnknownBrowser,
        )
        .await;
    assert!(
        matches!(foreign, Err(ScaError::WrongAnswer { .. })),
        "{foreign:?}"
    );
    scene
        .authorisations
        .claim(&started.id, &anna)
        .await
        .unwrap();
    let proof = scene
        .sca
        .prove(
            &anna,
            MethodId::App,
            &subject,
            &phone.0,
            Source::UnknownBrowser,
        )
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
    // Nobody's app is flooded.
    for _ in 0..WAITING {
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
    assert!(
        matches!(flooded, Err(AuthorisationError::TooManyWaiting)),
        "{flooded:?}"
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
        psu: None,
        approach: ScaApproach::Redirect,
        redirect_uri: None,
        nok_redirect_uri: None,
    };
    let first = scene.authorisations.start(start).await.unwrap();
    assert_eq!(scene.authorisations.start(start).await.unwrap(), first);
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
