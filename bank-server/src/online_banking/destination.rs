//! Where a customer goes after she has logged in: a page of ours, and never another address.

/// The path of a page of this bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination(String);

/// Longer than any path of ours.
const LONGEST: usize = 200;

impl Destination {
    /// The first page.
    pub(super) fn start() -> Self {
        Self("/".to_owned())
    }

    /// The path, if it is one: one slash, then letters, digits, `-`, `_`, `.` and single slashes. No scheme, no host, no
    /// query, nothing that a browser could read as one of these.
    pub(super) fn read(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
        let is_path = text.starts_with('/')
            && text.len() <= LONGEST
            && text.bytes().all(plain)
            && !text.contains("//")
            && !text.contains("..");
        is_path.then(|| Self(text.to_owned()))
    }

    /// The path, or the first page if it is none.
    pub(super) fn or_start(text: Option<&str>) -> Self {
        text.and_then(Self::read).unwrap_or_else(Self::start)
    }

    /// What a query names as `to`, or the first page.
    pub(super) fn of_query(query: &str) -> Self {
        let named = query.split('&').find_map(|pair| pair.strip_prefix("to="));
        Self::or_start(named)
    }

    pub(super) fn path(&self) -> &str {
        &self.0
    }

    /// Whether it is the approval of a consent: who comes for that needs no more than the password to see what is asked.
    pub(super) fn is_approval(&self) -> bool {
        self.0.starts_with("/authorise/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_ours_are_destinations() {
        for path in [
            "/",
            "/consents",
            "/authorise/5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11",
        ] {
            assert_eq!(Destination::read(path).unwrap().path(), path);
        }
        let long = format!("/{}", "a".repeat(LONGEST));
        for elsewhere in [
            "",
            "consents",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a//b",
            "/../x",
            "/\t/evil.example",
            "/a?to=//evil.example",
            "/a#b",
            "/%2f/evil.example",
            "javascript:alert(1)",
            &long,
        ] {
            assert_eq!(Destination::read(elsewhere), None, "{elsewhere}");
            assert_eq!(Destination::or_start(Some(elsewhere)), Destination::start());
        }
    }
}
