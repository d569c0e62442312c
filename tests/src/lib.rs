//! What the black-box tests stand on: banks that run, a TPP that sends whatever it likes, and programs.

#![forbid(unsafe_code)]

pub mod banks;
pub mod front;
pub mod gateway;
pub mod http;
pub mod patience;
pub mod programs;
pub mod reference;
