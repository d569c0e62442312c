//! Booking of statements: which account, which entries are new, and which balance follows.
//!
//! The rules, with their reasons, are in `docs/adr/0056-statements-continue-the-ledger.md`.

use std::collections::HashMap;

use chrono::{Datelike as _, NaiveDate};
use serde::Serialize;
use shared_types::environment::Randomness;
use shared_types::xs2a::account::{AccountDetails, AccountReference, Balance, BalanceType};
use shared_types::xs2a::iban::Iban;
use shared_types::xs2a::money::{Amount, AmountError, Currency};
use shared_types::xs2a::text::Text;
use sqlx::Row as _;

use super::{Entry, Event, NewAccountHolder, Place, Source, Stated, Statement};
use crate::core_banking::ledger::batch::{Batch, Row};
use crate::core_banking::ledger::import::{
    EARLIEST_YEAR, ImportError, Imported, LONGEST_APART, Result,
};
use crate::domain::PsuId;
use crate::store::{AdvisoryLock, Database, StoreError, WriteTransaction};

/// Longest JSON of one entry, in bytes: a page of a hundred is read as one.
const LONGEST_ENTRY: usize = 1 << 20;

/// Account that the file has entries for.
struct Account {
    id: String,
    currency: Currency,
    /// Booked balance: that of the ledger, with the entries that were booked so far.
    booked: Amount,
    /// Sum of the pending entries in the ledger.
    pending: Amount,
    /// Day of the balance.
    date: Option<NaiveDate>,
    balance_type: BalanceType,
    /// Number of its last entry.
    sequence: i64,
    /// Entries booked since the statement was opened; of a CSV file, all.
    new_entries: u64,
    /// Whether the balance has to be written.
    is_changed: bool,
    /// Rows of a CSV file: the place and balance of the last one, if it states a balance.
    stated: Option<(Place, Amount)>,
    /// Entries of this statement, or rows of the last booking date, by their content: how often
    /// each has come.
    seen: HashMap<u128, u32>,
    last_booking: Option<NaiveDate>,
}

/// The statement that is open.
struct Open {
    /// Key of its account.
    account: usize,
    /// Opening balance and the entries so far; nothing, for rows of a CSV file.
    sum: Option<Amount>,
    is_whole: bool,
}

/// An import of statements under way.
pub(super) struct Posting<'a> {
    sql: WriteTransaction,
    today: NaiveDate,
    randomness: &'a dyn Randomness,
    holder: Option<&'a NewAccountHolder>,
    holder_is_known: bool,
    /// Ids of the ledger's payment accounts, by each number that identifies them.
    ids: HashMap<(String, Currency), Vec<String>>,
    /// Those of accounts that have no IBAN, by their BBAN.
    without_iban: HashMap<(String, Currency), Vec<String>>,
    accounts: Vec<Account>,
    /// Index of an account by its id.
    by_id: HashMap<String, usize>,
    open: Option<Open>,
    batch: Batch,
    imported: Imported,
}

impl<'a> Posting<'a> {
    pub(super) async fn begin(
        database: &Database,
        today: NaiveDate,
        randomness: &'a dyn Randomness,
        holder: Option<&'a NewAccountHolder>,
    ) -> Result<Self> {
        let mut posting = Self {
            sql: database.begin_write().await?,
            today,
            randomness,
            holder,
            holder_is_known: false,
            ids: HashMap::new(),
            without_iban: HashMap::new(),
            accounts: Vec::new(),
            by_id: HashMap::new(),
            open: None,
            batch: Batch::default(),
            imported: Imported::default(),
        };
        // Two imports at once would both create the account that neither finds.
        posting.sql.take(AdvisoryLock::Import).await?;
        posting.read_numbers().await?;
        Ok(posting)
    }

