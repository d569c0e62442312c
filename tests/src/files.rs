//! Atomic replacement of files that a running program watches.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Replaces a file in one step: a reader sees the old content or the new, and never a part. The new file has mode 600, as
/// private keys must.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, content).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&beside, path).unwrap();
}
