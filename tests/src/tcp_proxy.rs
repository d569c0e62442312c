//! TCP proxy between a bank and its database that can drop all traffic without closing connections.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;

/// Leads from an address of its own to the database's socket, until it is dropped.
pub struct Wire {
    pub address: SocketAddr,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy)]
struct State {
    cut: bool,
    /// Connections made before that moment lead nowhere any more.
    forgotten: Instant,
}

/// State after the network is there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Healed {
    /// Connections continue; data in transit arrives late.
    AsBefore,
    /// Only new ones lead to the database. The existing ones are not closed: their packets are
    /// dropped.
    ForNewConnections,
}

impl Wire {
    pub async fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, watched) = watch::channel(State {
            cut: false,
            forgotten: Instant::now(),
        });
        tokio::spawn(async move {
            while let Ok((bank, _)) = listener.accept().await {
                let (mut watched, socket) = (watched.clone(), socket.clone());
                let since = Instant::now();
                tokio::spawn(async move {
                    passable(&mut watched, since).await;
                    // A stopped database accepts no connection: the bank's connection ends.
                    let Ok(database) = UnixStream::connect(&socket).await else {
                        return;
                    };
                    let (from_bank, to_bank) = bank.into_split();
                    let (from_database, to_database) = database.into_split();
                    let there = pass(from_bank, to_database, watched.clone(), since);
                    let back = pass(from_database, to_bank, watched, since);
                    tokio::join!(there, back);
                });
            }
        });
        Self { address, state }
    }

    /// From now on nothing arrives.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cut = true);
    }

    pub fn heal(&self, how: Healed) {
        self.state.send_modify(|state| {
            state.cut = false;
            if how == Healed::ForNewConnections {
                state.forgotten = Instant::now();
            }
        });
    }
}

/// Waits until the network forwards the data of that connection.
async fn passable(state: &mut watch::Receiver<State>, since: Instant) {
    let open = state.wait_for(|state| !state.cut && state.forgotten < since);
    if open.await.is_err() {
        // The proxy was dropped.
        std::future::pending::<()>().await;
    }
}

/// In one direction, to its end.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
    since: Instant,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await.unwrap_or(0);
        passable(&mut state, since).await;
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            // The other end learns of it.
            let _ = to.shutdown().await;
            return;
        }
    }
}
