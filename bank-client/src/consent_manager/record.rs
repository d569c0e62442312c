//! Connection record, as it is stored (sealed).

use std::net::IpAddr;
use std::num::NonZeroU32;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use shared_types::xs2a::consent::{ConsentInformation, ConsentRequest};
use shared_types::xs2a::link::Links;
use url::Url;
use uuid::Uuid;

use super::connection_status::{ConnectionStatus, Renewal};
use super::consent_terms::ConsentTerms;
use super::lifecycle::{Current, EndReason, Event, Lifecycle, Next};
use super::usage::{Usage, day_of};
use crate::authorisations::ApprovalOptions;
use crate::directory::BankId;

/// Stored record of a connection.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Connection {
    pub(super) bank: BankId,
    /// The program's name for the customer.
    pub(super) customer: String,
    pub(super) consent_terms: ConsentTerms,
    pub(super) begun: DateTime<Utc>,
    pub(super) lifecycle: Lifecycle,
    /// The consent used for reads, also after it has ended.
    pub(super) active: Option<ActiveConsent>,
    /// The consent that is requested.
    pub(super) pending: Option<PendingRequest>,
    /// The `state` that the customer's browser brings back from the bank.
    pub(super) state: Option<String>,
    /// Consents that serve nothing more, and may still stand at the bank.
    pub(super) to_terminate: Vec<String>,
    pub(super) usage: Usage,
}

/// A consent that the customer has approved.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ActiveConsent {
    pub(super) consent: String,
    pub(super) last_day: NaiveDate,
    pub(super) reads_per_day: NonZeroU32,
    pub(super) since: DateTime<Utc>,
}

/// A consent request, stored whole so that it can be repeated verbatim.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PendingRequest {
    pub(super) request_id: Uuid,
    /// The requested terms: the connection's own, once they are approved.
    pub(super) consent_terms: ConsentTerms,
    pub(super) request: ConsentRequest,
    pub(super) days: u32,
    /// The bank has refused a longer one.
    pub(super) shortened: bool,
    pub(super) psu: Option<IpAddr>,
    pub(super) options: ApprovalOptions,
    pub(super) since: DateTime<Utc>,
    /// The manager that sent it.
    pub(super) by: Uuid,
    /// The customer came back from the bank.
    pub(super) returned: bool,
    /// The bank's response.
    pub(super) answer: Option<Answer>,
}

/// The bank's answer.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) consent: String,
    pub(super) authorisation: Option<String>,
    pub(super) links: Links,
}

/// The address, and what is to be brought back along with it.
pub(super) fn with_state(address: &str, state: &str) -> String {
    // The bank refuses an invalid address.
    Url::parse(address).map_or_else(
        |_| address.to_owned(),
        |mut url| {
            url.query_pairs_mut().append_pair("state", state);
            url.into()
        },
    )
}

impl ActiveConsent {
    /// The consent that the bank gave, limited to the days and reads a day that were requested.
    /// Missing or unreadable values are taken from the request.
    pub(super) fn of(
        consent: &str,
        given: Option<&ConsentInformation>,
        asked: &ConsentRequest,
        now: DateTime<Utc>,
    ) -> Self {
        let last_day = given.and_then(|given| given.valid_until);
        let reads_per_day = given.and_then(|given| given.frequency_per_day);
        Self {
            consent: consent.to_owned(),
            last_day: last_day.map_or(asked.valid_until, |day| day.min(asked.valid_until)),
            reads_per_day: reads_per_day.map_or(asked.frequency_per_day, |reads| {
                reads.min(asked.frequency_per_day)
            }),
            since: now,
        }
    }

    /// Fields in which the given consent exceeds the requested one.
    pub(super) fn excess(given: &ConsentInformation, asked: &ConsentRequest) -> Vec<&'static str> {
        let days = given.valid_until > Some(asked.valid_until);
        let reads = given.frequency_per_day > Some(asked.frequency_per_day);
        [(days, "validUntil"), (reads, "frequencyPerDay")]
            .into_iter()
            .filter_map(|(exceeds, field)| exceeds.then_some(field))
            .collect()
    }
}

