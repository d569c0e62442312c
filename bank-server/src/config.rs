//! The configuration file of one bank.

mod core_banking;
mod customers;
mod database_location;
mod gateway_listener;
mod identity_provider;
mod online_banking;
mod other_banks;
mod reading;
mod retention;
mod sca_methods;
mod schema;
mod service;
mod store;
mod traces;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared_types::pki::key_location::KeyLocation;
use shared_types::pki::revocation::UnknownStatus;
use shared_types::xs2a::authorisation::ScaApproach;
use tracing_subscriber::EnvFilter;
use url::{Host, Url};
use utoipa::ToSchema;

pub use self::core_banking::CoreBankingConfig;
use self::customers::ApprovalMeans;
pub use self::customers::{Approach, ConsentConfig, RedirectUris, ScaConfig};
pub use self::database_location::{DatabaseLocation, DatabaseLocationError, Server};
pub use self::gateway_listener::{GatewayListenerConfig, HeaderForm};
pub(crate) use self::identity_provider::is_endpoint;
pub use self::identity_provider::{ApprovalBinding, IdentityProviderConfig};
pub use self::online_banking::{OnlineBankingConfig, Origin};
pub use self::other_banks::OtherBankConfig;
use self::reading::Lines;
pub use self::retention::RetentionConfig;
pub use self::sca_methods::ScaMethodsConfig;
pub use self::schema::reference;
pub(crate) use self::service::ServiceSection;
pub use self::store::StoreConfig;
pub use self::traces::TracesConfig;
pub use crate::config_error::ConfigError;

/// Configuration of one bank. Relative paths start at the folder of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The bank itself.
    pub bank: BankConfig,
    /// Listener for TPPs.
    pub xs2a: Xs2aConfig,
    /// Listener for gateways that terminate the TPPs' TLS and forward their certificates.
    /// Certificate, trust anchors, revocation lists, register and limits are those of the other
    /// sections.
    pub gateway_listener: Option<GatewayListenerConfig>,
    /// The bank's own pages for its customers.
    pub online_banking: Option<OnlineBankingConfig>,
    /// The bank's own identity provider (OpenID Connect), by which customers log in and approve. If
    /// absent, the bank checks passwords, codes and passkeys itself.
    pub identity_provider: Option<IdentityProviderConfig>,
    /// A bank whose accounts customers can add to this bank's pages; one section for each bank. Its
    /// server certificate is verified against the trust anchors of `[xs2a]` and the lists of
    /// `[revocation]`.
    #[serde(default)]
    pub other_banks: Vec<OtherBankConfig>,
    /// Listener for the bank's operators: health and metrics.
    pub operator: OperatorConfig,
    /// The bank's own core banking system behind an HTTP API; the built-in ledger if absent.
    pub core_banking: Option<CoreBankingConfig>,
    /// SCA methods of the bank's own systems behind an HTTP API, such as codes by SMS.
    pub sca_methods: Option<ScaMethodsConfig>,
    /// Database: `path` for SQLite, or `url` for PostgreSQL.
    #[serde(serialize_with = "schema::nothing")]
    #[schema(value_type = store::StoreSection)]
    pub store: StoreConfig,
    /// Rules for consents.
    #[serde(default)]
    pub consent: ConsentConfig,
    /// Strong customer authentication.
    #[serde(default)]
    pub sca: ScaConfig,
    /// How long the bank keeps data that has ended, before a background task deletes it.
    #[serde(default)]
    pub retention: RetentionConfig,
    /// Revocation of certificates: CRLs and OCSP.
    #[serde(default)]
    pub revocation: RevocationConfig,
    /// Register of licensed organisations.
    #[serde(default)]
    pub register: RegisterConfig,
    /// Limits on sizes, times and numbers.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// The log, on standard error.
    #[serde(default)]
    pub log: LogConfig,
    /// Export of traces.
    pub traces: Option<TracesConfig>,
    /// The program hands SCA methods to the server (`BankServer::sca_methods`).
    #[serde(skip)]
    pub(crate) has_sca_methods: bool,
    /// The line of each key.
    #[serde(skip)]
    pub(crate) lines: Lines,
}

