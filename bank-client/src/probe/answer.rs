//! Parser of the HTTP/1.1 response to the probe's request, and the server's reaction that it shows.
//!
//! Parses no more of HTTP/1.1 (RFC 9112) than the verdict needs.

use shared_types::decode::decode;
use shared_types::pki::certificate::printable;
use shared_types::xs2a::message::{MessageCode, TppMessage, TppMessages};

/// Parsed response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbeResponse {
    pub(crate) status: u16,
    /// Bytes received, head and body.
    pub(crate) size: usize,
    /// Whether the whole response was received.
    pub(crate) is_complete: bool,
    pub(crate) reaction: Reaction,
}

/// The server's reaction to our identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// It accepts us as a client. It may still reject the request.
    Accepts,
    /// It refuses us as a client, for these reasons.
    Refuses(Vec<Reason>),
    /// It refuses our certificate with an HTTP response that contains this sentence.
    RefusesCertificate(&'static str),
    /// It failed (status 5xx), not because of the client.
    Fails,
}

/// Reason for a refusal (`tppMessages` of the standard).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    /// The code, such as `CERTIFICATE_BLOCKED`.
    pub code: String,
    /// The bank's text, without control characters.
    pub text: Option<String>,
}

/// Failure to parse a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseError {
    /// The end of the head has not been received.
    Incomplete,
    /// The bytes are not HTTP/1.1.
    NotHttp,
}

/// Whether reading can stop: the response is complete, or is not HTTP.
pub(crate) fn is_finished(received: &[u8]) -> bool {
    match parse(received) {
        Ok(response) => response.is_complete,
        Err(ResponseError::NotHttp) => true,
        Err(ResponseError::Incomplete) => false,
    }
}

/// Parses the bytes received so far.
pub(crate) fn parse(received: &[u8]) -> Result<ProbeResponse, ResponseError> {
    let mut rest = received;
    let head = loop {
        let (head, after) = split_head(rest)?;
        rest = after;
        // Informational responses (1xx) precede the final one.
        if !(100..200).contains(&head.status) {
            break head;
        }
    };
    let (body, is_complete) = body(&head, rest);
    Ok(ProbeResponse {
        status: head.status,
        size: received.len(),
        is_complete,
        reaction: reaction(head.status, &body),
    })
}

struct Head {
    status: u16,
    content_length: Option<usize>,
    is_chunked: bool,
}

fn split_head(bytes: &[u8]) -> Result<(Head, &[u8]), ResponseError> {
    const PREFIX: &[u8] = b"HTTP/1.";

    if !bytes
        .iter()
        .zip(PREFIX)
        .all(|(byte, expected)| byte == expected)
    {
        return Err(ResponseError::NotHttp);
    }
    let end = position(bytes, b"\r\n\r\n").ok_or(ResponseError::Incomplete)?;
    let (head, rest) = bytes
        .split_at_checked(end + 4)
        .ok_or(ResponseError::Incomplete)?;
    let text = std::str::from_utf8(head).map_err(|_| ResponseError::NotHttp)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default().split(' ').nth(1);
    let status = status
        .filter(|code| code.len() == 3)
        .and_then(|code| code.parse().ok())
        .filter(|code| (100..600).contains(code))
        .ok_or(ResponseError::NotHttp)?;
    let mut head = Head {
        status,
        content_length: None,
        is_chunked: false,
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            head.content_length = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.is_chunked = value.to_ascii_lowercase().contains("chunked");
        }
    }
    Ok((head, rest))
}

/// The received part of the body, and whether it is all of it. A body without a length ends with
/// the connection, and is never known to be complete.
fn body(head: &Head, rest: &[u8]) -> (Vec<u8>, bool) {
    if matches!(head.status, 204 | 304) {
        (Vec::new(), true)
    } else if head.is_chunked {
        decode_chunked(rest)
    } else if let Some(length) = head.content_length {
        let body = rest.iter().take(length).copied().collect();
        (body, rest.len() >= length)
    } else {
        (rest.to_vec(), false)
    }
}

/// Decodes a body in chunks (RFC 9112, section 7.1), without trailers.
fn decode_chunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = position(rest, b"\r\n") else {
            return (body, false);
        };
        let line = rest.get(..end).unwrap_or_default();
        let size = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split(';').next())
            .and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        rest = rest.get(end + 2..).unwrap_or_default();
        match size {
            // After an invalid chunk size, nothing more can be decoded.
            None | Some(0) => return (body, true),
            Some(size) => {
                body.extend(rest.iter().take(size));
                let Some(after) = size.checked_add(2).and_then(|next| rest.get(next..)) else {
                    return (body, false);
                };
                rest = after;
            }
        }
    }
}

fn reaction(status: u16, body: &[u8]) -> Reaction {
    let reasons = reasons(body);
    if let Some(sentence) = nginx_certificate_error(status, body) {
        Reaction::RefusesCertificate(sentence)
    } else if reasons.iter().any(|reason| is_about_client(status, reason)) {
        Reaction::Refuses(reasons.into_iter().map(Reason::from).collect())
    } else if status >= 500 {
        Reaction::Fails
    } else if status == 429 || (matches!(status, 401 | 403) && reasons.is_empty()) {
        Reaction::Refuses(Vec::new())
    } else {
        Reaction::Accepts
    }
}

fn reasons(body: &[u8]) -> Vec<TppMessage> {
    decode::<TppMessages>(body)
        .map(|messages| messages.tpp_messages)
        .unwrap_or_default()
}

