//! Migrations of the tables, embedded in the program.

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Migrations of one engine: name and SQL of each file in its folder below `migrations/`.
///
/// They are listed here because `sqlx::migrate!` would build the drivers of both engines, SQLite
/// included, a second time for the compiler's own use. A test compares the lists with the folders.
type Migrations = [(&'static str, &'static str)];

macro_rules! embedded {
    ($folder:literal: $($name:literal)+) => {
        &[$((
            $name,
            include_str!(concat!("../../migrations/", $folder, "/", $name, ".sql")),
        )),+]
    };
}

const SQLITE: &Migrations = embedded!("sqlite":
    "0001_ledger"
    "0002_consents"
    "0003_authorisations"
    "0004_consent_life"
    "0005_sessions"
    "0006_connections"
    "0007_arrivals"
    "0008_finished_consents"
    "0009_finished_authorisations"
    "0010_old_counts"
    "0011_changes"
    "0012_fetched_lists"
    "0013_fewer_changes"
    "0014_steps"
    "0015_credential_version"
    "0016_bank_state"
    "0017_sessions_of_authorisations"
    "0018_log_ins_for_authorisations"
    "0019_identity_requests"
    "0020_challenges"
);

/// The first is version 7: the versions before it never ran on PostgreSQL.
const POSTGRES: &Migrations = embedded!("postgres":
    "0007_tables"
    "0008_finished_consents"
    "0009_finished_authorisations"
    "0010_old_counts"
    "0011_changes"
    "0012_fetched_lists"
    "0013_fewer_changes"
    "0014_steps"
    "0015_credential_version"
    "0016_bank_state"
    "0017_sessions_of_authorisations"
    "0018_log_ins_for_authorisations"
    "0019_identity_requests"
    "0020_challenges"
);

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
    let migrations = migrations.iter().filter_map(|&(name, sql)| {
        let (version, description) = name.split_once('_')?;
        Some(Migration::new(
            version.parse().ok()?,
            description.replace('_', " ").into(),
            MigrationType::Simple,
            SqlStr::from_static(sql),
            // The same marker as sqlx's own reader of folders.
            sql.starts_with("-- no-transaction"),
        ))
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_ignore_missing(true);
    migrator.set_locking(false);
    migrator
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A migration that fills a gap later would be applied after newer ones.
    #[test]
    fn numbers_follow_one_another() {
        for embedded in [sqlite(), postgres()] {
            let numbers: Vec<i64> = embedded.iter().map(|one| one.version).collect();
            let first = numbers[0];
            let count = i64::try_from(numbers.len()).unwrap();
            assert_eq!(numbers, (first..first + count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_file_of_the_folders_is_embedded() {
        for (engine, embedded) in [("sqlite", sqlite()), ("postgres", postgres())] {
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
                .map(|one| {
                    let description = one.description.replace(' ', "_");
                    let name = format!("{:04}_{description}", one.version);
                    (name, one.sql.as_str().to_owned())
                })
                .collect();
            assert_eq!(embedded, files, "{engine}");
        }
    }
}
