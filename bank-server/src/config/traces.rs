//! Section `[traces]`.

use serde::Deserialize;
use url::{Host, Url};

use super::Fault;

/// Section `[traces]`: where traces go.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesConfig {
    /// A collector on this machine that takes OTLP as protobuf over HTTP, such as `http://127.0.0.1:4318/v1/traces`. It
    /// passes traces on over a network, in its own way.
    pub otlp: Url,
    /// The part of all traces that is kept, from 0 to 1; all of them, if absent. Which ones is told by the id of the trace:
    /// whoever takes part in one and keeps as many keeps the same.
    #[serde(default = "all")]
    pub ratio: f64,
}

/// `f64` is not a number where it is not one; such a section has a fault, and is not used.
impl Eq for TracesConfig {}

fn all() -> f64 {
    1.0
}

impl TracesConfig {
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let is_here = match self.otlp.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if self.otlp.scheme() != "http" || !is_here {
            faults.push(Fault::new(
                "traces.otlp",
                "must be a collector on this machine, such as http://127.0.0.1:4318/v1/traces: it is spoken to over plain \
                 HTTP",
            ));
        }
        if !(0.0..=1.0).contains(&self.ratio) {
            faults.push(Fault::new("traces.ratio", "must be from 0 to 1"));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_on_this_machine_and_a_part_is_a_part() {
        let faults = |text: &str| -> Vec<String> {
            let config: TracesConfig = toml::from_str(text).unwrap();
            let places = config.faults().into_iter().map(|fault| fault.place);
            places.collect()
        };
        for good in [
            "otlp = \"http://127.0.0.1:4318/v1/traces\"",
            "otlp = \"http://[::1]:4318/v1/traces\"\nratio = 0.01",
            "otlp = \"http://localhost/v1/traces\"\nratio = 1",
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
        for ratio in ["1.01", "-0.1", "nan"] {
            let text = format!("otlp = \"http://127.0.0.1/\"\nratio = {ratio}");
            assert_eq!(faults(&text), ["traces.ratio"]);
        }
    }
}
