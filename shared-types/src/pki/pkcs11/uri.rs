//! PKCS#11 URI (RFC 7512) that names a private key on a token.
//!
//! Parsed strictly: an attribute that is unknown, repeated, empty, or not used here is an error, so
//! that a misspelt one never widens the search for a key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Scheme of a PKCS#11 URI.
const SCHEME: &str = "pkcs11:";

/// Names a private key on a token: how the token and the key are found, which module drives the
/// token, and which file holds its PIN.
#[derive(Clone, PartialEq, Eq)]
pub struct Pkcs11Uri {
    /// As it was written. It holds no secret.
    text: String,
    pub(super) token: TokenNames,
    /// Label of the key.
    pub(super) object: Option<String>,
    /// `CKA_ID` of the key.
    pub(super) id: Option<Vec<u8>>,
    module: PathBuf,
    pin_file: Option<PathBuf>,
}

/// Attributes that a token has to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TokenNames {
    pub(super) label: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) slot: Option<u64>,
}

/// Error of a PKCS#11 URI. The text continues the URI's place, and never quotes a value, which may
/// be a PIN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs11UriError {
    /// It does not start with `pkcs11:`.
    #[error("is no PKCS#11 URI: it starts with pkcs11: (RFC 7512)")]
    Scheme,
    /// An attribute is not `name=value`.
    #[error("has an attribute that is not name=value (RFC 7512)")]
    NoValue,
    /// An attribute occurs twice.
    #[error("names {0} twice")]
    Repeated(String),
    /// An attribute is not known, or not used here.
    #[error(
        "has the attribute {0}, which is not used here; these are: token, serial, manufacturer, model, slot-id, object, \
         id and type before the question mark, module-path, module-name and pin-source after it"
    )]
    Unknown(String),
    /// A value has a character that has to be percent-encoded, or an incomplete encoding.
    #[error("has a value of {0} with a character that has to be written as %XX")]
    Character(String),
    /// A value is not of the attribute's kind.
    #[error("has a value of {name} that is not {expected}")]
    Value {
        /// The attribute.
        name: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// The PIN itself is in the URI.
    #[error(
        "holds the PIN itself: write it into a file with mode 600, and name that: \
         pin-source=file:/path/of/the/file"
    )]
    PinValue,
    /// The token is not named.
    #[error("names no token: add token=LABEL, serial=NUMBER or slot-id=NUMBER")]
    NoToken,
    /// The module is not named.
    #[error(
        "names no module that drives the token: add ?module-path=/path/of/the/module.so, or module-name=NAME for \
         libNAME.so among the system's libraries"
    )]
    NoModule,
}

impl Pkcs11Uri {
    /// Whether a text is meant as a PKCS#11 URI, though it may have faults.
    #[must_use]
    pub fn is_meant(text: &[u8]) -> bool {
        text.trim_ascii_start()
            .get(..SCHEME.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(SCHEME.as_bytes()))
    }

    /// The library that drives the token, as the dynamic loader takes it.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// The file that holds the PIN of the token.
    #[must_use]
    pub fn pin_file(&self) -> Option<&Path> {
        self.pin_file.as_deref()
    }
}

impl FromStr for Pkcs11Uri {
    type Err = Pkcs11UriError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !Self::is_meant(text.as_bytes()) || text.trim_start() != text {
            return Err(Pkcs11UriError::Scheme);
        }
        let attributes = text.get(SCHEME.len()..).unwrap_or_default();
        let (path, query) = attributes
            .split_once('?')
            .map_or((attributes, None), |(path, query)| (path, Some(query)));
        let mut found = Found::default();
        for attribute in path.split(';').filter(|_| !path.is_empty()) {
            found.take_path(attribute)?;
        }
        for attribute in query.into_iter().flat_map(|query| query.split('&')) {
            found.take_query(attribute)?;
        }
        let token = found.token;
        if token.label.is_none() && token.serial.is_none() && token.slot.is_none() {
            return Err(Pkcs11UriError::NoToken);
        }
        Ok(Self {
            text: text.to_owned(),
            token,
            object: found.object,
            id: found.id,
            module: found.module.ok_or(Pkcs11UriError::NoModule)?,
            pin_file: found.pin_file,
        })
    }
}

/// Attributes read so far.
#[derive(Default)]
struct Found {
    names: Vec<String>,
    token: TokenNames,
    object: Option<String>,
    id: Option<Vec<u8>>,
    module: Option<PathBuf>,
    pin_file: Option<PathBuf>,
}

