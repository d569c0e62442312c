//! The SDK against our own bank: over HTTP/2, as in life.

use bank_client::{ErrorKind, TransactionFilter};
use chrono::{Months, TimeDelta};
use fixtures::pki::Wanted;
use fixtures::world::Bank;
use futures::TryStreamExt as _;
use serde_json::json;
use tests::banks::Banks;

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_read_and_pages_do_not_matter() {
    let banks = Banks::start().await;
    let consent = banks
        .approved_consent(&banks.a_at_b(), &json!({ "allPsd2": "allAccounts" }))
        .await;
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
        Some(true)
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
        let credentials = bank_client::credentials::Credentials::from_pem(
            stranger.chain_pem.as_bytes(),
            stranger.key_pem.as_bytes(),
        );
        let anchors =
            shared_types::trust::Anchors::from_pem(pki.ca1.root_pem().unwrap().as_bytes()).unwrap();
        let bank = banks.sandbox.bank(Bank::B);
        let handle = bank_client::Bank::builder(
            bank.url(),
            bank.organisation.clone(),
            anchors,
            credentials.unwrap(),
        )
        .build();
        let error = handle.unwrap().consent_status("any").await.unwrap_err();
        let ErrorKind::TheyRefused { alert } = error.kind else {
            panic!("{error:?}")
        };
        assert_eq!(alert.to_string(), "unknown_ca");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_on_an_open_connection_gets_no_more_data() {
    let banks = Banks::start().await;
    let consent = banks
        .approved_consent(&banks.a_at_b(), &json!({ "allPsd2": "allAccounts" }))
        .await;
    let now = bank_client::environment::Clock::now(&*banks.clock);
    let pki = &banks.sandbox.pki;
    let brief = Wanted {
        valid_for: TimeDelta::days(1),
        ..Wanted::default()
    };
    let brief = pki.enrol(&fixtures::pki::bank_a(), &brief, now).unwrap();
    let credentials = bank_client::credentials::Credentials::from_pem(
        brief.chain_pem.as_bytes(),
        brief.key_pem.as_bytes(),
    );
    let anchors =
        shared_types::trust::Anchors::from_pem(pki.ca1.root_pem().unwrap().as_bytes()).unwrap();
    let bank = banks.sandbox.bank(Bank::B);
    let handle = bank_client::Bank::builder(
        bank.url(),
        bank.organisation.clone(),
        anchors,
        credentials.unwrap(),
    );
    let under = handle.build().unwrap().with_consent(consent);
    assert_eq!(under.accounts(false).await.unwrap().len(), 3);
    banks.clock.advance(TimeDelta::days(2));
    let error = under.accounts(false).await.unwrap_err();
    let ErrorKind::Refused {
        status: 401,
        ref messages,
        ..
    } = error.kind
    else {
        panic!("{error:?}")
    };
    assert_eq!(messages[0].code.as_str(), "CERTIFICATE_EXPIRED");
    // And a new connection does not come about.
    let again = under.accounts(false).await.unwrap_err();
    assert!(
        matches!(&again.kind, ErrorKind::TheyRefused { alert } if alert.to_string() == "certificate_expired")
            || matches!(&again.kind, ErrorKind::Refused { status: 401, .. }),
        "{again:?}"
    );
}
