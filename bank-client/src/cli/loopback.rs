//! Loopback HTTP listener that receives the customer's browser after an approval (RFC 8252).
//!
//! Listens on 127.0.0.1, for one redirect URI with a random path; other requests are refused. The
//! response never repeats what the browser sent. The consent manager validates the query.

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

/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of concurrent connections. A browser opens a few, not all of which it uses.
const MAX_CONNECTIONS: usize = 16;

/// Maximum size of a request's head: the minimum that hyper allows.
const MAX_HEAD_BYTES: usize = 8192;

/// Prefix of the redirect URI's path.
const PATH: &str = "/back/";

/// The listener with its secret path.
pub(super) struct Loopback {
    listener: TcpListener,
    address: SocketAddr,
    secret: String,
    /// Lives from one wait to the next, so that a redirect between two waits is not lost.
    sender: mpsc::Sender<String>,
    returned: Mutex<mpsc::Receiver<String>>,
    permits: Arc<Semaphore>,
}

impl Loopback {
    /// Listens on `port`; 0 lets the system choose one.
    pub(super) async fn open(port: u16, randomness: &dyn Randomness) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let (sender, returned) = mpsc::channel(1);
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            secret: randomness.uuid().simple().to_string(),
            sender,
            returned: Mutex::new(returned),
            permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        })
    }

    /// The redirect URI.
    pub(super) fn url(&self) -> String {
        format!("http://{}{PATH}{}", self.address, self.secret)
    }

    /// Waits for the redirect and returns its query. Answers other requests without returning.
    pub(super) async fn wait(&self) -> io::Result<String> {
        let mut returned = self.returned.lock().await;
        loop {
            tokio::select! {
                biased;
                Some(came) = returned.recv() => return Ok(came),
                accepted = self.listener.accept() => {
                    let (stream, _) = accepted?;
                    // Over the limit, the connection is closed.
                    if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                        let (sender, check) = (self.sender.clone(), self.check());
                        tokio::spawn(async move {
                            serve(stream, check, sender).await;
                            drop(permit);
                        });
                    }
                }
            }
        }
    }

    fn check(&self) -> RedirectCheck {
        RedirectCheck {
            host: self.address.to_string(),
            secret: self.secret.clone(),
        }
    }
}

/// The host and secret that a redirect must have.
struct RedirectCheck {
    host: String,
    secret: String,
}

/// The classification of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RedirectOutcome {
    Returned,
    NotFound,
    Forbidden,
}

impl RedirectCheck {
    fn classify(&self, method: &Method, host: Option<&str>, path: &str) -> RedirectOutcome {
        let Some(secret) = path.strip_prefix(PATH).filter(|_| method == Method::GET) else {
            return RedirectOutcome::NotFound;
        };
        let is_secret = verify_slices_are_equal(secret.as_bytes(), self.secret.as_bytes()).is_ok();
        // Another host name that resolves to this machine is DNS rebinding.
        if is_secret && host == Some(&self.host) {
            RedirectOutcome::Returned
        } else {
            RedirectOutcome::Forbidden
        }
    }
}

/// Serves one request. Passes the query on once the browser has its response.
async fn serve(stream: TcpStream, check: RedirectCheck, sender: mpsc::Sender<String>) {
    let redirect_query = OnceLock::new();
    let service = service_fn(|request: Request<Incoming>| {
        let host = request
            .headers()
            .get(HOST)
            .and_then(|host| host.to_str().ok());
        let outcome = check.classify(request.method(), host, request.uri().path());
        if outcome == RedirectOutcome::Returned {
            let query = request.uri().query().unwrap_or_default();
            // A connection carries one request.
            let _ = redirect_query.set(query.to_owned());
        }
        async move { Ok::<_, Infallible>(answer(outcome)) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // A timeout or a closed connection needs no response.
    let _ = timeout(REQUEST_TIMEOUT, connection).await;
    if let Some(query) = redirect_query.into_inner() {
        // The channel holds one redirect; further ones are dropped.
        let _ = sender.try_send(query);
    }
}

/// A page that repeats nothing of the request.
fn answer(outcome: RedirectOutcome) -> Response<Full<Bytes>> {
    let (status, text) = match outcome {
        RedirectOutcome::Returned => (
            StatusCode::OK,
            "You are back from the bank. You can close this window; the result is in the terminal.",
        ),
        RedirectOutcome::NotFound => (StatusCode::NOT_FOUND, "Page not found."),
        RedirectOutcome::Forbidden => (
            StatusCode::FORBIDDEN,
            "bank-client does not expect this request.",
        ),
    };
    let page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\">\
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
    fn only_the_redirect_with_our_host_and_secret_is_accepted() {
        let check = RedirectCheck {
            host: "127.0.0.1:4711".to_owned(),
            secret: "s3cret".to_owned(),
        };
        let here = "127.0.0.1:4711";
        for (method, host, path, expected) in [
            (Method::GET, here, "/back/s3cret", RedirectOutcome::Returned),
            (
                Method::POST,
                here,
                "/back/s3cret",
                RedirectOutcome::NotFound,
            ),
            (Method::GET, here, "/", RedirectOutcome::NotFound),
            (Method::GET, here, "/back", RedirectOutcome::NotFound),
            (Method::GET, here, "/favicon.ico", RedirectOutcome::NotFound),
            (Method::GET, here, "/back/", RedirectOutcome::Forbidden),
            (Method::GET, here, "/back/s3cre", RedirectOutcome::Forbidden),
            (
                Method::GET,
                here,
                "/back/s3cret2",
                RedirectOutcome::Forbidden,
            ),
            (
                Method::GET,
                here,
                "/back/s3cret/",
                RedirectOutcome::Forbidden,
            ),
            (
                Method::GET,
                "evil.example:4711",
                "/back/s3cret",
                RedirectOutcome::Forbidden,
            ),
        ] {
            assert_eq!(
                check.classify(&method, Some(host), path),
                expected,
                "{method} {host} {path}"
            );
        }
        assert_eq!(
            check.classify(&Method::GET, None, "/back/s3cret"),
            RedirectOutcome::Forbidden
        );
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
    async fn the_browser_gets_a_page_and_the_query_is_returned() {
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
