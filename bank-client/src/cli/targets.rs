//! Targets of a command: the connections that it reads from, and the outcome of each.

use std::collections::{HashMap, HashSet};

use bank_client::aggregator::{Aggregator, Member};
use bank_client::consent_manager::{
    Attendance, ConnectionId, ConnectionStatus, ConsentManager, EndReason, ManagerError, Verdict,
};
use bank_client::directory::BankEntry;
use bank_client::{AccountInformation, Deviations, Error};
use chrono_tz::Tz;

use super::arguments::{Arguments, TargetArgs};
use super::connection_store::{Connection, ConnectionStore, diagnose};
use super::failure::{Diagnostic, Exit, Failure};
use super::screen::{note, print_error};
use super::{deviations, explicit_bank, failure};

/// The targets. Members are identified by their labels.
pub(super) struct Targets {
    pub(super) members: Vec<Member<AccountInformation>>,
    /// The connection store; absent if the command line names bank and consent.
    pub(super) store: Option<ConnectionStore>,
    connections: HashMap<String, Connection>,
    attendance: Attendance,
    manager: Option<ConsentManager>,
    /// The exit codes of the errors so far.
    failures: Vec<Exit>,
    /// Members with a failed request.
    failed: HashSet<String>,
    /// Members from which something was read, perhaps before a later request failed.
    read_from: HashSet<String>,
    /// Deviations in the responses.
    deviations: Deviations,
}

impl Targets {
    /// Selects the targets. An error of a connection that cannot be read is printed at once.
    pub(super) async fn find(args: &TargetArgs, arguments: &Arguments) -> Result<Self, Failure> {
        if let Some(consent) = &args.consent {
            let bank = explicit_bank::bank(arguments, args.bank.first().map(String::as_str))?;
            let under = attended(bank.with_consent(consent), args);
            return Ok(Self {
                members: vec![under.into()],
                ..Self::empty()
            });
        }
        explicit_bank::needs_consent(arguments)?;
        let store = ConnectionStore::open(&arguments.profile).await?;
        let connections = select_connections(&store, args).await?;
        let mut found = Self::empty();
        let mut entries = Vec::new();
        for connection in &connections {
            match store.profile.directory.get(&connection.bank) {
                Some(entry) if !entries.contains(&entry) => entries.push(entry),
                Some(_) => {}
                None => found.report(&unlisted_bank(connection)),
            }
        }
        let manager = store.manager(&entries)?;
        let known =
            |connection: &Connection| entries.iter().any(|entry| entry.id == connection.bank);
        let mut unapproved = Vec::new();
        for connection in connections.into_iter().filter(known) {
            let label = connection.label();
            match read_handle(&manager, &connection.id, attendance(args)).await {
                Ok(under) => found.members.push(Member::new(label.as_str(), under)),
                Err(ManagerError::NotServing(status))
                    if never_served(status) && !args.bank.contains(&label) =>
                {
                    let error = ManagerError::NotServing(status);
                    unapproved.push(diagnose(&label, &connection.bank, &error));
                }
                Err(error) => found.report(&diagnose(&label, &connection.bank, &error)),
            }
            found.connections.insert(label, connection);
        }
        drop(entries);
        // A connection that is not approved yet does not make the others fail.
        for diagnostic in &unapproved {
            if found.members.is_empty() {
                found.report(diagnostic);
            } else {
                note(format!(
                    "left out: {}; {}",
                    diagnostic.cause, diagnostic.advice
                ));
            }
        }
        found.attendance = attendance(args);
        found.manager = Some(manager);
        found.store = Some(store);
        Ok(found)
    }

    /// Whether the command line names bank and consent.
    pub(super) fn is_explicit(&self) -> bool {
        self.store.is_none()
    }

    fn empty() -> Self {
        Self {
            members: Vec::new(),
            store: None,
            connections: HashMap::new(),
            attendance: Attendance::Unattended,
            manager: None,
            failures: Vec::new(),
            failed: HashSet::new(),
            read_from: HashSet::new(),
            deviations: Deviations::default(),
        }
    }

    pub(super) fn aggregator(&self) -> Aggregator {
        Aggregator::builder()
            .members(self.members.iter().cloned())
            .build()
    }

    /// Returns the only target; fails if there are several, because an account is at one bank.
    pub(super) fn single(&self) -> Result<&Member<AccountInformation>, Failure> {
        match self.members.as_slice() {
            [member] => Ok(member),
            [] => Err(failure("no connection can be read", "see above")),
            _ => Err(failure(
                "several banks are connected",
                "say with --bank where the account is",
            )),
        }
    }

    /// The directory's entry for a member's bank, if the member is a stored connection.
    pub(super) fn entry(&self, label: &str) -> Option<&BankEntry> {
        let connection = self.connections.get(label)?;
        self.store.as_ref()?.profile.directory.get(&connection.bank)
    }

    /// The time zone of a member's bank.
    pub(super) fn zone(&self, label: &str) -> Tz {
        self.entry(label).map_or(Tz::UTC, |entry| entry.time_zone)
    }

    /// Records a failed request: updates the connection and prints the error.
    pub(super) async fn failed(&mut self, label: &str, error: &Error) {
        let diagnostic = self.diagnose(label, error).await;
        if error.is_unasked() && !self.read_from.contains(label) && !self.failed.contains(label) {
            self.uncount_read(label).await;
        }
        self.fail(label, &diagnostic);
    }

