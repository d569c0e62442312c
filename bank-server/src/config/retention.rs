//! Section `[retention]`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Section `[retention]`: how long the bank keeps data that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Consents and connections to other banks, from their end. Thirteen months by default, because
    /// a customer can object to a payment for that long (Directive (EU) 2015/2366, article 71).
    // A consent can wait for its approval for 30 days.
    #[schema(minimum = 31, maximum = 3_653)]
    pub consents_days: u32,
    /// Authorisations and connections to other banks that were never approved. What was approved is
    /// kept with its consent.
    #[schema(minimum = 31, maximum = 3_653)]
    pub authorisations_days: u32,
    /// Access counts of past days, failed logins, and CRLs that are no longer fetched.
    #[schema(minimum = 2, maximum = 3_653)]
    pub counters_days: u32,
    /// Sessions of online banking, from their last request.
    #[schema(minimum = 1, maximum = 3_653)]
    pub sessions_days: u32,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            consents_days: 396,
            authorisations_days: 396,
            counters_days: 35,
            sessions_days: 1,
        }
    }
}
