//! The commands `accounts`, `balances` and `transactions`.

use std::collections::HashMap;
use std::future::ready;
use std::io::{self, IsTerminal as _};
use std::pin::{Pin, pin};
use std::sync::Arc;

use bank_client::aggregator::{BankResult, Member};
use bank_client::environment::{Clock as _, SystemClock};
use bank_client::{
    AccountInformation, Entries, Entry, Error, ErrorKind, Response, TransactionFilter,
};
use chrono::Days;
use chrono_tz::Tz;
use futures::future::maybe_done;
use futures::stream::{BoxStream, Peekable, StreamExt as _, iter, once};
use shared_types::xs2a::account::{AccountDetails, Balance};
use shared_types::xs2a::card_account::debits_negative;
use shared_types::xs2a::transaction::Transaction;

use super::arguments::Transactions;
use super::balance_history::BalanceHistories;
use super::failure::{Exit, Failure, failure};
use super::progress::Progress;
use super::rows::{AccountRow, BalanceRow, Displayed, TransactionRow};
use super::screen::{Format, ListRow, Printer, Screen, note, or_empty};
use super::targets::Targets;
use super::totals::RunningTotals;

/// Lists the payment accounts at all targets, or the card accounts.
pub(super) async fn accounts(
    targets: Targets,
    cards: bool,
    with_balance: bool,
    screen: Screen,
) -> Result<Exit, Failure> {
    let aggregator = targets.aggregator();
    if cards {
        let answers = aggregator
            .request(move |reader| async move { reader.card_accounts(with_balance).await });
        return print_accounts(targets, answers, |account| &mut account.balances, screen).await;
    }
    let answers = aggregator.accounts(with_balance);
    let is_explicit = targets.is_explicit();
    let exit = print_accounts(targets, answers, |account| &mut account.balances, screen).await?;
    note_card_commands(screen, exit, is_explicit, &["accounts --cards"]);
    Ok(exit)
}

/// Prints accounts, with their balances of each type newest first.
async fn print_accounts<T>(
    mut targets: Targets,
    answers: BoxStream<'static, BankResult<Response<Vec<T>>>>,
    balances: fn(&mut T) -> &mut Option<Vec<Balance>>,
    screen: Screen,
) -> Result<Exit, Failure>
where
    AccountRow<T>: ListRow,
{
    let answered = collect_in_order(&mut targets, answers).await;
    let mut printer = screen.printer();
    for (member, accounts) in answered {
        for mut account in accounts {
            if let Some(balances) = balances(&mut account) {
                let newest_first = Balance::newest_first(balances);
                *balances = newest_first.into_iter().cloned().collect();
            }
            let bank = member.key().to_owned();
            printer.print(&AccountRow { bank, account })?;
        }
    }
    finish(printer, &targets)
}

/// Prints the remaining rows. If every target failed, prints no empty table: the errors have been
/// printed.
pub(super) fn finish<L: ListRow>(printer: Printer<L>, targets: &Targets) -> Result<Exit, Failure> {
    targets.print_deviations();
    let exit = targets.exit();
    if exit == Exit::Done {
        printer.finish()?;
    } else {
        printer.finish_nonempty()?;
    }
    Ok(exit)
}

/// Collects the responses in the order of the targets, not of arrival, so that output is the same
/// from run to run.
async fn collect_in_order<T>(
    targets: &mut Targets,
    mut answers: BoxStream<'static, BankResult<Response<Vec<T>>>>,
) -> Vec<(Member<AccountInformation>, Vec<T>)> {
    let progress = Progress::of(targets);
    let mut answered = HashMap::new();
    while let Some(answer) = answers.next().await {
        progress.done(&answer.member);
        match answer.outcome {
            Ok(read) => {
                targets.mark_read(&answer.member);
                let (read, deviations) = read.into_parts();
                targets.add_deviations(deviations);
                answered.insert(answer.member, read);
            }
            Err(error) => targets.failed(&answer.member, &error).await,
        }
    }
    progress.end();
    let collect_in_order = targets.members.iter().filter_map(|member| {
        let read = answered.remove(member.key())?;
        Some((member.clone(), read))
    });
    collect_in_order.collect()
}

