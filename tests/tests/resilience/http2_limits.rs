//! HTTP/2 limits: a TPP with a valid certificate cannot make a bank hold memory, or work without a
//! request.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use fixtures::openssl_client;
use fixtures::pki::Identity;
use openssl::ssl::SslStream;
use tests::child_process::memory;
use tests::held_connection::handshake;
use tests::http2_frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, literal, preface, read_frame, request,
};
use tests::process::{Process, prepare};
use tests::wait::{wait_for, wait_until};

/// RFC 9113, section 7.
const ENHANCE_YOUR_CALM: u32 = 0x0b;

/// Memory that one TPP can make a bank hold, over all its connections.
const MAX_GROWTH_KIB: u64 = 64 * 1024;

fn connect(bank: SocketAddr, identity: &Identity) -> SslStream<TcpStream> {
    connect_with(bank, identity, b"\x02h2")
}

fn connect_with(bank: SocketAddr, identity: &Identity, alpn: &[u8]) -> SslStream<TcpStream> {
    let tcp = openssl_client::dial(bank).unwrap();
    let limit = Some(Duration::from_secs(30));
    tcp.set_read_timeout(limit).unwrap();
    tcp.set_write_timeout(limit).unwrap();
    handshake(tcp, identity, Some(alpn))
}

/// The error code and the debug data of the GOAWAY with which a connection ends after these bytes.
fn goaway_after(bank: SocketAddr, identity: &Identity, bytes: &[u8]) -> Option<(u32, String)> {
    let mut stream = connect(bank, identity);
    // The connection may end before all are written.
    let _ = stream.write_all(bytes);
    let frames: Vec<_> = std::iter::from_fn(|| read_frame(&mut stream)).collect();
    let goaway = frames.iter().rev().find(|frame| frame.kind == GOAWAY)?;
    let (code, data) = goaway.payload[4..].split_first_chunk().unwrap();
    Some((
        u32::from_be_bytes(*code),
        String::from_utf8_lossy(data).into_owned(),
    ))
}

/// More of these than ordinary clients send, with a request before them.
fn flood(frames: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    const FRAMES: u32 = 3000;

    let mut bytes = preface(&[]);
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &request("POST")));
    bytes.extend((0..FRAMES).flat_map(frames));
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_without_a_request_are_counted() {
    let (folder, pki) = prepare().await;
    let bank = Process::serve(folder.path(), &pki).await;
    let (address, a) = (bank.tpp.bank, pki.bank_a.qwac.clone());
    let refused = tokio::task::spawn_blocking(move || {
        let get = |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &request("GET"));
        let floods: [(&str, Vec<u8>); 10] = [
            ("PING", flood(|_| frame(PING, 0, 0, b"12345678"))),
            ("SETTINGS", flood(|_| frame(SETTINGS, 0, 0, &[]))),
            (
                "PRIORITY",
                flood(|_| frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1])),
            ),
            (
                "WINDOW_UPDATE",
                flood(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
            ),
            ("an unknown type", flood(|_| frame(0xee, 0, 0, b""))),
            ("empty DATA", flood(|_| frame(DATA, 0, 1, b""))),
            ("DATA of a byte", flood(|_| frame(DATA, 0, 1, b" "))),
            (
                "rapid reset",
                flood(|number| {
                    let stream = 2 * number + 3;
                    [get(stream), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
                }),
            ),
            (
                "made-you-reset",
                flood(|number| {
                    let stream = 2 * number + 3;
                    [
                        get(stream),
                        frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]),
                    ]
                    .concat()
                }),
            ),
            ("CONTINUATION", {
                let mut bytes = preface(&[]);
                bytes.extend(frame(HEADERS, 0, 1, &[]));
                bytes.extend((0..3000).flat_map(|_| frame(CONTINUATION, 0, 1, &[])));
                bytes
            }),
        ];
        floods.map(|(name, bytes)| (name, goaway_after(address, &a, &bytes)))
    })
    .await
    .unwrap();
    for (name, goaway) in refused {
        let code = goaway.as_ref().map(|(code, _)| *code);
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{name}: {goaway:?}");
    }
    let log = fs::read_to_string(&bank.log).unwrap();
    assert!(log.contains("too many frames without a request"), "{log}");
    assert_eq!(bank.tpp.get("/v1/consents/none", &[]).await.status, 403);
}

