//! The way back: where the customer's browser comes to when she is done at the bank.
//!
//! It listens on this machine alone, for one address, whose path nobody else knows. What else comes is turned away. What
//! the browser sends is never shown again; whether it belongs to what was asked for, the consent manager says.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bank_client::environment::Randomness;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, REFERRER_POLICY,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::time::timeout;

/// For one request and its answer.
const MOST_TIME: Duration = Duration::from_secs(5);

/// Connections at a time. A browser opens a few, some of them for nothing.
const MOST_CONNECTIONS: usize = 16;

/// For the head of a request, in bytes: the least that hyper takes.
const MOST_HEAD: usize = 8192;

/// Where the path begins.
const PATH: &str = "/back/";

/// Where the browser can come back to.
pub(super) struct Loopback {
    listener: TcpListener,
    address: SocketAddr,
    secret: String,
    /// Kept from one wait to the next: what comes while nobody waits is not lost.
    way_in: mpsc::Sender<String>,
    returned: Mutex<mpsc::Receiver<String>>,
    places: Arc<Semaphore>,
}

impl Loopback {
    /// Listens on that port, or with 0 on one of the system's choice.
    pub(super) async fn open(port: u16, randomness: &dyn Randomness) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let (way_in, returned) = mpsc::channel(1);
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            secret: randomness.uuid().simple().to_string(),
            way_in,
            returned: Mutex::new(returned),
            places: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
        })
    }

    /// The address to come back to.
    pub(super) fn url(&self) -> String {
        format!("http://{}{PATH}{}", self.address, self.secret)
    }

    /// Waits for the browser: what stands in the address behind the `?`. Whatever else comes is answered, and does not
    /// count.
    pub(super) async fn wait(&self) -> io::Result<String> {
        let mut returned = self.returned.lock().await;
        loop {
            tokio::select! {
                biased;
                Some(came) = returned.recv() => return Ok(came),
                accepted = self.listener.accept() => {
                    let (stream, _) = accepted?;
                    // Who comes when all places are taken is turned away.
                    if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                        let (way_in, gate) = (self.way_in.clone(), self.gate());
                        tokio::spawn(async move {
                            serve(stream, gate, way_in).await;
                            drop(place);
                        });
                    }
                }
            }
        }
    }

    fn gate(&self) -> Gate {
        Gate {
            host: self.address.to_string(),
            secret: self.secret.clone(),
        }
    }
}

/// What the way back is known by.
struct Gate {
    host: String,
    secret: String,
}

/// What is made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Returned,
    NotHere,
    NotOurs,
}

impl Gate {
    fn judge(&self, method: &Method, host: Option<&str>, path: &str) -> Met {
        let Some(secret) = path.strip_prefix(PATH).filter(|_| method == Method::GET) else {
            return Met::NotHere;
        };
        let ours = verify_slices_are_equal(secret.as_bytes(), self.secret.as_bytes()).is_ok();
        // Another host's name that leads here is somebody's trick.
        if ours && host == Some(&self.host) {
            Met::Returned
        } else {
            Met::NotOurs
        }
    }
}

/// Answers one request. The return is told on once the browser has its answer.
async fn serve(stream: TcpStream, gate: Gate, way_in: mpsc::Sender<String>) {
    let brought = OnceLock::new();
    let service = service_fn(|request: Request<Incoming>| {
        let host = request
            .headers()
            .get(HOST)
            .and_then(|host| host.to_str().ok());
        let met = gate.judge(request.method(), host, request.uri().path());
        if met == Met::Returned {
            let query = request.uri().query().unwrap_or_default();
            // A connection brings one request.
            let _ = brought.set(query.to_owned());
        }
        async move { Ok::<_, Infallible>(answer(met)) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MOST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // Who is cut off, or cuts us off, has had or has wanted no answer.
    let _ = timeout(MOST_TIME, connection).await;
    if let Some(query) = brought.into_inner() {
        // One return waits at most.
        let _ = way_in.try_send(query);
    }
}

/// A page that says nothing of what was sent.
fn answer(met: Met) -> Response<Full<Bytes>> {
    let (status, text) = match met {
        Met::Returned => (
            StatusCode::OK,
            "You are back from the bank. You can close this window, and see in the terminal what came of it.",
        ),
        Met::NotHere => (StatusCode::NOT_FOUND, "There is nothing here."),
        Met::NotOurs => (
            StatusCode::FORBIDDEN,
            "This is not what bank-client waits for.",
        ),
    };
    let page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>bank-client</title><p>{text}</p></html>"
    );
    let mut response = Response::new(Full::new(Bytes::from(page)));
    *response.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use bank_client::environment::SystemRandomness;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn only_the_return_that_we_asked_for_counts() {
        let gate = Gate {
            host: "127.0.0.1:4711".to_owned(),
            secret: "s3cret".to_owned(),
        };
        let here = "127.0.0.1:4711";
        for (method, host, path, expected) in [
            (Method::GET, here, "/back/s3cret", Met::Returned),
            (Method::POST, here, "/back/s3cret", Met::NotHere),
            (Method::GET, here, "/", Met::NotHere),
            (Method::GET, here, "/back", Met::NotHere),
            (Method::GET, here, "/favicon.ico", Met::NotHere),
            (Method::GET, here, "/back/", Met::NotOurs),
            (Method::GET, here, "/back/s3cre", Met::NotOurs),
            (Method::GET, here, "/back/s3cret2", Met::NotOurs),
            (Method::GET, here, "/back/s3cret/", Met::NotOurs),
            (
                Method::GET,
                "evil.example:4711",
                "/back/s3cret",
                Met::NotOurs,
            ),
        ] {
            assert_eq!(
                gate.judge(&method, Some(host), path),
                expected,
                "{method} {host} {path}"
            );
        }
        assert_eq!(gate.judge(&Method::GET, None, "/back/s3cret"), Met::NotOurs);
    }

    async fn ask(loopback: &Loopback, request: &str) -> String {
        let mut stream = TcpStream::connect(loopback.address).await.unwrap();
        let host = loopback.address;
        let request = format!("{request}\r\nHost: {host}\r\n\r\n");
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn the_browser_is_answered_and_the_return_told() {
        let loopback = Loopback::open(0, &SystemRandomness).await.unwrap();
        assert!(loopback.address.ip().is_loopback());
        let ask = async {
            let icon = ask(&loopback, "GET /favicon.ico HTTP/1.1").await;
            assert!(icon.starts_with("HTTP/1.1 404"), "{icon}");
            let forged = ask(&loopback, "GET /back/<script>?code=<b> HTTP/1.1").await;
            assert!(!forged.contains("200 OK"), "{forged}");
            assert!(
                !forged.contains("script") && !forged.contains("<b>"),
                "{forged}"
            );
            let long = ask(
                &loopback,
                &format!("GET /back?{} HTTP/1.1", "a".repeat(20_000)),
            )
            .await;
            assert!(!long.contains("200 OK"), "{long}");
            let path = format!(
                "GET {PATH}{}?state=x&code=%3Cb%3E HTTP/1.1",
                loopback.secret
            );
            let good = ask(&loopback, &path).await;
            assert!(good.starts_with("HTTP/1.1 200"), "{good}");
            assert!(
                good.contains("default-src 'none'") && good.contains("You can close this window"),
                "{good}"
            );
            assert!(!good.contains("<b>"), "{good}");
        };
        let (returned, ()) = tokio::join!(loopback.wait(), ask);
        assert_eq!(returned.unwrap(), "state=x&code=%3Cb%3E");
    }
}
