//! JSON to types, with the place of a fault and without its content. Objects are read as objects
//! alone (`objects`).

mod objects;

use std::fmt;

pub use self::objects::Manner;
use self::objects::Strict;
pub(crate) use self::objects::{OPEN_TEXT, Split};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};
use serde_json::error::Category;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

/// Deeper JSON than this is refused before it is looked at; the deepest message of the standard has
/// 8 levels.
pub const MAX_DEPTH: usize = 64;

/// JSON that is not what it should be.
///
/// Neither field repeats a value from the document: it may hold account data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at {path}: {reason}")]
pub struct Malformed {
    /// The path: `access.accounts[0].iban`, or `.` for the document as a whole.
    pub path: String,
    /// The expectation there.
    pub reason: String,
}

/// Reads one JSON document.
pub fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, Malformed> {
    let mut shape = Shape::default();
    shape.scan(json);
    shape.decode(json)
}

/// A step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The member of that name.
    Name(String),
    /// The element at that position.
    Index(usize),
}

/// A value of a document that does not fit its type: the way to it, and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The way from the document's root.
    pub steps: Vec<Step>,
    /// The last step is a member that is not there, and is required.
    pub missing: bool,
    /// The expectation. It does not repeat a value.
    pub reason: String,
}

/// Reads a document that is not read in one go, so that its parts can be read apart.
///
/// Whatever [`decode`] refuses (a name twice, something that is no JSON) it refuses too;
/// but where an object has a name twice, only that object is lost: nothing can be read of it. A
/// document of more than [`MAX_VALUES`] is refused.
pub fn document(json: &[u8]) -> Result<Value, Malformed> {
    /// A value; so many may follow.
    struct Any<'a>(&'a mut usize);

    impl<'de> DeserializeSeed<'de> for Any<'_> {
        type Value = Value;

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
            *self.0 = self
                .0
                .checked_sub(1)
                .ok_or_else(|| D::Error::custom(format!("more than {MAX_VALUES} values")))?;
            deserializer.deserialize_any(self)
        }
    }

    macro_rules! leaf {
        ($($method:ident: $kind:ty;)*) => {
            $(fn $method<E>(self, value: $kind) -> Result<Value, E> {
                Ok(value.into())
            })*
        };
    }

    impl<'de> Visitor<'de> for Any<'_> {
        type Value = Value;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("JSON")
        }

        leaf! {
            visit_bool: bool;
            visit_i64: i64;
            visit_u64: u64;
            visit_f64: f64;
            visit_str: &str;
            visit_string: String;
        }

        fn visit_unit<E>(self) -> Result<Value, E> {
            Ok(Value::Null)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = list.next_element_seed(Any(self.0))? {
                elements.push(element);
            }
            Ok(elements.into())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
            let mut members = Map::new();
            let mut twice = false;
            while let Some(name) = object.next_key::<String>()? {
                let value = object.next_value_seed(Any(self.0))?;
                twice |= members.insert(name, value).is_some();
            }
            Ok(if twice { TWICE.into() } else { members.into() })
        }
    }

    let text = str::from_utf8(json).map_err(|_| no_utf8())?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let document = Any(&mut MAX_VALUES.clone())
        .deserialize(&mut deserializer)
        .map_err(|fault| malformed(".", &fault))?;
    deserializer.end().map_err(|fault| malformed(".", &fault))?;
    Ok(document)
}

/// Values in a [`document`], at most: each takes some hundred bytes of memory.
pub const MAX_VALUES: usize = 500_000;

/// Placeholder in a [`document`] for an object that has a name twice. No type takes it for
/// an object.
const TWICE: &str = "\u{0}a name is there twice";

