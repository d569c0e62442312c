//! The command-line interface: one module for each group of commands.

mod account_information;
mod arguments;
mod balance_history;
mod banks;
mod config;
mod connect;
mod connection_store;
mod consents;
mod deviations;
mod explicit_bank;
mod failure;
mod init;
mod loopback;
mod manual;
mod probe;
mod progress;
mod prompt;
mod rows;
mod screen;
mod sparkline;
mod sync;
mod targets;
mod totals;

use std::process::ExitCode;

pub(crate) use self::arguments::Arguments;
use self::arguments::Command;
use self::config::Profile;
use self::connection_store::ConnectionStore;
use self::failure::{Exit, Failure, failure};
use self::screen::{Screen, print_error};
use self::targets::Targets;

/// Runs the command, prints the error if it fails, and returns the exit code.
pub(crate) async fn run(arguments: &Arguments) -> ExitCode {
    match dispatch(arguments).await {
        Ok(exit) => exit.into(),
        Err(Failure::CommandLine(error)) => error.exit(),
        Err(Failure::OutputClosed) => Exit::Done.into(),
        Err(Failure::Diagnostic(diagnostic)) => {
            print_error(&diagnostic);
            diagnostic.exit.into()
        }
    }
}

async fn dispatch(arguments: &Arguments) -> Result<Exit, Failure> {
    let screen = Screen::new(&arguments.output);
    let location = &arguments.profile;
    let done = |()| Exit::Done;
    match &arguments.command {
        Command::Init(targets) => init::write(targets, arguments, screen).map(done),
        Command::Banks { search } => {
            banks::list(&Profile::read(location)?, search.as_deref(), screen).map(done)
        }
        Command::Connect(targets) => {
            arguments.explicit_bank.without_any("connect")?;
            let store = ConnectionStore::open(location).await?;
            connect::run(&store, targets, screen).await.map(done)
        }
        Command::Accounts {
            targets: args,
            with_balance,
            cards,
        } => {
            let targets = Targets::find(args, arguments).await?;
            account_information::accounts(targets, *cards, *with_balance, screen).await
        }
        Command::Balances {
            targets: args,
            account,
            card,
        } => {
            let targets = Targets::find(args, arguments).await?;
            match account {
                Some(account) => {
                    account_information::balances_of(targets, account, *card, screen).await
                }
                None => account_information::balances(targets, screen).await,
            }
        }
        Command::Transactions(wanted) => {
            wanted.check()?;
            let targets = Targets::find(&wanted.targets, arguments).await?;
            match &wanted.account {
                Some(account) => {
                    account_information::transactions_of(targets, account, wanted, screen).await
                }
                None => account_information::transactions(targets, wanted, screen).await,
            }
        }
        Command::Sync { targets: args } => {
            sync::run(Targets::find(args, arguments).await?, screen).await
        }
        Command::Consents => consents::list(&ConnectionStore::open(location).await?, screen)
            .await
            .map(done),
        Command::Revoke { connection, forget } => {
            arguments.explicit_bank.without_any("revoke")?;
            consents::revoke(
                &ConnectionStore::open(location).await?,
                connection,
                *forget,
                screen,
            )
            .await
            .map(done)
        }
        Command::Probe { address } => probe::run(address, arguments, screen).await,
        Command::Consent { bank, command } => {
            let bank = explicit_bank::bank(arguments, bank.as_deref())?;
            explicit_bank::consent(&bank, command, screen)
                .await
                .map(done)
        }
        Command::Completions { shell } => manual::completions(*shell).map(done),
        Command::Man { command } => manual::manual(command.as_deref()).map(done),
    }
}