    /// Books all of the file, or nothing.
    pub(super) async fn post(mut self, source: &mut (dyn Source + Send)) -> Result<Imported> {
        match self.take_all(source).await {
            Ok(()) => {
                self.sql.commit().await?;
                Ok(self.imported)
            }
            Err(error) => {
                // If it fails, the database has rolled back by itself.
                let _ = self.sql.roll_back().await;
                Err(error)
            }
        }
    }

    async fn take_all(&mut self, source: &mut (dyn Source + Send)) -> Result<()> {
        while let Some(event) = source.next()? {
            match event {
                Event::Open(statement) => self.open(*statement).await?,
                Event::Entry(entry) => self.entry(*entry).await?,
                Event::Close(closing) => self.close(&closing).await?,
            }
        }
        self.write().await?;
        self.check_rows()?;
        self.write_balances().await
    }

    /// Reads the numbers of the ledger's payment accounts.
    async fn read_numbers(&mut self) -> Result<()> {
        let all = sqlx::query("SELECT id, details FROM account WHERE card = 0")
            .fetch_all(&mut *self.sql)
            .await?;
        for row in all {
            let (id, details): (String, String) = (row.try_get("id")?, row.try_get("details")?);
            let details: AccountDetails = serde_json::from_str(&details)
                .map_err(|_| StoreError::corrupt("account.details"))?;
            self.add_numbers(&id, &details);
        }
        Ok(())
    }

    fn add_numbers(&mut self, id: &str, details: &AccountDetails) {
        let iban = details.iban.as_ref();
        // The number within the country is the rest of an IBAN (ISO 13616).
        let within = iban.and_then(|iban| iban.as_str().get(4..));
        let iban = iban.map(Iban::as_str);
        let bban = details.bban.as_ref().map(bban_number);
        let bban = bban.as_deref();
        if let (None, Some(bban)) = (iban, bban) {
            let key = (bban.to_owned(), details.currency);
            let ids = self.without_iban.entry(key);
            ids.or_default().push(id.to_owned());
        }
        for number in [iban, within, bban].into_iter().flatten() {
            let ids = self.ids.entry((number.to_owned(), details.currency));
            ids.or_default().push(id.to_owned());
        }
    }

    async fn open(&mut self, statement: Statement) -> Result<()> {
        let details = &statement.account;
        let number = details.iban.as_ref().map(ToString::to_string);
        let number = number.or_else(|| details.bban.as_ref().map(bban_number));
        let key = (number.unwrap_or_default(), details.currency);
        let mut found = self.ids.get(&key);
        if let (None, Some(iban)) = (found, &details.iban) {
            // An account that came with its BBAN is the same with its IBAN.
            let within = iban.as_str().get(4..).unwrap_or_default();
            found = self
                .without_iban
                .get(&(within.to_owned(), details.currency));
        }
        let found = found.map(Vec::as_slice).unwrap_or_default();
        let account = match found {
            [] => self.create(&statement).await?,
            [id] => match self.by_id.get(id) {
                Some(account) => *account,
                None => self.load(&id.clone(), statement.place).await?,
            },
            _ => {
                let problem = "several accounts of the ledger have this number; give the IBAN";
                return Err(statement.place.wrong(problem));
            }
        };
        if statement.is_whole
            && let Some(account) = self.accounts.get_mut(account)
        {
            account.new_entries = 0;
            account.seen.clear();
        }
        self.imported.statements += u64::from(statement.is_whole);
        let opening = statement.opening.filter(|_| statement.is_whole);
        self.open = Some(Open {
            account,
            sum: opening.map(|opening| opening.amount),
            is_whole: statement.is_whole,
        });
        Ok(())
    }

