//! The documentation tells the truth where a test can see it.

use std::fs;
use std::path::Path;
use std::process::Command;

use bank_client::directory::Directory;
use bank_client::probe::StepName;
use bank_server::config::{Config, RetentionConfig};
use bank_server::store::{DatabaseLocation, Server};
use serde_json::Value;
use tests::programs::both;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Text between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_that_security_names_is_there() {
    let security = read("docs/security.md");
    let mut named = 0;
    for name in
        quoted(&security).filter(|name| name.contains("::") && !name.contains("shared_types::"))
    {
        let parts: Vec<&str> = name.split("::").collect();
        // `module::test` is a black-box test, `module::tests::test` one within a crate.
        let found = match parts.as_slice() {
            [module, test] if *test != "tests" => {
                within("tests/tests", module, &format!("fn {test}("))
            }
            [.., module, "tests"] => anywhere(module, "mod tests"),
            [.., module, "tests", test] => anywhere(module, &format!("fn {test}(")),
            _ => false,
        };
        assert!(found, "docs/security.md names {name}");
        named += 1;
    }
    assert!(named > 30, "{named}");
}

/// Whether a source file or folder of that name, in the source of any crate, holds the text.
fn anywhere(module: &str, text: &str) -> bool {
    [
        "shared-types/src",
        "bank-client/src",
        "bank-server/src",
        "fixtures/src",
    ]
    .iter()
    .any(|folder| within(folder, module, text))
}

/// Whether a source file or folder of that name, in that folder, holds the text.
fn within(folder: &str, module: &str, text: &str) -> bool {
    fn search(folder: &Path, module: &str, text: &str) -> bool {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .any(|path| {
                if path.is_dir() {
                    return search(&path, module, text);
                }
                let within = path.iter().any(|part| part == module)
                    || path.file_stem().is_some_and(|stem| stem == module);
                within && fs::read_to_string(&path).is_ok_and(|source| source.contains(text))
            })
    }

    search(&Path::new(ROOT).join(folder), module, text)
}

/// The first configuration in a text.
fn configuration(text: &str) -> &str {
    let (_, after) = text.split_once("```toml\n").unwrap();
    after.split_once("```").unwrap().0
}

#[test]
fn the_listener_for_gateways_is_configured_as_documented() {
    let (page, gateways) = (read("docs/running-a-bank.md"), read("docs/gateways.md"));
    let (before, rest) = configuration(&page)
        .split_once("[gateway_listener]")
        .unwrap();
    let (_, after) = rest.split_once("[revocation]").unwrap();
    let section = configuration(&gateways).replace("# header_name", "header_name");
    let section = section.replace("\"rfc9440\"", "\"nginx-escaped-pem\"");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.toml");
    fs::write(&file, format!("{before}{section}\n[revocation]{after}")).unwrap();
    let config = Config::read(&file).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(config.faults(), []);
    let gateway_listener = config.gateway_listener.unwrap();
    assert_eq!(
        gateway_listener.gateways,
        [folder.path().join("gateways.pem")]
    );
    assert_eq!(gateway_listener.max_connections, 1000);
}

#[test]
fn the_database_and_retention_are_configured_as_documented() {
    let (page, database) = (read("docs/running-a-bank.md"), read("docs/database.md"));
    let (before, rest) = configuration(&page).split_once("[store]").unwrap();
    let (_, after) = rest.split_once("[online_banking]").unwrap();
    let store = configuration(&database);
    let (_, rest) = database.split_once(store).unwrap();
    let text = format!(
        "{before}{store}{}[online_banking]{after}",
        configuration(rest)
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.toml");
    fs::write(&file, text).unwrap();
    let config = Config::read(&file).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(config.faults(), []);
    assert_eq!(config.retention, RetentionConfig::default());
    let DatabaseLocation::Server(server) = config.store.location else {
        panic!("no server");
    };
    assert_eq!(server.connections, Server::CONNECTIONS);
    assert_eq!(server.statement, Server::STATEMENT);
    assert_eq!(config.store.key, folder.path().join("bank.key"));
}

#[test]
fn the_example_of_a_configuration_is_valid() {
    let page = read("docs/running-a-bank.md");
    let configuration = configuration(&page);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.toml");
    fs::write(&file, configuration).unwrap();
    let config = Config::read(&file).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(config.faults().is_empty());
    assert_eq!(
        config.store.location,
        DatabaseLocation::File(folder.path().join("bank.db")),
        "paths are taken from the folder of the file"
    );
}

#[test]
fn the_directory_is_documented_as_it_is_read() {
    let page = read("docs/directory.md");
    let directory = Directory::from_toml(configuration(&page), "").unwrap();
    let bank = &directory.banks()[0];
    assert!(bank.bic.is_some() && bank.limits.delta.is_some() && !bank.sca_approaches.is_empty());
    let example = configuration(&page).lines();
    for field in example.filter_map(|line| line.split_once(" = ")) {
        let named = page.contains(&format!("| `{}` |", field.0))
            || page.contains(&format!("| `limits.{}` |", field.0));
        assert!(named, "{} has no row", field.0);
    }
}

#[test]
fn traces_and_the_log_are_configured_as_documented() {
    let (page, monitoring) = (read("docs/running-a-bank.md"), read("docs/monitoring.md"));
    let traces = configuration(&monitoring);
    let (_, rest) = monitoring.split_once(traces).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bank.toml");
    let text = [configuration(&page), traces, configuration(rest)].concat();
    fs::write(&file, text).unwrap();
    let config = Config::read(&file).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(config.faults(), []);
    assert!(config.traces.is_some());
}

#[test]
fn every_binary_of_the_tests_is_run_and_documented() {
    let parts = ["sqlite", "faults-and-postgresql"];
    let run = parts
        .map(|part| read(&format!("tests/parts/{part}")))
        .concat();
    let readme = read("tests/README.md");
    for entry in fs::read_dir(Path::new(ROOT).join("tests/tests")).unwrap() {
        let path = entry.unwrap().path();
        let binary = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // A line with filters runs a part of it.
        let whole = run.lines().filter(|line| !line.contains(" -- "));
        let option = format!("--test {binary}");
        assert!(
            whole.into_iter().any(|line| line.contains(&option)),
            "{binary}"
        );
        assert!(readme.contains(&format!("| `{binary}` |")), "{binary}");
        for module in path
            .is_dir()
            .then(|| fs::read_dir(&path).unwrap())
            .into_iter()
            .flatten()
        {
            let module = module.unwrap().path();
            let module = module.file_stem().unwrap().to_str().unwrap().to_owned();
            let named = module == "main" || readme.contains(&format!("`{module}`"));
            assert!(named, "tests/README.md does not name {binary}/{module}");
        }
    }
}

/// The block of Rust that holds the text.
fn rust_block<'a>(page: &'a str, text: &str) -> &'a str {
    let blocks = page.split("```rust\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.contains(text)).unwrap()
}

