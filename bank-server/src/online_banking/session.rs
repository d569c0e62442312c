//! Session of a browser, in a cookie.
//!
//! A visit begins with a random token in a cookie; nothing is stored for it. The log-in begins a
//! session under a *new* token, so a token that an attacker has planted is worthless.

use std::cell::{Cell, RefCell};
use std::future::{Ready, ready};
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{COOKIE, HeaderMap};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared_types::environment::Randomness;
use shared_types::pki::digest::sha256;

use super::OnlineBanking;
use super::csrf::{Device, Purpose};
use super::destination::Destination;
use super::problem::Problem;
use crate::domain::{MethodId, PsuId};
use crate::sca::{Proof, Source, Subject};
use crate::store::StoreError;
use crate::store::credentials::CredentialsVersion;
use crate::store::sessions::{NewSession, Session, SessionScope};

/// Request of a browser: shared state, session, device and address.
pub(super) struct Visit {
    pub(super) state: web::Data<OnlineBanking>,
    /// Digest of the token in the session cookie.
    digest: String,
    session: Option<Session>,
    /// Whether this request has ended the session.
    is_over: Cell<bool>,
    device: Option<Device>,
    phone: Option<String>,
    /// Whether a session has ended in this browser since the last log-in at the identity provider.
    is_after_end: bool,
    /// Address of the browser: that of its connection, or the one that a trusted proxy names.
    address: IpAddr,
    /// `Set-Cookie` lines of the response.
    outgoing: RefCell<Vec<String>>,
}

impl Visit {
    /// Reads the session of a request.
    pub(super) async fn of(
        state: &web::Data<OnlineBanking>,
        headers: &HeaderMap,
        address: IpAddr,
    ) -> Result<Self, StoreError> {
        let find = |cookie: &Cookie| value(headers, &cookie.name(state));
        let visit = match find(&SESSION).and_then(digest_of) {
            Some(digest) => Self {
                session: state.sessions.find(&digest, state.calendar.now()).await?,
                ..Self::new(state, address, digest)
            },
            None => Self::anonymous(state, address),
        };
        Ok(Self {
            device: find(&DEVICE).and_then(|value| state.seal.device_of(value)),
            phone: find(&PHONE).map(str::to_owned),
            is_after_end: find(&ENDED).is_some(),
            ..visit
        })
    }

    /// Request of a browser without cookies of ours, with a new token.
    pub(super) fn anonymous(state: &web::Data<OnlineBanking>, address: IpAddr) -> Self {
        let (digest, token) = token(state.randomness.as_ref());
        let visit = Self::new(state, address, digest);
        visit.set(&SESSION, &token);
        visit
    }

    fn new(state: &web::Data<OnlineBanking>, address: IpAddr, digest: String) -> Self {
        Self {
            state: state.clone(),
            digest,
            session: None,
            is_over: Cell::new(false),
            device: None,
            phone: None,
            is_after_end: false,
            address,
            outgoing: RefCell::default(),
        }
    }

    /// The visit of a request, which the middleware has put there.
    pub(super) fn of_request(request: &HttpRequest) -> Result<Rc<Self>, Problem> {
        let visit = request.extensions().get::<Rc<Self>>().cloned();
        visit.ok_or_else(Problem::failed)
    }

    /// The address of the browser.
    pub(super) const fn address(&self) -> IpAddr {
        self.address
    }

