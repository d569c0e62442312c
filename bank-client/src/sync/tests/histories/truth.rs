//! True state of the simulated bank, and its changes.

use std::collections::BTreeSet;

use chrono::{Days, NaiveDate};
use serde_json::{Map, Value, json};

use super::chance::Chance;

/// Days that the TPP reads once more where a bank does not tell what is new. What happens at the
/// bank happens within them: the SDK says of itself that it does not find more.
pub(super) const OVERLAP: u64 = 14;

/// How a bank tells what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deltas {
    None,
    AfterEntry,
    LastReport,
}

/// What a bank's names of entries are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Each entry has its own reference and id.
    Own,
    /// Its own id alone.
    Id,
    /// Its own reference alone.
    Reference,
    /// One reference for some entries, booked at any time.
    Shared,
    /// "0", and blanks.
    Blank,
    None,
    /// Any of these.
    Mixed,
}

/// Of what booked entries have no booking date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undated {
    None,
    /// Some have a value date alone.
    Valued,
    /// Some have no date.
    Bare,
}

/// How a bank says that a list is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    Lists,
    NoContent,
    Unknown,
}

/// What a bank calls accounts under a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// The same under each consent.
    Lasting,
    /// Others under each consent.
    Fresh,
    /// 1, 2, 3 under each consent.
    Counted,
}

/// Which links an account of a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccountLinks {
    All,
    /// None, or none to the transactions, which can be read all the same.
    None,
    Balances,
}

/// How a page names the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Path,
    Query,
    Url,
}

/// What a delta report says of pending entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeltaPending {
    All,
    New,
    LeftOut,
}

