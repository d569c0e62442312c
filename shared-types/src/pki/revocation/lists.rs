//! Set of certificate revocation lists (CRLs), and their status for a certificate.

use std::collections::HashMap;
use std::sync::Arc;

use rustls_pki_types::UnixTime;

use super::issuer::IssuerId;
use super::list::{Entry, List, ListError};
use super::path_certificate::PathCertificate;
use super::statuses::RevocationStatus;

/// The revocation lists at hand. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lists(HashMap<IssuerId, Vec<Arc<List>>>);

impl Lists {
    /// Adds a list, or puts it in the place of the one it replaces.
    pub fn add(&mut self, list: Arc<List>) -> Result<(), ListError> {
        let of_issuer = self.0.entry(list.issuer().id()).or_default();
        match of_issuer.iter_mut().find(|known| list.replaces(known)) {
            Some(known) if list.is_older_than(known) => Err(ListError::Older {
                this_update: list.this_update(),
                at_hand: known.this_update(),
            }),
            Some(known) => {
                *known = list;
                Ok(())
            }
            None => {
                of_issuer.push(list);
                Ok(())
            }
        }
    }

    /// Whether that very list is at hand.
    #[must_use]
    pub fn holds(&self, list: &List) -> bool {
        let of_issuer = self.0.get(&list.issuer().id());
        of_issuer
            .into_iter()
            .flatten()
            .any(|known| known.is_the_same_as(list))
    }

    /// Keeps those that are still of use.
    pub fn retain(&mut self, mut is_of_use: impl FnMut(&List) -> bool) {
        for of_issuer in self.0.values_mut() {
            of_issuer.retain(|list| is_of_use(list));
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<List>> {
        self.0.values().flatten()
    }

    /// Returns the status of a certificate at that time. A revocation in a stale list still counts.
    ///
    /// Cost: one binary search for each list of the issuer; usually one.
    pub(super) fn status(&self, link: &PathCertificate, now: UnixTime) -> RevocationStatus {
        let of_issuer = self.0.get(&link.issuer.id());
        let mut status = RevocationStatus::Unknown;
        for list in of_issuer.into_iter().flatten() {
            // Also where the list does not speak for it: a serial number is that of one certificate
            // of its issuer.
            if let Some(Entry { since, reason }) = list.find(&link.serial) {
                return RevocationStatus::Revoked { since, reason };
            }
            if list.covers(link) && list.check_fresh(now).is_ok() {
                let until = match status {
                    RevocationStatus::Good { until } => until.max(list.next_update()),
                    _ => list.next_update(),
                };
                status = RevocationStatus::Good { until };
            }
        }
        status
    }
}