    /// Creates the account of a statement. It starts with the statement's opening balance.
    async fn create(&mut self, statement: &Statement) -> Result<usize> {
        let details = &statement.account;
        let currency = details.currency;
        let Some(holder) = self.holder else {
            return Err(statement.place.wrong(format!(
                "the ledger has no account in {currency} with this number: import it with its \
                 customer in a world file, or name the customer of new accounts with --customer"
            )));
        };
        self.know_holder(holder).await?;
        let id = self.randomness.uuid().to_string();
        let position = "SELECT COALESCE(MAX(position) + 1, 0) FROM account WHERE customer = $1";
        let position: i64 = sqlx::query_scalar(position)
            .bind(holder.id.clone())
            .fetch_one(&mut *self.sql)
            .await?;
        sqlx::query(
            "INSERT INTO account (id, customer, position, card, details, balances, approvals) \
             VALUES ($1, $2, $3, 0, $4, '[]', 1)",
        )
        .bind(id.clone())
        .bind(holder.id.clone())
        .bind(position)
        .bind(json(details, statement.place)?)
        .execute(&mut *self.sql)
        .await?;
        self.add_numbers(&id, details);
        self.imported.accounts += 1;
        let opening = statement.opening.as_ref();
        let opening = opening.map_or(Amount::zero(currency), |opening| opening.amount);
        Ok(self.add(Account {
            is_changed: true,
            ..Account::new(id, opening, Amount::zero(currency), None)
        }))
    }

    /// Makes sure that the ledger has the customer of new accounts.
    async fn know_holder(&mut self, holder: &NewAccountHolder) -> Result<()> {
        if self.holder_is_known {
            return Ok(());
        }
        let option = |problem: String| ImportError::Option {
            option: "--customer",
            problem,
        };
        let known = sqlx::query("SELECT 1 FROM customer WHERE id = $1")
            .bind(holder.id.clone())
            .fetch_optional(&mut *self.sql)
            .await?;
        if known.is_none() {
            PsuId::check(&holder.id).map_err(|problem| option(problem.to_owned()))?;
            let Some(name) = holder.name.as_deref().map(str::trim) else {
                return Err(option(
                    "the ledger has no customer of that id; --customer-name creates it".to_owned(),
                ));
            };
            let is_usable = (1..=140).contains(&name.chars().count());
            if !is_usable || name.contains(char::is_control) {
                return Err(ImportError::Option {
                    option: "--customer-name",
                    problem: "a name has 1 to 140 characters, and no control characters".to_owned(),
                });
            }
            sqlx::query("INSERT INTO customer (id, name) VALUES ($1, $2)")
                .bind(holder.id.clone())
                .bind(name.to_owned())
                .execute(&mut *self.sql)
                .await?;
            self.imported.customers += 1;
        }
        self.holder_is_known = true;
        Ok(())
    }

    /// Loads an account of the ledger, which stays locked until the import ends.
    async fn load(&mut self, id: &str, place: Place) -> Result<usize> {
        let select = self
            .sql
            .locked("SELECT balances, details FROM account WHERE id = $1");
        // The text is made of constants.
        let row = sqlx::query(sqlx::AssertSqlSafe(select))
            .bind(id.to_owned())
            .fetch_one(&mut *self.sql)
            .await?;
        let corrupt = |_| StoreError::corrupt("account.balances");
        let balances: String = row.try_get("balances")?;
        let balances: Vec<Balance> = serde_json::from_str(&balances).map_err(corrupt)?;
        let details: String = row.try_get("details")?;
        let details: AccountDetails = serde_json::from_str(&details).map_err(corrupt)?;
        let currency = details.currency;
        let find = |types: &[BalanceType]| {
            let newest = Balance::newest(&balances);
            let balance = newest
                .into_iter()
                .find(|balance| types.contains(&balance.balance_type));
            balance.cloned()
        };
        let booked = find(&[BalanceType::ClosingBooked, BalanceType::InterimBooked]);
        let expected = find(&[BalanceType::Expected]);
        let amount = |balance: Option<&Balance>| balance.map(|balance| balance.balance_amount);
        let balance = amount(booked.as_ref()).unwrap_or(Amount::zero(currency));
        let with_pending = amount(expected.as_ref()).unwrap_or(balance);
        let pending = plus(with_pending, balance.opposite(), place)?;
        let sequence = "SELECT COALESCE(MAX(sequence), 0) FROM entry WHERE account = $1";
        let sequence: i64 = sqlx::query_scalar(sequence)
            .bind(id.to_owned())
            .fetch_one(&mut *self.sql)
            .await?;
        let date = booked.as_ref().and_then(|booked| booked.reference_date);
        let balance_type = booked.map_or(BalanceType::InterimBooked, |booked| booked.balance_type);
        Ok(self.add(Account {
            balance_type,
            sequence,
            ..Account::new(id.to_owned(), balance, pending, date)
        }))
    }