/// Result of reading a configuration file that may have errors.
pub(crate) struct ReadConfig {
    /// The configuration, with substitutes for values that are wrong or missing; none, if that was
    /// not possible.
    pub(crate) config: Option<Config>,
    /// Errors in the text.
    pub(crate) faults: Vec<ConfigError>,
    /// Paths of the substituted values.
    substituted: BTreeSet<String>,
}

impl ReadConfig {
    /// Whether the value at that path, or around it, was substituted.
    pub(crate) fn is_substituted(&self, path: &str) -> bool {
        reading::is_within(&self.substituted, path)
    }
}

/// Section `[bank]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BankConfig {
    /// Name of the bank on its pages and in its log.
    #[schema(example = "Bank B", max_length = 70)]
    pub name: String,
    /// IANA time zone in which the bank's days begin and end.
    #[serde(
        default = "utc",
        deserialize_with = "time_zone",
        serialize_with = "schema::text"
    )]
    #[schema(value_type = String, example = "Europe/Paris")]
    pub time_zone: chrono_tz::Tz,
}

fn utc() -> chrono_tz::Tz {
    chrono_tz::UTC
}

fn time_zone<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<chrono_tz::Tz, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "\"{name}\" is no time zone such as \"Europe/Berlin\""
        ))
    })
}

/// Section `[xs2a]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Xs2aConfig {
    /// Address and port. Port 0 lets the system choose.
    #[schema(value_type = String, example = "0.0.0.0:8443")]
    pub listen: SocketAddr,
    /// PEM or DER file: the bank's QWAC, then the CA that issued it.
    #[serde(serialize_with = "schema::nothing")]
    #[schema(value_type = String, example = "qwac.pem")]
    pub certificate: PathBuf,
    /// PEM or DER file: the private key of the certificate, with file mode 600. Or a key on a
    /// token, by its PKCS#11 URI: see [keys-on-tokens.md](keys-on-tokens.md).
    #[serde(serialize_with = "schema::nothing")]
    #[schema(value_type = String, example = "qwac.key")]
    pub private_key: KeyLocation,
    /// PEM or DER files: the trust anchors. The system's root store is never used.
    #[serde(serialize_with = "schema::nothing")]
    #[schema(value_type = Vec<String>, example = json!(["ca1.pem"]))]
    pub anchors: Vec<PathBuf>,
    /// PEM or DER files: intermediate CAs. Their revocation lists are used too, and they complete
    /// the chains that gateways forward.
    #[serde(default, serialize_with = "schema::nothing")]
    #[schema(value_type = Vec<String>, example = json!(["ca1-issuing.pem"]))]
    pub intermediates: Vec<PathBuf>,
    /// Threads that handle requests; one for each core if absent.
    #[schema(value_type = Option<usize>, minimum = 1, example = 4)]
    pub workers: Option<std::num::NonZeroUsize>,
}

/// Section `[operator]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperatorConfig {
    /// Address and port. It must be a loopback address, because the listener speaks plain HTTP.
    #[schema(value_type = String, example = "127.0.0.1:9000")]
    pub listen: SocketAddr,
}

/// Section `[revocation]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RevocationConfig {
    /// CRLs: files, or `http://` URLs (a CRL is signed, and RFC 5280, section 8, advises against
    /// HTTPS). A CA can have several.
    #[schema(example = json!(["ca1.crl", "http://ca1.example/issuing.crl"]))]
    pub lists: Vec<String>,
    /// Whether a certificate is refused (`hard-fail`) or accepted (`soft-fail`) while no current
    /// CRL or OCSP response covers it.
    pub unknown_status: UnknownStatus,
    /// OCSP.
    pub ocsp: OcspConfig,
    /// Time between two fetches of a CRL, or two OCSP requests for a certificate. Earlier if the
    /// CRL or the response expires earlier.
    #[schema(minimum = 1, maximum = 86_400)]
    pub refresh_interval_seconds: u64,
    /// Timeout for fetching a CRL.
    #[schema(minimum = 1, maximum = 86_400)]
    pub fetch_timeout_seconds: u64,
    /// Whether CRL and OCSP URLs may lead to loopback and link-local addresses.
    pub allow_local_addresses: bool,
}

