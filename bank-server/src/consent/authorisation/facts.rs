//! Facts of an approval, from the request and the access that it offers.

use super::{ApprovalRequest, OfferedAccess};
use crate::domain::{AccountAction, AccountFacts, AccountId, ApprovalFacts, PsuId, TppFacts};

impl ApprovalRequest {
    /// What the customer approves: access to the chosen accounts of the offer; without a choice, to
    /// all.
    #[must_use]
    pub fn facts(
        &self,
        psu: &PsuId,
        offer: &OfferedAccess,
        chosen: Option<&[AccountId]>,
    ) -> ApprovalFacts {
        let (consent, tpp) = (&self.consent, &self.tpp);
        let is_chosen = |id: &AccountId| chosen.is_none_or(|chosen| chosen.contains(id));
        let accounts = offer.accounts.iter();
        let accounts = accounts.filter(|(account, _)| is_chosen(&account.id));
        ApprovalFacts {
            authorisation_id: self.authorisation.id.clone(),
            customer_id: psu.0.clone(),
            tpp: TppFacts {
                name: tpp.name.clone(),
                organisation: tpp.organisation.clone(),
                authority: tpp.authority.clone(),
            },
            accounts: accounts
                .map(|(account, grant)| AccountFacts {
                    account_id: account.id.clone(),
                    reference: account.reference(),
                    actions: AccountAction::of(grant),
                })
                .collect(),
            recurring: consent.recurring,
            frequency_per_day: consent.frequency_per_day,
            valid_until: consent.valid_until,
        }
    }
}
