//! Log filter for one of several layers that is evaluated for each event and span.
//!
//! A filter may declare that it enables a callsite always. `tracing-subscriber` then does not
//! evaluate it again there, and uses its last stored result: that of another callsite, if its
//! `enabled` was checked in between, as sqlx does after each statement. The next event would be
//! lost (<https://github.com/tokio-rs/tracing/issues/2519>).

use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, dynamic_filter_fn};
use tracing_subscriber::layer::Filter;

/// The same filter, which never declares a callsite always enabled.
pub(super) fn per_event<S: Subscriber>(filter: impl Filter<S>) -> impl Filter<S> {
    filter.and(dynamic_filter_fn(|_, _| true).with_max_level_hint(LevelFilter::TRACE))
}
