//! Arguments that describe a bank on the command line instead of in a profile.

use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _};
use shared_types::pki::eidas::OrganisationId;

use super::Arguments;

/// Address and credentials for one bank. With `--url` no profile is read. `probe` has its own
/// address argument and needs fewer of these, so each command checks when it runs that those it
/// needs are given.
#[derive(Debug, Args)]
#[command(next_help_heading = "One bank without a profile")]
pub(in super::super) struct ExplicitBank {
    /// The bank's address, such as `https://xs2a.bank-b.example`.
    #[arg(long, global = true)]
    pub(in super::super) url: Option<String>,
    /// The bank's organisation id, such as PSDFR-ACPR-20002; any other bank is refused.
    #[arg(long, global = true)]
    pub(in super::super) organisation: Option<OrganisationId>,
    /// The agreed certification authorities, as PEM; no others are trusted.
    #[arg(long, global = true)]
    pub(in super::super) anchors: Option<PathBuf>,
    /// Our own certificate, then its issuing CA, as PEM.
    #[arg(long, global = true)]
    pub(in super::super) certificate: Option<PathBuf>,
    /// The private key of the certificate, as PEM; or the PKCS#11 URI of a key on a token.
    #[arg(long, global = true)]
    pub(in super::super) key: Option<PathBuf>,
    /// The name of the bank in messages.
    #[arg(long, global = true)]
    pub(in super::super) name: Option<String>,
}

/// The arguments, all present that are required to read from a bank.
#[derive(Debug)]
pub(in super::super) struct Complete<'a> {
    pub(in super::super) url: &'a str,
    pub(in super::super) organisation: &'a OrganisationId,
    pub(in super::super) anchors: &'a Path,
    pub(in super::super) certificate: &'a Path,
    pub(in super::super) key: &'a Path,
    pub(in super::super) name: Option<&'a str>,
}

impl ExplicitBank {
    /// Returns the complete arguments, or a command-line error that names those that are missing.
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

    /// Fails if `--url` is given for a command that does not use it.
    pub(in super::super) fn without_url(&self, says: &str) -> Result<(), clap::Error> {
        if self.url.is_none() {
            return Ok(());
        }
        Err(Arguments::command().error(ErrorKind::ArgumentConflict, says))
    }

    /// Fails if any of these arguments is given for a command that uses the profile's.
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
            "`{command}` takes the bank from the directory, and the certificate from the profile: \
             choose another one with --profile, and give none of --url, --organisation, --anchors, \
             --certificate, --key and --name"
        );
        Err(Arguments::command().error(ErrorKind::ArgumentConflict, says))
    }

    /// Returns the trust anchors, or a command-line error.
    pub(in super::super) fn anchors(&self) -> Result<&Path, clap::Error> {
        let anchors = self.anchors.as_deref();
        anchors.ok_or_else(|| missing(&[("--anchors <ANCHORS>", false)]))
    }

    /// Returns certificate and key, or neither; one alone is a command-line error.
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

/// Clap's own error for missing required arguments.
pub(in super::super) fn missing(wanted: &[(&str, bool)]) -> clap::Error {
    let missing = wanted.iter().filter(|(_, given)| !given);
    let missing = missing.map(|(name, _)| (*name).to_owned()).collect();
    let mut error =
        clap::Error::new(ErrorKind::MissingRequiredArgument).with_cmd(&Arguments::command());
    error.insert(ContextKind::InvalidArg, ContextValue::Strings(missing));
    error
}
