//! JSON to types, with the place of a fault and without its content.

use serde::de::DeserializeOwned;

/// Deeper JSON than this is refused before it is looked at; the deepest message of the standard has 8 levels.
pub const MAX_DEPTH: usize = 64;

/// JSON that is not what it should be.
///
/// Neither field repeats a value from the document: it may hold account data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at {path}: {reason}")]
pub struct Malformed {
    /// Where: `access.accounts[0].iban`, or `.` for the document as a whole.
    pub path: String,
    /// What was expected there.
    pub reason: String,
}

/// Reads one JSON document.
pub fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, Malformed> {
    if depth(json) > MAX_DEPTH {
        return Err(Malformed {
            path: ".".to_owned(),
            reason: format!("nested deeper than {MAX_DEPTH} levels"),
        });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|fault| Malformed {
        path: readable(&fault.path().to_string()),
        reason: without_content(&fault.inner().to_string()),
    })?;
    deserializer.end().map_err(|fault| Malformed {
        path: ".".to_owned(),
        reason: without_content(&fault.to_string()),
    })?;
    Ok(value)
}

/// A fault before a name was read has a `?` for it at the end of its path.
fn readable(path: &str) -> String {
    match path.trim_end_matches('?').trim_end_matches('.') {
        "" => ".".to_owned(),
        known => known.to_owned(),
    }
}

/// The greatest nesting of brackets outside strings. serde skips unknown fields without a limit of its own.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// serde's messages read `invalid type: string "…", expected a boolean`: only the expectation is kept.
///
/// The content comes first and may hold the separator itself, so the last one counts.
fn without_content(message: &str) -> String {
    if let Some((_, expected)) = message.rsplit_once(", expected ") {
        return format!("expected {expected}");
    }
    if message.starts_with("unknown variant ") || message.starts_with("unknown field ") {
        return "not one of the known names".to_owned();
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::account::AccountReference;
    use crate::consent::ConsentRequest;

    #[test]
    fn the_path_is_named_and_the_content_is_not() {
        let fault = decode::<ConsentRequest>(
            br#"{"access":{"accounts":[{"iban":"DE02, expected 9911"}]},"recurringIndicator":true}"#,
        )
        .unwrap_err();
        assert_eq!(fault.path, "access.accounts[0].iban");
        assert!(!fault.reason.contains("9911"), "{}", fault.reason);

        let fault = decode::<Vec<bool>>(br#"["4111, expected 1111"]"#).unwrap_err();
        assert_eq!(
            fault,
            Malformed {
                path: "[0]".into(),
                reason: "expected a boolean at line 1 column 22".into()
            }
        );
    }

    #[test]
    fn deep_nesting_is_refused_even_where_unknown_fields_are_skipped() {
        let bomb = format!(r#"{{"unknown":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
        let fault = decode::<AccountReference>(bomb.as_bytes()).unwrap_err();
        assert!(fault.reason.contains("64 levels"));
        assert_eq!(depth(br#"{"a":"[[[\"[[","b":[]}"#), 2);
    }

    #[test]
    fn trailing_text_is_refused() {
        assert!(decode::<bool>(b"true false").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<ConsentRequest>(&bytes);
        }
    }
}
