//! The command `sync`: brings the local copy up to date.

use std::sync::Arc;

use bank_client::AccountInformation;
use bank_client::aggregator::Member;
use bank_client::directory::BankLimits;
use bank_client::sync::{
    AccountKey, AccountReport, CopiedDetails, CopyError, LocalCopy, NotOpened, Progress as Step,
    Report, SyncError, Synchroniser,
};
use chrono_tz::Tz;
use futures::stream::{FuturesUnordered, StreamExt as _};
use serde::Serialize;

use super::account_information::finish;
use super::failure::{Diagnostic, Exit, Failure, failure};
use super::progress::Progress;
use super::screen::{Columns, Field, Fields, ListRow, Screen, amount, note, text};
use super::targets::Targets;

/// The result of synchronising one connection.
#[derive(Debug, Serialize)]
struct SyncRow {
    bank: String,
    accounts: usize,
    new: u64,
    changed: u64,
    removed: u64,
    complete: bool,
    /// Accounts whose balances in the copy are those of an earlier run.
    balances_not_read: usize,
    /// Balances and transactions that the consent does not cover.
    not_opened: usize,
}

impl ListRow for SyncRow {
    const COLUMNS: Columns<Self> = &[
        (text("bank"), |row| row.bank.clone()),
        (amount("accounts"), |row| row.accounts.to_string()),
        (amount("new"), |row| row.new.to_string()),
        (amount("changed"), |row| row.changed.to_string()),
        (amount("removed"), |row| row.removed.to_string()),
        (text("complete"), |row| row.complete().to_owned()),
    ];
    const FIELDS: Fields<Self> = &[
        ("bank", |row| Field::trusted(&row.bank)),
        ("accounts", |row| Field::trusted(&row.accounts)),
        ("new", |row| Field::trusted(&row.new)),
        ("changed", |row| Field::trusted(&row.changed)),
        ("removed", |row| Field::trusted(&row.removed)),
        ("complete", |row| Field::trusted(&row.complete())),
        ("balances_not_read", |row| {
            Field::trusted(&row.balances_not_read)
        }),
        ("not_opened", |row| Field::trusted(&row.not_opened)),
    ];
}

impl SyncRow {
    const fn complete(&self) -> &'static str {
        if self.complete { "yes" } else { "no" }
    }

    fn of(bank: &str, report: &Report) -> Self {
        Self {
            bank: bank.to_owned(),
            accounts: report.accounts.len(),
            new: report.new_entries(),
            changed: report.accounts.iter().map(|account| account.changed).sum(),
            removed: report.accounts.iter().map(|account| account.removed).sum(),
            complete: report.is_complete() && report.all_deviations().left_out() == 0,
            balances_not_read: report
                .accounts
                .iter()
                .filter(|account| account.balances_failure.is_some())
                .count(),
            not_opened: report
                .accounts
                .iter()
                .flat_map(|account| {
                    [
                        &account.balances_not_opened,
                        &account.transactions_not_opened,
                    ]
                })
                .flatten()
                .count(),
        }
    }
}

/// Brings the copy up to date, all banks at once.
pub(super) async fn run(mut targets: Targets, screen: Screen) -> Result<Exit, Failure> {
    let Some(store) = &targets.store else {
        return Err(failure(
            "a consent given with --consent has no local copy",
            "leave --consent out",
        ));
    };
    let copy = store.copy().await?;
    let progress = Arc::new(Progress::of(&targets));
    let runs = targets.members.iter().cloned().map(|member| {
        let entry = targets.entry(member.key());
        let limits = entry.map(|entry| entry.limits.clone()).unwrap_or_default();
        let terms = (limits, targets.zone(member.key()));
        sync_member(copy.clone(), member, terms, Arc::clone(&progress))
    });
    let mut runs: FuturesUnordered<_> = runs.collect();
    let mut rows = Vec::new();
    while let Some((label, outcome)) = runs.next().await {
        match outcome {
            Ok(report) => {
                targets.mark_read(&label);
                rows.push(SyncRow::of(&label, &report));
                targets.add_deviations(report.all_deviations());
                for refusal in &report.lists_not_opened {
                    note(format!("{label}: not opened by the consent: {refusal}"));
                }
                for error in report.failures {
                    report_failure(&mut targets, &label, error.into()).await;
                }
                for account in report.accounts {
                    report_account(&mut targets, &copy, &label, account).await?;
                }
            }
            Err(error) => report_failure(&mut targets, &label, error).await,
        }
    }
    progress.end();
    rows.sort_by(|one, other| one.bank.cmp(&other.bank));
    let mut printer = screen.printer();
    for row in rows {
        printer.print(&row)?;
    }
    finish(printer, &targets)
}

