//! HTTP response to the probe's request: as much of HTTP/1.1 (RFC 9112) as the verdict needs.

use shared_types::decode::decode;
use shared_types::pki::certificate::printable;
use shared_types::xs2a::message::{MessageCode, TppMessage, TppMessages};

/// HTTP response of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Bytes received, head and body.
    pub(crate) size: usize,
    /// Whether all of it arrived.
    pub(crate) whole: bool,
    pub(crate) attitude: Attitude,
}

/// The server's reaction to our identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attitude {
    /// It serves us. Whatever it finds fault with is in the request.
    Serves,
    /// It does not want us, for these reasons.
    Declines(Vec<Reason>),
    /// It does not take our certificate, and says so over HTTP; in these words.
    RefusesCertificate(&'static str),
    /// It fails, independently of our identity.
    Fails,
}

/// A code of the standard, with the bank's own words.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    /// The code, such as `CERTIFICATE_BLOCKED`.
    pub code: String,
    /// The bank's sentence about it, without control characters.
    pub text: Option<String>,
}

/// Reason for which there is no HTTP response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The head is not whole.
    Incomplete,
    /// It is no HTTP/1.1.
    NotHttp,
}

/// Whether nothing more is to be expected.
pub(crate) fn is_whole(received: &[u8]) -> bool {
    match read(received) {
        Ok(answer) => answer.whole,
        Err(NoAnswer::NotHttp) => true,
        Err(NoAnswer::Incomplete) => false,
    }
}

/// Reads what was received.
pub(crate) fn read(received: &[u8]) -> Result<Answer, NoAnswer> {
    let mut rest = received;
    let head = loop {
        let (head, after) = split_head(rest)?;
        rest = after;
        // Informational answers come before the final one.
        if !(100..200).contains(&head.status) {
            break head;
        }
    };
    let (body, whole) = body(&head, rest);
    Ok(Answer {
        status: head.status,
        size: received.len(),
        whole,
        attitude: attitude(head.status, &body),
    })
}

struct Head {
    status: u16,
    length: Option<usize>,
    chunked: bool,
}

fn split_head(bytes: &[u8]) -> Result<(Head, &[u8]), NoAnswer> {
    const START: &[u8] = b"HTTP/1.";

    if !bytes.iter().zip(START).all(|(is, wanted)| is == wanted) {
        return Err(NoAnswer::NotHttp);
    }
    let end = position(bytes, b"\r\n\r\n").ok_or(NoAnswer::Incomplete)?;
    let (head, rest) = bytes
        .split_at_checked(end + 4)
        .ok_or(NoAnswer::Incomplete)?;
    let text = std::str::from_utf8(head).map_err(|_| NoAnswer::NotHttp)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default().split(' ').nth(1);
    let status = status
        .filter(|code| code.len() == 3)
        .and_then(|code| code.parse().ok())
        .filter(|code| (100..600).contains(code))
        .ok_or(NoAnswer::NotHttp)?;
    let mut head = Head {
        status,
        length: None,
        chunked: false,
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            head.length = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.to_ascii_lowercase().contains("chunked");
        }
    }
    Ok((head, rest))
}

/// The body as far as it came, and whether that is all of it. One without a length lasts until the
/// connection ends.
fn body(head: &Head, rest: &[u8]) -> (Vec<u8>, bool) {
    if matches!(head.status, 204 | 304) {
        (Vec::new(), true)
    } else if head.chunked {
        dechunked(rest)
    } else if let Some(length) = head.length {
        let body = rest.iter().take(length).copied().collect();
        (body, rest.len() >= length)
    } else {
        (rest.to_vec(), false)
    }
}

/// RFC 9112, section 7.1. Trailers are left alone.
fn dechunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
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
            // What cannot be read is taken for the end: there is no way to go on.
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

fn attitude(status: u16, body: &[u8]) -> Attitude {
    let reasons = reasons(body);
    if let Some(words) = refused_by_front(status, body) {
        Attitude::RefusesCertificate(words)
    } else if reasons.iter().any(|reason| concerns_us(status, reason)) {
        Attitude::Declines(reasons.into_iter().map(Reason::from).collect())
    } else if status >= 500 {
        Attitude::Fails
    } else if status == 429 || (matches!(status, 401 | 403) && reasons.is_empty()) {
        Attitude::Declines(Vec::new())
    } else {
        Attitude::Serves
    }
}