    /// The session, if it has not ended.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref().filter(|_| !self.is_over.get())
    }

    /// Customer who is fully logged in.
    pub(super) fn customer(&self) -> Option<&PsuId> {
        self.session()
            .filter(|session| session.scope == SessionScope::Full)
            .map(|session| &session.psu)
    }

    /// Source under which failed attempts are counted: a device with which the customer has fully
    /// logged in before, or else the browser's address.
    pub(super) fn source(&self, psu: &PsuId) -> Source<'_> {
        let mark = self.state.seal.mark(psu);
        self.source_if(|device| device.knows(&mark))
    }

    /// Source under which requests of a visitor are counted: a device with which any customer has
    /// fully logged in before, or else the browser's address.
    pub(super) fn visitor_source(&self) -> Source<'_> {
        self.source_if(|_| true)
    }

    fn source_if(&self, is_known: impl FnOnce(&Device) -> bool) -> Source<'_> {
        match &self.device {
            Some(device) if is_known(device) => Source::Device(&device.id),
            _ => Source::Browser(self.address),
        }
    }

    /// Whether the identity provider has to authenticate the next customer anew, because a session
    /// has ended in this browser: the provider can still have one.
    pub(super) const fn is_after_end(&self) -> bool {
        self.is_after_end
    }

    /// Digest of the token, by which a log-in is bound to this browser before it has a session.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// Token of an enrolled device. A secret.
    pub(super) fn phone(&self) -> Option<&str> {
        self.phone.as_deref()
    }

    /// CSRF token for a form of that purpose.
    pub(super) fn form_token(&self, purpose: &Purpose) -> String {
        self.state.seal.form_token(&self.digest, purpose)
    }

    /// Whether the token is of such a form in this session.
    pub(super) fn is_form_token(&self, token: &str, purpose: &Purpose) -> bool {
        let seal = &self.state.seal;
        seal.is_form_token(token, &self.digest, purpose)
    }

    /// Begins a session under a new token, in place of the earlier one. Returns false, and begins
    /// none, if the credentials have been replaced since they were checked.
    pub(super) async fn begin(
        &self,
        psu: &PsuId,
        scope: SessionScope,
        credentials: CredentialsVersion,
    ) -> Result<bool, StoreError> {
        let state = &self.state;
        let (digest, token) = token(state.randomness.as_ref());
        let is_full = scope == SessionScope::Full;
        let begun = state.sessions.begin(NewSession {
            digest: &digest,
            psu,
            scope,
            credentials,
            instead_of: Some(&self.digest),
            now: state.calendar.now(),
        });
        if !begun.await? {
            return Ok(false);
        }
        self.set(&SESSION, &token);
        if self.is_after_end {
            self.write(&ENDED, "", "; Max-Age=0");
        }
        if is_full {
            let device = self.device.clone();
            let device = device.unwrap_or_else(|| Device::new(state.randomness.uuid().to_string()));
            let device = device.with(state.seal.mark(psu));
            self.set(&DEVICE, &state.seal.device_cookie(&device));
        }
        Ok(true)
    }

    /// Ends the session.
    pub(super) async fn end(&self) -> Result<(), StoreError> {
        self.state.sessions.end(&self.digest).await?;
        self.is_over.set(true);
        let (_, token) = token(self.state.randomness.as_ref());
        self.set(&SESSION, &token);
        if self.state.identity_provider.is_some() {
            self.set(&ENDED, "1");
        }
        Ok(())
    }

    /// Stores the token of an enrolled device in the browser.
    pub(super) fn keep_phone(&self, token: &str) {
        self.set(&PHONE, token);
    }

    /// Takes the `Set-Cookie` lines of the response.
    pub(super) fn cookies(&self) -> Vec<String> {
        self.outgoing.take()
    }

    fn set(&self, cookie: &Cookie, value: &str) {
        let lifetime = cookie.days.map(|days| days * 24 * 60 * 60);
        let lifetime = lifetime.map(|seconds| format!("; Max-Age={seconds}"));
        self.write(cookie, value, &lifetime.unwrap_or_default());
    }

    fn write(&self, cookie: &Cookie, value: &str, lifetime: &str) {
        let name = cookie.name(&self.state);
        // Lax: a customer who returns from another bank has followed a link from there.
        let line = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{lifetime}");
        self.outgoing.borrow_mut().push(line);
    }
}

/// Cookie of the pages.
struct Cookie {
    name: &'static str,
    /// Days for which a browser keeps it. Without any, until it is closed.
    days: Option<u32>,
}

const SESSION: Cookie = Cookie {
    name: "session",
    days: None,
};

/// Distinguishes the customer's own devices from others when failed log-ins are counted.
const DEVICE: Cookie = Cookie {
    name: "device",
    days: Some(365),
};

