//! Methods and hosts on all listeners, as RFC 9110 and RFC 9112 have them: `HEAD`, `OPTIONS`,
//! `Allow`, `Host`, `:authority`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use fixtures::openssl_client::Reaction;
use fixtures::world::Bank;
use rustls_pki_types::ServerName;
use tests::banks::Banks;
use tests::browser::Tab;
use tests::handshake::resuming_client;
use tests::http::{REQUEST_ID, Response, STATUS_PATH, Tpp};

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_resource_does_not_have_is_answered_with_those_it_has() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    for (method, path, allowed) in [
        ("POST", "/v1/accounts", "OPTIONS, GET, HEAD"),
        ("TRACE", "/v1/accounts", "OPTIONS, GET, HEAD"),
        ("GET", "/v1/consents", "OPTIONS, POST"),
        ("HEAD", "/v1/consents", "OPTIONS, POST"),
        ("PUT", "/v1/consents/none", "OPTIONS, GET, HEAD, DELETE"),
        (
            "DELETE",
            "/v1/consents/none/authorisations",
            "OPTIONS, POST, GET, HEAD",
        ),
        (
            "POST",
            "/v1/consents/none/authorisations/none",
            "OPTIONS, GET, HEAD, PUT",
        ),
    ] {
        let answer = tpp.send(method, path, &[], None).await;
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
        if method == "HEAD" {
            assert_eq!((answer.status, answer.body.len()), (405, 0));
        } else {
            assert_eq!(answer.refusal(), "405 SERVICE_INVALID", "{method} {path}");
        }
        let asked = tpp.send("OPTIONS", path, &[], None).await;
        assert_eq!((asked.status, asked.body.len()), (204, 0), "{path}");
        assert_eq!(asked.header("allow"), Some(allowed), "{path}");
    }
    let bank = &banks.sandbox.bank(Bank::B).running;
    let browser = Tab::at(bank);
    for (method, path, allowed) in [
        ("GET", "/log-out", "OPTIONS, POST"),
        ("PUT", "/log-in", "OPTIONS, GET, HEAD, POST"),
        ("DELETE", "/favicon.ico", "OPTIONS, GET, HEAD"),
    ] {
        let answer = browser.send(method, path, &[], "").await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    for path in ["/health/live", "/health/ready", "/metrics"] {
        let answer = at_operator(bank.operator_address(), "POST", path);
        assert_eq!(answer.status, 405, "{path}");
        assert_eq!(answer.header("allow"), Some("OPTIONS, GET, HEAD"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_like_get_without_the_content() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let consent = banks.consent(&tpp).approved().await;
    let headers = [("Consent-ID", &*consent)];
    for path in [
        "/v1/accounts".to_owned(),
        format!("/v1/consents/{consent}/status"),
        "/v1/accounts/none".to_owned(),
    ] {
        let got = tpp.send("GET", &path, &headers, None).await;
        let head = tpp.send("HEAD", &path, &headers, None).await;
        assert_eq!(head.body, b"", "{path}");
        let length = got.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(&*length), "{path}");
        let without_body = Response {
            body: Vec::new(),
            ..got
        };
        assert_eq!(
            head.without_date_and_request_id(),
            without_body.without_date_and_request_id(),
            "{path}"
        );
    }
    let bank = &banks.sandbox.bank(Bank::B).running;
    let page = Tab::at(bank).send("HEAD", "/log-in", &[], "").await;
    assert_eq!((page.status, &*page.html), (200, ""));
    let live = at_operator(bank.operator_address(), "HEAD", "/health/live");
    assert_eq!((live.status, live.body.len()), (200, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_no_database_can_hold_are_refused() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    for path in [
        "/v1/consents/%00",
        "/v1/consents/a%00b/status",
        "/v1/consents/none/authorisations/%00",
    ] {
        let answer = tpp.get(path, &[]).await;
        assert_eq!(answer.refusal(), "400 FORMAT_ERROR .", "{path}");
    }
    // What is not UTF-8 is an id like any other that never was.
    let answer = tpp.get("/v1/consents/%ff", &[]).await;
    assert_eq!(answer.refusal(), "403 CONSENT_UNKNOWN");
    let bank = &banks.sandbox.bank(Bank::B).running;
    let page = Tab::at(bank).send("GET", "/authorise/%00", &[], "").await;
    assert_eq!(page.status, 404);
}

/// Invalid hosts.
const NO_HOSTS: [&str; 5] = [
    "Host: localhost/x\r\n",
    "Host: a@localhost\r\n",
    "Host: localhost:x\r\n",
    "Host: \r\n",
    "Host: localhost, localhost\r\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_name_one_host_is_refused() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    for host in NO_HOSTS {
        let answer = status_with(&tpp, STATUS_PATH, host).await;
        assert_eq!(answer.refusal(), "400 FORMAT_ERROR Host", "{host}");
    }
    // The HTTP library refuses these itself.
    for host in ["", "Host: localhost\r\nHost: localhost\r\n"] {
        assert_eq!(status_with(&tpp, STATUS_PATH, host).await.status, 400);
    }
    // In the target, too; and there the field does not count.
    let target = format!("https://a@localhost{STATUS_PATH}");
    let answer = status_with(&tpp, &target, "Host: localhost\r\n").await;
    assert_eq!(answer.refusal(), "400 FORMAT_ERROR Host");
    let target = format!("https://localhost{STATUS_PATH}");
    for (target, host) in [
        (STATUS_PATH, "Host: localhost\r\n"),
        (STATUS_PATH, "Host: [::1]:8443\r\n"),
        (&target, "Host: elsewhere\r\n"),
    ] {
        let answer = status_with(&tpp, target, host).await;
        assert_eq!(answer.refusal(), "403 CONSENT_UNKNOWN", "{target} {host}");
    }
    // On the customers' pages another host is another bank's; what is none is no request.
    let bank = &banks.sandbox.bank(Bank::B).running;
    for host in ["localhost/x", "a@localhost", "localhost:x"] {
        let answer = Tab::at(bank)
            .send("GET", "/log-in", &[("Host", host)], "")
            .await;
        assert_eq!(answer.status, 400, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_2_the_authority_and_the_host_are_one() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let client = resuming_client(
        &banks.sandbox.pki.ca1,
        &tpp.identity,
        b"h2",
        rustls::ALL_VERSIONS,
    );
    let tcp = tokio::net::TcpStream::connect(tpp.bank).await.unwrap();
    let tls = client
        .connect(ServerName::from(tpp.bank.ip()), tcp)
        .await
        .unwrap();
    let (mut requests, connection) = h2::client::handshake(tls).await.unwrap();
    let connection = tokio::spawn(connection);
    for (authority, host, status) in [
        ("localhost", None, 403),
        ("localhost", Some("LOCALHOST"), 403),
        ("localhost", Some("elsewhere"), 400),
        ("localhost", Some("localhost/x"), 400),
        ("a@localhost", None, 400),
    ] {
        let mut request = http::Request::get(format!("https://{authority}{STATUS_PATH}"))
            .header("x-request-id", REQUEST_ID);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let request = request.body(()).unwrap();
        let (answer, _) = requests.send_request(request, true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), status, "{authority} {host:?}");
    }
    drop(requests);
    connection.await.unwrap().unwrap();
}

/// A request for that target, with these lines instead of a `Host`.
async fn status_with(tpp: &Tpp, target: &str, host: &str) -> Response {
    let request = format!(
        "GET {target} HTTP/1.1\r\n{host}Connection: close\r\nX-Request-ID: {REQUEST_ID}\r\n\r\n"
    );
    match tpp.raw(request).await.reaction {
        Reaction::Http(answer) => Response::read(&answer),
        other => panic!("{target} {host}: {other:?}"),
    }
}

fn at_operator(operator: SocketAddr, method: &str, path: &str) -> Response {
    let mut tcp = TcpStream::connect(operator).unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    Response::read(&answer)
}