impl Default for RevocationConfig {
    fn default() -> Self {
        Self {
            lists: Vec::new(),
            unknown_status: UnknownStatus::default(),
            ocsp: OcspConfig::default(),
            refresh_interval_seconds: 300,
            fetch_timeout_seconds: 30,
            allow_local_addresses: false,
        }
    }
}

/// Section `[revocation.ocsp]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OcspConfig {
    /// Whether the server asks the responder that a peer's certificate names: before the first
    /// request if no CRL covers the certificate, in the background otherwise.
    pub peers: bool,
    /// Whether the server staples an OCSP response to its own certificate.
    pub stapling: bool,
    /// Timeout for an OCSP response.
    #[schema(minimum = 1, maximum = 86_400)]
    pub response_timeout_seconds: u64,
    /// Whether a response without the request's nonce is refused. Responders that pre-sign their
    /// responses never send one; if false, the server repeats a failed request without a nonce.
    pub nonce_required: bool,
}

impl Default for OcspConfig {
    fn default() -> Self {
        Self {
            peers: false,
            stapling: false,
            response_timeout_seconds: 3,
            nonce_required: false,
        }
    }
}

/// Section `[register]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegisterConfig {
    /// JSON file: the scheme's register of licensed organisations. If absent, the roles in the
    /// TPP's certificate decide.
    #[serde(serialize_with = "schema::nothing")]
    #[schema(value_type = Option<String>, example = "register.json")]
    pub file: Option<PathBuf>,
}

/// Section `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Maximum size of a request body.
    #[schema(minimum = 1, maximum = 1_073_741_824)]
    pub max_body_bytes: usize,
    /// Maximum size of all header fields of a request together.
    // The HTTP library takes no larger head.
    #[schema(minimum = 1, maximum = 131_072)]
    pub max_header_bytes: usize,
    /// Transactions on a page if the TPP does not send `pageSize`.
    #[schema(minimum = 1, maximum = 10_000)]
    pub page_size: usize,
    /// Maximum `pageSize` that a TPP can ask for.
    #[schema(minimum = 1, maximum = 10_000)]
    pub max_page_size: usize,
    /// Timeout for a TLS handshake.
    #[schema(minimum = 1, maximum = 86_400)]
    pub handshake_timeout_seconds: u64,
    /// Time after which a connection without a request is closed.
    #[schema(minimum = 1, maximum = 86_400)]
    pub idle_timeout_seconds: u64,
    /// Timeout for receiving a request and sending its response.
    #[schema(minimum = 1, maximum = 86_400)]
    pub request_timeout_seconds: u64,
    /// Maximum time of the first phase of a shutdown: requests are still answered, and peers are
    /// told to connect to another replica. It ends earlier once no connection is left; 0 skips it.
    #[schema(minimum = 0, maximum = 86_400)]
    pub drain_timeout_seconds: u64,
    /// Time for open requests after the drain.
    #[schema(minimum = 1, maximum = 86_400)]
    pub shutdown_timeout_seconds: u64,
    /// Maximum connections of one organisation.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub max_connections_per_organisation: usize,
    /// Maximum concurrent requests of one organisation, over all its connections.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub max_requests_per_organisation: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 1024 * 1024,
            max_header_bytes: 32 * 1024,
            page_size: 100,
            max_page_size: 500,
            handshake_timeout_seconds: 5,
            idle_timeout_seconds: 60,
            request_timeout_seconds: 30,
            drain_timeout_seconds: 5,
            shutdown_timeout_seconds: 30,
            max_connections_per_organisation: 100,
            max_requests_per_organisation: 100,
        }
    }
}

impl LimitsConfig {
    /// Timeout for a TLS handshake.
    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_secs(self.handshake_timeout_seconds)
    }

    /// Timeout for receiving a request and sending its response.
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds)
    }

    /// Time after which a connection without a request is closed.
    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_seconds)
    }
}

/// Key of an error that concerns the whole file.
const WHOLE_FILE: &str = "the file";

/// Section `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `text` for people, `json` (one object a line) for programs.
    pub format: LogFormat,
    /// Levels, by module if needed, in the syntax of the crate `tracing-subscriber`.
    #[schema(example = "warn,bank_server=debug")]
    pub filter: String,
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

