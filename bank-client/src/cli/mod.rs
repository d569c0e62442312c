//! The commands.

mod arguments;
mod print;
mod probe;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use bank_client::credentials::Credentials;
use bank_client::environment::{Clock as _, SystemClock};
use bank_client::{AccountInformation, Bank, Entry, TransactionFilter};
use chrono::Days;
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use serde::Serialize;
use shared_types::account::AccountReference;
use shared_types::consent::{AccountAccess, AllAccounts, ConsentRequest};
use shared_types::iban::Iban;
use shared_types::trust::Anchors;

pub(crate) use self::arguments::Arguments;
use self::arguments::{Ask, Command, Complete, ConsentCommand, NewConsent, TransactionArguments};

/// Why a command was not carried out.
pub(crate) enum Failure {
    /// Cause, and what to do.
    Failed { cause: String, advice: &'static str },
    /// The command line lacks something.
    CommandLine(clap::Error),
}

/// What to print, and whether it is good news.
pub(crate) struct Output {
    pub(crate) text: String,
    pub(crate) good: bool,
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::CommandLine(error)
    }
}

impl From<bank_client::Error> for Failure {
    fn from(error: bank_client::Error) -> Self {
        Self::Failed {
            cause: error.to_string(),
            advice: error.advice(),
        }
    }
}

fn failure(cause: impl std::fmt::Display, advice: &'static str) -> Failure {
    Failure::Failed {
        cause: cause.to_string(),
        advice,
    }
}

/// Carries the command out.
pub(crate) async fn run(arguments: &Arguments) -> Result<Output, Failure> {
    let (connection, json) = (&arguments.connection, arguments.json);
    match &arguments.command {
        Command::Probe { address } => probe::run(address, connection, json).await,
        Command::Ask(asked) => {
            let bank = connect(&connection.complete()?)?;
            let text = ask(&bank, asked, json).await?;
            Ok(Output { text, good: true })
        }
    }
}

/// Asks the bank; the text is what to print.
async fn ask(bank: &Bank, asked: &Ask, json: bool) -> Result<String, Failure> {
    match asked {
        Ask::Accounts {
            consent,
            with_balance,
            cards,
        } => {
            let under = under(bank, consent);
            if *cards {
                let accounts = under.card_accounts(*with_balance).await?;
                output(json, &accounts, print::card_accounts)
            } else {
                let accounts = under.accounts(*with_balance).await?;
                output(json, &accounts, print::accounts)
            }
        }
        Ask::Balances {
            consent,
            account,
            card,
        } => {
            let under = under(bank, consent);
            let balances = if *card {
                under.card_balances(account).await?.balances
            } else {
                under.balances(account).await?.balances
            };
            output(json, &balances, |balances| print::balances(balances))
        }
        Ask::Transactions(asked) => transactions(bank, asked, json).await,
        Ask::Consent(command) => consent(bank, command, json).await,
    }
}

const ADDRESS: &str = "give --url as https://HOST:PORT";
const FILES: &str =
    "see that --anchors, --certificate and --key name PEM files that belong together";

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| failure(format!("{}: {error}", path.display()), FILES))
}

fn anchors(path: &Path) -> Result<Anchors, Failure> {
    Anchors::from_pem(&read(path)?)
        .map_err(|error| failure(format!("{} {error}", path.display()), FILES))
}

fn credentials(certificate: &Path, key: &Path) -> Result<Credentials, Failure> {
    Credentials::from_pem(&read(certificate)?, &read(key)?).map_err(|error| failure(error, FILES))
}

fn connect(connection: &Complete<'_>) -> Result<Bank, Failure> {
    let mut builder = Bank::builder(
        connection.url,
        connection.organisation.clone(),
        anchors(connection.anchors)?,
        credentials(connection.certificate, connection.key)?,
    );
    if let Some(name) = connection.name {
        builder = builder.name(name);
    }
    builder.build().map_err(|error| failure(error, ADDRESS))
}

fn under(bank: &Bank, consent: &arguments::UnderConsent) -> AccountInformation {
    let under = bank.with_consent(&consent.consent);
    match consent.psu_ip_address {
        Some(psu) => under.attended_by(psu),
        None => under,
    }
}

