//! CSRF tokens for forms, one per session and purpose, and the signed cookie of a device.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::PsuId;
use crate::store::vault::Vault;

/// Purpose of a form, such as `log-in`, or `authorise/` with the id of an authorisation. A token is
/// valid for one purpose alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Purpose(String);

impl Purpose {
    pub(super) fn new(purpose: impl Into<String>) -> Self {
        Self(purpose.into())
    }

    /// Purpose that concerns the object with that id.
    pub(super) fn of(what: &str, id: &str) -> Self {
        Self(format!("{what}/{id}"))
    }
}

/// Signer of form tokens and device cookies.
pub(crate) struct Seal(hmac::Key);

impl Seal {
    pub(crate) fn new(vault: &Vault) -> Self {
        Self::from_key(&vault.mac("online-banking", b""))
    }

    fn from_key(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Token of a form in the session, or the visit before one, with that digest.
    pub(super) fn form_token(&self, session: &str, purpose: &Purpose) -> String {
        self.sign(&form(session, purpose))
    }

    /// Whether the token is of this form in this session. In constant time.
    pub(super) fn is_form_token(&self, token: &str, session: &str, purpose: &Purpose) -> bool {
        self.holds(token, &form(session, purpose))
    }

    /// Value of a device's cookie.
    pub(super) fn device_cookie(&self, device: &Device) -> String {
        let body = device.body();
        format!("{body}.{}", self.sign(&format!("device\n{body}")))
    }

    /// The device of a cookie that we signed.
    pub(super) fn device_of(&self, cookie: &str) -> Option<Device> {
        let (body, tag) = cookie.rsplit_once('.')?;
        if !self.holds(tag, &format!("device\n{body}")) {
            return None;
        }
        let mut parts = body.split('.').map(str::to_owned);
        Some(Device {
            id: parts.next()?,
            customers: parts.collect(),
        })
    }

    /// Keyed digest by which a device remembers a customer; it does not reveal the customer.
    pub(super) fn mark(&self, psu: &PsuId) -> String {
        self.sign(&format!("customer\n{}", psu.0))
            .chars()
            .take(16)
            .collect()
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

// A digest is hexadecimal, so that no two forms make one message.
fn form(session: &str, Purpose(purpose): &Purpose) -> String {
    format!("form\n{session}\n{purpose}")
}

/// Device with which customers have fully logged in. Their failed attempts there are counted apart
/// from those of other browsers, so it stores the customers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) id: String,
    /// Marks of the customers, the latest last.
    customers: Vec<String>,
}

/// Customers that one device remembers.
const CUSTOMERS: usize = 5;

impl Device {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            customers: Vec::new(),
        }
    }

    pub(super) fn knows(&self, mark: &str) -> bool {
        self.customers.iter().any(|known| known == mark)
    }

    /// Adds a customer who has logged in with the device.
    pub(super) fn with(mut self, mark: String) -> Self {
        self.customers.retain(|known| *known != mark);
        self.customers.push(mark);
        let too_many = self.customers.len().saturating_sub(CUSTOMERS);
        self.customers.drain(..too_many);
        self
    }

    fn body(&self) -> String {
        let mut body = self.id.clone();
        for mark in &self.customers {
            body.push('.');
            body.push_str(mark);
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_form_of_one_session() {
        let seal = Seal::from_key(b"key");
        let approve = Purpose::of("approve", "1");
        let token = seal.form_token("session", &approve);
        assert!(seal.is_form_token(&token, "session", &approve));
        assert!(!seal.is_form_token(&token, "another", &approve));
        assert!(!seal.is_form_token(&token, "session", &Purpose::of("approve", "2")));
        assert!(!seal.is_form_token(&token, "session", &Purpose::of("refuse", "1")));
        assert!(!Seal::from_key(b"other").is_form_token(&token, "session", &approve));
        for wrong in ["", "x", &token[1..], &format!("{token}A")] {
            assert!(!seal.is_form_token(wrong, "session", &approve), "{wrong}");
        }
    }

    #[test]
    fn a_device_is_known_by_what_we_signed_and_for_whom() {
        let seal = Seal::from_key(b"key");
        let mark = |name: &str| seal.mark(&PsuId(name.to_owned()));
        let device = Device::new("1".to_owned()).with(mark("anna"));
        let cookie = seal.device_cookie(&device);
        let read = seal.device_of(&cookie).unwrap();
        assert_eq!(read, device);
        assert!(read.knows(&mark("anna")) && !read.knows(&mark("lucas")));
        assert_eq!(seal.device_of(&cookie.replace("1.", "2.")), None);
        assert_eq!(
            seal.device_of(&cookie.replace(&mark("anna"), &mark("lucas"))),
            None
        );
        assert_eq!(seal.device_of("1"), None);
        assert_eq!(Seal::from_key(b"other").device_of(&cookie), None);
        assert!(!cookie.contains("anna"));
        let full = (0..=CUSTOMERS).fold(device, |device, number| {
            device.with(mark(&number.to_string()))
        });
        assert!(!full.knows(&mark("anna")) && full.knows(&mark("5")));
    }
}
