//! The commands.

mod arguments;
mod ask;
mod balance_history;
mod banks;
mod config;
mod connect;
mod connection_store;
mod consents;
mod explicit_bank;
mod failure;
mod init;
mod loopback;
mod manual;
mod odd;
mod probe;
mod progress;
mod reading;
mod rows;
mod screen;
mod spark;
mod sync;
mod targets;
mod totals;

use std::process::ExitCode;

pub(crate) use self::arguments::Arguments;
use self::arguments::Command;
use self::config::Profile;
use self::connection_store::ConnectionStore;
use self::failure::{Exit, Failure, failure};
use self::screen::{Screen, tell};
use self::targets::Targets;

/// Carries the command out, and tells what went wrong.
pub(crate) async fn run(arguments: &Arguments) -> ExitCode {
    match carry_out(arguments).await {
        Ok(exit) => exit.into(),
        Err(Failure::CommandLine(error)) => error.exit(),
        Err(Failure::NobodyReads) => Exit::Done.into(),
        Err(Failure::BankFailure(trouble)) => {
            tell(&trouble);
            trouble.exit.into()
        }
    }
}

async fn carry_out(arguments: &Arguments) -> Result<Exit, Failure> {
    let screen = Screen::new(&arguments.form);
    let place = &arguments.place;
    let done = |()| Exit::Done;
    match &arguments.command {
        Command::Init(targets) => init::write(targets, arguments, screen).map(done),
        Command::Banks { search } => {
            banks::list(&Profile::read(place)?, search.as_deref(), screen).map(done)
        }
        Command::Connect(targets) => {
            arguments.explicit_bank.without_any("connect")?;
            let kept = ConnectionStore::open(place).await?;
            connect::run(&kept, targets, screen).await.map(done)
        }
        Command::Accounts {
            whom,
            with_balance,
            cards,
        } => {
            let targets = Targets::find(whom, arguments).await?;
            if *cards {
                reading::card_accounts(targets, *with_balance, screen).await
            } else {
                reading::accounts(targets, *with_balance, screen).await
            }
        }
        Command::Balances {
            whom,
            account,
            card,
        } => {
            let targets = Targets::find(whom, arguments).await?;
            match account {
                Some(account) => reading::balances_of(targets, account, *card, screen).await,
                None => reading::balances(targets, screen).await,
            }
        }
        Command::Transactions(wanted) => {
            wanted.check()?;
            let targets = Targets::find(&wanted.whom, arguments).await?;
            match &wanted.account {
                Some(account) => reading::transactions_of(targets, account, wanted, screen).await,
                None => reading::transactions(targets, wanted, screen).await,
            }
        }
        Command::Sync { whom } => sync::run(Targets::find(whom, arguments).await?, screen).await,
        Command::Consents => consents::list(&ConnectionStore::open(place).await?, screen)
            .await
            .map(done),
        Command::Revoke { connection, forget } => {
            arguments.explicit_bank.without_any("revoke")?;
            consents::revoke(
                &ConnectionStore::open(place).await?,
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
