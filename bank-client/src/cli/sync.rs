//! `bank-client sync`.

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

use super::failure::{BankFailure, Exit, Failure, failure};
use super::progress::Progress;
use super::reading::finish;
use super::screen::{Column, Field, Listed, Screen, amount, note, text};
use super::targets::Targets;

/// What came of one bank.
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
    /// Balances and transactions that are not opened.
    not_opened: usize,
}

impl Listed for SyncRow {
    const COLUMNS: &'static [Column] = &[
        text("bank"),
        amount("accounts"),
        amount("new"),
        amount("changed"),
        amount("removed"),
        text("complete"),
    ];
    const FIELDS: &'static [&'static str] = &[
        "bank",
        "accounts",
        "new",
        "changed",
        "removed",
        "complete",
        "balances_not_read",
        "not_opened",
    ];

    fn row(&self) -> Vec<String> {
        vec![
            self.bank.clone(),
            self.accounts.to_string(),
            self.new.to_string(),
            self.changed.to_string(),
            self.removed.to_string(),
            if self.complete { "yes" } else { "no" }.to_owned(),
        ]
    }

    fn fields(&self) -> Vec<Field> {
        let counts = [self.balances_not_read, self.not_opened].map(|count| count.to_string());
        self.row()
            .into_iter()
            .chain(counts)
            .map(Field::Own)
            .collect()
    }
}

impl SyncRow {
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
    let Some(kept) = &targets.kept else {
        return Err(failure(
            "a consent that is not kept has no copy",
            "leave --consent out",
        ));
    };
    let copy = kept.copy().await?;
    let progress = Arc::new(Progress::of(&targets));
    let runs = targets.members.iter().cloned().map(|member| {
        let entry = targets.entry(member.key());
        let limits = entry.map(|entry| entry.limits.clone()).unwrap_or_default();
        let terms = (limits, targets.zone(member.key()));
        one(copy.clone(), member, terms, Arc::clone(&progress))
    });
    let mut runs: FuturesUnordered<_> = runs.collect();
    let mut rows = Vec::new();
    while let Some((label, outcome)) = runs.next().await {
        match outcome {
            Ok(report) => {
                targets.heard(&label);
                rows.push(SyncRow::of(&label, &report));
                targets.odd(report.all_deviations());
                for refusal in &report.lists_not_opened {
                    note(format!("{label}: not opened by the consent: {refusal}"));
                }
                for error in report.failures {
                    failed(&mut targets, &label, error.into()).await;
                }
                for account in report.accounts {
                    of_account(&mut targets, &copy, &label, account).await?;
                }
            }
            Err(error) => failed(&mut targets, &label, error).await,
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

async fn one(
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

/// Tells what of an account was not read.
async fn of_account(
    targets: &mut Targets,
    copy: &LocalCopy,
    label: &str,
    report: AccountReport,
) -> Result<(), Failure> {
    if let Some(error) = report.balances_failure {
        let name = name(copy, label, report.account).await?;
        let before = before(copy, report.account).await?;
        note(format!(
            "{label}: the balances of {name} were not read; {before}"
        ));
        targets.failed(label, &error).await;
    }
    let not_opened = [
        ("balances", report.balances_not_opened),
        ("transactions", report.transactions_not_opened),
    ];
    for (what, why) in not_opened {
        let Some(why) = why else { continue };
        let name = name(copy, label, report.account).await?;
        match why {
            NotOpened::Refused(error) => {
                let cause = format!("{label}: the {what} of {name} are not opened: {error}");
                let advice = "ask the bank, or connect anew with access to them";
                targets.failed_here(label, &BankFailure::new(cause, advice));
            }
            _ => note(format!(
                "{label}: the consent does not open the {what} of {name}"
            )),
        }
        if what == "balances" {
            let before = before(copy, report.account).await?;
            note(format!("{label}: {before}"));
        }
    }
    if report.unlisted {
        let name = name(copy, label, report.account).await?;
        note(format!(
            "{label}: the bank says that {name} has no transactions, and lists none; what the copy has of it stays"
        ));
    }
    let pending = report.pending_unknown.map(SyncError::Bank);
    for error in report.failure.into_iter().chain(pending) {
        failed(targets, label, error).await;
    }
    Ok(())
}

/// By what an account of the copy is known to people.
async fn name(copy: &LocalCopy, label: &str, account: AccountKey) -> Result<String, Failure> {
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

/// What balances of an account the copy has.
async fn before(copy: &LocalCopy, account: AccountKey) -> Result<String, Failure> {
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
        "see that copy and store_key of the profile are those it was made with",
    )
}

async fn failed(targets: &mut Targets, label: &str, error: SyncError) {
    let advice = match &error {
        SyncError::Bank(error) => return targets.failed(label, error).await,
        SyncError::Copy(CopyError::Busy) => "what was written stays",
        SyncError::Copy(_) => {
            "see that copy and store_key of the profile are those it was made with, and that there is room"
        }
        _ => "let that run end; the next one goes on from there",
    };
    if matches!(error, SyncError::Busy { .. }) {
        // Nothing was asked.
        targets.take_back(label).await;
    }
    let trouble = BankFailure::new(format!("{label}: {error}"), advice);
    targets.failed_here(label, &trouble);
}
