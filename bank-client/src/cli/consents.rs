//! `bank-client consents` and `bank-client revoke`.

use bank_client::consent_manager::{ManagerError, UnattendedReads};
use serde::Serialize;

use super::connection_store::{Connection, ConnectionStore, trouble};
use super::failure::{BankFailure, Exit, Failure, failure};
use super::screen::{Column, Field, Listed, Screen, amount, or_empty, text};

/// A connection, and how it stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConsentRow {
    bank: String,
    connection: String,
    /// Its id at the bank.
    consent: Option<String>,
    serving: bool,
    standing: String,
    valid_until: Option<String>,
    days_left: Option<i64>,
    /// With no customer present, under that consent.
    reads_left_today: Option<u32>,
    reads_per_day: Option<u32>,
    /// When they are counted anew.
    reads_left_until: Option<String>,
    #[serde(skip)]
    unattended: String,
}

impl From<Connection> for ConsentRow {
    fn from(connection: Connection) -> Self {
        let until = connection.standing.until();
        let unattended = connection.unattended.as_ref();
        Self {
            bank: connection.label(),
            connection: connection.id.to_string(),
            serving: connection.standing.is_serving(),
            standing: connection.standing.to_string(),
            valid_until: until.map(|until| until.to_string()),
            days_left: connection.days_left,
            reads_left_today: unattended.map(|reads| reads.left),
            reads_per_day: unattended.map(|reads| reads.a_day.get()),
            reads_left_until: unattended.map(|reads| reads.until.to_rfc3339()),
            unattended: unattended.map(shown).unwrap_or_default(),
            consent: connection.consent,
        }
    }
}

/// By the bank's own clock.
fn shown(reads: &UnattendedReads) -> String {
    let UnattendedReads { left, a_day, until } = reads;
    format!("{left} of {a_day} until {}", until.format("%H:%M %Z"))
}

impl Listed for ConsentRow {
    const COLUMNS: &'static [Column] = &[
        text("bank"),
        text("the connection"),
        amount("days left"),
        text("consent").spare(),
        amount("unattended reads left").spare(),
        text("id").spare(),
    ];
    const FIELDS: &'static [&'static str] = &[
        "bank",
        "connection",
        "consent",
        "serving",
        "standing",
        "valid_until",
        "days_left",
        "reads_left_today",
        "reads_per_day",
        "reads_left_until",
    ];

    fn row(&self) -> Vec<String> {
        vec![
            self.bank.clone(),
            self.standing.clone(),
            or_empty(self.days_left.as_ref()),
            or_empty(self.consent.as_ref()),
            self.unattended.clone(),
            self.connection.clone(),
        ]
    }

    fn fields(&self) -> Vec<Field> {
        vec![
            Field::Foreign(self.bank.clone()),
            Field::Own(self.connection.clone()),
            Field::foreign(self.consent.as_ref()),
            Field::Own(self.serving.to_string()),
            Field::Own(self.standing.clone()),
            Field::own(self.valid_until.as_ref()),
            Field::own(self.days_left.as_ref()),
            Field::own(self.reads_left_today.as_ref()),
            Field::own(self.reads_per_day.as_ref()),
            Field::own(self.reads_left_until.as_ref()),
        ]
    }
}

/// Lists all connections.
pub(super) async fn list(kept: &ConnectionStore, screen: Screen) -> Result<(), Failure> {
    let connections = kept.connections().await?;
    screen.list(connections.into_iter().map(ConsentRow::from))
}

/// Ends a connection, at the bank first.
///
/// With `forget` the bank is not told.
pub(super) async fn revoke(
    kept: &ConnectionStore,
    meant: &str,
    forget: bool,
    screen: Screen,
) -> Result<(), Failure> {
    let connections = kept.connections().await?;
    let is_meant = |known: &&Connection| {
        known.id.to_string() == meant || known.label() == meant || known.bank.as_str() == meant
    };
    let found: Vec<&Connection> = connections.iter().filter(is_meant).collect();
    let connection = match found.as_slice() {
        [connection] => *connection,
        [] => {
            return Err(failure(
                format!("{meant} is not connected"),
                "`bank-client consents` lists all connections",
            ));
        }
        _ => {
            return Err(failure(
                format!("{meant} has several connections"),
                "give the id of one of them: `bank-client consents`",
            ));
        }
    };
    let label = connection.label();
    let told = match kept.profile.directory.get(&connection.bank) {
        Some(entry) if !forget => kept.manager(&[entry])?.disconnect(&connection.id).await,
        // A bank that is not in the directory any more cannot be told.
        _ => kept.manager(&[])?.forget(&connection.id).await,
    };
    told.map_err(|error| untold(connection, &error))?;
    let copy = if kept.profile.copy.exists() {
        let copy = kept.copy().await?;
        copy.forget(&label)
            .await
            .map_err(|error| failure(error, "remove the file of the copy"))?;
        ", and its copy removed"
    } else {
        ""
    };
    screen.line(format!("{label} is disconnected{copy}"))
}

/// The bank could not be told that a connection has ended.
fn untold(connection: &Connection, error: &ManagerError) -> BankFailure {
    let label = connection.label();
    let ManagerError::NotGivenUp { errors } = error else {
        return trouble(&label, &connection.bank, error);
    };
    let id = &connection.id;
    let cause = format!("nothing is read any more at {label}, but {error}");
    let advice = format!(
        "`bank-client revoke {id}` tells it later; if it is gone for good, `bank-client revoke {id} --forget`"
    );
    let exit = errors.first().map_or(Exit::Failed, Exit::of);
    BankFailure::new(cause, advice).exit(exit)
}
