//! Files as operators write them: replaced while a program watches them, and several lists in one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Replaces a file in one step: a reader sees the old content or the new, and never a part. The new
/// file has mode 600, as private keys must.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, content).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&beside, path).unwrap();
}

/// Revocation lists as one PEM file, as nginx and HAProxy want them.
pub fn list_bundle(lists: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for list in lists {
        let base64 = BASE64_STANDARD.encode(list);
        text += "-----BEGIN X509 CRL-----\n";
        for line in base64.as_bytes().chunks(64) {
            text += str::from_utf8(line).unwrap();
            text += "\n";
        }
        text += "-----END X509 CRL-----\n";
    }
    text
}
