//! Arguments of `bank-client consent`.

use std::net::IpAddr;
use std::num::NonZeroU32;

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use shared_types::xs2a::account::AccountReference;
use shared_types::xs2a::consent::{AccountAccess, AllAccounts};
use shared_types::xs2a::iban::Iban;

#[derive(Debug, Subcommand)]
pub(in super::super) enum ConsentCommand {
    /// Requests a consent; the customer then has to approve it at the bank.
    Create(NewConsent),
    /// Shows the status of a consent.
    Status {
        /// The consent's id.
        id: String,
    },
    /// Shows a consent.
    Show {
        /// The consent's id.
        id: String,
    },
    /// Ends a consent.
    Delete {
        /// The consent's id.
        id: String,
    },
}

/// The access that a consent is to grant.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("access").multiple(true))]
pub(in super::super) struct Access {
    /// IBAN of an account whose details are requested; may be given several times.
    #[arg(long, group = "access", value_name = "IBAN")]
    accounts: Vec<Iban>,
    /// IBAN of an account whose balances are requested.
    #[arg(long, group = "access", value_name = "IBAN")]
    balances: Vec<Iban>,
    /// IBAN of an account whose transactions are requested.
    #[arg(long, group = "access", value_name = "IBAN")]
    transactions: Vec<Iban>,
    /// All accounts, with everything that PSD2 covers; the default for a new consent.
    #[arg(
        long,
        group = "access",
        conflicts_with_all = ["accounts", "balances", "transactions", "bank_offered"]
    )]
    all: bool,
    /// The customer chooses the accounts at the bank.
    #[arg(long, group = "access", conflicts_with_all = ["accounts", "balances", "transactions"])]
    bank_offered: bool,
}

#[derive(Debug, Args)]
pub(in super::super) struct NewConsent {
    #[command(flatten)]
    pub(in super::super) access: Access,
    /// Last day of validity, YYYY-MM-DD; 90 days from now, if absent.
    #[arg(long, value_parser = super::day)]
    pub(in super::super) valid_until: Option<NaiveDate>,
    /// Reads a day without the customer.
    #[arg(long, default_value = "4")]
    pub(in super::super) frequency: NonZeroU32,
    /// For one read only.
    #[arg(long)]
    pub(in super::super) once: bool,
    /// The IP address of the customer's device; if absent, none is sent.
    #[arg(long, value_name = "ADDRESS")]
    pub(in super::super) psu_ip_address: Option<IpAddr>,
}

impl Access {
    /// The requested access; all accounts if the command line names none.
    pub(in super::super) fn requested_or_all(&self) -> AccountAccess {
        self.requested().unwrap_or_else(|| AccountAccess {
            all_psd2: Some(AllAccounts::AllAccounts),
            ..AccountAccess::default()
        })
    }

    /// The access that the command line names, if any.
    pub(in super::super) fn requested(&self) -> Option<AccountAccess> {
        if self.all {
            return Some(AccountAccess {
                all_psd2: Some(AllAccounts::AllAccounts),
                ..AccountAccess::default()
            });
        }
        if self.bank_offered {
            return Some(AccountAccess {
                balances: Some(Vec::new()),
                transactions: Some(Vec::new()),
                ..AccountAccess::default()
            });
        }
        let list = |ibans: &[Iban]| {
            let references: Vec<_> = ibans.iter().cloned().map(AccountReference::iban).collect();
            (!references.is_empty()).then_some(references)
        };
        let named = AccountAccess {
            accounts: list(&self.accounts),
            balances: list(&self.balances),
            transactions: list(&self.transactions),
            ..AccountAccess::default()
        };
        (named != AccountAccess::default()).then_some(named)
    }
}
