//! The commands.

mod arguments;
mod print;

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
use self::arguments::{Command, Connection, ConsentCommand, NewConsent, TransactionArguments};

/// Cause, and what to do.
pub(crate) struct Failure {
    pub(crate) cause: String,
    pub(crate) advice: &'static str,
}

impl From<bank_client::Error> for Failure {
    fn from(error: bank_client::Error) -> Self {
        Self {
            cause: error.to_string(),
            advice: error.advice(),
        }
    }
}

fn failure(cause: impl std::fmt::Display, advice: &'static str) -> Failure {
    Failure {
        cause: cause.to_string(),
        advice,
    }
}

/// Carries the command out; the text is what to print.
pub(crate) async fn run(arguments: &Arguments) -> Result<String, Failure> {
    let bank = connect(&arguments.connection)?;
    let json = arguments.json;
    match &arguments.command {
        Command::Accounts {
            consent,
            with_balance,
            cards,
        } => {
            let under = under(&bank, consent);
            if *cards {
                let accounts = under.card_accounts(*with_balance).await?;
                output(json, &accounts, print::card_accounts)
            } else {
                let accounts = under.accounts(*with_balance).await?;
                output(json, &accounts, print::accounts)
            }
        }
        Command::Balances {
            consent,
            account,
            card,
        } => {
            let under = under(&bank, consent);
            let balances = if *card {
                under.card_balances(account).await?.balances
            } else {
                under.balances(account).await?.balances
            };
            output(json, &balances, |balances| print::balances(balances))
        }
        Command::Transactions(asked) => transactions(&bank, asked, json).await,
        Command::Consent(command) => consent(&bank, command, json).await,
    }
}

fn connect(connection: &Connection) -> Result<Bank, Failure> {
    const FILES: &str =
        "see that --anchors, --certificate and --key name PEM files that belong together";

    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| failure(format!("{}: {error}", path.display()), FILES))
    };
    let anchors = Anchors::from_pem(&read(&connection.anchors)?)
        .map_err(|error| failure(format!("{} {error}", connection.anchors.display()), FILES))?;
    let credentials =
        Credentials::from_pem(&read(&connection.certificate)?, &read(&connection.key)?)
            .map_err(|error| failure(error, FILES))?;
    let mut builder = Bank::builder(
        &connection.url,
        connection.organisation.clone(),
        anchors,
        credentials,
    );
    if let Some(name) = &connection.name {
        builder = builder.name(name);
    }
    builder
        .build()
        .map_err(|error| failure(error, "give --url as https://HOST:PORT"))
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
        from: asked.from,
        to: asked.to,
        booking_status: asked.status.into(),
        with_balance: false,
        page_size: asked.page_size,
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
                format!("{}  {}", created.consent_id, created.consent_status)
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
