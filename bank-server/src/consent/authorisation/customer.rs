//! Customer's side of authorisations: list, approve and refuse them, and list and revoke the
//! consents given.

use chrono::TimeDelta;
use shared_types::pki::digest;
use shared_types::xs2a::authorisation::{ScaApproach, ScaStatus};
use shared_types::xs2a::consent::{AccountAccess, AllAccounts, ConsentStatus};
use subtle::ConstantTimeEq as _;
use url::Url;

use super::embedded::check_customer;
use super::{AuthorisationError, Authorisations, Result, check_waiting};
use crate::consent::{
    Event, NotTheCustomers, chosen, current_status, grants, is_bank_offered, next,
};
use crate::domain::{
    Account, AccountId, ApprovedAccess, Authorisation, Consent, CustomerConsent, Grant, MethodId,
    PsuId, TppRecord,
};
use crate::sca::{Proof, ScaError, Subject};
use crate::store::authorisations::Change;
use crate::store::consents::Rule;
use crate::store::credentials::CredentialsVersion;

/// Time for which an approval with a second element exempts later access by the same customer and
/// TPP.
const EXEMPT_FOR: TimeDelta = TimeDelta::days(180);

/// An authorisation as a customer is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRequest {
    /// The authorisation, with its current status.
    pub authorisation: Authorisation,
    /// The consent.
    pub consent: Consent,
    /// The current status of the consent.
    pub consent_status: ConsentStatus,
    /// The TPP, by register and certificate.
    pub tpp: TppRecord,
}

/// The accounts that approving would open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedAccess {
    /// Each account, and how far it is opened.
    pub accounts: Vec<(Account, Grant)>,
    /// Whether the customer chooses among them.
    pub is_choice: bool,
    /// Number of customers who have to approve.
    pub approvals_needed: u32,
    /// Number of others who have approved before.
    pub approvals_given: u32,
}

/// Outcome of approving or refusing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalOutcome {
    /// The current status of the consent.
    pub consent_status: ConsentStatus,
    /// Redirect URI for the customer, if the TPP has given one.
    pub return_to: Option<Url>,
}

impl Authorisations {
    /// The authorisation as a customer is shown it, whatever its status.
    pub async fn request(&self, id: &str) -> Result<ApprovalRequest> {
        let authorisation = self
            .store
            .find_for_customer(id)
            .await?
            .ok_or(AuthorisationError::Unknown)?;
        self.request_of(self.with_current_status(authorisation))
            .await
    }

    pub(super) async fn request_of(&self, authorisation: Authorisation) -> Result<ApprovalRequest> {
        let found = self.given.find(&authorisation.consent_id).await?;
        let (consent, tpp) = found.ok_or(AuthorisationError::NoSuchConsent)?;
        let consent_status = self.current_consent_status(&consent);
        Ok(ApprovalRequest {
            authorisation,
            consent,
            consent_status,
            tpp,
        })
    }

    /// Authorisations that wait in the bank's app for that customer, the newest first.
    pub async fn waiting_for(&self, psu: &PsuId) -> Result<Vec<ApprovalRequest>> {
        let since = self.calendar.now() - self.rules.authorisation_lifetime();
        let mut requests = Vec::new();
        for authorisation in self.store.waiting_for(psu, since).await? {
            let request = self.request_of(authorisation).await?;
            if check_waiting(request.consent_status).is_ok() {
                requests.push(request);
            }
        }
        Ok(requests)
    }

    /// The customer has logged in for it, or answers it.
    ///
    /// From then on the authorisation belongs to this customer, provided that the customer can
    /// answer it: no other customer can approve it, except one who logs in for it before it is
    /// answered (`claim_by_log_in`). An authorisation that the TPP has started for another customer
    /// is not shown.
    pub async fn claim(&self, id: &str, psu: &PsuId) -> Result<ApprovalRequest> {
        let credentials = self.sca.credentials_of(psu).await?;
        self.claim_under(id, psu, credentials).await
    }

