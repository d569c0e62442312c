//! SoftHSM token in a folder of its own: a PKCS#11 token for child processes. Behind a server of
//! p11-kit it is one that hangs and goes away, as network devices do.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::child_process::{ChildProcess, OnDrop};
use crate::programs::{both, own, system, system_of};

/// The PIN of each token.
pub const PIN: &str = "648219";

/// Files of the module, on Debian and elsewhere.
const MODULES: &[&str] = &[
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// A token with the label `bank`. SoftHSM finds it by an environment variable, so only programs that
/// are started by [`own`](Self::own) and its like see it.
pub struct SoftToken {
    folder: PathBuf,
    _removed_on_drop: Option<TempDir>,
}

impl SoftToken {
    pub fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token = Self::make_in(folder.path());
        Self {
            _removed_on_drop: Some(folder),
            ..token
        }
    }

    /// In a folder that outlives it. A process to which [`variables`](Self::variables) were given
    /// can make it for itself.
    pub fn make_in(folder: &Path) -> Self {
        let token = Self {
            folder: folder.to_owned(),
            _removed_on_drop: None,
        };
        fs::create_dir(token.tokens()).unwrap();
        let configuration = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            token.tokens().display()
        );
        fs::write(token.configuration(), configuration).unwrap();
        token.write_pin(PIN);
        token.util(&[
            "--init-token",
            "--free",
            "--label",
            "bank",
            "--so-pin",
            "12345678",
            "--pin",
            PIN,
        ]);
        token
    }

    /// Variables by which a process finds a token in that folder, directly and through a server.
    pub fn variables(folder: &Path) -> [(&'static str, String); 2] {
        let path = |name: &str| folder.join(name).display().to_string();
        let socket = format!("unix:path={}", path("socket"));
        [
            ("SOFTHSM2_CONF", path("softhsm2.conf")),
            ("P11_KIT_SERVER_ADDRESS", socket),
        ]
    }

    /// The library.
    pub fn module() -> &'static Path {
        let found = MODULES.iter().map(Path::new).find(|path| path.exists());
        found.expect("SoftHSM is not installed: run `apt-get install softhsm2`, or tests/run")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn tokens(&self) -> PathBuf {
        self.path("tokens")
    }

    pub fn configuration(&self) -> PathBuf {
        self.path("softhsm2.conf")
    }

    /// The file with the PIN.
    pub fn pin_file(&self) -> PathBuf {
        self.path("pin")
    }

    /// Replaces the content of the file with the PIN.
    pub fn write_pin(&self, pin: &str) {
        let new = self.path("pin.new");
        fs::write(&new, format!("{pin}\n")).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, self.pin_file()).unwrap();
    }

    /// The URI of the key with that label, or of all keys.
    pub fn uri(&self, label: Option<&str>) -> String {
        let object = label.map_or_else(String::new, |label| format!(";object={label}"));
        format!(
            "pkcs11:token=bank{object};type=private?module-path={}&pin-source=file:{}",
            Self::module().display(),
            self.pin_file().display()
        )
    }

    /// A program of this workspace that sees the token.
    pub fn own(&self, name: &str) -> Command {
        let mut command = own(name);
        command.envs(Self::variables(&self.folder));
        command
    }

    /// Imports a private key (PKCS #8, PEM) under that label. The id is its hash.
    pub fn import(&self, label: &str, key_pem: &str) {
        let file = self.path("imported.pem");
        fs::write(&file, key_pem).unwrap();
        let id = id_of(label);
        let path = file.display().to_string();
        self.util(&[
            "--import", &path, "--token", "bank", "--label", label, "--id", &id, "--pin", PIN,
        ]);
        fs::remove_file(file).unwrap();
    }

    /// Makes a key on the token, which never leaves it. The kind is such as `EC:prime256v1`.
    pub fn generate(&self, label: &str, kind: &str) {
        let id = id_of(label);
        let key = [
            "--keypairgen",
            "--key-type",
            kind,
            "--label",
            label,
            "--id",
            &id,
        ];
        self.tool(&[&["--login", "--pin", PIN][..], &key].concat());
    }

    /// Changes the PIN on the token.
    pub fn change_pin(&self, from: &str, to: &str) {
        self.tool(&["--change-pin", "--pin", from, "--new-pin", to]);
    }

    /// Takes the token away.
    pub fn pull(&self) {
        fs::rename(self.tokens(), self.path("elsewhere")).unwrap();
        fs::create_dir(self.tokens()).unwrap();
    }

    /// Puts it back.
    pub fn put_back(&self) {
        fs::remove_dir_all(self.tokens()).unwrap();
        fs::rename(self.path("elsewhere"), self.tokens()).unwrap();
    }

    fn util(&self, arguments: &[&str]) {
        self.run(system_of("softhsm2-util", "softhsm2").args(arguments));
    }

    fn tool(&self, arguments: &[&str]) {
        let mut command = system_of("pkcs11-tool", "opensc");
        command.arg("--module").arg(Self::module());
        self.run(command.args(["--token-label", "bank"]).args(arguments));
    }

    fn run(&self, command: &mut Command) {
        let output = command
            .env("SOFTHSM2_CONF", self.configuration())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command:?}: {}", both(&output));
    }
}

/// The id of the key with that label.
fn id_of(label: &str) -> String {
    let each = label.bytes().map(|byte| format!("{byte:02x}"));
    each.collect::<Vec<_>>().concat()
}

/// The client module of p11-kit, on Debian and elsewhere.
const CLIENT_MODULES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so",
    "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so",
    "/usr/lib64/pkcs11/p11-kit-client.so",
];

/// A server that gives access to a token over a socket: a network device.
pub struct TokenServer {
    server: ChildProcess,
}

impl TokenServer {
    pub fn start(token: &SoftToken) -> Self {
        let socket = token.path("socket");
        let _ = fs::remove_file(&socket);
        let mut command = system("p11-kit");
        command
            .args(["server", "--foreground", "--name"])
            .arg(&socket)
            .arg("--provider")
            .arg(SoftToken::module())
            .arg("pkcs11:")
            .env("SOFTHSM2_CONF", token.configuration())
            .stdout(Stdio::piped())
            .process_group(0);
        let server = ChildProcess::spawn(&mut command).on_drop(OnDrop::KillGroup);
        server.line(|line| line.contains("P11_KIT_SERVER_PID").then_some(()));
        Self { server }
    }

    /// The URI of a key behind the server.
    pub fn uri(token: &SoftToken, label: &str) -> String {
        let found = CLIENT_MODULES.iter().find(|path| Path::new(path).exists());
        let client = found.expect("p11-kit is not installed: run tests/run");
        let direct = SoftToken::module().display().to_string();
        token.uri(Some(label)).replace(&direct, client)
    }

    /// Answers nothing from now on.
    pub fn hang(&self) {
        self.server.signal("STOP");
    }

    /// Answers again.
    pub fn go_on(&self) {
        self.server.signal("CONT");
    }
}
