//! Rotation of certificates while calls are in flight.
//!
//! [`Bank::replace_credentials`], [`Bank::replace_anchors`] and [`Bank::replace_revocation`] take
//! effect on the next call, over a new connection. Calls under way end undisturbed on the
//! connection they began with. An invalid replacement is refused, and the old one
//! stays. [`CredentialFiles`] reads certificate and key again whenever their files change:
//!
//! ```no_run
//! # async fn example(bank: bank_client::Bank) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use bank_client::rotation::CredentialFiles;
//!
//! let (files, _) = CredentialFiles::open("qwac.pem", "qwac.key")?;
//! files
//!     .watch(Duration::from_millis(500), |read| match read {
//!         Ok(credentials) => match bank.replace_credentials(credentials) {
//!             Ok(()) => println!("the new certificate is in use"),
//!             Err(refused) => eprintln!("the new certificate {refused}; the old one stays"),
//!         },
//!         Err(error) => eprintln!("{error}; the old certificate stays"),
//!     })
//!     .await;
//! # Ok(())
//! # }
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::UnixTime;
use shared_types::files::FileWatcher;
use shared_types::pki::credentials::{Credentials, CredentialsError};
use shared_types::pki::eidas::{IdentityError, OrganisationId, organisation_of};
use shared_types::pki::key_location::KeyLocation;
use shared_types::pki::trust::{Anchors, Refusal, Usage, judge, validity};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::bank::Bank;
use crate::error::ConfigurationError;
use crate::revocation::Revocation;

