//! Who is asked, and what comes of it.

use std::collections::{HashMap, HashSet};

use bank_client::aggregator::{Aggregator, Member};
use bank_client::consent_manager::{Attendance, ConsentManager, ManagerError, Verdict};
use bank_client::directory::BankLimits;
use bank_client::{AccountInformation, Error};

use super::arguments::{Arguments, Whom};
use super::failure::{Exit, Failure, Trouble};
use super::kept::{Connection, Kept, trouble};
use super::screen::tell;
use super::{by_hand, failure};

/// Everybody who is asked. Members are known by their labels.
pub(super) struct Asked {
    pub(super) members: Vec<Member<AccountInformation>>,
    /// What is kept, unless everything was told on the command line.
    pub(super) kept: Option<Kept>,
    connections: HashMap<String, Connection>,
    manager: Option<ConsentManager>,
    /// What went wrong.
    troubles: Vec<Exit>,
    /// Whose question failed.
    failed: HashSet<String>,
    /// Something was read, perhaps of somebody whose question failed later.
    pub(super) partly: bool,
}

impl Asked {
    /// Those who are meant. Whoever cannot be asked is told of at once, and counted.
    pub(super) async fn find(whom: &Whom, arguments: &Arguments) -> Result<Self, Failure> {
        if let Some(consent) = &whom.consent {
            let bank = by_hand::bank(arguments, whom.bank.first().map(String::as_str))?;
            let under = attended(bank.with_consent(consent), whom);
            return Ok(Self {
                members: vec![under.into()],
                ..Self::nobody()
            });
        }
        by_hand::needs_consent(arguments)?;
        let kept = Kept::open(&arguments.place).await?;
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
        for connection in connections.into_iter().filter(known) {
            let label = connection.label();
            match manager.reading(&connection.id, attendance(whom)).await {
                Ok(under) => found.members.push(Member::new(label.as_str(), under)),
                Err(error) => found.trouble(&trouble(&label, &connection.bank, &error)),
            }
            found.connections.insert(label, connection);
        }
        drop(entries);
        found.manager = Some(manager);
        found.kept = Some(kept);
        Ok(found)
    }

    fn nobody() -> Self {
        Self {
            members: Vec::new(),
            kept: None,
            connections: HashMap::new(),
            manager: None,
            troubles: Vec::new(),
            failed: HashSet::new(),
            partly: false,
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

    /// What is known of the limits of a member's bank.
    pub(super) fn limits(&self, label: &str) -> BankLimits {
        let connection = self.connections.get(label);
        let entry = connection
            .zip(self.kept.as_ref())
            .and_then(|(connection, kept)| kept.profile.directory.get(&connection.bank));
        entry.map(|entry| entry.limits.clone()).unwrap_or_default()
    }

    /// A member's question has failed: the connection learns of it, the user is told, and it counts.
    pub(super) async fn failed(&mut self, label: &str, error: &Error) {
        let trouble = self.judged(label, error).await;
        self.failed.insert(label.to_owned());
        self.trouble(&trouble);
    }

    /// Tells of a trouble, and counts it.
    pub(super) fn trouble(&mut self, trouble: &Trouble) {
        tell(trouble);
        self.troubles.push(trouble.exit);
    }

    /// How it ends.
    pub(super) fn exit(&self) -> Exit {
        let well = self.members.len().saturating_sub(self.failed.len());
        Exit::of_all(well + usize::from(self.partly), &self.troubles)
    }

    async fn judged(&self, label: &str, error: &Error) -> Trouble {
        use ManagerError::{NotServing, UsedUp};

        let plain = Trouble::from(error);
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

/// The connections that are meant.
async fn meant(kept: &Kept, whom: &Whom) -> Result<Vec<Connection>, Failure> {
    let mut connections = kept.connections().await?;
    if !whom.bank.is_empty() {
        for bank in &whom.bank {
            let connected = connections.iter().any(|known| is(known, bank));
            if !connected {
                let entry = kept.profile.entry(bank)?;
                return Err(Trouble::new(
                    format!("{} is not connected", entry.name),
                    format!("`bank-client connect {bank}`"),
                )
                .exit(Exit::ConsentNeeded)
                .into());
            }
        }
        connections.retain(|known| whom.bank.iter().any(|bank| is(known, bank)));
    }
    if connections.is_empty() {
        return Err(Trouble::new(
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

fn gone(connection: &Connection) -> Trouble {
    Trouble::new(
        format!(
            "{}: the bank is not in the directory any more",
            connection.label()
        ),
        "put it back, or end the connection with `bank-client revoke`",
    )
}

fn attendance(whom: &Whom) -> Attendance {
    whom.psu_ip_address
        .map_or(Attendance::Unattended, Attendance::Attended)
}

fn attended(under: AccountInformation, whom: &Whom) -> AccountInformation {
    match whom.psu_ip_address {
        Some(psu) => under.attended_by(psu),
        None => under,
    }
}
