//! The SDK against our own bank: over HTTP/2, as in life.

use bank_client::environment::Clock as _;
use bank_client::{ErrorKind, TransactionFilter};
use chrono::{Months, TimeDelta};
use fixtures::pki::{Wanted, bank_a};
use fixtures::world::Bank;
use futures::TryStreamExt as _;
use tests::banks::Banks;
use tests::sdk::{BANK_B, bank_builder};
use tests::wait::wait_until;

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_read_and_pages_do_not_matter() {
    let banks = Banks::start().await;
    let consent = banks.consent(&banks.a_at_b()).approved().await;
    let under = banks
        .sandbox
        .client(Bank::A, Bank::B, Bank::B)
        .unwrap()
        .with_consent(consent);
    let known = banks.accounts_at_b();
    let accounts = under.accounts(true).await.unwrap();
    assert_eq!(accounts.len(), 3);
    let (current, card) = (known[0].id.to_string(), known[3].id.to_string());
    assert_eq!(
        under.account(&current, false).await.unwrap().iban,
        accounts[0].iban
    );
    assert_eq!(under.card_accounts(true).await.unwrap().len(), 1);
    assert_eq!(
        under
            .card_account(&card, false)
            .await
            .unwrap()
            .masked_pan
            .as_str(),
        known[3].number
    );
    assert_eq!(under.balances(&current).await.unwrap().balances.len(), 2);
    assert_eq!(
        under.card_balances(&card).await.unwrap().debit_accounting,
        Some(false)
    );
    let since = banks.today().checked_sub_months(Months::new(25)).unwrap();
    let filter = TransactionFilter {
        page_size: Some(13),
        ..TransactionFilter::since(since)
    };
    let all: Vec<_> = under
        .transactions(&current, &filter)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(all.len(), known[0].transactions);
    let cards: Vec<_> = under
        .card_transactions(&card, &filter)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(cards.len(), known[3].transactions);
    assert_eq!(
        under
            .transaction(&current, "T0000001")
            .await
            .unwrap()
            .transaction_id
            .as_ref()
            .unwrap()
            .as_str(),
        "T0000001"
    );
}

/// The alert comes after our side of the handshake, when the request is on its way already.
#[tokio::test(flavor = "multi_thread")]
async fn the_banks_alert_is_told_every_time() {
    let banks = Banks::start().await;
    let pki = &banks.sandbox.pki;
    // Of CA2, and believing CA1: it is the bank that refuses.
    let stranger = &pki.bank_c.qwac;
    for _ in 0..20 {
        let bank = banks.sandbox.bank(Bank::B);
        let address = bank.running.xs2a_address();
        let handle = bank_builder(address, BANK_B, pki, stranger).build();
        let error = handle.unwrap().consent_status("any").await.unwrap_err();
        let ErrorKind::TheyRefused { alert } = error.kind else {
            panic!("{error:?}")
        };
        assert_eq!(alert.to_string(), "unknown_ca");
    }
}

/// The bank also judges its open connections four times a second, and may close this one before the call comes. Then the
/// call is no test of the open connection, and it is all done again with another certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_on_an_open_connection_gets_no_more_data() {
    let banks = Banks::start().await;
    let consent = banks.consent(&banks.a_at_b()).approved().await;
    for _ in 0..10 {
        let first = call_after_expiry(&banks, &consent).await;
        if is_expired(&first) {
            return;
        }
        let is_closed = matches!(
            first,
            ErrorKind::TheyRefused { .. } | ErrorKind::Interrupted { .. }
        );
        assert!(is_closed, "{first:?}");
    }
    panic!("no call came before the bank closed the connection");
}

/// Has a certificate of Bank A expire while its connection is open. Returns how the next call failed, after a new
/// connection was refused in the handshake.
async fn call_after_expiry(banks: &Banks, consent: &str) -> ErrorKind {
    let pki = &banks.sandbox.pki;
    let brief = Wanted {
        valid_for: TimeDelta::hours(1),
        ..Wanted::default()
    };
    let brief = pki.enrol(&bank_a(), &brief, banks.clock.now()).unwrap();
    let address = banks.sandbox.bank(Bank::B).running.xs2a_address();
    let handle = bank_builder(address, BANK_B, pki, &brief).build().unwrap();
    let under = handle.with_consent(consent);
    assert_eq!(under.accounts(false).await.unwrap().len(), 3);
    banks.clock.advance(TimeDelta::hours(2));
    let first = under.accounts(false).await.unwrap_err().kind;
    let alert = wait_until("a refused handshake", async || {
        match under.accounts(false).await.unwrap_err().kind {
            ErrorKind::TheyRefused { alert } => Some(alert.to_string()),
            // On the open connection, until it is closed; and while it is being closed.
            kind => {
                let interrupted = matches!(kind, ErrorKind::Interrupted { .. });
                assert!(is_expired(&kind) || interrupted, "{kind:?}");
                None
            }
        }
    })
    .await;
    assert_eq!(alert, "certificate_expired");
    first
}

fn is_expired(kind: &ErrorKind) -> bool {
    let ErrorKind::Refused {
        status: 401,
        messages,
        ..
    } = kind
    else {
        return false;
    };
    messages[0].code.as_str() == "CERTIFICATE_EXPIRED"
}
