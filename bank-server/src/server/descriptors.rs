//! Budget of file descriptors for connections.
//!
//! A connection takes one. If all were taken, the operator's listener could accept no connection,
//! and neither a CRL nor a database file could be opened: so some are reserved, and browsers and
//! TPPs cannot exhaust each other's share.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Reserved descriptors: for operators, the database, CRLs, registers and outgoing connections.
const RESERVED: usize = 128;

/// Connections that each kind of listener may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionBudget {
    /// For TPPs and gateways together.
    pub(super) peers: usize,
    /// For browsers.
    pub(super) pages: usize,
}

/// Divides the descriptors of the process, given the configured limit for browsers.
pub(super) fn connection_budget(pages: usize) -> ConnectionBudget {
    let limit = getrlimit(Resource::Nofile).current;
    divide(limit.and_then(|limit| usize::try_from(limit).ok()), pages)
}

fn divide(limit: Option<usize>, pages: usize) -> ConnectionBudget {
    // The maximum number of permits of a semaphore.
    let limit = limit.unwrap_or(usize::MAX).min(usize::MAX >> 3);
    let free = limit.saturating_sub(RESERVED).max(2);
    let pages = pages.min(free / 2);
    ConnectionBudget {
        peers: free - pages,
        pages,
    }
}

/// Raises the number of files that the process may open to what the system allows
/// (`RLIMIT_NOFILE`). For a program to call before it starts a bank; shells often give it 1024.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "limit of open files not raised");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_kept_aside_and_pages_take_half_at_most() {
        for (limit, pages, budget) in [
            (Some(1024), 200, (696, 200)),
            (Some(1024), 1000, (448, 448)),
            (Some(100), 1000, (1, 1)),
        ] {
            let (peers, of_pages) = budget;
            let expected = ConnectionBudget {
                peers,
                pages: of_pages,
            };
            assert_eq!(divide(limit, pages), expected, "{limit:?}, {pages}");
        }
        assert_eq!(divide(None, 1000).pages, 1000);
    }
}
