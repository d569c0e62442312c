//! TPP records: the names under which the bank shows TPPs to customers.

/// A TPP, as register and certificate name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TppRecord {
    /// Its authorisation number.
    pub organisation: String,
    /// Its legal name.
    pub name: String,
    /// The authority that licensed it, such as `DE-BAFIN`.
    pub authority: String,
}