    fn add(&mut self, account: Account) -> usize {
        let index = self.accounts.len();
        self.by_id.insert(account.id.clone(), index);
        self.accounts.push(account);
        index
    }

    async fn entry(&mut self, entry: Entry) -> Result<()> {
        let place = entry.place;
        let outside = || place.wrong("an entry outside of a statement");
        let open = self.open.as_mut().ok_or_else(outside)?;
        let account = self.accounts.get_mut(open.account).ok_or_else(outside)?;
        if !entry.is_booked {
            self.imported.not_booked += 1;
            return Ok(());
        }
        check_days(&entry, self.today)?;
        let amount = entry.details.transaction_amount;
        if amount.currency() != account.currency {
            return Err(place.wrong("not the currency of the account"));
        }
        let running = match open.sum {
            Some(sum) => {
                let sum = plus(sum, amount, place)?;
                open.sum = Some(sum);
                Some(sum)
            }
            None => entry.balance_after,
        };
        if !open.is_whole {
            account.check_row(&entry, amount)?;
        }
        let id = account.id_of(&entry, running);
        let mut transaction = entry.details;
        let reference = entry.reference.unwrap_or_else(|| id.clone());
        transaction.booking_date = Some(entry.booking_date);
        transaction.entry_reference = Some(Text::cut(&reference));
        transaction.transaction_id = Some(Text::cut(&id));
        account.sequence += 1;
        account.booked = plus(account.booked, amount, place)?;
        account.new_entries += 1;
        let details = json(&transaction, place)?;
        if details.len() > LONGEST_ENTRY {
            let problem = format!("the entry is longer than {LONGEST_ENTRY} bytes");
            return Err(place.wrong(problem));
        }
        let row = Row {
            line: place.line,
            id_path: place.field,
            account: account.id.clone(),
            booked: true,
            date: entry.booking_date.to_string(),
            sequence: account.sequence,
            transaction_id: id,
            reference: transaction
                .entry_reference
                .map(|reference| reference.to_string()),
            details,
            amount,
        };
        if !open.is_whole {
            account.date = account.date.max(Some(entry.booking_date));
        }
        self.imported.add(&amount);
        let known = self.batch.push(row, &mut self.sql).await?;
        self.take_back(known)
    }

    /// Writes all rows of the batch.
    async fn write(&mut self) -> Result<()> {
        let known = self.batch.write(&mut self.sql).await?;
        self.take_back(known)
    }

    /// Takes back the sums of entries that are in the ledger already.
    fn take_back(&mut self, known: Vec<Row>) -> Result<()> {
        for row in known {
            let place = Place::new(row.line, row.id_path);
            let index = self.by_id.get(&row.account);
            if let Some(account) = index.and_then(|index| self.accounts.get_mut(*index)) {
                account.booked = plus(account.booked, row.amount.opposite(), place)?;
                // Each statement is written when it ends: it is one of this statement.
                account.new_entries = account.new_entries.saturating_sub(1);
            }
            self.imported.take_back(&row.amount);
        }
        Ok(())
    }