/// A client that widens its windows with every answer, and keeps the connection alive, is no flood.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_client_is_not_calmed() {
    const REQUESTS: u32 = 1000;

    let (folder, pki) = prepare().await;
    let bank = Process::serve(folder.path(), &pki).await;
    let (address, a) = (bank.tpp.bank, pki.bank_a.qwac.clone());
    tokio::task::spawn_blocking(move || {
        let mut stream = connect(address, &a);
        stream.write_all(&preface(&[])).unwrap();
        for stream_id in (1..2 * REQUESTS).step_by(2) {
            let bytes = [
                frame(
                    HEADERS,
                    END_STREAM | END_HEADERS,
                    stream_id,
                    &request("GET"),
                ),
                frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]),
                frame(WINDOW_UPDATE, 0, stream_id, &[0, 0, 1, 0]),
                frame(PING, 0, 0, b"12345678"),
            ];
            stream.write_all(&bytes.concat()).unwrap();
            let answered = |frame: Frame| {
                assert_ne!(frame.kind, GOAWAY, "{:?}", frame.payload);
                [HEADERS, DATA].contains(&frame.kind)
                    && frame.stream == stream_id
                    && frame.flags & END_STREAM != 0
            };
            while !answered(read_frame(&mut stream).expect("an answer")) {}
        }
    })
    .await
    .unwrap();
}

/// Runs an attack on a bank, and returns by how much the bank's memory has grown at its highest, in
/// KiB.
async fn memory_growth(
    attack: impl FnOnce(&dyn Fn() -> SslStream<TcpStream>) -> Vec<SslStream<TcpStream>> + Send + 'static,
) -> u64 {
    let (folder, pki) = prepare().await;
    let bank = Process::serve(folder.path(), &pki).await;
    let (address, a) = (bank.tpp.bank, pki.bank_a.qwac.clone());
    let process = bank.child.id();
    let before = memory(process, "VmRSS:");
    let attack = tokio::task::spawn_blocking(move || {
        attack(&|| {
            let mut tls = connect(address, &a);
            // The peer never has room for an answer: what the bank holds for one, it keeps.
            tls.write_all(&preface(&[0, 4, 0, 0, 0, 0])).unwrap();
            tls
        })
    });
    let held = attack.await.unwrap();
    wait_for("all bytes read", || {
        (bank.unread_bytes() == 0).then_some(())
    })
    .await;
    let highest = memory(process, "VmHWM:");
    drop(held);
    highest.saturating_sub(before)
}

/// The header block of a request with so many more fields, each of which is one byte that refers to
/// HPACK's dynamic table, and an entry of a list in memory.
fn references(number: usize) -> Vec<u8> {
    let mut block = request("POST");
    block.extend(literal(&[0x40, 1, b'x'], b"y"));
    block.extend(vec![0xbe; number]);
    block
}

