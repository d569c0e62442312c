//! Paths of the project's own programs and of the system's.

use std::path::PathBuf;
use std::process::{Command, Output};

use fixtures::packages;

/// A program of this workspace; an example is called `examples/NAME`. `tests/run` builds them
/// before the tests.
pub fn own(name: &str) -> Command {
    let program = packages::programs().unwrap().join(name);
    assert!(
        program.exists(),
        "{} is not built: run `cargo build --workspace --bins --examples`, or tests/run",
        program.display()
    );
    Command::new(program)
}

/// The folder of a package that `fixtures/prepare` has unpacked, such as `npm:axe-core@4.14.1`.
pub fn unpacked(package: &str) -> PathBuf {
    let folder = packages::folder(package).unwrap();
    assert!(
        folder.exists(),
        "{package} is not at {}: run tests/run, or fixtures/prepare '{package}'",
        folder.display()
    );
    folder
}

/// A program of the system. Debian installs some of them in directories in root's `PATH` only.
pub fn system(name: &str) -> Command {
    system_of(name, name)
}

/// A program of the system, in a package of another name.
pub fn system_of(name: &str, package: &str) -> Command {
    let found = Command::new("sh")
        .args(["-c", &format!("PATH=$PATH:/usr/sbin command -v {name}")])
        .output()
        .unwrap();
    assert!(
        found.status.success(),
        "{name} is not installed: run `apt-get install {package}`, or tests/run"
    );
    Command::new(String::from_utf8(found.stdout).unwrap().trim())
}

/// Standard output and standard error together, for looking into.
pub fn both(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
