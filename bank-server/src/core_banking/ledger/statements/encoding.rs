//! Encoding of a file's text: detected or named, and decoded to UTF-8 as a stream.
//!
//! A first pass reads the whole file, so that a file of two encodings is refused at its line before
//! anything is booked.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::Place;
use crate::core_banking::ledger::import::{ImportError, Result};

/// Encoding of a file's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark.
    #[value(name = "utf-8")]
    Utf8,
    /// ISO 8859-1 (Latin-1).
    #[value(name = "iso-8859-1")]
    Iso8859_1,
    /// Windows code page 1252: ISO 8859-1 with printable characters from 0x80 to 0x9F.
    #[value(name = "windows-1252")]
    Windows1252,
}

impl Encoding {
    /// The encoding of that name, as an XML declaration has it.
    fn of(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "utf-8" | "us-ascii" => Some(Self::Utf8),
            "iso-8859-1" => Some(Self::Iso8859_1),
            "windows-1252" => Some(Self::Windows1252),
            _ => None,
        }
    }

    /// The character of a byte, for the encodings with one byte a character.
    fn character(self, byte: u8) -> Option<char> {
        let character = match (self, byte) {
            (Self::Windows1252, 0x80..=0x9f) => {
                *WINDOWS_1252.get(usize::from(byte & 0x1f)).unwrap_or(&NONE)
            }
            (Self::Iso8859_1, 0x80..=0x9f) => NONE,
            _ => char::from(byte),
        };
        (character != NONE).then_some(character)
    }
}

/// Stands for bytes without a character.
const NONE: char = '\0';

/// The characters from 0x80 to 0x9F of code page 1252.
const WINDOWS_1252: [char; 32] = [
    '€', NONE, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', NONE, 'Ž', NONE, NONE, '‘',
    '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', NONE, 'ž', 'Ÿ',
];

/// Length of the file's beginning in which format and declared encoding are looked for.
const HEAD: usize = 64 * 1024;

/// Longest file, in bytes.
const LONGEST_FILE: u64 = 4 << 30;

const PIECE: usize = 64 * 1024;

const BOM: &[u8] = &[0xef, 0xbb, 0xbf];

/// Finds the encoding of a file, validates all of it, and opens it as UTF-8. The second value is
/// the beginning of its text.
pub(super) fn open<R: Read + Seek>(
    file: &mut R,
    named: Option<Encoding>,
) -> Result<(Decoded<&mut R>, String)> {
    let survey = Survey::of(file)?;
    let encoding = survey.encoding(file, named)?;
    let mut head = Decoded::start(&mut *file, encoding)?;
    let mut text = String::new();
    let read = head.by_ref().take(HEAD as u64).read_to_string(&mut text);
    if read.is_err() {
        // The beginning ends within a character.
        let mut bytes = vec![0; HEAD];
        let mut head = Decoded::start(&mut *file, encoding)?;
        let length = fill(&mut head, &mut bytes)?;
        bytes.truncate(length);
        text = String::from_utf8_lossy(&bytes).into_owned();
    }
    Ok((Decoded::start(file, encoding)?, text))
}

/// Facts about the bytes of a file.
#[derive(Debug, Default)]
struct Survey {
    head: Vec<u8>,
    /// Offset of the first character of several bytes in UTF-8.
    first_of_several: Option<u64>,
    /// Offset of the first byte that is not UTF-8.
    first_other: Option<u64>,
    is_empty: bool,
}

