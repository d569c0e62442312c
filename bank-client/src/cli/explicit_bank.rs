//! One bank described on the command line or named by its id, and the command `consent`.

use std::num::NonZeroU32;
use std::path::Path;

use bank_client::Bank;
use bank_client::environment::{Clock as _, SystemClock};
use chrono::Days;
use shared_types::pki::trust::Anchors;
use shared_types::xs2a::consent::ConsentRequest;

use super::arguments::{Arguments, ConsentCommand, NewConsent, missing};
use super::config::{Profile, credentials, key_location, read};
use super::deviations;
use super::failure::{Failure, failure};
use super::screen::{Screen, consent_table, note, plain};

const ADDRESS: &str = "give --url as https://HOST:PORT";

/// Returns the bank of `--url`, or the one with this id in the directory.
pub(super) fn bank(arguments: &Arguments, id: Option<&str>) -> Result<Bank, Failure> {
    if let (Some(id), None) = (id, &arguments.explicit_bank.url) {
        let profile = Profile::read(&arguments.profile)?;
        return profile.bank(profile.find(id)?);
    }
    let explicit = arguments.explicit_bank.complete()?;
    let mut builder = Bank::builder(
        explicit.url,
        explicit.organisation.clone(),
        anchors(explicit.anchors)?,
        credentials(explicit.certificate, &key_location(explicit.key)?)?,
    );
    if let Some(name) = explicit.name {
        builder = builder.name(name);
    }
    builder.build().map_err(|error| failure(error, ADDRESS))
}

/// Fails if `--url` is given without `--consent`: such a bank has no stored connection.
pub(super) fn needs_consent(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.explicit_bank.url.is_some() {
        return Err(missing(&[("--consent <ID>", false)]).into());
    }
    Ok(())
}

pub(super) fn anchors(path: &Path) -> Result<Anchors, Failure> {
    Anchors::from_pem(&read(path)?).map_err(|error| {
        failure(
            format!("{} {error}", path.display()),
            "check that the file holds the agreed authorities, as PEM",
        )
    })
}

/// Runs `bank-client consent`.
pub(super) async fn consent(
    bank: &Bank,
    command: &ConsentCommand,
    screen: Screen,
) -> Result<(), Failure> {
    match command {
        ConsentCommand::Create(new) => {
            let created = bank
                .create_consent(&request(new)?, new.psu_ip_address)
                .await?;
            deviations::lines(&created.deviations).iter().for_each(note);
            screen.value(&*created, |created| {
                let made = format!("{}  {}", plain(&created.consent_id), created.consent_status);
                match created.links.get("scaRedirect") {
                    Some(page) => format!("{made}\nthe customer approves it at {}", plain(page)),
                    None => made,
                }
            })
        }
        ConsentCommand::Status { id } => {
            let status = bank.consent_status(id).await?;
            screen.value(&status, ToString::to_string)
        }
        ConsentCommand::Show { id } => {
            let consent = bank.consent(id).await?;
            deviations::lines(&consent.deviations).iter().for_each(note);
            screen.value(&*consent, |consent| consent_table(screen, consent))
        }
        ConsentCommand::Delete { id } => {
            bank.delete_consent(id).await?;
            screen.value(&serde_json::json!({ "deleted": id }), |_| {
                "deleted".to_owned()
            })
        }
    }
}

fn request(new: &NewConsent) -> Result<ConsentRequest, Failure> {
    let today = SystemClock.now().date_naive();
    let valid_until = new
        .valid_until
        .or_else(|| today.checked_add_days(Days::new(90)))
        .ok_or_else(|| failure("the calendar ends", "give --valid-until"))?;
    Ok(ConsentRequest {
        access: new.access.requested_or_all(),
        recurring_indicator: !new.once,
        valid_until,
        frequency_per_day: if new.once {
            NonZeroU32::MIN
        } else {
            new.frequency
        },
        combined_service_indicator: false,
    })
}
