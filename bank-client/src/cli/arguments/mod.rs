//! The command line.

mod consent;
mod explicit_bank;
mod target_args;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDate;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use shared_types::authorisation::ScaApproach;
use shared_types::transaction::BookingStatus;

pub(super) use self::consent::{Access, ConsentCommand, NewConsent};
pub(super) use self::explicit_bank::{ByHand, missing};
pub(super) use self::target_args::TargetArgs;
use super::connection_store::DEFAULT_CUSTOMER;

/// Reads accounts, balances and transactions at any number of banks over XS2A, with mutual TLS.
///
/// Which banks there are, and with which certificate they are asked, is told by a profile of the configuration file
/// (`bank-client init` writes one). Connect a bank once; from then on all commands ask all banks that are connected.
#[derive(Debug, Parser)]
#[command(name = "bank-client", version, after_help = AFTER, after_long_help = AFTER_LONG)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) place: ProfilePlace,
    #[command(flatten)]
    pub(super) explicit_bank: ByHand,
    #[command(flatten)]
    pub(super) form: Form,
    #[command(subcommand)]
    pub(super) command: Command,
}

const AFTER: &str = "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 some banks failed or could not be read whole and the rest is printed, \
4 a consent is needed, 5 a certificate was refused, 6 a bank cannot be reached. See --help.";

const AFTER_LONG: &str = "\
Exit codes:
  0  done
  1  failed; cause and what to do are on standard error, as for all that follow
  2  wrong command line
  3  some banks failed; what the others answered is printed. A connection that nobody has approved yet is left out, and
     counts as failed only if it is named with --bank, or there is no other. Also: an account, a balance or an entry of an
     answer could not be read and is ignored; standard error names the field
  4  a consent is needed: there is none, it has ended, or it does not cover this
  5  a certificate was refused: ours by the bank, or the bank's by us
  6  a bank cannot be reached, does not answer in time, or asks to wait: later it may

Environment:
  BANK_CLIENT_CONFIG   the configuration file, if --config does not name one
  BANK_CLIENT_PROFILE  the profile, if --profile does not name one
  BANK_CLIENT_LOG      what is logged on standard error, such as `info`; nothing, if absent
  COLUMNS              how wide tables may be, if it is not the terminal that says
  NO_COLOR             no colours, whatever its value";

/// Where the profile is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Profile")]
pub(super) struct ProfilePlace {
    /// The configuration file; else bank-client/bank-client.toml in the system's folder for configuration.
    #[arg(long, global = true, env = "BANK_CLIENT_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Which of its profiles.
    #[arg(
        long,
        global = true,
        env = "BANK_CLIENT_PROFILE",
        value_name = "NAME",
        default_value = "default"
    )]
    pub(super) profile: String,
}