async fn transactions(
    bank: &Bank,
    asked: &TransactionArguments,
    json: bool,
) -> Result<String, Failure> {
    let under = under(bank, &asked.consent);
    let filter = TransactionFilter {
        to: asked.to,
        booking_status: asked.status.into(),
        page_size: asked.page_size,
        ..TransactionFilter::since(asked.from)
    };
    if asked.card {
        let listed = listed(under.card_transactions(&asked.account, &filter)).await?;
        output(json, &listed, |listed| print::card_transactions(listed))
    } else {
        let listed = listed(under.transactions(&asked.account, &filter)).await?;
        output(json, &listed, |listed| print::transactions(listed))
    }
}

/// A transaction as it is printed: with what its list said of it.
#[derive(Debug, Serialize)]
struct Listed<T> {
    booked: bool,
    #[serde(flatten)]
    transaction: T,
}

async fn listed<T>(
    entries: BoxStream<'static, Result<Entry<T>, bank_client::Error>>,
) -> Result<Vec<Listed<T>>, Failure> {
    let listed = entries.map_ok(|entry| match entry {
        Entry::Booked(transaction) => Listed {
            booked: true,
            transaction,
        },
        Entry::Pending(transaction) => Listed {
            booked: false,
            transaction,
        },
    });
    Ok(listed.try_collect().await?)
}

async fn consent(bank: &Bank, command: &ConsentCommand, json: bool) -> Result<String, Failure> {
    match command {
        ConsentCommand::Create(new) => {
            let psu = new
                .psu_ip_address
                .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let created = bank.create_consent(&request(new)?, psu).await?;
            output(json, &created, |created| {
                let made = format!("{}  {}", created.consent_id, created.consent_status);
                match created.links.get("scaRedirect") {
                    Some(page) => format!("{made}\nthe customer approves it at {page}"),
                    None => made,
                }
            })
        }
        ConsentCommand::Status { id } => {
            let status = bank.consent_status(id).await?;
            output(json, &status, ToString::to_string)
        }
        ConsentCommand::Show { id } => {
            let consent = bank.consent(id).await?;
            output(json, &consent, print::consent)
        }
        ConsentCommand::Delete { id } => {
            bank.delete_consent(id).await?;
            output(json, &serde_json::json!({ "deleted": id }), |_| {
                "deleted".to_owned()
            })
        }
    }
}

fn request(new: &NewConsent) -> Result<ConsentRequest, Failure> {
    let access = if new.all {
        AccountAccess {
            all_psd2: Some(AllAccounts::AllAccounts),
            ..AccountAccess::default()
        }
    } else if new.bank_offered {
        AccountAccess {
            balances: Some(Vec::new()),
            transactions: Some(Vec::new()),
            ..AccountAccess::default()
        }
    } else {
        let list = |ibans: &[Iban]| {
            let references: Vec<_> = ibans.iter().cloned().map(AccountReference::iban).collect();
            (!references.is_empty()).then_some(references)
        };
        AccountAccess {
            accounts: list(&new.accounts),
            balances: list(&new.balances),
            transactions: list(&new.transactions),
            ..AccountAccess::default()
        }
    };
    let in_ninety_days = SystemClock
        .now()
        .date_naive()
        .checked_add_days(Days::new(90));
    let valid_until = new
        .valid_until
        .or(in_ninety_days)
        .ok_or_else(|| failure("the calendar ends", "give --valid-until"))?;
    Ok(ConsentRequest {
        access,
        recurring_indicator: !new.once,
        valid_until,
        frequency_per_day: if new.once {
            std::num::NonZeroU32::MIN
        } else {
            new.frequency
        },
        combined_service_indicator: false,
    })
}

/// One JSON value for programs, or a text for people.
fn output<T: Serialize>(
    json: bool,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<String, Failure> {
    if json {
        serde_json::to_string_pretty(value)
            .map_err(|error| failure(error, "tell the makers of bank-client"))
    } else {
        Ok(text(value))
    }
}
