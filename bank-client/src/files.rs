//! Files that belong together, and whether they have changed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use shared_types::digest;

/// Files that are read together.
#[derive(Debug)]
pub struct Watched {
    paths: Vec<PathBuf>,
    stamps: Vec<Option<Stamp>>,
    /// A change can follow another so closely that the stamp stays: one more look is taken.
    look_again: bool,
    /// What was read last, faults included.
    digest: Option<String>,
}

/// What changes when a file does: also where a whole folder is put in its place, as Kubernetes does with secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    file: u64,
}

impl Watched {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            stamps: Vec::new(),
            look_again: true,
            digest: None,
        }
    }

    /// The content of each file, or why it cannot be read, in the order of the paths; `None` if all is as it was at the
    /// last look. `anyway` says to read even where nothing seems to have changed.
    ///
    /// Cost: where nothing changed, one question to the file system for each file.
    pub fn changed(&mut self, anyway: bool) -> Option<Vec<io::Result<Vec<u8>>>> {
        let stamps: Vec<Option<Stamp>> = self.paths.iter().map(|path| Stamp::of(path)).collect();
        let moved = stamps != self.stamps;
        if !(moved || self.look_again || anyway) {
            return None;
        }
        self.look_again = moved;
        self.stamps = stamps;
        let read: Vec<io::Result<Vec<u8>>> = self.paths.iter().map(std::fs::read).collect();
        let seen = digest::sha256(
            read.iter()
                .map(|outcome| match outcome {
                    Ok(content) => digest::sha256(content),
                    Err(error) => error.to_string(),
                })
                .collect::<Vec<_>>()
                .join("\n")
                .as_bytes(),
        );
        if self.digest.as_ref() == Some(&seen) {
            return None;
        }
        self.digest = Some(seen);
        Some(read)
    }

    /// Has the next look read the files, as if for the first time.
    pub fn forget(&mut self) {
        self.digest = None;
        self.look_again = true;
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let file = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let file = 0;
        Some(Self {
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
            file,
        })
    }
}
