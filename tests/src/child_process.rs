//! Child process that ends on drop.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use crate::wait::{MAX_WAIT, wait_for};

pub struct ChildProcess {
    child: Child,
    on_drop: OnDrop,
    lines: Receiver<String>,
}

/// End of a process on drop.
pub enum OnDrop {
    Kill,
    /// With its process group, which it leads.
    KillGroup,
    /// By SIGTERM, the only signal on which nginx ends its workers.
    Terminate,
}

impl ChildProcess {
    /// Starts a process that is killed on drop. Threads read piped output, so it never blocks.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        for pipe in [stdout, stderr].into_iter().flatten() {
            let (sender, output) = (sender.clone(), BufReader::new(File::from(pipe)));
            std::thread::spawn(move || {
                for line in output.lines().map_while(Result::ok) {
                    // The receiver is dropped with the process.
                    let _ = sender.send(line);
                }
            });
        }
        Self {
            child,
            on_drop: OnDrop::Kill,
            lines,
        }
    }

    #[must_use]
    pub fn on_drop(mut self, on_drop: OnDrop) -> Self {
        self.on_drop = on_drop;
        self
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the first line of piped output that `find` accepts.
    pub fn line<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let (started, mut output) = (Instant::now(), String::new());
        loop {
            let left = MAX_WAIT.saturating_sub(started.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => match find(&line) {
                    Some(found) => return found,
                    None => output += &(line + "\n"),
                },
                Err(error) => panic!("{error}: {output}"),
            }
        }
    }

    /// Waits for a condition. Fails with the log if the process ends before.
    pub async fn wait_for<T>(
        &mut self,
        what: &str,
        log: &Path,
        mut condition: impl FnMut() -> Option<T>,
    ) -> T {
        wait_for(what, || {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "{what}: {}",
                fs::read_to_string(log).unwrap()
            );
            condition()
        })
        .await
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal: to its process group, if it is ended with that.
    pub fn signal(&self, signal: &str) {
        let group = match self.on_drop {
            OnDrop::KillGroup => "-",
            OnDrop::Kill | OnDrop::Terminate => "",
        };
        assert!(kill(signal, &format!("{group}{}", self.id())));
    }

    /// Kills the process, and reaps it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end of the process.
    pub async fn wait(&mut self) -> ExitStatus {
        wait_for("the end of a process", || self.child.try_wait().unwrap()).await
    }

    /// Resident memory in KiB.
    pub fn resident_memory(&self) -> u64 {
        memory(self.id(), "VmRSS:")
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // Once it is reaped, its id may be that of another process.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = match self.on_drop {
            OnDrop::Kill => self.child.kill().is_ok(),
            OnDrop::KillGroup => kill("KILL", &format!("-{}", self.id())),
            OnDrop::Terminate => kill("TERM", &self.id().to_string()),
        };
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process, or to the process group of a negative id.
fn kill(signal: &str, id: &str) -> bool {
    let sent = Command::new("kill").args(["-s", signal, "--", id]).status();
    sent.is_ok_and(|status| status.success())
}

/// Memory of a process in KiB: now (`VmRSS:`), or at its highest (`VmHWM:`).
pub fn memory(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse().unwrap()
}