/// The name under which each account is shown: its number, or its id if it has none. Accounts that
/// share a number get their currency added, and if they share that too, their id.
fn account_names(accounts: &[AccountDetails]) -> Vec<String> {
    let number = |account: &AccountDetails| {
        let number = account.iban.as_ref().map(ToString::to_string);
        let number = number.or_else(|| account.bban.as_ref().map(ToString::to_string));
        let id = || account.resource_id.clone();
        number.or_else(id).unwrap_or_default()
    };
    let in_currency =
        |account: &AccountDetails| format!("{} {}", number(account), account.currency);
    let is_shared = |name: &dyn Fn(&AccountDetails) -> String, account: &AccountDetails| {
        let name_of_it = name(account);
        let alike = accounts.iter().filter(|other| name(other) == name_of_it);
        alike.take(2).count() > 1
    };
    let name = |account: &AccountDetails| {
        if !is_shared(&number, account) {
            return number(account);
        }
        let name = in_currency(account);
        if !is_shared(&in_currency, account) {
            return name;
        }
        format!("{name} {}", or_empty(&account.resource_id))
    };
    accounts.iter().map(name).collect()
}

/// Notes which commands list card accounts, because the printed list has none. For JSON and CSV, to
/// a terminal only. `is_explicit`: the command line names bank and consent.
fn note_card_commands(screen: Screen, exit: Exit, is_explicit: bool, commands: &[&str]) {
    let is_read = screen.format == Format::Table || io::stderr().is_terminal();
    if is_read && exit == Exit::Done {
        let same = if is_explicit {
            ", with the same other options"
        } else {
            ""
        };
        note(format!("card accounts are listed with{same}:"));
        let program = if is_explicit { "" } else { "bank-client " };
        for command in commands {
            note(format!("  {program}{command}"));
        }
    }
}

/// The balances of an account: the member's label, the account, its balances.
type AccountBalances = (Arc<str>, Arc<AccountDetails>, Vec<Balance>);

/// Lists the balances of all accounts.
pub(super) async fn balances(mut targets: Targets, screen: Screen) -> Result<Exit, Failure> {
    let histories = BalanceHistories::open(&targets).await?;
    let progress = Progress::of(&targets);
    let mut answered: Vec<AccountBalances> = Vec::new();
    let mut answers = targets.aggregator().balances();
    while let Some(answer) = answers.next().await {
        match answer.outcome {
            Ok(balances) => {
                targets.mark_read(&answer.member);
                if let Some(account) = answer.account {
                    answered.push((answer.member, account, balances));
                }
            }
            Err(error) => targets.failed(&answer.member, &error).await,
        }
    }
    targets.add_deviations(answers.deviations());
    progress.end();
    let mut printer = screen.printer();
    for member in &targets.members {
        let its = answered
            .iter()
            .filter(|(label, ..)| label.as_ref() == member.key());
        let accounts: Vec<AccountDetails> = its
            .clone()
            .map(|(_, account, _)| (**account).clone())
            .collect();
        // Responses arrive in any order; output is the same from run to run.
        let mut named: Vec<(String, &AccountBalances)> =
            account_names(&accounts).into_iter().zip(its).collect();
        named.sort_by(|(one, (_, its, _)), (other, (_, others, _))| {
            (one, &its.resource_id).cmp(&(other, &others.resource_id))
        });
        for (name, (_, account, balances)) in named {
            let history = histories
                .of(member, account, targets.zone(member.key()))
                .await?;
            let of = (member.key(), name.as_str());
            print_balances(&mut printer, screen, of, balances, None, &history)?;
        }
    }
    let exit = finish(printer, &targets)?;
    let cards = ["accounts --cards --with-balance"];
    note_card_commands(screen, exit, targets.is_explicit(), &cards);
    Ok(exit)
}

