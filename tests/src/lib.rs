//! Helpers of the black-box tests: running banks and authorities, TPP clients, and programs.

#![forbid(unsafe_code)]

pub mod authority;
pub mod banks;
pub mod browser;
pub mod child_process;
pub mod chromium;
pub mod closed_port;
pub mod cluster;
pub mod consent_requests;
pub mod core_double;
pub mod customer;
pub mod fault_injection;
pub mod files;
pub mod first_time_user;
pub mod foreign;
pub mod gateway;
pub mod generators;
pub mod handshake;
pub mod held_connection;
pub mod http;
pub mod http2_frames;
pub mod issuing;
pub mod ledger;
pub mod log_capture;
pub mod lone_bank;
pub mod many_banks;
pub mod oidc_provider;
pub mod openssl_responder;
pub mod operator;
pub mod ports;
pub mod process;
pub mod programs;
pub mod reference;
pub mod reference_core;
pub mod running_sandbox;
pub mod sca_methods_double;
pub mod schema_values;
pub mod script;
pub mod scripted_provider;
pub mod sdk;
pub mod soft_token;
pub mod stores;
pub mod tcp_proxy;
pub mod tls_terminator;
pub mod wait;
