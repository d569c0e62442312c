//! Migrations of the tables, embedded in the program.

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Migrations of one engine: version, description and SQL of each file in its folder below
/// `migrations/`.
///
/// They are listed here because `sqlx::migrate!` would build the drivers of both engines, SQLite
/// included, a second time for the compiler's own use. A test compares the lists with the folders.
type Migrations = [(i64, &'static str, &'static str)];

const SQLITE: &Migrations = &[
    (
        1,
        "ledger",
        include_str!("../../migrations/sqlite/0001_ledger.sql"),
    ),
    (
        2,
        "consents",
        include_str!("../../migrations/sqlite/0002_consents.sql"),
    ),
    (
        3,
        "authorisations",
        include_str!("../../migrations/sqlite/0003_authorisations.sql"),
    ),
    (
        4,
        "consent life",
        include_str!("../../migrations/sqlite/0004_consent_life.sql"),
    ),
    (
        5,
        "sessions",
        include_str!("../../migrations/sqlite/0005_sessions.sql"),
    ),
    (
        6,
        "connections",
        include_str!("../../migrations/sqlite/0006_connections.sql"),
    ),
    (
        7,
        "arrivals",
        include_str!("../../migrations/sqlite/0007_arrivals.sql"),
    ),
    (
        8,
        "finished consents",
        include_str!("../../migrations/sqlite/0008_finished_consents.sql"),
    ),
    (
        9,
        "finished authorisations",
        include_str!("../../migrations/sqlite/0009_finished_authorisations.sql"),
    ),
    (
        10,
        "old counts",
        include_str!("../../migrations/sqlite/0010_old_counts.sql"),
    ),
    (
        11,
        "changes",
        include_str!("../../migrations/sqlite/0011_changes.sql"),
    ),
    (
        12,
        "fetched lists",
        include_str!("../../migrations/sqlite/0012_fetched_lists.sql"),
    ),
    (
        13,
        "fewer changes",
        include_str!("../../migrations/sqlite/0013_fewer_changes.sql"),
    ),
    (
        14,
        "steps",
        include_str!("../../migrations/sqlite/0014_steps.sql"),
    ),
    (
        15,
        "credential version",
        include_str!("../../migrations/sqlite/0015_credential_version.sql"),
    ),
    (
        16,
        "bank state",
        include_str!("../../migrations/sqlite/0016_bank_state.sql"),
    ),
    (
        17,
        "sessions of authorisations",
        include_str!("../../migrations/sqlite/0017_sessions_of_authorisations.sql"),
    ),
    (
        18,
        "log ins for authorisations",
        include_str!("../../migrations/sqlite/0018_log_ins_for_authorisations.sql"),
    ),
];

/// The first is version 7: the versions before it never ran on PostgreSQL.
const POSTGRES: &Migrations = &[
    (
        7,
        "tables",
        include_str!("../../migrations/postgres/0007_tables.sql"),
    ),
    (
        8,
        "finished consents",
        include_str!("../../migrations/postgres/0008_finished_consents.sql"),
    ),
    (
        9,
        "finished authorisations",
        include_str!("../../migrations/postgres/0009_finished_authorisations.sql"),
    ),
    (
        10,
        "old counts",
        include_str!("../../migrations/postgres/0010_old_counts.sql"),
    ),
    (
        11,
        "changes",
        include_str!("../../migrations/postgres/0011_changes.sql"),
    ),
    (
        12,
        "fetched lists",
        include_str!("../../migrations/postgres/0012_fetched_lists.sql"),
    ),
    (
        13,
        "fewer changes",
        include_str!("../../migrations/postgres/0013_fewer_changes.sql"),
    ),
    (
        14,
        "steps",
        include_str!("../../migrations/postgres/0014_steps.sql"),
    ),
    (
        15,
        "credential version",
        include_str!("../../migrations/postgres/0015_credential_version.sql"),
    ),
    (
        16,
        "bank state",
        include_str!("../../migrations/postgres/0016_bank_state.sql"),
    ),
    (
        17,
        "sessions of authorisations",
        include_str!("../../migrations/postgres/0017_sessions_of_authorisations.sql"),
    ),
    (
        18,
        "log ins for authorisations",
        include_str!("../../migrations/postgres/0018_log_ins_for_authorisations.sql"),
    ),
];

/// For SQLite.
pub(super) fn sqlite() -> Migrator {
    migrator(SQLITE)
}

/// For PostgreSQL.
pub(super) fn postgres() -> Migrator {
    migrator(POSTGRES)
}

/// A migrator that accepts tables of a newer version and takes no lock: `engine` keeps other
/// migrations out.
fn migrator(migrations: &'static Migrations) -> Migrator {
    let migrations = migrations.iter().map(|&(version, description, sql)| {
        // The same marker as sqlx's own reader of folders.
        let no_transaction = sql.starts_with("-- no-transaction");
        let sql = SqlStr::from_static(sql);
        Migration::new(
            version,
            description.into(),
            MigrationType::Simple,
            sql,
            no_transaction,
        )
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_ignore_missing(true);
    migrator.set_locking(false);
    migrator
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gap that is filled later would be applied after what is newer.
    #[test]
    fn numbers_follow_one_another() {
        for embedded in [SQLITE, POSTGRES] {
            let numbers: Vec<i64> = embedded.iter().map(|(number, ..)| *number).collect();
            let first = numbers[0];
            let count = i64::try_from(numbers.len()).unwrap();
            assert_eq!(numbers, (first..first + count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_file_of_the_folders_is_embedded() {
        for (engine, embedded) in [("sqlite", SQLITE), ("postgres", POSTGRES)] {
            let folder = format!("{}/migrations/{engine}", env!("CARGO_MANIFEST_DIR"));
            let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .map(|path| {
                    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                    (name, std::fs::read_to_string(path).unwrap())
                })
                .collect();
            files.sort();
            let embedded: Vec<(String, String)> = embedded
                .iter()
                .map(|(version, description, sql)| {
                    let name = format!("{version:04}_{}", description.replace(' ', "_"));
                    (name, (*sql).to_owned())
                })
                .collect();
            assert_eq!(embedded, files, "{engine}");
        }
    }
}
