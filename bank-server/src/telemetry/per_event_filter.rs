//! Log filter that is evaluated for each event and span, for a subscriber with several layers.
//!
//! Works around <https://github.com/tokio-rs/tracing/issues/2519>, which loses events. A filter may
//! register its interest in a callsite as "always". `tracing-subscriber` then does not evaluate the
//! filter for that callsite's events, but uses the result that the thread stored last. If another
//! callsite's `enabled` was checked in between, as sqlx does after each statement, that result is
//! the other callsite's.

use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, dynamic_filter_fn};
use tracing_subscriber::layer::Filter;

/// Returns `filter` with its interest never "always".
///
/// `dynamic_filter_fn` enables everything, but its interest is "sometimes"; so is that of the
/// combination.
pub(super) fn per_event<S: Subscriber>(filter: impl Filter<S>) -> impl Filter<S> {
    filter.and(dynamic_filter_fn(|_, _| true).with_max_level_hint(LevelFilter::TRACE))
}
