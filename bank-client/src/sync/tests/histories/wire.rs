//! HTTP server of the simulated bank, and the points at which the TPP is killed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::answers::{Answer, Fault};
use super::truth::Truth;

/// What becomes of one of a run's requests, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Fault(u64, Fault),
    /// The TPP is killed while it waits for the answer; whether the bank has heard the question.
    Killed(u64, bool),
}

/// The bank while it answers a run.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) truth: Option<Truth>,
    pub(super) trouble: Option<Trouble>,
    pub(super) killed: Arc<Notify>,
    /// The requests of this run.
    pub(super) asked: Vec<String>,
}

/// A bank that listens. It serves one history after another.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) desk: Arc<Mutex<Desk>>,
    pub(super) address: SocketAddr,
}

impl Wire {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let wire = Self {
            desk: Arc::default(),
            address: listener.local_addr().unwrap(),
        };
        let serving = wire.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        wire
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Desk) -> T) -> T {
        look(&mut self.desk.lock().unwrap())
    }

    /// Answers the requests of a connection, none of which has a body.
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut read = Vec::new();
        loop {
            while !read.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut read).await.ok()? == 0 {
                    return None;
                }
            }
            let head = String::from_utf8(std::mem::take(&mut read)).ok()?;
            let target = head.split(' ').nth(1)?;
            let field = |name: &str| {
                let fields = head.lines().filter_map(|line| line.split_once(": "));
                fields
                    .filter(|(field, _)| *field == name)
                    .map(|(_, value)| value)
                    .next()
            };
            let (status, kind, body) = match self.answer(target, field("consent-id")?) {
                Answer::Json(status, body) => (status, "application/json", body.to_string()),
                Answer::Empty(status) => (status, "application/json", String::new()),
                Answer::Html(status) => (status, "text/html", "<h1>Sorry</h1>".to_owned()),
                Answer::Cut => return None,
                Answer::Silence => {
                    self.with(|desk| desk.killed.notify_one());
                    // It ends along with the connection.
                    stream.read_buf(&mut read).await.ok()?;
                    return None;
                }
            };
            let id = field("x-request-id")?;
            let length = if status == 204 {
                String::new()
            } else {
                format!("Content-Length: {}\r\n", body.len())
            };
            let answer = format!(
                "HTTP/1.1 {status} Said\r\nX-Request-ID: {id}\r\nContent-Type: {kind}\r\n{length}\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }

    fn answer(&self, target: &str, consent: &str) -> Answer {
        let url = format!("http://{}{target}", self.address).parse().unwrap();
        self.with(|desk| {
            // A run that was killed may be heard when the next one has ended.
            let Some(truth) = &mut desk.truth else {
                return Answer::Cut;
            };
            let number = desk.asked.len() as u64;
            desk.asked.push(target.to_owned());
            let fault = match desk.trouble {
                Some(Trouble::Killed(at, heard)) if at == number => {
                    if heard {
                        truth.answer(&url, consent, None);
                    }
                    return Answer::Silence;
                }
                Some(Trouble::Fault(at, fault)) if at == number => Some(fault),
                _ => None,
            };
            truth.answer(&url, consent, fault)
        })
    }
}
