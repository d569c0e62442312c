//! Client of the operators' listener.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// Timeout after which a health check has failed, as with a load balancer.
const MAX_CHECK: Duration = Duration::from_secs(5);

/// The whole response to a GET, headers included. Blocks; panics if the listener cannot be reached.
pub fn get(operator: SocketAddr, path: &str) -> String {
    let mut tcp = TcpStream::connect(operator).unwrap();
    tcp.write_all(request(path).as_bytes()).unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

/// The whole response to a GET, or `None` if there is none within 5 s.
pub async fn try_get(operator: SocketAddr, path: &str) -> Option<String> {
    let exchange = async {
        let mut tcp = tokio::net::TcpStream::connect(operator).await?;
        tcp.write_all(request(path).as_bytes()).await?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    timeout(MAX_CHECK, exchange).await.ok()?.ok()
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}