impl Survey {
    fn of(file: &mut (impl Read + Seek)) -> Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let mut survey = Self::default();
        let mut piece = vec![0; PIECE];
        // Start of a character that the next piece continues.
        let mut carried = 0;
        let mut offset: u64 = 0;
        loop {
            let free = piece.get_mut(carried..).unwrap_or_default();
            let read = fill(file, free)?;
            let length = carried + read;
            let bytes = piece.get(..length).unwrap_or_default();
            if survey.head.len() < HEAD {
                let new = bytes.get(carried..).unwrap_or_default();
                let room = HEAD - survey.head.len();
                survey.head.extend(new.iter().take(room));
            }
            if offset + length as u64 > LONGEST_FILE {
                let problem = format!("the file is longer than {LONGEST_FILE} bytes: split it");
                return Err(Place::new(1, ".").wrong(problem));
            }
            let rest = survey.look_at(bytes, offset, read == 0);
            offset += (length - rest) as u64;
            piece.copy_within(length - rest..length, 0);
            carried = rest;
            if read == 0 {
                break;
            }
        }
        survey.is_empty = offset == 0;
        Ok(survey)
    }

    /// Looks at a piece of the file. Returns the number of bytes at its end that are the start of a
    /// character.
    fn look_at(&mut self, bytes: &[u8], offset: u64, is_last: bool) -> usize {
        if bytes.is_ascii() {
            return 0;
        }
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (valid, bad) = match str::from_utf8(rest) {
                Ok(_) => (rest.len(), None),
                Err(error) => (error.valid_up_to(), Some(error.error_len())),
            };
            if self.first_of_several.is_none() {
                let known = rest.get(..valid).unwrap_or_default();
                let first = known.iter().position(|byte| !byte.is_ascii());
                self.first_of_several = first.map(|first| offset + (at + first) as u64);
            }
            at += valid;
            match bad {
                None => break,
                Some(None) if !is_last => return bytes.len() - at,
                Some(length) => {
                    self.first_other.get_or_insert(offset + at as u64);
                    at += length.unwrap_or(bytes.len() - at);
                }
            }
        }
        0
    }

    /// The encoding: the named one, else the one of the byte order mark or of the XML declaration,
    /// else UTF-8 if all of the file is, else code page 1252.
    fn encoding(&self, file: &mut (impl Read + Seek), named: Option<Encoding>) -> Result<Encoding> {
        const UTF_16: [&[u8]; 2] = [&[0xff, 0xfe], &[0xfe, 0xff]];

        let first = Place::new(1, ".");
        if self.is_empty {
            return Err(first.wrong("the file is empty"));
        }
        if UTF_16.iter().any(|mark| self.head.starts_with(mark)) {
            return Err(first.wrong("the file is UTF-16: save it as UTF-8"));
        }
        let marked = self.head.starts_with(BOM).then_some(Encoding::Utf8);
        let declared = match declared(&self.head) {
            Some(name) if named.is_none() => match Encoding::of(&name) {
                Some(encoding) => Some(encoding),
                None => {
                    return Err(Place::new(1, "encoding").wrong(
                        "the XML declaration names an encoding that is not known: UTF-8, \
                         ISO-8859-1 and windows-1252 are; name one with --encoding",
                    ));
                }
            },
            _ => None,
        };
        if marked.is_some()
            && declared
                .or(named)
                .is_some_and(|other| Some(other) != marked)
        {
            return Err(first.wrong(
                "the byte order mark is that of UTF-8, and another encoding is declared or named",
            ));
        }
        let chosen = named.or(marked).or(declared);
        if chosen.is_none_or(|chosen| chosen == Encoding::Utf8) {
            let Some(other) = self.first_other else {
                return Ok(Encoding::Utf8);
            };
            let place = Place::new(line_of(file, other)?, ".");
            if let Some(several) = self.first_of_several {
                let several = line_of(file, several)?;
                return Err(place.wrong(format!(
                    "a byte that is not UTF-8, and line {several} has characters in UTF-8: two \
                     encodings in one file"
                )));
            }
            if chosen.is_some() {
                return Err(place.wrong(
                    "a byte that is not UTF-8, the encoding that is declared or named; \
                     --encoding names another one",
                ));
            }
        }
        let encoding = chosen.unwrap_or(Encoding::Windows1252);
        let Some(offset) = first_without_character(file, encoding)? else {
            return Ok(encoding);
        };
        let problem = match encoding {
            Encoding::Iso8859_1 => {
                "a byte without a character in ISO-8859-1; windows-1252 may have one"
            }
            _ => "a byte that is neither UTF-8 nor windows-1252",
        };
        Err(Place::new(line_of(file, offset)?, ".").wrong(problem))
    }
}

/// The encoding that an XML declaration names.
fn declared(head: &[u8]) -> Option<String> {
    let head = head.strip_prefix(BOM).unwrap_or(head);
    let head = head.strip_prefix(b"<?xml")?;
    let end = head.windows(2).position(|end| end == b"?>")?;
    let declaration = str::from_utf8(head.get(..end)?).ok()?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value
        .chars()
        .next()
        .filter(|quote| matches!(quote, '"' | '\''))?;
    let (name, _) = value.get(1..)?.split_once(quote)?;
    Some(name.to_owned())
}

