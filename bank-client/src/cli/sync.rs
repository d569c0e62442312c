//! `bank-client sync`.

use std::sync::Arc;

use bank_client::AccountInformation;
use bank_client::aggregator::Member;
use bank_client::directory::BankLimits;
use bank_client::sync::{CopyError, LocalCopy, Progress as Step, Report, SyncError, Synchroniser};
use futures::stream::{FuturesUnordered, StreamExt as _};
use serde::Serialize;

use super::asked::Asked;
use super::failure::{Exit, Failure, Trouble, failure};
use super::progress::Progress;
use super::reading::finish;
use super::screen::{Column, Field, Listed, Screen, amount, text};

/// What came of one bank.
#[derive(Debug, Serialize)]
struct SyncRow {
    bank: String,
    accounts: usize,
    new: u64,
    changed: u64,
    removed: u64,
    complete: bool,
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
    const FIELDS: &'static [&'static str] =
        &["bank", "accounts", "new", "changed", "removed", "complete"];

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
        self.row().into_iter().map(Field::Own).collect()
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
            complete: report.is_complete(),
        }
    }
}

/// Brings the copy up to date, all banks at once.
pub(super) async fn run(mut asked: Asked, screen: Screen) -> Result<Exit, Failure> {
    let Some(kept) = &asked.kept else {
        return Err(failure(
            "a consent that is not kept has no copy",
            "leave --consent out",
        ));
    };
    let copy = kept.copy().await?;
    let progress = Arc::new(Progress::of(&asked));
    let runs = asked.members.iter().cloned().map(|member| {
        let limits = asked.limits(member.key());
        one(copy.clone(), member, limits, Arc::clone(&progress))
    });
    let mut runs: FuturesUnordered<_> = runs.collect();
    let mut rows = Vec::new();
    while let Some((label, outcome)) = runs.next().await {
        match outcome {
            Ok(report) => {
                asked.heard(&label);
                rows.push(SyncRow::of(&label, &report));
                let of_accounts = report
                    .accounts
                    .into_iter()
                    .filter_map(|account| account.failure);
                let failures = report.failures.into_iter().map(SyncError::Bank);
                for error in failures.chain(of_accounts) {
                    failed(&mut asked, &label, error).await;
                }
            }
            Err(error) => failed(&mut asked, &label, error).await,
        }
    }
    progress.end();
    rows.sort_by(|one, other| one.bank.cmp(&other.bank));
    let mut printer = screen.printer();
    for row in rows {
        printer.print(&row)?;
    }
    finish(printer, &asked)
}

async fn one(
    copy: LocalCopy,
    member: Member<AccountInformation>,
    limits: BankLimits,
    progress: Arc<Progress>,
) -> (String, Result<Report, SyncError>) {
    let label = member.key().to_owned();
    let mut sync = Synchroniser::new(&copy, label.as_str()).delta(limits.delta);
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

async fn failed(asked: &mut Asked, label: &str, error: SyncError) {
    let advice = match &error {
        SyncError::Bank(error) => return asked.failed(label, error).await,
        SyncError::Copy(CopyError::Busy) => "what was written stays",
        SyncError::Copy(_) => {
            "see that copy and store_key of the profile are those it was made with, and that there is room"
        }
        _ => "let that run end; the next one goes on from there",
    };
    if matches!(error, SyncError::Busy { .. }) {
        // Nothing was asked.
        asked.take_back(label).await;
    }
    let trouble = Trouble::new(format!("{label}: {error}"), advice);
    asked.failed_here(label, &trouble);
}
