//! The configuration file of one bank.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::telemetry::LogFormat;
use crate::transport::listener::ConnectionLimits;
use crate::xs2a::RequestLimits;

/// Everything a bank is started with. Paths are taken from the folder of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The bank itself.
    pub bank: BankConfig,
    /// The listener for TPPs.
    pub xs2a: Xs2aConfig,
    /// The listener for the bank's operators.
    pub operator: OperatorConfig,
    /// Where data is kept.
    pub store: StoreConfig,
    /// Limits; each has a default.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// The log.
    #[serde(default)]
    pub log: LogConfig,
}

/// Section `[bank]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankConfig {
    /// The name by which logs call the bank.
    pub name: String,
}

/// Section `[xs2a]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xs2aConfig {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The bank's QWAC, then the issuing CA, as PEM.
    pub certificate: PathBuf,
    /// The private key that belongs to it, as PEM.
    pub private_key: PathBuf,
    /// The agreed certification authorities, as PEM. No other is trusted, the system's least of all.
    pub anchors: Vec<PathBuf>,
    /// Threads that answer requests; one for each core, if absent.
    pub workers: Option<std::num::NonZeroUsize>,
}

/// Section `[operator]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorConfig {
    /// Address and port, on loopback: it speaks plain HTTP.
    pub listen: SocketAddr,
}

/// Section `[store]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// The SQLite database; made if it is not there.
    pub path: PathBuf,
}

/// Section `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Largest body, in bytes.
    pub body_bytes: usize,
    /// Largest header fields together, in bytes.
    pub header_bytes: usize,
    /// Transactions on a page, if the TPP does not say.
    pub page_size: usize,
    /// Transactions on a page, at most.
    pub largest_page_size: usize,
    /// Seconds for a handshake.
    pub handshake_seconds: u64,
    /// Seconds that a connection may stay without a request.
    pub idle_seconds: u64,
    /// Seconds for receiving a request and answering it.
    pub request_seconds: u64,
    /// Seconds that open requests get on shutdown.
    pub shutdown_seconds: u64,
    /// Connections that one organisation may hold.
    pub connections_per_organisation: usize,
    /// Requests that one organisation may have at a time, over all its connections.
    pub requests_per_organisation: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            header_bytes: 32 * 1024,
            page_size: 100,
            largest_page_size: 500,
            handshake_seconds: 5,
            idle_seconds: 60,
            request_seconds: 30,
            shutdown_seconds: 30,
            connections_per_organisation: 100,
            requests_per_organisation: 100,
        }
    }
}

impl LimitsConfig {
    pub(crate) fn of_connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            handshake: Duration::from_secs(self.handshake_seconds),
            idle: Duration::from_secs(self.idle_seconds),
            answer: Duration::from_secs(self.request_seconds.saturating_add(self.idle_seconds)),
            per_organisation: self.connections_per_organisation,
            requests_per_organisation: self.requests_per_organisation,
        }
    }

    pub(crate) fn of_requests(&self) -> RequestLimits {
        RequestLimits {
            body: self.body_bytes,
            headers: self.header_bytes,
            time: Duration::from_secs(self.request_seconds),
            page: self.page_size,
            largest_page: self.largest_page_size,
        }
    }
}

/// Section `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `text` for people, `json` for programs.
    pub format: LogFormat,
    /// What is logged, such as `info` or `warn,bank_server=debug`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

/// Something wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: `xs2a.certificate`, or the file as a whole.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

impl Fault {
    pub(crate) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl Config {
    /// Reads the file and takes its paths from its folder.
    pub fn read(file: &Path) -> Result<Self, Fault> {
        let whole = |problem: String| Fault::new(file.display().to_string(), problem);
        let text = std::fs::read_to_string(file)
            .map_err(|error| whole(format!("cannot be read: {error}")))?;
        let mut config: Self = toml::from_str(&text).map_err(|error| whole(error.to_string()))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let xs2a = &mut config.xs2a;
        let paths = [
            &mut xs2a.certificate,
            &mut xs2a.private_key,
            &mut config.store.path,
        ];
        for path in paths.into_iter().chain(&mut xs2a.anchors) {
            *path = folder.join(&*path);
        }
        Ok(config)
    }

    /// What can be seen to be wrong without opening anything.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        const DAY: u64 = 24 * 60 * 60;

        let limits = &self.limits;
        let size = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        let ranges = [
            ("body_bytes", size(limits.body_bytes), 1024 * 1024 * 1024),
            // The HTTP library takes no larger head.
            ("header_bytes", size(limits.header_bytes), 128 * 1024),
            ("page_size", size(limits.page_size), 10_000),
            ("largest_page_size", size(limits.largest_page_size), 10_000),
            ("handshake_seconds", limits.handshake_seconds, DAY),
            ("idle_seconds", limits.idle_seconds, DAY),
            ("request_seconds", limits.request_seconds, DAY),
            ("shutdown_seconds", limits.shutdown_seconds, DAY),
            (
                "connections_per_organisation",
                size(limits.connections_per_organisation),
                1_000_000,
            ),
            (
                "requests_per_organisation",
                size(limits.requests_per_organisation),
                1_000_000,
            ),
        ];
        let mut faults: Vec<Fault> = ranges
            .into_iter()
            .filter(|(_, value, most)| !(1..=*most).contains(value))
            .map(|(name, _, most)| {
                Fault::new(
                    format!("limits.{name}"),
                    format!("must be from 1 to {most}"),
                )
            })
            .collect();
        if limits.page_size > limits.largest_page_size {
            faults.push(Fault::new(
                "limits.page_size",
                "must not be greater than limits.largest_page_size",
            ));
        }
        if !self.operator.listen.ip().is_loopback() {
            faults.push(Fault::new(
                "operator.listen",
                "must be a loopback address: it speaks plain HTTP",
            ));
        }
        if self.xs2a.anchors.is_empty() {
            faults.push(Fault::new(
                "xs2a.anchors",
                "names no certification authority: nobody could connect",
            ));
        }
        if let Err(error) = crate::telemetry::check_filter(&self.log.filter) {
            faults.push(Fault::new("log.filter", error));
        }
        faults
    }
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
                limits = {{ {limits} }}
                "#
            )
        };
        let faults = |limits: &str| -> Vec<String> {
            let config: Config = toml::from_str(&text(limits)).unwrap();
            config
                .faults()
                .into_iter()
                .map(|fault| fault.place)
                .collect()
        };
        assert!(faults("").is_empty());
        assert_eq!(faults("idle_seconds = 0"), ["limits.idle_seconds"]);
        assert_eq!(
            faults("idle_seconds = 9223372036854775807"),
            ["limits.idle_seconds"]
        );
        assert_eq!(
            faults("largest_page_size = 10001"),
            ["limits.largest_page_size"]
        );
        assert_eq!(faults("page_size = 501"), ["limits.page_size"]);
        assert!(
            toml::from_str::<Config>(&text("idle = 1")).is_err(),
            "a misspelt name"
        );
    }
}
