//! Read access under a valid consent: the reader, and the accounts and data that the consent
//! covers.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use chrono::{NaiveDate, TimeDelta};
use futures::future::LocalBoxFuture;
use shared_types::xs2a::account::{AccountReference, Balance};
use shared_types::xs2a::consent::ConsentStatus;
use shared_types::xs2a::link::Links;

use super::Xs2a;
use super::error::{ApiError, Result};
use super::middleware::RequestContext;
use crate::consent::{Allowance, allowance, current_status, first_day};
use crate::domain::{AccountId, AccountKind, Consent, Grant, Granted, Resource};
use crate::store::usage::Shown;

const CONSENT_ID: &str = "Consent-ID";
const PSU_IP_ADDRESS: &str = "PSU-IP-Address";

/// A read that a valid consent covers.
pub(super) struct ConsentAccess {
    pub(super) state: web::Data<Xs2a>,
    granted: Arc<Granted>,
    /// The customer is present (`PSU-IP-Address`).
    attended: bool,
}

impl FromRequest for ConsentAccess {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let context = RequestContext::from_request(request, payload);
        let state = request.app_data::<web::Data<Xs2a>>().cloned();
        let consent_id = single(request, CONSENT_ID).and_then(|id| {
            id.ok_or_else(|| ApiError::format(CONSENT_ID, "the header is required"))
        });
        let psu = psu_ip_address(request);
        Box::pin(async move {
            let (context, state) = (context.await?, state.ok_or_else(ApiError::internal)?);
            let consent_id = consent_id?;
            let attended = psu?.is_some();
            let granted = state
                .consents
                .find_with_grants(context.tpp.organisation(), &consent_id)
                .await?
                .ok_or_else(ApiError::unknown_consent_id)?;
            match current_status(&granted.consent, state.calendar.now(), &state.calendar) {
                ConsentStatus::Valid => Ok(Self {
                    state,
                    granted,
                    attended,
                }),
                ConsentStatus::Expired => Err(ApiError::consent_expired()),
                status => Err(ApiError::consent_invalid(format!(
                    "the consent is {status}, not valid"
                ))),
            }
        })
    }
}

/// Account that the consent covers; `D` is its type in the standard.
pub(super) struct GrantedAccount<'a, D> {
    pub(super) id: AccountId,
    pub(super) details: D,
    pub(super) reference: AccountReference,
    pub(super) grant: &'a Grant,
    /// The balances, if they were requested and the consent covers them.
    pub(super) balances: Option<Vec<Balance>>,
}

impl ConsentAccess {
    /// The consent.
    pub(super) fn consent(&self) -> &Consent {
        &self.granted.consent
    }