/// Offset of the first byte that has no character in an encoding with one byte a character.
fn first_without_character(
    file: &mut (impl Read + Seek),
    encoding: Encoding,
) -> io::Result<Option<u64>> {
    let is_none = |byte: &u8| !byte.is_ascii() && encoding.character(*byte).is_none();
    let mut offset = 0;
    each_piece(file, |bytes| {
        let found = bytes.iter().position(is_none);
        offset += found.unwrap_or(bytes.len()) as u64;
        found.is_none()
    })
    .map(|was_whole| (!was_whole).then_some(offset))
}

/// The line of a byte, from 1.
fn line_of(file: &mut (impl Read + Seek), offset: u64) -> io::Result<u64> {
    let mut left = offset;
    let mut line = 1;
    each_piece(file, |bytes| {
        let before = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let before = bytes.get(..before).unwrap_or_default();
        line += before.split(|byte| *byte == b'\n').skip(1).count() as u64;
        left -= before.len() as u64;
        left > 0
    })?;
    Ok(line)
}

/// Reads the file from its start in pieces, as long as `look` returns true. Returns whether it read
/// all.
fn each_piece(
    file: &mut (impl Read + Seek),
    mut look: impl FnMut(&[u8]) -> bool,
) -> io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = fill(file, &mut piece)?;
        if read == 0 {
            return Ok(true);
        }
        if !look(piece.get(..read).unwrap_or_default()) {
            return Ok(false);
        }
    }
}

/// Reads until the buffer is full, or the file ends.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(free) = buffer.get_mut(length..).filter(|free| !free.is_empty()) {
        match file.read(free) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// The file as a stream of UTF-8.
pub(super) struct Decoded<R> {
    file: R,
    encoding: Encoding,
    raw: Vec<u8>,
    /// Decoded bytes, and how many of them were consumed.
    text: Vec<u8>,
    consumed: usize,
    /// Start of a character that the next piece continues.
    carried: usize,
}

impl<R: Read + Seek> Decoded<R> {
    fn start(mut file: R, encoding: Encoding) -> Result<Self, ImportError> {
        let mut mark = [0; 3];
        file.seek(SeekFrom::Start(0))?;
        let length = fill(&mut file, &mut mark)?;
        if mark.get(..length) != Some(BOM) {
            file.seek(SeekFrom::Start(0))?;
        }
        Ok(Self {
            file,
            encoding,
            raw: vec![0; PIECE],
            text: Vec::new(),
            consumed: 0,
            carried: 0,
        })
    }
}

impl<R> Decoded<R> {
    /// The encoding of the file.
    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }
}

impl<R: Read> Decoded<R> {
    /// Decodes the next piece, and returns the number of bytes read. The first pass has validated the file, so that what is wrong now is
    /// an error without a place.
    fn decode_next(&mut self) -> io::Result<usize> {
        let changed = || io::Error::other("its encoding is not what it was a moment ago");
        let free = self.raw.get_mut(self.carried..).unwrap_or_default();
        let read = fill(&mut self.file, free)?;
        let length = self.carried + read;
        let bytes = self.raw.get(..length).unwrap_or_default();
        self.consumed = 0;
        self.text.clear();
        if self.encoding == Encoding::Utf8 {
            let valid = match str::from_utf8(bytes) {
                Ok(_) => length,
                Err(error) if error.error_len().is_none() && read > 0 => error.valid_up_to(),
                Err(_) => return Err(changed()),
            };
            self.text
                .extend_from_slice(bytes.get(..valid).unwrap_or_default());
            self.raw.copy_within(valid..length, 0);
            self.carried = length - valid;
        } else {
            for byte in bytes {
                let character = match byte {
                    0x00..0x80 => char::from(*byte),
                    _ => self.encoding.character(*byte).ok_or_else(changed)?,
                };
                let mut buffer = [0; 4];
                self.text
                    .extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
            }
        }
        Ok(read)
    }
}

