//! Responses of the simulated bank, derived from the true state and the bank's faults.

use std::collections::HashMap;

use chrono::{Days, NaiveDate};
use serde_json::{Map, Value, json};
use url::Url;

use super::truth::{Account, AccountLinks, DeltaPending, Deltas, Empty, Next, Posted, Truth};

/// An answer, as far as it matters.
#[derive(Debug)]
pub(super) enum Answer {
    Json(u16, Value),
    /// No body.
    Empty(u16),
    Html(u16),
    /// The connection is closed.
    Cut,
    /// There is none, ever: the TPP is killed while it waits.
    Silence,
}

/// What the bank does wrong with one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Down,
    Busy,
    Cut,
    /// After the answer was made: what is told once has been told.
    CutLate,
    Html,
    /// `{}`
    Nothing,
    /// A file instead of a list.
    Download,
    /// `transactions` without the lists that were asked for.
    NoLists,
    /// `transactions` with pending entries alone.
    NoBooked,
    /// `transactions` with booked entries alone.
    NoPending,
    /// An entry has an amount that is none.
    Odd,
}

impl Truth {
    /// Answers a request under a consent, well or with a fault.
    pub(super) fn answer(&mut self, url: &Url, consent: &str, fault: Option<Fault>) -> Answer {
        // Where only days are asked for, the next run makes up for it.
        let can_lack_pending = self.habits.told == Deltas::None;
        let fault = fault.filter(|fault| *fault != Fault::NoPending || can_lack_pending);
        match fault {
            Some(Fault::Down) => return Answer::Html(503),
            Some(Fault::Busy) => return refusal(429, "ACCESS_EXCEEDED"),
            Some(Fault::Cut) => return Answer::Cut,
            _ => {}
        }
        if !self.valid || consent != format!("consent-{}", self.consent) {
            return refusal(401, "CONSENT_EXPIRED");
        }
        let answer = self.read(url);
        match (fault, answer) {
            (Some(Fault::CutLate), _) => Answer::Cut,
            (Some(Fault::Html), _) => Answer::Html(200),
            (Some(Fault::Nothing), _) => Answer::Json(200, json!({})),
            (Some(fault), Answer::Json(200, body)) => Answer::Json(200, spoiled(fault, body)),
            (_, answer) => answer,
        }
    }