/// In which a bank differs from others.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a habit of its own, and any go together"
)]
pub(super) struct Habits {
    pub(super) deltas: Deltas,
    /// The directory says that it has those.
    pub(super) told: Deltas,
    pub(super) names: Names,
    pub(super) undated: Undated,
    pub(super) empty: Empty,
    pub(super) ids: Ids,
    pub(super) delta_pending: DeltaPending,
    pub(super) links: AccountLinks,
    pub(super) next: Next,
    pub(super) page: usize,
    pub(super) oldest_first: bool,
    /// The pages after the first have no list of pending entries, and none has an empty one.
    pub(super) leaves_out_empty: bool,
    /// Pending entries are not listed alone.
    pub(super) refuses_pending: bool,
    /// Accounts without an IBAN.
    pub(super) numberless: bool,
    pub(super) balances_along: bool,
    /// The first day that is listed is so many days ago.
    pub(super) history: u64,
    /// How an earlier one is refused.
    pub(super) refusal: (u16, &'static str),
    /// It is not refused: the list begins later, without a word.
    pub(super) is_silent: bool,
    /// The hours by which the TPP's clock is ahead of the bank's.
    pub(super) zone: i64,
}

impl Habits {
    pub(super) fn of(chance: &mut Chance) -> Self {
        let deltas = chance.among(&[
            Deltas::None,
            Deltas::None,
            Deltas::AfterEntry,
            Deltas::LastReport,
        ]);
        let undated = chance.among(&[
            Undated::None,
            Undated::None,
            Undated::None,
            Undated::Valued,
            Undated::Bare,
        ]);
        Self {
            deltas,
            told: if chance.one_in(12) {
                chance.among(&[Deltas::None, Deltas::AfterEntry, Deltas::LastReport])
            } else {
                deltas
            },
            names: chance.among(&[
                Names::Own,
                Names::Own,
                Names::Id,
                Names::Reference,
                Names::Shared,
                Names::Blank,
                Names::None,
                Names::Mixed,
            ]),
            undated,
            empty: if chance.one_in(8) {
                chance.among(&[Empty::NoContent, Empty::Unknown])
            } else {
                Empty::Lists
            },
            ids: chance.among(&[Ids::Lasting, Ids::Fresh, Ids::Counted]),
            delta_pending: chance.among(&[
                DeltaPending::All,
                DeltaPending::New,
                DeltaPending::LeftOut,
            ]),
            links: chance.among(&[
                AccountLinks::All,
                AccountLinks::All,
                AccountLinks::All,
                AccountLinks::None,
                AccountLinks::Balances,
            ]),
            next: chance.among(&[Next::Path, Next::Path, Next::Path, Next::Query, Next::Url]),
            page: chance.among(&[1, 2, 3, 5, 100]),
            oldest_first: chance.one_in(3),
            leaves_out_empty: chance.one_in(3),
            refuses_pending: chance.one_in(8),
            numberless: chance.one_in(6),
            balances_along: chance.one_in(2),
            history: chance.among(&[1000, 1000, 400, 90, 89]),
            refusal: chance.among(&[
                (400, "PERIOD_INVALID"),
                (400, "PERIOD_INVALID"),
                (400, "FORMAT_ERROR"),
                (401, "PERIOD_INVALID"),
                (403, "PERIOD_INVALID"),
                (422, "PERIOD_INVALID"),
            ]),
            // What such a bank leaves out and what it has taken back look alike where they have no
            // day.
            is_silent: chance.one_in(4) && undated != Undated::Bare,
            zone: chance.among(&[0, 0, 0, 13, -13]),
        }
    }
}

/// An entry, or one to be.
#[derive(Debug, Clone)]
pub(super) struct Posted {
    pub(super) booked: bool,
    /// Of booking, or of entry where it is pending.
    pub(super) day: NaiveDate,
    dated: bool,
    valued: bool,
    pub(super) reference: Option<String>,
    pub(super) id: Option<String>,
    end_to_end: Option<String>,
    cents: i64,
    shop: u64,
    /// When it came, counted in changes of the bank.
    pub(super) came: u64,
    /// When it last changed.
    pub(super) touched: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Account {
    /// What it is, whatever it is called.
    pub(super) mark: u64,
    pub(super) card: bool,
    pub(super) number: u64,
    pub(super) has_iban: bool,
    pub(super) currency: &'static str,
    /// There is such an account, and consents open it.
    pub(super) open: bool,
    pub(super) resource: String,
    pub(super) cents: i64,
    pub(super) entries: Vec<Posted>,
    /// How far the last report went (`deltaList`).
    pub(super) reported: u64,
    /// The day on which the TPP last read it whole.
    pub(super) read_on: Option<NaiveDate>,
    /// All that was ever said of its entries.
    pub(super) ever: BTreeSet<String>,
}

/// What may happen at the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Book,
    /// Some entries at once, under one reference.
    BookBatch,
    /// One more like another, name and all where names are worth nothing.
    Repeat,
    Pend,
    /// A pending entry is booked.
    Settle,
    /// A pending entry vanishes.
    Vanish,
    /// A booked entry says something else.
    Rewrite,
    /// A booked entry is booked on another day.
    Move,
    /// A booked entry is taken back.
    Cancel,
    OpenAccount,
    /// An account is closed, or opened again.
    CloseAccount,
    /// An account gets another number.
    Renumber,
    /// The bank lists accounts in another order.
    Reorder,
    /// From now on, the bank gives 90 days.
    ShortenHistory,
    EndConsent,
}

#[derive(Debug, Clone)]
pub(super) struct Truth {
    pub(super) habits: Habits,
    pub(super) today: NaiveDate,
    pub(super) accounts: Vec<Account>,
    /// The number of the consent that was last given, and whether it is valid.
    pub(super) consent: u64,
    pub(super) valid: bool,
    changes: u64,
    names: u64,
}

impl Truth {
    pub(super) fn new(habits: Habits, today: NaiveDate, chance: &mut Chance) -> Self {
        let mut truth = Self {
            habits,
            today,
            accounts: Vec::new(),
            consent: 0,
            valid: false,
            changes: 0,
            names: 0,
        };
        for _ in 0..chance.among(&[1, 1, 2, 3]) {
            truth.open_account(chance);
        }
        truth.give_consent();
        truth
    }