/// Lists the balances of one account.
pub(super) async fn balances_of(
    mut targets: Targets,
    account: &str,
    card: bool,
    screen: Screen,
) -> Result<Exit, Failure> {
    let member = targets.single()?.clone();
    let reader = member.handle();
    let outcome = if card {
        let answer = reader.card_balances(account).await;
        answer.map(|answer| answer.map(|answer| answer.balances))
    } else {
        let answer = reader.balances(account).await;
        answer.map(|answer| answer.map(|answer| answer.balances))
    };
    let (balances, deviations) = match outcome {
        Ok(balances) => balances.into_parts(),
        Err(error) => {
            targets.failed(member.key(), &error).await;
            return Ok(targets.exit());
        }
    };
    targets.add_deviations(deviations);
    let debit_accounting = if card {
        debit_accounting(reader, account).await
    } else {
        None
    };
    let mut printer = screen.printer();
    let of = (member.key(), account);
    print_balances(&mut printer, screen, of, &balances, debit_accounting, "")?;
    finish(printer, &targets)
}

/// Whether the bank quotes debits of a card account as positive amounts (`debitAccounting`): as the
/// last response said, else as the account's details say. Absent means that debits are negative.
async fn debit_accounting(reader: &AccountInformation, card: &str) -> Option<bool> {
    match reader.debit_accounting(card) {
        None => {
            reader
                .card_account(card, false)
                .await
                .ok()?
                .debit_accounting
        }
        quoted => quoted,
    }
}

/// Prints balances, newest first within each type; a table shows only the newest of each type. The
/// history stands beside the first balance.
fn print_balances(
    printer: &mut Printer<BalanceRow>,
    screen: Screen,
    (bank, account): (&str, &str),
    balances: &[Balance],
    debit_accounting: Option<bool>,
    history: &str,
) -> Result<(), Failure> {
    let balances = match screen.format {
        Format::Table => Balance::newest(balances),
        Format::Json | Format::Csv => Balance::newest_first(balances),
    };
    for (number, balance) in balances.into_iter().enumerate() {
        printer.print(&BalanceRow {
            bank: bank.to_owned(),
            account: account.to_owned(),
            balance: balance.clone(),
            debit_accounting,
            history: if number == 0 {
                history.to_owned()
            } else {
                String::new()
            },
        })?;
    }
    Ok(())
}

/// Days before today from which transactions are listed unless `--from` is given.
const DEFAULT_DAYS: u64 = 30;

/// The filter for the command line's options; days are those of the bank's time zone.
fn filter(wanted: &Transactions, zone: Tz) -> TransactionFilter {
    let today = SystemClock.now().with_timezone(&zone).date_naive();
    let from = wanted
        .from
        .or_else(|| today.checked_sub_days(Days::new(DEFAULT_DAYS)));
    TransactionFilter {
        to: wanted.to,
        booking_status: wanted.status.into(),
        page_size: wanted.page_size,
        ..TransactionFilter::since(from.unwrap_or(today))
    }
}

/// Prints transactions as they arrive, with running totals.
struct TransactionPrinter<T: Displayed> {
    screen: Screen,
    printer: Printer<TransactionRow<T>>,
    totals: RunningTotals,
    progress: Progress,
}

impl<T: Displayed> TransactionPrinter<T> {
    fn new(screen: Screen, progress: Progress) -> Self {
        Self {
            screen,
            printer: screen.printer(),
            totals: RunningTotals::default(),
            progress,
        }
    }

    fn entry(
        &mut self,
        bank: &str,
        account: &str,
        entry: Entry<T>,
        debit_accounting: Option<bool>,
    ) -> Result<(), Failure> {
        let (booked, transaction) = match entry {
            Entry::Booked(transaction) => (true, transaction),
            Entry::Pending(transaction) => (false, transaction),
        };
        let row = TransactionRow {
            bank: bank.to_owned(),
            account: account.to_owned(),
            booked,
            running_total: self
                .totals
                .add(debits_negative(transaction.amount(), debit_accounting)),
            transaction,
            debit_accounting,
        };
        let printer = &mut self.printer;
        self.progress.suspend(|| printer.print(&row))
    }

    fn finish(self, targets: &Targets) -> Result<Exit, Failure> {
        self.progress.end();
        let exit = finish(self.printer, targets)?;
        if !self.totals.is_empty() {
            self.screen.line(&self.totals)?;
        }
        Ok(exit)
    }
}

/// The number of accounts whose first page is read ahead.
const READ_AHEAD: usize = 8;

