//! Authorisations, from both sides, on a database and a clock of their own.

/// Asserts that an outcome is that error.
macro_rules! assert_refused {
    ($outcome:expr, $error:pat) => {
        assert!(matches!($outcome, Err($error)), "{:?}", $outcome)
    };
}

mod customer;
mod decoupled;
mod embedded;

use std::net::{IpAddr, Ipv4Addr};

use chrono::TimeDelta;
use chrono_tz::Tz;
use serde_json::{Value, json};
use shared_types::environment::{Clock, ManualClock, SystemRandomness};
use shared_types::xs2a::consent::ConsentRequest;
use tempfile::TempDir;
use url::Url;

use super::*;
use crate::core_banking::ledger::{Ledger, import};
use crate::domain::{AccountId, MethodId, TotpSecret};
use crate::identity::Tpp;
use crate::sca::{Challenge, Passwords, PhonesError, Proof, Source, Subject, code_at};
use crate::store::AdvisoryLock;
use crate::store::consents::{Inserted, NewConsent};
use crate::store::credentials::CustomerCredentials;
use crate::store::vault::Vault;

const BROWSER: Source<'static> = Source::Browser(IpAddr::V4(Ipv4Addr::LOCALHOST));

const PASSWORD: &str = "correct horse";

const HERS: &str = "DE89370400440532013000";
const HIS: &str = "FR1420041010050500013M02606";
const BOTHS: &str = "NL91ABNA0417164300";

/// Anna and Lucas, with an account each and one that is both's and needs both.
struct Scene {
    authorisations: Authorisations,
    consents: Consents,
    database: Database,
    credentials: CustomerCredentials,
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

fn secret(name: &str) -> TotpSecret {
    TotpSecret::new([name.len().to_le_bytes()[0]; 20])
}

impl Scene {
    async fn set() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut ScaConfig)) -> Self {
        let (database, folder) = crate::store::tests::database().await;
        import(&database, chrono::NaiveDate::MAX, world().as_bytes())
            .await
            .unwrap();
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
            &vault,
            None,
            calendar.clone(),
            Arc::clone(&randomness),
        );
        let mut rules = ScaConfig::default();
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
            consents: Consents::new(database.clone()),
            database,
            credentials,
            sca,
            clock,
            tpp: Tpp::sample("PSDDE-BAFIN-125314", "Bank A"),
            other: Tpp::sample("PSDFR-ACPR-11111", "Another"),
            _folder: folder,
        }
    }

    async fn consent(&self, access: Value) -> String {
        self.consent_of(&self.tpp, access).await
    }

    async fn consent_of(&self, tpp: &Tpp, access: Value) -> String {
        let request: ConsentRequest = serde_json::from_value(json!({
            "access": access, "recurringIndicator": true, "validUntil": "2027-12-31", "frequencyPerDay": 4,
            "combinedServiceIndicator": false
        }))
        .unwrap();
        let now = self.clock.now();
        let tpp = tpp.record();
        let stored = self.consents.insert(NewConsent {
            id: SystemRandomness.uuid(),
            tpp: &tpp,
            request_id: SystemRandomness.uuid(),
            digest: "x",
            request: &request,
            valid_until: request.valid_until,
            now,
            redirect_uri: None,
            nok_redirect_uri: None,
            frequency_per_day: request.frequency_per_day,
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
    ) -> Result<Authorisation> {
        let start = Start {
            tpp: self.tpp.organisation(),
            consent_id: consent,
            request_id: SystemRandomness.uuid(),
            digest: "x",
            psu,
            approach,
            redirect_uri: Some("https://tpp.example/back?state=7"),
            nok_redirect_uri: Some("https://tpp.example/nok"),
        };
        self.authorisations.start(start).await
    }

    /// The id of an authorisation that is started.
    async fn started(&self, consent: &str, approach: ScaApproach, psu: Option<&PsuId>) -> String {
        self.start(consent, approach, psu).await.unwrap().id
    }

    /// The customer's proof for that authorisation, with a code of a new time step.
    async fn proof(&self, name: &str, id: &str) -> Proof {
        let (psu, subject) = (psu(name), Subject::authorisation(id));
        self.clock.advance(TimeDelta::seconds(60));
        self.sca
            .challenge(&psu, &MethodId::Totp, &subject, BROWSER)
            .await
            .unwrap();
        let code = code_at(&secret(name), self.clock.now().timestamp());
        self.sca
            .prove(&psu, &MethodId::Totp, &subject, &code, BROWSER)
            .await
            .unwrap()
    }

    /// The operator gives a customer the same password and authenticator anew.
    async fn enrol_anew(&self, name: &str) {
        let hash = Passwords::new(Arc::new(SystemRandomness))
            .hash(PASSWORD)
            .unwrap();
        let (psu, secret) = (psu(name), secret(name));
        let set = self.credentials.set(&psu, &hash, Some(&secret));
        set.await.unwrap();
    }

    /// A consent, and an authorisation of it that Anna's TPP passes on.
    async fn passed_on(&self) -> (String, String) {
        let consent = self.consent(balances(&[HERS])).await;
        let anna = psu("anna");
        let id = self.started(&consent, ScaApproach::Embedded, Some(&anna));
        let id = id.await;
        (consent, id)
    }

    /// The code that a customer's browser brings to the TPP.
    fn code_of(done: &ApprovalOutcome) -> String {
        let uri = done.return_to.as_ref().unwrap();
        uri.query_pairs().last().unwrap().1.into_owned()
    }

    /// On the bank's own pages, from the log-in on.
    async fn approve(&self, consent: &str, name: &str) -> Result<ApprovalOutcome> {
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
        let grants = &found.unwrap().grants;
        grants.iter().map(|grant| grant.account.clone()).collect()
    }
}

fn balances(ibans: &[&str]) -> Value {
    let references: Vec<Value> = ibans.iter().map(|iban| json!({ "iban": iban })).collect();
    json!({ "balances": references })
}

fn key<'a>(tpp: &'a OrganisationId, consent_id: &'a str, id: &'a str) -> AuthorisationKey<'a> {
    AuthorisationKey {
        tpp,
        consent_id,
        id,
    }
}