    /// Like `claim`, for a customer who has authenticated under that version of the credentials.
    pub(crate) async fn claim_under(
        &self,
        id: &str,
        psu: &PsuId,
        credentials: CredentialsVersion,
    ) -> Result<ApprovalRequest> {
        let request = self.request(id).await?;
        check_customer(&request.authorisation, psu)?;
        self.claim_request(request, psu, credentials).await
    }

    /// Like `claim`, for a customer who has just logged in for it. Replaces a customer who logged
    /// in for it earlier and has not answered; a later answer of that customer is rejected.
    pub(crate) async fn claim_by_log_in(
        &self,
        id: &str,
        psu: &PsuId,
        credentials: CredentialsVersion,
    ) -> Result<ApprovalRequest> {
        let request = self.request(id).await?;
        if !request.authorisation.by_log_in {
            check_customer(&request.authorisation, psu)?;
        }
        self.claim_request(request, psu, credentials).await
    }

    async fn claim_request(
        &self,
        request: ApprovalRequest,
        psu: &PsuId,
        credentials: CredentialsVersion,
    ) -> Result<ApprovalRequest> {
        let is_new = request.authorisation.psu.as_ref() != Some(psu);
        check_waiting(request.consent_status)?;
        match request.authorisation.status {
            ScaStatus::Received | ScaStatus::PsuIdentified | ScaStatus::Started => {}
            ScaStatus::PsuAuthenticated if is_new => {}
            status if status.is_final() || status == ScaStatus::Unconfirmed => {
                return Err(AuthorisationError::OutOfTurn(status));
            }
            // If another customer has approved since, the customer is shown the new access.
            status if request.authorisation.shown != Some(request.consent.status) => {
                let change = Change {
                    shown: Some(request.consent.status),
                    ..Change::default()
                };
                return self.advance_request(request, status, change).await;
            }
            _ => return Ok(request),
        }
        self.check_first_approval(&request.consent.id, psu).await?;
        if is_new {
            // It becomes that of a customer who can answer it alone.
            self.offer(&request, psu).await?;
        }
        let change = Change {
            psu: Some(psu),
            by_log_in: is_new.then_some(true),
            credentials: Some(credentials),
            shown: Some(request.consent.status),
            ..Change::default()
        };
        let to = ScaStatus::PsuAuthenticated;
        self.advance_request(request, to, change).await
    }

    async fn advance_request(
        &self,
        request: ApprovalRequest,
        to: ScaStatus,
        change: Change<'_>,
    ) -> Result<ApprovalRequest> {
        let advanced = self.advance(&request.authorisation, to, change, None);
        Ok(ApprovalRequest {
            authorisation: advanced.await?,
            ..request
        })
    }

    /// Fails if the customer has approved that consent in another authorisation.
    pub(super) async fn check_first_approval(&self, consent_id: &str, psu: &PsuId) -> Result<()> {
        // One that was left unconfirmed has failed, and counts for nothing.
        let before = self.store.of_consent(consent_id).await?;
        let mut before = before
            .into_iter()
            .map(|other| self.with_current_status(other));
        if before.any(|other| has_approved(&other, psu)) {
            return Err(AuthorisationError::ApprovedBefore);
        }
        Ok(())
    }

    /// The accounts that an approval would give access to, for a customer who was already logged
    /// in. Does not assign the authorisation to the customer.
    pub(crate) async fn preview(
        &self,
        request: &ApprovalRequest,
        psu: &PsuId,
    ) -> Result<OfferedAccess> {
        check_customer(&request.authorisation, psu)?;
        self.check_first_approval(&request.consent.id, psu).await?;
        self.offer(request, psu).await
    }

