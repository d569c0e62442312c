//! Permission check for files that hold secrets.

use std::path::Path;

/// Whether others than its owner can write a file with secrets, or others than its owner and group
/// can read it. Mounted secrets are often readable by a group. A missing file is not open.
#[cfg(unix)]
pub(crate) fn is_open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o027 != 0)
}

#[cfg(not(unix))]
pub(crate) fn is_open_to_others(_file: &Path) -> bool {
    false
}