    /// The customer approves another consent.
    pub(super) fn give_consent(&mut self) {
        self.consent += 1;
        self.valid = true;
        for (place, account) in self
            .accounts
            .iter_mut()
            .filter(|account| account.open)
            .enumerate()
        {
            account.resource = match self.habits.ids {
                Ids::Lasting => format!("lasting-{}", account.mark),
                Ids::Fresh => format!("fresh-{}-{}", self.consent, account.mark),
                Ids::Counted => format!("{}", place + 1),
            };
        }
        // Those that are opened under this consent come after them.
        for account in self.accounts.iter_mut().filter(|account| !account.open) {
            account.resource = Self::late(self.consent, account.mark);
        }
    }

    fn late(consent: u64, mark: u64) -> String {
        format!("late-{consent}-{mark}")
    }

    pub(super) fn happen(&mut self, act: Act, chance: &mut Chance) {
        self.changes += 1;
        match act {
            Act::OpenAccount => {
                if self.accounts.len() < 5 {
                    self.open_account(chance);
                }
            }
            Act::Reorder => {
                let place = chance.place(self.accounts.len());
                self.accounts.rotate_left(place);
            }
            Act::ShortenHistory => self.habits.history = self.habits.history.min(90),
            Act::EndConsent => self.valid = false,
            _ => {
                let place = chance.place(self.accounts.len());
                self.happen_to(place, act, chance);
            }
        }
        self.write_down();
    }

    /// Days pass. What has been pending for two months is not any more.
    pub(super) fn pass(&mut self, days: u64) {
        self.today = self.today + Days::new(days);
        let old = self.today - Days::new(60);
        for account in &mut self.accounts {
            account
                .entries
                .retain(|entry| entry.booked || entry.day >= old);
        }
    }

