//! The story's customer at Bank B, with password, authenticator and phone, acting through the
//! bank's API instead of its pages.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bank_client::environment::{Clock, ManualClock, Randomness as _, SystemRandomness};
use bank_server::config::{Config, ScaConfig};
use bank_server::consent::authorisation::{
    ApprovalOutcome, AuthorisationError, Authorisations, Start,
};
use bank_server::core_banking::ledger::Ledger;
use bank_server::domain::{MethodId, PsuId};
use bank_server::sca::{Passwords, Proof, Sca, Source, Subject};
use bank_server::store::Database;
use bank_server::store::credentials::CustomerCredentials;
use bank_server::store::vault::Vault;
use bank_server::{Calendar, RunningBank};
use chrono::TimeDelta;
use fixtures::pki::Identity;
use fixtures::sandbox::CUSTOMER;
use fixtures::world::{Bank, SampleCustomer};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use shared_types::pki::eidas::{OrganisationId, identify};
use shared_types::xs2a::authorisation::{ScaApproach, Secret};

use crate::banks::Banks;

/// The customer's IP address.
const BROWSER: Source<'static> = Source::Browser(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// The story's customer approves a consent of that TPP on an enrolled phone.
pub async fn approve(bank: &RunningBank, tpp: &Identity, consent_id: &str) {
    let psu = PsuId(CUSTOMER.to_owned());
    let organisation = organisation_of(tpp);
    let service = bank.authorisations();
    let started = service.start(Start {
        tpp: &organisation,
        consent_id,
        request_id: SystemRandomness.uuid(),
        digest: "",
        psu: Some(&psu),
        approach: ScaApproach::Decoupled,
        redirect_uri: None,
        nok_redirect_uri: None,
    });
    let id = started.await.unwrap().id;
    let phone = bank.sca().phones().enrol(&psu).await.unwrap();
    service.claim(&id, &psu).await.unwrap();
    let subject = Subject::authorisation(&id);
    let source = Source::Device("phone");
    let proof = bank
        .sca()
        .prove(&psu, &MethodId::App, &subject, &phone.0, source)
        .await;
    service.approve(&id, proof.unwrap(), None).await.unwrap();
    bank.sca().phones().forget(&phone.0).await.unwrap();
}

/// The subject of a certificate.
fn organisation_of(identity: &Identity) -> OrganisationId {
    let leaf = CertificateDer::from_pem_slice(identity.chain_pem.as_bytes()).unwrap();
    identify(&leaf).unwrap().organisation
}

/// A customer of Bank B.
pub struct Customer {
    pub psu: PsuId,
    known: SampleCustomer,
    sca: Sca,
    authorisations: Authorisations,
    clock: Arc<ManualClock>,
}

impl Customer {
    /// The story's.
    pub async fn of(banks: &Banks) -> Self {
        Self::named(banks, CUSTOMER, false).await
    }

    /// Another one.
    pub async fn other(banks: &Banks) -> Self {
        Self::named(banks, &banks.other_customer(Bank::B).id, false).await
    }

    /// Any, at a bank whose TPPs have to confirm, or not.
    pub async fn named(banks: &Banks, id: &str, confirmation_code: bool) -> Self {
        let config = Config::read(&banks.folder.path().join("bank-b.toml")).unwrap();
        let database = Database::open(&config.store.location).await.unwrap();
        let randomness = Arc::new(SystemRandomness);
        let vault = Vault::open_file(&config.store.key, randomness.clone()).unwrap();
        let clock: Arc<dyn Clock> = banks.clock.clone();
        let calendar = Calendar::new(clock, config.bank.time_zone);
        let sca = Sca::new(
            &database,
            &vault,
            None,
            calendar.clone(),
            randomness.clone(),
        );
        let rules = ScaConfig {
            authorisation_minutes: config.sca.authorisation_minutes,
            confirmation_code,
            ..ScaConfig::default()
        };
        let core = Arc::new(Ledger::new(database.clone()));
        let authorisations =
            Authorisations::new(&database, core, sca.clone(), calendar, randomness, rules);
        let known = banks.sandbox.bank(Bank::B).customer(id).unwrap();
        Self {
            psu: PsuId(id.to_owned()),
            known: known.clone(),
            sca,
            authorisations,
            clock: banks.clock.clone(),
        }
    }

    pub fn password(&self) -> Secret {
        Secret::new(&self.known.password).unwrap()
    }

    /// The operator sets another password, with the same authenticator.
    pub async fn change_password(&self, banks: &Banks, password: &str) {
        let config = Config::read(&banks.folder.path().join("bank-b.toml")).unwrap();
        let database = Database::open(&config.store.location).await.unwrap();
        let randomness = Arc::new(SystemRandomness);
        let vault = Vault::open_file(&config.store.key, randomness.clone()).unwrap();
        let hash = Passwords::new(randomness).hash(password).unwrap();
        CustomerCredentials::new(database.clone(), vault)
            .set(&self.psu, &hash, Some(&self.known.secret))
            .await
            .unwrap();
        database.close().await;
    }

    /// The code that the customer's authenticator shows now.
    pub fn code(&self) -> Secret {
        Secret::new(self.known.code_at(self.clock.now(), 0)).unwrap()
    }

    /// Advances the customer's authenticator to the next code.
    pub fn wait_for_the_next_code(&self) {
        self.clock.advance(TimeDelta::seconds(30));
    }

    /// Enrols a phone, and returns its token.
    pub async fn enrol_phone(&self) -> String {
        self.sca.phones().enrol(&self.psu).await.unwrap().0
    }

    /// Logs in at the bank and approves with a code, as on the bank's pages.
    pub async fn approve_at_the_bank(
        &self,
        id: &str,
    ) -> Result<ApprovalOutcome, AuthorisationError> {
        self.authorisations.claim(id, &self.psu).await?;
        let proof = self
            .prove(id, &MethodId::Totp, self.code().expose())
            .await?;
        self.authorisations.approve(id, proof, None).await
    }

    /// The ids of the requests on the customer's phone.
    pub async fn waiting(&self) -> Vec<String> {
        let waiting = self.authorisations.waiting_for(&self.psu).await.unwrap();
        waiting
            .into_iter()
            .map(|page| page.authorisation.id)
            .collect()
    }

    /// Approves on the phone.
    pub async fn approve_on_the_phone(
        &self,
        id: &str,
        phone: &str,
    ) -> Result<ApprovalOutcome, AuthorisationError> {
        self.authorisations.claim(id, &self.psu).await?;
        let proof = self.prove(id, &MethodId::App, phone).await?;
        self.authorisations.approve(id, proof, None).await
    }

    /// Logs in and refuses.
    pub async fn refuse(&self, id: &str) -> Result<ApprovalOutcome, AuthorisationError> {
        self.authorisations.claim(id, &self.psu).await?;
        self.authorisations.refuse(id, &self.psu).await
    }

    /// Takes back a consent.
    pub async fn revoke(&self, consent: &str) -> bool {
        self.authorisations
            .revoke(&self.psu, consent)
            .await
            .unwrap()
    }

    async fn prove(
        &self,
        id: &str,
        method: &MethodId,
        answer: &str,
    ) -> Result<Proof, AuthorisationError> {
        let subject = Subject::authorisation(id);
        self.sca
            .challenge(&self.psu, method, &subject, BROWSER)
            .await?;
        let proof = self
            .sca
            .prove(&self.psu, method, &subject, answer, BROWSER)
            .await?;
        Ok(proof)
    }
}
