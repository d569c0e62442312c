//! Every limit has its own error, and the server goes on.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bank_server::config::HeaderForm;
use fixtures::openssl_client::{self, Reaction, send_request};
use fixtures::pki::Identity;
use openssl::ssl::SslStream;
use tests::banks::Banks;
use tests::consent_requests::PSU;
use tests::gateway::GatewayListener;
use tests::held_connection::handshake;
use tests::http::{LAST_STATUS_REQUEST, STATUS_REQUEST, Tpp};
use tests::http2_frames::{self, END_HEADERS, END_STREAM, HEADERS, frame, preface};
use tests::wait::wait_for;
use tokio::runtime::Handle;

/// A connection whose reads end after that time: the bank is to end it sooner.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

fn dial(bank: SocketAddr) -> TcpStream {
    let tcp = openssl_client::dial(bank).unwrap();
    tcp.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
    tcp
}

fn connect(bank: SocketAddr, identity: &Identity, alpn: &[u8]) -> SslStream<TcpStream> {
    handshake(dial(bank), identity, Some(alpn))
}

/// Reads to the end. Fails when a read takes longer than [`READ_TIMEOUT`].
fn until_the_end(mut stream: impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        Err(error) => {
            assert_ne!(
                error.kind(),
                std::io::ErrorKind::WouldBlock,
                "the bank did not end the connection"
            );
            bytes
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_headers_have_a_size() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let large = format!(r#"{{"padding":"{}"}}"#, "x".repeat(1024 * 1024));
    assert_eq!(
        tpp.post("/v1/consents", &[PSU], &large).await.refusal(),
        "413 FORMAT_ERROR"
    );
    let just = format!(r#"{{"padding":"{}"}}"#, "x".repeat(1024 * 1024 - 14));
    assert_eq!(just.len(), 1024 * 1024);
    assert_eq!(
        tpp.post("/v1/consents", &[PSU], &just).await.refusal(),
        "400 FORMAT_ERROR access"
    );

    let padding = "x".repeat(33 * 1024);
    assert_eq!(
        tpp.get("/v1/accounts", &[("X-Padding", &padding)])
            .await
            .refusal(),
        "431 FORMAT_ERROR"
    );
    let long_path = format!("/v1/accounts?x={padding}");
    assert_eq!(tpp.get(&long_path, &[]).await.refusal(), "431 FORMAT_ERROR");
    let flood = "x".repeat(200 * 1024);
    assert_eq!(
        tpp.get("/v1/accounts", &[("X-Padding", &flood)])
            .await
            .status,
        431
    );
    let body = banks.consent_body().to_string();
    assert_eq!(
        tpp.post("/v1/consents", &[PSU], &body).await.status,
        201,
        "and the server goes on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_and_quiet_connections_have_a_time() {
    let banks = Banks::start().await;
    let bank = banks
        .limited_bank_b(|limits| {
            (
                limits.handshake_timeout_seconds,
                limits.idle_timeout_seconds,
            ) = (2, 3);
        })
        .await;
    let (address, identity) = (bank.xs2a_address(), banks.sandbox.pki.bank_a.qwac.clone());
    tokio::task::spawn_blocking(move || {
        // Nothing is said.
        assert_eq!(until_the_end(dial(address)), b"");
        // Half a hello is said.
        let mut half = dial(address);
        half.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).unwrap();
        until_the_end(half);
        // Nothing is asked, over either version of HTTP.
        assert_eq!(
            until_the_end(connect(address, &identity, b"\x08http/1.1")),
            b""
        );
        let mut well = connect(address, &identity, b"\x02h2");
        well.write_all(&requests_without_room(0)).unwrap();
        answer_pings_to_the_end(well, b"");
        // Something is asked, and then nothing more.
        let mut once = connect(address, &identity, b"\x08http/1.1");
        let Reaction::Http(answer) = send_request(&mut once, STATUS_REQUEST) else {
            panic!()
        };
        assert!(answer.starts_with(b"HTTP/1.1 403"));
    })
    .await
    .unwrap();
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_drips_in_is_given_up() {
    let banks = Banks::start().await;
    let bank = banks
        .limited_bank_b(|limits| limits.request_timeout_seconds = 3)
        .await;
    let tpp = Tpp::new(bank.xs2a_address(), banks.sandbox.pki.bank_a.qwac.clone());
    let headers = [PSU, ("Content-Length", "10")];
    let slow = tpp
        .send(
            "POST",
            "/v1/consents",
            &[&headers[..], &[("Content-Type", "application/json")]].concat(),
            None,
        )
        .await;
    assert_eq!(slow.refusal(), "408 FORMAT_ERROR");
    assert_eq!(slow.header("x-request-id"), Some(tests::http::REQUEST_ID));
    bank.stop().await;
}

/// Refused by its headers, while 20 kB of body are still on their way.
#[tokio::test(flavor = "multi_thread")]
async fn an_early_refusal_reaches_a_client_that_is_still_sending() {
    let banks = Banks::start().await;
    let (address, identity) = (banks.a_at_b().bank, banks.sandbox.pki.bank_a.qwac.clone());
    tokio::task::spawn_blocking(move || {
        for _ in 0..5 {
            let mut tls = connect(address, &identity, b"\x08http/1.1");
            let head = "POST /v1/consents HTTP/1.1\r\nHost: localhost\r\n\
                        Content-Type: application/json\r\nContent-Length: 20000\r\n\r\n";
            tls.write_all(head.as_bytes()).unwrap();
            // Until the bank has answered.
            tls.ssl_peek(&mut [0]).unwrap();
            for _ in 0..20 {
                tls.write_all(&[b' '; 1000]).unwrap();
            }
            let mut status = [0; 12];
            tls.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 400");
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_may_hold_so_many_connections() {
    let banks = Banks::start().await;
    let bank = banks
        .limited_bank_b(|limits| limits.max_connections_per_organisation = 2)
        .await;
    let address = bank.xs2a_address();
    let (a, r) = (
        banks.sandbox.pki.bank_a.qwac.clone(),
        banks.sandbox.pki.bank_r.qwac.clone(),
    );
    tokio::task::spawn_blocking(move || {
        let ask_on = |mut stream: SslStream<TcpStream>| {
            stream.write_all(STATUS_REQUEST.as_bytes()).unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).unwrap();
            (String::from_utf8(head.to_vec()).unwrap(), stream)
        };
        let (first, one) = ask_on(connect(address, &a, b"\x08http/1.1"));
        let (second, two) = ask_on(connect(address, &a, b"\x08http/1.1"));
        assert_eq!(
            [first.as_str(), second.as_str()],
            ["HTTP/1.1 403", "HTTP/1.1 403"]
        );
        let mut excess = connect(address, &a, b"\x08http/1.1");
        let Reaction::Http(answer) = send_request(&mut excess, STATUS_REQUEST) else {
            panic!()
        };
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 429") && answer.contains("ACCESS_EXCEEDED"),
            "{answer}"
        );
        let (other, _three) = ask_on(connect(address, &r, b"\x08http/1.1"));
        assert_eq!(
            other, "HTTP/1.1 403",
            "another organisation has places of its own"
        );
        drop((one, two, excess));
    })
    .await
    .unwrap();
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_does_no_harm() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let address = tpp.bank;
    tokio::task::spawn_blocking(move || {
        for noise in [
            &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            &[0xFF; 5000],
            &[0x16, 0x03, 0x03, 0xFF, 0xFF, 1, 2, 3],
        ] {
            let mut tcp = dial(address);
            tcp.write_all(noise).unwrap();
            tcp.shutdown(std::net::Shutdown::Write).unwrap();
            let answer = until_the_end(tcp);
            assert!(
                !answer.starts_with(b"HTTP"),
                "no byte of HTTP without a handshake"
            );
        }
    })
    .await
    .unwrap();
    for request in [
        "NONSENSE\r\n\r\n",
        "GET /v1/accounts HTTP/9.9\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ] {
        assert!(
            matches!(tpp.raw(request.to_owned()).await.reaction, Reaction::Http(answer) if answer.starts_with(b"HTTP/1.1 4")),
            "{request}"
        );
    }
    assert_eq!(
        tpp.get("/v1/consents/none", &[]).await.status,
        403,
        "and the server goes on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_may_have_so_many_requests_at_a_time() {
    let banks = Banks::start().await;
    let bank = banks
        .limited_bank_b(|limits| limits.max_requests_per_organisation = 1)
        .await;
    let address = bank.xs2a_address();
    let (a, r) = (
        banks.sandbox.pki.bank_a.qwac.clone(),
        banks.sandbox.pki.bank_r.qwac.clone(),
    );
    tokio::task::spawn_blocking(move || {
        let mut open = connect(address, &a, b"\x08http/1.1");
        let half = STATUS_REQUEST.replace("GET /v1/consents/none/status", "POST /v1/consents").replace(
            "\r\n\r\n",
            "\r\nContent-Type: application/json\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n",
        );
        open.write_all(half.as_bytes()).unwrap();
        // "Go on": the request is being answered from now on.
        let mut head = [0; 12];
        open.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 100");
        open.write_all(b"{").unwrap();

        let ask_as = |identity| match send_request(&mut connect(address, identity, b"\x08http/1.1"), LAST_STATUS_REQUEST) {
            Reaction::Http(answer) => String::from_utf8(answer).unwrap(),
            other => panic!("{other:?}"),
        };
        let second = ask_as(&a);
        assert!(second.starts_with("HTTP/1.1 429") && second.contains("ACCESS_EXCEEDED"), "{second}");
        assert!(ask_as(&r).starts_with("HTTP/1.1 403"), "another organisation has turns of its own");
        drop(open);
    })
    .await
    .unwrap();
    bank.stop().await;
}

/// The start of an HTTP/2 connection whose peer will never have room for an answer, and so many requests.
fn requests_without_room(number: u32) -> Vec<u8> {
    // SETTINGS_INITIAL_WINDOW_SIZE is 0.
    let mut bytes = preface(&[0, 4, 0, 0, 0, 0]);
    let head = http2_frames::request("GET");
    for request in 0..number {
        bytes.extend(frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            2 * request + 1,
            &head,
        ));
    }
    bytes
}

/// Answers the bank's pings, as a peer that is well but does not read; fails if the bank does not mind.
fn answer_pings_to_the_end(mut stream: SslStream<TcpStream>, read: &[u8]) {
    let started = std::time::Instant::now();
    let mut bytes = read.to_vec();
    loop {
        assert!(
            started.elapsed() < READ_TIMEOUT,
            "the bank did not end the connection"
        );
        while let Some(head) = bytes.first_chunk::<9>().copied() {
            let end = 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(frame) = bytes.get(..end).map(<[u8]>::to_vec) else {
                break;
            };
            bytes.drain(..end);
            // PING, not acknowledging one of ours.
            if head[3] == 6 && head[4] & 1 == 0 {
                let mut acknowledged = frame;
                acknowledged[4] = 1;
                // The bank may be gone by now.
                let _ = stream.write_all(&acknowledged);
            }
        }
        let mut more = [0; 4096];
        match stream.read(&mut more) {
            Ok(0) => return,
            Err(error) => {
                let kind = error.kind();
                assert_ne!(
                    kind,
                    std::io::ErrorKind::WouldBlock,
                    "the bank did not end the connection"
                );
                return;
            }
            Ok(number) => bytes.extend(&more[..number]),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_are_not_read_do_not_accumulate() {
    let banks = Banks::start().await;
    let bank = banks
        .limited_bank_b(|limits| {
            (
                limits.request_timeout_seconds,
                limits.idle_timeout_seconds,
                limits.max_requests_per_organisation,
            ) = (1, 1, 5);
        })
        .await;
    let (address, identity) = (bank.xs2a_address(), banks.sandbox.pki.bank_a.qwac.clone());
    tokio::task::spawn_blocking(move || {
        let status = || match send_request(
            &mut connect(address, &identity, b"\x08http/1.1"),
            STATUS_REQUEST,
        ) {
            Reaction::Http(answer) => String::from_utf8_lossy(&answer[..12]).into_owned(),
            other => panic!("{other:?}"),
        };
        // The end of a connection cancels its requests, which may take a moment.
        let turns_are_given_back = || {
            let poll = wait_for("a free turn", || {
                let status = status();
                assert!(
                    ["HTTP/1.1 429", "HTTP/1.1 403"].contains(&&*status),
                    "{status}"
                );
                (status == "HTTP/1.1 403").then_some(())
            });
            Handle::current().block_on(poll);
        };
        // A few, and the connection ends after its time; while it lasts, they count.
        let mut few = connect(address, &identity, b"\x02h2");
        few.write_all(&requests_without_room(5)).unwrap();
        let mut answered = [0; 64];
        few.read_exact(&mut answered).unwrap();
        let meanwhile = status();
        answer_pings_to_the_end(few, &answered);
        assert!(
            ["HTTP/1.1 429", "HTTP/1.1 403"].contains(&meanwhile.as_str()),
            "{meanwhile}"
        );
        turns_are_given_back();
        // A great many, and it is cut.
        let mut many = connect(address, &identity, b"\x02h2");
        // It may be cut before all are written.
        let _ = many.write_all(&requests_without_room(3000));
        until_the_end(many);
        turns_are_given_back();
    })
    .await
    .unwrap();
    bank.stop().await;
}

/// Over HTTP/2, one TPP could end a gateway's connection for all others.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_are_offered_no_http_2() {
    let banks = Banks::start().await;
    let gateway_listener = GatewayListener::start(&banks, HeaderForm::Rfc9440).await;
    let spoken = |address, identity: &Identity| {
        let tls = connect(address, identity, b"\x02h2\x08http/1.1");
        tls.ssl().selected_alpn_protocol().map(<[u8]>::to_vec)
    };
    let a = &banks.sandbox.pki.bank_a.qwac;
    let to_a = spoken(gateway_listener.bank.xs2a_address(), a);
    let to_gateway = spoken(gateway_listener.address(), &gateway_listener.gateway);
    assert_eq!(to_a.unwrap(), b"h2", "to TPPs it is");
    assert_eq!(to_gateway.unwrap(), b"http/1.1");
}
