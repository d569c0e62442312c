//! Who is asked, and what comes of it.

use std::collections::{HashMap, HashSet};

use bank_client::aggregator::{Aggregator, Member};
use bank_client::consent_manager::{
    Attendance, ConnectionId, ConnectionStatus, ConsentManager, Ending, ManagerError, Verdict,
};
use bank_client::directory::BankEntry;
use bank_client::{AccountInformation, Deviations, Error};
use chrono_tz::Tz;

use super::arguments::{Arguments, TargetArgs};
use super::connection_store::{Connection, ConnectionStore, trouble};
use super::failure::{BankFailure, Exit, Failure};
use super::screen::{note, tell};
use super::{explicit_bank, failure, odd};

/// Everybody who is asked. Members are known by their labels.
pub(super) struct Targets {
    pub(super) members: Vec<Member<AccountInformation>>,
    /// What is kept, unless everything was told on the command line.
    pub(super) kept: Option<ConnectionStore>,
    connections: HashMap<String, Connection>,
    attendance: Attendance,
    manager: Option<ConsentManager>,
    /// What went wrong.
    troubles: Vec<Exit>,
    /// Whose question failed.
    failed: HashSet<String>,
    /// Of whom something was read, perhaps before a later question failed.
    heard: HashSet<String>,
    /// What deviates in the answers.
    deviations: Deviations,
}

impl Targets {
    /// Those who are meant. Whoever cannot be asked is told of at once, and counted.
    pub(super) async fn find(whom: &TargetArgs, arguments: &Arguments) -> Result<Self, Failure> {
        if let Some(consent) = &whom.consent {
            let bank = explicit_bank::bank(arguments, whom.bank.first().map(String::as_str))?;
            let under = attended(bank.with_consent(consent), whom);
            return Ok(Self {
                members: vec![under.into()],
                ..Self::nobody()
            });
        }
        explicit_bank::needs_consent(arguments)?;
        let kept = ConnectionStore::open(&arguments.place).await?;
        let connections = meant(&kept, whom).await?;
        let mut found = Self::nobody();
        let mut entries = Vec::new();
        for connection in &connections {
            match kept.profile.directory.get(&connection.bank) {
                Some(entry) if !entries.contains(&entry) => entries.push(entry),
                Some(_) => {}
                None => found.trouble(&gone(connection)),
            }
        }
        let manager = kept.manager(&entries)?;
        let known =
            |connection: &Connection| entries.iter().any(|entry| entry.id == connection.bank);
        let mut unapproved = Vec::new();
        for connection in connections.into_iter().filter(known) {
            let label = connection.label();
            match reading(&manager, &connection.id, attendance(whom)).await {
                Ok(under) => found.members.push(Member::new(label.as_str(), under)),
                Err(ManagerError::NotServing(standing))
                    if never_served(standing) && !whom.bank.contains(&label) =>
                {
                    let error = ManagerError::NotServing(standing);
                    unapproved.push(trouble(&label, &connection.bank, &error));
                }
                Err(error) => found.trouble(&trouble(&label, &connection.bank, &error)),
            }
            found.connections.insert(label, connection);
        }
        drop(entries);
        // What nobody has approved yet is no failure of those who can be asked.
        for trouble in &unapproved {
            if found.members.is_empty() {
                found.trouble(trouble);
            } else {
                note(format!("left out: {}; {}", trouble.cause, trouble.advice));
            }
        }
        found.attendance = attendance(whom);
        found.manager = Some(manager);
        found.kept = Some(kept);
        Ok(found)
    }

    fn nobody() -> Self {
        Self {
            members: Vec::new(),
            kept: None,
            connections: HashMap::new(),
            attendance: Attendance::Unattended,
            manager: None,
            troubles: Vec::new(),
            failed: HashSet::new(),
            heard: HashSet::new(),
            deviations: Deviations::default(),
        }
    }

    pub(super) fn aggregator(&self) -> Aggregator {
        Aggregator::builder()
            .members(self.members.iter().cloned())
            .build()
    }

    /// The one who is asked: what is asked is about one account.
    pub(super) fn only(&self) -> Result<&Member<AccountInformation>, Failure> {
        match self.members.as_slice() {
            [member] => Ok(member),
            [] => Err(failure("nobody can be asked", "see above")),
            _ => Err(failure(
                "several banks are connected",
                "say with --bank where the account is",
            )),
        }
    }

    /// What the directory says of a member's bank, if it is a connection's.
    pub(super) fn entry(&self, label: &str) -> Option<&BankEntry> {
        let connection = self.connections.get(label)?;
        self.kept.as_ref()?.profile.directory.get(&connection.bank)
    }

    /// The time zone by whose days a member's bank counts.
    pub(super) fn zone(&self, label: &str) -> Tz {
        self.entry(label).map_or(Tz::UTC, |entry| entry.time_zone)
    }

    /// A member's question has failed: the connection learns of it, the user is told, and it counts.
    pub(super) async fn failed(&mut self, label: &str, error: &Error) {
        let trouble = self.judged(label, error).await;
        if error.is_unasked() && !self.heard.contains(label) && !self.failed.contains(label) {
            self.take_back(label).await;
        }
        self.failed_here(label, &trouble);
    }