/// Reads a part of a [`document`].
pub fn part<T: DeserializeOwned>(part: &Value, manner: Manner) -> Result<T, Fault> {
    serde_path_to_error::deserialize(Strict(part, manner)).map_err(|fault| {
        let mut steps: Vec<Step> = fault
            .path()
            .iter()
            .filter_map(|segment| match segment {
                Segment::Seq { index } => Some(Step::Index(*index)),
                Segment::Map { key } => Some(Step::Name(key.clone())),
                Segment::Enum { .. } | Segment::Unknown => None,
            })
            .collect();
        let message = fault.inner().to_string();
        let missing = message
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split_once('`'));
        if let Some((field, _)) = missing {
            steps.push(Step::Name(field.to_owned()));
        }
        let twice = matches!(at(part, &steps), Some(Value::String(text)) if text == TWICE);
        Fault {
            steps,
            missing: missing.is_some(),
            reason: match missing {
                Some(_) => REQUIRED.to_owned(),
                None if twice => "a name is there twice".to_owned(),
                None => without_content(&message),
            },
        }
    })
}

/// The value to which the steps lead.
#[must_use]
pub fn at<'a>(document: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    steps.iter().try_fold(document, |value, step| match step {
        Step::Name(name) => value.get(name),
        Step::Index(index) => value.get(index),
    })
}

/// The same, to be changed.
pub fn at_mut<'a>(document: &'a mut Value, steps: &[Step]) -> Option<&'a mut Value> {
    steps.iter().try_fold(document, |value, step| match step {
        Step::Name(name) => value.get_mut(name),
        Step::Index(index) => value.get_mut(index),
    })
}

/// Reads a document that was written down as it was read: with texts and names that deviate from
/// the standard.
pub fn kept<T: DeserializeOwned>(json: &[u8]) -> Result<T, Malformed> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    serde_path_to_error::deserialize(Strict(&mut deserializer, Manner::Tolerant))
        .map_err(|fault| malformed(&fault.path().to_string(), fault.inner()))
}

/// Shape of a JSON document by its brackets and commas alone, while it comes in.
///
/// It costs one pass over the bytes and takes no memory, so that what is too deep or too wide is
/// turned down before anything is made of it. Of what is no JSON it says nothing reliable, and does
/// not need to: that does not decode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    depth: usize,
    deepest: usize,
    /// For each open bracket up to [`MAX_DEPTH`], the innermost in the lowest bit: whether it is a
    /// list.
    lists: u64,
    /// An element is due: a list began, or a comma was passed within one.
    due: bool,
    elements: usize,
    in_string: bool,
    escaped: bool,
}

impl Shape {
    /// Looks at the next piece of the document.
    pub fn scan(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            if self.in_string {
                rest = self.in_string(*byte, after);
            } else {
                self.outside(*byte);
            }
        }
    }

    /// Deeper nesting than [`MAX_DEPTH`].
    #[must_use]
    pub const fn is_too_deep(&self) -> bool {
        self.deepest > MAX_DEPTH
    }

    /// Elements of lists, all lists together.
    #[must_use]
    pub const fn elements(&self) -> usize {
        self.elements
    }

    /// Reads the document whose shape this is.
    pub fn decode<T: DeserializeOwned>(&self, json: &[u8]) -> Result<T, Malformed> {
        if self.is_too_deep() {
            return Err(Malformed {
                path: ".".to_owned(),
                reason: format!("nested deeper than {MAX_DEPTH} levels"),
            });
        }
        // What is skipped would not be looked at otherwise (RFC 8259, section 8.1).
        let text = str::from_utf8(json).map_err(|_| no_utf8())?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = serde_path_to_error::deserialize(Strict(&mut deserializer, Manner::Exact))
            .map_err(|fault| malformed(&fault.path().to_string(), fault.inner()))?;
        deserializer.end().map_err(|fault| malformed(".", &fault))?;
        Ok(value)
    }

    /// Within a string only its end is of interest.
    fn in_string<'a>(&mut self, byte: u8, after: &'a [u8]) -> &'a [u8] {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.in_string = false,
            _ => {
                let end = after.iter().position(|byte| matches!(byte, b'"' | b'\\'));
                return after.get(end.unwrap_or(after.len())..).unwrap_or_default();
            }
        }
        after
    }

    fn outside(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => return,
            b']' | b'}' => {
                self.depth = self.depth.saturating_sub(1);
                self.lists >>= 1;
                self.due = false;
                return;
            }
            b',' => {
                self.due = self.lists & 1 == 1;
                return;
            }
            _ => {}
        }
        if self.due {
            self.due = false;
            self.elements = self.elements.saturating_add(1);
        }
        match byte {
            b'"' => self.in_string = true,
            b'[' | b'{' => {
                self.depth += 1;
                self.deepest = self.deepest.max(self.depth);
                self.lists = (self.lists << 1) | u64::from(byte == b'[');
                self.due = byte == b'[';
            }
            _ => {}
        }
    }
}

