//! Forms that only our own pages can send: a token for each session and purpose.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What a form does, such as `log-in` or `approve/` with the id of an authorisation: a token is good for this alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Purpose(String);

impl Purpose {
    pub(super) fn new(purpose: impl Into<String>) -> Self {
        Self(purpose.into())
    }

    /// Something that is done to one thing.
    pub(super) fn of(what: &str, id: &str) -> Self {
        Self(format!("{what}/{id}"))
    }
}

/// Makes and checks what only this bank can have made.
#[derive(Clone)]
pub(super) struct Seal(hmac::Key);

impl Seal {
    pub(super) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The token of a form, in the session (or the visit before one) of that digest.
    pub(super) fn form_token(&self, session: &str, purpose: &Purpose) -> String {
        self.sign(&form(session, purpose))
    }

    /// Whether the token is that of this form in this session. In constant time.
    pub(super) fn is_form_token(&self, token: &str, session: &str, purpose: &Purpose) -> bool {
        self.holds(token, &form(session, purpose))
    }

    /// What is put into the cookie of a device that a customer has fully logged in with.
    pub(super) fn device(&self, id: &str) -> String {
        format!("{id}.{}", self.sign(&device(id)))
    }

    /// The id in such a cookie, if we made it.
    pub(super) fn device_of(&self, cookie: &str) -> Option<String> {
        let (id, tag) = cookie.split_once('.')?;
        self.holds(tag, &device(id)).then(|| id.to_owned())
    }

    fn sign(&self, message: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, message.as_bytes()))
    }

    fn holds(&self, tag: &str, message: &str) -> bool {
        URL_SAFE_NO_PAD
            .decode(tag)
            .is_ok_and(|tag| hmac::verify(&self.0, message.as_bytes(), &tag).is_ok())
    }
}

// A digest is hexadecimal and a device's id a UUID: no two messages are alike.
fn form(session: &str, Purpose(purpose): &Purpose) -> String {
    format!("form\n{session}\n{purpose}")
}

fn device(id: &str) -> String {
    format!("device\n{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_form_of_one_session() {
        let seal = Seal::new(b"key");
        let approve = Purpose::of("approve", "1");
        let token = seal.form_token("session", &approve);
        assert!(seal.is_form_token(&token, "session", &approve));
        assert!(!seal.is_form_token(&token, "another", &approve));
        assert!(!seal.is_form_token(&token, "session", &Purpose::of("approve", "2")));
        assert!(!seal.is_form_token(&token, "session", &Purpose::of("refuse", "1")));
        assert!(!Seal::new(b"other").is_form_token(&token, "session", &approve));
        for wrong in ["", "x", &token[1..], &format!("{token}A")] {
            assert!(!seal.is_form_token(wrong, "session", &approve), "{wrong}");
        }
    }

    #[test]
    fn a_device_is_known_by_what_we_signed() {
        let seal = Seal::new(b"key");
        let cookie = seal.device("1");
        assert_eq!(seal.device_of(&cookie).as_deref(), Some("1"));
        assert_eq!(seal.device_of(&cookie.replace("1.", "2.")), None);
        assert_eq!(seal.device_of("1"), None);
        assert_eq!(Seal::new(b"other").device_of(&cookie), None);
    }
}
