//! Location of a database: a SQLite file, or a PostgreSQL URL.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// Location of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseLocation {
    /// A SQLite file.
    File(PathBuf),
    /// A database on a PostgreSQL server.
    Server(Server),
}

/// A database on a PostgreSQL server. Shown without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    url: Url,
    /// Connections of this process. A quarter more, at least one, are for the counters of reads,
    /// and one listens.
    pub connections: NonZeroU32,
    /// Timeout of a statement and of its locks.
    pub statement: Duration,
}

/// Error of a database URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseLocationError {
    /// Not a URL of that kind. It is not repeated: a password may be in it.
    #[error("expected postgres://user@host/database")]
    Url,
    /// A parameter that has no effect.
    #[error(
        "the parameter {0} is not known; there are sslmode, sslrootcert, sslcert, sslkey, host, \
         port, user, dbname, application_name and options"
    )]
    Parameter(String),
    /// The database is on another machine, and the connection would not be authenticated TLS.
    #[error(
        "the database is on another machine: say sslmode=verify-full, and with sslrootcert which \
         authority its certificate is from"
    )]
    Open,
}

/// Parameters that a URL may have.
const PARAMETERS: [&str; 10] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "user",
    "dbname",
    "application_name",
    "options",
];

/// Options whose value is a file path.
const FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// Begins the option that names a schema.
const SEARCH_PATH: &str = "-csearch_path=";

/// The `application_name` that the server's administrators see.
const NAME: &str = "bank-server";

impl Server {
    /// Sixteen connections, five seconds.
    pub const CONNECTIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(15);
    /// Default timeout of a statement.
    pub const STATEMENT: Duration = Duration::from_secs(5);

    /// That database.
    ///
    /// To another machine the way has to be TLS, with the server's certificate checked against an
    /// authority that is named. Where no password is given, it is looked for where PostgreSQL's own
    /// programs look: `PGPASSWORD`, and the file of passwords.
    pub fn new(url: &str) -> Result<Self, DatabaseLocationError> {
        let mut url = Url::parse(url).map_err(|_| DatabaseLocationError::Url)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(DatabaseLocationError::Url);
        }
        let parameters: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let unknown = parameters
            .iter()
            .find(|(name, _)| !PARAMETERS.contains(&name.as_str()));
        if let Some((name, _)) = unknown {
            return Err(DatabaseLocationError::Parameter(name.clone()));
        }
        if !parameters
            .iter()
            .any(|(name, _)| name == "application_name")
        {
            url.query_pairs_mut().append_pair("application_name", NAME);
        }
        let server = Self {
            url,
            connections: Self::CONNECTIONS,
            statement: Self::STATEMENT,
        };
        let options = server.options().ok_or(DatabaseLocationError::Url)?;
        let checked = matches!(options.get_ssl_mode(), PgSslMode::VerifyFull)
            && parameters.iter().any(|(name, _)| name == "sslrootcert");
        if checked || is_here(&options) {
            Ok(server)
        } else {
            Err(DatabaseLocationError::Open)
        }
    }

    /// With paths of certificates taken from that folder.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path) -> Self {
        let parameters: Vec<(String, String)> = self.url.query_pairs().into_owned().collect();
        let mut pairs = self.url.query_pairs_mut();
        pairs.clear();
        for (name, value) in &parameters {
            if FILES.contains(&name.as_str()) {
                pairs.append_pair(name, &folder.join(value).to_string_lossy());
            } else {
                pairs.append_pair(name, value);
            }
        }
        drop(pairs);
        self
    }

    /// With tables in that schema, instead of the one that the server looks into first.
    pub(crate) fn in_schema(mut self, name: &str) -> Self {
        let path = format!("{SEARCH_PATH}{name}");
        self.url.query_pairs_mut().append_pair("options", &path);
        self
    }

    /// The file with the authorities that certify the server, if one is named.
    #[must_use]
    pub fn root_certificates(&self) -> Option<PathBuf> {
        let mut parameters = self.url.query_pairs();
        let named = parameters.find(|(name, _)| name == "sslrootcert");
        named.map(|(_, path)| PathBuf::from(path.as_ref()))
    }

    /// The schema with the tables, if it is not the one that the server looks into first.
    #[must_use]
    pub fn schema(&self) -> Option<String> {
        self.url
            .query_pairs()
            .filter(|(name, _)| name == "options")
            .find_map(|(_, value)| value.strip_prefix(SEARCH_PATH).map(str::to_owned))
    }

    /// Its address, with the password, if one is in it.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    fn options(&self) -> Option<PgConnectOptions> {
        PgConnectOptions::from_str(self.url.as_str()).ok()
    }
}

/// Whether the server is on this machine, so that no network is in between.
fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(options) = self.options() else {
            return f.write_str("<server>");
        };
        match options.get_socket() {
            Some(socket) => write!(f, "{}", socket.display())?,
            None => write!(f, "{}:{}", options.get_host(), options.get_port())?,
        }
        write!(
            f,
            ", database {}",
            options.get_database().unwrap_or("of the user")
        )
    }
}

/// Passwords stay out of logs.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{self}>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_another_machine_is_checked_tls() {
        for url in [
            "postgres://bank@db.bank.example/bank?sslmode=verify-full&sslrootcert=ca.pem",
            "postgresql://bank@localhost/bank",
            "postgres://bank@127.0.0.1:5433/bank",
            "postgres:///bank?host=/run/postgresql",
            "postgres://bank@%2Frun%2Fpostgresql/bank",
        ] {
            Server::new(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        }
        for url in [
            "postgres://bank@db.bank.example/bank",
            "postgres://bank@db.bank.example/bank?sslmode=require",
            "postgres://bank@db.bank.example/bank?sslmode=verify-ca&sslrootcert=ca.pem",
            // Without `sslrootcert`, any authority's certificate would be accepted.
            "postgres://bank@db.bank.example/bank?sslmode=verify-full",
            "postgres://bank@localhost/bank?host=db.bank.example",
        ] {
            assert_eq!(Server::new(url), Err(DatabaseLocationError::Open), "{url}");
        }
        for url in [
            "",
            "bank.db",
            "mysql://bank@localhost/bank",
            "postgres://bank@localhost/bank?port=x",
        ] {
            assert_eq!(Server::new(url), Err(DatabaseLocationError::Url), "{url}");
        }
        let misspelt = Server::new("postgres://bank@localhost/bank?ssl_mode=disable");
        assert_eq!(
            misspelt,
            Err(DatabaseLocationError::Parameter("ssl_mode".to_owned()))
        );
    }

    #[test]
    fn it_is_shown_without_secrets_and_paths_are_taken_from_the_folder() {
        let server = Server::new(
            "postgres://bank:hunter2@db.bank.example/xs2a?sslmode=verify-full&sslrootcert=ca.pem",
        );
        let server = server.unwrap().in_folder(Path::new("/etc/bank"));
        assert_eq!(server.to_string(), "db.bank.example:5432, database xs2a");
        assert_eq!(
            format!("{server:?}"),
            "<db.bank.example:5432, database xs2a>"
        );
        assert!(
            server.url.as_str().contains("%2Fetc%2Fbank%2Fca.pem"),
            "{}",
            server.url
        );
    }
}