    async fn close(&mut self, closing: &Stated) -> Result<()> {
        let place = closing.place;
        let outside = || place.wrong("a closing balance outside of a statement");
        let open = self.open.take().ok_or_else(outside)?;
        if let Some(sum) = open.sum.filter(|sum| sum.value() != closing.amount.value()) {
            return Err(place.wrong(format!(
                "the opening balance and the entries make {sum}, and the closing balance is {}",
                closing.amount
            )));
        }
        if closing.date > self.today {
            return Err(place.wrong(after(self.today)));
        }
        self.write().await?;
        let account = self.accounts.get_mut(open.account).ok_or_else(outside)?;
        let is_even = account.booked.value() == closing.amount.value();
        let is_later = account.date.is_none_or(|date| closing.date > date);
        if is_even {
            account.date = account.date.max(Some(closing.date));
            account.balance_type = BalanceType::ClosingBooked;
            account.is_changed = true;
        } else if account.new_entries > 0 || is_later {
            return Err(place.wrong(format!(
                "with the new entries the balance in the ledger would be {}, and the closing \
                 balance is {}: import statements of an account in their order, without a gap",
                account.booked, closing.amount
            )));
        }
        // Otherwise, it is an older statement, all of which is in the ledger.
        Ok(())
    }

    /// Checks that the balances of rows continue those of the ledger.
    fn check_rows(&self) -> Result<()> {
        for account in &self.accounts {
            if let Some((place, stated)) = account.stated
                && account.new_entries > 0
                && stated.value() != account.booked.value()
            {
                return Err(place.wrong(format!(
                    "with the new entries the balance in the ledger would be {}, and this row \
                     states {stated}: an entry is missing, or was changed",
                    account.booked
                )));
            }
        }
        Ok(())
    }

    async fn write_balances(&mut self) -> Result<()> {
        for account in &self.accounts {
            if !account.is_changed && account.new_entries == 0 {
                continue;
            }
            let place = Place::new(1, ".");
            let balance = |balance_type, balance_amount| Balance {
                balance_amount,
                balance_type,
                credit_limit_included: None,
                last_change_date_time: None,
                reference_date: account.date,
                last_committed_transaction: None,
            };
            let expected = plus(account.booked, account.pending, place)?;
            let balances = [
                balance(account.balance_type.clone(), account.booked),
                balance(BalanceType::Expected, expected),
            ];
            sqlx::query("UPDATE account SET balances = $1 WHERE id = $2")
                .bind(json(&balances, place)?)
                .bind(account.id.clone())
                .execute(&mut *self.sql)
                .await?;
        }
        Ok(())
    }
}

impl Account {
    fn new(id: String, booked: Amount, pending: Amount, date: Option<NaiveDate>) -> Self {
        Self {
            id,
            currency: booked.currency(),
            booked,
            pending,
            date,
            balance_type: BalanceType::InterimBooked,
            sequence: 0,
            new_entries: 0,
            is_changed: false,
            stated: None,
            seen: HashMap::new(),
            last_booking: None,
        }
    }

    /// Checks a row against the one before it: its day is not earlier, and its balance is that of
    /// the row before with its own amount.
    fn check_row(&mut self, entry: &Entry, amount: Amount) -> Result<()> {
        let place = entry.place;
        if self
            .last_booking
            .is_some_and(|before| entry.booking_date < before)
        {
            return Err(place.wrong("earlier than the row before: the oldest entry comes first"));
        }
        if self.last_booking != Some(entry.booking_date) {
            self.last_booking = Some(entry.booking_date);
            self.seen.clear();
        }
        let Some(stated) = entry.balance_after else {
            self.stated = None;
            return Ok(());
        };
        if let Some((_, before)) = self.stated {
            let sum = plus(before, amount, place)?;
            if sum.value() != stated.value() {
                let place = Place::new(place.line, "balance");
                return Err(place.wrong(format!(
                    "the balance before and this entry make {sum}, and the row states {stated}"
                )));
            }
        }
        self.stated = Some((Place::new(place.line, "balance"), stated));
        Ok(())
    }

