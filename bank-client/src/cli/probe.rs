//! `bank-client probe`: the steps of the handshake as text.

use std::fmt::Write as _;

use bank_client::probe::{Probe, Report};

use super::arguments::Connection;
use super::{Failure, Output, anchors, credentials, failure, output};

/// How far facts stand from the left, under the names of the steps.
const INDENT: &str = "                ";

pub(super) async fn run(
    address: &str,
    connection: &Connection,
    json: bool,
) -> Result<Output, Failure> {
    connection.without_url()?;
    let (trusted, own) = (connection.anchors()?, connection.own()?);
    let wrong = |error| failure(error, "give the address as https://HOST:PORT");
    let mut probe = Probe::new(address, anchors(trusted)?).map_err(wrong)?;
    if let Some((certificate, key)) = own {
        probe = probe.credentials(credentials(certificate, key)?);
    }
    if let Some(organisation) = &connection.organisation {
        probe = probe.organisation(organisation.clone());
    }
    let report = probe.run().await.map_err(wrong)?;
    Ok(Output {
        text: output(json, &report, text)?,
        good: report.granted,
    })
}

/// A line for each step, its facts below, and the sentence at the end.
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
            let _ = writeln!(text, "{INDENT}{}: {}", fact.name, fact.value);
        }
    }
    let _ = write!(text, "\n{}", report.sentence);
    text
}