    fn open_account(&mut self, chance: &mut Chance) {
        let mark = self.accounts.len() as u64;
        // A card now and then, and one number with accounts in two currencies.
        let card = chance.one_in(6);
        let other = self
            .accounts
            .iter()
            .find(|account| account.currency == "EUR" && !account.card);
        let (number, currency) = match other {
            Some(other)
                if !card
                    && chance.one_in(6)
                    && !self
                        .accounts
                        .iter()
                        .any(|account| account.currency == "CHF") =>
            {
                (other.number, "CHF")
            }
            _ => (mark, "EUR"),
        };
        self.accounts.push(Account {
            mark,
            card,
            number,
            has_iban: card || !self.habits.numberless,
            currency,
            open: true,
            resource: Self::late(self.consent, mark),
            cents: 0,
            entries: Vec::new(),
            reported: 0,
            read_on: None,
            ever: BTreeSet::new(),
        });
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each act")]
    fn happen_to(&mut self, place: usize, act: Act, chance: &mut Chance) {
        let (today, changes, can_take_back) =
            (self.today, self.changes, self.habits.told == Deltas::None);
        let account = &mut self.accounts[place];
        // What the TPP will read again.
        let floor = account
            .read_on
            .map_or(today - Days::new(300), |day| day - Days::new(OVERLAP));
        let reach = u64::try_from((today - floor).num_days()).unwrap();
        let near = if account.read_on.is_none() && chance.one_in(3) {
            reach
        } else {
            reach.min(20)
        };
        let day = today - Days::new(chance.below(near + 1));
        let known: Vec<usize> = account
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.booked && entry.day >= floor)
            .map(|(index, _)| index)
            .collect();
        let pending: Vec<usize> = (0..account.entries.len())
            .filter(|index| !account.entries[*index].booked)
            .collect();
        match act {
            Act::Book => self.post(place, true, day, chance),
            Act::Pend => self.post(place, false, today - Days::new(chance.below(5)), chance),
            Act::BookBatch => {
                let first = self.accounts[place].entries.len();
                let number = 2 + chance.below(3);
                for _ in 0..number {
                    self.post(place, true, day, chance);
                }
                let batch = self.accounts[place].entries[first].reference.clone();
                for entry in &mut self.accounts[place].entries[first..] {
                    entry.reference.clone_from(&batch);
                }
            }
            Act::Repeat if !account.entries.is_empty() => {
                let mut twin = chance_of(&account.entries, chance).clone();
                if twin.booked && twin.day < floor {
                    return;
                }
                twin.came = changes;
                twin.touched = changes;
                let worthless = twin.reference.as_deref().is_none_or(is_blank)
                    && twin.id.as_deref().is_none_or(is_blank);
                if !worthless {
                    (twin.reference, twin.id) = self.name(chance);
                    // Two of one name and one look would be one.
                    twin.cents -= i64::try_from(10 * changes).unwrap();
                }
                if !twin.booked {
                    twin.reference = None;
                }
                self.accounts[place].entries.push(twin);
            }
            Act::Settle if !pending.is_empty() => {
                let index = chance.among(&pending);
                let (reference, id) = self.name(chance);
                let entry = &mut self.accounts[place].entries[index];
                entry.booked = true;
                entry.day = day.max(entry.day.max(floor));
                entry.came = changes;
                entry.touched = changes;
                entry.reference = reference;
                if chance.one_in(2) {
                    entry.id = id;
                }
                if chance.one_in(4) {
                    entry.cents -= 1;
                }
                // The last becomes the newest.
                let entry = self.accounts[place].entries.remove(index);
                self.accounts[place].entries.push(entry);
            }
            Act::Vanish if !pending.is_empty() => {
                account.entries.remove(chance.among(&pending));
            }
            Act::Rewrite if !known.is_empty() => {
                let entry = &mut account.entries[chance.among(&known)];
                if chance.one_in(2) {
                    entry.shop += 1;
                } else {
                    entry.cents -= 5;
                }
                entry.touched = changes;
            }
            Act::Move if !known.is_empty() => {
                let entry = &mut account.entries[chance.among(&known)];
                entry.day = day;
                entry.touched = changes;
            }
            Act::Cancel if !known.is_empty() && can_take_back => {
                account.entries.remove(chance.among(&known));
            }
            Act::CloseAccount => account.open = !account.open,
            Act::Renumber => account.number = 10 + changes,
            _ => {}
        }
        let account = &mut self.accounts[place];
        account.cents = account
            .entries
            .iter()
            .filter(|entry| entry.booked)
            .map(|entry| entry.cents)
            .sum();
    }

    fn post(&mut self, place: usize, booked: bool, day: NaiveDate, chance: &mut Chance) {
        let (reference, id) = self.name(chance);
        let (dated, valued) = match self.habits.undated {
            Undated::Valued if chance.one_in(2) => (false, true),
            Undated::Bare if chance.one_in(2) => (false, false),
            _ => (true, chance.one_in(2)),
        };
        // A pending entry and a booked one of one id and one look would be one.
        let shares_id = id.as_ref().is_some_and(|id| id.starts_with('I'));
        let apart = if shares_id { 10 * self.changes } else { 0 };
        let entry = Posted {
            booked,
            day,
            dated,
            valued,
            reference: reference.filter(|_| booked),
            id,
            end_to_end: chance.one_in(4).then(|| {
                if chance.one_in(3) {
                    "NOTPROVIDED".to_owned()
                } else {
                    format!("E{}", chance.below(5))
                }
            }),
            cents: -1 - i64::try_from(chance.below(3) + apart).unwrap(),
            shop: chance.below(2),
            came: self.changes,
            touched: self.changes,
        };
        self.accounts[place].entries.push(entry);
    }

