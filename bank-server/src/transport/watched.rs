//! Files that belong together, and whether they have changed.

use std::time::SystemTime;

use shared_types::digest;

use super::material::Source;
use crate::fault::Fault;

/// Files that are read together.
#[derive(Debug)]
pub(super) struct Watched {
    sources: Vec<Source>,
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
    pub(super) fn new(sources: Vec<Source>) -> Self {
        Self {
            sources,
            stamps: Vec::new(),
            look_again: true,
            digest: None,
        }
    }

    pub(super) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The content of all files, if it is another than at the last look; `anyway` says to read even where nothing seems
    /// to have changed.
    ///
    /// Cost: where nothing changed, one question to the file system for each file.
    pub(super) fn changed(&mut self, anyway: bool) -> Option<Result<Vec<Vec<u8>>, Vec<Fault>>> {
        let stamps: Vec<Option<Stamp>> = self.sources.iter().map(Stamp::of).collect();
        let moved = stamps != self.stamps;
        if !(moved || self.look_again || anyway) {
            return None;
        }
        self.look_again = moved;
        self.stamps = stamps;
        let read: Vec<Result<Vec<u8>, Fault>> = self.sources.iter().map(Source::read).collect();
        let seen = digest::sha256(
            read.iter()
                .map(|outcome| match outcome {
                    Ok(content) => digest::sha256(content),
                    Err(fault) => fault.to_string(),
                })
                .collect::<Vec<_>>()
                .join("\n")
                .as_bytes(),
        );
        if self.digest.as_ref() == Some(&seen) {
            return None;
        }
        self.digest = Some(seen);
        let mut contents = Vec::with_capacity(read.len());
        let mut faults = Vec::new();
        for outcome in read {
            match outcome {
                Ok(content) => contents.push(content),
                Err(fault) => faults.push(fault),
            }
        }
        Some(if faults.is_empty() {
            Ok(contents)
        } else {
            Err(faults)
        })
    }

    /// Has the next look read the files, as if for the first time.
    pub(super) fn forget(&mut self) {
        self.digest = None;
        self.look_again = true;
    }
}

impl Stamp {
    fn of(source: &Source) -> Option<Self> {
        let metadata = std::fs::metadata(&source.path).ok()?;
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
