//! The pages behind a proxy that ends TLS, nginx or HAProxy as the documentation configures them:
//! browsers are told apart.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use bank_server::config::Config;
use fixtures::browser::Page;
use fixtures::world::{Bank, SampleCustomer};
use tests::banks::Banks;
use tests::browser::{Tab, at_bank_b, code_of};
use tests::gateway::{Gateway, Kind};
use tests::ports;
use tests::programs::{both, system};
use tests::tls_terminator::{self, Manners};
use wiremock::MockServer;

/// A browser of curl's, with its own cookies, at an address of this machine.
struct Curl<'a> {
    from: &'a str,
    proxy: SocketAddr,
    cookies: &'a Path,
    headers: &'a [&'a str],
}

impl Curl<'_> {
    fn send(&self, path: &str, form: Option<&str>) -> Page {
        let url = format!("https://localhost:{}{path}", self.proxy.port());
        let mut curl = system("curl");
        curl.args(["-sS", "-k", "-i", "--http1.1", "--interface", self.from])
            .args([
                "--resolve",
                &format!("localhost:{}:127.0.0.1", self.proxy.port()),
            ])
            .arg("-b")
            .arg(self.cookies)
            .arg("-c")
            .arg(self.cookies)
            .arg(&url);
        for header in self.headers {
            curl.args(["-H", header]);
        }
        if let Some(form) = form {
            curl.args(["--data", form]);
        }
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{}", both(&output));
        let answer = String::from_utf8(output.stdout).unwrap();
        let (head, html) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        Page {
            url: url.parse().unwrap(),
            status: status.parse().unwrap(),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            html: html.to_owned(),
            sent_to: None,
        }
    }

    /// Outcome of a password.
    fn log_in(&self, customer: &SampleCustomer, password: &str, code: &str) -> String {
        let page = self.send("/log-in", None);
        assert_eq!(page.status, 200, "{}", page.html);
        let form = page.form_to("/log-in").unwrap();
        let form = form
            .with("customer", &customer.id)
            .with("password", password)
            .with("code", code);
        let answer = self.send("/log-in", Some(&form.body()));
        let problem = answer.problem();
        problem.unwrap_or_else(|| answer.status.to_string())
    }
}

/// The pages of Bank B once more, as a proxy on this machine needs them.
fn behind_a_proxy(config: &mut Config, origin: &str) {
    config.xs2a.listen.set_port(0);
    config.operator.listen.set_port(0);
    let pages = config.online_banking.as_mut().unwrap();
    pages.listen.set_port(0);
    pages.origin = origin.parse().unwrap();
    pages.trusted_proxies = vec![Ipv4Addr::LOCALHOST.into()];
}