impl Found {
    fn take_path(&mut self, attribute: &str) -> Result<(), Pkcs11UriError> {
        let (name, value) = self.split(attribute, "&")?;
        match name {
            "token" => self.token.label = Some(text("token", value)?),
            "serial" => self.token.serial = Some(text("serial", value)?),
            "manufacturer" => self.token.manufacturer = Some(text("manufacturer", value)?),
            "model" => self.token.model = Some(text("model", value)?),
            "slot-id" => {
                let number = text("slot-id", value)?;
                let is_number = number.bytes().all(|digit| digit.is_ascii_digit());
                let number = number.parse().ok().filter(|_| is_number);
                self.token.slot = Some(number.ok_or(Pkcs11UriError::Value {
                    name: "slot-id",
                    expected: "a number",
                })?);
            }
            "object" => self.object = Some(text("object", value)?),
            "id" => self.id = Some(value),
            "type" if value == b"private" => {}
            "type" => {
                return Err(Pkcs11UriError::Value {
                    name: "type",
                    expected: "private",
                });
            }
            other => return Err(Pkcs11UriError::Unknown(shown(other))),
        }
        Ok(())
    }

    fn take_query(&mut self, attribute: &str) -> Result<(), Pkcs11UriError> {
        if attribute.split('=').next() == Some("pin-value") {
            return Err(Pkcs11UriError::PinValue);
        }
        let (name, value) = self.split(attribute, "/?|")?;
        let module = match name {
            "module-path" => absolute("module-path", text("module-path", value)?)?,
            "module-name" => {
                let name = text("module-name", value)?;
                if name.contains('/') {
                    return Err(Pkcs11UriError::Value {
                        name: "module-name",
                        expected: "a name without slashes; a path is named by module-path",
                    });
                }
                PathBuf::from(format!(
                    "{}{name}{}",
                    std::env::consts::DLL_PREFIX,
                    std::env::consts::DLL_SUFFIX
                ))
            }
            "pin-source" => {
                let expected = "file: and an absolute path";
                let name = "pin-source";
                let source = text(name, value)?;
                let path = source.strip_prefix("file:");
                let path = path.ok_or(Pkcs11UriError::Value { name, expected })?;
                let path = path.strip_prefix("//").unwrap_or(path);
                self.pin_file = Some(absolute(name, path.to_owned())?);
                return Ok(());
            }
            other => return Err(Pkcs11UriError::Unknown(shown(other))),
        };
        if self.module.replace(module).is_some() {
            return Err(Pkcs11UriError::Repeated(
                "the module (module-path, module-name)".to_owned(),
            ));
        }
        Ok(())
    }

    /// Splits an attribute, decodes its value, and records its name.
    fn split<'a>(
        &mut self,
        attribute: &'a str,
        also_allowed: &str,
    ) -> Result<(&'a str, Vec<u8>), Pkcs11UriError> {
        let (name, value) = attribute
            .split_once('=')
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or(Pkcs11UriError::NoValue)?;
        if self.names.iter().any(|known| known == name) {
            return Err(Pkcs11UriError::Repeated(shown(name)));
        }
        self.names.push(name.to_owned());
        let decoded = decode(value, also_allowed);
        Ok((
            name,
            decoded.ok_or_else(|| Pkcs11UriError::Character(shown(name)))?,
        ))
    }
}

/// Decodes a value (RFC 7512, section 2.3). `None` if a character is not allowed.
fn decode(value: &str, also_allowed: &str) -> Option<Vec<u8>> {
    const ALLOWED: &str = "-._~:[]@!$'()*+,=";

    let mut decoded = Vec::new();
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || {
                bytes
                    .next()
                    .and_then(|byte| char::from(byte).to_digit(16))
                    .and_then(|digit| u8::try_from(digit).ok())
            };
            decoded.push(digit()? << 4 | digit()?);
        } else if byte.is_ascii_alphanumeric()
            || ALLOWED.as_bytes().contains(&byte)
            || also_allowed.as_bytes().contains(&byte)
        {
            decoded.push(byte);
        } else {
            return None;
        }
    }
    Some(decoded)
}

fn text(name: &'static str, value: Vec<u8>) -> Result<String, Pkcs11UriError> {
    String::from_utf8(value)
        .ok()
        .filter(|text| !text.contains(char::is_control))
        .ok_or(Pkcs11UriError::Value {
            name,
            expected: "text in UTF-8",
        })
}

fn absolute(name: &'static str, path: String) -> Result<PathBuf, Pkcs11UriError> {
    let path = PathBuf::from(path);
    path.is_absolute()
        .then_some(path)
        .ok_or(Pkcs11UriError::Value {
            name,
            expected: "an absolute path",
        })
}

