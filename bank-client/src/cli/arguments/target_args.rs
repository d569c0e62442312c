//! Which of the connected banks are asked.

use std::net::IpAddr;

use clap::Args;

/// TargetArgs to ask: all banks that are connected, some of them, or one under a consent that is told.
#[derive(Debug, Args)]
pub(in super::super) struct TargetArgs {
    /// At this bank alone, by its id, BIC or name; may be given several times.
    #[arg(long, value_name = "BANK")]
    pub(in super::super) bank: Vec<String>,
    /// Under this consent, instead of those that are kept: at the bank of --url, or at one --bank.
    #[arg(long, value_name = "ID")]
    pub(in super::super) consent: Option<String>,
    /// The customer is present, and this is the address of her device: banks count other reads only.
    #[arg(long, value_name = "ADDRESS")]
    pub(in super::super) psu_ip_address: Option<IpAddr>,
}
