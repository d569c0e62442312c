//! What is kept of a connection. All of it is sealed.

use std::net::IpAddr;
use std::num::NonZeroU32;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use shared_types::xs2a::authorisation::ScaApproach;
use shared_types::xs2a::consent::{ConsentInformation, ConsentRequest};
use shared_types::xs2a::link::Links;
use url::Url;
use uuid::Uuid;

use super::connection_status::{ConnectionStatus, Renewal};
use super::consent_terms::ConsentTerms;
use super::life::{Current, Ending, Event, Life, Next};
use super::usage::{Usage, day_of};
use crate::authorisations::ApprovalOptions;
use crate::directory::BankId;

/// All that is kept of a connection.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Connection {
    pub(super) bank: BankId,
    /// Whose it is, in the program's own words.
    pub(super) customer: String,
    pub(super) consent_terms: ConsentTerms,
    pub(super) begun: DateTime<Utc>,
    pub(super) life: Life,
    /// The consent under which is, or was, read.
    pub(super) held: Option<Held>,
    /// The one that is asked for.
    pub(super) asking: Option<Asking>,
    /// What the customer's browser brings back from the bank.
    pub(super) state: Option<String>,
    /// Consents that serve nothing more, and may still stand at the bank.
    pub(super) to_give_up: Vec<String>,
    pub(super) usage: Usage,
}

/// A consent that the customer has approved.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) consent: String,
    pub(super) last_day: NaiveDate,
    pub(super) a_day: NonZeroU32,
    pub(super) since: DateTime<Utc>,
}

/// A consent that is asked for: all that the request says, so that it can be repeated word for word.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Asking {
    pub(super) request_id: Uuid,
    /// What the customer is asked for: the connection's own, once it is approved.
    pub(super) consent_terms: ConsentTerms,
    pub(super) request: ConsentRequest,
    pub(super) days: u32,
    /// The bank has refused a longer one.
    pub(super) shortened: bool,
    pub(super) psu: Option<IpAddr>,
    pub(super) options: StoredOptions,
    pub(super) since: DateTime<Utc>,
    /// By which manager.
    pub(super) by: Uuid,
    /// The customer came back from the bank.
    pub(super) returned: bool,
    /// What the bank has answered.
    pub(super) answer: Option<Answer>,
}

/// The bank's answer.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) consent: String,
    pub(super) authorisation: Option<String>,
    pub(super) links: Links,
}

/// [`ApprovalOptions`], as they are stored.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StoredOptions {
    psu_id: Option<String>,
    pub(super) return_to: Option<String>,
    pub(super) return_to_if_refused: Option<String>,
    preferred: Option<ScaApproach>,
    explicit: bool,
}

impl From<&ApprovalOptions> for StoredOptions {
    fn from(options: &ApprovalOptions) -> Self {
        Self {
            psu_id: options.psu_id.clone(),
            return_to: options.return_to.clone(),
            return_to_if_refused: options.return_to_if_refused.clone(),
            preferred: options.preferred,
            explicit: options.explicit,
        }
    }
}

impl From<&StoredOptions> for ApprovalOptions {
    fn from(stored: &StoredOptions) -> Self {
        Self {
            psu_id: stored.psu_id.clone(),
            return_to: stored.return_to.clone(),
            return_to_if_refused: stored.return_to_if_refused.clone(),
            preferred: stored.preferred,
            explicit: stored.explicit,
        }
    }
}

/// The address, and what is to be brought back along with it.
pub(super) fn with_state(address: &str, state: &str) -> String {
    // What is no address is for the bank to refuse.
    Url::parse(address).map_or_else(
        |_| address.to_owned(),
        |mut url| {
            url.query_pairs_mut().append_pair("state", state);
            url.into()
        },
    )
}

impl Held {
    /// The consent as the bank gives it, and no more than was asked for: neither more days nor more reads a day. Where the
    /// bank does not say, or not so that it can be read, it is taken as it was asked for.
    pub(super) fn of(
        consent: &str,
        given: Option<&ConsentInformation>,
        asked: &ConsentRequest,
        now: DateTime<Utc>,
    ) -> Self {
        let last_day = given.and_then(|given| given.valid_until);
        let a_day = given.and_then(|given| given.frequency_per_day);
        Self {
            consent: consent.to_owned(),
            last_day: last_day.map_or(asked.valid_until, |day| day.min(asked.valid_until)),
            a_day: a_day.map_or(asked.frequency_per_day, |reads| {
                reads.min(asked.frequency_per_day)
            }),
            since: now,
        }
    }

