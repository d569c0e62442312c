//! Session with a token, in which a key signs: finds the token, logs in, and finds the key.

use std::ffi::c_ulong;
use std::io::Read as _;
use std::path::Path;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::error::Pkcs11Error;
use super::module::{Module, lock};
use super::uri::{Pkcs11Uri, TokenNames};
use crate::files::is_open_to_others;
use crate::pki::der;

/// Keys of one name that are tried against the certificate.
const MAX_CANDIDATES: usize = 32;

/// The largest file with a PIN, in bytes.
const MAX_PIN_BYTES: u64 = 256;

/// A session in which one key signs.
pub(super) struct KeySession {
    session: Session,
    key: ObjectHandle,
    /// Whether the token makes signatures of PKCS #1 version 1.5 too.
    pub(super) has_pkcs1: bool,
}

/// A hash function of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// How a key signs: the token receives the digest, never the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// ECDSA; the signature is `r` and `s`, of equal lengths.
    Ecdsa(Hash),
    /// RSASSA-PSS with a salt as long as the digest.
    Pss(Hash),
    /// RSASSA-PKCS1-v1_5.
    Pkcs1(Hash),
}

impl KeySession {
    /// Opens a session, logs in, and finds the key for which `is_it` holds.
    pub(super) fn open(
        module: &Module,
        context: &Pkcs11,
        uri: &Pkcs11Uri,
        method: Method,
        is_it: impl Fn(&Self) -> Result<bool, Pkcs11Error>,
    ) -> Result<Self, Pkcs11Error> {
        let (slot, token) = token(context, &uri.token)?;
        let mechanisms = context.get_mechanism_list(slot)?;
        let (needed, name) = match method {
            Method::Ecdsa(_) => (MechanismType::ECDSA, "CKM_ECDSA"),
            Method::Pss(_) | Method::Pkcs1(_) => (MechanismType::RSA_PKCS_PSS, "CKM_RSA_PKCS_PSS"),
        };
        if !mechanisms.contains(&needed) {
            return Err(Pkcs11Error::NoMechanism(name));
        }
        let has_pkcs1 = mechanisms.contains(&MechanismType::RSA_PKCS);
        let mut session = context.open_ro_session(slot)?;
        if token.login_required() {
            log_in(module, &session, &token, uri)?;
        }
        let kind = match method {
            Method::Ecdsa(_) => KeyType::EC,
            Method::Pss(_) | Method::Pkcs1(_) => KeyType::RSA,
        };
        let template = template(uri, ObjectClass::PRIVATE_KEY, kind);
        let candidates = session.find_objects(&template)?;
        let count = candidates.len();
        let mut failed = None;
        for key in candidates.into_iter().take(MAX_CANDIDATES) {
            let candidate = Self {
                session,
                key,
                has_pkcs1,
            };
            match candidate
                .check_attributes()
                .and_then(|()| is_it(&candidate))
            {
                Ok(true) => return Ok(candidate),
                Ok(false) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
            session = candidate.session;
        }
        Err(match failed {
            Some(error) => error,
            None if count == 0 => Pkcs11Error::NoKey,
            None => Pkcs11Error::OtherKey(count),
        })
    }

    /// Fails if the key cannot be used without its holder.
    fn check_attributes(&self) -> Result<(), Pkcs11Error> {
        // A token need not know the attribute.
        let found = self
            .session
            .get_attributes(self.key, &[AttributeType::AlwaysAuthenticate]);
        if found.is_ok_and(|found| found.contains(&Attribute::AlwaysAuthenticate(true))) {
            return Err(Pkcs11Error::AlwaysAuthenticate);
        }
        Ok(())
    }

    /// Signs, in the token's own encoding.
    pub(super) fn sign(&self, method: Method, message: &[u8]) -> Result<Vec<u8>, Pkcs11Error> {
        let (mechanism, data) = match method {
            Method::Ecdsa(hash) => (Mechanism::Ecdsa, hash.digest(message)),
            Method::Pss(hash) => (Mechanism::RsaPkcsPss(hash.pss()), hash.digest(message)),
            Method::Pkcs1(hash) => (Mechanism::RsaPkcs, hash.digest_info(message)),
        };
        Ok(self.session.sign(&mechanism, self.key, &data)?)
    }
}

impl Hash {
    fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }

    fn pss(self) -> PkcsPssParams {
        let (hash_alg, mgf, bytes) = match self {
            Self::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32_u8),
            Self::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48),
            Self::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64),
        };
        PkcsPssParams {
            hash_alg,
            mgf,
            s_len: c_ulong::from(bytes).into(),
        }
    }

    /// `DigestInfo` (RFC 8017, section 9.2).
    fn digest_info(self, message: &[u8]) -> Vec<u8> {
        let (number, length) = match self {
            Self::Sha256 => (1, 32),
            Self::Sha384 => (2, 48),
            Self::Sha512 => (3, 64),
        };
        let mut info = vec![
            0x30,
            0x11 + length,
            0x30,
            0x0d,
            0x06,
            0x09,
            0x60,
            0x86,
            0x48,
            0x01,
            0x65,
            0x03,
            0x04,
            0x02,
            number,
            0x05,
            0x00,
            0x04,
            length,
        ];
        info.extend(self.digest(message));
        info
    }
}

