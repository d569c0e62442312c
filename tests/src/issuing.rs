//! Issuer of valid and invalid certificates of any form, on OpenSSL.

use aws_lc_rs::signature::{
    KeyPair as _, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, ML_DSA_87_SIGNING, PqdsaKeyPair,
};
use fixtures::pki::Identity;
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, PKey, PKeyRef, Private};
use openssl::x509::{X509, X509Extension, X509Name, X509NameBuilder};
use rustls_pki_types::CertificateDer;
pub use shared_types::pki::der::write as der;

/// Default validity of certificates, in seconds since 1970: from 2020 to 2100.
pub const VALID: (i64, i64) = (1_577_836_800, 4_102_444_800);

/// A new key on P-256.
pub fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// A name that is a commonName.
pub fn name(common: &str) -> X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, common).unwrap();
    name.build()
}

/// An extension: its OID, whether it is critical, its value in DER.
pub type Extension = (&'static str, bool, Vec<u8>);

/// basicConstraints of a CA.
pub fn ca() -> Extension {
    ("2.5.29.19", true, der(0x30, &[&der(0x01, &[&[0xff]])]))
}

/// keyUsage: keyCertSign and cRLSign.
pub fn signs_certificates() -> Extension {
    ("2.5.29.15", true, vec![0x03, 0x02, 0x01, 0x06])
}

/// keyUsage: digitalSignature.
pub fn signs() -> Extension {
    ("2.5.29.15", true, vec![0x03, 0x02, 0x07, 0x80])
}

/// extKeyUsage: both ends of TLS.
pub fn both_ends() -> Extension {
    let purpose = |last| der(0x06, &[&[0x2b, 6, 1, 5, 5, 7, 3, last]]);
    ("2.5.29.37", false, der(0x30, &[&purpose(1), &purpose(2)]))
}

/// subjectAltName: one DNS name.
pub fn host(name: &str) -> Extension {
    (
        "2.5.29.17",
        false,
        der(0x30, &[&der(0x82, &[name.as_bytes()])]),
    )
}

/// subjectAltName: 127.0.0.1.
pub fn loopback() -> Extension {
    let address = der(0x87, &[&[127, 0, 0, 1]]);
    ("2.5.29.17", false, der(0x30, &[&address]))
}

/// The extensions of a party's certificate.
pub fn of_party() -> Vec<Extension> {
    vec![signs(), both_ends(), host("party.example")]
}

/// The extensions of a CA's certificate.
pub fn of_ca() -> Vec<Extension> {
    vec![ca(), signs_certificates()]
}

/// Issues a certificate. The issuer's name and key can be any: they need not belong
/// together.
pub fn issue<T: HasPublic>(
    subject: &X509Name,
    key: &PKeyRef<T>,
    issuer: &X509Name,
    by: &PKeyRef<Private>,
    valid: (i64, i64),
    extensions: &[Extension],
) -> X509 {
    issue_with(
        subject,
        key,
        issuer,
        by,
        valid,
        extensions,
        MessageDigest::sha256(),
    )
}

/// Like `issue`, with a given digest.
pub fn issue_with<T: HasPublic>(
    subject: &X509Name,
    key: &PKeyRef<T>,
    issuer: &X509Name,
    by: &PKeyRef<Private>,
    (from, until): (i64, i64),
    extensions: &[Extension],
    digest: MessageDigest,
) -> X509 {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(64, MsbOption::ONE, false).unwrap();
    builder
        .set_serial_number(&serial.to_asn1_integer().unwrap())
        .unwrap();
    builder.set_subject_name(subject).unwrap();
    builder.set_issuer_name(issuer).unwrap();
    builder
        .set_not_before(&Asn1Time::from_unix(from).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::from_unix(until).unwrap())
        .unwrap();
    builder.set_pubkey(key).unwrap();
    for (id, critical, value) in extensions {
        let id = Asn1Object::from_str(id).unwrap();
        let value = Asn1OctetString::new_from_bytes(value).unwrap();
        let extension = X509Extension::new_from_der(&id, *critical, &value).unwrap();
        builder.append_extension(extension).unwrap();
    }
    builder.sign(by, digest).unwrap();
    builder.build()
}

/// A CA: its name, key and certificate.
pub struct Ca {
    pub name: X509Name,
    pub key: PKey<Private>,
    pub certificate: X509,
}

impl Ca {
    /// A self-signed one.
    pub fn root(common: &str) -> Self {
        Self::root_with(common, &of_ca())
    }

    /// A self-signed one with those extensions.
    pub fn root_with(common: &str, extensions: &[Extension]) -> Self {
        let (name, key) = (name(common), key());
        let certificate = issue(&name, &key, &name, &key, VALID, extensions);
        Self {
            name,
            key,
            certificate,
        }
    }

    /// One below this one, with those extensions.
    #[must_use]
    pub fn below(&self, common: &str, extensions: &[Extension]) -> Self {
        let (name, key) = (name(common), key());
        let certificate = issue(&name, &key, &self.name, &self.key, VALID, extensions);
        Self {
            name,
            key,
            certificate,
        }
    }

    /// A party's certificate and its key.
    pub fn party(&self, extensions: &[Extension]) -> (X509, PKey<Private>) {
        self.party_for(VALID, extensions)
    }

    /// The same, with that validity.
    pub fn party_for(
        &self,
        validity: (i64, i64),
        extensions: &[Extension],
    ) -> (X509, PKey<Private>) {
        let key = key();
        let certificate = issue(
            &name("party"),
            &key,
            &self.name,
            &self.key,
            validity,
            extensions,
        );
        (certificate, key)
    }
}

/// Converts certificates to `CertificateDer`.
pub fn ders(certificates: &[&X509]) -> Vec<CertificateDer<'static>> {
    let each = certificates.iter();
    each.map(|one| one.to_der().unwrap().into()).collect()
}