    /// The accounts that approving would open, for a customer who has logged in.
    pub async fn offer(&self, request: &ApprovalRequest, psu: &PsuId) -> Result<OfferedAccess> {
        let accounts = self.core.accounts_of(psu).await?;
        if request.consent.status == ConsentStatus::PartiallyAuthorised {
            let granted = self.given.grants_of(&request.consent.id).await?;
            let ids: Vec<AccountId> = granted.iter().map(|grant| grant.account.clone()).collect();
            let offer = joint(&accounts, pair(&self.core.accounts(&ids).await?, granted))?;
            let approvals_given = self.store.approvals_of(&request.consent.id).await?;
            return Ok(OfferedAccess {
                approvals_given,
                ..offer
            });
        }
        let granted = grants(&request.consent.access, &accounts)?;
        if granted.is_empty() {
            return Err(AuthorisationError::NoAccount);
        }
        let accounts = pair(&accounts, granted);
        Ok(OfferedAccess {
            approvals_needed: needed(&accounts),
            approvals_given: 0,
            is_choice: is_bank_offered(&request.consent.access),
            accounts,
        })
    }

    /// Whether the bank requires no second element from that customer: for a list of accounts only,
    /// if the customer has given this TPP access with one in the last 180 days (Delegated
    /// Regulation (EU) 2018/389, article 10a).
    pub async fn is_exempt(&self, authorisation: &Authorisation, psu: &PsuId) -> Result<bool> {
        if !self.rules.exempt_account_list {
            return Ok(false);
        }
        let found = self.given.find(&authorisation.consent_id).await?;
        if !found.is_some_and(|(consent, _)| {
            consent.access.available_accounts == Some(AllAccounts::AllAccounts)
        }) {
            return Ok(false);
        }
        let after = self.calendar.now() - EXEMPT_FOR;
        let (store, consent_id) = (&self.store, &authorisation.consent_id);
        Ok(store.has_authenticated(psu, consent_id, after).await?)
    }

    /// Approves, with a proof that was made for this authorisation.
    ///
    /// `selected` are the accounts that the customer has chosen, if the consent leaves the choice
    /// to the customer; `None` selects all. TPPs do not transmit a choice: a consent with one
    /// cannot be approved in the embedded approach.
    pub async fn approve(
        &self,
        id: &str,
        proof: Proof,
        selected: Option<&[AccountId]>,
    ) -> Result<ApprovalOutcome> {
        if !proof.is_for(&Subject::authorisation(id)) {
            return Err(AuthorisationError::OtherCustomer);
        }
        let ready = self.ready(id, proof.psu(), selected, proof.facts_digest());
        let (request, opening) = ready.await?;
        self.count(request, proof.psu(), Some(&proof), opening.as_ref())
            .await
    }

    /// Approves without a second element, for a customer who has given the password for it.
    pub async fn approve_exempt(&self, id: &str, psu: &PsuId) -> Result<ApprovalOutcome> {
        let (request, opening) = self.ready(id, psu, None, None).await?;
        if !self.is_exempt(&request.authorisation, psu).await? {
            return Err(AuthorisationError::OutOfTurn(request.authorisation.status));
        }
        self.count(request, psu, None, opening.as_ref()).await
    }

    /// Counts an approval, with that proof or without a second element. Where the TPP has to confirm
    /// that the customer is its own, it counts only then.
    async fn count(
        &self,
        request: ApprovalRequest,
        psu: &PsuId,
        proof: Option<&Proof>,
        opening: Option<&ApprovedAccess>,
    ) -> Result<ApprovalOutcome> {
        let method = proof.map(Proof::method);
        let authorisation = &request.authorisation;
        let return_to = address(authorisation.redirect_uri.as_deref());
        if !self.rules.confirmation_code || authorisation.approach != ScaApproach::Redirect {
            let to = ended_by(method);
            let consent_status = match self.succeed(authorisation, to, psu, opening).await {
                // Another customer has approved in between. Through a TPP, the customer approves
                // the consent's current access.
                Err(AuthorisationError::OutOfTurn(status))
                    if authorisation.approach == ScaApproach::Embedded
                        && status == authorisation.status =>
                {
                    let digest = proof.and_then(Proof::facts_digest);
                    let ready = self.ready(&authorisation.id, psu, None, digest);
                    let (_, opening) = ready.await?;
                    let opening = opening.as_ref();
                    self.succeed(authorisation, to, psu, opening).await?
                }
                outcome => outcome?,
            };
            return Ok(ApprovalOutcome {
                consent_status,
                return_to,
            });
        }
        let code = self.randomness.uuid().simple().to_string();
        let (digest, now) = (digest::sha256(code.as_bytes()), self.calendar.now());
        let store = &self.store;
        if !store
            .await_confirmation(authorisation, method, psu, &digest, opening, now)
            .await?
        {
            return Err(self.overtaken(&authorisation.id).await);
        }
        Ok(ApprovalOutcome {
            consent_status: request.consent_status,
            return_to: return_to.map(|mut uri| {
                uri.query_pairs_mut().append_pair("code", &code);
                uri
            }),
        })
    }

