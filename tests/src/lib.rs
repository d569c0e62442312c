//! What the black-box tests stand on: banks that run, a TPP that sends whatever it likes, and programs.

#![forbid(unsafe_code)]
#![expect(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::format_push_string,
    reason = "this crate is tests: a panic is how a test fails, and nobody else reads its interface"
)]

pub mod banks;
pub mod front;
pub mod http;
pub mod programs;
pub mod reference;