    fn read(&mut self, url: &Url) -> Answer {
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let path: Vec<&str> = url.path_segments().unwrap().collect();
        let (card, rest) = match path.as_slice() {
            ["v1", "accounts", rest @ ..] => (false, rest),
            ["v1", "card-accounts", rest @ ..] => (true, rest),
            ["v1", "consents", _] => return Answer::Json(200, consent()),
            _ => return refusal(404, "RESOURCE_UNKNOWN"),
        };
        let [resource, what @ ..] = rest else {
            let along = self.habits.balances_along && query.contains_key("withBalance");
            let accounts = self
                .accounts
                .iter()
                .filter(|account| account.open && account.card == card);
            let links = self.habits.links;
            let accounts = accounts.map(|account| details(account, along, links));
            let accounts: Vec<Value> = accounts.collect();
            let name = if card { "cardAccounts" } else { "accounts" };
            return Answer::Json(200, json!({ name: accounts }));
        };
        let known = self
            .accounts
            .iter_mut()
            .find(|account| account.open && account.card == card && account.resource == *resource);
        let Some(account) = known else {
            return refusal(404, "RESOURCE_UNKNOWN");
        };
        match what {
            ["balances"] => Answer::Json(200, json!({ "balances": balances(account) })),
            ["transactions"] => {
                let name = if card {
                    "cardTransactions"
                } else {
                    "transactions"
                };
                let mark = account.mark;
                match self.transactions(mark, &query, url) {
                    Ok(report) => Answer::Json(200, json!({ name: report })),
                    Err(answer) => answer,
                }
            }
            _ => refusal(404, "RESOURCE_UNKNOWN"),
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one list, from the question to the page"
    )]
    fn transactions(
        &mut self,
        mark: u64,
        query: &HashMap<String, String>,
        url: &Url,
    ) -> Result<Value, Answer> {
        let (habits, today, changes) = (self.habits.clone(), self.today, self.changes());
        let account = self
            .accounts
            .iter_mut()
            .find(|account| account.mark == mark)
            .unwrap();
        let at: usize = query.get("at").map_or(0, |at| at.parse().unwrap());
        let delta = query.contains_key("deltaList") || query.contains_key("entryReferenceFrom");
        // After which change of the bank the list begins, and on which day.
        let (mut after, mut from) = (0, NaiveDate::MIN);
        if query.contains_key("deltaList") {
            if habits.deltas != Deltas::LastReport {
                return Err(refusal(400, "PARAMETER_NOT_SUPPORTED"));
            }
            after = match query.get("after") {
                Some(after) => after.parse().unwrap(),
                None => std::mem::replace(&mut account.reported, changes),
            };
        } else if let Some(reference) = query.get("entryReferenceFrom") {
            if habits.deltas != Deltas::AfterEntry {
                return Err(refusal(400, "PARAMETER_NOT_SUPPORTED"));
            }
            after = account
                .position(reference)
                .ok_or(refusal(400, "RESOURCE_UNKNOWN"))?;
        } else {
            from = query["dateFrom"].parse().unwrap();
            let first = today - Days::new(habits.history);
            if from < first && !habits.is_silent {
                let (status, code) = habits.refusal;
                return Err(refusal(status, code));
            }
            from = from.max(first);
        }
        let wanted = query["bookingStatus"].as_str();
        if wanted == "pending" && habits.refuses_pending {
            return Err(refusal(400, "PARAMETER_NOT_SUPPORTED"));
        }
        let lists_pending =
            wanted != "booked" && !(delta && habits.delta_pending == DeltaPending::LeftOut);
        let mut listed: Vec<&Posted> = account
            .entries
            .iter()
            .filter(|entry| entry.day >= from && entry.day <= today)
            .filter(|entry| {
                let is_new = entry.touched > after;
                if entry.booked {
                    wanted != "pending" && is_new
                } else {
                    lists_pending && (is_new || habits.delta_pending == DeltaPending::All)
                }
            })
            .collect();
        if listed.is_empty() && !delta {
            match habits.empty {
                Empty::Lists => {}
                Empty::NoContent => return Err(Answer::Empty(204)),
                Empty::Unknown => return Err(refusal(404, "RESOURCE_UNKNOWN")),
            }
        }
        listed.sort_by_key(|entry| (entry.day, entry.came));
        if !habits.oldest_first {
            listed.reverse();
        }
        listed.sort_by_key(|entry| entry.booked);
        let size = query
            .get("pageSize")
            .map_or(habits.page, |size| size.parse().unwrap());
        let end = listed.len().min(at + size);
        let page = &listed[at.min(end)..end];
        let of_kind = |booked: bool| -> Vec<Value> {
            let entries = page.iter().filter(|entry| entry.booked == booked);
            entries.map(|entry| account.json_of(entry)).collect()
        };
        let mut report = Map::new();
        if wanted != "pending" {
            report.insert("booked".to_owned(), json!(of_kind(true)));
        }
        let pending = of_kind(false);
        if lists_pending && !(habits.leaves_out_empty && pending.is_empty() && wanted == "both") {
            report.insert("pending".to_owned(), json!(pending));
        }
        let mut links = Map::new();
        if end < listed.len() {
            let after = after.to_string();
            let mut next = url.clone();
            let others = url.query_pairs().into_owned();
            let others: Vec<_> = others
                .filter(|(name, _)| name != "at" && name != "after")
                .collect();
            let more = [("at", end.to_string()), ("after", after)];
            next.query_pairs_mut()
                .clear()
                .extend_pairs(others)
                .extend_pairs(more);
            let query = next.query().unwrap();
            let next = match habits.next {
                Next::Path => format!("{}?{query}", next.path()),
                Next::Query => format!("?{query}"),
                Next::Url => next.to_string(),
            };
            links.insert("next".to_owned(), json!({ "href": next }));
        }
        report.insert("_links".to_owned(), json!(links));
        Ok(json!(report))
    }
}