/// Whether a message is about the client, not about the request. The probe's request has no
/// consent, token or signature, so messages about the request are expected. A code that is not in
/// the standard is about the client if the status is 401, 403 or 429.
fn is_about_client(status: u16, message: &TppMessage) -> bool {
    match message.code {
        MessageCode::CertificateInvalid
        | MessageCode::CertificateExpired
        | MessageCode::CertificateBlocked
        | MessageCode::CertificateRevoke
        | MessageCode::CertificateMissing
        | MessageCode::RoleInvalid
        | MessageCode::ServiceBlocked
        | MessageCode::AccessExceeded => true,
        MessageCode::Other(_) => matches!(status, 401 | 403 | 429),
        _ => false,
    }
}

/// The sentence with which nginx refuses a client certificate: it completes every handshake, and
/// then responds with a page of status 400.
fn nginx_certificate_error(status: u16, body: &[u8]) -> Option<&'static str> {
    const SENTENCES: [&str; 2] = [
        "No required SSL certificate was sent",
        "The SSL certificate error",
    ];
    SENTENCES
        .into_iter()
        .filter(|_| status == 400)
        .find(|sentence| position(body, sentence.as_bytes()).is_some())
}

/// Index of the first occurrence of `pattern`.
fn position(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes
        .windows(pattern.len())
        .position(|window| window == pattern)
}

impl From<TppMessage> for Reason {
    fn from(message: TppMessage) -> Self {
        Self {
            code: printable(message.code.as_str()),
            text: message.text.map(|text| printable(text.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn response(status: u16, body: &str) -> ProbeResponse {
        let length = body.len();
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
        parse(text.as_bytes()).unwrap()
    }

    fn message(code: &str) -> String {
        format!(r#"{{"tppMessages":[{{"category":"ERROR","code":"{code}","text":"so it is"}}]}}"#)
    }

    #[test]
    fn only_messages_about_the_client_are_refusals() {
        let refuses = |code: &str| {
            Reaction::Refuses(vec![Reason {
                code: code.to_owned(),
                text: Some("so it is".to_owned()),
            }])
        };
        for (status, code) in [
            (401, "CERTIFICATE_BLOCKED"),
            (401, "ROLE_INVALID"),
            (403, "SERVICE_BLOCKED"),
            (403, "HOUSE_RULE"),
            (429, "ACCESS_EXCEEDED"),
        ] {
            assert_eq!(response(status, &message(code)).reaction, refuses(code));
        }
        for (status, code) in [
            (401, "TOKEN_INVALID"),
            (401, "CONSENT_INVALID"),
            (403, "CONSENT_UNKNOWN"),
            (400, "FORMAT_ERROR"),
            (404, "RESOURCE_UNKNOWN"),
            (404, "NO_SUCH_PAGE"),
        ] {
            assert_eq!(
                response(status, &message(code)).reaction,
                Reaction::Accepts,
                "{code}"
            );
        }
        for status in [401, 403, 429] {
            assert_eq!(
                response(status, "go away").reaction,
                Reaction::Refuses(Vec::new())
            );
        }
        for status in [200, 302, 400, 404] {
            assert_eq!(response(status, "").reaction, Reaction::Accepts);
        }
        assert_eq!(response(503, "").reaction, Reaction::Fails);
    }

    #[test]
    fn an_nginx_page_can_refuse_the_certificate() {
        let page = "<head><title>400 No required SSL certificate was sent</title></head>";
        assert_eq!(
            response(400, page).reaction,
            Reaction::RefusesCertificate("No required SSL certificate was sent")
        );
        assert_eq!(response(200, page).reaction, Reaction::Accepts);
    }

    #[test]
    fn control_characters_are_removed_from_reasons() {
        let body = message("ROLE_INVALID").replace("so it is", r"\u001b[2J");
        let Reaction::Refuses(reasons) = response(401, &body).reaction else {
            panic!("not refused");
        };
        assert_eq!(reasons[0].text.as_deref(), Some("[2J"));
    }

    #[test]
    fn a_response_is_complete_by_its_length_or_its_last_chunk() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nabcd\r\n";
        assert!(!is_finished(chunked.as_bytes()));
        assert!(is_finished(format!("{chunked}0\r\n\r\n").as_bytes()));
        let sized = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab";
        assert!(!is_finished(sized.as_bytes()));
        assert!(is_finished(format!("{sized}c").as_bytes()));
        assert!(!is_finished(b"HTTP/1.1 200 OK\r\n\r\nabc"));
        assert!(is_finished(
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
        ));
        assert_eq!(parse(b"HTT"), Err(ResponseError::Incomplete));
        assert_eq!(parse(b"SSH-2.0"), Err(ResponseError::NotHttp));
        assert_eq!(
            parse(b"HTTP/1.1 2000 OK\r\n\r\n"),
            Err(ResponseError::NotHttp)
        );
    }

    #[test]
    fn a_reason_in_a_chunked_body_is_parsed() {
        let body = message("ROLE_INVALID");
        let (first, second) = body.split_at(20);
        let text = format!(
            "HTTP/1.1 401 X\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
            second.len()
        );
        let response = parse(text.as_bytes()).unwrap();
        assert!(matches!(response.reaction, Reaction::Refuses(reasons) if reasons.len() == 1));
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in any::<Vec<u8>>(), chunked in any::<bool>(), length in any::<usize>()) {
            let _ = parse(&bytes);
            let framing = if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {length}") };
            let head = format!("HTTP/1.1 401 X\r\n{framing}\r\n\r\n");
            let _ = parse(&[head.as_bytes(), &bytes].concat());
        }

        #[test]
        fn no_chunk_size_panics(size in any::<u128>(), rest in any::<Vec<u8>>()) {
            let text = format!("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n");
            let _ = parse(&[text.as_bytes(), &rest].concat());
        }
    }
}
