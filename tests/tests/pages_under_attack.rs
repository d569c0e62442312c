//! What attackers try at the bank's own pages, beyond `online_banking` and `approving`.

use std::time::{Duration, Instant};

use fixtures::sandbox::CUSTOMER;
use fixtures::world::{Bank, SampleCustomer};
use tests::banks::{Banks, bank_b_with};
use tests::browser::{Browser, customer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn start() -> (Banks, Browser, SampleCustomer) {
    let banks = Banks::start().await;
    let browser = Browser::at(&banks.sandbox.bank(Bank::B).running);
    let anna = customer(&banks, Bank::B, CUSTOMER);
    (banks, browser, anna)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_drips_is_answered_and_cut() {
    /// How often a byte comes.
    const PAUSE: Duration = Duration::from_millis(100);

    let banks = Banks::start().await;
    let bank = bank_b_with(&banks, |limits| {
        limits.request_seconds = 1;
        limits.idle_seconds = 600;
    })
    .await;
    let browser = Browser::at(&bank);
    let head = format!(
        "POST /log-in HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        browser.host()
    );
    let address = bank.online_banking_address().unwrap();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(head.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let mut answer = Vec::new();
    let is_cut = loop {
        if begun.elapsed() > Duration::from_secs(20) {
            break false;
        }
        if tcp.write_all(b"1\r\na\r\n").await.is_err() {
            break true;
        }
        if let Ok(read) = timeout(PAUSE, tcp.read_buf(&mut answer)).await
            && read.is_ok_and(|read| read == 0)
        {
            break true;
        }
    };
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(is_cut, "it drips still");
    bank.stop().await;
}