/// Token of a device enrolled for approvals.
const PHONE: Cookie = Cookie {
    name: "phone",
    days: Some(90),
};

/// Marks a browser in which a session has ended, so that the session at the identity provider does
/// not begin the next. A day is longer than any such session may be used.
const ENDED: Cookie = Cookie {
    name: "ended",
    days: Some(1),
};

impl Cookie {
    /// With TLS, a name that no other host and no plain-text response can set (RFC 6265bis,
    /// section 4.1.3.2).
    fn name(&self, state: &OnlineBanking) -> String {
        let is_secure = state.origin.is_https();
        let prefix = if is_secure { "__Host-" } else { "" };
        format!("{prefix}{}", self.name)
    }
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// 256 random bits: the digest that is stored, and the text of the cookie.
fn token(randomness: &dyn Randomness) -> (String, String) {
    let bytes = [randomness.bytes(), randomness.bytes()].concat();
    (sha256(&bytes), URL_SAFE_NO_PAD.encode(bytes))
}

/// Digest of a token of ours.
fn digest_of(cookie: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
    (bytes.len() == 32).then(|| sha256(&bytes))
}

/// Visitor, logged in or not.
pub(super) struct Visitor(pub(super) Rc<Visit>);

impl Deref for Visitor {
    type Target = Visit;

    fn deref(&self) -> &Visit {
        &self.0
    }
}

/// A customer who answers one authorisation.
pub(super) struct Answering {
    pub(super) visit: Rc<Visit>,
    pub(super) psu: PsuId,
    /// Version of the credentials with which the session began.
    pub(super) credentials: CredentialsVersion,
    /// Proof of the second factor, where the session began for this authorisation.
    pub(super) proof: Option<Proof>,
}

/// A customer who is fully logged in.
pub(super) struct Customer {
    visit: Rc<Visit>,
    pub(super) psu: PsuId,
    /// Digest of the session, to which acts are bound.
    pub(super) session: String,
    /// Version of the credentials with which the session began.
    pub(super) credentials: CredentialsVersion,
}

impl Deref for Customer {
    type Target = Visit;

    fn deref(&self) -> &Visit {
        &self.visit
    }
}

/// A request for a page redirects to the log-in and back; a form fails, because it was not
/// processed.
fn not_logged_in(request: &HttpRequest) -> Problem {
    if request.method() == Method::GET {
        Problem::LogIn(Destination::of_request(
            request.path(),
            request.query_string(),
        ))
    } else {
        Problem::session_over()
    }
}

impl FromRequest for Visitor {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Visit::of_request(request).map(Self))
    }
}

impl Answering {
    /// The visitor, if the session is for that authorisation, or for all pages.
    pub(super) fn of(visit: &Rc<Visit>, authorisation: &str) -> Option<Self> {
        let session = visit.session()?;
        let proof = match &session.scope {
            SessionScope::Full => None,
            SessionScope::Authorisation { id, method } if id == authorisation => {
                let subject = Subject::authorisation(id);
                let method = method.parse().ok()?;
                let (psu, begun) = (&session.psu, session.begun);
                // A log-in at the identity provider was for no approval: each has one of its own.
                let is_proof =
                    method != MethodId::IdentityProvider && visit.state.identity_provider.is_none();
                is_proof.then(|| Proof::of_session(psu, subject, method, begun))
            }
            SessionScope::Authorisation { .. } => return None,
        };
        Some(Self {
            visit: Rc::clone(visit),
            psu: session.psu.clone(),
            credentials: session.credentials,
            proof,
        })
    }
}

impl FromRequest for Customer {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let customer = Visit::of_request(request).and_then(|visit| {
            let session = visit
                .session()
                .filter(|session| session.scope == SessionScope::Full)
                .ok_or_else(|| not_logged_in(request))?;
            Ok(Self {
                psu: session.psu.clone(),
                session: session.digest.clone(),
                credentials: session.credentials,
                visit: Rc::clone(&visit),
            })
        });
        ready(customer)
    }
}