/// What is searched for on the token.
fn template(uri: &Pkcs11Uri, class: ObjectClass, kind: KeyType) -> Vec<Attribute> {
    let label = uri.object.clone().map(String::into_bytes);
    [Attribute::Class(class), Attribute::KeyType(kind)]
        .into_iter()
        .chain(label.map(Attribute::Label))
        .chain(uri.id.clone().map(Attribute::Id))
        .collect()
}

/// The public half of the one ECDSA key of that name (`SubjectPublicKeyInfo`), if the token holds
/// it.
pub(super) fn public_key(
    module: &Module,
    context: &Pkcs11,
    uri: &Pkcs11Uri,
) -> Result<Vec<u8>, Pkcs11Error> {
    const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

    let (slot, token) = token(context, &uri.token)?;
    let session = context.open_ro_session(slot)?;
    if token.login_required() {
        log_in(module, &session, &token, uri)?;
    }
    let found = session.find_objects(&template(uri, ObjectClass::PUBLIC_KEY, KeyType::EC))?;
    let key = match *found.as_slice() {
        [key] => key,
        [] => return Err(Pkcs11Error::NoKey),
        ref several => return Err(Pkcs11Error::SeveralKeys(several.len())),
    };
    let (mut curve, mut point) = (Vec::new(), Vec::new());
    let attributes = [AttributeType::EcParams, AttributeType::EcPoint];
    for attribute in session.get_attributes(key, &attributes)? {
        match attribute {
            Attribute::EcParams(value) => curve = value,
            Attribute::EcPoint(value) => point = value,
            _ => {}
        }
    }
    // Some tokens leave the octet string around the point out.
    let point = match der::element(&point, der::OCTET_STRING) {
        Some((element, [])) => element.content,
        _ => &point,
    };
    let algorithm = der::write(
        der::SEQUENCE,
        &[&der::write(der::OID, &[EC_PUBLIC_KEY]), &curve],
    );
    let point = der::write(der::BIT_STRING, &[&[0], point]);
    Ok(der::write(der::SEQUENCE, &[&algorithm, &point]))
}

/// The one token that has these attributes.
fn token(context: &Pkcs11, names: &TokenNames) -> Result<(Slot, TokenInfo), Pkcs11Error> {
    let mut found = Vec::new();
    for slot in context.get_slots_with_token()? {
        // A token can be taken out while the others are looked at.
        let Ok(token) = context.get_token_info(slot) else {
            continue;
        };
        let is_named = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        if is_named(&names.label, token.label())
            && is_named(&names.serial, token.serial_number())
            && is_named(&names.manufacturer, token.manufacturer_id())
            && is_named(&names.model, token.model())
            && names.slot.is_none_or(|wanted| wanted == slot.id())
        {
            found.push((slot, token));
        }
    }
    let count = found.len();
    match (found.pop(), count) {
        (None, _) => Err(Pkcs11Error::NoToken),
        (Some(only), 1) => Ok(only),
        (Some(_), several) => Err(Pkcs11Error::SeveralTokens(several)),
    }
}

/// Logs in, unless another session of this process has. A PIN that was refused is not tried again:
/// the token would lock.
fn log_in(
    module: &Module,
    session: &Session,
    token: &TokenInfo,
    uri: &Pkcs11Uri,
) -> Result<(), Pkcs11Error> {
    let path = uri.pin_file().ok_or(Pkcs11Error::NoPin)?;
    let pin = read_pin(path).map_err(|problem| Pkcs11Error::PinFile {
        path: path.to_owned(),
        problem,
    })?;
    let digest: [u8; 32] = Sha256::digest(&pin).into();
    let refused = || Pkcs11Error::PinRefused {
        path: path.to_owned(),
    };
    let mut refused_pins = lock(&module.refused_pins);
    match refused_pins.get(token.serial_number()) {
        Some(known) if *known == digest => return Err(refused()),
        // The module may still know the previous PIN alone: it is initialised again before.
        Some(_) => {
            refused_pins.remove(token.serial_number());
            return Err(Pkcs11Error::NewPin);
        }
        None => {}
    }
    // Programs that are started again and again would use up the last attempts.
    if token.user_pin_final_try() {
        return Err(Pkcs11Error::PinLastTry);
    }
    match session.login(UserType::User, Some(&AuthPin::from(pin))) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
            _,
        )) => {
            refused_pins.insert(token.serial_number().to_owned(), digest);
            Err(refused())
        }
        Err(error) => Err(error.into()),
    }
}

/// The PIN in a file that is its owner's, without the end of the line.
fn read_pin(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    if is_open_to_others(path) {
        return Err("is open to others; run chmod 600".to_owned());
    }
    let mut pin = String::new();
    let mut file = std::fs::File::open(path)
        .map_err(unreadable)?
        .take(MAX_PIN_BYTES + 1);
    file.read_to_string(&mut pin).map_err(unreadable)?;
    if pin.len() as u64 > MAX_PIN_BYTES {
        return Err(format!("is larger than {MAX_PIN_BYTES} bytes"));
    }
    let end = pin.trim_end_matches(['\r', '\n']).len();
    pin.truncate(end);
    if pin.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(pin)
}
