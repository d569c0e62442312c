//! Private keys on PKCS#11 tokens: hardware security modules, smart cards, and their software
//! stand-ins. The key never leaves its token; signatures are made there.
//!
//! | module | subject |
//! |---|---|
//! | `uri` | the URI that names a key (RFC 7512) |
//! | `key` | a key as rustls signs with it, and whether its token works |
//! | `session` | finds token and key, and logs in |
//! | `module` | a vendor's module, and the bounded threads on which it is called |
//!
//! Calls into a module block, for milliseconds with a good device and without an end with a broken
//! one. Only the module's own threads make them. A handshake waits for its signature on threads of
//! its own ([`HandshakeThreads`]), for a bounded time.

mod error;
mod key;
mod module;
mod session;
mod uri;

pub use self::error::Pkcs11Error;
pub use self::key::{KeyProblem, public_key};
pub(super) use self::key::{Pkcs11Key, Pkcs11SigningKey};
pub use self::module::{HandshakeThreads, shake_hands};
pub use self::uri::{Pkcs11Uri, Pkcs11UriError};
