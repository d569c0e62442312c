//! Online banking: log-in, approval of consents, accounts at other banks; in a browser without scripts and in Chromium.
//!
//! `tests/README.md` says what is tested where.

#![forbid(unsafe_code)]

mod accessibility;
mod browser_story;
mod consent_approval;
mod devices_and_passkeys;
mod identity_provider;
mod login_and_sessions;
mod other_banks;
mod reflow;
mod tls_proxy;
