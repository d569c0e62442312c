//! The rules of consents: what may be asked for, what an approval opens, how a consent lives, and how often it may be
//! used.
//!
//! All of it is pure but [`authorisation`], which applies the rules to the store.

pub mod authorisation;
mod grants;
mod request;
mod state;
mod usage;

pub use self::grants::{NotTheCustomers, chosen, grants, is_bank_offered};
pub use self::request::{Violation, check_request};
pub use self::state::{Event, ONE_OFF_UNUSED, after, last_action_day, next, standing};
pub use self::usage::{Allowance, ConsentRules, allowance};
