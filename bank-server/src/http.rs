//! Rules of HTTP that all listeners keep: the methods of a resource (RFC 9110, section 9) and the
//! host that a request names (RFC 9110, section 7.2; RFC 9112, section 3.2).

use std::net::Ipv6Addr;

use actix_web::body::MessageBody;
use actix_web::dev::{AppService, HttpServiceFactory, RequestHead};
use actix_web::http::header::{ALLOW, HOST, HeaderValue};
use actix_web::http::uri::Authority;
use actix_web::http::{Method, Uri, Version};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Responder, web};

/// A resource at one path. `GET` brings `HEAD` along; `OPTIONS` and all other methods are answered
/// with `Allow`.
pub(crate) struct Resource {
    routes: actix_web::Resource,
    methods: Vec<Method>,
    refuse: fn(&HttpRequest) -> HttpResponse,
}

/// A resource at that path.
pub(crate) fn resource(path: &str) -> Resource {
    Resource {
        routes: web::resource(path),
        methods: vec![Method::OPTIONS],
        refuse: |_| HttpResponse::MethodNotAllowed().finish(),
    }
}

macro_rules! methods {
    ($($name:ident: $method:ident;)*) => {
        $(pub(crate) fn $name<F, Args>(self, handler: F) -> Self
        where
            F: Handler<Args>,
            Args: FromRequest + 'static,
            F::Output: Responder<Body: MessageBody> + 'static,
        {
            self.on(Method::$method, handler)
        })*
    };
}

impl Resource {
    methods! {
        post: POST;
        put: PUT;
        delete: DELETE;
    }

    /// Sets the response to other methods, in the place of a `405` without a body.
    pub(crate) fn refuse(self, refuse: fn(&HttpRequest) -> HttpResponse) -> Self {
        Self { refuse, ..self }
    }

    /// Answers `GET`; and `HEAD`, whose body the protocol's encoder leaves out.
    pub(crate) fn get<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder<Body: MessageBody> + 'static,
    {
        self.on(Method::GET, handler.clone())
            .on(Method::HEAD, handler)
    }

    fn on<F, Args>(mut self, method: Method, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder<Body: MessageBody> + 'static,
    {
        self.methods.push(method.clone());
        self.routes = self.routes.route(web::method(method).to(handler));
        self
    }
}

impl HttpServiceFactory for Resource {
    fn register(self, config: &mut AppService) {
        let names: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
        // Names of methods are tokens: they make a header value.
        let allow = HeaderValue::from_str(&names.join(", ")).ok();
        let refuse = self.refuse;
        let others = move |request: HttpRequest| {
            let mut response = if request.method() == Method::OPTIONS {
                HttpResponse::NoContent().finish()
            } else {
                refuse(&request)
            };
            if let Some(allow) = allow.clone() {
                response.headers_mut().insert(ALLOW, allow);
            }
            std::future::ready(response)
        };
        self.routes
            .default_service(web::to(others))
            .register(config);
    }
}

/// A request does not name one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAHost {
    #[error("the header is required")]
    Missing,
    #[error("the header must be there once")]
    Repeated,
    #[error("expected a host name or an IP address, and at most a port: no user name and no path")]
    Malformed,
    #[error("the header and the target of the request (:authority) name different hosts")]
    Contradictory,
}

/// The host, with its port, that a request names: in its target, if that has one, otherwise in
/// `Host`. `None` for HTTP/1.0 without either.
pub(crate) fn named_host(head: &RequestHead) -> Result<Option<&str>, NotAHost> {
    let mut fields = head.headers.get_all(HOST);
    let field = fields.next();
    if fields.next().is_some() {
        return Err(NotAHost::Repeated);
    }
    let field = field
        .map(|value| {
            let text = value.to_str().ok().filter(|text| is_host(text));
            text.ok_or(NotAHost::Malformed)
        })
        .transpose()?;
    let target = authority(&head.uri)?;
    match (target, field) {
        // Over HTTP/1.1 the target counts (RFC 9112, section 3.2.2); over HTTP/2 both are to agree
        // (RFC 9113, section 8.3.1).
        (Some(target), Some(field))
            if head.version >= Version::HTTP_2 && !target.eq_ignore_ascii_case(field) =>
        {
            Err(NotAHost::Contradictory)
        }
        (_, None) if head.version == Version::HTTP_11 => Err(NotAHost::Missing),
        (None, None) if head.version >= Version::HTTP_2 => Err(NotAHost::Missing),
        (target, field) => Ok(target.or(field)),
    }
}

