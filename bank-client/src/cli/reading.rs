//! `bank-client accounts`, `balances`, `transactions`.

use std::collections::HashMap;
use std::future::ready;
use std::pin::{Pin, pin};
use std::sync::Arc;

use bank_client::aggregator::{FromBank, Member};
use bank_client::environment::{Clock as _, SystemClock};
use bank_client::{
    AccountInformation, Entries, Entry, Error, ErrorKind, Response, TransactionFilter,
};
use chrono::Days;
use chrono_tz::Tz;
use futures::future::maybe_done;
use futures::stream::{BoxStream, Peekable, StreamExt as _, iter, once};
use shared_types::account::{AccountDetails, Balance};
use shared_types::card_account::{CardAccountDetails, CardTransaction, debits_negative};
use shared_types::money::Amount;
use shared_types::transaction::Transaction;

use super::arguments::Transactions;
use super::balance_history::Courses;
use super::failure::{Exit, Failure, failure};
use super::progress::Progress;
use super::rows::{AccountRow, BalanceRow, TransactionRow};
use super::screen::{Format, Listed, Printer, Screen, note, or_empty};
use super::targets::Targets;
use super::totals::RunningTotals;

/// The accounts of everybody who is asked.
pub(super) async fn accounts(
    mut targets: Targets,
    with_balance: bool,
    screen: Screen,
) -> Result<Exit, Failure> {
    let answers = targets
        .aggregator()
        .ask(move |under| async move { under.accounts(with_balance).await });
    let exit = listed(&mut targets, answers, screen).await?;
    about_cards(screen, exit, &["accounts --cards"]);
    Ok(exit)
}

/// The same, of card accounts.
pub(super) async fn card_accounts(
    mut targets: Targets,
    with_balance: bool,
    screen: Screen,
) -> Result<Exit, Failure> {
    let answers = targets
        .aggregator()
        .ask(move |under| async move { under.card_accounts(with_balance).await });
    listed(&mut targets, answers, screen).await
}

/// An account that may have come with its balances.
trait WithBalances {
    fn balances(&mut self) -> Option<&mut Vec<Balance>>;
}

impl WithBalances for AccountDetails {
    fn balances(&mut self) -> Option<&mut Vec<Balance>> {
        self.balances.as_mut()
    }
}

impl WithBalances for CardAccountDetails {
    fn balances(&mut self) -> Option<&mut Vec<Balance>> {
        self.balances.as_mut()
    }
}

/// Of several balances of a kind, the newest comes first.
fn newest_first(account: &mut impl WithBalances) {
    if let Some(balances) = account.balances() {
        *balances = Balance::newest_first(balances)
            .into_iter()
            .cloned()
            .collect();
    }
}

async fn listed<T: WithBalances>(
    targets: &mut Targets,
    answers: BoxStream<'static, FromBank<Response<Vec<T>>>>,
    screen: Screen,
) -> Result<Exit, Failure>
where
    AccountRow<T>: Listed,
{
    let answered = in_turn(targets, answers).await;
    let mut printer = screen.printer();
    for (member, accounts) in answered {
        for mut account in accounts {
            newest_first(&mut account);
            let bank = member.key().to_owned();
            printer.print(&AccountRow { bank, account })?;
        }
    }
    finish(printer, targets)
}

/// Prints what is left. Where nothing came and the reason is told, no empty table says that there is nothing.
pub(super) fn finish<L: Listed>(printer: Printer<L>, targets: &Targets) -> Result<Exit, Failure> {
    targets.tell_of_deviations();
    let exit = targets.exit();
    if exit == Exit::Done {
        printer.finish()?;
    } else {
        printer.finish_some()?;
    }
    Ok(exit)
}

/// What everybody answers, in the order in which they are asked, whoever is the first: it is printed alike from run to run.
async fn in_turn<T>(
    targets: &mut Targets,
    mut answers: BoxStream<'static, FromBank<Response<Vec<T>>>>,
) -> Vec<(Member<AccountInformation>, Vec<T>)> {
    let progress = Progress::of(targets);
    let mut answered = HashMap::new();
    while let Some(answer) = answers.next().await {
        progress.done(&answer.member);
        match answer.outcome {
            Ok(read) => {
                targets.heard(&answer.member);
                let (read, deviations) = read.into_parts();
                targets.odd(deviations);
                answered.insert(answer.member, read);
            }
            Err(error) => targets.failed(&answer.member, &error).await,
        }
    }
    progress.end();
    let in_turn = targets.members.iter().filter_map(|member| {
        let read = answered.remove(member.key())?;
        Some((member.clone(), read))
    });
    in_turn.collect()
}

/// What each of a customer's accounts is shown by: its number, or its id where it has none. Those that share a number are
/// told apart by their currency, or by their id.
fn names(accounts: &[AccountDetails]) -> Vec<String> {
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
        format!("{name} {}", or_empty(account.resource_id.as_ref()))
    };
    accounts.iter().map(name).collect()
}

