//! `bank-client accounts`, `balances`, `transactions`.

use std::collections::HashMap;
use std::future::ready;
use std::pin::Pin;

use bank_client::aggregator::{FromBank, Member};
use bank_client::environment::{Clock as _, SystemClock};
use bank_client::{AccountInformation, Entry, Error, ErrorKind, TransactionFilter};
use chrono::Days;
use futures::stream::{BoxStream, Peekable, StreamExt as _, iter, once};
use shared_types::account::{AccountDetails, Balance};
use shared_types::card_account::CardTransaction;
use shared_types::money::Amount;
use shared_types::transaction::Transaction;

use super::arguments::Transactions;
use super::asked::Asked;
use super::course::Courses;
use super::failure::{Exit, Failure, failure};
use super::progress::Progress;
use super::rows::{AccountRow, BalanceRow, TransactionRow};
use super::screen::{Listed, Printer, Screen};
use super::totals::RunningTotals;

/// The accounts of everybody who is asked.
pub(super) async fn accounts(
    mut asked: Asked,
    with_balance: bool,
    screen: Screen,
) -> Result<Exit, Failure> {
    let answers = asked
        .aggregator()
        .ask(move |under| async move { under.accounts(with_balance).await });
    listed(&mut asked, answers, screen).await
}

/// The same, of card accounts.
pub(super) async fn card_accounts(
    mut asked: Asked,
    with_balance: bool,
    screen: Screen,
) -> Result<Exit, Failure> {
    let answers = asked
        .aggregator()
        .ask(move |under| async move { under.card_accounts(with_balance).await });
    listed(&mut asked, answers, screen).await
}

async fn listed<T>(
    asked: &mut Asked,
    answers: BoxStream<'static, FromBank<Vec<T>>>,
    screen: Screen,
) -> Result<Exit, Failure>
where
    AccountRow<T>: Listed,
{
    let answered = in_turn(asked, answers).await;
    let mut printer = screen.printer();
    for (member, accounts) in answered {
        for account in accounts {
            let bank = member.key().to_owned();
            printer.print(&AccountRow { bank, account })?;
        }
    }
    finish(printer, asked)
}

/// Prints what is left. Where nothing came and the reason is told, no empty table says that there is nothing.
pub(super) fn finish<L: Listed>(printer: Printer<L>, asked: &Asked) -> Result<Exit, Failure> {
    let exit = asked.exit();
    if exit == Exit::Done {
        printer.finish()?;
    } else {
        printer.finish_some()?;
    }
    Ok(exit)
}

/// What everybody answers, in the order in which they are asked, whoever is the first: it is printed alike from run to run.
async fn in_turn<T>(
    asked: &mut Asked,
    mut answers: BoxStream<'static, FromBank<Vec<T>>>,
) -> Vec<(Member<AccountInformation>, Vec<T>)> {
    let progress = Progress::of(asked);
    let mut answered = HashMap::new();
    while let Some(answer) = answers.next().await {
        progress.done(&answer.member);
        match answer.outcome {
            Ok(read) => {
                asked.heard(&answer.member);
                answered.insert(answer.member, read);
            }
            Err(error) => asked.failed(&answer.member, &error).await,
        }
    }
    progress.end();
    let in_turn = asked.members.iter().filter_map(|member| {
        let read = answered.remove(member.key())?;
        Some((member.clone(), read))
    });
    in_turn.collect()
}

/// What an account is known by.
pub(super) fn known_as(account: &AccountDetails) -> String {
    let iban = account.iban.as_ref().map(ToString::to_string);
    let id = || account.resource_id.clone();
    iban.or_else(id).unwrap_or_default()
}

/// The balances of all accounts.
pub(super) async fn balances(mut asked: Asked, screen: Screen) -> Result<Exit, Failure> {
    let courses = Courses::read(&asked).await?;
    let progress = Progress::of(&asked);
    let mut answered = Vec::new();
    let mut answers = asked.aggregator().balances();
    while let Some(answer) = answers.next().await {
        match answer.outcome {
            Ok(balances) => {
                asked.heard(&answer.member);
                let account = answer.account.as_deref().map(known_as).unwrap_or_default();
                answered.push((answer.member, account, balances));
            }
            Err(error) => asked.failed(&answer.member, &error).await,
        }
    }
    progress.end();
    // They come as banks answer; what is printed is alike from run to run.
    let turn = |label: &str| {
        asked
            .members
            .iter()
            .position(|member| member.key() == label)
    };
    answered
        .sort_by(|(one, its, _), (other, others, _)| (turn(one), its).cmp(&(turn(other), others)));
    let mut printer = screen.printer();
    for (label, account, balances) in answered {
        let course = courses.of(&label, &account);
        print_balances(&mut printer, &label, &account, balances, course)?;
    }
    finish(printer, &asked)
}

