//! Arguments that select the connections a command reads from.

use std::net::IpAddr;

use clap::Args;

/// The selection: all connected banks, some of them, or one bank under an explicit consent.
#[derive(Debug, Args)]
pub(in super::super) struct TargetArgs {
    /// Only this bank, by its id, BIC or name; may be given several times.
    #[arg(long, value_name = "BANK")]
    pub(in super::super) bank: Vec<String>,
    /// Under this consent instead of the stored ones: at the bank of --url, or at one --bank.
    #[arg(long, value_name = "ID")]
    pub(in super::super) consent: Option<String>,
    /// The customer is present, with this IP address; banks count only reads without the customer.
    #[arg(long, value_name = "ADDRESS")]
    pub(in super::super) psu_ip_address: Option<IpAddr>,
}
