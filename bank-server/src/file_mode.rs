//! Who can use a file.

use std::path::Path;

/// Whether others can use a file that holds secrets. The owner alone writes it, and beside the owner at most a group reads it,
/// as where secrets are mounted. A file that is not there is open to nobody.
#[cfg(unix)]
pub(crate) fn is_open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o027 != 0)
}

#[cfg(not(unix))]
pub(crate) fn is_open_to_others(_file: &Path) -> bool {
    false
}
