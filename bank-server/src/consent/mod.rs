//! Rules of consents: validation of requests, grants, the state machine, and the access frequency.
//!
//! All of it is pure but [`authorisation`], which applies the rules to the store.

pub mod authorisation;
mod grants;
mod request;
mod state;
mod usage;

pub use self::grants::{NotTheCustomers, chosen, grants, is_bank_offered};
pub use self::request::{Violation, check_request};
pub use self::state::{Event, ONE_OFF_UNUSED, after, current_status, last_action_day, next};
pub use self::usage::{Allowance, allowance, first_day, last_day};
