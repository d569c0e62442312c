//! Booking of statements: which account, which entries are new, and which balance follows.
//!
//! The rules, with their reasons, are in `docs/adr/0056-statements-continue-the-ledger.md`.

use std::collections::HashMap;

use chrono::{Datelike as _, NaiveDate};
use futures::TryStreamExt as _;
use rust_decimal::Decimal;
use serde::Serialize;
use shared_types::environment::Randomness;
use shared_types::xs2a::account::{AccountDetails, AccountReference, Balance, BalanceType};
use shared_types::xs2a::iban::Iban;
use shared_types::xs2a::money::{Amount, AmountError, Currency};
use shared_types::xs2a::text::Text;
use shared_types::xs2a::transaction::Transaction;
use sqlx::Row as _;

use super::{Entry, Event, NewAccountHolder, Place, Source, Stated, Statement};
use crate::core_banking::ledger::batch::{Batch, Row, Written};
use crate::core_banking::ledger::import::{
    EARLIEST_YEAR, ImportError, Imported, LONGEST_APART, Result,
};
use crate::domain::PsuId;
use crate::store::{AdvisoryLock, Database, StoreError, WriteTransaction};

const IN_ORDER: &str = "import statements of an account in their order, without a gap";

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
    /// Day of the balance: up to it, the ledger is booked.
    date: Option<NaiveDate>,
    balance_type: BalanceType,
    /// Number of its last entry.
    sequence: i64,
    /// Whether the balance has to be written.
    is_changed: bool,
    progress: Progress,
    /// The last statement, if all of it is in the ledger and it could be booked once more.
    doubtful: Option<Place>,
    /// Rows of a CSV file: the place and balance of the last one, if it states a balance.
    stated: Option<(Place, Amount)>,
    /// Rows of a CSV file: the last booking date.
    day: Option<Day>,
    /// Entries of this statement, or rows of the last booking date, by their content: how often
    /// each has come.
    seen: HashMap<u128, u32>,
}

/// What has come of an account: in the open statement; in a CSV file, all.
#[derive(Debug, Default)]
struct Progress {
    opening: Option<Amount>,
    /// Number of the account's last entry before.
    sequence: i64,
    /// Entries that were booked, and entries that are in the ledger already.
    new: u64,
    known: u64,
    late: Option<Late>,
}

/// New entries that are not after the ledger's last day.
#[derive(Debug)]
struct Late {
    first: String,
    /// The ledger's last day.
    last: String,
    sum: Decimal,
}