/// The example is compiled with the workspace, and `readme` runs it.
#[test]
fn the_first_call_of_the_sdk_document_is_an_example() {
    let page = read("docs/sdk.md");
    let shown = rust_block(&page, "fn main");
    let example = read("bank-client/examples/first_call.rs");
    let (_, program) = example.split_once("\n)]\n\n").unwrap();
    assert_eq!(shown, program);
}

/// The document's lines are those of a snippet that is compiled and run.
#[test]
fn the_sdk_document_shows_the_test_that_the_crate_runs() {
    let page = read("docs/sdk.md");
    let shown = rust_block(&page, "MockBank");
    let source = read("bank-client/src/test_util/mod.rs");
    let run: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("//! "))
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .collect();
    // The crate's own runs without the attribute.
    let attribute = "#[bank_client::tokio::test(crate = \"bank_client::tokio\")]";
    assert!(shown.contains(attribute), "{shown}");
    let lines = shown.lines().map(str::trim);
    let lines: Vec<&str> = lines
        .filter(|line| !line.is_empty() && *line != attribute)
        .collect();
    assert!(lines.len() >= 8, "{lines:?}");
    for line in lines {
        assert!(run.contains(&line), "{line}");
    }
}

/// A program of its own cannot name what the SDK depends on, and its dependencies are what stands
/// in the block.
#[test]
fn the_first_example_of_the_tour_is_a_project_with_one_dependency() {
    let source = read("bank-client/src/lib.rs");
    let tour: Vec<&str> = source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let block = |start: &str| {
        let lines = tour.iter().skip_while(|line| **line != start).skip(1);
        let lines: Vec<&str> = lines.take_while(|line| **line != "```").copied().collect();
        lines.join("\n")
    };
    let (dependencies, program) = (block("```toml"), block("```no_run"));
    assert!(program.contains("async fn main()"), "{program}");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    let place = format!("path = \"{ROOT}/bank-client\"");
    let dependencies = dependencies.replace("path = \"bank-client\"", &place);
    let package = "[package]\nname = \"tour\"\nedition = \"2024\"\n\n";
    let manifest = write("Cargo.toml", &format!("{package}{dependencies}\n"));
    write("Cargo.lock", &read("Cargo.lock"));
    let program = write("src/main.rs", &program);

    // Of crates for other platforms, a machine that has built the workspace has no source.
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let project = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1"])
        .args(["--filter-platform", host.unwrap(), "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(project.status.success(), "{}", both(&project));
    let project: Value = serde_json::from_slice(&project.stdout).unwrap();
    let nodes = project["resolve"]["nodes"].as_array().unwrap();
    let root = nodes
        .iter()
        .find(|node| node["id"] == project["resolve"]["root"]);
    let names: Vec<&Value> = root.unwrap()["deps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dependency| &dependency["name"])
        .collect();
    assert_eq!(names, ["bank_client"]);

    // The SDK that this test is built with: the newest, where others were left behind.
    let built = std::env::current_exe().unwrap();
    let built = built.parent().unwrap();
    let sdk = fs::read_dir(built)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|file| {
            let stem = file.file_stem().unwrap().to_string_lossy();
            stem.starts_with("libbank_client-") && file.extension().unwrap_or_default() == "rlib"
        })
        .max_by_key(|file| file.metadata().unwrap().modified().unwrap())
        .unwrap();
    let compiled = Command::new("rustc")
        .args(["--edition", "2024", "--emit", "metadata", "--extern"])
        .arg(format!("bank_client={}", sdk.display()))
        .arg(format!("-Ldependency={}", built.display()))
        .arg("--out-dir")
        .arg(folder.path())
        .arg(program)
        .current_dir(ROOT)
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", both(&compiled));
}

/// `probe` numbers its steps; the README tells the story of a handshake in the same.
#[test]
fn the_readme_numbers_the_steps_of_the_handshake_as_probe_does() {
    let readme = read("README.md");
    let rows: Vec<&str> = readme
        .lines()
        .skip_while(|line| !line.starts_with("| step |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(rows.len(), StepName::ALL.len());
    for (index, (row, step)) in rows.iter().zip(StepName::ALL).enumerate() {
        let start = format!("| {} {step} |", index + 1);
        assert!(row.starts_with(&start), "{start} {row}");
    }
}
