//! PEM files of credentials, anchors, intermediates and gateways: reading and validation.

use std::path::PathBuf;

use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::pki::credentials::{Credentials, CredentialsError};
use shared_types::pki::key_location::KeyLocation;
use shared_types::pki::pem::{self, Kind, PemError};
use shared_types::pki::trust::{Anchors, Usage, judge};

use super::gateways::{Gateways, Pinned};
use crate::config_error::ConfigError;

/// A file, and the configuration key that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Such as `xs2a.certificate`.
    pub key: String,
    /// The file.
    pub path: PathBuf,
}

impl Source {
    /// A file that is named by that key.
    pub fn new(key: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            key: key.into(),
            path: path.into(),
        }
    }

    /// Files of a list, each with its index in the key.
    #[must_use]
    pub fn each(key: &str, paths: &[PathBuf]) -> Vec<Self> {
        let named = paths.iter().enumerate();
        named
            .map(|(index, path)| Self::new(format!("{key}[{index}]"), path))
            .collect()
    }

    /// A configuration error about the file.
    #[must_use]
    pub fn fault(&self, problem: &dyn std::fmt::Display) -> ConfigError {
        ConfigError::new(&self.key, format!("{} {problem}", self.path.display()))
    }
}

/// The private key, and the configuration key that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// Such as `xs2a.private_key`.
    pub key: String,
    /// The file, or the token.
    pub location: KeyLocation,
}

impl KeySource {
    /// A private key that is named by that key.
    pub fn new(key: impl Into<String>, location: impl Into<KeyLocation>) -> Self {
        Self {
            key: key.into(),
            location: location.into(),
        }
    }

    /// A configuration error about the private key.
    #[must_use]
    pub fn fault(&self, problem: &dyn std::fmt::Display) -> ConfigError {
        ConfigError::new(&self.key, format!("{} {problem}", self.location))
    }

    /// The file that holds the key, or the PIN of its token.
    pub(super) fn secret_file(&self) -> Option<Source> {
        let file = self.location.secret_file()?;
        Some(Source::new(&self.key, file))
    }
}

/// Files with their contents.
pub(crate) type Files<'a> = Vec<(&'a Source, Vec<u8>)>;

/// Own certificate (with the issuing CA after it) from the first file, and the private key.
pub(super) fn credentials(
    private_key: &KeySource,
    files: Files<'_>,
) -> Result<Credentials, Vec<ConfigError>> {
    let mut files = files.into_iter();
    let (Some((certificate, chain)), secret) = (files.next(), files.next()) else {
        return Err(Vec::new());
    };
    if private_key.location.is_open_to_others() {
        let problem = "is open to others; run chmod 600";
        return Err(vec![private_key.fault(&problem)]);
    }
    let secret = match &private_key.location {
        KeyLocation::File(_) => secret.map(|(_, secret)| secret).unwrap_or_default(),
        KeyLocation::Token(uri) => uri.to_string().into_bytes(),
    };
    Credentials::from_pem(&chain, &secret).map_err(|error| {
        let Source { key, path } = certificate;
        vec![match error {
            CredentialsError::OtherKey => private_key.fault(&format!(
                "{error}; the certificate is that of {key}, {}",
                path.display()
            )),
            error if error.is_of_key() => private_key.fault(&error),
            error => certificate.fault(&error),
        }]
    })
}

/// The anchors of all files.
pub(super) fn anchors(files: Files<'_>) -> Result<Anchors, Vec<ConfigError>> {
    // The errors of each file were reported; an empty list is an error of the configuration.
    Anchors::new(authorities(files)?).map_err(|_| Vec::new())
}

/// The certification authorities of all files.
pub(super) fn authorities(
    files: Files<'_>,
) -> Result<Vec<CertificateDer<'static>>, Vec<ConfigError>> {
    each(files, |source, file| {
        let read = Anchors::from_pem(file).map_err(|error| source.fault(&error))?;
        Ok(read.certificates().to_vec())
    })
}

/// The gateways whose certificates are in the files.
pub(super) fn gateways(files: Files<'_>) -> Result<Gateways, Vec<ConfigError>> {
    let pinned = each(files, |source, file| {
        let found = pem::only(Kind::Certificate, file).map_err(|error| source.fault(&error))?;
        let pinned = found.into_iter().map(|object| {
            let unreadable = PemError::unwanted(
                &object,
                "it cannot be read: openssl x509 -in FILE -noout -text",
            );
            Pinned::new(object.der.into()).ok_or_else(|| source.fault(&unreadable))
        });
        pinned.collect::<Result<Vec<_>, _>>()
    })?;
    Ok(Gateways::new(pinned))
}

/// The contents of all files together, or the errors of each.
fn each<T>(
    files: Files<'_>,
    read: impl Fn(&Source, &[u8]) -> Result<Vec<T>, ConfigError>,
) -> Result<Vec<T>, Vec<ConfigError>> {
    let mut found = Vec::new();
    let mut faults = Vec::new();
    for (source, file) in files {
        match read(source, &file) {
            Ok(more) => found.extend(more),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        Ok(found)
    } else {
        Err(faults)
    }
}

/// The problem of our own certificate at that time. A server can run with it, but no client that
/// verifies servers will connect.
pub(super) fn own_certificate_problem(credentials: &Credentials, now: UnixTime) -> Option<String> {
    let (leaf, intermediates) = credentials.chain().split_first()?;
    // Our own issuer need not be among the trusted anchors. Any CA will do to verify the rest; the
    // last certificate of the chain is the best available.
    let Some(last) = intermediates
        .last()
        .cloned()
        .and_then(|last| Anchors::new(vec![last]).ok())
    else {
        return Some(
            "holds no certificate of the issuing CA after our own; clients could not build the \
             chain"
                .to_owned(),
        );
    };
    judge(&last, leaf, intermediates, Usage::Server, now)
        .err()
        .map(|refusal| refusal.to_string())
}
