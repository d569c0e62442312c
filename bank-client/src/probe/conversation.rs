//! TLS connection over a TCP socket, driven step by step.
//!
//! A ready-made TLS stream forgets the connection when a handshake fails. Here it stays, and with
//! it what had been agreed on until then.

use std::io::{Read as _, Write as _};

use rustls::{ClientConnection, HandshakeKind, InvalidMessage, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::answer;
use super::observations::{Agreed, End};

/// Bytes read from the socket at a time.
const PIECE: usize = 4096;

/// A connection to the server, and what came over it.
pub(super) struct Conversation {
    tcp: TcpStream,
    tls: ClientConnection,
    /// Decrypted data of the server.
    received: Vec<u8>,
}

impl Conversation {
    pub(super) fn new(tcp: TcpStream, tls: ClientConnection) -> Self {
        Self {
            tcp,
            tls,
            received: Vec::new(),
        }
    }

    /// Our side of the handshake.
    pub(super) async fn shake_hands(&mut self) -> Result<(), End> {
        while self.tls.is_handshaking() {
            self.send().await;
            self.receive().await?;
        }
        self.send().await;
        Ok(())
    }

    /// Sends a request, and reads until the answer is whole, the server ends the connection, or
    /// there are `most` bytes.
    pub(super) async fn ask(&mut self, request: &str, most: usize) -> Result<(), End> {
        // It goes into a buffer that is larger than any request of ours.
        let _ = self.tls.writer().write_all(request.as_bytes());
        self.send().await;
        while self.received.len() < most && !answer::is_whole(&self.received) {
            self.receive().await?;
        }
        Ok(())
    }

    /// Decrypted data of the server so far.
    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Negotiated parameters so far.
    pub(super) fn agreed(&self) -> Agreed {
        let version = self.tls.protocol_version();
        let protocol = self.tls.alpn_protocol();
        Agreed {
            version: version.map(version_name),
            judged_within: version == Some(ProtocolVersion::TLSv1_2),
            suite: self
                .tls
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite())),
            group: self
                .tls
                .negotiated_key_exchange_group()
                .map(|group| format!("{:?}", group.name())),
            protocol: protocol.map(|name| String::from_utf8_lossy(name).into_owned()),
            kind: self.tls.handshake_kind().map(kind_name),
            complete: !self.tls.is_handshaking(),
        }
    }

    /// Says goodbye, or sends the alert with which we broke off; the server may not be there to
    /// read it.
    pub(super) async fn end(&mut self) {
        self.tls.send_close_notify();
        self.send().await;
        let _ = self.tcp.shutdown().await;
    }

    /// Sends what TLS has to say. Whether it could not be sent shows in the next read, and there
    /// may be an alert to read before that.
    async fn send(&mut self) {
        let mut outgoing = Vec::new();
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut outgoing).is_err() {
                break;
            }
        }
        let _ = self.tcp.write_all(&outgoing).await;
    }

    /// Takes in what the server sent.
    async fn receive(&mut self) -> Result<(), End> {
        let broken = |error: std::io::Error| End::Closed(Some(error.to_string()));
        let mut piece = vec![0; PIECE];
        let length = self.tcp.read(&mut piece).await.map_err(broken)?;
        if length == 0 {
            return Err(End::Closed(None));
        }
        piece.truncate(length);
        let mut incoming = piece.as_slice();
        while !incoming.is_empty() {
            self.tls.read_tls(&mut incoming).map_err(broken)?;
            let state = match self.tls.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // In it is the alert that tells the server why.
                    self.send().await;
                    return Err(self.explain(error));
                }
            };
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.tls.reader().read_exact(&mut plain).map_err(broken)?;
            self.received.append(&mut plain);
            if state.peer_has_closed() {
                return Err(End::Closed(None));
            }
        }
        Ok(())
    }

    fn explain(&self, error: rustls::Error) -> End {
        match error {
            rustls::Error::AlertReceived(alert) => {
                End::Alert(shared_types::pki::alert::Alert(alert.into()))
            }
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) if self.tls.protocol_version().is_none() => End::NotTls,
            other => End::Fault(other.to_string()),
        }
    }
}

fn version_name(version: ProtocolVersion) -> String {
    match version {
        ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
        ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
        other => format!("{other:?}"),
    }
}

fn kind_name(kind: HandshakeKind) -> String {
    match kind {
        HandshakeKind::Full => "full",
        HandshakeKind::FullWithHelloRetryRequest => "full, after a retry with another group",
        HandshakeKind::Resumed => "resumed",
    }
    .to_owned()
}
