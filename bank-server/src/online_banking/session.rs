//! Session of a browser, in a cookie.
//!
//! A visit begins with a random token in a cookie; nothing is stored for it. The log-in begins a
//! session under a *new* token, so a token that an attacker has planted is worthless.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{COOKIE, HeaderMap};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared_types::environment::Randomness;
use shared_types::pki::digest::sha256;

use super::OnlineBanking;
use super::csrf::{Device, Purpose, Seal};
use super::destination::Destination;
use super::problem::Problem;
use crate::domain::PsuId;
use crate::sca::{Proof, Source, Subject};
use crate::store::StoreError;
use crate::store::credentials::CredentialsVersion;
use crate::store::sessions::{Level, NewSession, Session};

/// A browser's visit, as it is while one request is answered.
pub(super) struct Visit {
    /// Of the token in its cookie.
    digest: String,
    session: Option<Session>,
    /// It was ended by this request.
    over: Cell<bool>,
    device: Option<Device>,
    phone: Option<String>,
    seal: Seal,
    secure: bool,
    /// Where the browser is, as far as its connection tells.
    address: IpAddr,
    /// The `Set-Cookie` lines of the answer.
    outgoing: RefCell<Vec<String>>,
}

impl Visit {
    /// Reads the session of a request.
    pub(super) async fn of(
        state: &OnlineBanking,
        headers: &HeaderMap,
        address: IpAddr,
    ) -> Result<Self, StoreError> {
        let mut visit = Self::anonymous(state);
        visit.address = address;
        let secure = state.origin.is_https();
        visit.device = cookie(headers, &name(Cookie::Device, secure))
            .and_then(|value| state.seal.device_of(value));
        visit.phone = cookie(headers, &name(Cookie::Phone, secure)).map(str::to_owned);
        if let Some(digest) = cookie(headers, &name(Cookie::Session, secure)).and_then(digest_of) {
            visit.session = state.sessions.find(&digest, state.calendar.now()).await?;
            visit.digest = digest;
            visit.outgoing.get_mut().clear();
        }
        Ok(visit)
    }

    /// A browser that has not been here, with a new token.
    pub(super) fn anonymous(state: &OnlineBanking) -> Self {
        let (digest, token) = token(state.randomness.as_ref());
        let visit = Self {
            digest,
            session: None,
            over: Cell::new(false),
            device: None,
            phone: None,
            seal: state.seal.clone(),
            secure: state.origin.is_https(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            outgoing: RefCell::default(),
        };
        visit.set(Cookie::Session, &token);
        visit
    }

    /// The address of the browser: that of its connection, or the one that a trusted proxy names.
    pub(super) const fn address(&self) -> IpAddr {
        self.address
    }

    /// The session that goes on, if any.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref().filter(|_| !self.over.get())
    }

    /// Customer who is fully logged in.
    pub(super) fn customer(&self) -> Option<&PsuId> {
        self.session()
            .filter(|session| session.level == Level::Full)
            .map(|session| &session.psu)
    }

    /// Whose mistakes are counted together: those on a device that the customer has fully logged in with before, and those
    /// in all other browsers.
    pub(super) fn source(&self, psu: &PsuId) -> Source<'_> {
        let mark = self.seal.mark(psu);
        match self.device.as_ref().filter(|device| device.knows(&mark)) {
            Some(device) => Source::Device(&device.id),
            None => Source::Browser(self.address),
        }
    }

    /// The token of the visit, as a name: what is asked for before a session has begun is for it.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// Token of an enrolled device. A secret.
    pub(super) fn phone(&self) -> Option<&str> {
        self.phone.as_deref()
    }

    /// The token for a form of that purpose.
    pub(super) fn form_token(&self, purpose: &Purpose) -> String {
        self.seal.form_token(&self.digest, purpose)
    }

    /// Whether that token came from such a form in this very session.
    pub(super) fn is_form_token(&self, token: &str, purpose: &Purpose) -> bool {
        self.seal.is_form_token(token, &self.digest, purpose)
    }

    /// Begins a session after a proof: under a new token, in place of the one there was. Returns false, and begins none,
    /// if the customer has other credentials by now than those by which she has proved who she is.
    pub(super) async fn begin(
        &self,
        state: &OnlineBanking,
        psu: &PsuId,
        level: Level,
        credentials: CredentialsVersion,
    ) -> Result<bool, StoreError> {
        let (digest, token) = token(state.randomness.as_ref());
        let is_full = level == Level::Full;
        let begun = state.sessions.begin(NewSession {
            digest: &digest,
            psu,
            level,
            credentials,
            instead_of: Some(&self.digest),
            now: state.calendar.now(),
        });
        if !begun.await? {
            return Ok(false);
        }
        self.set(Cookie::Session, &token);
        if is_full {
            let device = self.device.clone();
            let device = device.unwrap_or_else(|| Device::new(state.randomness.uuid().to_string()));
            let device = device.with(self.seal.mark(psu));
            self.set(Cookie::Device, &self.seal.device_cookie(&device));
        }
        Ok(true)
    }

    /// Ends the session.
    pub(super) async fn end(&self, state: &OnlineBanking) -> Result<(), StoreError> {
        state.sessions.end(&self.digest).await?;
        self.over.set(true);
        let (_, token) = token(state.randomness.as_ref());
        self.set(Cookie::Session, &token);
        Ok(())
    }

    /// Stores the token of an enrolled device in the browser.
    pub(super) fn keep_phone(&self, token: &str) {
        self.set(Cookie::Phone, token);
    }

    /// The `Set-Cookie` lines of the answer.
    pub(super) fn cookies(&self) -> Vec<String> {
        self.outgoing.take()
    }

    fn set(&self, cookie: Cookie, value: &str) {
        let name = name(cookie, self.secure);
        // Lax: a customer who returns from another bank has followed a link from there.
        let mut line = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax");
        if let Some(days) = cookie.days() {
            // Writing to a String cannot fail.
            let _ = write!(line, "; Max-Age={}", days * 24 * 60 * 60);
        }
        self.outgoing.borrow_mut().push(line);
    }
}

