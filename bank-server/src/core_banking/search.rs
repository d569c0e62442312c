//! Text search over transactions, for a system that can only list them.

use std::borrow::Cow;

use shared_types::xs2a::card_account::CardTransaction;
use shared_types::xs2a::text::Text;
use shared_types::xs2a::transaction::Transaction;

use super::{CoreBanking, Page, PageKey, Result, TransactionQuery};
use crate::domain::AccountId;

/// Pages that one search reads. The next page of results continues after them.
const LOOKS: usize = 20;

/// Search, page by page: [`next`](Self::next) returns the next query, [`take`](Self::take) filters
/// its result.
///
/// The size of each page that is read is the number of results that are still missing, so that no
/// more than the requested number are found. The search stops once half of them are.
struct Search<T> {
    text: String,
    query: TransactionQuery,
    looks: usize,
    found: Page<T>,
    over: bool,
}

impl<T: Searchable> Search<T> {
    fn new(query: &TransactionQuery, text: &str) -> Self {
        Self {
            text: text.trim().to_lowercase(),
            query: query.clone(),
            looks: 0,
            found: Page {
                pending: Vec::new(),
                booked: Vec::new(),
                next: None,
                newest: None,
            },
            over: false,
        }
    }

    /// The next query, or `None` if the search is finished.
    fn next(&mut self) -> Option<TransactionQuery> {
        let found = self.found.pending.len() + self.found.booked.len();
        if self.over
            || self.looks >= LOOKS
            || found * 2 >= self.query.limit.max(1) && self.looks > 0
        {
            return None;
        }
        self.looks += 1;
        Some(TransactionQuery {
            limit: self.query.limit.saturating_sub(found).max(1),
            ..self.query.clone()
        })
    }

    /// Filters a page that was read.
    fn take(&mut self, page: Page<T>) {
        let holds = |entry: &T| {
            entry
                .texts()
                .any(|text| text.to_lowercase().contains(&self.text))
        };
        self.found
            .pending
            .extend(page.pending.into_iter().filter(holds));
        self.found
            .booked
            .extend(page.booked.into_iter().filter(holds));
        self.query.after = page.next;
        self.over = page.next.is_none();
    }

    /// The results, and where the next page starts.
    fn found(self) -> Page<T> {
        let next: Option<PageKey> = self.query.after.filter(|_| !self.over);
        Page { next, ..self.found }
    }
}

/// Reads pages of a payment account and searches them.
pub(super) async fn transactions<C: CoreBanking + ?Sized>(
    core: &C,
    account: &AccountId,
    query: &TransactionQuery,
    text: &str,
) -> Result<Page<Transaction>> {
    let mut search = Search::new(query, text);
    while let Some(query) = search.next() {
        search.take(core.transactions(account, &query).await?);
    }
    Ok(search.found())
}

/// Reads pages of a card account and searches them.
pub(super) async fn card_transactions<C: CoreBanking + ?Sized>(
    core: &C,
    account: &AccountId,
    query: &TransactionQuery,
    text: &str,
) -> Result<Page<CardTransaction>> {
    let mut search = Search::new(query, text);
    while let Some(query) = search.next() {
        search.take(core.card_transactions(account, &query).await?);
    }
    Ok(search.found())
}

/// Entry with texts to search.
trait Searchable {
    /// Names and purposes.
    fn texts(&self) -> impl Iterator<Item = Cow<'_, str>>;
}

fn borrowed<const MAX: usize>(text: Option<&Text<MAX>>) -> Option<Cow<'_, str>> {
    text.map(|text| Cow::Borrowed(text.as_str()))
}

impl Searchable for Transaction {
    fn texts(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let payments = self.entry_details.iter().flatten().flat_map(|payment| {
            let names = [&payment.creditor_name, &payment.debtor_name];
            let names = names.map(|name| borrowed(name.as_ref()));
            names
                .into_iter()
                .chain([payment.remittance_text()])
                .flatten()
        });
        [
            borrowed(self.creditor_name.as_ref()),
            borrowed(self.ultimate_creditor.as_ref()),
            borrowed(self.debtor_name.as_ref()),
            borrowed(self.ultimate_debtor.as_ref()),
            self.remittance_text(),
            self.remittance_references(),
            borrowed(self.additional_information.as_ref()),
            borrowed(self.end_to_end_id.as_ref()),
        ]
        .into_iter()
        .flatten()
        .chain(payments)
    }
}