fn no_utf8() -> Malformed {
    Malformed {
        path: ".".to_owned(),
        reason: "not UTF-8".to_owned(),
    }
}

/// Reason for a field that is missing.
const REQUIRED: &str = "the field is required";

/// Maximum length of a reported path, in characters: the standard's own have less than half of it.
const LONGEST_PATH: usize = 200;

/// A fault before a name was read has a `?` for it at the end of its path. Names that the standard
/// does not know are the sender's: they are cut, and bring no control characters along.
fn readable(path: &str) -> String {
    let known = path.trim_end_matches('?').trim_end_matches('.');
    let mut told: String = known
        .chars()
        .take(LONGEST_PATH)
        .map(|letter| {
            if letter.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                letter
            }
        })
        .collect();
    if known.chars().nth(LONGEST_PATH).is_some() {
        told.push('…');
    }
    if told.is_empty() {
        ".".to_owned()
    } else {
        told
    }
}

/// The problem and its path. serde's messages repeat content (`invalid type: string "…", expected a
/// boolean`) and speak of Rust's types: only the expectation is kept, in the words of JSON.
fn malformed(path: &str, fault: &serde_json::Error) -> Malformed {
    let message = fault.to_string();
    if matches!(fault.classify(), Category::Syntax | Category::Eof) {
        return Malformed {
            path: readable(path),
            reason: format!("not JSON: {message}"),
        };
    }
    // Of fields alone: their names are the standard's, not the sender's.
    for (start, reason) in [
        ("missing field `", REQUIRED),
        ("duplicate field `", "the field is there twice"),
    ] {
        let field = message
            .strip_prefix(start)
            .and_then(|rest| rest.split_once('`'));
        if let Some((field, _)) = field {
            return Malformed {
                path: beside(path, field),
                reason: reason.to_owned(),
            };
        }
    }
    Malformed {
        path: readable(path),
        reason: of_time(path, &message).unwrap_or_else(|| without_content(&message)),
    }
}

/// What was expected, where chrono's message says only at which character it gave up.
fn of_time(path: &str, message: &str) -> Option<String> {
    const MESSAGES: [&str; 4] = [
        "trailing input",
        "premature end of input",
        "input contains invalid characters",
        "input is out of range",
    ];
    let (told, place) = message.split_once(" at line ").unwrap_or((message, ""));
    if !MESSAGES.contains(&told) {
        return None;
    }
    let expected = if path.ends_with("Time") {
        "not a time such as 2026-11-30T12:00:00Z"
    } else {
        "not a date YYYY-MM-DD"
    };
    Some(match place {
        "" => expected.to_owned(),
        place => format!("{expected} at line {place}"),
    })
}

/// The path of a field of the object at `path`, which may end at the field itself.
fn beside(path: &str, field: &str) -> String {
    match readable(path) {
        root if root == "." => field.to_owned(),
        path if path == field || path.ends_with(&format!(".{field}")) => path,
        path => format!("{path}.{field}"),
    }
}