#[derive(Clone, Copy)]
enum Cookie {
    /// Session.
    Session,
    /// Tells the customer's own devices from others, when wrong passwords are counted.
    Device,
    /// Enrolled device for approvals.
    Phone,
}

impl Cookie {
    /// How long a browser keeps it: a session's, until it is closed.
    const fn days(self) -> Option<u32> {
        match self {
            Self::Session => None,
            Self::Device => Some(365),
            Self::Phone => Some(90),
        }
    }
}

/// With TLS, a name that no other host and no plain-text answer can set (RFC 6265bis, section 4.1.3.2).
fn name(cookie: Cookie, secure: bool) -> String {
    let name = match cookie {
        Cookie::Session => "session",
        Cookie::Device => "device",
        Cookie::Phone => "phone",
    };
    let prefix = if secure { "__Host-" } else { "" };
    format!("{prefix}{name}")
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// 256 bits of chance: the digest that is stored, and the text of the cookie.
fn token(randomness: &dyn Randomness) -> (String, String) {
    let bytes = [randomness.bytes(), randomness.bytes()].concat();
    (sha256(&bytes), URL_SAFE_NO_PAD.encode(bytes))
}

/// What is not one of our tokens is none at all.
fn digest_of(cookie: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
    (bytes.len() == 32).then(|| sha256(&bytes))
}

/// Visitor, logged in or not.
pub(super) struct Visitor(pub(super) Rc<Visit>);

/// A customer who answers one authorisation.
pub(super) struct Answering {
    pub(super) visit: Rc<Visit>,
    pub(super) psu: PsuId,
    /// The credentials under which the session goes on.
    pub(super) credentials: CredentialsVersion,
    /// Of the second element, where the session began for this authorisation.
    pub(super) proof: Option<Proof>,
}

/// A customer who is fully logged in.
pub(super) struct Customer {
    pub(super) visit: Rc<Visit>,
    pub(super) psu: PsuId,
    /// What the session is called, where something is bound to it.
    pub(super) session: String,
    /// The credentials under which the session goes on.
    pub(super) credentials: CredentialsVersion,
}

fn visit(request: &HttpRequest) -> Result<Rc<Visit>, Problem> {
    // The middleware puts it there before it lets a request in.
    let visit = request.extensions().get::<Rc<Visit>>().cloned();
    visit.ok_or_else(Problem::failed)
}

/// A request for a page redirects to the log-in and back; a form fails, because it was not processed.
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
        ready(visit(request).map(Self))
    }
}

impl Answering {
    /// The visitor, if the session is for that authorisation, or for all pages.
    pub(super) fn of(visit: &Rc<Visit>, authorisation: &str) -> Option<Self> {
        let session = visit.session()?;
        let proof = match &session.level {
            Level::Full => None,
            Level::Authorisation { id, method } if id == authorisation => {
                let subject = Subject::authorisation(id);
                let method = method.parse().ok()?;
                let (psu, begun) = (&session.psu, session.begun);
                Some(Proof::of_session(psu, subject, method, begun))
            }
            Level::Authorisation { .. } => return None,
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
        let customer = visit(request).and_then(|visit| {
            let session = visit
                .session()
                .filter(|session| session.level == Level::Full)
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
