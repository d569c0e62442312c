//! The command line.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use shared_types::eidas::OrganisationId;
use shared_types::iban::Iban;
use shared_types::transaction::BookingStatus;

/// Asks a bank for accounts, balances and transactions over XS2A, with mutual TLS.
///
/// Exit code 0: done. 1: refused or failed, with the cause and what to do on standard error. 2: wrong command line.
#[derive(Debug, Parser)]
#[command(name = "bank-client", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(super) connection: Connection,
    /// Prints one JSON value instead of a table.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// How to reach a bank. `probe` has an address of its own and may do without some of the rest, which it also takes after
/// the command; so what a command needs is checked when it is carried out.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The bank's address, such as `https://xs2a.bank-b.example`.
    #[arg(long)]
    pub(super) url: Option<String>,
    /// The bank's organisation id, such as PSDFR-ACPR-20002; no other bank will do.
    #[arg(long, global = true)]
    pub(super) organisation: Option<OrganisationId>,
    /// The agreed certification authorities, as PEM; no others are believed.
    #[arg(long, global = true)]
    pub(super) anchors: Option<PathBuf>,
    /// Our own certificate, then its issuing CA, as PEM.
    #[arg(long, global = true)]
    pub(super) certificate: Option<PathBuf>,
    /// The private key that belongs to it, as PEM.
    #[arg(long, global = true)]
    pub(super) key: Option<PathBuf>,
    /// The name by which messages call the bank.
    #[arg(long)]
    pub(super) name: Option<String>,
}

/// All that it takes to ask a bank for data.
#[derive(Debug)]
pub(super) struct Complete<'a> {
    pub(super) url: &'a str,
    pub(super) organisation: &'a OrganisationId,
    pub(super) anchors: &'a Path,
    pub(super) certificate: &'a Path,
    pub(super) key: &'a Path,
    pub(super) name: Option<&'a str>,
}

impl Connection {
    /// All of it, or a refusal of the command line that names whatever is missing.
    pub(super) fn complete(&self) -> Result<Complete<'_>, clap::Error> {
        if let Self {
            url: Some(url),
            organisation: Some(organisation),
            anchors: Some(anchors),
            certificate: Some(certificate),
            key: Some(key),
            name,
        } = self
        {
            return Ok(Complete {
                url,
                organisation,
                anchors,
                certificate,
                key,
                name: name.as_deref(),
            });
        }
        Err(missing(&[
            ("--url <URL>", self.url.is_some()),
            ("--organisation <ORGANISATION>", self.organisation.is_some()),
            ("--anchors <ANCHORS>", self.anchors.is_some()),
            ("--certificate <CERTIFICATE>", self.certificate.is_some()),
            ("--key <KEY>", self.key.is_some()),
        ]))
    }

    /// Refuses a command line with an address before a command that brings its own.
    pub(super) fn without_url(&self) -> Result<(), clap::Error> {
        if self.url.is_none() {
            return Ok(());
        }
        let says = "the address to probe stands after `probe`, and not in --url";
        Err(Arguments::command().error(ErrorKind::ArgumentConflict, says))
    }

    /// The anchors, or a refusal of the command line.
    pub(super) fn anchors(&self) -> Result<&Path, clap::Error> {
        let anchors = self.anchors.as_deref();
        anchors.ok_or_else(|| missing(&[("--anchors <ANCHORS>", false)]))
    }

    /// Certificate and key, or neither; one alone is a refusal of the command line.
    pub(super) fn own(&self) -> Result<Option<(&Path, &Path)>, clap::Error> {
        match (self.certificate.as_deref(), self.key.as_deref()) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            (certificate, key) => Err(missing(&[
                ("--certificate <CERTIFICATE>", certificate.is_some()),
                ("--key <KEY>", key.is_some()),
            ])),
        }
    }
}