impl Config {
    /// Reads the file, and makes its paths relative to its folder. Returns the first error.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let ReadConfig { config, faults, .. } = Self::read_all(file);
        match (faults.into_iter().next(), config) {
            (None, Some(config)) => Ok(config),
            (Some(fault), _) => Err(fault),
            (None, None) => Err(ConfigError::new(WHOLE_FILE, "cannot be read")),
        }
    }

    /// Reads the file, and goes on after errors.
    pub(crate) fn read_all(file: &Path) -> ReadConfig {
        let mut read = match std::fs::read_to_string(file) {
            Ok(text) => reading::read(&text),
            Err(error) => ReadConfig {
                config: None,
                faults: vec![ConfigError::new(
                    WHOLE_FILE,
                    format!("cannot be read: {error}"),
                )],
                substituted: BTreeSet::new(),
            },
        };
        read.config = read.config.map(|config| config.in_folder_of(file));
        read
    }

    fn in_folder_of(mut self, file: &Path) -> Self {
        let folder = file.parent().unwrap_or(Path::new(""));
        self.store = self.store.in_folder(folder);
        let xs2a = &mut self.xs2a;
        let gateways = self.gateway_listener.iter_mut();
        let pages = self.online_banking.iter_mut();
        let mut pages = pages.collect::<Vec<_>>();
        let provider = self.identity_provider.iter_mut();
        let core = self.core_banking.iter_mut();
        let methods = self.sca_methods.iter_mut();
        let keys = std::iter::once(&mut xs2a.private_key)
            .chain(core.flat_map(|core| &mut core.private_key))
            .chain(methods.flat_map(|methods| &mut methods.private_key));
        for key in keys.chain(pages.iter_mut().flat_map(|pages| &mut pages.private_key)) {
            *key = key.clone().in_folder(folder);
        }
        let paths = std::iter::once(&mut xs2a.certificate)
            .chain(&mut xs2a.anchors)
            .chain(&mut xs2a.intermediates)
            .chain(gateways.flat_map(|listener| &mut listener.gateways))
            .chain(&mut self.register.file)
            .chain(provider.flat_map(IdentityProviderConfig::paths))
            .chain(
                self.core_banking
                    .iter_mut()
                    .flat_map(CoreBankingConfig::paths),
            )
            .chain(
                self.sca_methods
                    .iter_mut()
                    .flat_map(ScaMethodsConfig::paths),
            )
            .chain(pages.iter_mut().flat_map(|pages| &mut pages.certificate));
        for path in paths {
            *path = folder.join(&*path);
        }
        for list in &mut self.revocation.lists {
            if !list.contains("://") {
                *list = folder.join(&*list).to_string_lossy().into_owned();
            }
        }
        self
    }

    /// Errors that can be found without opening anything.
    #[must_use]
    pub fn faults(&self) -> Vec<ConfigError> {
        let limits = &self.limits;
        let mut faults = schema::range_faults(self);
        if limits.page_size > limits.max_page_size {
            faults.push(ConfigError::new(
                "limits.page_size",
                "must not be greater than limits.max_page_size",
            ));
        }
        if self.revocation.lists.is_empty()
            && !self.revocation.ocsp.peers
            && self.revocation.unknown_status == UnknownStatus::HardFail
        {
            faults.push(ConfigError::new(
                "revocation.lists",
                "names no revocation list, so no certificate's status could be known and no peer \
                 could connect; name lists, set ocsp.peers = true, or set unknown_status = \
                 \"soft-fail\"",
            ));
        }
        if let Some(problem) = name_problem(&self.bank.name) {
            faults.push(ConfigError::new("bank.name", problem));
        }
        faults.extend(self.address_faults());
        if self.xs2a.anchors.is_empty() {
            faults.push(ConfigError::new(
                "xs2a.anchors",
                "names no certification authority: no peer could connect",
            ));
        }
        faults.extend(
            self.gateway_listener
                .iter()
                .flat_map(GatewayListenerConfig::faults),
        );
        faults.extend(self.traces.iter().flat_map(TracesConfig::faults));
        for service in self.services() {
            faults.extend(service.faults());
        }
        faults.extend(self.sca.faults(self.approval_means()));
        let provider = self.identity_provider.iter();
        let has_pages = self.online_banking.is_some();
        faults.extend(provider.flat_map(|provider| provider.faults(has_pages)));
        faults.extend(other_banks::faults(
            &self.other_banks,
            self.online_banking.is_some(),
        ));
        let pages = self.online_banking.iter();
        faults.extend(pages.flat_map(OnlineBankingConfig::faults));
        if let Err(error) = EnvFilter::try_new(&self.log.filter) {
            faults.push(ConfigError::new("log.filter", error.to_string()));
        }
        faults
    }

    /// SCA approaches that the bank offers, the preferred one first.
    pub(crate) fn approaches(&self) -> Vec<ScaApproach> {
        self.sca.approaches(self.approval_means())
    }

    fn approval_means(&self) -> ApprovalMeans {
        ApprovalMeans {
            pages: self.online_banking.is_some(),
            identity_provider: self.identity_provider.is_some(),
            sca_methods: self.sca_methods.is_some() || self.has_sca_methods,
        }
    }

    /// The HTTP services of the bank's own.
    pub(crate) fn services(&self) -> impl Iterator<Item = ServiceSection<'_>> {
        let core = self.core_banking.iter().map(CoreBankingConfig::service);
        core.chain(self.sca_methods.iter().map(ScaMethodsConfig::service))
    }

    /// Errors of the addresses of CRLs and listeners.
    fn address_faults(&self) -> Vec<ConfigError> {
        let lists = self.revocation.lists.iter().enumerate();
        let lists = lists.filter(|(_, list)| {
            let is_url = || Url::parse(list).is_ok_and(|url| url.has_host());
            list.contains("://") && !(is_address(list) && is_url())
        });
        let mut faults: Vec<ConfigError> = lists
            .map(|(index, list)| {
                let problem = format!(
                    "{list} is neither a file nor an http:// address: lists are signed, and \
                     fetched over HTTP alone (RFC 5280, section 8)"
                );
                ConfigError::new(format!("revocation.lists[{index}]"), problem)
            })
            .collect();
        if !self.operator.listen.ip().is_loopback() {
            faults.push(ConfigError::new(
                "operator.listen",
                "must be a loopback address: it speaks plain HTTP",
            ));
        }
        let pages = self.online_banking.as_ref().map(|pages| pages.listen);
        let listeners = [
            ("xs2a.listen", Some(self.xs2a.listen)),
            (
                "gateway_listener.listen",
                self.gateway_listener
                    .as_ref()
                    .map(|gateway_listener| gateway_listener.listen),
            ),
            ("online_banking.listen", pages),
            ("operator.listen", Some(self.operator.listen)),
        ];
        for (index, (key, address)) in listeners.iter().enumerate() {
            let before = listeners.iter().take(index);
            let same = before.filter(|(_, other)| {
                address.zip(*other).is_some_and(|(one, other)| {
                    let anywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
                    one.port() != 0
                        && one.port() == other.port()
                        && (anywhere || one.ip() == other.ip())
                })
            });
            faults.extend(same.map(|(other, _)| {
                ConfigError::new(*key, format!("has the port of {other}: give it another"))
            }));
        }
        faults
    }
}