fn reasons(body: &[u8]) -> Vec<TppMessage> {
    decode::<TppMessages>(body)
        .map(|messages| messages.tpp_messages)
        .unwrap_or_default()
}

/// Whether a message is about who asks. All others are about what was asked: a probe brings no
/// consent, no token and no signature, and says so little that there is much to find fault with. A
/// code of the bank's own is taken for one of the first kind where its status is.
fn concerns_us(status: u16, message: &TppMessage) -> bool {
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

/// nginx lets every handshake pass, and tells its judgement of the certificate in a page with the
/// status 400.
fn refused_by_front(status: u16, body: &[u8]) -> Option<&'static str> {
    const WORDS: [&str; 2] = [
        "No required SSL certificate was sent",
        "The SSL certificate error",
    ];
    WORDS
        .into_iter()
        .filter(|_| status == 400)
        .find(|words| position(body, words.as_bytes()).is_some())
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
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

    fn answer(status: u16, body: &str) -> Answer {
        let length = body.len();
        let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
        read(text.as_bytes()).unwrap()
    }

    fn message(code: &str) -> String {
        format!(r#"{{"tppMessages":[{{"category":"ERROR","code":"{code}","text":"so it is"}}]}}"#)
    }

    #[test]
    fn what_is_about_us_is_told_from_what_is_about_the_request() {
        let declines = |code: &str| {
            Attitude::Declines(vec![Reason {
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
            assert_eq!(answer(status, &message(code)).attitude, declines(code));
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
                answer(status, &message(code)).attitude,
                Attitude::Serves,
                "{code}"
            );
        }
        for status in [401, 403, 429] {
            assert_eq!(
                answer(status, "go away").attitude,
                Attitude::Declines(Vec::new())
            );
        }
        for status in [200, 302, 400, 404] {
            assert_eq!(answer(status, "").attitude, Attitude::Serves);
        }
        assert_eq!(answer(503, "").attitude, Attitude::Fails);
    }

    #[test]
    fn nginx_tells_its_judgement_over_http() {
        let page = "<head><title>400 No required SSL certificate was sent</title></head>";
        assert_eq!(
            answer(400, page).attitude,
            Attitude::RefusesCertificate("No required SSL certificate was sent")
        );
        assert_eq!(answer(200, page).attitude, Attitude::Serves);
    }

    #[test]
    fn control_characters_of_the_bank_do_not_reach_a_terminal() {
        let body = message("ROLE_INVALID").replace("so it is", r"\u001b[2J");
        let Attitude::Declines(reasons) = answer(401, &body).attitude else {
            panic!("it declines");
        };
        assert_eq!(reasons[0].text.as_deref(), Some("[2J"));
    }

    #[test]
    fn an_answer_is_whole_by_its_length_its_chunks_or_not_before_the_end() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nabcd\r\n";
        assert!(!is_whole(chunked.as_bytes()));
        assert!(is_whole(format!("{chunked}0\r\n\r\n").as_bytes()));
        let sized = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab";
        assert!(!is_whole(sized.as_bytes()));
        assert!(is_whole(format!("{sized}c").as_bytes()));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\n\r\nabc"));
        assert!(is_whole(
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
        ));
        assert_eq!(read(b"HTT"), Err(NoAnswer::Incomplete));
        assert_eq!(read(b"SSH-2.0"), Err(NoAnswer::NotHttp));
        assert_eq!(read(b"HTTP/1.1 2000 OK\r\n\r\n"), Err(NoAnswer::NotHttp));
    }

    #[test]
    fn a_reason_in_chunks_is_read() {
        let body = message("ROLE_INVALID");
        let (first, second) = body.split_at(20);
        let text = format!(
            "HTTP/1.1 401 X\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
            second.len()
        );
        let answer = read(text.as_bytes()).unwrap();
        assert!(matches!(answer.attitude, Attitude::Declines(reasons) if reasons.len() == 1));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), chunked in any::<bool>(), length in any::<usize>()) {
            let _ = read(&bytes);
            let framing = if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {length}") };
            let head = format!("HTTP/1.1 401 X\r\n{framing}\r\n\r\n");
            let _ = read(&[head.as_bytes(), &bytes].concat());
        }

        #[test]
        fn no_chunk_size_panics(size in any::<u128>(), rest in any::<Vec<u8>>()) {
            let text = format!("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n");
            let _ = read(&[text.as_bytes(), &rest].concat());
        }
    }
}
