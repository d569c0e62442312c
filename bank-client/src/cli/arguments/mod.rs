//! Command-line arguments, parsed with clap.

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
use shared_types::xs2a::authorisation::ScaApproach;
use shared_types::xs2a::transaction::BookingStatus;

pub(super) use self::consent::{Access, ConsentCommand, NewConsent};
pub(super) use self::explicit_bank::{ExplicitBank, missing};
pub(super) use self::target_args::TargetArgs;
use super::connection_store::DEFAULT_CUSTOMER;

/// Reads accounts, balances and transactions at any number of banks over XS2A, with mutual TLS.
///
/// A profile of the configuration file names the bank directory and the client certificate
/// (`bank-client init` writes one). Connect a bank once; from then on all commands read from all
/// connected banks.
#[derive(Debug, Parser)]
#[command(name = "bank-client", version, after_help = AFTER, after_long_help = AFTER_LONG)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) profile: ProfileLocation,
    #[command(flatten)]
    pub(super) explicit_bank: ExplicitBank,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(subcommand)]
    pub(super) command: Command,
}

const AFTER: &str = "Exit codes: 0 done, 1 failed, 2 wrong command line, \
3 some banks failed or their data is incomplete and the rest is printed, \
4 a consent is needed, 5 a certificate was refused, 6 a bank cannot be reached, \
7 another holder has to approve as well. See --help.";

const AFTER_LONG: &str = "\
Exit codes:
  0  done
  1  failed; standard error has the cause and what to do, as for all that follow
  2  wrong command line
  3  some banks failed; the data of the others is printed. A connection that is not approved yet is
     left out, and counts as failed only if --bank names it, or there is no other. Also: an account,
     a balance or an entry of a response was invalid and is ignored; standard error names the field
  4  a consent is needed: there is none, it has ended, or it does not cover the request
  5  a certificate was refused: ours by the bank, or the bank's by us
  6  a bank cannot be reached, does not answer in time, or asks to wait: later it may
  7  not connected yet: the customer has approved, and another holder of an account has to approve as well

Environment:
  BANK_CLIENT_CONFIG   the configuration file, if --config does not name one
  BANK_CLIENT_PROFILE  the profile, if --profile does not name one
  BANK_CLIENT_LOG      log filter for standard error, such as `info`; nothing is logged, if absent
  COLUMNS              the width of tables, if it is not the terminal's
  NO_COLOR             no colours, whatever its value";

/// The location of the profile: configuration file and name.
#[derive(Debug, Args)]
#[command(next_help_heading = "Profile")]
pub(super) struct ProfileLocation {
    /// The configuration file; by default bank-client/bank-client.toml in the system's
    /// configuration folder.
    #[arg(long, global = true, env = "BANK_CLIENT_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The name of the profile.
    #[arg(
        long,
        global = true,
        env = "BANK_CLIENT_PROFILE",
        value_name = "NAME",
        default_value = "default"
    )]
    pub(super) profile: String,
}