/// Rows of one booking date.
struct Day {
    date: NaiveDate,
    /// Place of the first one.
    place: Place,
    rows: u64,
    /// Whether the file begins with them.
    is_first: bool,
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
        for index in 0..self.accounts.len() {
            self.finish(index).await?;
        }
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
        let opening = statement.opening.map(|opening| opening.amount);
        if let Some(account) = self.accounts.get_mut(account)
            && (statement.is_whole || account.day.is_none())
        {
            account.progress = Progress {
                opening,
                sequence: account.sequence,
                ..Progress::default()
            };
            account.seen.clear();
        }
        self.imported.statements += u64::from(statement.is_whole);
        self.open = Some(Open {
            account,
            sum: opening.filter(|_| statement.is_whole),
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
        if !entry.is_booked {
            self.imported.not_booked += 1;
            return Ok(());
        }
        check_days(&entry, self.today)?;
        self.imported.without_payments += u64::from(entry.omits_payments);
        let open = self.open.as_mut().ok_or_else(outside)?;
        let (index, is_whole) = (open.account, open.is_whole);
        let amount = entry.details.transaction_amount;
        let running = match open.sum {
            Some(sum) => {
                let sum = plus(sum, amount, place)?;
                open.sum = Some(sum);
                Some(sum)
            }
            None => entry.balance_after,
        };
        let account = self.accounts.get(index).ok_or_else(outside)?;
        if !is_whole && account.ends_day(&entry) {
            self.write().await?;
            self.check_day(index, false).await?;
        }
        let account = self.accounts.get_mut(index).ok_or_else(outside)?;
        if amount.currency() != account.currency {
            return Err(place.wrong("not the currency of the account"));
        }
        if !is_whole {
            account.check_row(&entry, amount)?;
        }
        let id = account.id_of(&entry, running);
        let mut transaction = entry.details;
        let reference = entry.reference.unwrap_or_else(|| id.clone());
        transaction.booking_date = Some(entry.booking_date);
        transaction.entry_reference = Some(Text::cut(&reference));
        transaction.transaction_id = Some(Text::cut(&id));
        account.sequence += 1;
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
        let written = self.batch.push(row, &mut self.sql).await?;
        self.record(written)
    }

    /// Writes all rows of the batch.
    async fn write(&mut self) -> Result<()> {
        let written = self.batch.write(&mut self.sql).await?;
        self.record(written)
    }

    /// Adds rows that were written to the balance, and counts those that were there already. Each
    /// statement is written when it ends: they are all of the open one.
    fn record(&mut self, Written { new, known }: Written) -> Result<()> {
        let is_whole = self.open.as_ref().is_some_and(|open| open.is_whole);
        let index = |row: &Row| self.by_id.get(&row.account).copied().unwrap_or(usize::MAX);
        for row in new {
            let place = Place::new(row.line, row.id_path);
            self.imported.add(&row.amount);
            let Some(account) = self.accounts.get_mut(index(&row)) else {
                continue;
            };
            account.booked = plus(account.booked, row.amount, place)?;
            let progress = &mut account.progress;
            progress.new += 1;
            let Some(booked_to) = account.date.map(|date| date.to_string()) else {
                continue;
            };
            if row.date < booked_to && !is_whole {
                return Err(place.wrong(format!(
                    "not in the ledger, which is booked up to {booked_to}: rows continue the \
                     ledger, and entries that it has are equal to those that were imported"
                )));
            }
            if row.date <= booked_to {
                let late = progress.late.get_or_insert_with(|| Late {
                    first: row.date.clone(),
                    last: booked_to,
                    sum: Decimal::ZERO,
                });
                late.first = row.date.min(std::mem::take(&mut late.first));
                // 14 digits before the point leave room for 10^14 entries.
                late.sum += row.amount.value();
            }
        }
        self.imported.known += known.len() as u64;
        for row in known {
            if let Some(account) = self.accounts.get_mut(index(&row)) {
                account.progress.known += 1;
            }
        }
        Ok(())
    }

    async fn close(&mut self, closing: &Stated) -> Result<()> {
        let place = closing.place;
        let outside = || place.wrong("a closing balance outside of a statement");
        let open = self.open.as_ref().ok_or_else(outside)?;
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
        let open = self.open.take().ok_or_else(outside)?;
        let account = self.accounts.get_mut(open.account).ok_or_else(outside)?;
        let is_even = account.booked.value() == closing.amount.value();
        let is_new = account.progress.new > 0;
        let is_earlier = account.date.is_some_and(|date| closing.date < date);
        let is_later = account.date.is_none_or(|date| closing.date > date);
        account.doubtful = None;
        if !is_even && (is_new || is_later) {
            return Err(place.wrong(format!(
                "with the new entries the balance in the ledger would be {}, and the closing \
                 balance is {}: {IN_ORDER}",
                account.booked, closing.amount
            )));
        }
        if is_new && is_earlier {
            let problem = "some entries are not in the ledger, which is booked up to a later day";
            return Err(place.wrong(format!("{problem}: {IN_ORDER}")));
        }
        if !is_even {
            // Its entries are in the ledger, and it closes with the balance after the last one.
            let could_continue = !is_earlier && account.could_continue();
            account.doubtful = could_continue.then_some(place);
            return Ok(());
        }
        account.date = account.date.max(Some(closing.date));
        account.balance_type = BalanceType::ClosingBooked;
        account.is_changed = true;
        self.check_repeated(open.account, place).await
    }

    /// Checks what the file has of an account, at its end.
    async fn finish(&mut self, index: usize) -> Result<()> {
        let Some(account) = self.accounts.get_mut(index) else {
            return Ok(());
        };
        if let Some((place, stated)) = account.stated {
            let is_even = stated.value() == account.booked.value();
            if !is_even && account.progress.new > 0 {
                return Err(place.wrong(format!(
                    "with the new entries the balance in the ledger would be {}, and this row \
                     states {stated}: an entry is missing, or was changed",
                    account.booked
                )));
            }
            let is_last = account.day.as_ref().map(|day| day.date) >= account.date;
            let could_continue = !is_even && is_last && account.could_continue();
            account.doubtful = could_continue.then_some(place);
        }
        if let Some(place) = account.doubtful {
            return Err(place.wrong(format!(
                "the ledger has all of these entries, and is at the balance before them again, {}: \
                 if they were imported before, leave them out; if the bank has booked them once \
                 more, import a statement of the whole day",
                account.booked
            )));
        }
        let Some(day) = account.day.as_ref() else {
            return Ok(());
        };
        let (is_last, place) = (account.date == Some(day.date), day.place);
        let has_balance = account.stated.is_some();
        if is_last && !has_balance {
            self.check_day(index, true).await?;
        } else if has_balance {
            self.check_repeated(index, place).await?;
        }
        if let Some(account) = self.accounts.get_mut(index) {
            account.date = account.date.max(account.day.as_ref().map(|day| day.date));
            if account.progress.new > 0 {
                account.balance_type = BalanceType::InterimBooked;
            }
        }
        Ok(())
    }

    /// Checks that new entries which cancel out are not those of the ledger in another order or
    /// form: no balance shows it.
    ///
    /// Cost: where there are such entries on days that the ledger has, it reads these days.
    async fn check_repeated(&mut self, index: usize, place: Place) -> Result<()> {
        const ENTRIES: &str = "SELECT date, sequence, details FROM entry WHERE account = $1 AND \
            booked = 1 AND date BETWEEN $2 AND $3";

        let Some(account) = self.accounts.get(index) else {
            return Ok(());
        };
        let Some(late) = account.progress.late.as_ref() else {
            return Ok(());
        };
        if account.progress.known > 0 || !late.sum.is_zero() {
            return Ok(());
        }
        let mut rows = sqlx::query_as(ENTRIES)
            .bind(account.id.clone())
            .bind(late.first.clone())
            .bind(late.last.clone())
            .fetch(&mut *self.sql);
        // Entries of the ledger without the new ones, by day and amount.
        let mut others: HashMap<(String, Decimal), i64> = HashMap::new();
        while let Some((date, sequence, details)) = rows.try_next().await? {
            let (sequence, details): (i64, String) = (sequence, details);
            let details: Transaction =
                serde_json::from_str(&details).map_err(|_| StoreError::corrupt("entry.details"))?;
            let is_new = sequence > account.progress.sequence;
            *others
                .entry((date, details.transaction_amount.value()))
                .or_default() += if is_new { -1 } else { 1 };
        }
        if others.values().any(|number| *number < 0) {
            return Ok(());
        }
        Err(place.wrong(
            "the ledger has entries of the same days and amounts, and they cancel out: this can \
             be a statement of it in another form. If these are further entries, import a \
             statement that has both",
        ))
    }

    /// Checks rows without balances on the last day of the ledger: equal ones are recognised by
    /// counting, if the file has all entries of the day that the ledger has. The last day of a file
    /// that was imported before may have fewer.
    ///
    /// Cost: one count by index.
    async fn check_day(&mut self, index: usize, is_last: bool) -> Result<()> {
        const COUNT: &str =
            "SELECT count(*) FROM entry WHERE account = $1 AND booked = 1 AND date = $2";

        let account = self.accounts.get(index);
        let Some((account, day)) =
            account.and_then(|account| Some((account, account.day.as_ref()?)))
        else {
            return Ok(());
        };
        if is_last && account.progress.new == 0 && !day.is_first {
            return Ok(());
        }
        let in_ledger: i64 = sqlx::query_scalar(COUNT)
            .bind(account.id.clone())
            .bind(day.date.to_string())
            .fetch_one(&mut *self.sql)
            .await?;
        if u64::try_from(in_ledger) == Ok(day.rows) {
            return Ok(());
        }
        Err(day.place.wrong(
            "the ledger has entries of this day that the file does not have: which of the others \
             are the same cannot be known. Import whole days, or give each row its balance",
        ))
    }

    async fn write_balances(&mut self) -> Result<()> {
        for account in &self.accounts {
            if !account.is_changed && account.progress.new == 0 {
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
            is_changed: false,
            progress: Progress::default(),
            doubtful: None,
            stated: None,
            day: None,
            seen: HashMap::new(),
        }
    }

    /// Whether entries that are all in the ledger could be booked once more after it: it is at
    /// their opening balance.
    fn could_continue(&self) -> bool {
        let opening = self.progress.opening.map(|opening| opening.value());
        opening == Some(self.booked.value())
    }

    /// Whether the rows before this one are of the ledger's last day, and this one is not.
    fn ends_day(&self, entry: &Entry) -> bool {
        let day = self.day.as_ref().map(|day| day.date);
        day.is_some() && day == self.date && day < Some(entry.booking_date)
    }

    /// Checks a row against the one before it: its day is not earlier, and its balance is that of
    /// the row before with its own amount.
    fn check_row(&mut self, entry: &Entry, amount: Amount) -> Result<()> {
        let place = entry.place;
        let is_first = self.day.is_none();
        match &mut self.day {
            Some(day) if entry.booking_date < day.date => {
                let problem = "earlier than the row before: the oldest entry comes first";
                return Err(place.wrong(problem));
            }
            Some(day) if entry.booking_date == day.date => day.rows += 1,
            day => {
                self.seen.clear();
                *day = Some(Day {
                    date: entry.booking_date,
                    place,
                    rows: 1,
                    is_first,
                });
            }
        }
        if !is_first && entry.balance_after.is_some() != self.stated.is_some() {
            let place = Place::new(place.line, "balance");
            return Err(place.wrong("each row of an account has its balance, or none has"));
        }
        let Some(stated) = entry.balance_after else {
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
    /// It is made of booking date, amount, the balance after the entry, and the bank's reference or
    /// else the entry's content: banks repeat references. Equal entries of one day are counted.
    fn id_of(&mut self, entry: &Entry, running: Option<Amount>) -> String {
        let details = &entry.details;
        let mut parts = vec![
            entry.booking_date.to_string(),
            details.transaction_amount.to_string(),
            running.map(|sum| sum.to_string()).unwrap_or_default(),
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