/// Says how card accounts are listed, which are not among those that were printed.
fn about_cards(screen: Screen, exit: Exit, commands: &[&str]) {
    if screen.format == Format::Table && exit == Exit::Done {
        note("card accounts are listed by:");
        for command in commands {
            note(format!("  bank-client {command}"));
        }
    }
}

/// An account's balances, and whose they are.
type Answered = (Arc<str>, Arc<AccountDetails>, Vec<Balance>);

/// The balances of all accounts.
pub(super) async fn balances(mut targets: Targets, screen: Screen) -> Result<Exit, Failure> {
    let courses = Courses::open(&targets).await?;
    let progress = Progress::of(&targets);
    let mut answered: Vec<Answered> = Vec::new();
    let mut answers = targets.aggregator().balances();
    while let Some(answer) = answers.next().await {
        match answer.outcome {
            Ok(balances) => {
                targets.heard(&answer.member);
                if let Some(account) = answer.account {
                    answered.push((answer.member, account, balances));
                }
            }
            Err(error) => targets.failed(&answer.member, &error).await,
        }
    }
    targets.odd(answers.deviations());
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
        // They come as banks answer; what is printed is alike from run to run.
        let mut named: Vec<(String, &Answered)> = names(&accounts).into_iter().zip(its).collect();
        named.sort_by(|(one, (_, its, _)), (other, (_, others, _))| {
            (one, &its.resource_id).cmp(&(other, &others.resource_id))
        });
        for (name, (_, account, balances)) in named {
            let course = courses
                .of(member, account, targets.zone(member.key()))
                .await?;
            let of = (member.key(), name.as_str());
            print_balances(&mut printer, screen, of, balances, None, &course)?;
        }
    }
    let exit = finish(printer, &targets)?;
    about_cards(screen, exit, &["accounts --cards --with-balance"]);
    Ok(exit)
}

/// The balances of one account.
pub(super) async fn balances_of(
    mut targets: Targets,
    account: &str,
    card: bool,
    screen: Screen,
) -> Result<Exit, Failure> {
    let member = targets.only()?.clone();
    let under = member.handle();
    let outcome = if card {
        let answer = under.card_balances(account).await;
        answer.map(|answer| answer.map(|answer| answer.balances))
    } else {
        let answer = under.balances(account).await;
        answer.map(|answer| answer.map(|answer| answer.balances))
    };
    let balances = match outcome {
        Ok(balances) => {
            let (balances, deviations) = balances.into_parts();
            targets.odd(deviations);
            balances
        }
        Err(error) => {
            targets.failed(member.key(), &error).await;
            return Ok(targets.exit());
        }
    };
    let debit_accounting = if card {
        debit_accounting(under, account).await
    } else {
        None
    };
    let mut printer = screen.printer();
    let of = (member.key(), account);
    print_balances(&mut printer, screen, of, &balances, debit_accounting, "")?;
    finish(printer, &targets)
}

/// How the bank quotes debits of a card account: as it said along with what was read, else as the account says. A bank that
/// says so nowhere, or does not give the account, quotes them negative.
async fn debit_accounting(under: &AccountInformation, card: &str) -> Option<bool> {
    match under.debit_accounting(card) {
        None => under.card_account(card, false).await.ok()?.debit_accounting,
        said => said,
    }
}

/// The newest of each kind comes first; people are shown no others. The course stands beside the first balance.
fn print_balances(
    printer: &mut Printer<BalanceRow>,
    screen: Screen,
    (bank, account): (&str, &str),
    balances: &[Balance],
    debit_accounting: Option<bool>,
    course: &str,
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
            course: if number == 0 {
                course.to_owned()
            } else {
                String::new()
            },
        })?;
    }
    Ok(())
}

/// So far back transactions are listed, in days.
const BACK: u64 = 30;

/// By the days of the bank's time zone.
fn filter(wanted: &Transactions, zone: Tz) -> TransactionFilter {
    let today = SystemClock.now().with_timezone(&zone).date_naive();
    let from = wanted
        .from
        .or_else(|| today.checked_sub_days(Days::new(BACK)));
    TransactionFilter {
        to: wanted.to,
        booking_status: wanted.status.into(),
        page_size: wanted.page_size,
        ..TransactionFilter::since(from.unwrap_or(today))
    }
}

/// Prints transactions as they come.
struct Telling<T>
where
    TransactionRow<T>: Listed,
{
    screen: Screen,
    printer: Printer<TransactionRow<T>>,
    totals: RunningTotals,
    progress: Progress,
}

impl<T> Telling<T>
where
    TransactionRow<T>: Listed,
{
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
        amount: impl Fn(&T) -> Amount,
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
                .add(debits_negative(amount(&transaction), debit_accounting)),
            transaction,
            debit_accounting,
        };
        let printer = &mut self.printer;
        self.progress.aside(|| printer.print(&row))
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