/// Fault of a replacement. The previous certificate stays in use.
#[derive(Debug, thiserror::Error)]
pub enum ReplacementRefused {
    /// No bank would let us in with the certificate at this time: it has expired, is not valid yet,
    /// or is not for clients.
    #[error("cannot be used: {0}")]
    Unusable(#[from] Refusal),
    /// The certificate does not name an organisation.
    #[error("cannot be used: {0}")]
    NoOrganisation(#[from] IdentityError),
    /// It is another organisation's. Consents belong to an organisation: none of ours would be good
    /// any more.
    #[error("is of {new}, and we are {current}")]
    AnotherOrganisation {
        /// Organisation of the certificate in use.
        current: OrganisationId,
        /// Organisation of the new one.
        new: OrganisationId,
    },
    /// None of the anchors is within its own validity: no bank would be trusted.
    #[error("hold no anchor that is valid at this time")]
    NoValidAnchor,
    /// TLS or HTTP cannot be set up with it.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
}

impl Bank {
    /// Shows another certificate to the bank from the next call on.
    ///
    /// Refused is one that has expired or is not valid yet by the handle's clock, one that is not
    /// for TLS clients, and one of another organisation. Clones of the handle change along. It
    /// takes no time worth mentioning: the new connection is made by the next call.
    pub fn replace_credentials(&self, new: Credentials) -> Result<(), ReplacementRefused> {
        let now = self.inner.clock.unix();
        self.reconnect(|setup| {
            check(&new, now)?;
            let found = organisation_of_own(&new)?;
            // Who had no organisation before can only win.
            if let Ok(current) = organisation_of_own(&setup.credentials)
                && current != found
            {
                return Err(ReplacementRefused::AnotherOrganisation {
                    current,
                    new: found,
                });
            }
            setup.credentials = new;
            Ok(())
        })
    }

    /// Believes other authorities from the next call on. An authority is replaced by its successor
    /// in two steps: first by both, for an overlap, then by the successor alone.
    ///
    /// Refused are anchors none of which is within its own validity by the handle's clock.
    pub fn replace_anchors(&self, new: Anchors) -> Result<(), ReplacementRefused> {
        let now = self.inner.clock.unix();
        self.reconnect(|setup| {
            if !new.any_valid_at(now) {
                return Err(ReplacementRefused::NoValidAnchor);
            }
            setup.anchors = new;
            Ok(())
        })
    }

    /// Goes by other lists of revoked certificates from the next call on.
    pub fn replace_revocation(&self, new: Revocation) -> Result<(), ConfigurationError> {
        self.reconnect(|setup| {
            setup.revocation = new;
            Ok(())
        })
    }
}

/// Validates our certificate as a bank would, as far as we can. Its issuer need not be among
/// the anchors that we trust; the last certificate of the chain stands for it.
fn check(credentials: &Credentials, now: UnixTime) -> Result<(), Refusal> {
    let (leaf, above) = credentials
        .chain()
        .split_first()
        .ok_or(Refusal::NoCertificate)?;
    let issuer = above.last().cloned();
    if let Some(issuer) = issuer.and_then(|issuer| Anchors::new(vec![issuer]).ok()) {
        return judge(&issuer, leaf, above, Usage::Client, now).map(|_| ());
    }
    // It may be an anchor of the bank's itself that issued it.
    validity(leaf).ok_or(Refusal::Unreadable)?.check(now)
}

fn organisation_of_own(credentials: &Credentials) -> Result<OrganisationId, IdentityError> {
    let leaf = credentials.chain().first();
    organisation_of(leaf.ok_or(IdentityError::Unreadable)?)
}

/// A certificate and its key in two PEM files, and whether they have changed.
///
/// In place of the key's file there can be a key on a token, by its PKCS#11 URI; what is watched
/// then is the certificate and the file with the PIN. Among the keys that the URI names, the
/// certificate's is used, so that a new certificate brings its key along.
///
/// Two files cannot be replaced in one step. While one is new and the other still old, the pair
/// does not fit and is reported as such; once both fit, it is read as if nothing had been. Each
/// file is best replaced by renaming, so that none is seen half written; if it is seen so, that is
/// no more than another pair that does not fit.
#[derive(Debug)]
pub struct CredentialFiles {
    certificate: PathBuf,
    key: KeyLocation,
    watched: FileWatcher,
}

/// Fault for which two files are no certificate and key.
#[derive(Debug, thiserror::Error)]
pub enum CredentialFilesError {
    /// One cannot be read.
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        error: io::Error,
    },
    /// Their content does not do.
    #[error("{} {error}", path.display())]
    Credentials {
        /// The file that is wrong: the certificate's, or the key's; or the key's URI.
        path: PathBuf,
        /// The fault.
        error: CredentialsError,
    },
}

impl CredentialFiles {
    /// Reads both files. `certificate` holds our own certificate, then the issuing CA; `key` the
    /// private key, or is the PKCS#11 URI of one on a token. That is used once, which blocks for
    /// 10 s at most.
    pub fn open(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<(Self, Credentials), CredentialFilesError> {
        let (certificate, key) = (certificate.into(), key.into());
        let key = KeyLocation::try_from(key.as_path()).map_err(|error| {
            CredentialFilesError::Credentials {
                // The faulty URI may hold a PIN.
                path: PathBuf::from("the URI of the key"),
                error: error.into(),
            }
        })?;
        let secret = key.secret_file().map(Path::to_owned);
        let files = std::iter::once(certificate.clone()).chain(secret);
        let mut files = Self {
            watched: FileWatcher::new(files.collect()),
            certificate,
            key,
        };
        // The first look always reads.
        let contents = files.watched.changed(true).unwrap_or_default();
        let credentials = files.credentials(contents)?;
        Ok((files, credentials))
    }

    /// Content of the files now, if it is something else than at the last look. A key on a token is
    /// used once then, which blocks for 10 s at most.
    ///
    /// Cost: where nothing changed, two questions to the file system.
    pub fn look(&mut self) -> Option<Result<Credentials, CredentialFilesError>> {
        let contents = self.watched.changed(false)?;
        Some(self.credentials(contents))
    }

    /// Looks again and again, with that time between two looks, and hands on what has changed: new
    /// credentials, or why there are none. Runs for as long as it is polled.
    pub async fn watch(
        mut self,
        every: Duration,
        mut take: impl FnMut(Result<Credentials, CredentialFilesError>),
    ) {
        let mut tick = interval(every.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let looked = spawn_blocking(move || {
                let found = self.look();
                (self, found)
            });
            let found;
            (self, found) = match looked.await {
                Ok(looked) => looked,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            if let Some(found) = found {
                take(found);
            }
        }
    }

    fn credentials(
        &self,
        contents: Vec<io::Result<Vec<u8>>>,
    ) -> Result<Credentials, CredentialFilesError> {
        let unreadable = |path: &Path, error| CredentialFilesError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let mut contents = contents.into_iter();
        let mut next = |path: &Path| {
            contents
                .next()
                .unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
                .map_err(|error| unreadable(path, error))
        };
        let chain = next(&self.certificate)?;
        let secret = self.key.secret_file().map(&mut next).transpose()?;
        let key = match &self.key {
            KeyLocation::File(_) => secret.unwrap_or_default(),
            KeyLocation::Token(uri) => uri.to_string().into_bytes(),
        };
        Credentials::from_pem(&chain, &key).map_err(|error| CredentialFilesError::Credentials {
            path: if error.is_of_key() {
                PathBuf::from(self.key.to_string())
            } else {
                self.certificate.clone()
            },
            error,
        })
    }
}
