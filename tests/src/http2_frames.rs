//! HTTP/2 client frame by frame (RFC 9113, section 4), for frames that no client library sends.

use std::io::Read;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The start of a connection, with these settings.
pub fn preface(settings: &[u8]) -> Vec<u8> {
    [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &frame(SETTINGS, 0, 0, settings),
    ]
    .concat()
}

/// The header block of a request of that method for the status of a consent that does not exist.
pub fn request(method: &str) -> Vec<u8> {
    // HPACK (RFC 7541): https by its index, the rest as literals that are not indexed.
    let fields = [
        literal(&[0x02], method.as_bytes()),
        vec![0x87],
        literal(&[0x04], b"/v1/consents/none/status"),
        literal(&[0x01], b"localhost"),
        literal(
            &[&[0x00, 12], &b"x-request-id"[..]].concat(),
            b"99391c7e-ad88-49ec-a2ad-99ddcb1f7721",
        ),
    ];
    fields.concat()
}

/// HPACK: a literal whose name is given as its representation.
pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut field = name.to_vec();
    // A length of 127 and more continues in groups of seven bits (RFC 7541, section 5.1).
    let mut rest = value.len();
    if rest < 127 {
        field.push(u8::try_from(rest).unwrap());
    } else {
        field.push(127);
        rest -= 127;
        while rest >= 128 {
            field.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        field.push(u8::try_from(rest).unwrap());
    }
    field.extend(value);
    field
}

pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// The next frame, unless the connection ends; a reset ends it as well.
pub fn read_frame(stream: &mut impl Read) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).ok()?;
    Some(Frame {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
        payload,
    })
}