    /// The accounts of one kind that the consent covers.
    ///
    /// Cost: one call of the core banking system for the accounts, and one for balances if they are
    /// wanted.
    pub(super) async fn accounts<D>(
        &self,
        kind: fn(AccountKind) -> Option<D>,
        with_balance: bool,
    ) -> Result<Vec<GrantedAccount<'_, D>>> {
        let grants: Vec<&Grant> = self.granted.grants.iter().collect();
        self.open(&grants, kind, with_balance).await
    }

    /// One account of that kind. An account that the consent does not open fails like one that does
    /// not exist.
    pub(super) async fn account<D>(
        &self,
        id: &str,
        kind: fn(AccountKind) -> Option<D>,
        with_balance: bool,
    ) -> Result<GrantedAccount<'_, D>> {
        let grants: Vec<&Grant> = self
            .granted
            .grants
            .iter()
            .filter(|grant| grant.account.0 == id)
            .collect();
        let opened = self.open(&grants, kind, with_balance).await?;
        let account = opened.into_iter().next().ok_or_else(|| {
            ApiError::no_such_resource("there is no such account under this consent")
        })?;
        require(
            account.grant.details,
            "the consent opens the list of accounts, and no account by itself",
        )?;
        Ok(account)
    }

    /// Counts a successful read of one account, as [`count`](Self::count) does.
    pub(super) async fn count_one<D>(
        &self,
        resource: Resource<'_>,
        shown: &GrantedAccount<'_, D>,
    ) -> Result<()> {
        self.count(resource, std::slice::from_ref(shown)).await
    }

    /// Counts a successful read of these accounts. Fails if it exceeds the frequency of the
    /// consent.
    pub(super) async fn count<D>(
        &self,
        resource: Resource<'_>,
        shown: &[GrantedAccount<'_, D>],
    ) -> Result<()> {
        let (usage, consent, now) = (&self.state.usage, self.consent(), self.state.calendar.now());
        match allowance(consent, self.attended) {
            Allowance::Unlimited => {}
            Allowance::ADay(limit) => {
                let calendar = &self.state.calendar;
                let (today, latest) = (calendar.date_of(now), calendar.latest_today());
                let counted = usage.count(&consent.id, resource, today, latest, limit);
                if !counted.await? {
                    return Err(ApiError::read_too_often(limit.get()));
                }
            }
            Allowance::Once => {
                let accounts: Vec<AccountId> =
                    shown.iter().map(|account| account.id.clone()).collect();
                let shown = Shown {
                    accounts: &accounts,
                    balances: shown.iter().any(|account| account.balances.is_some()),
                };
                let ends = now + TimeDelta::minutes(self.state.rules.one_off_minutes.into());
                if !usage.once(&consent.id, resource, shown, now, ends).await? {
                    return Err(ApiError::read_twice());
                }
                // The last use was recorded along with that.
                return Ok(());
            }
        }
        // A read that was counted succeeds even if its use cannot be recorded.
        if let Err(error) = usage.note(consent, now).await {
            tracing::warn!(%error, "use of a consent not recorded");
        }
        Ok(())
    }

    /// The first day whose transactions can be read now.
    pub(super) fn first_day(&self) -> NaiveDate {
        let (now, today) = (self.state.calendar.now(), self.state.calendar.today());
        first_day(&self.state.rules, self.consent(), now, today)
    }

    async fn open<'a, D>(
        &self,
        grants: &[&'a Grant],
        kind: fn(AccountKind) -> Option<D>,
        with_balance: bool,
    ) -> Result<Vec<GrantedAccount<'a, D>>> {
        let ids: Vec<AccountId> = grants.iter().map(|grant| grant.account.clone()).collect();
        let mut opened = Vec::with_capacity(grants.len());
        for account in self.state.core.accounts(&ids).await? {
            let reference = account.reference();
            let grant = grants.iter().find(|grant| grant.account == account.id);
            if let (Some(grant), Some(details)) = (grant, kind(account.kind)) {
                opened.push(GrantedAccount {
                    id: account.id,
                    details,
                    reference,
                    grant,
                    balances: None,
                });
            }
        }
        if with_balance {
            let mut open: Vec<_> = opened
                .iter_mut()
                .filter(|account| account.grant.balances)
                .collect();
            let ids: Vec<AccountId> = open.iter().map(|account| account.id.clone()).collect();
            let balances = self.state.core.balances(&ids).await?;
            for (account, balances) in open.iter_mut().zip(balances) {
                account.balances = Some(balances);
            }
        }
        Ok(opened)
    }
}

impl<D> GrantedAccount<'_, D> {
    /// Fails where the consent does not open the balances.
    pub(super) fn require_balances(&self) -> Result<()> {
        require(
            self.grant.balances,
            "the consent does not open the balances of this account",
        )
    }

    /// Fails where the consent does not open the transactions.
    pub(super) fn require_transactions(&self) -> Result<()> {
        require(
            self.grant.transactions,
            "the consent does not open the transactions of this account",
        )
    }

    /// Links from the account to the resources that the consent covers; none if it covers the list
    /// of accounts only. `path` is that of the account.
    pub(super) fn links(&self, path: &str) -> Option<Links> {
        if !self.grant.details {
            return None;
        }
        let mut links = Links::new();
        if self.grant.balances {
            links = links.with("balances", format!("{path}/balances"));
        }
        if self.grant.transactions {
            links = links.with("transactions", format!("{path}/transactions"));
        }
        Some(links)
    }
}

fn require(opened: bool, text: &'static str) -> Result<()> {
    if opened {
        Ok(())
    } else {
        Err(ApiError::consent_invalid(text))
    }
}

/// `PSU-IP-Address`: present exactly if the customer is present.
pub(super) fn psu_ip_address(request: &HttpRequest) -> Result<Option<IpAddr>> {
    single(request, PSU_IP_ADDRESS)?
        .map(|text| {
            text.parse()
                .map_err(|_| ApiError::format(PSU_IP_ADDRESS, "expected an IPv4 or IPv6 address"))
        })
        .transpose()
}

/// Value of a header that is allowed once, by its name as the standard spells it.
pub(super) fn single(request: &HttpRequest, name: &'static str) -> Result<Option<String>> {
    let mut values = request.headers().get_all(name);
    let value = values.next();
    if values.next().is_some() {
        return Err(ApiError::format(name, "the header must be there once"));
    }
    value
        .map(|value| value.to_str().map(str::to_owned))
        .transpose()
        .map_err(|_| ApiError::format(name, "the header must be plain text"))
}
