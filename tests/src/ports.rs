//! Free TCP ports on 127.0.0.1, for programs that cannot choose a port themselves. For a port that
//! stays closed see [`crate::closed_port`].

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::wait::wait_for;

/// Below the range from which Linux takes ports for connections and for port 0.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Listens at that address. A program that another test starts at this moment may hold a listener
/// of ours that was dropped, until it has begun.
pub async fn listen(address: SocketAddr) -> TcpListener {
    wait_for("a free port", || TcpListener::bind(address).ok()).await
}

/// An address for a program that is started later. Within this process each port is returned once;
/// other processes begin elsewhere in the range.
pub fn free() -> SocketAddr {
    static GIVEN: AtomicU16 = AtomicU16::new(0);

    let start = u16::try_from(std::process::id() % u32::from(COUNT / 100)).unwrap() * 100;
    loop {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        assert!(given < COUNT, "every port of the range was given out");
        let port = FIRST + (start + given) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
