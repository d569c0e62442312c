//! The command `init`: writes an initial configuration file.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf, absolute};

use shared_types::pki::pkcs11::Pkcs11Uri;

use super::arguments::{Arguments, Init};
use super::config::config_path;
use super::screen::Screen;
use super::{Failure, failure};

/// Writes the file and prints the next steps.
pub(super) fn write(init: &Init, arguments: &Arguments, screen: Screen) -> Result<(), Failure> {
    let file = config_path(&arguments.profile)?;
    let folder = file.parent().map(Path::to_owned).unwrap_or_default();
    let cannot = |error: std::io::Error| {
        failure(
            format!("{}: {error}", file.display()),
            "name another file with --config",
        )
    };
    fs::create_dir_all(&folder).map_err(cannot)?;
    let explicit_bank = &arguments.explicit_bank;
    let text = starter(
        &arguments.profile.profile,
        &given(init.directory.as_deref(), "banks.toml"),
        &given(explicit_bank.certificate.as_deref(), "qwac.pem"),
        &given(explicit_bank.key.as_deref(), "qwac.key"),
    );
    let mut options = fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(init.force)
        .create_new(!init.force);
    let mut open = options.open(&file).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => failure(
            format!("{} is there already", file.display()),
            "keep it, or replace it with --force",
        ),
        _ => cannot(error),
    })?;
    open.write_all(text.as_bytes()).map_err(cannot)?;
    screen.line(format!("{} is written", file.display()))?;
    if init.directory.is_none() || explicit_bank.own()?.is_none() {
        return screen.line(
            "next: put directory, certificate and key in their places, or correct the file; \
             then `bank-client banks`",
        );
    }
    screen.line("next: `bank-client banks`, then `bank-client connect BANK`")
}

/// An absolute path, a PKCS#11 URI as it is, or by default a file name relative to the configuration file's folder.
fn given(path: Option<&Path>, otherwise: &str) -> PathBuf {
    let is_uri = |path: &Path| Pkcs11Uri::is_meant(path.as_os_str().as_encoded_bytes());
    match path {
        None => PathBuf::from(otherwise),
        Some(uri) if is_uri(uri) => uri.to_owned(),
        Some(path) => absolute(path).unwrap_or_else(|_| path.to_owned()),
    }
}

fn starter(profile: &str, directory: &Path, certificate: &Path, key: &Path) -> String {
    let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
    let (directory, certificate, key) = (quoted(directory), quoted(certificate), quoted(key));
    let profile = toml::Value::String(profile.to_owned());
    format!(
        r#"# bank-client. Paths are relative to this file's folder. Choose profiles with --profile.

[profiles.{profile}]
directory = {directory}   # the banks: docs/directory.md
certificate = {certificate}   # our own QWAC, then the issuing CA
key = {key}           # the private key of the certificate, or its PKCS#11 URI

# Consents and the local copy of accounts are stored encrypted in the system's data folder. To store
# them elsewhere:
# store = "consents.db"
# copy = "copy.db"

# The encryption key is a file beside them. It can also be a file elsewhere, an environment variable
# (base64 of 32 bytes), or an entry in the system's keyring:
# store_key = {{ file = "store.key" }}
# store_key = {{ env = "BANK_CLIENT_KEY" }}
# store_key = {{ keyring = "default" }}

# The IP address of the customer's device, if it is always the same; some banks require it for a
# consent request. Otherwise give it to `connect` with --psu-ip-address.
# psu_ip_address = "192.0.2.7"

# Certificate revocation lists. Without them, only OCSP responses that banks staple are checked.
# [profiles.{profile}.revocation]
# lists = ["ca1-root.crl", "ca1-issuing.crl"]
# issuers = ["ca1-root.pem", "ca1-issuing.pem"]   # the authorities that signed the lists
# unknown_status = "hard-fail"   # or "soft-fail": for a certificate whose issuer has no list
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starter_is_a_configuration() {
        let text = starter(
            "a b",
            Path::new("b\"anks.toml"),
            Path::new("q.pem"),
            Path::new("q.key"),
        );
        let read: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(
            read["profiles"]["a b"]["directory"].as_str(),
            Some("b\"anks.toml")
        );
        // What is commented out is right too.
        let all = text
            .replace("# store", "store")
            .replace("# copy", "copy")
            .replace("# psu", "psu")
            .replace("# [", "[");
        let all = all
            .replace("# lists", "lists")
            .replace("# issuers", "issuers")
            .replace("# unknown", "unknown");
        let once =
            all.replacen("store_key = { env", "# ", 1)
                .replacen("store_key = { keyring", "# ", 1);
        let read: toml::Table = toml::from_str(&once).unwrap();
        assert_eq!(
            read["profiles"]["a b"]["revocation"]["lists"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }
}
