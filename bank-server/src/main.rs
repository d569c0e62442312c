//! `bank-server`: runs one bank, checks its configuration, imports its customers.

#![forbid(unsafe_code)]

use std::io::{BufRead as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bank_server::config::{Config, ConfigError};
use bank_server::core_banking::http::{HttpCore, core_banking_api};
use bank_server::core_banking::ledger::{
    self, DecimalSign, Encoding, Format, ImportOptions, Imported, NewAccountHolder,
};
use bank_server::core_banking::{self, CoreBanking as _};
use bank_server::domain::{PsuId, TotpSecret};
use bank_server::environment::{Randomness, SystemClock, SystemRandomness};
use bank_server::sca::Passwords;
use bank_server::sca::external::http::sca_methods_api;
use bank_server::store::credentials::CustomerCredentials;
use bank_server::store::{Database, DatabaseUse, StoreError};
use bank_server::{
    BankServer, Calendar, NOT_CHECKED, StartError, check_file, raise_limit, telemetry,
};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use shared_types::xs2a::text::plain;
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A bank's PSD2 account interface (XS2A) behind mutual TLS.
#[derive(Debug, Parser)]
#[command(name = "bank-server", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the bank until SIGTERM or SIGINT, then shuts down gracefully; a second SIGINT ends it
    /// at once. SIGHUP reloads certificates, revocation lists and register.
    Serve {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Reports all errors of a configuration and the files it names.
    Check {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Prints what a configuration file can contain.
    Config {
        /// Every key with its default, unit, range and example, as Markdown: docs/configuration.md.
        #[arg(long, required = true)]
        reference: bool,
    },
    /// Loads a file into the built-in ledger: all of it, or nothing. A world file has customers,
    /// accounts and transactions; CSV, camt.053 (versions 02, 06 and 08) and MT940 have the
    /// statements of accounts. Into a SQLite file only while no bank serves from it.
    Import(ImportArguments),
    /// Brings the tables of the database up to date. Replicas go on serving meanwhile; run it
    /// before the first of a new version starts. (The tables of a SQLite file are brought up to
    /// date at the start.)
    Migrate {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Gives a customer a password of 8 to 200 characters, read from standard input, and an
    /// authenticator, whose secret is printed. Those before are no longer good.
    Enrol {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// The customer's id.
        customer: String,
    },
    /// The core banking system over HTTP.
    Core {
        #[command(subcommand)]
        command: CoreCommand,
    },
    /// SCA methods of the bank's own over HTTP.
    ScaMethods {
        #[command(subcommand)]
        command: ScaMethodsCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ScaMethodsCommand {
    /// Prints the contract as an OpenAPI document: docs/sca-methods-api.json.
    Api,
}

#[derive(Debug, Subcommand)]
enum CoreCommand {
    /// Calls every operation of the core, and reports each answer that breaks the contract
    /// (docs/core-banking-api.md). It only reads.
    Check {
        /// The configuration file, with a section `[core_banking]`.
        #[arg(long)]
        config: PathBuf,
        /// A customer of the core, whose accounts are read; may be given several times.
        #[arg(long = "customer")]
        customers: Vec<String>,
    },
    /// Prints the contract as an OpenAPI document: docs/core-banking-api.json.
    Api,
}

#[derive(Debug, clap::Args)]
struct ImportArguments {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// The file: docs/world-file.md, docs/import.md.
    file: PathBuf,
    /// Its format; detected, if not given.
    #[arg(long)]
    format: Option<Format>,
    /// Its encoding; detected, if not given.
    #[arg(long)]
    encoding: Option<Encoding>,
    /// Delimiter of a CSV file, such as `;`, or `tab`; detected, if not given.
    #[arg(long, value_parser = delimiter)]
    delimiter: Option<char>,
    /// Sign before the decimals in a CSV file; detected, if not given.
    #[arg(long)]
    decimal: Option<DecimalSign>,
    /// Id of the customer who holds the accounts that the ledger does not have yet. Without it,
    /// such an account is an error.
    #[arg(long)]
    customer: Option<String>,
    /// Name of that customer, who is created if the ledger does not have the customer either.
    #[arg(long, requires = "customer")]
    customer_name: Option<String>,
}

fn delimiter(text: &str) -> Result<char, String> {
    let mut characters = text.chars();
    match (text, characters.next(), characters.next()) {
        ("tab" | "\\t", ..) => Ok('\t'),
        (_, Some(delimiter), None) => Ok(delimiter),
        _ => Err("one character, or `tab`".to_owned()),
    }
}

/// Exit code that shells report for a program that SIGINT has ended.
const INTERRUPTED: i32 = 130;

/// Cause, and what to do.
struct Failure(String, &'static str);

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve { config } => serve(&config).await,
        Command::Check { config } => check_configuration(&config),
        Command::Config { .. } => print(&bank_server::config::reference()),
        Command::Import(arguments) => import(arguments).await,
        Command::Migrate { config } => migrate(&config).await,
        Command::Enrol { config, customer } => enrol(&config, customer).await,
        Command::Core {
            command: CoreCommand::Check { config, customers },
        } => check_core(&config, customers).await,
        Command::Core {
            command: CoreCommand::Api,
        } => print(&core_banking_api()),
        Command::ScaMethods {
            command: ScaMethodsCommand::Api,
        } => print(&sca_methods_api()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(cause, advice)) => {
            // The exit code reports the failure even if standard error is closed.
            let cause: Vec<String> = cause.lines().map(plain).collect();
            let _ = writeln!(
                std::io::stderr().lock(),
                "error: {}\n  to do: {advice}",
                cause.join("\n")
            );
            ExitCode::FAILURE
        }
    }
}

const FIX_CONFIGURATION: &str =
    "correct the configuration; `bank-server check` lists all that is wrong";

/// Fails if the configuration file cannot be read, before it is parsed.
fn check_readable(path: &Path) -> Result<(), Failure> {
    let unreadable = |error| {
        Failure(
            format!("{} cannot be read: {error}", path.display()),
            "give the path of the bank's configuration file with --config",
        )
    };
    std::fs::read(path).map(drop).map_err(unreadable)
}

fn read(path: &Path) -> Result<Config, Failure> {
    check_readable(path)?;
    let wrong =
        |fault: ConfigError| Failure(format!("{}: {fault}", path.display()), FIX_CONFIGURATION);
    Config::read(path).map_err(wrong)
}

const RESTORE_KEY: &str =
    "put the key that was used before in its place: all replicas have the same one";

async fn serve(path: &Path) -> Result<(), Failure> {
    let config = read(path)?;
    let export = config.traces.as_ref().map(|traces| telemetry::TraceExport {
        collector: &traces.otlp,
        sample_ratio: traces.sample_ratio,
        bank: &config.bank.name,
    });
    let telemetry_guard = telemetry::start(&config.log.filter, config.log.format, export)
        .map_err(|problem| Failure(problem, FIX_CONFIGURATION))?;
    let signals = |error: std::io::Error| {
        Failure(
            error.to_string(),
            "the system does not let us handle signals",
        )
    };
    raise_limit();
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(signals)?;
    let bank = BankServer::new(config).start().await.map_err(|error| {
        let advice = match &error {
            StartError::Listen { .. } => {
                "choose another address there, or stop what listens on this one"
            }
            StartError::Store(error) => return store_failure(error),
            StartError::OtherKey(_) => RESTORE_KEY,
            _ => FIX_CONFIGURATION,
        };
        Failure(error.to_string(), advice)
    })?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Some(()) = hangup.recv() => {
                tracing::info!("reloading certificates, CRLs and register");
                bank.reload();
            }
        }
    }
    tracing::info!("shutting down, draining open requests");
    tokio::select! {
        () = bank.stop() => {}
        // Threads that still answer are not waited for; acknowledged writes are stored.
        _ = interrupt.recv() => std::process::exit(INTERRUPTED),
    }
    tracing::info!("shut down");
    telemetry_guard.finish().await;
    Ok(())
}

fn store_failure(error: &StoreError) -> Failure {
    let advice = match error {
        StoreError::Open { .. } => "check that store.path can be written",
        StoreError::InUse {
            wanted_for: DatabaseUse::Importing,
            ..
        } => "stop the bank, import, and start it again; nothing was loaded",
        StoreError::InUse { .. } => "wait until the import has ended, and start the bank again",
        StoreError::Damaged { .. } => {
            "restore the file from a backup; the bank does not replace it with an empty one"
        }
        StoreError::OpenToOthers(_) => "run chmod 600 on it, and see who could read it until now",
        StoreError::NoKey(_) => {
            "put the key that was used before in its place; without it, \
             customers need new authenticators"
        }
        StoreError::NoFile { .. } => {
            "restore the database from a backup; to create an empty one with this key, \
             run `bank-server migrate`"
        }
        StoreError::Key(_) => {
            "check that store.key can be read, and is the key that was used before"
        }
        StoreError::Connect { .. } => "check that the server runs, and that store.url is right",
        StoreError::Schema { .. } => {
            "run `bank-server migrate` with this configuration, and try again"
        }
        _ => "correct the cause, and try again",
    };
    Failure(error.to_string(), advice)
}

async fn migrate(path: &Path) -> Result<(), Failure> {
    let config = read(path)?;
    let versions = Database::migrate(&config.store.location).await;
    let (before, after) = versions.map_err(|error| store_failure(&error))?;
    let mut out = std::io::stdout().lock();
    let _ = if before == after {
        writeln!(out, "the tables are at version {after}; nothing to do")
    } else {
        writeln!(
            out,
            "the tables were at version {before}, and are at version {after}"
        )
    };
    Ok(())
}

fn check_configuration(path: &Path) -> Result<(), Failure> {
    check_readable(path)?;
    let faults = check_file(path, SystemClock);
    let mut out = std::io::stdout().lock();
    for fault in &faults {
        // The exit code reports the result even if the pipe is closed.
        let _ = writeln!(out, "{fault}");
    }
    let _ = writeln!(out, "not looked at: {NOT_CHECKED}");
    if faults.is_empty() {
        let _ = writeln!(out, "{}: nothing wrong", path.display());
        Ok(())
    } else {
        Err(Failure(
            format!("wrong in {}: {}", path.display(), faults.len()),
            "correct them, and check again",
        ))
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Failure(error.to_string(), "see where the output goes"))
}

async fn check_core(path: &Path, customers: Vec<String>) -> Result<(), Failure> {
    let config = read(path)?;
    let Some(section) = &config.core_banking else {
        return Err(Failure(
            format!("{} has no section [core_banking]", path.display()),
            "add it, with the url of the core: docs/core-banking-api.md",
        ));
    };
    let wrong = |faults: Vec<ConfigError>| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Failure(faults.join("\n"), FIX_CONFIGURATION)
    };
    let faults = config.faults();
    if !faults.is_empty() {
        return Err(wrong(faults));
    }
    let clock = Arc::new(SystemClock);
    let core = HttpCore::open(section, clock.clone(), Arc::new(SystemRandomness));
    let core = core.map_err(wrong)?;
    let customers: Vec<PsuId> = customers.into_iter().map(PsuId).collect();
    let today = Calendar::new(clock, config.bank.time_zone).today();
    let outcomes = core_banking::http::check(&core, &customers, today).await;
    let outcomes = outcomes.map_err(|cause| {
        Failure(
            format!("the core at {} does not answer: {cause}", section.url),
            "see that it runs, and that url, anchors and certificate in [core_banking] fit it",
        )
    })?;
    let mut out = std::io::stdout().lock();
    let mut breaches = 0;
    for outcome in &outcomes {
        let mark = match (&outcome.skipped, outcome.breaches.is_empty()) {
            (Some(_), _) => "not checked",
            (None, true) => "holds",
            (None, false) => "BROKEN",
        };
        let reason = outcome.skipped.map(|reason| format!(" ({reason})"));
        // The exit code reports the result even if the pipe is closed.
        let _ = writeln!(
            out,
            "{mark:11}  {}{}",
            outcome.check,
            reason.unwrap_or_default()
        );
        for breach in &outcome.breaches {
            let _ = writeln!(out, "             - {}", plain(breach));
        }
        breaches += outcome.breaches.len();
    }
    if breaches == 0 {
        let _ = writeln!(out, "no breach of the contract was found");
        Ok(())
    } else {
        Err(Failure(
            format!("breaches of the contract: {breaches}"),
            "correct the core: docs/core-banking-api.md is the contract",
        ))
    }
}

async fn enrol(path: &Path, customer: String) -> Result<(), Failure> {
    let config = read(path)?;
    let failed = |cause: String| Failure(cause, "nothing was changed; try again");
    PsuId::check(&customer).map_err(|cause| failed(cause.to_owned()))?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .take(1024)
        .read_line(&mut line)
        .map_err(|error| failed(format!("the password cannot be read: {error}")))?;
    let randomness: Arc<dyn Randomness> = Arc::new(SystemRandomness);
    let hash = Passwords::new(Arc::clone(&randomness))
        .hash(line.trim_end_matches(['\r', '\n']))
        .map_err(|error| failed(error.to_string()))?;
    let secret = TotpSecret::random(randomness.as_ref());
    let (location, key) = (&config.store.location, &config.store.key);
    let opened = Database::open_with_key(DatabaseUse::Serving, location, key, randomness).await;
    let (database, vault) = opened.map_err(|error| store_failure(&error))?;
    // With another core banking system, the built-in ledger is empty.
    warn_of_unknown(&config, &PsuId(customer.clone())).await;
    let known = ledger::knows(&database, &PsuId(customer.clone())).await;
    if !known.map_err(|error| failed(error.to_string()))? {
        return Err(Failure(
            format!("the ledger has no customer {customer}"),
            "see the id in the world file, and import it first",
        ));
    }
    let stored = CustomerCredentials::new(database.clone(), vault)
        .set(&PsuId(customer.clone()), &hash, Some(&secret))
        .await;
    database.close().await;
    stored.map_err(|error| match error {
        StoreError::OtherKey => Failure(error.to_string(), RESTORE_KEY),
        error => failed(error.to_string()),
    })?;
    let _ = writeln!(
        std::io::stdout().lock(),
        "for {customer}'s authenticator: {secret}\n  \
         enter it in an authenticator app as a setup key: time-based, six digits, every 30 seconds\n  \
         or print the code of this half minute: oathtool --totp -b -\n  \
         which reads the secret from standard input: as an argument, other users and the shell's history would see it",
        customer = plain(&customer),
        secret = secret.to_base32()
    );
    Ok(())
}

/// Warns if the core over HTTP answers, and has no accounts of the customer.
async fn warn_of_unknown(config: &Config, customer: &PsuId) {
    let Some(section) = &config.core_banking else {
        return;
    };
    let core = HttpCore::open(section, Arc::new(SystemClock), Arc::new(SystemRandomness));
    let Ok(core) = core else {
        return;
    };
    if let Ok(accounts) = core.accounts_of(customer).await
        && accounts.is_empty()
    {
        let _ = writeln!(
            std::io::stderr().lock(),
            "warning: the core at {} answers customer-accounts for {} without an account: \
             is this the customer's id there?",
            section.url,
            plain(&customer.0)
        );
    }
}

async fn import(arguments: ImportArguments) -> Result<(), Failure> {
    let config = read(&arguments.config)?;
    if config.core_banking.is_some() {
        return Err(Failure(
            "the bank has a core of its own ([core_banking]), and does not use the ledger"
                .to_owned(),
            "remove that section to use the built-in ledger; nothing was loaded",
        ));
    }
    let path = arguments.file;
    let failed = |cause: String| {
        Failure(
            format!("{}: {cause}", path.display()),
            "correct the file and import it again; nothing was loaded",
        )
    };
    let unreadable = |error| {
        Failure(
            format!("{} cannot be read: {error}", path.display()),
            "give the path of the file to import; nothing was loaded",
        )
    };
    let file = std::fs::File::open(&path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let opened = Database::open_for(DatabaseUse::Importing, &config.store.location).await;
    let database = opened.map_err(|error| store_failure(&error))?;
    let today = Calendar::new(Arc::new(SystemClock), config.bank.time_zone).today();
    let options = ImportOptions {
        format: arguments.format,
        encoding: arguments.encoding,
        delimiter: arguments.delimiter,
        decimal: arguments.decimal,
        customer: arguments.customer.map(|id| NewAccountHolder {
            id,
            name: arguments.customer_name,
        }),
        time_zone: config.bank.time_zone,
    };
    let progress = progress_bar(length);
    let file = progress.wrap_read(file);
    let imported = ledger::import_file(&database, today, &SystemRandomness, file, &options).await;
    progress.finish_and_clear();
    // Accepted or rejected: a temporary file is removed with the last connection.
    database.close().await;
    let imported = imported.map_err(|error| failed(error.to_string()))?;
    // The exit code reports the result even if the pipe is closed.
    let _ = report(&imported);
    Ok(())
}

/// Progress bar of the bytes read. Shown only on a terminal, and on standard error.
fn progress_bar(length: u64) -> ProgressBar {
    let progress = ProgressBar::new(length);
    let form = "{bar:30} {bytes} of {total_bytes}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(form) {
        progress.set_style(style.progress_chars("█▌ "));
    }
    progress
}

fn report(imported: &Imported) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "imported {} customers, {} accounts, {} transactions",
        imported.customers, imported.accounts, imported.transactions
    )?;
    for (currency, turnover) in &imported.turnovers {
        writeln!(
            out,
            "  {currency}: {} credits {}, {} debits {}, together {}",
            turnover.credits,
            turnover.credit_sum,
            turnover.debits,
            turnover.debit_sum,
            turnover.credit_sum + turnover.debit_sum
        )?;
    }
    if imported.statements > 0 {
        writeln!(out, "  statements: {}", imported.statements)?;
    }
    if imported.known > 0 {
        writeln!(
            out,
            "  in the ledger already: {} transactions",
            imported.known
        )?;
    }
    if imported.not_booked > 0 {
        writeln!(
            out,
            "  not booked, and left out: {} entries",
            imported.not_booked
        )?;
    }
    if imported.without_payments > 0 {
        writeln!(
            out,
            "  without payments, which do not add up to the entry: {} entries",
            imported.without_payments
        )?;
    }
    Ok(())
}
