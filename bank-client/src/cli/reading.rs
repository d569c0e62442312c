//! `bank-client accounts`, `balances`, `transactions`.

use bank_client::environment::{Clock as _, SystemClock};
use bank_client::{AccountInformation, Entry, Error, TransactionFilter};
use chrono::Days;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use shared_types::account::{AccountDetails, Balance};
use shared_types::card_account::CardTransaction;
use shared_types::money::Amount;
use shared_types::transaction::Transaction;

use super::arguments::Transactions;
use super::asked::Asked;
use super::course::Courses;
use super::failure::{Exit, Failure};
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
    mut answers: BoxStream<'static, bank_client::aggregator::FromBank<Vec<T>>>,
    screen: Screen,
) -> Result<Exit, Failure>
where
    AccountRow<T>: Listed,
{
    let progress = Progress::of(asked);
    let mut printer = screen.printer();
    while let Some(answer) = answers.next().await {
        progress.done(&answer.member);
        match answer.outcome {
            Ok(accounts) => {
                for account in accounts {
                    let bank = answer.member.to_string();
                    printer.print(&AccountRow { bank, account })?;
                }
            }
            Err(error) => asked.failed(&answer.member, &error).await,
        }
    }
    progress.end();
    printer.finish()?;
    Ok(asked.exit())
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
    let mut printer = screen.printer();
    let mut answers = asked.aggregator().balances();
    while let Some(answer) = answers.next().await {
        match answer.outcome {
            Ok(balances) => {
                asked.partly = true;
                let account = answer.account.as_deref().map(known_as).unwrap_or_default();
                let course = courses.of(&answer.member, &account);
                print_balances(&mut printer, &answer.member, &account, balances, course)?;
            }
            Err(error) => asked.failed(&answer.member, &error).await,
        }
    }
    progress.end();
    printer.finish()?;
    Ok(asked.exit())
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
    printer.finish()?;
    Ok(asked.exit())
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

    fn finish(self) -> Result<(), Failure> {
        self.progress.end();
        self.printer.finish()?;
        if self.totals.is_empty() {
            return Ok(());
        }
        self.screen.line(&self.totals)
    }
}

/// The transactions of all accounts.
pub(super) async fn transactions(
    mut asked: Asked,
    wanted: &Transactions,
    screen: Screen,
) -> Result<Exit, Failure> {
    let progress = Progress::of(&asked);
    let mut telling = Telling::new(screen, progress);
    let mut entries = asked.aggregator().transactions(&filter(wanted));
    while let Some(entry) = entries.next().await {
        let account = entry.account.as_deref().map(known_as).unwrap_or_default();
        match entry.outcome {
            Ok(read) => {
                asked.partly = true;
                telling.entry(&entry.member, &account, read, |read: &Transaction| {
                    read.transaction_amount
                })?;
            }
            Err(error) => asked.failed(&entry.member, &error).await,
        }
    }
    telling.finish()?;
    Ok(asked.exit())
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
                asked.partly = true;
                telling.entry(&label, account, entry, amount)?;
            }
            Err(error) => asked.failed(&label, &error).await,
        }
    }
    telling.finish()?;
    Ok(asked.exit())
}
