//! OpenID Connect provider whose ID tokens a test writes itself, over HTTP on loopback.
//!
//! It signs on OpenSSL: what it issues is no work of the library that the bank verifies with.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bank_server::config::{ApprovalBinding, IdentityProviderConfig};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use openssl::bn::BigNumContext;
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::files;
use crate::issuing::key;

pub const CLIENT: &str = "bank-pages";
pub const SECRET: &str = "a secret, with: colon";
pub const ACR: &str = "urn:test:sca";

/// The provider. Its endpoints answer what was set last.
pub struct ScriptedProvider {
    pub server: MockServer,
    issuer: String,
    answers: Answers,
    /// The key that it signs with.
    pub key: SigningKey,
}

/// By path.
type Answers = Arc<Mutex<HashMap<String, ResponseTemplate>>>;

struct ByPath(Answers);

impl Respond for ByPath {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let answers = self.0.lock().unwrap();
        let answer = answers.get(request.url.path());
        answer.cloned().unwrap_or(ResponseTemplate::new(404))
    }
}

/// A key of P-256 with its id.
#[derive(Clone)]
pub struct SigningKey {
    pub id: String,
    key: PKey<Private>,
}

impl SigningKey {
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            key: key(),
        }
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> Value {
        let point = self.point();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..]),
        })
    }

    /// The private key, in PKCS#8.
    pub fn pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().unwrap()
    }

    /// The public key, uncompressed.
    fn point(&self) -> Vec<u8> {
        let key = self.key.ec_key().unwrap();
        let mut context = BigNumContext::new().unwrap();
        let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
        let point = key.public_key();
        point.to_bytes(key.group(), form, &mut context).unwrap()
    }
}

/// An ID token before it is signed.
#[derive(Clone)]
pub struct Token {
    pub header: Value,
    pub claims: Value,
}

impl Token {
    fn message(&self) -> String {
        let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        format!("{}.{}", part(&self.header), part(&self.claims))
    }

    /// Signed with ES256.
    pub fn signed(&self, by: &SigningKey) -> String {
        let message = self.message();
        let digest = openssl::hash::hash(MessageDigest::sha256(), message.as_bytes()).unwrap();
        let signature = EcdsaSig::sign(&digest, &by.key.ec_key().unwrap()).unwrap();
        let (r, s) = (signature.r(), signature.s());
        let signature = [r.to_vec_padded(32).unwrap(), s.to_vec_padded(32).unwrap()].concat();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// "Signed" with HS256 and the public key as the secret.
    pub fn keyed(&self, by: &SigningKey) -> String {
        let message = self.message();
        let secret = PKey::hmac(&by.point()).unwrap();
        let mut signer = Signer::new(MessageDigest::sha256(), &secret).unwrap();
        let tag = signer.sign_oneshot_to_vec(message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Without a signature.
    pub fn unsigned(&self) -> String {
        format!("{}.", self.message())
    }
}

impl ScriptedProvider {
    pub async fn start() -> Self {
        let server = MockServer::start().await;
        let answers = Answers::default();
        Mock::given(any())
            .respond_with(ByPath(Arc::clone(&answers)))
            .mount(&server)
            .await;
        let provider = Self {
            issuer: server.uri(),
            server,
            answers,
            key: SigningKey::new("first"),
        };
        provider.announce(&json!({}));
        provider.publish(&[&provider.key]);
        provider
    }

    pub fn issuer(&self) -> String {
        self.issuer.clone()
    }

    /// Lets it be reached at another address, such as that of a TLS terminator.
    pub fn move_to(&mut self, issuer: &str) {
        issuer.clone_into(&mut self.issuer);
        self.announce(&json!({}));
    }

    /// The bank's section for it. Writes the secret beside the configuration.
    pub fn section(&self, folder: &Path) -> IdentityProviderConfig {
        let file = folder.join("identity-provider.secret");
        files::replace(&file, SECRET);
        IdentityProviderConfig {
            issuer: self.issuer(),
            client_id: CLIENT.to_owned(),
            client_secret_file: Some(file),
            private_key: None,
            anchors: Vec::new(),
            scopes: vec!["openid".to_owned()],
            customer_claim: "customer_number".to_owned(),
            required_acr: vec![ACR.to_owned()],
            required_amr: vec!["mfa".to_owned()],
            approval: ApprovalBinding::FreshLogIn,
            authorization_details_claim: "authorization_details".to_owned(),
            response_timeout_seconds: 1,
        }
    }

    /// Sets the answer of a path.
    pub fn answer(&self, path: &str, answer: ResponseTemplate) {
        let mut answers = self.answers.lock().unwrap();
        answers.insert(path.to_owned(), answer);
    }

    /// Changes the metadata.
    pub fn announce(&self, changes: &Value) {
        let issuer = self.issuer();
        let mut metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
            "code_challenge_methods_supported": ["S256"],
        });
        for (name, value) in changes.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        self.answer(
            "/.well-known/openid-configuration",
            ResponseTemplate::new(200).set_body_json(metadata),
        );
    }

    /// Changes the keys.
    pub fn publish(&self, keys: &[&SigningKey]) {
        let mut keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        // One of an unknown kind is no obstacle.
        keys.push(json!({ "kty": "made-up", "kid": "other" }));
        let keys = json!({ "keys": keys });
        self.answer("/keys", ResponseTemplate::new(200).set_body_json(keys));
    }

    /// Sets the ID token that each code is redeemed for.
    pub fn issue(&self, token: &str) {
        let body = json!({ "access_token": "a", "token_type": "Bearer", "id_token": token });
        self.answer("/token", ResponseTemplate::new(200).set_body_json(body));
    }

    /// The token of a customer who authenticates now, for an authorization request.
    pub fn token(&self, nonce: &str, customer: &str, now: DateTime<Utc>) -> Token {
        let now = now.timestamp();
        Token {
            header: json!({ "alg": "ES256", "typ": "JWT", "kid": self.key.id }),
            claims: json!({
                "iss": self.issuer(), "aud": CLIENT, "sub": "an internal id",
                "customer_number": customer, "nonce": nonce,
                "iat": now, "exp": now + 300, "auth_time": now,
                "acr": ACR, "amr": ["pwd", "otp", "mfa"],
            }),
        }
    }

    /// The forms that were posted to that path, the latest last.
    pub async fn posted(&self, path: &str) -> Vec<(HashMap<String, String>, Option<String>)> {
        let requests = self.server.received_requests().await.unwrap();
        let to_path = requests.iter().filter(|one| one.url.path() == path);
        to_path
            .map(|request| {
                let form = url_pairs(std::str::from_utf8(&request.body).unwrap());
                let authorization = request.headers.get("authorization");
                let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
                (form, authorization)
            })
            .collect()
    }
}

/// Pairs of a query or a form.
pub fn url_pairs(text: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}
