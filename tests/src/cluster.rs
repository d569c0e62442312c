//! PostgreSQL server of one test, which can stop and start it.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bank_server::store::Server;
use fixtures::pki::Identity;
use tempfile::TempDir;

use crate::ports;
use crate::programs::both;

/// It runs until it is dropped.
pub struct Cluster {
    programs: PathBuf,
    folder: TempDir,
    owner: Option<Owner>,
    port: u16,
}

/// The user of the server, where the tests run as root: the server does not.
#[derive(Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

impl Cluster {
    /// Behind a socket in its own folder.
    pub fn start() -> Self {
        let cluster = Self::make();
        cluster.start_again();
        cluster
    }

    /// At a port of 127.0.0.1 as well, with TLS and that certificate.
    pub fn with_tls(identity: &Identity) -> Self {
        let mut cluster = Self::make();
        for (name, text) in [
            ("server.crt", identity.chain_pem.as_str()),
            ("server.key", identity.key_pem.as_str()),
        ] {
            let path = cluster.data().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .unwrap();
            cluster.give(&path);
        }
        // Another process may have taken the port before the server does.
        for _ in 0..10 {
            cluster.port = ports::free().port();
            if cluster.control(&["start", "--wait"]).status.success() {
                return cluster;
            }
        }
        panic!("the server finds no port");
    }

    /// The URL of the database, for local connections.
    pub fn server(&self) -> Server {
        Server::new(&self.url("")).unwrap()
    }

    /// Its address behind the socket, with more parameters.
    pub fn url(&self, more: &str) -> String {
        let folder = self.folder.path().display();
        format!("postgres://bank@localhost/postgres?host={folder}{more}")
    }

    /// Its address at the port.
    pub fn url_at_port(&self, more: &str) -> String {
        format!("postgres://bank@localhost:{}/postgres?{more}", self.port)
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    /// Stops it as if its machine had failed: no request finishes, no connection is closed.
    pub fn stop_at_once(&self) {
        let stopped = self.control(&["stop", "--wait", "--mode=immediate"]);
        assert!(stopped.status.success(), "{}", both(&stopped));
    }

    /// Starts it, and waits until it lets clients in.
    pub fn start_again(&self) {
        let started = self.control(&["start", "--wait"]);
        assert!(started.status.success(), "{}", both(&started));
    }

    /// The first of its processes.
    pub fn process(&self) -> u32 {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        file.lines().next().unwrap().parse().unwrap()
    }

    /// The result of a statement, as the database's own client prints it.
    pub fn ask(&self, statement: &str) -> String {
        let asked = Command::new(self.programs.join("psql"))
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set=ON_ERROR_STOP=1", "--command", statement])
            .arg(self.url(""))
            .output()
            .unwrap();
        assert!(asked.status.success(), "{}", both(&asked));
        String::from_utf8(asked.stdout).unwrap().trim().to_owned()
    }

    fn make() -> Self {
        let cluster = Self {
            programs: programs(),
            folder: tempfile::tempdir().unwrap(),
            owner: owner(),
            port: 0,
        };
        cluster.give(cluster.folder.path());
        let made = cluster
            .program("initdb")
            .args([
                "--username=bank",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-sync",
            ])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", both(&made));
        cluster
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn control(&self, what: &[&str]) -> Output {
        let folder = self.folder.path();
        let listen = if self.port == 0 {
            "-c listen_addresses=".to_owned()
        } else {
            // The port is a part of the socket's name, so it must not change.
            format!("-c listen_addresses=127.0.0.1 -c ssl=on -p {}", self.port)
        };
        let options = format!(
            "{listen} -c unix_socket_directories={} -c max_connections=200",
            folder.display()
        );
        self.program("pg_ctl")
            .args(what)
            .arg(format!("--log={}", folder.join("log").display()))
            .arg(format!("--options={options}"))
            .output()
            .unwrap()
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = match self.owner {
            Some(Owner { user, group }) => {
                let mut command = Command::new("setpriv");
                command
                    .args([format!("--reuid={user}"), format!("--regid={group}")])
                    .args(["--clear-groups", "--"])
                    .arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .current_dir(self.folder.path())
            .arg(format!("--pgdata={}", self.data().display()));
        command
    }

    fn give(&self, path: &Path) {
        if let Some(Owner { user, group }) = self.owner {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may have been stopped.
        self.control(&["stop", "--mode=immediate"]);
    }
}

/// The newest that the system has.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let newest = versions
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok())
        .max();
    let version = newest
        .expect("PostgreSQL is not installed: run `apt-get install postgresql`, or tests/run");
    Path::new("/usr/lib/postgresql").join(format!("{version}/bin"))
}

fn owner() -> Option<Owner> {
    let id = |arguments: &[&str]| {
        let said = Command::new("id").args(arguments).output().unwrap();
        let number = String::from_utf8(said.stdout).unwrap();
        number.trim().parse::<u32>().unwrap()
    };
    (id(&["-u"]) == 0).then(|| Owner {
        user: id(&["-u", "postgres"]),
        group: id(&["-g", "postgres"]),
    })
}