/// The expectation without the content. The content comes first and may hold the separator itself,
/// so the last one counts.
fn without_content(message: &str) -> String {
    if let Some((_, expected)) = message.rsplit_once(", expected ") {
        let (expected, place) = match expected.split_once(" at line ") {
            Some((expected, place)) => (expected, format!(" at line {place}")),
            None => (expected, String::new()),
        };
        return format!("expected {}{place}", in_json(expected));
    }
    if message.starts_with("unknown variant ") || message.starts_with("unknown field ") {
        return "not one of the known names".to_owned();
    }
    message.to_owned()
}

/// Rust's types as JSON calls them.
fn in_json(expected: &str) -> String {
    let whole = |least: &str, most: &str| format!("a whole number from {least} to {most}");
    match expected {
        "u8" => whole("0", "255"),
        "u16" => whole("0", "65535"),
        "u32" => whole("0", "4294967295"),
        "a nonzero u32" => whole("1", "4294967295"),
        "i64" | "u64" | "usize" | "an integer" => "a whole number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        "a borrowed string" | "string or map" => "a string".to_owned(),
        other if other.starts_with("struct ") => "an object".to_owned(),
        other if other.starts_with("a nonzero ") => "a whole number other than 0".to_owned(),
        other if other.starts_with("enum ") || other.starts_with("variant ") => {
            "one of the known names".to_owned()
        }
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::xs2a::account::AccountReference;
    use crate::xs2a::authorisation::UpdatePsuData;
    use crate::xs2a::card_account::CardAccountBalances;
    use crate::xs2a::consent::ConsentRequest;
    use crate::xs2a::link::Links;
    use crate::xs2a::money::Amount;
    use crate::xs2a::transaction::TransactionResponse;

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

    /// Path and reason of what is wrong with a consent request.
    fn fault(json: &str) -> (String, String) {
        let fault = decode::<ConsentRequest>(json.as_bytes()).unwrap_err();
        (fault.path, fault.reason)
    }

    #[test]
    fn lists_are_no_objects_and_objects_no_names_at_any_depth() {
        let with_access = |access: &str| {
            format!(
                r#"{{"access":{access},"recurringIndicator":true,"validUntil":"2027-01-31","frequencyPerDay":4,"combinedServiceIndicator":false}}"#
            )
        };
        decode::<ConsentRequest>(with_access(r#"{"allPsd2":"allAccounts"}"#).as_bytes()).unwrap();
        let object = "expected an object";
        let name = "expected one of the known names";
        let whole = r#"[{"allPsd2":"allAccounts"},true,"2027-01-31",4,false]"#;
        for (json, path, reason) in [
            (whole.to_owned(), ".", object),
            (with_access("[]"), "access", object),
            (
                with_access(r#"{"accounts":[["DE89370400440532013000"]]}"#),
                "access.accounts[0]",
                object,
            ),
            (
                with_access(r#"{"allPsd2":{"allAccounts":null}}"#),
                "access.allPsd2.allAccounts",
                name,
            ),
            (
                with_access(r#"{"allPsd2":["allAccounts"]}"#),
                "access.allPsd2",
                name,
            ),
            (with_access(r#"{"allPsd2":1}"#), "access.allPsd2", name),
        ] {
            let (at, told) = fault(&json);
            assert_eq!(at, path, "{json}: {told}");
            assert!(told.starts_with(reason), "{json}: {told}");
        }
        for step in ["[]", "[null,null,null,null]", r#"{"psuData":["start12"]}"#] {
            assert!(decode::<UpdatePsuData>(step.as_bytes()).is_err(), "{step}");
        }
        assert!(decode::<Amount>(br#"["EUR","1.00"]"#).is_err());
    }

    #[test]
    fn where_examples_of_the_standard_are_understood_lists_are_no_objects_either() {
        let nested =
            |entry: &str| format!(r#"{{"transactionsDetails":{{"transactionDetails":{entry}}}}}"#);
        let flat = |entry: &str| format!(r#"{{"transactionsDetails":{entry}}}"#);
        let entry = r#"{"transactionAmount":{"currency":"EUR","amount":"1.00"}}"#;
        for json in [nested(entry), flat(entry)] {
            decode::<TransactionResponse>(json.as_bytes()).unwrap();
        }
        for wrong in [r#"{"transactionAmount":["EUR","1.00"]}"#, "[]", "{}"] {
            for json in [nested(wrong), flat(wrong)] {
                assert!(
                    decode::<TransactionResponse>(json.as_bytes()).is_err(),
                    "{json}"
                );
            }
        }
        let balances = |entry: &str| {
            let json = format!(r#"{{"balances":[{entry}]}}"#);
            decode::<CardAccountBalances>(json.as_bytes())
        };
        let amount =
            r#""balanceType":"expected","balanceAmount":{"currency":"EUR","amount":"1.00"}"#;
        assert_eq!(
            balances(&format!("{{{amount}}}")).unwrap().balances.len(),
            1
        );
        let both = balances(&format!(r#"{{"debitAccounting":true,{amount}}}"#)).unwrap();
        assert_eq!(
            (both.balances.len(), both.debit_accounting),
            (1, Some(true))
        );
        let stray = balances(r#"{"debitAccounting":true}"#).unwrap();
        assert_eq!(
            (stray.balances.len(), stray.debit_accounting),
            (0, Some(true))
        );
        for wrong in [
            "[true]",
            r#"{"balanceType":"expected","balanceAmount":["EUR","1.00"]}"#,
            r#"{"debitAccounting":true,"balanceAmount":["EUR","1.00"]}"#,
            r#"{"debitAccounting":true,"debitAccounting":false}"#,
        ] {
            assert!(balances(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_name_is_there_twice() {
        let (path, reason) =
            fault(r#"{"access":{"allPsd2":"allAccounts","allPsd2":"allAccounts"}}"#);
        assert_eq!(
            (&*path, &*reason),
            ("access.allPsd2", "the field is there twice")
        );
        // Names that are not known beforehand: the second would take the place of the first.
        let links = br#"{"self":{"href":"/a"},"self":{"href":"/b"}}"#;
        assert!(
            decode::<Links>(links)
                .unwrap_err()
                .reason
                .starts_with("a name is there twice")
        );
    }

    #[test]
    fn reasons_are_in_the_words_of_json() {
        for (json, path, reason) in [
            ("", ".", "not JSON: EOF"),
            ("{", ".", "not JSON: EOF"),
            (
                r#"{"access":{}}"#,
                "recurringIndicator",
                "the field is required",
            ),
            (
                r#"{"recurringIndicator":"true"}"#,
                "recurringIndicator",
                "expected a boolean",
            ),
            (
                r#"{"frequencyPerDay":0}"#,
                "frequencyPerDay",
                "expected a whole number from 1 to 4294967295",
            ),
            (
                r#"{"access":{"accounts":{}}}"#,
                "access.accounts",
                "expected a list",
            ),
            (
                r#"{"access":{"accounts":[{"other":{}}]}}"#,
                "access.accounts[0].other.identification",
                "the field is required",
            ),
            (r#"{"access":7}"#, "access", "expected an object"),
        ] {
            let (at, told) = fault(json);
            assert_eq!(at, path, "{json}: {told}");
            assert!(told.starts_with(reason), "{json}: {told}");
        }
    }

    #[test]
    fn a_name_that_the_sender_made_up_is_told_shortly() {
        let endless = "x\\u0007".repeat(1000);
        let json = format!(r#"{{"access":{{"{endless}":tru}}}}"#);
        let path = decode::<ConsentRequest>(json.as_bytes()).unwrap_err().path;
        assert!(path.starts_with("access.x\u{fffd}x\u{fffd}"), "{path}");
        assert_eq!(path.chars().count(), LONGEST_PATH + 1, "{path}");
    }

    #[test]
    fn what_is_not_utf8_is_refused_even_where_unknown_fields_are_skipped() {
        let fault = decode::<AccountReference>(b"{\"unknown\":\"\xea\"}").unwrap_err();
        assert_eq!(fault.reason, "not UTF-8");
    }

    #[test]
    fn deep_nesting_is_refused_even_where_unknown_fields_are_skipped() {
        let bomb = format!(r#"{{"unknown":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
        let fault = decode::<AccountReference>(bomb.as_bytes()).unwrap_err();
        assert!(fault.reason.contains("64 levels"));
    }

    fn shape(json: &str) -> (usize, usize) {
        let mut shape = Shape::default();
        shape.scan(json.as_bytes());
        (shape.deepest, shape.elements)
    }

    #[test]
    fn the_shape_is_depth_and_elements_of_lists() {
        for (json, expected) in [
            (r#"{"a":"[[[\"[[","b":[]}"#, (2, 0)),
            ("[]", (1, 0)),
            ("[ ]", (1, 0)),
            ("[1]", (1, 1)),
            (r#"[{"a":1,"b":2}, "x,y", [], [[]], null]"#, (3, 6)),
            (r#"{"a":[1,2],"b":[{},{"c":[3]}]}"#, (4, 5)),
            (r#"{"a":{"b":1,"c":2},"d":3}"#, (2, 0)),
            (r#"["\\",1]"#, (1, 2)),
        ] {
            assert_eq!(shape(json), expected, "{json}");
        }
    }

    #[test]
    fn a_document_has_so_many_values_at_most() {
        // A list is a value too.
        let list = |elements: usize| format!("[{}]", vec!["0"; elements].join(","));
        assert!(document(list(MAX_VALUES - 1).as_bytes()).is_ok());
        let fault = document(list(MAX_VALUES).as_bytes()).unwrap_err();
        assert!(fault.reason.contains("500000 values"), "{fault}");
    }

    #[test]
    fn texts_that_are_too_long_are_read_tolerantly_and_in_no_other_way() {
        let long = serde_json::json!({ "bban": "1".repeat(31) });
        let exact = part::<AccountReference>(&long, Manner::Exact).unwrap_err();
        assert_eq!(exact.reason, "longer than 30 characters");
        assert_eq!(exact.steps, [Step::Name("bban".to_owned())]);
        assert!(decode::<AccountReference>(long.to_string().as_bytes()).is_err());
        assert!(serde_json::from_value::<AccountReference>(long.clone()).is_err());
        let tolerant: AccountReference = part(&long, Manner::Tolerant).unwrap();
        assert_eq!(serde_json::json!(tolerant), long);
        assert_eq!(kept(long.to_string().as_bytes()), Ok(tolerant));
        let endless = serde_json::json!({ "bban": "1".repeat(crate::xs2a::text::LONGEST + 1) });
        assert!(part::<AccountReference>(&endless, Manner::Tolerant).is_err());
    }

    #[test]
    fn trailing_text_is_refused() {
        assert!(decode::<bool>(b"true false").is_err());
    }

    /// Elements of lists, by a decoder that knows nothing of ours.
    fn elements(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::Array(list) => list.len() + list.iter().map(elements).sum::<usize>(),
            serde_json::Value::Object(object) => object.values().map(elements).sum(),
            _ => 0,
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(Into::into),
            "[\\[\\]{},\"\\\\ a]{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                proptest::collection::vec(("[\\[\",]{0,3}", inner), 0..5)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn elements_are_counted_in_whatever_pieces_they_come(value in any_json(), size in 1_usize..9, pretty: bool) {
            let json = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            let mut shape = Shape::default();
            for piece in json.chunks(size) {
                shape.scan(piece);
            }
            prop_assert_eq!(shape.elements(), elements(&value));
            prop_assert_eq!(shape.decode::<serde_json::Value>(&json).unwrap(), value);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<ConsentRequest>(&bytes);
        }
    }
}
