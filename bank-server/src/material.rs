//! The files a configuration names, opened and checked: certificates, keys, anchors.

use std::path::Path;

use chrono::{DateTime, Utc};
use rustls_pki_types::UnixTime;
use shared_types::trust::{Anchors, Usage, judge};

use crate::config::{Config, Fault};
use crate::identity::Tpp;
use bank_client::credentials::Credentials;

/// What a bank needs to open its door.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) credentials: Credentials,
    pub(crate) anchors: Anchors,
    /// What the bank's own certificate says of it.
    pub(crate) itself: Tpp,
}

impl Material {
    /// Opens the files; says all that is wrong, not only the first.
    pub(crate) fn open(config: &Config) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let credentials = credentials(config, &mut faults);
        let anchors = anchors(config, &mut faults);
        let itself = credentials.as_ref().and_then(|credentials| {
            let leaf = credentials.chain().first()?;
            Tpp::of(leaf)
                .map_err(|error| faults.push(Fault::new("xs2a.certificate", error.to_string())))
                .ok()
        });
        match (credentials, anchors, itself) {
            (Some(credentials), Some(anchors), Some(itself)) if faults.is_empty() => Ok(Self {
                credentials,
                anchors,
                itself,
            }),
            _ => Err(faults),
        }
    }

    /// What is wrong with the bank's own certificate at that time. A server can run with it, but no client that knows
    /// its duty will talk to it.
    pub(crate) fn own_certificate_faults(&self, now: DateTime<Utc>) -> Vec<Fault> {
        let Some((leaf, intermediates)) = self.credentials.chain().split_first() else {
            return Vec::new();
        };
        let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        // The bank's own issuer need not be among the anchors it trusts. Any authority will do to judge the rest of it;
        // the last certificate of the chain is the best one at hand.
        let Some(last) = intermediates
            .last()
            .cloned()
            .and_then(|last| Anchors::new(vec![last]).ok())
        else {
            return vec![Fault::new(
                "xs2a.certificate",
                "holds no certificate of the issuing CA after the bank's own; clients could not build the chain",
            )];
        };
        match judge(&last, leaf, intermediates, Usage::Server, now) {
            Ok(_) => Vec::new(),
            Err(refusal) => vec![Fault::new("xs2a.certificate", refusal.to_string())],
        }
    }
}

fn credentials(config: &Config, faults: &mut Vec<Fault>) -> Option<Credentials> {
    let certificate = read("xs2a.certificate", &config.xs2a.certificate, faults);
    let key = read("xs2a.private_key", &config.xs2a.private_key, faults);
    if let Some(problem) = readable_by_others(&config.xs2a.private_key) {
        faults.push(Fault::new("xs2a.private_key", problem));
    }
    Credentials::from_pem(&certificate?, &key?)
        .map_err(|error| faults.push(Fault::new("xs2a.certificate", error.to_string())))
        .ok()
}

fn anchors(config: &Config, faults: &mut Vec<Fault>) -> Option<Anchors> {
    let mut certificates = Vec::new();
    for (index, path) in config.xs2a.anchors.iter().enumerate() {
        let place = format!("xs2a.anchors[{index}]");
        let Some(pem) = read(&place, path, faults) else {
            continue;
        };
        match Anchors::from_pem(&pem) {
            Ok(anchors) => certificates.extend_from_slice(anchors.certificates()),
            Err(error) => faults.push(Fault::new(place, format!("{} {error}", path.display()))),
        }
    }
    // What is wrong with each was said above; that there are none at all is said by `Config::faults`.
    Anchors::new(certificates).ok()
}

fn read(place: &str, path: &Path, faults: &mut Vec<Fault>) -> Option<Vec<u8>> {
    std::fs::read(path)
        .map_err(|error| {
            faults.push(Fault::new(
                place,
                format!("{} cannot be read: {error}", path.display()),
            ));
        })
        .ok()
}

/// The owner alone writes a key, and beside the owner at most a group reads it, as where secrets are mounted.
#[cfg(unix)]
fn readable_by_others(key: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = std::fs::metadata(key).ok()?.permissions().mode();
    (mode & 0o027 != 0).then(|| format!("{} is open to others; run chmod 600", key.display()))
}

#[cfg(not(unix))]
fn readable_by_others(_key: &Path) -> Option<String> {
    None
}