/// In what form results are printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct Form {
    /// Prints one JSON value instead of a table.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Prints lists as CSV (RFC 4180) instead of a table. Of accounts, balances and transactions, the column `json` has the
    /// whole row as `--json` prints it.
    #[arg(long, global = true, conflicts_with = "json")]
    pub(super) csv: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Writes a configuration file to start from.
    Init(Init),
    /// Lists the banks of the directory, or those that match.
    Banks {
        /// An IBAN, a BIC, or a name, which may be mistyped.
        search: Option<String>,
    },
    /// Connects a bank: asks it for a consent, and has the customer approve it there.
    ///
    /// Opens the approval page in a browser and waits for it to come back. Where the bank has no such page, the customer
    /// approves in its app, or gives password and code here. A bank that is connected is asked for a new consent: for the
    /// accounts and days that are given here, or else the same as before. The old one serves until the new one is approved.
    Connect(Connect),
    /// Lists payment accounts, or card accounts with `--cards`.
    Accounts {
        #[command(flatten)]
        whom: TargetArgs,
        /// With balances, where the consent opens them.
        #[arg(long)]
        with_balance: bool,
        /// Card accounts instead of payment accounts.
        #[arg(long)]
        cards: bool,
    },
    /// Lists balances of payment accounts, with their course where there is a local copy.
    Balances {
        #[command(flatten)]
        whom: TargetArgs,
        /// Of this account alone, by its id.
        account: Option<String>,
        /// It is a card account.
        #[arg(long, requires = "account")]
        card: bool,
    },
    /// Lists transactions of payment accounts, with a running total for each currency.
    ///
    /// They come one account after the other, in the bank's order: mostly the newest first. The total in a line is the sum of
    /// the lines down to it in its currency, pending ones included; that in the last is the sum of all.
    Transactions(Transactions),
    /// Brings the local copy up to date.
    Sync {
        #[command(flatten)]
        whom: TargetArgs,
    },
    /// Lists all connections: where each stands, its consent, days and reads that are left.
    ///
    /// The consent's id is what `--consent` and the bank's `Consent-ID` take. Unattended reads are those with no customer
    /// present: each is a run over all accounts, counted for that consent, and anew from the bank's midnight on. Days end
    /// by the bank's clock.
    Consents,
    /// Ends a connection, at the bank and here.
    Revoke {
        /// The bank's id, or the connection's.
        connection: String,
        /// Without telling the bank: what was approved there may stand until it ends by itself.
        #[arg(long)]
        forget: bool,
    },
    /// Shows step by step who refuses whom at the handshake, and why.
    ///
    /// With an address it takes `--anchors`, and what there is of `--certificate` with `--key`, and `--organisation`. The
    /// report is printed whatever it says; exit code 0 if access was granted, 1 otherwise.
    Probe {
        /// A bank of the directory, or an address such as `https://xs2a.bank-b.example`.
        #[arg(value_name = "BANK|URL")]
        address: String,
    },
    /// Asks for a consent, follows it, ends it, step by step; nothing is kept.
    Consent {
        /// At this bank of the directory, by its id, BIC or name, if not at that of --url.
        #[arg(long)]
        bank: Option<String>,
        #[command(subcommand)]
        command: ConsentCommand,
    },
    /// Prints completions for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Prints the manual page, as roff: `bank-client man | man -l -`.
    Man {
        /// That of this command.
        command: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The directory of banks, a TOML or JSON file.
    #[arg(long, value_name = "FILE")]
    pub(super) directory: Option<PathBuf>,
    /// Replaces a configuration file that is there.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Connect {
    /// The bank: its id, BIC or name, or an IBAN of an account there.
    pub(super) bank: String,
    #[command(flatten)]
    pub(super) access: Access,
    /// With what the customer logs in at the bank.
    #[arg(long, value_name = "ID")]
    pub(super) psu_id: Option<String>,
    /// What you call the customer, if there are several at one bank.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_CUSTOMER, hide_default_value = true, value_parser = customer)]
    pub(super) customer: String,
    /// For how many days; if absent, for as long as the bank allows, or as before.
    #[arg(long)]
    pub(super) days: Option<NonZeroU32>,
    /// The address from which the customer reaches the bank; else that of the profile, if there is one; else none is sent.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) psu_ip_address: Option<IpAddr>,
    /// Prints the address of the approval page instead of opening it.
    #[arg(long)]
    pub(super) print: bool,
    /// The port on this machine to which the browser comes back; the system's choice, if absent.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(super) port: u16,
    /// How long to wait for the customer, in seconds.
    #[arg(long, default_value = "600", value_name = "SECONDS", value_parser = seconds)]
    pub(super) wait: Duration,
    /// The way of approving that is preferred; the bank decides.
    #[arg(long, value_enum)]
    pub(super) approach: Option<Approach>,
    /// Never asks for anything; fails where it would have to.
    #[arg(long)]
    pub(super) no_input: bool,
}

fn customer(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if (1..=40).contains(&text.len()) && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("1 to 40 letters, digits, '-', '_' or '.'".to_owned())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("1 to 86400 seconds".to_owned()),
    }
}

/// How the customer approves.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Approach {
    /// On the bank's pages.
    Redirect,
    /// In the bank's app.
    Decoupled,
    /// With password and code, here.
    Embedded,
}

impl From<Approach> for ScaApproach {
    fn from(approach: Approach) -> Self {
        match approach {
            Approach::Redirect => Self::Redirect,
            Approach::Decoupled => Self::Decoupled,
            Approach::Embedded => Self::Embedded,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Transactions {
    #[command(flatten)]
    pub(super) whom: TargetArgs,
    /// Of this account alone, by its id.
    pub(super) account: Option<String>,
    /// First day, YYYY-MM-DD; 30 days ago, if absent.
    #[arg(long)]
    pub(super) from: Option<NaiveDate>,
    /// Last day; the bank's today, if absent.
    #[arg(long)]
    pub(super) to: Option<NaiveDate>,
    /// Which ones.
    #[arg(long, value_enum, default_value_t = Status::Both)]
    pub(super) status: Status,
    /// Transactions on a page.
    #[arg(long)]
    pub(super) page_size: Option<usize>,
    /// It is a card account.
    #[arg(long, requires = "account")]
    pub(super) card: bool,
}

impl Transactions {
    /// A period ends after it has begun.
    pub(super) fn check(&self) -> Result<(), clap::Error> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from > to => {
                let says = format!("--from {from} is after --to {to}");
                Err(Arguments::command().error(ErrorKind::ValueValidation, says))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Status {
    /// Booked.
    Booked,
    /// Not booked yet.
    Pending,
    /// All.
    Both,
}

impl From<Status> for BookingStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Booked => Self::Booked,
            Status::Pending => Self::Pending,
            Status::Both => Self::Both,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_made() {
        Arguments::command().debug_assert();
    }
}