impl Searchable for CardTransaction {
    fn texts(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.description().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use shared_types::xs2a::money::{Amount, Currency};
    use shared_types::xs2a::transaction::BookingStatus;

    use super::*;

    fn named(name: &str) -> Transaction {
        Transaction {
            creditor_name: Some(Text::cut(name)),
            ..Transaction::of(Amount::zero(Currency::EUR))
        }
    }

    /// Searches a list of which every `each`th holds the text; returns the entries found, and
    /// where the next page starts.
    fn search(
        length: usize,
        each: usize,
        limit: usize,
        start: usize,
    ) -> (Vec<usize>, Option<usize>) {
        let date = NaiveDate::from_ymd_opt(2026, 11, 24).unwrap();
        let key = |at: usize| PageKey {
            booked: true,
            date,
            sequence: i64::try_from(length - at).unwrap(),
        };
        let place = |key: PageKey| length - usize::try_from(key.sequence).unwrap();
        let query = TransactionQuery {
            from: date,
            to: date,
            status: BookingStatus::Both,
            since: None,
            after: (start > 0).then(|| key(start - 1)),
            limit,
        };
        let mut search = Search::new(&query, " Bäcker ");
        while let Some(query) = search.next() {
            let from = query.after.map_or(0, |after| place(after) + 1);
            let to = (from + query.limit).min(length);
            let entry = |at: usize| {
                let name = if at.is_multiple_of(each) {
                    "BÄCKEREI"
                } else {
                    "other"
                };
                named(&format!("{name} {at}"))
            };
            search.take(Page {
                pending: Vec::new(),
                booked: (from..to).map(entry).collect(),
                next: (to < length).then(|| key(to - 1)),
                newest: None,
            });
        }
        let found = search.found();
        let numbers = found.booked.iter().map(|entry| {
            let name = entry.creditor_name.as_ref().unwrap().as_str();
            name.split(' ').nth(1).unwrap().parse().unwrap()
        });
        (numbers.collect(), found.next.map(|next| place(next) + 1))
    }

    #[test]
    fn what_a_payment_was_for_is_searched_whichever_form_it_comes_in() {
        let amount = serde_json::json!({ "currency": "EUR", "amount": "1" });
        let entry = serde_json::json!({
            "transactionAmount": amount, "creditorName": "creditor",
            "remittanceInformationUnstructuredArray": ["first line", "second line"],
            "remittanceInformationStructured": "RF17",
            "entryDetails": [{
                "transactionAmount": amount, "debtorName": "employer",
                "remittanceInformationStructuredArray": [{ "reference": "RF19" }],
            }],
        });
        let entry: Transaction = serde_json::from_value(entry).unwrap();
        for text in ["creditor", "second line", "RF17", "employer", "RF19"] {
            assert!(entry.texts().any(|one| one.contains(text)), "{text}");
        }
    }

    #[test]
    fn every_hit_is_found_once_and_a_page_is_never_too_long() {
        for (length, each, limit) in [
            (0, 1, 10),
            (7, 1, 10),
            (100, 1, 10),
            (1000, 7, 10),
            (3000, 999, 50),
            (25, 3, 1),
        ] {
            let mut all = Vec::new();
            let mut start = Some(0);
            let mut pages = 0;
            while let Some(from) = start {
                let (found, next) = search(length, each, limit, from);
                assert!(found.len() <= limit, "{found:?}");
                all.extend(found);
                start = next;
                pages += 1;
                assert!(pages <= length + 1, "it comes to an end");
            }
            let expected: Vec<usize> = (0..length).filter(|at| at.is_multiple_of(each)).collect();
            assert_eq!(all, expected, "{length} {each} {limit}");
        }
    }

    #[test]
    fn a_search_that_finds_nothing_stops_and_says_where() {
        assert_eq!(
            search(100_000, 100_001, 50, 1),
            (vec![], Some(1 + LOOKS * 50))
        );
    }
}