    /// Gives an authorisation up, for want of a proof: nothing is opened, and another may be
    /// started.
    pub async fn give_up(&self, id: &str, psu: &PsuId) -> Result<()> {
        let request = self.request(id).await?;
        check_customer(&request.authorisation, psu)?;
        if request.authorisation.status.is_final() {
            return Err(AuthorisationError::OutOfTurn(request.authorisation.status));
        }
        if !self.fail(&request.authorisation).await? {
            return Err(self.overtaken(id).await);
        }
        Ok(())
    }

    /// Refuses it: nothing is opened, and the consent is rejected.
    pub async fn refuse(&self, id: &str, psu: &PsuId) -> Result<ApprovalOutcome> {
        let request = self.request(id).await?;
        check_customer(&request.authorisation, psu)?;
        if request.authorisation.psu.is_none() || request.authorisation.status.is_final() {
            return Err(AuthorisationError::OutOfTurn(request.authorisation.status));
        }
        check_waiting(request.consent_status)?;
        let (now, calendar) = (self.calendar.now(), &self.calendar);
        let rejected: Rule<'_> = &|consent| next(consent, Event::Refused, now, calendar);
        if !self
            .store
            .fail(&request.authorisation, Some(rejected), now)
            .await?
        {
            return Err(self.overtaken(id).await);
        }
        let uri = request
            .authorisation
            .nok_redirect_uri
            .or(request.authorisation.redirect_uri);
        Ok(ApprovalOutcome {
            consent_status: ConsentStatus::Rejected,
            return_to: address(uri.as_deref()),
        })
    }

    /// The consents that a customer has given, with their TPPs and when they were last used, the
    /// newest first.
    pub async fn consents_of(&self, psu: &PsuId) -> Result<Vec<CustomerConsent>> {
        let mut given = self.given.approved_by(psu).await?;
        for one in &mut given {
            one.status = self.current_consent_status(&one.consent);
        }
        Ok(given)
    }

    /// Revokes a consent that the customer has given. Returns whether there was one to revoke.
    pub async fn revoke(&self, psu: &PsuId, consent_id: &str) -> Result<bool> {
        let (now, calendar) = (self.calendar.now(), &self.calendar);
        let revoked: Rule<'_> = &|consent| next(consent, Event::Revoked, now, calendar);
        Ok(self.given.change(psu, consent_id, revoked, now).await?)
    }

    pub(super) fn current_consent_status(&self, consent: &Consent) -> ConsentStatus {
        current_status(consent, self.calendar.now(), &self.calendar)
    }