/// Writes a header block in frames of the size that is allowed, and ends it or not. The bank may
/// end the connection.
fn write_block(tls: &mut SslStream<TcpStream>, stream: u32, block: &[u8], ends: bool) {
    let chunks: Vec<_> = block.chunks(16_384).collect();
    for (number, chunk) in chunks.iter().enumerate() {
        let kind = if number == 0 { HEADERS } else { CONTINUATION };
        let last = ends && number + 1 == chunks.len();
        let flags = if last { END_HEADERS } else { 0 };
        let _ = tls.write_all(&frame(kind, flags, stream, chunk));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn header_lists_are_bounded_as_they_come_in() {
    let whole = memory_growth(|connection| {
        let attack = |_| {
            let mut tls = connection();
            for stream in (1..500).step_by(2) {
                write_block(&mut tls, stream, &references(12_000), true);
            }
            tls
        };
        (0..4).map(attack).collect()
    });
    let grown = whole.await;
    assert!(grown < MAX_GROWTH_KIB, "requests: {grown} KiB");
    let unended = memory_growth(|connection| {
        let attack = |_| {
            let mut tls = connection();
            write_block(&mut tls, 1, &references(400_000), false);
            tls
        };
        (0..90).map(attack).collect()
    });
    let grown = unended.await;
    assert!(grown < MAX_GROWTH_KIB, "unended blocks: {grown} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_and_refused_requests_are_not_held() {
    let with_trailers = memory_growth(|connection| {
        let attack = |_| {
            let mut tls = connection();
            for stream in (1..200).step_by(2) {
                let post = frame(HEADERS, END_HEADERS, stream, &request("POST"));
                tls.write_all(&post).unwrap();
            }
            // Those that come before the answer go with the request.
            let frames = std::iter::from_fn(|| read_frame(&mut tls));
            let answers = frames.filter(|frame| [HEADERS, RST_STREAM].contains(&frame.kind));
            assert_eq!(answers.take(100).count(), 100);
            for stream in (1..200).step_by(2) {
                let mut trailers = literal(&[0x40, 1, b'x'], b"y");
                trailers.extend(vec![0xbe; 900]);
                let trailers = frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers);
                tls.write_all(&trailers).unwrap();
            }
            tls
        };
        (0..20).map(attack).collect()
    });
    let grown = with_trailers.await;
    assert!(grown < MAX_GROWTH_KIB, "trailers: {grown} KiB");
    let refused = memory_growth(|connection| {
        let attack = |_| {
            let mut tls = connection();
            for stream in (1..200).step_by(2) {
                let flags = END_HEADERS | END_STREAM;
                let post = frame(HEADERS, flags, stream, &references(900));
                tls.write_all(&post).unwrap();
            }
            tls
        };
        (0..200).map(attack).collect()
    });
    let grown = refused.await;
    assert!(grown < MAX_GROWTH_KIB, "refused requests: {grown} KiB");
}

/// An answer that waits to be written holds its turn, however short it is.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_read_count_as_open_requests() {
    let (folder, pki) = prepare().await;
    let bank = Process::serve(folder.path(), &pki).await;
    let (address, a) = (bank.tpp.bank, pki.bank_a.qwac.clone());
    let mut tls = tokio::task::spawn_blocking(move || connect(address, &a))
        .await
        .unwrap();
    // Windows as wide as can be: only the connection's bytes are not read.
    let widest = 0x7fff_ffff_u32.to_be_bytes();
    let more = (0x7fff_ffff_u32 - 65_535).to_be_bytes();
    let mut bytes = preface(&[&[0, 4], &widest[..]].concat());
    bytes.extend(frame(WINDOW_UPDATE, 0, 0, &more));
    let get = |stream, block: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, stream, block);
    // More than the system holds of a connection.
    bytes.extend(
        (1..200)
            .step_by(2)
            .flat_map(|stream| get(stream, &document())),
    );
    tls.write_all(&bytes).unwrap();
    let mut refused_in_a_row = 0;
    for stream in (201..380).step_by(2) {
        if bank.tpp.get("/v1/consents/none", &[]).await.status == 429 {
            refused_in_a_row += 1;
        } else {
            // Of the first ones some are written: another takes the turn of one.
            refused_in_a_row = 0;
            tls.write_all(&get(stream, &request("GET"))).unwrap();
        }
        if refused_in_a_row == 20 {
            break;
        }
    }
    assert_eq!(refused_in_a_row, 20, "short answers hold no turn");
    drop(tls);
    let served = async || {
        let answer = bank.tpp.get("/v1/consents/none", &[]).await;
        (answer.status == 403).then_some(())
    };
    wait_until("a free turn", served).await;
}

/// The header block of a request for the document about the interface.
fn document() -> Vec<u8> {
    let fields = [
        vec![0x82, 0x87],
        literal(&[0x04], b"/openapi.json"),
        literal(&[0x01], b"localhost"),
    ];
    fields.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_never_end_are_bounded_for_each_organisation() {
    const BODY: usize = 1024 * 1024;

    let (folder, pki) = prepare().await;
    let bank = Process::serve(folder.path(), &pki).await;
    let (address, a) = (bank.tpp.bank, pki.bank_a.qwac.clone());
    let process = bank.child.id();
    let before = memory(process, "VmRSS:");
    let held = tokio::task::spawn_blocking(move || {
        let post = format!(
            "POST /v1/consents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             X-Request-ID: 99391c7e-ad88-49ec-a2ad-99ddcb1f7721\r\nContent-Length: {BODY}\r\n\r\n"
        );
        let mut held = Vec::new();
        for _ in 0..100 {
            let mut tls = connect_with(address, &a, b"\x08http/1.1");
            tls.write_all(post.as_bytes()).unwrap();
            // One byte less than announced. The bank may refuse it before all is written.
            let _ = tls.write_all(&vec![b' '; BODY - 1]);
            held.push(tls);
        }
        // The last one certainly came when the others had all that they may.
        let mut answer = vec![0; 600];
        let read = held.last_mut().unwrap().read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
        held
    })
    .await
    .unwrap();
    let grown = memory(process, "VmHWM:").saturating_sub(before);
    assert!(grown < MAX_GROWTH_KIB, "{grown} KiB");
    drop(held);
    let body = " ".repeat(BODY);
    let taken = async || {
        let answer = bank.tpp.post("/v1/consents", &[], &body).await;
        (answer.status == 400).then_some(())
    };
    wait_until("room for bodies", taken).await;
}
