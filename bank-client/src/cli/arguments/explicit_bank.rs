//! A bank that is told on the command line, and not by a profile.

use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _};
use shared_types::eidas::OrganisationId;

use super::Arguments;

/// How to reach a bank. With `--url` nothing is taken from a profile. `probe` has an address of its own and may do without
/// some of the rest, which it also takes after the command; so what a command needs is checked when it is carried out.
#[derive(Debug, Args)]
#[command(next_help_heading = "One bank without a profile")]
pub(in super::super) struct ByHand {
    /// The bank's address, such as `https://xs2a.bank-b.example`.
    #[arg(long, global = true)]
    pub(in super::super) url: Option<String>,
    /// The bank's organisation id, such as PSDFR-ACPR-20002; no other bank will do.
    #[arg(long, global = true)]
    pub(in super::super) organisation: Option<OrganisationId>,
    /// The agreed certification authorities, as PEM; no others are believed.
    #[arg(long, global = true)]
    pub(in super::super) anchors: Option<PathBuf>,
    /// Our own certificate, then its issuing CA, as PEM.
    #[arg(long, global = true)]
    pub(in super::super) certificate: Option<PathBuf>,
    /// The private key that belongs to it, as PEM.
    #[arg(long, global = true)]
    pub(in super::super) key: Option<PathBuf>,
    /// The name by which messages call the bank.
    #[arg(long, global = true)]
    pub(in super::super) name: Option<String>,
}

/// All that it takes to ask a bank for data.
#[derive(Debug)]
pub(in super::super) struct Complete<'a> {
    pub(in super::super) url: &'a str,
    pub(in super::super) organisation: &'a OrganisationId,
    pub(in super::super) anchors: &'a Path,
    pub(in super::super) certificate: &'a Path,
    pub(in super::super) key: &'a Path,
    pub(in super::super) name: Option<&'a str>,
}

impl ByHand {
    /// All of it, or a refusal of the command line that names whatever is missing.
    pub(in super::super) fn complete(&self) -> Result<Complete<'_>, clap::Error> {
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

    /// Refuses a command line with an address before a command that has no use for one.
    pub(in super::super) fn without_url(&self, says: &str) -> Result<(), clap::Error> {
        if self.url.is_none() {
            return Ok(());
        }
        Err(Arguments::command().error(ErrorKind::ArgumentConflict, says))
    }

    /// Refuses a command line with any of it before a command that takes all of it from the profile.
    pub(in super::super) fn without_any(&self, command: &str) -> Result<(), clap::Error> {
        let given = self.url.is_some()
            || self.organisation.is_some()
            || self.anchors.is_some()
            || self.certificate.is_some()
            || self.key.is_some()
            || self.name.is_some();
        if !given {
            return Ok(());
        }
        let says = format!(
            "`{command}` takes the bank from the directory, and the certificate from the profile: choose another one with \
             --profile, and give none of --url, --organisation, --anchors, --certificate, --key and --name"
        );
        Err(Arguments::command().error(ErrorKind::ArgumentConflict, says))
    }

    /// The anchors, or a refusal of the command line.
    pub(in super::super) fn anchors(&self) -> Result<&Path, clap::Error> {
        let anchors = self.anchors.as_deref();
        anchors.ok_or_else(|| missing(&[("--anchors <ANCHORS>", false)]))
    }

    /// Certificate and key, or neither; one alone is a refusal of the command line.
    pub(in super::super) fn own(&self) -> Result<Option<(&Path, &Path)>, clap::Error> {
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
pub(in super::super) fn missing(wanted: &[(&str, bool)]) -> clap::Error {
    let missing = wanted.iter().filter(|(_, given)| !given);
    let missing = missing.map(|(name, _)| (*name).to_owned()).collect();
    let mut error =
        clap::Error::new(ErrorKind::MissingRequiredArgument).with_cmd(&Arguments::command());
    error.insert(ContextKind::InvalidArg, ContextValue::Strings(missing));
    error
}