    /// Checks that an approval is possible, and returns the access that a first approval gives. With
    /// `facts_digest`, it has to be the access that the customer has approved.
    pub(super) async fn ready(
        &self,
        id: &str,
        psu: &PsuId,
        selected: Option<&[AccountId]>,
        facts_digest: Option<&str>,
    ) -> Result<(ApprovalRequest, Option<ApprovedAccess>)> {
        let request = self.request(id).await?;
        check_customer(&request.authorisation, psu)?;
        check_waiting(request.consent_status)?;
        if !matches!(
            request.authorisation.status,
            ScaStatus::PsuAuthenticated | ScaStatus::ScaMethodSelected
        ) {
            return Err(AuthorisationError::OutOfTurn(request.authorisation.status));
        }
        let offer = self.offer(&request, psu).await?;
        if offer.is_choice && request.authorisation.approach == ScaApproach::Embedded {
            return Err(AuthorisationError::NeedsChoice);
        }
        if let Some(digest) = facts_digest {
            let facts = request.facts(psu, &offer, selected);
            if !bool::from(facts.digest().as_bytes().ct_eq(digest.as_bytes())) {
                return Err(ScaError::OtherFacts.into());
            }
        }
        if request.consent.status == ConsentStatus::PartiallyAuthorised {
            // Another customer has approved since the access was shown, so it may have changed.
            // Through a TPP, the bank shows nothing, and the customer approves the consent's
            // access.
            if request.authorisation.approach != ScaApproach::Embedded
                && request.authorisation.shown != Some(ConsentStatus::PartiallyAuthorised)
            {
                return Err(AuthorisationError::OutOfTurn(request.authorisation.status));
            }
            return Ok((request, None));
        }
        let opening = open(request.consent.access.clone(), offer, selected)?;
        Ok((request, Some(opening)))
    }
}

/// Final status of an approved authorisation, by that method or without a second element.
pub(super) const fn ended_by(method: Option<&MethodId>) -> ScaStatus {
    match method {
        Some(_) => ScaStatus::Finalised,
        None => ScaStatus::Exempted,
    }
}

/// The access of an offer, as far as the customer has chosen.
fn open(
    access: AccountAccess,
    offer: OfferedAccess,
    selected: Option<&[AccountId]>,
) -> Result<ApprovedAccess> {
    let mut accounts = offer.accounts;
    if let (true, Some(selected)) = (offer.is_choice, selected) {
        accounts.retain(|(account, _)| selected.contains(&account.id));
    }
    if accounts.is_empty() {
        return Err(AuthorisationError::NoAccount);
    }
    let approvals_needed = needed(&accounts);
    let (accounts, grants): (Vec<_>, Vec<_>) = accounts.into_iter().unzip();
    Ok(ApprovedAccess {
        access: chosen(access, &grants, &accounts),
        grants,
        approvals_needed,
    })
}

/// Access that a further customer approves: the accounts that need several approvals. All of them
/// must be this customer's as well.
fn joint(hers: &[Account], granted: Vec<(Account, Grant)>) -> Result<OfferedAccess> {
    let accounts: Vec<_> = granted
        .into_iter()
        .filter(|(account, _)| account.approvals_needed > 1)
        .collect();
    let all_hers = accounts
        .iter()
        .all(|(account, _)| hers.iter().any(|own| own.id == account.id));
    if accounts.is_empty() || !all_hers {
        return Err(NotTheCustomers.into());
    }
    Ok(OfferedAccess {
        approvals_needed: needed(&accounts),
        approvals_given: 0,
        is_choice: false,
        accounts,
    })
}

fn pair(accounts: &[Account], granted: Vec<Grant>) -> Vec<(Account, Grant)> {
    granted
        .into_iter()
        .filter_map(|grant| {
            let account = accounts
                .iter()
                .find(|account| account.id == grant.account)?;
            Some((account.clone(), grant))
        })
        .collect()
}

fn needed(accounts: &[(Account, Grant)]) -> u32 {
    accounts
        .iter()
        .map(|(account, _)| account.approvals_needed)
        .max()
        .unwrap_or(1)
}

fn has_approved(authorisation: &Authorisation, psu: &PsuId) -> bool {
    authorisation.psu.as_ref() == Some(psu)
        && matches!(
            authorisation.status,
            ScaStatus::Finalised | ScaStatus::Exempted | ScaStatus::Unconfirmed
        )
}

/// The redirect URI, which was checked when the authorisation was started.
fn address(uri: Option<&str>) -> Option<Url> {
    uri.and_then(|uri| Url::parse(uri).ok())
}