/// The name of an attribute, as far as it can be shown.
fn shown(name: &str) -> String {
    name.chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
        .take(40)
        .collect()
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Uri({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: &str = "pkcs11:token=Bank%20A;manufacturer=m;model=x;serial=0123;slot-id=7;object=qwac;id=%01%fe;\
                         type=private?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/bank/pin";

    #[test]
    fn every_attribute_is_read() {
        let uri: Pkcs11Uri = WHOLE.parse().unwrap();
        assert_eq!(uri.token.label.as_deref(), Some("Bank A"));
        assert_eq!(uri.token.serial.as_deref(), Some("0123"));
        assert_eq!(uri.token.slot, Some(7));
        assert_eq!(uri.object.as_deref(), Some("qwac"));
        assert_eq!(uri.id.as_deref(), Some(&[1, 0xfe][..]));
        assert_eq!(uri.module(), Path::new("/usr/lib/softhsm/libsofthsm2.so"));
        assert_eq!(uri.pin_file(), Some(Path::new("/etc/bank/pin")));
        assert_eq!(uri.to_string(), WHOLE);

        let short: Pkcs11Uri = "PKCS11:serial=1?module-name=softhsm2".parse().unwrap();
        let prefix = std::env::consts::DLL_PREFIX;
        let suffix = std::env::consts::DLL_SUFFIX;
        assert_eq!(
            short.module(),
            Path::new(&format!("{prefix}softhsm2{suffix}"))
        );
        assert_eq!(short.pin_file(), None);
    }

    #[test]
    fn faults_are_named_and_no_value_is_quoted() {
        let unknown = |name: &str| Pkcs11UriError::Unknown(name.to_owned());
        let of = |name: &str| Pkcs11UriError::Character(name.to_owned());
        let cases = [
            ("pkcs12:token=a", Pkcs11UriError::Scheme),
            (" pkcs11:token=a", Pkcs11UriError::Scheme),
            ("pkcs11:?module-name=m", Pkcs11UriError::NoToken),
            ("pkcs11:object=a?module-name=m", Pkcs11UriError::NoToken),
            ("pkcs11:token=a", Pkcs11UriError::NoModule),
            ("pkcs11:token", Pkcs11UriError::NoValue),
            ("pkcs11:token=", Pkcs11UriError::NoValue),
            ("pkcs11:token=a;?module-name=m", Pkcs11UriError::NoValue),
            ("pkcs11:token=a?", Pkcs11UriError::NoValue),
            (
                "pkcs11:token=a;token=b",
                Pkcs11UriError::Repeated("token".to_owned()),
            ),
            ("pkcs11:token=a;pin-source=file:/p", of("pin-source")),
            ("pkcs11:token=a;Object=b", unknown("Object")),
            ("pkcs11:token=a;x-vendor=b", unknown("x-vendor")),
            (
                "pkcs11:token=a;library-version=1",
                unknown("library-version"),
            ),
            ("pkcs11:token=a b", of("token")),
            ("pkcs11:token=a/b", of("token")),
            ("pkcs11:token=%4", of("token")),
            ("pkcs11:token=%zz", of("token")),
            (
                "pkcs11:token=a?module-name=m&pin-value=1234",
                Pkcs11UriError::PinValue,
            ),
        ];
        for (text, fault) in cases {
            assert_eq!(text.parse::<Pkcs11Uri>(), Err(fault), "{text}");
        }
        for text in [
            "pkcs11:token=%ff",
            "pkcs11:token=%0a",
            "pkcs11:slot-id=-1",
            "pkcs11:slot-id=+1",
            "pkcs11:token=a;type=cert",
            "pkcs11:token=a?module-path=lib/a.so",
            "pkcs11:token=a?module-name=../a",
            "pkcs11:token=a?pin-source=1234",
            "pkcs11:token=a?pin-source=|cat%20pin",
            "pkcs11:token=a?pin-source=file:pin",
        ] {
            let fault = text.parse::<Pkcs11Uri>().unwrap_err();
            assert!(
                matches!(fault, Pkcs11UriError::Value { .. }),
                "{text}: {fault}"
            );
        }
        let twice = "pkcs11:token=a?module-name=m&module-path=/m.so";
        let fault = twice.parse::<Pkcs11Uri>().unwrap_err();
        assert!(matches!(fault, Pkcs11UriError::Repeated(_)), "{fault}");
        let pin = "pkcs11:token=a?pin-value=834712"
            .parse::<Pkcs11Uri>()
            .unwrap_err();
        assert!(!format!("{pin} {pin:?}").contains("834712"));
    }

    proptest! {
        #[test]
        fn any_label_can_be_written(label in "[^\\pC]{1,20}", id in prop::collection::vec(any::<u8>(), 1..20)) {
            let encoded = |bytes: &[u8]| {
                let each = bytes.iter().map(|byte| format!("%{byte:02X}"));
                each.collect::<Vec<_>>().concat()
            };
            let (label_text, id_text) = (encoded(label.as_bytes()), encoded(&id));
            let text = format!("pkcs11:token={label_text};id={id_text}?module-name=m");
            let uri: Pkcs11Uri = text.parse().unwrap();
            prop_assert_eq!(uri.token.label, Some(label));
            prop_assert_eq!(uri.id, Some(id));
        }

        #[test]
        fn no_text_panics(text in "(pkcs11:)?[a-z%;&?=/ é-]{0,40}") {
            let _ = text.parse::<Pkcs11Uri>();
        }
    }
}
