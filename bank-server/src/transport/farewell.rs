//! How a connection ends whose peer may no longer be here: with a last word, where one can be put.
//!
//! The HTTP library has no way to speak without being asked, so the last word is put into the bytes of the connection:
//! over HTTP/1.1 a response that answers nothing or the next request, over HTTP/2 a GOAWAY frame. Both may stand only
//! where no other message is in the middle of being sent; [`Outgoing`] knows where that is.

use std::io::IoSlice;

use actix_http::Protocol;

/// What the bytes sent so far say about where a message ends.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// HTTP/1.1: whether what was last given to be sent was not all taken.
    Http1 { unsent: bool },
    /// HTTP/2: where in its frames it is.
    Http2(Frames),
}

/// How far frames were sent.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// How much of a head was seen.
    seen: usize,
    /// How much of what comes after it is still to come. While only a part of the head was seen: as far as that says it.
    left: usize,
    /// Whether there was any frame.
    begun: bool,
}

/// The head of an HTTP/2 frame (RFC 9113, section 4.1), in bytes.
const FRAME_HEAD: usize = 9;
/// Of them, those that say how much comes after it.
const LENGTH: usize = 3;

impl Outgoing {
    pub(super) fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http2 => Self::Http2(Frames::default()),
            _ => Self::Http1 { unsent: false },
        }
    }

    /// Notes that of those bytes, one piece after the other, the first `taken` were taken, to be sent.
    pub(super) fn note(&mut self, pieces: &[IoSlice<'_>], mut taken: usize) {
        match self {
            Self::Http1 { unsent } => {
                let given: usize = pieces.iter().map(|piece| piece.len()).sum();
                *unsent = taken < given;
            }
            Self::Http2(frames) => {
                for piece in pieces {
                    let sent = piece.get(..taken).unwrap_or(piece);
                    taken -= sent.len();
                    frames.note(sent);
                }
            }
        }
    }

    /// Whether the first message of a server was sent: over HTTP/2 that has to be its settings (RFC 9113, section 3.4).
    pub(super) fn has_begun(&self) -> bool {
        match self {
            Self::Http1 { .. } => true,
            Self::Http2(frames) => frames.begun,
        }
    }

    /// Whether another message may start here.
    pub(super) fn is_between_messages(&self) -> bool {
        match self {
            Self::Http1 { unsent } => !unsent,
            Self::Http2(frames) => frames.seen == 0 && frames.left == 0,
        }
    }
}

impl Frames {
    /// Cost: a look at the heads of frames; what is in them is passed over.
    fn note(&mut self, mut sent: &[u8]) {
        self.begun |= !sent.is_empty();
        loop {
            if self.seen == 0 {
                let content = sent.len().min(self.left);
                self.left -= content;
                sent = sent.get(content..).unwrap_or_default();
            }
            let Some((byte, rest)) = sent.split_first() else {
                return;
            };
            // A head begins with the length of what comes after it.
            if self.seen < LENGTH {
                self.left = self.left << 8 | usize::from(*byte);
            }
            self.seen = (self.seen + 1) % FRAME_HEAD;
            sent = rest;
        }
    }
}

/// A GOAWAY frame (RFC 9113, section 6.8) for a peer that may no longer be here, with a word for its log.
///
/// Of the standard's codes, `INADEQUATE_SECURITY` comes nearest; with `NO_ERROR`, clients drop the word.
pub(super) fn goaway(word: &str) -> Vec<u8> {
    const INADEQUATE_SECURITY: u32 = 0x0c;

    frame(INADEQUATE_SECURITY, word)
}

/// A GOAWAY frame for a peer that is to ask elsewhere from now on: what it has asked by then is answered.
pub(super) fn elsewhere() -> Vec<u8> {
    const NO_ERROR: u32 = 0;

    frame(NO_ERROR, "")
}

/// It names the highest stream there can be: what the peer has asked is answered, or shown as broken off, and not for the
/// peer to ask again elsewhere.
fn frame(code: u32, word: &str) -> Vec<u8> {
    const GOAWAY: u8 = 0x07;
    const MOST: usize = 1024;
    const LAST_STREAM: u32 = 0x7fff_ffff;

    let word = word.as_bytes();
    let word = word.get(..MOST).unwrap_or(word);
    let length = u16::try_from(8 + word.len()).unwrap_or(8);
    let mut frame = vec![0];
    frame.extend(length.to_be_bytes());
    frame.extend([GOAWAY, 0, 0, 0, 0, 0]);
    frame.extend(LAST_STREAM.to_be_bytes());
    frame.extend(code.to_be_bytes());
    frame.extend(word);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_goaway_is_a_frame_of_its_length() {
        let frame = goaway("CERTIFICATE_REVOKE");
        assert_eq!(frame.len(), FRAME_HEAD + 8 + 18);
        assert_eq!(&frame[..9], &[0, 0, 26, 7, 0, 0, 0, 0, 0]);
        assert!(frame.ends_with(b"CERTIFICATE_REVOKE"));
        let mut outgoing = Outgoing::new(Protocol::Http2);
        outgoing.note(&[IoSlice::new(&frame)], frame.len());
        assert!(outgoing.is_between_messages());
        assert_eq!(goaway(&"x".repeat(5000)).len(), FRAME_HEAD + 8 + 1024);
    }

    proptest! {
        /// However the bytes are cut, the ends of frames are where they are.
        #[test]
        fn frames_end_where_they_end(
            lengths in proptest::collection::vec(0_usize..400, 1..6),
            cut in 1_usize..50,
            piece in 0_usize..60,
        ) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for length in lengths {
                bytes.extend(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
                bytes.extend([0; 6]);
                bytes.extend(vec![0xff; length]);
                ends.push(bytes.len());
            }
            let mut outgoing = Outgoing::new(Protocol::Http2);
            let mut at = 0;
            while at < bytes.len() {
                let taken = cut.min(bytes.len() - at);
                let (one, other) = bytes[at..].split_at(piece.min(bytes.len() - at));
                outgoing.note(&[IoSlice::new(one), IoSlice::new(other)], taken);
                at += taken;
                prop_assert_eq!(outgoing.is_between_messages(), ends.contains(&at), "at {}", at);
            }
        }
    }
}
