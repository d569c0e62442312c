//! Groups of files that are watched and read together, with the configuration key of each.

use shared_types::files;

use super::pem_files::{Files, Source};
use crate::config_error::ConfigError;

/// Files that are read together.
#[derive(Debug)]
pub(crate) struct SourceWatcher {
    sources: Vec<Source>,
    files: files::FileWatcher,
}

impl SourceWatcher {
    pub(crate) fn new(sources: Vec<Source>) -> Self {
        let paths = sources.iter().map(|source| source.path.clone()).collect();
        Self {
            sources,
            files: files::FileWatcher::new(paths),
        }
    }

    /// Reads the files for the first time.
    pub(crate) fn read<T>(
        &mut self,
        make: impl FnOnce(Files<'_>) -> Result<T, Vec<ConfigError>>,
    ) -> Result<T, Vec<ConfigError>> {
        self.read_changed(true, make)
            .unwrap_or_else(|| Err(Vec::new()))
    }

    /// Reads all files, if any has changed since the last read or `force` is set, and returns the
    /// result of `make`.
    ///
    /// Cost: where nothing changed, one `stat` for each file.
    pub(crate) fn read_changed<T>(
        &mut self,
        force: bool,
        make: impl FnOnce(Files<'_>) -> Result<T, Vec<ConfigError>>,
    ) -> Option<Result<T, Vec<ConfigError>>> {
        let read = self.files.changed(force)?;
        let mut contents = Vec::with_capacity(read.len());
        let mut faults = Vec::new();
        for (source, outcome) in self.sources.iter().zip(read) {
            match outcome {
                Ok(content) => contents.push((source, content)),
                Err(error) => faults.push(source.fault(&format!("cannot be read: {error}"))),
            }
        }
        Some(if faults.is_empty() {
            make(contents)
        } else {
            Err(faults)
        })
    }

    /// Makes the next call read the files as if for the first time.
    pub(crate) fn forget(&mut self) {
        self.files.forget();
    }
}
