//! TLS connection over a TCP socket, driven step by step.
//!
//! A TLS stream of tokio-rustls drops the connection when a handshake fails. Here it stays, with
//! the parameters that were negotiated before the failure.

use std::io::{Read as _, Write as _};

use rustls::{ClientConnection, HandshakeKind, InvalidMessage, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::answer;
use super::observations::{End, Negotiated};

/// Bytes read from the socket at a time.
const READ_BYTES: usize = 4096;

/// A connection to the server, and the data received over it.
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

    /// Performs our side of the handshake.
    pub(super) async fn shake_hands(&mut self) -> Result<(), End> {
        while self.tls.is_handshaking() {
            self.send().await;
            self.receive().await?;
        }
        self.send().await;
        Ok(())
    }

    /// Sends a request, and reads until the response is complete, the server ends the connection,
    /// or `max_bytes` are received.
    pub(super) async fn request(&mut self, request: &str, max_bytes: usize) -> Result<(), End> {
        // Cannot fail: the buffer is larger than any request of ours.
        let _ = self.tls.writer().write_all(request.as_bytes());
        self.send().await;
        while self.received.len() < max_bytes && !answer::is_finished(&self.received) {
            self.receive().await?;
        }
        Ok(())
    }

    /// Decrypted data of the server so far.
    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Negotiated parameters so far.
    pub(super) fn negotiated(&self) -> Negotiated {
        let version = self.tls.protocol_version();
        let protocol = self.tls.alpn_protocol();
        Negotiated {
            version: version.map(version_name),
            verifies_client_in_handshake: version == Some(ProtocolVersion::TLSv1_2),
            cipher_suite: self
                .tls
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite())),
            key_exchange_group: self
                .tls
                .negotiated_key_exchange_group()
                .map(|group| format!("{:?}", group.name())),
            application_protocol: protocol.map(|name| String::from_utf8_lossy(name).into_owned()),
            handshake_kind: self.tls.handshake_kind().map(kind_name),
            is_complete: !self.tls.is_handshaking(),
        }
    }

    /// Closes the connection: sends `close_notify`, or the alert with which we aborted. Errors are
    /// ignored, for the server may be gone.
    pub(super) async fn close(&mut self) {
        self.tls.send_close_notify();
        self.send().await;
        let _ = self.tcp.shutdown().await;
    }

    /// Sends the pending TLS records. An error is ignored: the next read fails too, and may first
    /// return the server's alert.
    async fn send(&mut self) {
        let mut outgoing = Vec::new();
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut outgoing).is_err() {
                break;
            }
        }
        let _ = self.tcp.write_all(&outgoing).await;
    }

    /// Reads once from the socket, and decrypts the data.
    async fn receive(&mut self) -> Result<(), End> {
        let broken = |error: std::io::Error| End::Closed(Some(error.to_string()));
        let mut chunk = vec![0; READ_BYTES];
        let length = self.tcp.read(&mut chunk).await.map_err(broken)?;
        if length == 0 {
            return Err(End::Closed(None));
        }
        chunk.truncate(length);
        let mut incoming = chunk.as_slice();
        while !incoming.is_empty() {
            self.tls.read_tls(&mut incoming).map_err(broken)?;
            let state = match self.tls.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // Sends the alert with our reason.
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
            other => End::TlsError(other.to_string()),
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