    /// Records and prints an error that leaves the connection as it is.
    pub(super) fn fail(&mut self, label: &str, diagnostic: &Diagnostic) {
        self.failed.insert(label.to_owned());
        self.report(diagnostic);
    }

    /// Records that something was read from a member.
    pub(super) fn mark_read(&mut self, label: &str) {
        if !self.read_from.contains(label) {
            self.read_from.insert(label.to_owned());
        }
    }

    /// Records deviations, which are printed at the end. A response with ignored elements is
    /// incomplete, which the exit code reports.
    pub(super) fn add_deviations(&mut self, deviations: Deviations) {
        if deviations.left_out() > 0 {
            self.failures.push(Exit::SomeBanksFailed);
        }
        self.deviations.append(deviations);
    }

    /// Prints the deviations in the responses.
    pub(super) fn print_deviations(&self) {
        deviations::lines(&self.deviations).iter().for_each(note);
    }

    /// Takes a run that sent no request out of the day's count of unattended reads.
    pub(super) async fn uncount_read(&self, label: &str) {
        if let (Some(manager), Some(connection), Attendance::Unattended) =
            (&self.manager, self.connections.get(label), self.attendance)
            && let Err(error) = manager.uncount_read(&connection.id).await
        {
            note(format!(
                "{label}: one unattended read too many is counted: {error}"
            ));
        }
    }

    /// Prints an error and records its exit code.
    pub(super) fn report(&mut self, diagnostic: &Diagnostic) {
        print_error(diagnostic);
        self.failures.push(diagnostic.exit);
    }

    /// The exit code of the command.
    pub(super) fn exit(&self) -> Exit {
        let well = self.members.len().saturating_sub(self.failed.len());
        Exit::of_all(well + self.read_from.len(), &self.failures)
    }

    async fn diagnose(&self, label: &str, error: &Error) -> Diagnostic {
        use ManagerError::{NotServing, UsedUp};

        let plain = Diagnostic::from(error);
        let (Some(manager), Some(connection)) = (&self.manager, self.connections.get(label)) else {
            return plain;
        };
        match manager.handle_error(&connection.id, error).await {
            Ok(Verdict::Over(status)) => diagnose(label, &connection.bank, &NotServing(status)),
            Ok(Verdict::UsedUp { again }) => diagnose(label, &connection.bank, &UsedUp { again }),
            Ok(_) => plain,
            Err(error) => diagnose(label, &connection.bank, &error),
        }
    }
}

/// Returns a handle to read with. If the bank did not know the consent last time, requests its
/// status once more, because that may have been an error of the bank.
async fn read_handle(
    manager: &ConsentManager,
    id: &ConnectionId,
    attendance: Attendance,
) -> Result<AccountInformation, ManagerError> {
    let outcome = manager.reading(id, attendance).await;
    let gone = matches!(
        outcome,
        Err(ManagerError::NotServing(ConnectionStatus::Ended {
            reason: EndReason::Gone,
            ..
        }))
    );
    let serves = |status: ConnectionStatus| status.is_serving();
    if gone && manager.follow(id).await.is_ok_and(serves) {
        return manager.reading(id, attendance).await;
    }
    outcome
}

/// Returns the selected connections.
async fn select_connections(
    store: &ConnectionStore,
    args: &TargetArgs,
) -> Result<Vec<Connection>, Failure> {
    let mut connections = store.connections().await?;
    if !args.bank.is_empty() {
        let mut wanted = Vec::new();
        for bank in &args.bank {
            if connections.iter().any(|known| is_target(known, bank)) {
                wanted.push(bank.clone());
                continue;
            }
            let entry = store.profile.find(bank)?;
            if !connections.iter().any(|known| known.bank == entry.id) {
                return Err(Diagnostic::new(
                    format!("{} is not connected", entry.name),
                    format!("`bank-client connect {}`", entry.id),
                )
                .exit(Exit::ConsentNeeded)
                .into());
            }
            wanted.push(entry.id.to_string());
        }
        connections.retain(|known| wanted.iter().any(|bank| is_target(known, bank)));
    }
    if connections.is_empty() {
        return Err(Diagnostic::new(
            "no bank is connected",
            "`bank-client banks` lists them, `bank-client connect BANK` connects one",
        )
        .exit(Exit::ConsentNeeded)
        .into());
    }
    Ok(connections)
}

/// Whether a target names this connection: by its bank or its label.
fn is_target(connection: &Connection, target: &str) -> bool {
    connection.bank.as_str() == target || connection.label() == target
}

/// Whether the connection was never approved, or is being ended.
const fn never_served(status: ConnectionStatus) -> bool {
    matches!(
        status,
        ConnectionStatus::Waiting | ConnectionStatus::NeverApproved(_) | ConnectionStatus::Leaving
    )
}

fn unlisted_bank(connection: &Connection) -> Diagnostic {
    Diagnostic::new(
        format!(
            "{}: the bank is not in the directory any more",
            connection.label()
        ),
        format!("put it back, or `bank-client revoke {}`", connection.id),
    )
}

fn attendance(args: &TargetArgs) -> Attendance {
    args.psu_ip_address
        .map_or(Attendance::Unattended, Attendance::Attended)
}

fn attended(under: AccountInformation, args: &TargetArgs) -> AccountInformation {
    match args.psu_ip_address {
        Some(psu) => under.psu_ip_address(psu),
        None => under,
    }
}
