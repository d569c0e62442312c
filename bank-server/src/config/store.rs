//! Section `[store]`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::database_location::{DatabaseLocation, Server};

/// Section `[store]`: where data is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "StoreSection")]
pub struct StoreConfig {
    /// `path`, a SQLite file, made if it is not there; or `url`, a database on a PostgreSQL server.
    pub location: DatabaseLocation,
    /// The bank's own key, 32 bytes, made if it is not there; beside the SQLite file, with the
    /// ending `.key`, if absent. It seals what customers prove themselves with: with another key,
    /// none of it can be read. All replicas have the same.
    pub key: PathBuf,
}

/// The section as it is written.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "path": "bank.db" }))]
pub(super) struct StoreSection {
    /// SQLite file; created if it does not exist.
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(value_type = Option<String>, example = "bank.db")]
    path: Option<PathBuf>,
    /// URL of a PostgreSQL database.
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(example = "postgres://bank@localhost/bank")]
    url: Option<String>,
    /// File with the bank's own key, 32 bytes, that encrypts what customers authenticate with;
    /// created if it does not exist. All replicas have the same key. Required with `url`; with
    /// `path`, the same name with the ending `.key` if absent.
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(value_type = Option<String>, example = "bank.key")]
    key: Option<PathBuf>,
    /// PostgreSQL only: maximum connections of one replica, without those for counting: a quarter more, and one.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000,
        default = json!(Server::CONNECTIONS))]
    max_connections: Option<NonZeroU32>,
    /// PostgreSQL only: timeout for a statement.
    #[schema(minimum = 1, maximum = 3_600, default = json!(Server::STATEMENT.as_secs()))]
    statement_timeout_seconds: Option<u32>,
}

impl TryFrom<StoreSection> for StoreConfig {
    type Error = String;

    fn try_from(written: StoreSection) -> Result<Self, String> {
        if let Some(fault) = super::schema::range_faults(&written).first() {
            return Err(format!("store.{fault}"));
        }
        match (written.path, written.url) {
            (Some(path), None) => {
                let of_servers = [
                    ("max_connections", written.max_connections.is_some()),
                    (
                        "statement_timeout_seconds",
                        written.statement_timeout_seconds.is_some(),
                    ),
                ];
                if let Some((key, _)) = of_servers.iter().find(|(_, is_there)| *is_there) {
                    return Err(format!("store.{key} is for a PostgreSQL server alone"));
                }
                let key = written.key.unwrap_or_else(|| path.with_extension("key"));
                let location = DatabaseLocation::File(path);
                Ok(Self { location, key })
            }
            (None, Some(url)) => {
                let mut server =
                    Server::new(&url).map_err(|error| format!("store.url: {error}"))?;
                if let Some(connections) = written.max_connections {
                    server.connections = connections;
                }
                if let Some(seconds) = written.statement_timeout_seconds {
                    server.statement = Duration::from_secs(seconds.into());
                }
                let location = DatabaseLocation::Server(server);
                let key = written.key.ok_or(
                    "store.key: name the file with the bank's own key, the same for all replicas",
                )?;
                Ok(Self { location, key })
            }
            _ => Err("store: give a path, for SQLite, or a url, for PostgreSQL".to_owned()),
        }
    }
}

impl StoreConfig {
    /// With paths taken from that folder.
    pub(super) fn in_folder(self, folder: &Path) -> Self {
        Self {
            location: match self.location {
                DatabaseLocation::File(path) => DatabaseLocation::File(folder.join(path)),
                DatabaseLocation::Server(server) => {
                    DatabaseLocation::Server(server.in_folder(folder))
                }
            },
            key: folder.join(self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<StoreConfig, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_file_or_a_server() {
        let file = read("path = 'bank.db'").unwrap().in_folder("/srv".as_ref());
        assert_eq!(file.location, DatabaseLocation::File("/srv/bank.db".into()));
        assert_eq!(file.key, Path::new("/srv/bank.key"));
        let url = "url = 'postgres://bank@localhost/bank'\nkey = 'k'\n";
        let DatabaseLocation::Server(server) = read(url).unwrap().location else {
            panic!("no server");
        };
        assert_eq!(server.connections, Server::CONNECTIONS);
        let more = read(&format!(
            "{url}max_connections = 40\nstatement_timeout_seconds = 2"
        ))
        .unwrap();
        let DatabaseLocation::Server(server) = more.location else {
            panic!("no server");
        };
        assert_eq!(server.connections.get(), 40);
        assert_eq!(server.statement, Duration::from_secs(2));
    }

    #[test]
    fn what_cannot_be_done_is_told() {
        let url = "url = 'postgres://bank@localhost/bank'\n";
        for (text, told) in [
            (String::new(), "give a path"),
            (format!("{url}path = 'x'"), "give a path"),
            (url.to_owned(), "store.key"),
            (
                format!("{url}key = 'k'\nmax_connections = 1001"),
                "store.max_connections",
            ),
            (
                format!("{url}key = 'k'\nstatement_timeout_seconds = 0"),
                "store.statement_timeout_seconds",
            ),
            (
                "path = 'x'\nmax_connections = 4".to_owned(),
                "store.max_connections",
            ),
            (
                "path = 'x'\nstatement_timeout_seconds = 4".to_owned(),
                "store.statement_timeout_seconds",
            ),
            (
                "url = 'postgres://bank:hunter2@db.example/bank'\nkey = 'k'".to_owned(),
                "sslmode=verify-full",
            ),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
