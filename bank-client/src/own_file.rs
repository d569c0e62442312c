//! A database's file, that belongs to its owner alone.

use std::fs::OpenOptions;
#[cfg(unix)]
use std::fs::{Permissions, set_permissions};
use std::io::{ErrorKind, Result};
use std::path::Path;

/// Makes the file if it is not there, and takes it away from everybody else if it is.
///
/// A file that is there is not opened: on closing it, the system would give up the locks that
/// SQLite holds on it for this process (POSIX), and another process could take a database that is
/// in use for one that is not.
pub(crate) fn own_file(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => return made.map(|_| ()),
    }
    #[cfg(unix)]
    set_permissions(
        path,
        <Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600),
    )?;
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_its_owners_whether_it_was_there_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let new = folder.path().join("new.db");
        own_file(&new).unwrap();
        assert_eq!(mode(&new), 0o600);

        let old = folder.path().join("old.db");
        std::fs::write(&old, "kept").unwrap();
        set_permissions(&old, Permissions::from_mode(0o644)).unwrap();
        own_file(&old).unwrap();
        assert_eq!(mode(&old), 0o600);
        assert_eq!(std::fs::read(&old).unwrap(), b"kept");
    }
}