    /// What a bank gives beyond what was asked for: the fields of its answer.
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
            life: Life::new(),
            held: None,
            asking: None,
            state: None,
            to_give_up: Vec::new(),
            usage: Usage::default(),
        }
    }

    /// The consent under which is read, if it still opens anything at that moment.
    pub(super) fn serving(&self, now: DateTime<Utc>, zone: Tz) -> Option<&Held> {
        let held = self.held.as_ref()?;
        let serves = self.life.current == Current::Serving && day_of(now, zone) <= held.last_day;
        serves.then_some(held)
    }

    /// The consent that waits for the customer.
    pub(super) fn waiting(&self) -> Option<(&Asking, &Answer)> {
        let asking = self.asking.as_ref()?;
        let waits = self.life.next == Next::Waiting;
        waits.then_some((asking, asking.answer.as_ref()?))
    }

    /// The consent under which is read, or was; else the one that waits for the customer.
    pub(super) fn consent(&self) -> Option<&str> {
        let held = self.held.as_ref().map(|held| &held.consent);
        let waits = || self.waiting().map(|(_, answer)| &answer.consent);
        held.or_else(waits).map(String::as_str)
    }

    /// Whether that request is the one whose answer, or approval, is waited for.
    pub(super) fn is_asking(&self, request_id: Uuid) -> bool {
        let asking = self.asking.as_ref();
        asking.is_some_and(|asking| asking.request_id == request_id)
    }

    /// Whether that consent is anywhere here.
    pub(super) fn knows(&self, consent: &str) -> bool {
        let asked = self
            .asking
            .as_ref()
            .and_then(|asking| asking.answer.as_ref());
        let held = self.held.as_ref().map(|held| &held.consent);
        held.into_iter()
            .chain(asked.map(|answer| &answer.consent))
            .chain(&self.to_give_up)
            .any(|known| known == consent)
    }

    /// What an event changes. Says whether it did.
    pub(super) fn meet(&mut self, event: Event) -> bool {
        match self.life.after(event) {
            Some(life) => {
                self.life = life;
                true
            }
            None => false,
        }
    }

    /// The one that was asked for is approved, and takes the place of the other. Says whether it does.
    pub(super) fn switch(&mut self, held: Held) -> bool {
        if !self.meet(Event::Approved) {
            return false;
        }
        self.usage = self.usage.afresh();
        if let Some(asking) = self.asking.take() {
            self.consent_terms = asking.consent_terms;
        }
        let old = self.held.replace(held).map(|old| old.consent);
        self.give_up(old);
        true
    }

    /// Nothing came of the one that was asked for. Says whether that is new.
    pub(super) fn fail(&mut self, event: Event) -> bool {
        if !self.meet(event) {
            return false;
        }
        let answer = self.asking.take().and_then(|asking| asking.answer);
        self.give_up(answer.map(|answer| answer.consent));
        true
    }

    /// The connection is given up, and all its consents with it. A request that was not answered is kept: what became of it
    /// is to be asked. Says whether that is new.
    pub(super) fn leave(&mut self) -> bool {
        if !self.meet(Event::Left) {
            return false;
        }
        let held = self.held.take().map(|held| held.consent);
        self.give_up(held);
        if let Some(Asking {
            answer: Some(answer),
            ..
        }) = self.asking.take_if(|asking| asking.answer.is_some())
        {
            self.give_up(Some(answer.consent));
        }
        true
    }

    /// A consent serves nothing more. A bank that gives one and the same twice does not lose it to us.
    fn give_up(&mut self, consent: Option<String>) {
        let still = self.held.as_ref().map(|held| &held.consent);
        let consent = consent.filter(|consent| Some(consent) != still);
        self.to_give_up.extend(consent);
    }

    /// Whether what waits for the customer is what would be asked for now: the same wish, if there is one, and the same way
    /// of approving. Where she is not sent to the bank, she does not come back either.
    pub(super) fn waits_for(
        &self,
        consent_terms: Option<&ConsentTerms>,
        options: &ApprovalOptions,
        redirected: bool,
    ) -> bool {
        let Some((asking, _)) = self.waiting() else {
            return true;
        };
        let sent = self.state.as_deref().unwrap_or_default();
        let back = options.return_to.as_deref();
        let back = back.map(|address| with_state(address, sent));
        let asked = &asking.options;
        consent_terms.is_none_or(|consent_terms| asking.consent_terms == *consent_terms)
            && (options.psu_id.is_none() || options.psu_id == asked.psu_id)
            && (options.preferred.is_none() || options.preferred == asked.preferred)
            && (asked.explicit || !options.explicit)
            && (!redirected || asked.return_to == back)
    }

    /// Where it stands at that moment. What only time changes is worked out whenever somebody looks.
    pub(super) fn standing(&self, now: DateTime<Utc>, zone: Tz) -> ConnectionStatus {
        let renewal = match self.life.next {
            Next::None => None,
            Next::Intended | Next::Waiting => Some(Renewal::Waiting),
            Next::Failed(why) => Some(Renewal::Failed(why)),
        };
        match (self.life.current, renewal) {
            (Current::Leaving, _) => ConnectionStatus::Leaving,
            (Current::None, Some(Renewal::Failed(why))) => ConnectionStatus::NeverApproved(why),
            (Current::None, _) => ConnectionStatus::Waiting,
            (Current::Over(why), renewal) => ConnectionStatus::Ended { why, renewal },
            (Current::Serving, renewal) => {
                let why = Ending::Expired;
                let Some(held) = self.serving(now, zone) else {
                    return ConnectionStatus::Ended { why, renewal };
                };
                let until = held.last_day;
                match self.usage.used_up_until(now, held.a_day, zone) {
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
        for (until, a_day, expected, excess) in [
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
                "frequencyPerDay": a_day, "consentStatus": "valid",
            });
            let given = serde_json::from_value(given).unwrap();
            let held = Held::of("c-1", Some(&given), &asked, DateTime::UNIX_EPOCH);
            let taken = (held.last_day.to_string(), held.a_day.get());
            assert_eq!((taken.0.as_str(), taken.1), expected);
            assert_eq!(Held::excess(&given, &asked), excess);
        }
    }

    fn held(consent: &str) -> Held {
        Held {
            consent: consent.to_owned(),
            last_day: NaiveDate::MAX,
            a_day: NonZeroU32::MIN,
            since: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_bank_that_gives_the_same_consent_again_does_not_lose_it_to_us() {
        for (given, given_up) in [("c-1", vec![]), ("c-2", vec!["c-1"])] {
            let consent_terms = ConsentTerms::all_accounts();
            let bank = "bank-b".parse().unwrap();
            let mut connection = Connection::new(bank, "17", &consent_terms, DateTime::UNIX_EPOCH);
            connection.life = Life {
                current: Current::Serving,
                next: Next::Waiting,
            };
            connection.held = Some(held("c-1"));
            assert!(connection.switch(held(given)));
            assert_eq!(connection.to_give_up, given_up);
        }
    }
}
