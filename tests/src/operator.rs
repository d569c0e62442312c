//! What a bank's operators ask it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// The answer to a GET at the operators' listener: the whole of it.
pub fn get(operator: SocketAddr, path: &str) -> String {
    let mut tcp = TcpStream::connect(operator).unwrap();
    write!(
        tcp,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}
