//! Files that belong together, and whether they have changed.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

/// Interval between two attempts to lock a file.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// Locks a file that is there, as soon as all others have let it go: processes, and this one. The
/// lock ends when the file is dropped, or the process ends, in whichever way. Fails with
/// [`TimedOut`](io::ErrorKind::TimedOut) if that takes longer.
pub async fn lock(path: &Path, patience: Duration) -> io::Result<File> {
    let file = File::open(path)?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if start.elapsed() < patience => sleep(TRY_AGAIN).await,
            Err(TryLockError::WouldBlock) => {
                let busy = format!("another program holds {}", path.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, busy));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether others than its owner can write a file with secrets, or others than its owner and group
/// can read it. Mounted secrets are often readable by a group. A missing file is not open.
#[must_use]
#[cfg(unix)]
pub fn is_open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o027 != 0)
}

/// Nothing is known of others on this system.
#[must_use]
#[cfg(not(unix))]
pub fn is_open_to_others(_file: &Path) -> bool {
    false
}

/// Files that are read together.
#[derive(Debug)]
pub struct FileWatcher {
    paths: Vec<PathBuf>,
    stamps: Vec<Option<Stamp>>,
    /// A change can follow another so closely that the stamp stays: one more look is taken.
    look_again: bool,
    /// The result of the last read, faults included; `None`, if the next one is to be as the first.
    seen: Option<Vec<Seen>>,
}

/// The largest file that is read, in bytes: a revocation list of 64 MiB, as PEM.
const MOST_BYTES: u64 = 96 * 1024 * 1024;

/// Metadata that changes when a file does: also where a whole folder is put in its place, as
/// Kubernetes does with secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    file: u64,
}

/// The content of a file by its digest, or why it cannot be read.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Content([u8; 32]),
    Fault(String),
}

impl FileWatcher {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            stamps: Vec::new(),
            look_again: true,
            seen: None,
        }
    }

    /// The content of each file, or why it cannot be read, in the order of the paths; `None` if all
    /// is as it was at the last look. `anyway` says to read even where nothing seems to have
    /// changed. A file of more than 96 MiB is not read.
    ///
    /// Cost: where nothing changed, one question to the file system for each file. Where it is not
    /// clear, each file is read, but not kept.
    pub fn changed(&mut self, anyway: bool) -> Option<Vec<io::Result<Vec<u8>>>> {
        let stamps: Vec<Option<Stamp>> = self.paths.iter().map(|path| Stamp::of(path)).collect();
        let moved = stamps != self.stamps;
        if !(moved || self.look_again || anyway) {
            return None;
        }
        self.look_again = moved;
        self.stamps = stamps;
        if let Some(seen) = &self.seen {
            let now: Vec<Seen> = self
                .paths
                .iter()
                .map(|path| Seen::of(digest(path)))
                .collect();
            if now == *seen {
                return None;
            }
        }
        let read: Vec<io::Result<Vec<u8>>> = self.paths.iter().map(|path| read(path)).collect();
        let seen = read.iter().map(|outcome| {
            let digest = outcome.as_ref().map(Sha256::digest);
            Seen::of(digest.map(Into::into))
        });
        self.seen = Some(seen.collect());
        Some(read)
    }

    /// Has the next look read the files, as if for the first time.
    pub fn forget(&mut self) {
        self.seen = None;
        self.look_again = true;
    }
}

impl Seen {
    fn of<E: std::fmt::Display>(digest: Result<[u8; 32], E>) -> Self {
        match digest {
            Ok(digest) => Self::Content(digest),
            Err(error) => Self::Fault(error.to_string()),
        }
    }
}

/// A file, as far as it may be read.
fn open(path: &Path) -> io::Result<impl io::Read> {
    let file = File::open(path)?;
    if file.metadata()?.len() > MOST_BYTES {
        let problem = format!("it is larger than {} MiB", MOST_BYTES / 1024 / 1024);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    // It may grow while it is read.
    Ok(file.take(MOST_BYTES))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.read_to_end(&mut content)?;
    Ok(content)
}

/// The digest of a file, which is never in memory as a whole.
fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = open(path)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut piece)?;
        match piece.get(..read) {
            Some(read) if !read.is_empty() => digest.update(read),
            _ => return Ok(digest.finalize().into()),
        }
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