/// Guesses from one network do not lock out another, and no header evades the count.
async fn browsers_are_told_apart(kind: Kind) {
    let banks = Banks::start().await;
    let anna = banks.customer(Bank::B);
    let address = ports::free();
    let origin = format!("https://localhost:{}", address.port());
    let bank = banks
        .replica_of_b(|config| behind_a_proxy(config, &origin))
        .await;
    let pages = bank.online_banking_address().unwrap();
    let own = &banks.sandbox.pki.bank_b.qwac;
    let proxy = Gateway::for_pages(kind, own, address, pages).await;
    let folder = tempfile::tempdir().unwrap();
    let code = code_of(&banks, &anna, 0);
    let told = tokio::task::spawn_blocking(move || {
        let forged: Vec<String> = (0..6)
            .map(|number| format!("X-Forwarded-For: 203.0.{number}.9"))
            .collect();
        let curl = |from: &str, headers: &[&str], password: &str| {
            let cookies = folder.path().join(from);
            let curl = Curl {
                from,
                proxy: proxy.address,
                cookies: &cookies,
                headers,
            };
            curl.log_in(&anna, password, &code)
        };
        let mut told = Vec::new();
        for header in &forged {
            told.push(curl("127.0.7.1", &[header], "wrong"));
        }
        told.push(curl("127.0.8.1", &[], &anna.password));
        told
    });
    let mut expected = vec!["422"; 5];
    expected.extend(["locked", "303"]);
    assert_eq!(told.await.unwrap(), expected);
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_nginx_browsers_are_told_apart() {
    browsers_are_told_apart(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_haproxy_browsers_are_told_apart() {
    browsers_are_told_apart(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_a_header_is_taken_from_a_trusted_proxy_alone() {
    let (banks, _, anna) = at_bank_b().await;
    let bank = banks
        .replica_of_b(|config| behind_a_proxy(config, "http://localhost:0"))
        .await;
    let mut browser = Tab::at(&bank);
    let mut attempt = async |from: [u8; 4], forwarded: &str| {
        browser.browser.from = Some(Ipv4Addr::from([127, 0, 5, 1]));
        browser.get("/log-in").await;
        browser.browser.from = Some(from.into());
        let form = browser.form("/log-in").with("customer", &anna.id);
        let body = form.with("password", "wrong").with("code", "000000").body();
        let headers = [("X-Forwarded-For", forwarded)];
        let page = browser.send("POST", "/log-in", &headers, &body).await;
        page.problem().unwrap_or_else(|| page.status.to_string())
    };
    let (proxy, other) = ([127, 0, 0, 1], [127, 0, 6, 1]);
    // The proxy adds its own word to what the browser has made up.
    for number in 0..5 {
        let forwarded = format!("203.0.{number}.9, 192.0.2.1");
        assert_eq!(attempt(proxy, &forwarded).await, "422");
    }
    assert_eq!(attempt(proxy, "192.0.2.200").await, "locked");
    assert_eq!(attempt(proxy, "198.51.100.1").await, "422");
    // Anybody else is where the connection comes from.
    for number in 0..5 {
        let forwarded = format!("203.0.{number}.9");
        assert_eq!(attempt(other, &forwarded).await, "422");
    }
    assert_eq!(attempt(other, "203.0.113.9").await, "locked");
    // A proxy that names no address is not served: its browsers would all be one.
    for none in ["", "unknown"] {
        assert_eq!(attempt(proxy, none).await, "400", "{none}");
    }
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_banks_receive_the_address_of_the_browser() {
    let banks = Banks::start().await;
    let other = MockServer::start().await;
    let pki = &banks.sandbox.pki;
    let root = pki.ca1.root_pem().unwrap();
    let behind = *other.address();
    let front = tls_terminator::start(&pki.bank_b.qwac, &root, behind, Manners::Honest).await;
    let change = |config: &mut Config| {
        behind_a_proxy(config, "http://localhost:0");
        config.other_banks[0].url = format!("https://{front}");
    };
    let bank = banks.start_replica("bank-a.toml", change).await.unwrap();
    let mut browser = Tab::at(&bank);
    browser.browser.from = Some(Ipv4Addr::from([127, 0, 5, 1]));
    browser.log_in(&banks, &banks.customer(Bank::A)).await;
    browser.get("/other-banks/connect").await;
    let connect = browser.page.links("/other-banks/connect/")[0].clone();
    browser.get(&connect).await;
    let body = browser.form(&connect).body();
    browser.browser.from = Some(Ipv4Addr::LOCALHOST);
    let headers = [("X-Forwarded-For", "192.0.2.99")];
    browser.send("POST", &connect, &headers, &body).await;
    let asked = other.received_requests().await.unwrap();
    assert_eq!(asked[0].url.path(), "/v1/consents");
    assert_eq!(asked[0].headers["psu-ip-address"], "192.0.2.99");
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_behind_a_proxy_that_is_not_named_does_not_start() {
    let (banks, _, _) = at_bank_b().await;
    let unnamed = |config: &mut Config| {
        behind_a_proxy(config, "https://banking.example");
        let pages = config.online_banking.as_mut().unwrap();
        pages.trusted_proxies = vec![IpAddr::from([192, 0, 2, 1])];
    };
    let refused = banks.start_replica("bank-b.toml", unnamed).await;
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("online_banking.trusted_proxies"), "{error}");
}