impl<R: Read> BufRead for Decoded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // A piece can consist of the start of one character.
        while self.consumed >= self.text.len() && self.decode_next()? > 0 {}
        Ok(self.text.get(self.consumed..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.consumed = (self.consumed + amount).min(self.text.len());
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let length = ready.len().min(buffer.len());
        if let (Some(target), Some(source)) = (buffer.get_mut(..length), ready.get(..length)) {
            target.copy_from_slice(source);
        }
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], named: Option<Encoding>) -> Result<String, String> {
        let mut file = Cursor::new(bytes);
        let (mut decoded, head) = open(&mut file, named).map_err(|error| error.to_string())?;
        let mut text = String::new();
        decoded.read_to_string(&mut text).unwrap();
        assert!(text.starts_with(head.trim_end_matches('\u{fffd}')));
        assert_eq!(head.is_empty(), text.is_empty());
        Ok(text)
    }

    #[test]
    fn an_encoding_is_detected_declared_or_named() {
        let latin = b"<?xml version='1.0' encoding = 'ISO-8859-1'?><a>M\xfcller</a>";
        for (bytes, named, expected) in [
            (&b"plain"[..], None, "plain"),
            ("Müller €".as_bytes(), None, "Müller €"),
            (b"\xef\xbb\xbfM\xc3\xbcller", None, "Müller"),
            (b"M\xfcller \x80", None, "Müller €"),
            (b"M\xfcller", Some(Encoding::Iso8859_1), "Müller"),
            (b"M\xc3\xbcller", Some(Encoding::Windows1252), "MÃ¼ller"),
            (
                b"<?xml encoding='EBCDIC'?>",
                Some(Encoding::Utf8),
                "<?xml encoding='EBCDIC'?>",
            ),
            (
                latin,
                None,
                "<?xml version='1.0' encoding = 'ISO-8859-1'?><a>Müller</a>",
            ),
        ] {
            assert_eq!(read(bytes, named).unwrap(), expected);
        }
    }

    #[test]
    fn two_encodings_in_one_file_are_refused_at_the_line() {
        for (bytes, named, said) in [
            (
                &b"M\xc3\xbcller\nM\xfcller\n"[..],
                None,
                "line 2, at .: a byte that is not UTF-8, and line 1 has characters in UTF-8",
            ),
            (
                b"\nM\xfcller\n\n\nM\xc3\xbcller",
                None,
                "line 2, at .: a byte that is not UTF-8, and line 5 has",
            ),
            (
                b"a\nM\xfcller\n\xfc",
                Some(Encoding::Utf8),
                "line 2, at .: a byte that is not UTF-8, the encoding that is declared or named",
            ),
            (
                b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a>\xfc</a>",
                None,
                "line 2, at .: a byte that is not UTF-8, the encoding",
            ),
            (
                b"\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>",
                None,
                "line 1, at .: the byte order mark is that of UTF-8, and another",
            ),
            (
                b"<?xml version=\"1.0\" encoding=\"EBCDIC\"?>",
                None,
                "line 1, at encoding: the XML declaration names",
            ),
            (b"\xff\xfea\0", None, "the file is UTF-16"),
            (b"", None, "line 1, at .: the file is empty"),
            (b"\x81", None, "line 1, at .: a byte that is neither"),
            (
                b"\n\x80",
                Some(Encoding::Iso8859_1),
                "line 2, at .: a byte without a character in ISO-8859-1",
            ),
        ] {
            let refused = read(bytes, named).unwrap_err();
            assert!(refused.contains(said), "{said}\n{refused}");
        }
    }

    #[test]
    fn a_line_is_right_behind_a_character_at_the_edge_of_a_piece() {
        let mut bytes = format!("{}€\n", "x".repeat(PIECE - 2)).into_bytes();
        bytes.extend_from_slice(b"\xfc\n\n");
        let refused = read(&bytes, None).unwrap_err();
        let said = "line 2, at .: a byte that is not UTF-8, and line 1 has";
        assert!(refused.contains(said), "{refused}");
    }

    #[test]
    fn a_character_at_the_edge_of_a_piece_is_one_character() {
        for before in PIECE - 5..PIECE + 2 {
            let text = format!("{}€{}ü", "x".repeat(before), "y".repeat(PIECE));
            assert_eq!(read(text.as_bytes(), None).unwrap(), text, "{before}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for named in [None, Some(Encoding::Utf8), Some(Encoding::Iso8859_1), Some(Encoding::Windows1252)] {
                let _ = read(&bytes, named);
            }
        }

        #[test]
        fn utf_8_is_read_as_it_is(text in "\\PC{1,200}") {
            prop_assume!(!text.starts_with('\u{feff}') && !text.starts_with("<?xml"));
            prop_assert_eq!(read(text.as_bytes(), None).unwrap(), text);
        }
    }
}