/// Whether an address is of this machine, so that plain HTTP does not leave it.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The problem of a bank's name for customers.
fn name_problem(name: &str) -> Option<&'static str> {
    (name.trim().is_empty() || name.chars().any(char::is_control))
        .then_some("must have characters that can be seen, and no control characters")
}

/// Whether a revocation list is to be fetched, rather than read from a file.
pub(crate) fn is_address(list: &str) -> bool {
    list.starts_with("http://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_a_range_each() {
        let text = |limits: &str| {
            format!(
                r#"
                bank = {{ name = "B" }}
                xs2a = {{ listen = "127.0.0.1:0", certificate = "c", private_key = "k", anchors = ["a"] }}
                operator = {{ listen = "127.0.0.1:0" }}
                store = {{ path = "d" }}
                revocation = {{ lists = ["l"] }}
                limits = {{ {limits} }}
                "#
            )
        };
        let faults = |limits: &str| -> Vec<String> {
            let config: Config = toml::from_str(&text(limits)).unwrap();
            config.faults().into_iter().map(|fault| fault.key).collect()
        };
        assert!(faults("").is_empty());
        assert_eq!(
            faults("idle_timeout_seconds = 0"),
            ["limits.idle_timeout_seconds"]
        );
        assert_eq!(
            faults("idle_timeout_seconds = 9223372036854775807"),
            ["limits.idle_timeout_seconds"]
        );
        assert_eq!(faults("max_page_size = 10001"), ["limits.max_page_size"]);
        assert_eq!(faults("page_size = 501"), ["limits.page_size"]);
        assert!(
            toml::from_str::<Config>(&text("idle = 1")).is_err(),
            "a misspelt name"
        );
    }

    /// A configuration with which nothing is wrong, and a line for each field.
    const GOOD: &str = r#"
[bank]
name = "B"
[xs2a]
listen = "127.0.0.1:8441"
certificate = "c"
private_key = "k"
anchors = ["a"]
[operator]
listen = "127.0.0.1:9441"
[store]
path = "d"
[revocation]
lists = ["l"]
"#;

    fn places(text: &str) -> Vec<String> {
        let read = reading::read(text);
        let more = read
            .config
            .as_ref()
            .map(|config| config.lines.locate(config.faults()));
        let more = more.into_iter().flatten();
        let more = more.filter(|fault| !read.is_substituted(&fault.key));
        read.faults
            .iter()
            .cloned()
            .chain(more)
            .map(|fault| format!("{}: {}", fault.line.unwrap_or_default(), fault.key))
            .collect()
    }

    #[test]
    fn a_port_an_address_and_a_name_are_refused_where_they_are_written() {
        let changed = |from: &str, to: &str| places(&GOOD.replace(from, to));
        assert_eq!(places(GOOD), [""; 0]);
        for name in ["", "  ", "a\\u0000b"] {
            assert_eq!(changed("\"B\"", &format!("\"{name}\"")), ["3: bank.name"]);
        }
        for (listen, places) in [
            ("127.0.0.1:8441", ["10: operator.listen"].as_slice()),
            ("[::1]:8441", &[]),
            ("127.0.0.1:0", &[]),
        ] {
            assert_eq!(changed("127.0.0.1:9441", listen), places, "{listen}");
        }
        for anywhere in ["0.0.0.0:9441", "[::]:9441"] {
            assert_eq!(changed("127.0.0.1:8441", anywhere), ["10: operator.listen"]);
        }
        for address in [
            "https://ca/crl",
            "ldap://ca/crl",
            "HTTP://ca/crl",
            "http://",
            "file:///crl",
        ] {
            assert_eq!(
                changed("\"l\"", &format!("\"l\", \"{address}\"")),
                ["14: revocation.lists[1]"]
            );
        }
        assert_eq!(changed("\"l\"", "\"http://ca/crl\""), [""; 0]);
    }

    #[test]
    fn every_fault_of_a_file_is_found_with_its_line() {
        let wrong = GOOD
            .replace("name = \"B\"", "name = \"B\"\nmane = 1")
            .replace("\"127.0.0.1:8441\"", "8441")
            .replace("certificate = \"c\"\n", "")
            .replace("anchors = [\"a\"]", "anchors = [1, \"a\"]")
            .replace("path = \"d\"", "path = \"d\"\nmax_connections = 4")
            + "unknown_status = \"maybe\"\n[limits]\npage_size = 501\n[[other_banks]]\nname = \"C\"\n";
        let mut found = places(&wrong);
        found.sort();
        let mut expected = [
            "4: bank.mane",
            "6: xs2a.listen",
            "5: xs2a.certificate",
            "8: xs2a.anchors[0]",
            "11: store",
            "16: revocation.unknown_status",
            "18: limits.page_size",
            "19: other_banks[0].url",
            "19: other_banks[0].organisation",
            "19: other_banks",
        ];
        expected.sort_unstable();
        assert_eq!(found, expected);
        // What is no TOML, all of it.
        let broken = GOOD.replace("\"B\"", "B").replace("[\"a\"]", "[\"a");
        let found = places(&broken);
        assert!(
            found.contains(&"3: the file".to_owned()) && found.contains(&"8: the file".to_owned()),
            "{found:?}"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(start in 0..GOOD.len(), text in "[a-z0-9=.,\\[\\]{}\"\n ]{0,12}", end in 0..GOOD.len()) {
            let broken = [&GOOD[..start], &text, &GOOD[end..]].concat();
            let _ = places(&broken);
        }
    }
}
