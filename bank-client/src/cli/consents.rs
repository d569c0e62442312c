//! The commands `consents` and `revoke`.

use bank_client::consent_manager::{ManagerError, UnattendedReads};
use serde::Serialize;

use super::connection_store::{Connection, ConnectionStore, diagnose};
use super::failure::{Diagnostic, Exit, Failure, failure};
use super::screen::{
    Columns, Field, Fields, Format, ListRow, Screen, amount, note, or_empty, text,
};

/// A connection with its status.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConsentRow {
    bank: String,
    connection: String,
    /// The consent's id at the bank.
    consent: Option<String>,
    serving: bool,
    status: String,
    valid_until: Option<String>,
    days_left: Option<i64>,
    /// Unattended reads under that consent.
    reads_left_today: Option<u32>,
    reads_per_day: Option<u32>,
    /// Time at which the count of unattended reads is reset.
    reads_left_until: Option<String>,
    #[serde(skip)]
    unattended: String,
}

impl From<Connection> for ConsentRow {
    fn from(connection: Connection) -> Self {
        let until = connection.status.until();
        let unattended = connection.unattended.as_ref();
        Self {
            bank: connection.label(),
            connection: connection.id.to_string(),
            serving: connection.status.is_serving(),
            status: connection.status.to_string(),
            valid_until: until.map(|until| until.to_string()),
            days_left: connection.days_left,
            reads_left_today: unattended.map(|reads| reads.left),
            reads_per_day: unattended.map(|reads| reads.a_day.get()),
            reads_left_until: unattended.map(|reads| reads.until.to_rfc3339()),
            unattended: unattended.map(reads_left_text).unwrap_or_default(),
            consent: connection.consent,
        }
    }
}

/// The unattended reads left, until a time in the bank's time zone.
fn reads_left_text(reads: &UnattendedReads) -> String {
    let UnattendedReads { left, a_day, until } = reads;
    format!("{left} of {a_day} until {}", until.format("%H:%M %Z"))
}

impl ListRow for ConsentRow {
    const COLUMNS: Columns<Self> = &[
        (text("bank"), |row| row.bank.clone()),
        (text("connection"), |row| row.status.clone()),
        (amount("days left"), |row| or_empty(row.days_left)),
        (amount("unattended reads left").optional(), |row| {
            row.unattended.clone()
        }),
        (text("consent").optional(), |row| or_empty(&row.consent)),
        (text("id").optional(), |row| row.connection.clone()),
    ];
    const FIELDS: Fields<Self> = &[
        ("bank", |row| Field::untrusted(&row.bank)),
        ("connection", |row| Field::trusted(&row.connection)),
        ("consent", |row| Field::Untrusted(or_empty(&row.consent))),
        ("serving", |row| Field::trusted(&row.serving)),
        ("status", |row| Field::trusted(&row.status)),
        ("valid_until", |row| {
            Field::Trusted(or_empty(&row.valid_until))
        }),
        ("days_left", |row| Field::Trusted(or_empty(row.days_left))),
        ("reads_left_today", |row| {
            Field::Trusted(or_empty(row.reads_left_today))
        }),
        ("reads_per_day", |row| {
            Field::Trusted(or_empty(row.reads_per_day))
        }),
        ("reads_left_until", |row| {
            Field::Trusted(or_empty(&row.reads_left_until))
        }),
    ];
}

/// Lists all connections.
pub(super) async fn list(store: &ConnectionStore, screen: Screen) -> Result<(), Failure> {
    let connections = store.connections().await?;
    if connections.is_empty() && screen.format == Format::Table {
        note("no bank is connected: `bank-client connect BANK` connects one");
        return Ok(());
    }
    screen.list(connections.into_iter().map(ConsentRow::from))
}

/// Ends a connection, at the bank first; with `forget` the bank is not notified.
pub(super) async fn revoke(
    store: &ConnectionStore,
    query: &str,
    forget: bool,
    screen: Screen,
) -> Result<(), Failure> {
    let connections = store.connections().await?;
    let matches = |known: &&Connection| {
        known.id.to_string() == query || known.label() == query || known.bank.as_str() == query
    };
    let found: Vec<&Connection> = connections.iter().filter(matches).collect();
    let connection = match found.as_slice() {
        [connection] => *connection,
        [] => {
            return Err(failure(
                format!("{query} is not connected"),
                "`bank-client consents` lists all connections",
            ));
        }
        _ => {
            return Err(failure(
                format!("{query} has several connections"),
                "give the id of one of them: `bank-client consents`",
            ));
        }
    };
    let label = connection.label();
    let outcome = match store.profile.directory.get(&connection.bank) {
        Some(entry) if !forget => store.manager(&[entry])?.disconnect(&connection.id).await,
        // A bank that is no longer in the directory cannot be notified.
        _ => store.manager(&[])?.forget(&connection.id).await,
    };
    outcome.map_err(|error| revocation_failure(connection, &error))?;
    let copy = if store.profile.copy.exists() {
        let copy = store.copy().await?;
        copy.forget(&label)
            .await
            .map_err(|error| failure(error, "remove the file of the copy"))?;
        ", and its copy removed"
    } else {
        ""
    };
    screen.line(format!("{label} is disconnected{copy}"))
}

/// The error if the consent of an ended connection could not be deleted at the bank.
fn revocation_failure(connection: &Connection, error: &ManagerError) -> Diagnostic {
    let label = connection.label();
    let ManagerError::NotGivenUp { errors } = error else {
        return diagnose(&label, &connection.bank, error);
    };
    let id = &connection.id;
    let cause = format!("{label} is not read any more, but {error}");
    let advice = format!(
        "`bank-client revoke {id}` notifies it later; if the bank is gone for good, \
         `bank-client revoke {id} --forget`"
    );
    let exit = errors.first().map_or(Exit::Failed, Exit::of);
    Diagnostic::new(cause, advice).exit(exit)
}