    /// The reference and the id of an entry.
    fn name(&mut self, chance: &mut Chance) -> (Option<String>, Option<String>) {
        self.names += 1;
        let number = self.names;
        let names = match self.habits.names {
            Names::Mixed => chance.among(&[
                Names::Own,
                Names::Id,
                Names::Reference,
                Names::Shared,
                Names::Blank,
                Names::None,
            ]),
            names => names,
        };
        let (reference, id) = (format!("R{number}"), format!("T{number}"));
        match names {
            Names::Own => (Some(reference), Some(id)),
            Names::Id => (None, Some(id)),
            Names::Reference => (Some(reference), None),
            Names::Shared => {
                if chance.one_in(2) {
                    (Some(format!("S{}", number / 4)), None)
                } else {
                    (None, Some(format!("I{}", number / 4)))
                }
            }
            Names::Blank => {
                let blank = chance.among(&["0", "", " "]).to_owned();
                if chance.one_in(2) {
                    (Some(blank), None)
                } else {
                    (None, Some(blank))
                }
            }
            Names::None | Names::Mixed => (None, None),
        }
    }

    /// How often it has changed.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    fn write_down(&mut self) {
        for account in &mut self.accounts {
            for entry in &account.entries {
                let shape = account_shape(account.mark, account.card, account.currency, entry);
                account.ever.insert(shape);
            }
        }
    }
}

fn account_shape(mark: u64, card: bool, currency: &str, entry: &Posted) -> String {
    shape(entry.booked, &entry_json(mark, card, currency, entry))
}

fn chance_of<'a>(entries: &'a [Posted], chance: &mut Chance) -> &'a Posted {
    &entries[chance.place(entries.len())]
}

fn is_blank(name: &str) -> bool {
    name.trim().is_empty() || name == "0"
}

impl Account {
    pub(super) fn json_of(&self, entry: &Posted) -> Value {
        entry_json(self.mark, self.card, self.currency, entry)
    }

    pub(super) fn shape_of(&self, entry: &Posted) -> String {
        shape(entry.booked, &self.json_of(entry))
    }
}

/// What the bank says of an entry.
fn entry_json(mark: u64, card: bool, currency: &str, entry: &Posted) -> Value {
    let cents = entry.cents.abs();
    let amount = format!("-{}.{:02}", cents / 100, cents % 100);
    let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    let dated = (entry.booked && entry.dated).then(|| json!(entry.day));
    let valued = (entry.valued).then(|| json!(entry.day));
    let shop = Some(json!(format!("Shop {}", entry.shop)));
    let mark = Some(json!(format!("account {mark}")));
    let amount = Some(json!({ "currency": currency, "amount": amount }));
    let fields = if card {
        vec![
            ("cardTransactionId", text(&entry.id)),
            ("bookingDate", dated),
            ("valueDate", valued),
            ("transactionAmount", amount),
            ("cardAcceptorId", shop),
            ("transactionDetails", mark),
        ]
    } else {
        vec![
            ("entryReference", text(&entry.reference)),
            ("transactionId", text(&entry.id)),
            ("endToEndId", text(&entry.end_to_end)),
            ("bookingDate", dated),
            ("valueDate", valued),
            ("transactionAmount", amount),
            ("creditorName", shop),
            ("remittanceInformationUnstructured", mark),
        ]
    };
    let said = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(said.collect::<Map<_, _>>())
}

/// What is said of an entry, for comparison: a blank field says nothing.
pub(super) fn shape(booked: bool, said: &Value) -> String {
    let fields = said.as_object().unwrap().iter();
    let mut fields: Vec<String> = fields
        .filter(|(_, value)| value.as_str().is_none_or(|text| !text.trim().is_empty()))
        .map(|(name, value)| match value.get("amount") {
            Some(amount) => format!("{name}={}", amount.as_str().unwrap()),
            None => format!("{name}={}", value.as_str().unwrap_or("?")),
        })
        .collect();
    fields.sort();
    let kind = if booked { "booked" } else { "pending" };
    format!("{kind} {}", fields.join(", "))
}
