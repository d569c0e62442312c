//! Databases of the banks of the tests: SQLite files, or the PostgreSQL server that
//! `BANK_TEST_POSTGRES` names. `tests/run` starts one, and runs what depends on the database for
//! both.

use std::path::Path;
use std::process::Command;

use bank_client::environment::{Randomness as _, SystemRandomness};
use bank_server::config::Config;
use bank_server::store::{Database, DatabaseLocation, Server, scratch};
use fixtures::sandbox::Databases;

/// The server, if the tests are run for it.
fn server() -> Option<Server> {
    let url = std::env::var("BANK_TEST_POSTGRES").ok()?;
    Some(Server::new(&url).unwrap())
}

fn unique() -> String {
    SystemRandomness.uuid().simple().to_string()
}

/// For one sandbox alone.
pub fn databases() -> Databases {
    match server() {
        Some(server) => Databases::Schemas {
            server: Box::new(server),
            prefix: format!("{}_", unique()),
        },
        None => Databases::Files,
    }
}

/// An empty one, with its tables: a bank whose key is there makes none. As a file it has that name.
pub async fn empty(file: &Path) -> DatabaseLocation {
    let place = place(file).await;
    if let DatabaseLocation::File(_) = place {
        Database::open(&place).await.unwrap().close().await;
    }
    place
}

async fn place(file: &Path) -> DatabaseLocation {
    match server() {
        Some(server) => {
            DatabaseLocation::Server(scratch::schema(&server, &unique()).await.unwrap())
        }
        None => DatabaseLocation::File(file.to_owned()),
    }
}

/// The section `[store]` of an empty one, in one line.
pub async fn section() -> String {
    match place(Path::new("bank.db")).await {
        DatabaseLocation::File(path) => format!("{{ path = \"{}\" }}", path.display()),
        DatabaseLocation::Server(server) => {
            format!("{{ url = \"{}\", key = \"bank.key\" }}", server.url())
        }
    }
}

/// The database of the bank with this configuration file.
pub async fn of(configuration: &Path) -> Database {
    let config = Config::read(configuration).unwrap();
    Database::open(&config.store.location).await.unwrap()
}

/// The raw bytes of a store.
pub fn bytes(configuration: &Path) -> Vec<u8> {
    match Config::read(configuration).unwrap().store.location {
        DatabaseLocation::File(path) => {
            let mut log = path.clone().into_os_string();
            log.push("-wal");
            let mut bytes = std::fs::read(path).unwrap();
            bytes.extend(std::fs::read(log).unwrap_or_default());
            bytes
        }
        DatabaseLocation::Server(server) => {
            let programs = std::env::var("BANK_TEST_POSTGRES_PROGRAMS").unwrap();
            let schema = server.schema().unwrap();
            let url = std::env::var("BANK_TEST_POSTGRES").unwrap();
            let dump = Command::new(Path::new(&programs).join("pg_dump"))
                .arg(format!("--schema={schema}"))
                .arg(url)
                .output()
                .unwrap();
            assert!(
                dump.status.success(),
                "{}",
                String::from_utf8_lossy(&dump.stderr)
            );
            dump.stdout
        }
    }
}