/// Whether the path or the query has a zero byte: no id has one, and not every database accepts one
/// in a query.
pub(crate) fn has_zero_byte(target: &Uri) -> bool {
    let text = target.path_and_query().map_or("", |text| text.as_str());
    text.contains("%00")
}

fn authority(target: &Uri) -> Result<Option<&str>, NotAHost> {
    match target.authority().map(Authority::as_str) {
        Some(authority) if !is_host(authority) => Err(NotAHost::Malformed),
        authority => Ok(authority),
    }
}

/// Whether a text is `uri-host [ ":" port ]` (RFC 3986, sections 3.2.2 and 3.2.3), without hosts
/// that are empty or percent-encoded: names in DNS are neither, and the `http` crate refuses `%` in
/// a host too.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            match rest {
                "" => return true,
                rest => match rest.strip_prefix(':') {
                    Some(port) => ("ip", port),
                    None => return false,
                },
            }
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
    let is_port = port.is_empty()
        || (port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok());
    !host.is_empty() && host.bytes().all(is_name) && is_port
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_at_most_a_port() {
        for host in [
            "localhost",
            "localhost:8443",
            "bank-b.example:",
            "192.0.2.1:1",
            "[2001:db8::1]",
            "[::1]:8443",
            "xn--bcher-kva.example",
        ] {
            assert!(is_host(host), "{host}");
        }
        for other in [
            "",
            ":8443",
            "localhost/x",
            "a@localhost",
            "a:b@localhost",
            "localhost:x",
            "localhost:80:80",
            "localhost:65536",
            "localhost:+1",
            "local host",
            "localhost?x",
            "localhost#x",
            "localhost\\x",
            "https://localhost",
            "::1",
            "[::1",
            "[::1]x",
            "[localhost]",
            "a%41b",
            "bücher.example",
            "localhost,localhost@",
        ] {
            assert!(!is_host(other), "{other}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        use NotAHost::{Contradictory, Malformed, Missing, Repeated};

        for (version, target, fields, expected) in [
            (Version::HTTP_11, "/", &["a"][..], Ok(Some("a"))),
            (Version::HTTP_11, "/", &[], Err(Missing)),
            (Version::HTTP_11, "/", &["a", "a"], Err(Repeated)),
            (Version::HTTP_11, "/", &["a/x"], Err(Malformed)),
            (Version::HTTP_11, "https://b/", &["a"], Ok(Some("b"))),
            (Version::HTTP_11, "https://b/", &[], Err(Missing)),
            (Version::HTTP_11, "https://x@b/", &["b"], Err(Malformed)),
            (Version::HTTP_10, "/", &[], Ok(None)),
            (Version::HTTP_10, "/", &["a@b"], Err(Malformed)),
            (Version::HTTP_2, "https://b/", &[], Ok(Some("b"))),
            (Version::HTTP_2, "https://b/", &["B"], Ok(Some("b"))),
            (Version::HTTP_2, "https://b/", &["a"], Err(Contradictory)),
            (Version::HTTP_2, "https://x@b/", &[], Err(Malformed)),
            (Version::HTTP_2, "/", &["b"], Ok(Some("b"))),
            (Version::HTTP_2, "/", &[], Err(Missing)),
        ] {
            let mut request = TestRequest::default().version(version).uri(target);
            for field in fields {
                request = request.append_header((HOST, *field));
            }
            let request = request.to_srv_request();
            let named = named_host(request.head());
            assert_eq!(named, expected, "{version:?} {target} {fields:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_the_library_takes_without_a_user(text in "\\PC{0,24}|[a-z0-9.:@/\\[\\]%-]{0,24}") {
            if is_host(&text) {
                prop_assert!(text.parse::<Authority>().is_ok(), "{text}");
                prop_assert!(!text.contains(['@', '/', '?', '#']), "{text}");
            }
        }
    }
}