/// The output format.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// Prints one JSON value instead of a table.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Prints lists as CSV (RFC 4180) instead of a table. For accounts, balances and transactions,
    /// the column `json` has the whole row as `--json` prints it.
    #[arg(long, global = true, conflicts_with = "json")]
    pub(super) csv: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Writes an initial configuration file.
    Init(Init),
    /// Lists the banks of the directory, or those that match a search.
    Banks {
        /// An IBAN, a BIC, or a name, which may be mistyped. Without a match the list is empty, and
        /// the exit code 0.
        search: Option<String>,
    },
    /// Connects a bank: requests a consent, which the customer approves at the bank.
    ///
    /// Opens the approval page in a browser and waits until the bank redirects it back. If the bank
    /// has no such page, the customer approves in the bank's app, or enters password and code here.
    /// For a bank that is already connected, this renews the consent, with the accounts and days
    /// given here, or else those of before. The old consent is used until the new one is approved.
    Connect(Connect),
    /// Lists payment accounts, or card accounts with `--cards`.
    Accounts {
        #[command(flatten)]
        targets: TargetArgs,
        /// With balances, for accounts whose balances the consent covers.
        #[arg(long)]
        with_balance: bool,
        /// Card accounts instead of payment accounts.
        #[arg(long)]
        cards: bool,
    },
    /// Lists balances of payment accounts, with their history if there is a local copy.
    Balances {
        #[command(flatten)]
        targets: TargetArgs,
        /// Only this account, by its id.
        account: Option<String>,
        /// The account is a card account.
        #[arg(long, requires = "account")]
        card: bool,
    },
    /// Lists transactions of payment accounts, with a running total for each currency.
    ///
    /// Accounts are listed one after the other, each in the bank's order, usually newest first. The
    /// total in a line is the sum of all lines so far in its currency, pending ones included.
    Transactions(Transactions),
    /// Brings the local copy up to date.
    Sync {
        #[command(flatten)]
        targets: TargetArgs,
    },
    /// Lists all connections: status, consent, days left and reads left.
    ///
    /// The consent's id is the value for `--consent` and for the `Consent-ID` header. Unattended
    /// reads are those without the customer present: each is a run over all accounts, counted for
    /// that consent, and reset at midnight in the bank's time zone.
    Consents,
    /// Ends a connection, at the bank and here.
    Revoke {
        /// The bank's id, or the connection's.
        connection: String,
        /// Without notifying the bank: the consent there may stay valid until it expires.
        #[arg(long)]
        forget: bool,
    },
    /// Diagnoses the TLS handshake with a bank step by step: which side refuses which, and why.
    ///
    /// With an address it requires `--anchors`, and accepts `--certificate` with `--key`, and
    /// `--organisation`. Exit code 0 if access was granted, 1 otherwise; the report is printed in
    /// both cases.
    Probe {
        /// A bank of the directory, or an address such as `https://xs2a.bank-b.example`.
        #[arg(value_name = "BANK|URL")]
        address: String,
    },
    /// Requests, shows and ends a consent, step by step; stores nothing.
    Consent {
        /// The bank in the directory, by its id, BIC or name; instead of --url.
        #[arg(long)]
        bank: Option<String>,
        #[command(subcommand)]
        command: ConsentCommand,
    },
    /// Prints completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Prints the manual page, as roff: `bank-client man | man -l -`.
    Man {
        /// The command whose page is printed; by default that of the program.
        command: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The directory of banks, a TOML or JSON file.
    #[arg(long, value_name = "FILE")]
    pub(super) directory: Option<PathBuf>,
    /// Replaces an existing configuration file.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Connect {
    /// The bank: its id, BIC or name, or an IBAN of an account there.
    pub(super) bank: String,
    #[command(flatten)]
    pub(super) access: Access,
    /// The customer's login name at the bank.
    #[arg(long, value_name = "ID")]
    pub(super) psu_id: Option<String>,
    /// Your name for the customer, if there are several at one bank.
    #[arg(
        long,
        value_name = "NAME",
        default_value = DEFAULT_CUSTOMER,
        hide_default_value = true,
        value_parser = customer
    )]
    pub(super) customer: String,
    /// Days of validity; if absent, as many as the bank allows, or as before.
    #[arg(long)]
    pub(super) days: Option<NonZeroU32>,
    /// The IP address of the customer's device; by default that of the profile, if it has one.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) psu_ip_address: Option<IpAddr>,
    /// Prints the address of the approval page instead of opening it.
    #[arg(long)]
    pub(super) print: bool,
    /// The local port to which the browser is redirected; chosen by the system, if absent.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(super) port: u16,
    /// How long to wait for the customer, in seconds.
    #[arg(long, default_value = "600", value_name = "SECONDS", value_parser = seconds)]
    pub(super) wait: Duration,
    /// The preferred SCA approach; the bank decides.
    #[arg(long, value_enum)]
    pub(super) approach: Option<Approach>,
    /// Never prompts; fails if input is required.
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

fn day(text: &str) -> Result<NaiveDate, &'static str> {
    text.parse()
        .map_err(|_| "a day is written as YYYY-MM-DD, such as 2026-11-30")
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("1 to 86400 seconds".to_owned()),
    }
}

/// The SCA approach: how the customer approves.
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
    pub(super) targets: TargetArgs,
    /// Only this account, by its id.
    pub(super) account: Option<String>,
    /// First day, YYYY-MM-DD; 30 days ago, if absent.
    #[arg(long, value_parser = day)]
    pub(super) from: Option<NaiveDate>,
    /// Last day, YYYY-MM-DD; today in the bank's time zone, if absent.
    #[arg(long, value_parser = day)]
    pub(super) to: Option<NaiveDate>,
    /// The booking status.
    #[arg(long, value_enum, default_value_t = Status::Both)]
    pub(super) status: Status,
    /// Transactions per page.
    #[arg(long)]
    pub(super) page_size: Option<usize>,
    /// The account is a card account.
    #[arg(long, requires = "account")]
    pub(super) card: bool,
}

impl Transactions {
    /// Fails if the period ends before it begins.
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