impl Account {
    /// When the entry of that name came to this account; of several, the first one: what came since
    /// then is listed.
    fn position(&self, name: &str) -> Option<u64> {
        let named = self.entries.iter().filter(|entry| {
            let known = if self.card {
                &entry.id
            } else {
                &entry.reference
            };
            entry.booked && known.as_deref() == Some(name) && !name.trim().is_empty()
        });
        named.map(|entry| entry.came).min()
    }
}

fn spoiled(fault: Fault, mut body: Value) -> Value {
    let name = if body.get("cardTransactions").is_some() {
        "cardTransactions"
    } else {
        "transactions"
    };
    let Some(report) = body.get_mut(name).and_then(Value::as_object_mut) else {
        return json!({});
    };
    // Many banks leave out a list of pending ones that is empty, also where nothing else was asked
    // for.
    let is_pending = report.get("booked").is_none();
    // A later page may have pending ones alone.
    let has_pending = report.get("pending") != Some(&json!([]));
    if (is_pending && fault != Fault::Odd) || (fault == Fault::NoBooked && has_pending) {
        return json!({});
    }
    match fault {
        Fault::Download => {
            return json!({ "_links": { "download": { "href": "/v1/file" } } });
        }
        Fault::NoLists => {
            report.remove("booked");
            report.remove("pending");
        }
        Fault::NoBooked => {
            report.remove("booked");
        }
        Fault::NoPending => {
            report.remove("pending");
        }
        Fault::Odd => {
            let entries = report
                .values_mut()
                .filter_map(Value::as_array_mut)
                .flatten();
            for entry in entries.take(1) {
                entry["transactionAmount"]["amount"] = json!("1,2,3");
            }
        }
        _ => return json!({}),
    }
    body
}

fn consent() -> Value {
    json!({
        "access": { "allPsd2": "allAccounts" },
        "recurringIndicator": true,
        "validUntil": "2099-12-31",
        "frequencyPerDay": 4,
        "consentStatus": "valid",
    })
}

fn details(account: &Account, balances_along: bool, links: AccountLinks) -> Value {
    let kind = if account.card {
        "card-accounts"
    } else {
        "accounts"
    };
    let path = format!("/v1/{kind}/{}", account.resource);
    let mut details = json!({
        "resourceId": account.resource,
        "currency": account.currency,
        "name": format!("account {}", account.mark),
    });
    if links != AccountLinks::None {
        details["_links"]["balances"]["href"] = json!(format!("{path}/balances"));
    }
    if links == AccountLinks::All {
        details["_links"]["transactions"]["href"] = json!(format!("{path}/transactions"));
    }
    if account.card {
        details["maskedPan"] = json!(format!("525412******{:04}", account.number));
    } else if account.has_iban {
        details["iban"] = json!(iban(account.number));
    }
    if balances_along {
        details["balances"] = json!(balances(account));
    }
    details
}

pub(super) fn balances(account: &Account) -> Vec<Value> {
    let cents = account.cents;
    let sign = if cents < 0 { "-" } else { "" };
    let amount = format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100);
    vec![json!({
        "balanceAmount": { "currency": account.currency, "amount": amount },
        "balanceType": "interimBooked",
    })]
}

/// The IBAN of that account at the bank 10010010.
fn iban(number: u64) -> String {
    // ISO 7064, MOD 97-10, of the account number, "DE" as 1314, and 00.
    let digits = format!("10010010{number:010}131400");
    let rest = digits
        .bytes()
        .fold(0, |rest, digit| (rest * 10 + u64::from(digit - b'0')) % 97);
    format!("DE{:02}10010010{number:010}", 98 - rest)
}

fn refusal(status: u16, code: &str) -> Answer {
    let message = json!({ "category": "ERROR", "code": code });
    Answer::Json(status, json!({ "tppMessages": [message] }))
}
