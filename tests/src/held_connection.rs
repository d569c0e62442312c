//! HTTP/1.1 connection over OpenSSL that stays open between requests.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use fixtures::openssl_client::{Tls, context, dial, try_handshake};
use fixtures::pki::Identity;
use openssl::ssl::{Ssl, SslStream};

use crate::http::{REQUEST_ID, Response, STATUS_PATH};

/// A TLS 1.3 connection that shows that certificate and offers no ALPN protocol.
pub fn connect(address: SocketAddr, identity: &Identity) -> SslStream<TcpStream> {
    handshake(dial(address).unwrap(), identity, None)
}

/// The handshake on a TCP connection, with ALPN protocols in wire format if any are offered.
pub fn handshake(tcp: TcpStream, identity: &Identity, alpn: Option<&[u8]>) -> SslStream<TcpStream> {
    let mut ssl = Ssl::new(&context(Some(identity), Tls::V1_3).unwrap()).unwrap();
    if let Some(protocols) = alpn {
        ssl.set_alpn_protos(protocols).unwrap();
    }
    try_handshake(ssl, tcp).unwrap().unwrap()
}

pub struct HeldConnection(SslStream<TcpStream>);

impl HeldConnection {
    /// Connects, and sends nothing yet.
    pub fn open(address: SocketAddr, identity: &Identity) -> Self {
        Self(connect(address, identity))
    }

    /// Connects to a bank that accepts the certificate: it has answered one request for
    /// [`STATUS_PATH`] with 403.
    pub fn accepted(bank: SocketAddr, identity: &Identity) -> Self {
        let mut connection = Self::open(bank, identity);
        assert_eq!(connection.get_status().status, 403);
        connection
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).unwrap();
    }

    /// Sends a request with an `X-Request-ID`, and reads the response.
    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Response {
        let lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let lines = lines.concat();
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: {REQUEST_ID}\r\n{lines}\r\n"
        ));
        self.response()
    }

    /// The response to a request for a consent that does not exist: 403 from a bank that accepts
    /// the certificate.
    pub fn get_status(&mut self) -> Response {
        self.get(STATUS_PATH, &[])
    }

    /// Reads one response.
    pub fn response(&mut self) -> Response {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(self.byte().expect("a response"));
        }
        let length: usize = Response::read(&bytes)
            .header("content-length")
            .unwrap()
            .parse()
            .unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        bytes.extend(body);
        Response::read(&bytes)
    }

    /// Whether the peer closes the connection and sends nothing more.
    pub fn is_closed(&mut self) -> bool {
        self.byte().is_none()
    }

    /// Data that the peer sends unasked until the connection ends, and when it ended.
    pub fn until_the_end(mut self) -> std::thread::JoinHandle<(String, Instant)> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // A connection that is cut is detected by the data that was read, not by the error.
            let _ = self.0.read_to_end(&mut bytes);
            (String::from_utf8_lossy(&bytes).into_owned(), Instant::now())
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        match self.0.read(&mut byte) {
            Ok(1) => Some(byte[0]),
            Ok(_) => None,
            Err(error) => {
                let kind = error.kind();
                assert_ne!(kind, ErrorKind::WouldBlock, "the peer sends nothing");
                None
            }
        }
    }
}