/// So many accounts' first pages are read ahead.
const AHEAD: usize = 8;

/// The transactions of all accounts, one account after the other, so that running totals are alike from run to run.
pub(super) async fn transactions(
    mut targets: Targets,
    wanted: &Transactions,
    screen: Screen,
) -> Result<Exit, Failure> {
    let accounts = targets.aggregator().accounts(false);
    let accounts = in_turn(&mut targets, accounts).await;
    let mut of_banks = Vec::with_capacity(accounts.len());
    for (member, accounts) in accounts {
        let filter = filter(wanted, targets.zone(member.key()));
        of_banks.push((member, accounts, filter));
    }
    let begun = of_banks.into_iter().flat_map(|(member, accounts, filter)| {
        let names = names(&accounts);
        accounts.into_iter().zip(names).map(move |(account, name)| {
            tokio::spawn(Begun::of(member.clone(), account, name, filter.clone()))
        })
    });
    // Nothing is asked before it is this one's turn: the iterator is lazy.
    let mut begun = iter(begun).buffered(AHEAD);
    let mut telling = Telling::new(screen, Progress::of(&targets));
    while let Some(one) = begun.next().await {
        let mut one = one.map_err(|error| failure(error, "tell the makers of bank-client"))?;
        let label = one.member.key();
        while let Some(entry) = one.entries.next().await {
            match entry {
                Ok(read) => {
                    let amount = |read: &Transaction| read.transaction_amount;
                    telling.entry(label, &one.account, read, amount, None)?;
                }
                Err(error) => targets.failed(label, &error).await,
            }
        }
        targets.odd(one.entries.get_ref().deviations());
    }
    let exit = telling.finish(&targets)?;
    about_cards(
        screen,
        exit,
        &["accounts --cards", "transactions ID --card"],
    );
    Ok(exit)
}

/// An account whose first page is here.
struct Begun {
    member: Member<AccountInformation>,
    account: String,
    entries: Peekable<Entries<Result<Entry<Transaction>, Error>>>,
}

impl Begun {
    async fn of(
        member: Member<AccountInformation>,
        account: AccountDetails,
        name: String,
        filter: TransactionFilter,
    ) -> Self {
        let under = member.handle();
        let entries = match &account.resource_id {
            Some(id) => under.transactions(id, &filter),
            None => Entries::from(once(ready(Err(nameless(under.bank().name())))).boxed()),
        };
        let mut entries = entries.peekable();
        // That is the first page; it is not read on while nobody takes its entries.
        let _ = Pin::new(&mut entries).peek().await;
        Self {
            account: name,
            member,
            entries,
        }
    }
}

/// Nothing can be asked of an account without an id.
fn nameless(bank: &str) -> Error {
    Error {
        bank: bank.to_owned(),
        kind: ErrorKind::Malformed {
            path: "accounts.resourceId".to_owned(),
            reason: "missing".to_owned(),
        },
    }
}

/// The transactions of one account.
pub(super) async fn transactions_of(
    targets: Targets,
    account: &str,
    wanted: &Transactions,
    screen: Screen,
) -> Result<Exit, Failure> {
    let member = targets.only()?;
    let under: AccountInformation = member.handle().clone();
    let filter = filter(wanted, targets.zone(member.key()));
    if wanted.card {
        let entries = under.card_transactions(account, &filter);
        let amount = |read: &CardTransaction| read.transaction_amount;
        let debits = Box::pin(debit_accounting(&under, account));
        one_after_the_other(targets, account, entries, screen, amount, debits).await
    } else {
        let entries = under.transactions(account, &filter);
        let amount = |read: &Transaction| read.transaction_amount;
        one_after_the_other(targets, account, entries, screen, amount, ready(None)).await
    }
}

/// How debits are quoted is asked for once the first entry is there: the page may have said it.
async fn one_after_the_other<T>(
    mut targets: Targets,
    account: &str,
    mut entries: Entries<Result<Entry<T>, Error>>,
    screen: Screen,
    amount: fn(&T) -> Amount,
    debit_accounting: impl Future<Output = Option<bool>>,
) -> Result<Exit, Failure>
where
    TransactionRow<T>: Listed,
{
    let label = targets.only()?.key().to_owned();
    let mut telling = Telling::new(screen, Progress::of(&targets));
    let mut debit_accounting = pin!(maybe_done(debit_accounting));
    while let Some(entry) = entries.next().await {
        match entry {
            Ok(entry) => {
                targets.heard(&label);
                debit_accounting.as_mut().await;
                let debits = debit_accounting.as_mut().output_mut().copied().flatten();
                telling.entry(&label, account, entry, amount, debits)?;
            }
            Err(error) => targets.failed(&label, &error).await,
        }
    }
    targets.odd(entries.deviations());
    telling.finish(&targets)
}
