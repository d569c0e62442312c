//! Consents, step by step.

use std::net::IpAddr;
use std::num::NonZeroU32;

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use shared_types::account::AccountReference;
use shared_types::consent::{AccountAccess, AllAccounts};
use shared_types::iban::Iban;

#[derive(Debug, Subcommand)]
pub(in super::super) enum ConsentCommand {
    /// Asks for a consent; the customer then has to approve it at the bank.
    Create(NewConsent),
    /// Says where a consent stands.
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

/// What a consent is to open.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("access").multiple(true))]
pub(in super::super) struct Access {
    /// IBAN whose details are asked for; may be given several times.
    #[arg(long, group = "access", value_name = "IBAN")]
    accounts: Vec<Iban>,
    /// IBAN whose balances are asked for.
    #[arg(long, group = "access", value_name = "IBAN")]
    balances: Vec<Iban>,
    /// IBAN whose transactions are asked for.
    #[arg(long, group = "access", value_name = "IBAN")]
    transactions: Vec<Iban>,
    /// All accounts, with everything PSD2 opens; so it is for a new consent, if nothing else is asked for.
    #[arg(long, group = "access", conflicts_with_all = ["accounts", "balances", "transactions", "bank_offered"])]
    all: bool,
    /// The customer chooses the accounts at the bank.
    #[arg(long, group = "access", conflicts_with_all = ["accounts", "balances", "transactions"])]
    bank_offered: bool,
}

#[derive(Debug, Args)]
pub(in super::super) struct NewConsent {
    #[command(flatten)]
    pub(in super::super) access: Access,
    /// Last day; 90 days from now, if absent.
    #[arg(long)]
    pub(in super::super) valid_until: Option<NaiveDate>,
    /// Reads a day without the customer.
    #[arg(long, default_value = "4")]
    pub(in super::super) frequency: NonZeroU32,
    /// For one read only.
    #[arg(long)]
    pub(in super::super) once: bool,
    /// The address from which the customer reaches the bank; if absent, none is sent.
    #[arg(long, value_name = "ADDRESS")]
    pub(in super::super) psu_ip_address: Option<IpAddr>,
}

impl Access {
    /// As it is asked for: of all accounts, if nothing is said.
    pub(in super::super) fn wanted(&self) -> AccountAccess {
        self.told().unwrap_or_else(|| AccountAccess {
            all_psd2: Some(AllAccounts::AllAccounts),
            ..AccountAccess::default()
        })
    }

    /// What is said on the command line, if anything is.
    pub(in super::super) fn told(&self) -> Option<AccountAccess> {
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