/// Lists the transactions of all accounts, one account after the other, so that running totals are
/// the same from run to run.
pub(super) async fn transactions(
    mut targets: Targets,
    wanted: &Transactions,
    screen: Screen,
) -> Result<Exit, Failure> {
    let accounts = targets.aggregator().accounts(false);
    let accounts = collect_in_order(&mut targets, accounts).await;
    let mut of_banks = Vec::with_capacity(accounts.len());
    for (member, accounts) in accounts {
        let filter = filter(wanted, targets.zone(member.key()));
        of_banks.push((member, accounts, filter));
    }
    let lists = of_banks.into_iter().flat_map(|(member, accounts, filter)| {
        let names = account_names(&accounts);
        accounts.into_iter().zip(names).map(move |(account, name)| {
            tokio::spawn(AccountTransactions::of(
                member.clone(),
                account,
                name,
                filter.clone(),
            ))
        })
    });
    // The iterator is lazy: an account's request is sent once it is within the read-ahead.
    let mut lists = iter(lists).buffered(READ_AHEAD);
    let mut printer = TransactionPrinter::new(screen, Progress::of(&targets));
    while let Some(one) = lists.next().await {
        let mut one =
            one.map_err(|error| failure(error, "report this to the developers of bank-client"))?;
        let label = one.member.key();
        while let Some(entry) = one.entries.next().await {
            match entry {
                Ok(read) => printer.entry(label, &one.account, read, None)?,
                Err(error) => targets.failed(label, &error).await,
            }
        }
        targets.add_deviations(one.entries.get_ref().deviations());
    }
    let exit = printer.finish(&targets)?;
    let cards = ["accounts --cards", "transactions ID --card"];
    note_card_commands(screen, exit, targets.is_explicit(), &cards);
    Ok(exit)
}

/// The transactions of an account, first page loaded.
struct AccountTransactions {
    member: Member<AccountInformation>,
    account: String,
    entries: Peekable<Entries<Result<Entry<Transaction>, Error>>>,
}

impl AccountTransactions {
    async fn of(
        member: Member<AccountInformation>,
        account: AccountDetails,
        name: String,
        filter: TransactionFilter,
    ) -> Self {
        let reader = member.handle();
        let entries = if let Some(id) = &account.resource_id {
            reader.transactions(id, &filter)
        } else {
            let bank = reader.bank().name().to_owned();
            let kind = ErrorKind::missing_resource_id("accounts");
            Entries::from(once(ready(Err(Error { bank, kind }))).boxed())
        };
        let mut entries = entries.peekable();
        // This loads the first page; the next one is requested once its entries are consumed.
        let _ = Pin::new(&mut entries).peek().await;
        Self {
            account: name,
            member,
            entries,
        }
    }
}

/// Lists the transactions of one account.
pub(super) async fn transactions_of(
    targets: Targets,
    account: &str,
    wanted: &Transactions,
    screen: Screen,
) -> Result<Exit, Failure> {
    let member = targets.single()?;
    let reader: AccountInformation = member.handle().clone();
    let filter = filter(wanted, targets.zone(member.key()));
    if wanted.card {
        let entries = reader.card_transactions(account, &filter);
        let debits = Box::pin(debit_accounting(&reader, account));
        print_transactions(targets, account, entries, screen, debits).await
    } else {
        let entries = reader.transactions(account, &filter);
        print_transactions(targets, account, entries, screen, ready(None)).await
    }
}

/// Prints entries as they arrive. `debit_accounting` is resolved after the first entry, because its
/// page may carry the value.
async fn print_transactions<T: Displayed>(
    mut targets: Targets,
    account: &str,
    mut entries: Entries<Result<Entry<T>, Error>>,
    screen: Screen,
    debit_accounting: impl Future<Output = Option<bool>>,
) -> Result<Exit, Failure> {
    let label = targets.single()?.key().to_owned();
    let mut printer = TransactionPrinter::new(screen, Progress::of(&targets));
    let mut debit_accounting = pin!(maybe_done(debit_accounting));
    while let Some(entry) = entries.next().await {
        match entry {
            Ok(entry) => {
                targets.mark_read(&label);
                debit_accounting.as_mut().await;
                let debits = debit_accounting.as_mut().output_mut().copied().flatten();
                printer.entry(&label, account, entry, debits)?;
            }
            Err(error) => targets.failed(&label, &error).await,
        }
    }
    targets.add_deviations(entries.deviations());
    printer.finish(&targets)
}