/// In clap's own words for arguments that are required.
fn missing(wanted: &[(&str, bool)]) -> clap::Error {
    let missing = wanted.iter().filter(|(_, given)| !given);
    let missing = missing.map(|(name, _)| (*name).to_owned()).collect();
    let mut error =
        clap::Error::new(ErrorKind::MissingRequiredArgument).with_cmd(&Arguments::command());
    error.insert(ContextKind::InvalidArg, ContextValue::Strings(missing));
    error
}

#[derive(Debug, Args)]
pub(super) struct UnderConsent {
    /// The consent to read under.
    #[arg(long)]
    pub(super) consent: String,
    /// The address of the customer's device, if she is present.
    #[arg(long)]
    pub(super) psu_ip_address: Option<IpAddr>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Ask(Ask),
    /// Shows step by step who refuses whom at the handshake, and why.
    ///
    /// Takes `--anchors`, and what there is of `--certificate` with `--key`, and `--organisation`. The report is printed
    /// whatever it says; exit code 0 if access was granted, 1 otherwise.
    Probe {
        /// The address to probe, such as `https://xs2a.bank-b.example`.
        #[arg(value_name = "URL")]
        address: String,
    },
}

/// What a bank can be asked.
#[derive(Debug, Subcommand)]
pub(super) enum Ask {
    /// Lists accounts.
    Accounts {
        #[command(flatten)]
        consent: UnderConsent,
        /// With balances, where the consent opens them.
        #[arg(long)]
        with_balance: bool,
        /// Card accounts instead of payment accounts.
        #[arg(long)]
        cards: bool,
    },
    /// Lists the balances of an account.
    Balances {
        #[command(flatten)]
        consent: UnderConsent,
        /// The account's id.
        account: String,
        /// It is a card account.
        #[arg(long)]
        card: bool,
    },
    /// Lists the transactions of an account, all pages.
    Transactions(TransactionArguments),
    /// Asks for a consent, follows it, ends it.
    #[command(subcommand)]
    Consent(ConsentCommand),
}

#[derive(Debug, Args)]
pub(super) struct TransactionArguments {
    #[command(flatten)]
    pub(super) consent: UnderConsent,
    /// The account's id.
    pub(super) account: String,
    /// First day, YYYY-MM-DD.
    #[arg(long)]
    pub(super) from: NaiveDate,
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
    #[arg(long)]
    pub(super) card: bool,
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

#[derive(Debug, Subcommand)]
pub(super) enum ConsentCommand {
    /// Asks for a consent; the customer then has to approve it at the bank.
    Create(NewConsent),
    /// Says where a consent stands.
    Status {
        /// The consent's id.
        id: String,
    },
    /// Shows a consent.
    Show {
        /// The consent's id.
        id: String,
    },
    /// Ends a consent.
    Delete {
        /// The consent's id.
        id: String,
    },
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("access").required(true).multiple(true))]
pub(super) struct NewConsent {
    /// IBAN whose details are asked for; may be given several times.
    #[arg(long, group = "access")]
    pub(super) accounts: Vec<Iban>,
    /// IBAN whose balances are asked for.
    #[arg(long, group = "access")]
    pub(super) balances: Vec<Iban>,
    /// IBAN whose transactions are asked for.
    #[arg(long, group = "access")]
    pub(super) transactions: Vec<Iban>,
    /// All accounts, with everything PSD2 opens.
    #[arg(long, group = "access", conflicts_with_all = ["accounts", "balances", "transactions", "bank_offered"])]
    pub(super) all: bool,
    /// The customer chooses the accounts at the bank.
    #[arg(long, group = "access", conflicts_with_all = ["accounts", "balances", "transactions"])]
    pub(super) bank_offered: bool,
    /// Last day; 90 days from now, if absent.
    #[arg(long)]
    pub(super) valid_until: Option<NaiveDate>,
    /// Reads a day without the customer.
    #[arg(long, default_value = "4")]
    pub(super) frequency: NonZeroU32,
    /// For one read only.
    #[arg(long)]
    pub(super) once: bool,
    /// The address of the customer's device; this machine, if absent.
    #[arg(long)]
    pub(super) psu_ip_address: Option<IpAddr>,
}