async fn sync_member(
    copy: LocalCopy,
    member: Member<AccountInformation>,
    (limits, zone): (BankLimits, Tz),
    progress: Arc<Progress>,
) -> (String, Result<Report, SyncError>) {
    let label = member.key().to_owned();
    let mut sync = Synchroniser::new(&copy, label.as_str())
        .delta(limits.delta)
        .time_zone(zone);
    if let Some(days) = limits.history_days {
        sync = sync.history_days(days);
    }
    let (mut accounts, mut entries_read) = (0, 0);
    let step = |step: Step| match step {
        Step::Accounts { count } => {
            accounts = u64::try_from(count).unwrap_or(u64::MAX);
            progress.at(&label, 0, accounts, format!("{count} accounts"));
        }
        Step::Page {
            number, entries, ..
        } => {
            entries_read = entries;
            let number = u64::try_from(number).unwrap_or(u64::MAX);
            progress.at(&label, number, accounts, format!("{entries_read} entries"));
        }
        Step::Done { number, .. } => {
            let number = u64::try_from(number).unwrap_or(u64::MAX);
            progress.at(&label, number.saturating_add(1), accounts, String::new());
        }
        _ => {}
    };
    let outcome = sync.run(member.handle(), step).await;
    progress.done(&label);
    (label, outcome)
}

/// Reports the parts of an account that were not read.
async fn report_account(
    targets: &mut Targets,
    copy: &LocalCopy,
    label: &str,
    report: AccountReport,
) -> Result<(), Failure> {
    if let Some(error) = report.balances_failure {
        let name = account_name(copy, label, report.account).await?;
        let copied = copied_balances(copy, report.account).await?;
        note(format!(
            "{label}: the balances of {name} were not read; {copied}"
        ));
        targets.failed(label, &error).await;
    }
    let not_opened = [
        ("balances", report.balances_not_opened),
        ("transactions", report.transactions_not_opened),
    ];
    for (what, why) in not_opened {
        let Some(why) = why else { continue };
        let name = account_name(copy, label, report.account).await?;
        match why {
            NotOpened::Refused(error) => {
                let cause = format!("{label}: access to the {what} of {name} is refused: {error}");
                let advice = "ask the bank, or connect anew with access to them";
                targets.fail(label, &Diagnostic::new(cause, advice));
            }
            _ => note(format!(
                "{label}: the consent does not open the {what} of {name}"
            )),
        }
        if what == "balances" {
            let copied = copied_balances(copy, report.account).await?;
            note(format!("{label}: {copied}"));
        }
    }
    if report.unlisted {
        let name = account_name(copy, label, report.account).await?;
        note(format!(
            "{label}: the bank reports that {name} has no transactions, and lists none; \
             the copy keeps those it has"
        ));
    }
    let pending = report.pending_unknown.map(SyncError::Bank);
    for error in report.failure.into_iter().chain(pending) {
        report_failure(targets, label, error).await;
    }
    Ok(())
}

/// The name of a copied account: its number, or its id.
async fn account_name(
    copy: &LocalCopy,
    label: &str,
    account: AccountKey,
) -> Result<String, Failure> {
    let accounts = copy.accounts(label).await.map_err(unreadable)?;
    let known = accounts.into_iter().find(|known| known.key == account);
    let known = known.map(|known| match known.details {
        CopiedDetails::Payment(details) => (details.reference(), details.resource_id),
        CopiedDetails::Card(details) => (details.reference(), details.resource_id),
    });
    let (numbers, id) = known.unwrap_or_default();
    Ok(if numbers.has_number() {
        numbers.to_string()
    } else {
        id.unwrap_or_default()
    })
}

/// A note on which balances of an account the copy has.
async fn copied_balances(copy: &LocalCopy, account: AccountKey) -> Result<String, Failure> {
    let balances = copy.balances(account).await.map_err(unreadable)?;
    let last = balances.iter().map(|balance| balance.read).max();
    Ok(match last {
        Some(last) => format!(
            "the copy has those of {}",
            last.format("%Y-%m-%d %H:%M UTC")
        ),
        None => "the copy has none".to_owned(),
    })
}

fn unreadable(error: CopyError) -> Failure {
    failure(
        error,
        "check that copy and store_key of the profile are those it was made with",
    )
}

async fn report_failure(targets: &mut Targets, label: &str, error: SyncError) {
    let advice = match &error {
        SyncError::Bank(error) => return targets.failed(label, error).await,
        SyncError::Copy(CopyError::Busy) => "try again; data written so far is kept",
        SyncError::Copy(_) => {
            "check that copy and store_key of the profile are those it was made with, \
             and that the disk is not full"
        }
        _ => "wait until the other run ends; the next one continues from there",
    };
    if matches!(error, SyncError::Busy { .. }) {
        // No request was sent.
        targets.uncount_read(label).await;
    }
    let diagnostic = Diagnostic::new(format!("{label}: {error}"), advice);
    targets.fail(label, &diagnostic);
}