/// The balances of one account.
pub(super) async fn balances_of(
    mut asked: Asked,
    account: &str,
    card: bool,
    screen: Screen,
) -> Result<Exit, Failure> {
    let member = asked.only()?.clone();
    let under = member.handle();
    let outcome = if card {
        under
            .card_balances(account)
            .await
            .map(|answer| answer.balances)
    } else {
        under.balances(account).await.map(|answer| answer.balances)
    };
    let balances = match outcome {
        Ok(balances) => balances,
        Err(error) => {
            asked.failed(member.key(), &error).await;
            return Ok(asked.exit());
        }
    };
    let mut printer = screen.printer();
    print_balances(&mut printer, member.key(), account, balances, "")?;
    finish(printer, &asked)
}

/// The course stands beside the first balance.
fn print_balances(
    printer: &mut Printer<BalanceRow>,
    bank: &str,
    account: &str,
    balances: Vec<Balance>,
    course: &str,
) -> Result<(), Failure> {
    for (number, balance) in balances.into_iter().enumerate() {
        printer.print(&BalanceRow {
            bank: bank.to_owned(),
            account: account.to_owned(),
            balance,
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

fn filter(wanted: &Transactions) -> TransactionFilter {
    let today = SystemClock.now().date_naive();
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
    ) -> Result<(), Failure> {
        let (booked, transaction) = match entry {
            Entry::Booked(transaction) => (true, transaction),
            Entry::Pending(transaction) => (false, transaction),
        };
        let row = TransactionRow {
            bank: bank.to_owned(),
            account: account.to_owned(),
            booked,
            running_total: self.totals.add(amount(&transaction)),
            transaction,
        };
        let printer = &mut self.printer;
        self.progress.aside(|| printer.print(&row))
    }

    fn finish(self, asked: &Asked) -> Result<Exit, Failure> {
        self.progress.end();
        let exit = finish(self.printer, asked)?;
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
    mut asked: Asked,
    wanted: &Transactions,
    screen: Screen,
) -> Result<Exit, Failure> {
    let accounts = asked.aggregator().accounts(false);
    let accounts = in_turn(&mut asked, accounts).await;
    let filter = filter(wanted);
    let begun = accounts.into_iter().flat_map(|(member, accounts)| {
        let filter = filter.clone();
        accounts
            .into_iter()
            .map(move |account| tokio::spawn(Begun::of(member.clone(), account, filter.clone())))
    });
    // Nothing is asked before it is this one's turn: the iterator is lazy.
    let mut begun = iter(begun).buffered(AHEAD);
    let mut telling = Telling::new(screen, Progress::of(&asked));
    while let Some(one) = begun.next().await {
        let mut one = one.map_err(|error| failure(error, "tell the makers of bank-client"))?;
        let label = one.member.key();
        while let Some(entry) = one.entries.next().await {
            match entry {
                Ok(read) => telling.entry(label, &one.account, read, |read: &Transaction| {
                    read.transaction_amount
                })?,
                Err(error) => asked.failed(label, &error).await,
            }
        }
    }
    telling.finish(&asked)
}

/// An account whose first page is here.
struct Begun {
    member: Member<AccountInformation>,
    account: String,
    entries: Peekable<BoxStream<'static, Result<Entry<Transaction>, Error>>>,
}

impl Begun {
    async fn of(
        member: Member<AccountInformation>,
        account: AccountDetails,
        filter: TransactionFilter,
    ) -> Self {
        let under = member.handle();
        let entries = match &account.resource_id {
            Some(id) => under.transactions(id, &filter),
            None => once(ready(Err(nameless(under.bank().name())))).boxed(),
        };
        let mut entries = entries.peekable();
        // That is the first page; it is not read on while nobody takes its entries.
        let _ = Pin::new(&mut entries).peek().await;
        Self {
            account: known_as(&account),
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
    asked: Asked,
    account: &str,
    wanted: &Transactions,
    screen: Screen,
) -> Result<Exit, Failure> {
    let under: AccountInformation = asked.only()?.handle().clone();
    let filter = filter(wanted);
    if wanted.card {
        let entries = under.card_transactions(account, &filter);
        one_after_the_other(asked, account, entries, screen, |read: &CardTransaction| {
            read.transaction_amount
        })
        .await
    } else {
        let entries = under.transactions(account, &filter);
        one_after_the_other(asked, account, entries, screen, |read: &Transaction| {
            read.transaction_amount
        })
        .await
    }
}

async fn one_after_the_other<T>(
    mut asked: Asked,
    account: &str,
    mut entries: BoxStream<'static, Result<Entry<T>, Error>>,
    screen: Screen,
    amount: fn(&T) -> Amount,
) -> Result<Exit, Failure>
where
    TransactionRow<T>: Listed,
{
    let label = asked.only()?.key().to_owned();
    let mut telling = Telling::new(screen, Progress::of(&asked));
    while let Some(entry) = entries.next().await {
        match entry {
            Ok(entry) => {
                asked.heard(&label);
                telling.entry(&label, account, entry, amount)?;
            }
            Err(error) => asked.failed(&label, &error).await,
        }
    }
    telling.finish(&asked)
}