    /// A member's question has failed, and it is not the bank that is to blame.
    pub(super) fn failed_here(&mut self, label: &str, trouble: &BankFailure) {
        self.failed.insert(label.to_owned());
        self.trouble(trouble);
    }

    /// Something of a member was read.
    pub(super) fn heard(&mut self, label: &str) {
        if !self.heard.contains(label) {
            self.heard.insert(label.to_owned());
        }
    }

    /// Something of an answer deviates from the standard; it is told at the end. An answer of which elements were left out is
    /// not complete, and counts as such.
    pub(super) fn odd(&mut self, deviations: Deviations) {
        if deviations.left_out() > 0 {
            self.troubles.push(Exit::SomeBanksFailed);
        }
        self.deviations.append(deviations);
    }

    /// Tells what deviates in the answers.
    pub(super) fn tell_of_deviations(&self) {
        odd::lines(&self.deviations).iter().for_each(note);
    }

    /// A run that never came to the bank does not count among the reads of the day.
    pub(super) async fn take_back(&self, label: &str) {
        if let (Some(manager), Some(connection), Attendance::Unattended) =
            (&self.manager, self.connections.get(label), self.attendance)
            && let Err(error) = manager.take_back(&connection.id).await
        {
            note(format!("{label}: a read is counted that was none: {error}"));
        }
    }

    /// Tells of a trouble, and counts it.
    pub(super) fn trouble(&mut self, trouble: &BankFailure) {
        tell(trouble);
        self.troubles.push(trouble.exit);
    }

    /// How it ends.
    pub(super) fn exit(&self) -> Exit {
        let well = self.members.len().saturating_sub(self.failed.len());
        Exit::of_all(well + self.heard.len(), &self.troubles)
    }

    async fn judged(&self, label: &str, error: &Error) -> BankFailure {
        use ManagerError::{NotServing, UsedUp};

        let plain = BankFailure::from(error);
        let (Some(manager), Some(connection)) = (&self.manager, self.connections.get(label)) else {
            return plain;
        };
        match manager.note(&connection.id, error).await {
            Ok(Verdict::Over(standing)) => trouble(label, &connection.bank, &NotServing(standing)),
            Ok(Verdict::UsedUp { again }) => trouble(label, &connection.bank, &UsedUp { again }),
            Ok(_) => plain,
            Err(error) => trouble(label, &connection.bank, &error),
        }
    }
}

/// What to read with. That a bank does not know a consent may have been a mistake of the bank's: it is asked once more.
async fn reading(
    manager: &ConsentManager,
    id: &ConnectionId,
    attendance: Attendance,
) -> Result<AccountInformation, ManagerError> {
    let outcome = manager.reading(id, attendance).await;
    let gone = matches!(
        outcome,
        Err(ManagerError::NotServing(ConnectionStatus::Ended {
            why: Ending::Gone,
            ..
        }))
    );
    let serves = |standing: ConnectionStatus| standing.is_serving();
    if gone && manager.follow(id).await.is_ok_and(serves) {
        return manager.reading(id, attendance).await;
    }
    outcome
}

/// The connections that are meant.
async fn meant(kept: &ConnectionStore, whom: &TargetArgs) -> Result<Vec<Connection>, Failure> {
    let mut connections = kept.connections().await?;
    if !whom.bank.is_empty() {
        let mut wanted = Vec::new();
        for bank in &whom.bank {
            if connections.iter().any(|known| is(known, bank)) {
                wanted.push(bank.clone());
                continue;
            }
            let entry = kept.profile.find(bank)?;
            if !connections.iter().any(|known| known.bank == entry.id) {
                return Err(BankFailure::new(
                    format!("{} is not connected", entry.name),
                    format!("`bank-client connect {}`", entry.id),
                )
                .exit(Exit::ConsentNeeded)
                .into());
            }
            wanted.push(entry.id.to_string());
        }
        connections.retain(|known| wanted.iter().any(|bank| is(known, bank)));
    }
    if connections.is_empty() {
        return Err(BankFailure::new(
            "no bank is connected",
            "`bank-client banks` lists them, `bank-client connect BANK` connects one",
        )
        .exit(Exit::ConsentNeeded)
        .into());
    }
    Ok(connections)
}

/// Whether a connection is meant by that: its bank, or its own label.
fn is(connection: &Connection, meant: &str) -> bool {
    connection.bank.as_str() == meant || connection.label() == meant
}

/// Whether nothing was ever read under it, or nothing is to be any more.
const fn never_served(standing: ConnectionStatus) -> bool {
    matches!(
        standing,
        ConnectionStatus::Waiting | ConnectionStatus::NeverApproved(_) | ConnectionStatus::Leaving
    )
}

fn gone(connection: &Connection) -> BankFailure {
    BankFailure::new(
        format!(
            "{}: the bank is not in the directory any more",
            connection.label()
        ),
        format!("put it back, or `bank-client revoke {}`", connection.id),
    )
}

fn attendance(whom: &TargetArgs) -> Attendance {
    whom.psu_ip_address
        .map_or(Attendance::Unattended, Attendance::Attended)
}

fn attended(under: AccountInformation, whom: &TargetArgs) -> AccountInformation {
    match whom.psu_ip_address {
        Some(psu) => under.attended_by(psu),
        None => under,
    }
}
