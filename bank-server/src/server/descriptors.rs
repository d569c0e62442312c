//! File descriptors: how many of them connections may take.
//!
//! A connection takes one. Where all were taken, the operator's listener could accept none, and neither a list nor a
//! database file could be opened: so some are kept aside, and pages and TPPs cannot take each other's.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are kept aside: for operators, the database, lists, registers and what the bank asks others.
const RESERVED: usize = 128;

/// How many connections each listener may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// For TPPs and gateways together.
    pub(super) peers: usize,
    /// For browsers.
    pub(super) pages: usize,
}

/// Divides what the process may open, where so many connections of browsers are configured.
pub(super) fn share(pages: usize) -> Share {
    let limit = getrlimit(Resource::Nofile).current;
    divide(limit.and_then(|limit| usize::try_from(limit).ok()), pages)
}

fn divide(limit: Option<usize>, pages: usize) -> Share {
    // A semaphore has no more permits than that.
    let limit = limit.unwrap_or(usize::MAX).min(usize::MAX >> 3);
    let free = limit.saturating_sub(RESERVED).max(2);
    let pages = pages.min(free / 2);
    Share {
        peers: free - pages,
        pages,
    }
}

/// Raises the number of files that the process may open to what the system allows (`RLIMIT_NOFILE`). For a program to call
/// before it starts a bank; shells often give it 1024.
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
        for (limit, pages, share) in [
            (Some(1024), 200, (696, 200)),
            (Some(1024), 1000, (448, 448)),
            (Some(100), 1000, (1, 1)),
        ] {
            let (peers, of_pages) = share;
            let expected = Share {
                peers,
                pages: of_pages,
            };
            assert_eq!(divide(limit, pages), expected, "{limit:?}, {pages}");
        }
        assert_eq!(divide(None, 1000).pages, 1000);
    }
}
