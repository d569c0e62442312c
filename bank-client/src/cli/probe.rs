//! The command `probe`: the steps of the handshake as text.

use std::fmt::Write as _;

use bank_client::probe::{Probe, Report};

use super::arguments::Arguments;
use super::config::{Profile, credentials, key_location};
use super::explicit_bank::anchors;
use super::failure::{Exit, Failure, failure};
use super::screen::{Screen, plain};

/// Indentation of facts under the names of the steps.
const INDENT: &str = "                ";

const ADDRESS: &str = "give the address as https://HOST:PORT";

pub(super) async fn run(
    address: &str,
    arguments: &Arguments,
    screen: Screen,
) -> Result<Exit, Failure> {
    let explicit_bank = &arguments.explicit_bank;
    explicit_bank.without_url("give the address to probe after `probe`, not in --url")?;
    let probe = if address.contains("://") {
        explicit_probe(address, arguments)?
    } else {
        directory_probe(address, arguments)?
    };
    let report = probe.run().await.map_err(|error| failure(error, ADDRESS))?;
    let granted = report.granted;
    screen.value(&report, text)?;
    Ok(if granted { Exit::Done } else { Exit::Failed })
}

/// A probe of an address, with the command line's anchors and credentials.
fn explicit_probe(address: &str, arguments: &Arguments) -> Result<Probe, Failure> {
    let explicit_bank = &arguments.explicit_bank;
    let (trusted, own) = (explicit_bank.anchors()?, explicit_bank.own()?);
    let mut probe =
        Probe::new(address, anchors(trusted)?).map_err(|error| failure(error, ADDRESS))?;
    if let Some((certificate, key)) = own {
        probe = probe.credentials(credentials(certificate, &key_location(key)?)?);
    }
    if let Some(organisation) = &explicit_bank.organisation {
        probe = probe.organisation(organisation.clone());
    }
    Ok(probe)
}

/// A probe of a bank in the directory, with the profile's credentials.
fn directory_probe(query: &str, arguments: &Arguments) -> Result<Probe, Failure> {
    let profile = Profile::read(&arguments.profile)?;
    let entry = profile.find(query)?;
    let trusted = entry
        .trusted()
        .map_err(|error| failure(error, "correct the bank's anchors in the directory"))?;
    let probe = Probe::new(&entry.url, trusted).map_err(|error| failure(error, ADDRESS))?;
    let probe = probe.credentials(profile.credentials.clone());
    Ok(probe.organisation(entry.organisation.clone()))
}

/// The report as text: a line for each step, its facts below, and the conclusion.
fn text(report: &Report) -> String {
    let mut text = format!(
        "{} at {}\n\n",
        report.url,
        report.at.format("%Y-%m-%dT%H:%M:%SZ")
    );
    for (index, step) in report.steps.iter().enumerate() {
        // Writing to a text does not fail.
        let _ = writeln!(text, "{} {:<12}  {}", index + 1, step.outcome, step.name);
        for fact in &step.facts {
            let (name, value) = (&fact.name, plain(&fact.value));
            let _ = writeln!(text, "{INDENT}{name}: {value}");
        }
    }
    let _ = write!(text, "\n{}", report.sentence);
    text
}
