//! The rules of synchronising, against a bank that changes its mind.
