//! The façade for programs without a runtime, in one, and in one that has a runtime after all.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use bank_client::blocking::Runtime;
use bank_client::{Entry, ErrorKind};
use chrono::NaiveDate;
use shared_types::xs2a::consent::{AccountAccess, AllAccounts, ConsentRequest, ConsentStatus};
use tests::consent_requests::since;
use tests::many_banks::{Manners, ManyBanks};

/// Banks on a runtime of their own, for as long as that runs.
fn banks<const N: usize>(manners: [Manners; N]) -> (ManyBanks, tokio::runtime::Runtime) {
    let theirs = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let banks = theirs.block_on(ManyBanks::start(manners, Duration::ZERO));
    (banks, theirs)
}

#[test]
fn a_consent_is_asked_for_read_and_ended() {
    let (banks, _running) = banks([Manners::Good]);
    let runtime = Runtime::start().unwrap();
    let bank = runtime.bank(banks.handles(|_, bank| bank).remove(0));
    let consent = ConsentRequest {
        access: AccountAccess {
            all_psd2: Some(AllAccounts::AllAccounts),
            ..AccountAccess::default()
        },
        recurring_indicator: true,
        valid_until: NaiveDate::from_ymd_opt(2027, 1, 1).unwrap(),
        frequency_per_day: NonZeroU32::MIN,
        combined_service_indicator: false,
    };
    let psu = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let id = bank
        .create_consent(&consent, psu)
        .unwrap()
        .into_inner()
        .consent_id;
    assert_eq!(bank.consent_status(&id).unwrap(), ConsentStatus::Valid);
    bank.delete_consent(&id).unwrap();
    assert_eq!(banks.banks[0].requests(), 3);
}

#[test]
fn accounts_and_transactions_are_read() {
    let (banks, _running) = banks([Manners::Good]);
    let runtime = Runtime::start().unwrap();
    let bank = runtime.bank(banks.handles(|_, bank| bank).remove(0));
    // What is in use keeps its runtime.
    drop(runtime);
    let accounts = bank.with_consent("c");
    drop(bank);
    assert_eq!(accounts.accounts(true).unwrap().len(), 2);
    assert_eq!(accounts.balances("current").unwrap().balances.len(), 1);
    let ids = accounts
        .transactions("current", &since())
        .map(|entry| match entry.unwrap() {
            Entry::Booked(transaction) | Entry::Pending(transaction) => {
                transaction.transaction_id.unwrap().to_string()
            }
        });
    assert_eq!(
        ids.collect::<Vec<_>>(),
        ["current-1-0", "current-1-1", "current-1-2"]
    );
}

#[test]
fn many_banks_are_iterated() {
    let (banks, _running) = banks([Manners::Good, Manners::Closed, Manners::Good]);
    let members = banks.handles(|_, bank| bank).into_iter();
    let aggregator = bank_client::aggregator::Aggregator::builder()
        .members(members.map(|bank| bank.with_consent("c")))
        .build();
    let aggregator = Runtime::start().unwrap().aggregator(aggregator);
    let (heard, not): (Vec<_>, Vec<_>) = aggregator
        .accounts(true)
        .partition(|answer| answer.outcome.is_ok());
    assert_eq!((heard.len(), not.len()), (2, 1));
    let error = not[0].outcome.as_ref().unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::Unreachable { .. }),
        "{error:?}"
    );
    assert_eq!(aggregator.balances().count(), 5);
    let entries = aggregator.transactions(&since());
    assert_eq!(
        entries.filter(|entry| entry.outcome.is_ok()).count(),
        2 * 2 * 3
    );
}

/// `block_on` of tokio's own would panic here, and so would waiting for a runtime's end.
#[tokio::test]
async fn it_works_on_a_thread_of_another_runtime_too() {
    let (banks, running) = tokio::task::spawn_blocking(|| banks([Manners::Good]))
        .await
        .unwrap();
    let runtime = Runtime::start().unwrap();
    let bank = runtime.bank(banks.handles(|_, bank| bank).remove(0));
    assert_eq!(bank.with_consent("c").accounts(false).unwrap().len(), 2);
    drop((bank, runtime));
    running.shutdown_background();
}