impl Connection {
    /// One for which nothing was asked yet.
    pub(super) fn new(
        bank: BankId,
        customer: &str,
        consent_terms: &ConsentTerms,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            bank,
            customer: customer.to_owned(),
            consent_terms: consent_terms.clone(),
            begun: now,
            lifecycle: Lifecycle::new(),
            active: None,
            pending: None,
            state: None,
            to_terminate: Vec::new(),
            usage: Usage::default(),
        }
    }

    /// The consent under which is read, if it still opens anything at that moment.
    pub(super) fn serving(&self, now: DateTime<Utc>, zone: Tz) -> Option<&ActiveConsent> {
        let active = self.active.as_ref()?;
        let serves =
            self.lifecycle.current == Current::Serving && day_of(now, zone) <= active.last_day;
        serves.then_some(active)
    }

    /// The consent that waits for the customer.
    pub(super) fn waiting(&self) -> Option<(&PendingRequest, &Answer)> {
        let pending = self.pending.as_ref()?;
        let waits = self.lifecycle.next == Next::Waiting;
        waits.then_some((pending, pending.answer.as_ref()?))
    }

    /// The consent under which is read, or was; else the one that waits for the customer.
    pub(super) fn consent(&self) -> Option<&str> {
        let active = self.active.as_ref().map(|active| &active.consent);
        let waits = || self.waiting().map(|(_, answer)| &answer.consent);
        active.or_else(waits).map(String::as_str)
    }

    /// Whether that request is the one whose answer, or approval, is waited for.
    pub(super) fn is_pending(&self, request_id: Uuid) -> bool {
        let pending = self.pending.as_ref();
        pending.is_some_and(|pending| pending.request_id == request_id)
    }

    /// Whether that consent is anywhere here.
    pub(super) fn has_consent(&self, consent: &str) -> bool {
        let asked = self
            .pending
            .as_ref()
            .and_then(|pending| pending.answer.as_ref());
        let active = self.active.as_ref().map(|active| &active.consent);
        active
            .into_iter()
            .chain(asked.map(|answer| &answer.consent))
            .chain(&self.to_terminate)
            .any(|known| known == consent)
    }

    /// Applies an event. Returns whether it changed anything.
    pub(super) fn apply(&mut self, event: Event) -> bool {
        let after = self.lifecycle.after(event);
        self.lifecycle = after.unwrap_or(self.lifecycle);
        after.is_some()
    }

    /// Replaces the consent in use by the requested one, which is approved. Returns whether it did.
    pub(super) fn switch(&mut self, active: ActiveConsent) -> bool {
        if !self.apply(Event::Approved) {
            return false;
        }
        self.usage = self.usage.reset();
        if let Some(pending) = self.pending.take() {
            self.consent_terms = pending.consent_terms;
        }
        let old = self.active.replace(active).map(|old| old.consent);
        self.mark_for_termination(old);
        true
    }

    /// Records that the requested consent was not approved. Returns whether that is new.
    pub(super) fn fail(&mut self, event: Event) -> bool {
        if !self.apply(event) {
            return false;
        }
        let answer = self.pending.take().and_then(|pending| pending.answer);
        self.mark_for_termination(answer.map(|answer| answer.consent));
        true
    }

    /// The connection is given up, and all its consents with it. A request that was not answered is
    /// kept: what became of it is to be asked. Says whether that is new.
    pub(super) fn leave(&mut self) -> bool {
        if !self.apply(Event::Disconnected) {
            return false;
        }
        let active = self.active.take().map(|active| active.consent);
        self.mark_for_termination(active);
        if let Some(PendingRequest {
            answer: Some(answer),
            ..
        }) = self.pending.take_if(|pending| pending.answer.is_some())
        {
            self.mark_for_termination(Some(answer.consent));
        }
        true
    }

    /// A consent serves nothing more. A bank that gives one and the same twice does not lose it to
    /// us.
    fn mark_for_termination(&mut self, consent: Option<String>) {
        let still = self.active.as_ref().map(|active| &active.consent);
        let consent = consent.filter(|consent| Some(consent) != still);
        self.to_terminate.extend(consent);
    }

    /// Whether what waits for the customer is what would be asked for now: the same wish, if there
    /// is one, and the same way of approving. Where she is not sent to the bank, she does not come
    /// back either.
    pub(super) fn waits_for(
        &self,
        consent_terms: Option<&ConsentTerms>,
        options: &ApprovalOptions,
        redirected: bool,
    ) -> bool {
        let Some((pending, _)) = self.waiting() else {
            return true;
        };
        let sent = self.state.as_deref().unwrap_or_default();
        let back = options.return_to.as_deref();
        let back = back.map(|address| with_state(address, sent));
        let asked = &pending.options;
        consent_terms.is_none_or(|consent_terms| pending.consent_terms == *consent_terms)
            && (options.psu_id.is_none() || options.psu_id == asked.psu_id)
            && (options.preferred.is_none() || options.preferred == asked.preferred)
            && (asked.explicit || !options.explicit)
            && (!redirected || asked.return_to == back)
    }

    /// The status at that moment. Changes by time alone are computed on each call.
    pub(super) fn status(&self, now: DateTime<Utc>, zone: Tz) -> ConnectionStatus {
        let renewal = match self.lifecycle.next {
            Next::None => None,
            Next::Intended | Next::Waiting => Some(Renewal::Waiting),
            Next::Failed(why) => Some(Renewal::Failed(why)),
        };
        match (self.lifecycle.current, renewal) {
            (Current::Leaving, _) => ConnectionStatus::Leaving,
            (Current::None, Some(Renewal::Failed(why))) => ConnectionStatus::NeverApproved(why),
            (Current::None, _) => ConnectionStatus::Waiting,
            (Current::Ended(reason), renewal) => ConnectionStatus::Ended { reason, renewal },
            (Current::Serving, renewal) => {
                let reason = EndReason::Expired;
                let Some(active) = self.serving(now, zone) else {
                    return ConnectionStatus::Ended { reason, renewal };
                };
                let until = active.last_day;
                match self.usage.used_up_until(now, active.reads_per_day, zone) {
                    None => ConnectionStatus::Serving { until, renewal },
                    Some(again) => ConnectionStatus::UsedUp {
                        until,
                        again,
                        renewal,
                    },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_more_is_taken_than_was_asked_for() {
        let asked = ConsentTerms::all_accounts().request("2026-11-25".parse().unwrap(), 90);
        for (until, reads_per_day, expected, excess) in [
            ("2027-02-23", 4, ("2027-02-23", 4), vec![]),
            ("2026-12-25", 1, ("2026-12-25", 1), vec![]),
            ("2027-05-24", 4, ("2027-02-23", 4), vec!["validUntil"]),
            (
                "2026-12-25",
                100,
                ("2026-12-25", 4),
                vec!["frequencyPerDay"],
            ),
        ] {
            let given = json!({
                "access": { "allPsd2": "allAccounts" }, "recurringIndicator": true, "validUntil": until,
                "frequencyPerDay": reads_per_day, "consentStatus": "valid",
            });
            let given = serde_json::from_value(given).unwrap();
            let active = ActiveConsent::of("c-1", Some(&given), &asked, DateTime::UNIX_EPOCH);
            let taken = (active.last_day.to_string(), active.reads_per_day.get());
            assert_eq!((taken.0.as_str(), taken.1), expected);
            assert_eq!(ActiveConsent::excess(&given, &asked), excess);
        }
    }

    fn active(consent: &str) -> ActiveConsent {
        ActiveConsent {
            consent: consent.to_owned(),
            last_day: NaiveDate::MAX,
            reads_per_day: NonZeroU32::MIN,
            since: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_bank_that_gives_the_same_consent_again_does_not_lose_it_to_us() {
        for (given, given_up) in [("c-1", vec![]), ("c-2", vec!["c-1"])] {
            let consent_terms = ConsentTerms::all_accounts();
            let bank = "bank-b".parse().unwrap();
            let mut connection = Connection::new(bank, "17", &consent_terms, DateTime::UNIX_EPOCH);
            connection.lifecycle = Lifecycle {
                current: Current::Serving,
                next: Next::Waiting,
            };
            connection.active = Some(active("c-1"));
            assert!(connection.switch(active(given)));
            assert_eq!(connection.to_terminate, given_up);
        }
    }
}
