//! Mock bank behind a TLS terminator, which sends scripted responses or raw bytes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bank_client::BankBuilder;
use bank_client::environment::{Clock as _, ManualClock, SystemClock};
use fixtures::pki::{Identity, Pki};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::sdk::{BANK_B, bank_builder};
use crate::tls_terminator::{Manners, Shown, start_noting};

/// Certificates, a clock, and a front in the name of Bank B.
pub struct LoneBank {
    pub pki: Pki,
    pub clock: Arc<ManualClock>,
    pub front: SocketAddr,
    /// Certificates that clients have shown to the TLS terminator.
    pub shown: Shown,
}

impl LoneBank {
    /// A front before what speaks plain HTTP.
    pub async fn before(behind: SocketAddr) -> Self {
        Self::with_manners(behind, Manners::Honest).await
    }

    /// A front with these manners.
    pub async fn with_manners(behind: SocketAddr, manners: Manners) -> Self {
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let pki = Pki::make(clock.now()).unwrap();
        let root = pki.ca1.root_pem().unwrap();
        let (front, shown) = start_noting(&pki.bank_b.qwac, &root, behind, manners).await;
        Self {
            pki,
            clock,
            front,
            shown,
        }
    }

    /// A front before a server whose answers the test mounts.
    pub async fn mocked(manners: Manners) -> (Self, MockServer) {
        let behind = MockServer::start().await;
        (Self::with_manners(*behind.address(), manners).await, behind)
    }

    /// Builder of Bank A's handle for it.
    pub fn builder(&self) -> BankBuilder {
        self.builder_for(self.front, BANK_B, &self.pki.bank_a.qwac)
    }

    /// Builder of a handle under these certificates and this clock; errors call the bank Bank B.
    pub fn builder_for(
        &self,
        address: SocketAddr,
        organisation: &str,
        identity: &Identity,
    ) -> BankBuilder {
        bank_builder(address, organisation, &self.pki, identity)
            .name("Bank B")
            .clock(Arc::<ManualClock>::clone(&self.clock))
    }
}

/// A bank that returns scripted responses in order, whatever the request is, and then repeats the
/// last one.
pub struct ScriptedBank {
    pub lone: LoneBank,
    /// The requests that it has received.
    pub behind: MockServer,
}

struct Script(Mutex<VecDeque<ResponseTemplate>>);

impl Respond for Script {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        let mut script = self.0.lock().unwrap();
        if script.len() > 1 {
            script.pop_front().unwrap()
        } else {
            script[0].clone()
        }
    }
}

impl ScriptedBank {
    pub async fn start(script: impl IntoIterator<Item = ResponseTemplate>) -> Self {
        let (lone, behind) = LoneBank::mocked(Manners::Honest).await;
        Mock::given(any())
            .respond_with(Script(Mutex::new(script.into_iter().collect())))
            .mount(&behind)
            .await;
        Self { lone, behind }
    }

    /// The values of that header in all requests so far.
    pub async fn asked_with(&self, header: &str) -> Vec<String> {
        let requests = self.behind.received_requests().await.unwrap();
        let values = requests
            .iter()
            .map(|request| request.headers[header].to_str().unwrap().to_owned());
        values.collect()
    }
}

/// 200, and that.
pub fn well(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

/// A refusal in the standard's form.
pub fn refusal(status: u16, code: &str) -> ResponseTemplate {
    let message = json!({ "category": "ERROR", "code": code, "text": "a word of the bank's own" });
    ResponseTemplate::new(status).set_body_json(json!({ "tppMessages": [message] }))
}

/// Bytes that a raw bank writes after each head that it reads.
pub struct Raw {
    /// These bytes first.
    pub first: Vec<u8>,
    /// Then these bytes, `times` times.
    pub again: Vec<u8>,
    pub times: u64,
    /// With that time before each.
    pub every: Duration,
}

impl Raw {
    /// Sends only these bytes, and leaves the connection open.
    pub fn once(first: impl Into<Vec<u8>>) -> Self {
        Self {
            first: first.into(),
            again: Vec::new(),
            times: 0,
            every: Duration::ZERO,
        }
    }

    /// A whole answer in JSON.
    pub fn json(body: &str) -> Self {
        let length = body.len();
        Self::once(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \
             {length}\r\n\r\n{body}"
        ))
    }

    /// A beginning, and then the same piece without end.
    pub fn endless(first: impl Into<Vec<u8>>, again: impl Into<Vec<u8>>) -> Self {
        Self {
            again: again.into(),
            times: u64::MAX,
            ..Self::once(first)
        }
    }
}

/// A bank that sends scripted bytes.
pub struct RawBank {
    pub lone: LoneBank,
    asked: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
}

impl RawBank {
    /// `answer` makes the answer from the head of a request.
    pub async fn start(answer: impl Fn(&str) -> Raw + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = listener.local_addr().unwrap();
        let (asked, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        let (asking, sending) = (Arc::clone(&asked), Arc::clone(&sent));
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (asked, sent) = (Arc::clone(&asking), Arc::clone(&sending));
                let answer = Arc::clone(&answer);
                tokio::spawn(async move { serve(tcp, &*answer, &asked, &sent).await });
            }
        });
        Self {
            lone: LoneBank::before(behind).await,
            asked,
            sent,
        }
    }

    /// The number of requests.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The number of bytes that it has sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

/// Ends when the peer does.
async fn serve(
    mut tcp: TcpStream,
    answer: &(impl Fn(&str) -> Raw + Sync),
    asked: &AtomicUsize,
    sent: &AtomicU64,
) -> Option<()> {
    loop {
        let head = head(&mut tcp).await?;
        asked.fetch_add(1, Ordering::SeqCst);
        let raw = answer(&head);
        tcp.write_all(&raw.first).await.ok()?;
        sent.fetch_add(raw.first.len() as u64, Ordering::SeqCst);
        for _ in 0..raw.times {
            if !raw.every.is_zero() {
                tokio::time::sleep(raw.every).await;
            }
            tcp.write_all(&raw.again).await.ok()?;
            sent.fetch_add(raw.again.len() as u64, Ordering::SeqCst);
        }
    }
}

/// The head of the next request. None that these tests send has a body.
async fn head(tcp: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 4096];
        let length = tcp
            .read(&mut piece)
            .await
            .ok()
            .filter(|length| *length > 0)?;
        head.extend_from_slice(&piece[..length]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}
