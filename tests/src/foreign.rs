//! Certificates, CRLs and OCSP responses encoded by hand as other authorities write them, signed by
//! CA1.

use bank_client::environment::{Clock as _, SystemClock};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use fixtures::pki::der::{element, oid, parts, sequence};
use fixtures::pki::{Identity, Pki};
use fixtures::scheme_ca::{CaLevel, SIGNATURE_ALGORITHM, SchemeCa};
use openssl::x509::X509;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
pub use shared_types::pki::der::{ENUMERATED, INTEGER, OCTET_STRING};
use shared_types::pki::revocation::PathCertificate;

pub fn algorithm() -> Vec<u8> {
    sequence(&[oid(SIGNATURE_ALGORITHM)])
}

/// `Extension`, of that value.
pub fn extension(id: &str, is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical {
        element(0x01, &[0xFF])
    } else {
        Vec::new()
    };
    sequence(&[oid(id), critical, element(OCTET_STRING, value)])
}

/// `GeneralizedTime`.
pub fn time(at: DateTime<Utc>) -> Vec<u8> {
    element(0x18, at.format("%Y%m%d%H%M%SZ").to_string().as_bytes())
}

/// A name with one value for each attribute: OID, tag, octets.
pub fn name(attributes: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let part = |(kind, tag, value): &(&str, u8, &[u8])| {
        element(0x31, &sequence(&[oid(kind), element(*tag, value)]))
    };
    sequence(&attributes.iter().map(part).collect::<Vec<_>>())
}

/// Such a name with every value as a string of another type, in other letters, with other spaces.
pub fn rewritten(name: &[u8]) -> Vec<u8> {
    let relative = |set: Vec<u8>| {
        let attribute = parts(&set).remove(0);
        let [kind, value] = <[Vec<u8>; 2]>::try_from(parts(&attribute)).unwrap();
        let text = format!(" {} ", String::from_utf8_lossy(&value[2..]).to_uppercase());
        let octets: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        element(0x31, &sequence(&[kind, element(0x1E, &octets)]))
    };
    sequence(&parts(name).into_iter().map(relative).collect::<Vec<_>>())
}

/// A list of the issuing CA of CA1, in the making.
pub struct ForeignList {
    /// Nothing is version 1.
    pub version: Vec<u8>,
    pub issuer: Vec<u8>,
    pub next_update: Vec<u8>,
    pub entries: Vec<Vec<u8>>,
    pub extensions: Vec<Vec<u8>>,
}

impl ForeignList {
    pub fn new(ca: &SchemeCa) -> Self {
        let number = element(INTEGER, &1_000_000_u32.to_be_bytes());
        Self {
            version: element(INTEGER, &[1]),
            issuer: issuing_name(ca),
            next_update: time(SystemClock.now() + TimeDelta::days(7)),
            entries: Vec::new(),
            extensions: vec![extension("2.5.29.20", false, &number)],
        }
    }

    /// With an entry of that serial number, and extensions.
    #[must_use]
    pub fn entry(mut self, serial: &[u8], extensions: &[Vec<u8>]) -> Self {
        let mut entry = vec![element(INTEGER, serial), time(SystemClock.now())];
        if !extensions.is_empty() {
            entry.push(sequence(extensions));
        }
        self.entries.push(sequence(&entry));
        self
    }

    #[must_use]
    pub fn extension(mut self, id: &str, is_critical: bool, value: &[u8]) -> Self {
        self.extensions.push(extension(id, is_critical, value));
        self
    }

    pub fn content(&self) -> Vec<u8> {
        let mut content = vec![
            self.version.clone(),
            algorithm(),
            self.issuer.clone(),
            time(SystemClock.now() - TimeDelta::minutes(1)),
            self.next_update.clone(),
        ];
        if !self.entries.is_empty() {
            content.push(sequence(&self.entries));
        }
        if !self.extensions.is_empty() {
            content.push(element(0xA0, &sequence(&self.extensions)));
        }
        sequence(&content)
    }

    /// Signs the list and returns its DER.
    pub fn signed(&self, ca: &SchemeCa) -> Vec<u8> {
        ca.sign_as_is(CaLevel::Issuing, &self.content(), &[])
            .unwrap()
    }
}

fn issuing_name(ca: &SchemeCa) -> Vec<u8> {
    let issuing = X509::from_pem(ca.issuing_pem().unwrap().as_bytes()).unwrap();
    issuing.subject_name().to_der().unwrap()
}

/// The places of what can be changed in a certificate's content.
pub const SERIAL: usize = 1;
pub const ISSUER: usize = 3;
pub const SUBJECT: usize = 5;
pub const EXTENSIONS: usize = 7;

/// A certificate of CA1's issuing CA with other parts, signed anew; the key is the same.
pub fn reissued(pki: &Pki, identity: &Identity, change: impl FnOnce(&mut [Vec<u8>])) -> Identity {
    const ALGORITHM: usize = 2;

    let chain = X509::stack_from_pem(identity.chain_pem.as_bytes()).unwrap();
    let mut content = parts(&parts(&chain[0].to_der().unwrap())[0]);
    content[ALGORITHM] = algorithm();
    change(&mut content);
    let signed = pki
        .ca1
        .sign_as_is(CaLevel::Issuing, &sequence(&content), &[]);
    // Not encoded by OpenSSL, which cannot parse all of the tested forms.
    let body = BASE64_STANDARD.encode(signed.unwrap());
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let leaf = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    );
    Identity {
        chain_pem: format!("{leaf}{}", pki.ca1.issuing_pem().unwrap()),
        key_pem: identity.key_pem.clone(),
    }
}

/// The leaf of a chain, as an element of the path that revocation checks.
pub fn link_of(pki: &Pki, identity: &Identity) -> PathCertificate {
    let first = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let issuing = first(&pki.ca1.issuing_pem().unwrap());
    PathCertificate::between(&first(&identity.chain_pem), &issuing).unwrap()
}
