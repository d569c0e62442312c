//! The commands.

mod arguments;
mod ask;
mod asked;
mod banks;
mod by_hand;
mod config;
mod connect;
mod consents;
mod course;
mod failure;
mod init;
mod kept;
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
mod totals;

use std::process::ExitCode;

pub(crate) use self::arguments::Arguments;
use self::arguments::Command;
use self::asked::Asked;
use self::config::Profile;
use self::failure::{Exit, Failure, failure};
use self::kept::Kept;
use self::screen::{Screen, tell};

/// Carries the command out, and tells what went wrong.
pub(crate) async fn run(arguments: &Arguments) -> ExitCode {
    match carry_out(arguments).await {
        Ok(exit) => exit.into(),
        Err(Failure::CommandLine(error)) => error.exit(),
        Err(Failure::NobodyReads) => Exit::Done.into(),
        Err(Failure::Trouble(trouble)) => {
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
        Command::Init(asked) => init::write(asked, arguments, screen).map(done),
        Command::Banks { search } => {
            banks::list(&Profile::read(place)?, search.as_deref(), screen).map(done)
        }
        Command::Connect(asked) => {
            arguments.by_hand.without_any("connect")?;
            let kept = Kept::open(place).await?;
            connect::run(&kept, asked, screen).await.map(done)
        }
        Command::Accounts {
            whom,
            with_balance,
            cards,
        } => {
            let asked = Asked::find(whom, arguments).await?;
            if *cards {
                reading::card_accounts(asked, *with_balance, screen).await
            } else {
                reading::accounts(asked, *with_balance, screen).await
            }
        }
        Command::Balances {
            whom,
            account,
            card,
        } => {
            let asked = Asked::find(whom, arguments).await?;
            match account {
                Some(account) => reading::balances_of(asked, account, *card, screen).await,
                None => reading::balances(asked, screen).await,
            }
        }
        Command::Transactions(wanted) => {
            wanted.check()?;
            let asked = Asked::find(&wanted.whom, arguments).await?;
            match &wanted.account {
                Some(account) => reading::transactions_of(asked, account, wanted, screen).await,
                None => reading::transactions(asked, wanted, screen).await,
            }
        }
        Command::Sync { whom } => sync::run(Asked::find(whom, arguments).await?, screen).await,
        Command::Consents => consents::list(&Kept::open(place).await?, screen)
            .await
            .map(done),
        Command::Revoke { connection, forget } => {
            arguments.by_hand.without_any("revoke")?;
            consents::revoke(&Kept::open(place).await?, connection, *forget, screen)
                .await
                .map(done)
        }
        Command::Probe { address } => probe::run(address, arguments, screen).await,
        Command::Consent { bank, command } => {
            let bank = by_hand::bank(arguments, bank.as_deref())?;
            by_hand::consent(&bank, command, screen).await.map(done)
        }
        Command::Completions { shell } => manual::completions(*shell).map(done),
        Command::Man { command } => manual::manual(command.as_deref()).map(done),
    }
}
