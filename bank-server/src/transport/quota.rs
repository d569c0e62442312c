//! How many connections each organisation may hold.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared_types::eidas::OrganisationId;

/// The connections of all organisations, counted over all workers.
///
/// Those whose certificate names no organisation are counted together.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    limit: usize,
    held: Arc<Mutex<HashMap<Option<OrganisationId>, usize>>>,
}

/// One connection's place among those of its organisation; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    quota: Quota,
    organisation: Option<OrganisationId>,
    number: usize,
}

impl Quota {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            held: Arc::default(),
        }
    }

    pub(super) fn take(&self, organisation: Option<&OrganisationId>) -> Place {
        let mut held = self.held();
        let number = held.entry(organisation.cloned()).or_default();
        *number += 1;
        Place {
            quota: self.clone(),
            organisation: organisation.cloned(),
            number: *number,
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Option<OrganisationId>, usize>> {
        // Nothing panics while the lock is held; if it did, the counts would still be whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// One more than allowed: the peer is told so, over HTTP, and nothing else.
    pub(super) fn is_excess(&self) -> bool {
        self.number > self.quota.limit
    }

    /// So many more than allowed that the peer is not even told.
    pub(super) fn is_flood(&self) -> bool {
        self.number > self.quota.limit.saturating_mul(2)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.quota.held();
        if let Some(number) = held.get_mut(&self.organisation) {
            *number -= 1;
            if *number == 0 {
                held.remove(&self.organisation);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_for_each_organisation_and_given_back() {
        let quota = Quota::new(1);
        let one: OrganisationId = "PSDDE-BAFIN-1".parse().unwrap();
        let two: OrganisationId = "PSDDE-BAFIN-2".parse().unwrap();
        let first = quota.take(Some(&one));
        let second = quota.take(Some(&one));
        let third = quota.take(Some(&one));
        assert_eq!(
            [&first, &second, &third].map(Place::is_excess),
            [false, true, true]
        );
        assert_eq!(
            [&first, &second, &third].map(Place::is_flood),
            [false, false, true]
        );
        assert!(!quota.take(Some(&two)).is_excess());
        assert!(!quota.take(None).is_excess());
        drop((first, second, third));
        assert!(!quota.take(Some(&one)).is_excess());
        assert!(quota.held().is_empty());
    }
}
