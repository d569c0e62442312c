//! Destination after a log-in: a path of our own pages, never another address.

/// Path of one of our pages, to which the log-in leads, with the code of a return from another
/// bank: the code arrives once and has to survive the log-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination(String);

/// Longest path.
const MAX_PATH: usize = 200;

/// Longest code of another bank.
const MAX_CODE: usize = 100;

impl Destination {
    /// The first page.
    pub(super) fn start() -> Self {
        Self("/".to_owned())
    }

    /// Parses a path: letters, digits, `-`, `_`, `.` and single slashes, and no query but a code.
    /// So a browser cannot read it as an address with a scheme or a host.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
        let is_path = path.starts_with('/')
            && path.len() <= MAX_PATH
            && path.bytes().all(plain)
            && !path.contains("//")
            && !path.contains("..");
        let is_code = |query: &str| code(query).is_some_and(|code| query.len() == code.len() + 5);
        (is_path && query.is_none_or(is_code)).then(|| Self(text.to_owned()))
    }

    /// The page of a request, with its code.
    pub(super) fn of_request(path: &str, query: &str) -> Self {
        match code(query) {
            Some(code) => Self::or_start(Some(&format!("{path}?code={code}"))),
            None => Self::or_start(Some(path)),
        }
    }

    /// The path, or the first page if it is none.
    pub(super) fn or_start(text: Option<&str>) -> Self {
        text.and_then(Self::read).unwrap_or_else(Self::start)
    }

    /// The destination in the `to` of a query, or the first page.
    pub(super) fn of_query(query: &str) -> Self {
        let named = query.split('&').find_map(|pair| pair.strip_prefix("to="));
        Self::or_start(named)
    }

    pub(super) fn path(&self) -> &str {
        &self.0
    }

    /// Id of the authorisation, if the page is for answering one.
    pub(super) fn authorisation(&self) -> Option<&str> {
        let id = self.0.strip_prefix("/authorise/")?;
        (!id.is_empty() && !id.contains(['/', '?'])).then_some(id)
    }
}

/// Confirmation code of another bank in a query.
pub(super) fn code(query: &str) -> Option<&str> {
    let code = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("code="))?;
    let plain = code
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (plain && code.len() <= MAX_CODE).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_code_of_a_query_is_kept() {
        let path = "/other-banks/return/x";
        for (query, expected) in [
            ("code=a-b_c.1", "/other-banks/return/x?code=a-b_c.1"),
            ("state=1&code=abc&to=//e", "/other-banks/return/x?code=abc"),
            ("", path),
            ("code=//evil.example", path),
            ("to=//evil.example", path),
        ] {
            let to = Destination::of_request(path, query);
            assert_eq!(to.path(), expected, "{query}");
            // It passes through the log-in unchanged.
            assert_eq!(Destination::of_query(&format!("to={expected}")), to);
            assert_eq!(Destination::or_start(Some(expected)), to);
        }
    }

    #[test]
    fn only_paths_of_ours_are_destinations() {
        for path in [
            "/",
            "/consents",
            "/authorise/5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11",
        ] {
            assert_eq!(Destination::read(path).unwrap().path(), path);
        }
        let long = format!("/{}", "a".repeat(MAX_PATH));
        for foreign in [
            "",
            "consents",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a//b",
            "/../x",
            "/\t/evil.example",
            "/a?to=//evil.example",
            "/a?code=1&to=//evil.example",
            "/a?x=1&code=1",
            "/a?code=1?code=1",
            "/a?",
            "/a#b",
            "/%2f/evil.example",
            "javascript:alert(1)",
            &long,
        ] {
            assert_eq!(Destination::read(foreign), None, "{foreign}");
            assert_eq!(Destination::or_start(Some(foreign)), Destination::start());
        }
    }
}