/// A chain and its key, for a connection.
pub fn identity(chain: &[&X509], key: &PKeyRef<Private>) -> Identity {
    let pem: Vec<u8> = chain.iter().flat_map(|one| one.to_pem().unwrap()).collect();
    Identity {
        chain_pem: String::from_utf8(pem).unwrap(),
        key_pem: String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap(),
    }
}

/// The name of an organisation, in DER: an organizationIdentifier.
pub fn organisation(id: &str) -> Vec<u8> {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("2.5.4.97", id).unwrap();
    name.build().to_der().unwrap()
}

/// A key of ML-DSA (FIPS 204), which OpenSSL has from version 3.5 on: certificates are written by
/// hand (RFC 9881).
pub struct MlDsa {
    key: PqdsaKeyPair,
    algorithm: Vec<u8>,
}

impl MlDsa {
    /// The parameter sets.
    pub const ALL: [u8; 3] = [44, 65, 87];

    pub fn new(parameters: u8) -> Self {
        let (signing, last) = match parameters {
            44 => (&ML_DSA_44_SIGNING, 17),
            65 => (&ML_DSA_65_SIGNING, 18),
            _ => (&ML_DSA_87_SIGNING, 19),
        };
        let id = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, last];
        Self {
            key: PqdsaKeyPair::generate(signing).unwrap(),
            algorithm: der(0x30, &[&der(0x06, &[&id])]),
        }
    }

    /// Issues a certificate for another key; subject and issuer in DER.
    pub fn issue(
        &self,
        subject: &[u8],
        issuer: &[u8],
        of: &Self,
        extensions: &[Extension],
    ) -> CertificateDer<'static> {
        let bits = |content: &[u8]| der(0x03, &[&[0], content]);
        let key = der(0x30, &[&of.algorithm, &bits(of.key.public_key().as_ref())]);
        let validity = der(
            0x30,
            &[
                &der(0x17, &[b"200101000000Z"]),
                &der(0x18, &[b"21000101000000Z"]),
            ],
        );
        let extensions: Vec<u8> = extensions
            .iter()
            .flat_map(|(id, critical, value)| {
                let id = Asn1Object::from_str(id).unwrap();
                let id = der(0x06, &[id.as_slice()]);
                let critical = if *critical {
                    der(0x01, &[&[0xff]])
                } else {
                    Vec::new()
                };
                der(0x30, &[&id, &critical, &der(0x04, &[value])])
            })
            .collect();
        let content = der(
            0x30,
            &[
                &der(0xa0, &[&der(0x02, &[&[2]])]),
                &der(0x02, &[&[1]]),
                &self.algorithm,
                issuer,
                &validity,
                subject,
                &key,
                &der(0xa3, &[&der(0x30, &[&extensions])]),
            ],
        );
        let mut signature = vec![0; self.key.algorithm().signature_len()];
        let length = self.key.sign(&content, &mut signature).unwrap();
        signature.truncate(length);
        der(0x30, &[&content, &self.algorithm, &bits(&signature)]).into()
    }

    /// A certificate and this key, for a connection.
    pub fn identity(&self, certificate: &CertificateDer<'_>) -> Identity {
        let pem = |label: &str, der: &[u8]| {
            let text = openssl::base64::encode_block(der);
            format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
        };
        Identity {
            chain_pem: pem("CERTIFICATE", certificate),
            key_pem: pem("PRIVATE KEY", self.key.to_pkcs8v1().unwrap().as_ref()),
        }
    }
}
