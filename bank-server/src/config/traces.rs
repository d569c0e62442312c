//! Section `[traces]`.

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::is_loopback;
use crate::config_error::ConfigError;

/// Section `[traces]`: export of traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TracesConfig {
    /// URL of a collector on this machine that accepts OTLP as protobuf over HTTP.
    #[schema(value_type = String, example = "http://127.0.0.1:4318/v1/traces")]
    pub otlp: Url,
    /// Share of traces that is exported. The id of the trace decides, so that every service with
    /// the same share exports the same traces.
    #[serde(default = "all")]
    #[schema(minimum = 0, maximum = 1, example = 0.1)]
    pub sample_ratio: f64,
}

/// `f64` is not a number where it is not one; such a section has a fault, and is not used.
impl Eq for TracesConfig {}

fn all() -> f64 {
    1.0
}

impl TracesConfig {
    pub(super) fn faults(&self) -> Vec<ConfigError> {
        let mut faults = Vec::new();
        if self.otlp.scheme() != "http" || !is_loopback(&self.otlp) {
            faults.push(ConfigError::new(
                "traces.otlp",
                "must be a collector on this machine, such as http://127.0.0.1:4318/v1/traces: it \
                 is spoken to over plain HTTP",
            ));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collector_must_be_on_this_machine() {
        let faults = |text: &str| -> Vec<String> {
            let config: TracesConfig = toml::from_str(text).unwrap();
            let places = config.faults().into_iter().map(|fault| fault.key);
            places.collect()
        };
        for good in [
            "otlp = \"http://127.0.0.1:4318/v1/traces\"",
            "otlp = \"http://[::1]:4318/v1/traces\"\nsample_ratio = 0.01",
            "otlp = \"http://localhost/v1/traces\"\nsample_ratio = 1",
        ] {
            assert_eq!(faults(good), Vec::<String>::new(), "{good}");
        }
        for address in [
            "https://127.0.0.1/",
            "http://collector.bank.example/v1/traces",
            "http://192.0.2.1/",
            "file:///v1/traces",
        ] {
            assert_eq!(faults(&format!("otlp = \"{address}\"")), ["traces.otlp"]);
        }
    }
}
