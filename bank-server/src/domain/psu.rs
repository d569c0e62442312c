//! PSU ids: the ids by which a bank identifies its customers.

use std::fmt;

/// The id with which a customer (PSU) logs in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PsuId(pub String);

impl PsuId {
    /// Checks an id that a customer is to be given: it can be entered where customers log in. The
    /// form there counts UTF-16 code units, and blanks at the ends are cut off.
    pub fn check(id: &str) -> Result<(), &'static str> {
        if !(1..=70).contains(&id.encode_utf16().count()) {
            Err("a customer id has 1 to 70 characters")
        } else if id.trim() != id {
            Err("a customer id has no blanks at its ends")
        } else if id.contains(char::is_control) {
            Err("a customer id has no control characters")
        } else {
            Ok(())
        }
    }
}

/// Hides the id: it stays out of logs.
impl fmt::Debug for PsuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<psu>")
    }
}
