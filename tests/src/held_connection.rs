//! A connection that is held open.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Instant;

use fixtures::outsider::{Tls, context, dial, shake_hands};
use fixtures::pki::Identity;
use openssl::ssl::{Ssl, SslStream};

/// A request that a bank which lets its peer in answers with 403.
pub const STATUS: &str = "GET /v1/consents/none/status HTTP/1.1\r\nHost: localhost\r\n\
                      X-Request-ID: 99391c7e-ad88-49ec-a2ad-99ddcb1f7721\r\n\r\n";

/// An HTTP/1.1 connection that has had one answer, and asks nothing more.
pub struct Held(SslStream<std::net::TcpStream>);

impl Held {
    pub fn open(bank: SocketAddr, identity: &Identity) -> Self {
        let context = context(Some(identity), Tls::V1_3).unwrap();
        let mut held = Self(
            shake_hands(Ssl::new(&context).unwrap(), dial(bank).unwrap())
                .unwrap()
                .unwrap(),
        );
        assert!(held.ask().starts_with("HTTP/1.1 403"));
        held
    }

    /// Asks once more, and reads one answer.
    pub fn ask(&mut self) -> String {
        self.0.write_all(STATUS.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        let head = String::from_utf8(answer).unwrap();
        let length: usize = head
            .to_ascii_lowercase()
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.split_once("\r\n"))
            .map(|(length, _)| length.parse().unwrap())
            .unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        head + String::from_utf8(body).unwrap().as_str()
    }

    /// What the bank says before it ends the connection, without being asked; and when it ended.
    pub fn until_the_end(mut self) -> std::thread::JoinHandle<(String, Instant)> {
        std::thread::spawn(move || {
            let mut said = Vec::new();
            // A connection that is cut shows in what was read, not in how it ended.
            let _ = self.0.read_to_end(&mut said);
            (String::from_utf8_lossy(&said).into_owned(), Instant::now())
        })
    }
}