    /// Id of an entry: the same whenever a file has the entry again. It starts with the booking date.
    ///
    /// With a reference of the bank, it is made of reference, booking date and amount; otherwise of
    /// the entry's content and the balance after it. Equal entries of one day are counted.
    fn id_of(&mut self, entry: &Entry, running: Option<Amount>) -> String {
        let details = &entry.details;
        let mut parts = vec![
            entry.booking_date.to_string(),
            details.transaction_amount.to_string(),
        ];
        if let Some(reference) = &entry.reference {
            parts.push(reference.clone());
        } else {
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            let account = |account: Option<&AccountReference>| {
                account.map(ToString::to_string).unwrap_or_default()
            };
            let lines = details
                .remittance_information_unstructured_array
                .iter()
                .flatten();
            let lines = lines.chain(&details.remittance_information_unstructured);
            parts.extend([
                running.map(|sum| sum.to_string()).unwrap_or_default(),
                details
                    .value_date
                    .map(|date| date.to_string())
                    .unwrap_or_default(),
                text(details.creditor_name.as_ref().map(Text::as_str)),
                text(details.debtor_name.as_ref().map(Text::as_str)),
                account(details.creditor_account.as_ref()),
                account(details.debtor_account.as_ref()),
                text(details.end_to_end_id.as_ref().map(Text::as_str)),
                lines.map(Text::as_str).collect(),
            ]);
        }
        // Lengths keep the parts apart.
        let parts = parts
            .iter()
            .flat_map(|part| [part.len().to_string(), part.clone()]);
        let content = parts.collect::<Vec<_>>().join(":");
        let content = fingerprint(&content);
        let count = self.seen.entry(content).or_default();
        *count += 1;
        let id = match count {
            1 => content,
            count => fingerprint(&format!("{content}:{count}")),
        };
        // The date first: ids that follow each other stand side by side in the indexes.
        let (date, id) = (entry.booking_date, id >> 32);
        let (year, month, day) = (date.year(), date.month(), date.day());
        format!("{year:04}{month:02}{day:02}{id:024x}")
    }
}

/// A BBAN for comparison: its letters are upper case, as those of an IBAN.
fn bban_number<const MAX: usize>(bban: &Text<MAX>) -> String {
    bban.as_str().to_uppercase()
}

/// The first 128 bits of SHA-256.
fn fingerprint(content: &str) -> u128 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content.as_bytes());
    let first = digest.as_ref().first_chunk::<16>();
    u128::from_be_bytes(*first.unwrap_or(&[0; 16]))
}

fn json<T: Serialize + ?Sized>(value: &T, place: Place) -> Result<String> {
    serde_json::to_string(value).map_err(|fault| place.wrong(fault.to_string()))
}

fn plus(sum: Amount, amount: Amount, place: Place) -> Result<Amount> {
    sum.checked_add(&amount).map_err(|fault| match fault {
        AmountError::DifferentCurrencies(..) => place.wrong("not the currency of the account"),
        fault => place.wrong(format!("the balance would be {fault}")),
    })
}

/// Checks that the entry is not in the future, and that its value date is near.
fn check_days(entry: &Entry, today: NaiveDate) -> Result<()> {
    let booking_date = entry.booking_date;
    let problem = if booking_date > today {
        format!("booked {}", after(today))
    } else if booking_date.year() < EARLIEST_YEAR {
        format!("booked before {EARLIEST_YEAR}")
    } else if let Some(value_date) = entry.details.value_date
        && (value_date - booking_date).abs() > LONGEST_APART
    {
        let days = LONGEST_APART.num_days();
        format!("the value date is more than {days} days from the day of booking")
    } else {
        return Ok(());
    };
    Err(entry.place.wrong(problem))
}

fn after(today: NaiveDate) -> String {
    format!("after today, {today}: leave out what has not happened")
}
