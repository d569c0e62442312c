//! npm `oidc-provider`, run by Node over TLS: an OpenID Connect provider that no one here wrote.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use bank_server::config::{ApprovalBinding, IdentityProviderConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::{MessageDigest, hash};
use serde_json::{Value, json};

use crate::child_process::ChildProcess;
use crate::files;
use crate::issuing::{Ca, both_ends, loopback, signs};
use crate::programs;
use crate::scripted_provider::{CLIENT, SigningKey};

/// The package of npm. `tests/run` names the same version.
const PACKAGE: &str = "npm:oidc-provider@9.13.3";

const SECRET: &str = "the secret of a test, which is long enough";
const ACR: &str = "urn:bank-b:sca";

/// What each customer enters.
pub const PASSWORD: &str = "correct horse";
pub const FACTOR: &str = "271828";

/// The running provider.
pub struct OidcProvider {
    pub issuer: String,
    /// SHA-256 of its public key, by which a browser accepts its certificate.
    pub key_digest: String,
    folder: PathBuf,
    approval: ApprovalBinding,
    has_key: bool,
    _program: ChildProcess,
}

/// Features of the provider.
#[derive(Debug, Clone, Copy, Default)]
pub struct Features {
    /// It takes pushed requests, and no others.
    pub pushed: bool,
    /// It shows and returns `authorization_details`.
    pub details: bool,
    /// The bank authenticates with a key instead of a secret.
    pub key: bool,
}

impl OidcProvider {
    /// Starts one for the bank with pages at that origin; its files are in `folder`.
    pub fn start(folder: &Path, origin: &str, features: Features) -> Self {
        let packages = programs::unpacked(PACKAGE).join("node_modules");
        let root = Ca::root("internal authority");
        let (certificate, key) = root.party(&[signs(), both_ends(), loopback()]);
        let file = |name: &str, content: &[u8]| {
            let path = folder.join(name);
            files::replace(&path, content);
            path
        };
        let client_key = SigningKey::new("client");
        file("provider-ca.pem", &root.certificate.to_pem().unwrap());
        file("client.secret", SECRET.as_bytes());
        file("client.key", &client_key.pem());
        let settings = json!({
            "certificate": file("provider.pem", &certificate.to_pem().unwrap()),
            "key": file("provider.key", &key.private_key_to_pem_pkcs8().unwrap()),
            "client": CLIENT,
            "secret": SECRET,
            "publicKey": if features.key { client_key.jwk() } else { Value::Null },
            "origin": origin,
            "acr": ACR,
            "pushed": features.pushed,
            "details": features.details,
            "password": PASSWORD,
            "factor": FACTOR,
        });
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/oidc_provider/provider.mjs"
        );
        let program = ChildProcess::spawn(
            programs::system_of("node", "nodejs")
                .arg(script)
                .arg(packages)
                .arg(settings.to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let issuer = program.line(|line| Some(line.strip_prefix("provider at ")?.to_owned()));
        let public = certificate
            .public_key()
            .unwrap()
            .public_key_to_der()
            .unwrap();
        let digest = hash(MessageDigest::sha256(), &public).unwrap();
        Self {
            issuer,
            key_digest: STANDARD.encode(digest),
            folder: folder.to_owned(),
            approval: if features.details {
                ApprovalBinding::AuthorizationDetails
            } else {
                ApprovalBinding::FreshLogIn
            },
            has_key: features.key,
            _program: program,
        }
    }

    /// The bank's section for it.
    pub fn section(&self) -> IdentityProviderConfig {
        let file = |name: &str| self.folder.join(name);
        IdentityProviderConfig {
            issuer: self.issuer.clone(),
            client_id: CLIENT.to_owned(),
            client_secret_file: (!self.has_key).then(|| file("client.secret")),
            private_key: self.has_key.then(|| file("client.key")),
            anchors: vec![file("provider-ca.pem")],
            scopes: vec!["openid".to_owned()],
            customer_claim: "customer_number".to_owned(),
            required_acr: vec![ACR.to_owned()],
            required_amr: vec!["mfa".to_owned()],
            approval: self.approval,
            authorization_details_claim: "authorization_details".to_owned(),
            response_timeout_seconds: 10,
        }
    }
}
