//! Clients that ask as fast as they are answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fixtures::pki::Pki;
use h2::client::SendRequest;
use tests::handshake::client;
use tests::http::REQUEST_ID;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::filling;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    Kept,
    /// Each request has a full handshake of its own.
    New,
}

/// A GET, and how long its answer is.
#[derive(Debug, Clone)]
pub struct Question {
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    /// Under so many consents, in turns; 0 where no consent is needed.
    pub consents: u64,
    pub length: usize,
}

impl Question {
    /// The headers of the next request.
    fn next(&self) -> Vec<(&'static str, String)> {
        static TURN: AtomicU64 = AtomicU64::new(0);
        /// Prime to all numbers of consents, so that the turns go through all of them, far apart.
        const STEP: u64 = 7919;

        let mut headers = self.headers.clone();
        if self.consents > 0 {
            let turn = TURN.fetch_add(STEP, Ordering::Relaxed) % self.consents;
            headers.push(("consent-id", filling::consent(turn)));
        }
        headers
    }
}

/// TPPs that ask with that certificate.
#[derive(Clone)]
pub struct Askers {
    one: TlsConnector,
    two: TlsConnector,
}

/// Requests at a time.
const AT_A_TIME: usize = 16;
/// Of them, over one connection of HTTP/2.
const STREAMS: usize = 4;

impl Askers {
    pub fn new(pki: &Pki) -> Self {
        let own = &pki.bank_a.qwac;
        Self {
            one: client(&pki.ca1, own, b"http/1.1"),
            two: client(&pki.ca1, own, b"h2"),
        }
    }

    /// Asks for that long, and says how many answers came.
    pub async fn ask(
        &self,
        addresses: &[SocketAddr],
        question: &Question,
        http: Http,
        connections: Connections,
        time: Duration,
    ) -> usize {
        let until = Instant::now() + time;
        let mut all = JoinSet::new();
        let streams = if http == Http::Two && connections == Connections::Kept {
            STREAMS
        } else {
            1
        };
        for number in 0..AT_A_TIME / streams {
            let (askers, question) = (self.clone(), question.clone());
            let address = addresses[number % addresses.len()];
            all.spawn(async move {
                let mut answers = 0;
                while Instant::now() < until {
                    let last = match connections {
                        Connections::Kept => until,
                        Connections::New => Instant::now(),
                    };
                    answers += match http {
                        Http::One => askers.over_one(address, &question, last).await,
                        Http::Two => askers.over_two(address, &question, last, streams).await,
                    };
                }
                answers
            });
        }
        all.join_all().await.into_iter().sum()
    }

    /// A connection that has asked once and stays open.
    pub async fn idle(&self, address: SocketAddr, question: &Question) -> TlsStream<TcpStream> {
        let mut tls = connect(&self.one, address).await;
        let mut buffer = Vec::new();
        exchange(&mut tls, question, &mut buffer).await;
        tls
    }

    /// At least once.
    async fn over_one(&self, address: SocketAddr, question: &Question, until: Instant) -> usize {
        let mut tls = connect(&self.one, address).await;
        let mut buffer = Vec::new();
        let mut answers = 0;
        loop {
            exchange(&mut tls, question, &mut buffer).await;
            answers += 1;
            if Instant::now() >= until {
                return answers;
            }
        }
    }

    /// At least once in each stream.
    async fn over_two(
        &self,
        address: SocketAddr,
        question: &Question,
        until: Instant,
        streams: usize,
    ) -> usize {
        let tls = connect(&self.two, address).await;
        let (requests, connection) = h2::client::Builder::new()
            .handshake::<_, &'static [u8]>(tls)
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        let mut all = JoinSet::new();
        for _ in 0..streams {
            let (requests, question) = (requests.clone(), question.clone());
            all.spawn(async move {
                let mut answers = 0;
                let mut requests = requests;
                loop {
                    requests = stream(requests, &question).await;
                    answers += 1;
                    if Instant::now() >= until {
                        return answers;
                    }
                }
            });
        }
        let answers = all.join_all().await.into_iter().sum();
        connection.abort();
        answers
    }
}

async fn connect(tls: &TlsConnector, address: SocketAddr) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tls.connect(address.ip().into(), tcp).await.unwrap()
}

async fn exchange(tls: &mut TlsStream<TcpStream>, question: &Question, buffer: &mut Vec<u8>) {
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: bank.example\r\nX-Request-ID: {REQUEST_ID}\r\n",
        question.path
    );
    for (name, value) in question.next() {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    tls.write_all(request.as_bytes()).await.unwrap();
    buffer.clear();
    let head = loop {
        assert_ne!(tls.read_buf(buffer).await.unwrap(), 0, "no answer");
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    assert!(
        buffer.starts_with(b"HTTP/1.1 200 "),
        "{}",
        String::from_utf8_lossy(buffer)
    );
    while buffer.len() < head + question.length {
        assert_ne!(tls.read_buf(buffer).await.unwrap(), 0, "half an answer");
    }
    assert_eq!(buffer.len(), head + question.length, "{}", question.path);
}

async fn stream(
    requests: SendRequest<&'static [u8]>,
    question: &Question,
) -> SendRequest<&'static [u8]> {
    let mut requests = requests.ready().await.unwrap();
    let mut request = http::Request::get(format!("https://bank.example{}", question.path))
        .header("x-request-id", REQUEST_ID);
    for (name, value) in question.next() {
        request = request.header(name, value);
    }
    let (answer, _) = requests
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200, "{}", question.path);
    let mut body = answer.into_body();
    let mut length = 0;
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap().len();
        length += piece;
        body.flow_control().release_capacity(piece).unwrap();
    }
    assert_eq!(length, question.length, "{}", question.path);
    requests
}
