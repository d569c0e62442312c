//! Order of the modules: within a crate, a module imports lower modules alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A folder of modules, from the lowest to the highest.
struct Order {
    folder: &'static str,
    modules: &'static [&'static str],
}

const ORDERS: &[Order] = &[
    Order {
        folder: "shared-types/src",
        modules: &[
            "circuit",
            "decode",
            "environment",
            "files",
            "sealing",
            "xs2a",
            "pki",
        ],
    },
    Order {
        folder: "shared-types/src/xs2a",
        modules: &[
            "macros",
            "bic",
            "date",
            "iban",
            "text",
            "link",
            "money",
            "message",
            "authorisation",
            "account",
            "transaction",
            "card_account",
            "consent",
        ],
    },
    Order {
        folder: "shared-types/src/pki",
        modules: &[
            "der",
            "digest",
            "name",
            "certificate",
            "alert",
            "pem",
            "reason",
            "refusal",
            "validity",
            "crypto",
            "revocation",
            "trust",
            "pkcs11",
            "key_location",
            "credentials",
            "eidas",
            "register",
        ],
    },
    Order {
        folder: "bank-client/src",
        modules: &[
            "vault",
            "own_file",
            "sqlite",
            "identity",
            "trace_context",
            "limits",
            "deviations",
            "response",
            "decode",
            "validate",
            "revocation",
            "tls",
            "error",
            "address",
            "retries",
            "handshake_layer",
            "connections",
            "bank",
            "transport_error",
            "transport",
            "execute",
            "http",
            "rotation",
            "authorisations",
            "consents",
            "pages",
            "accounts",
            "probe",
            "directory",
            "store",
            "consent_manager",
            "sync",
            "aggregator",
            "blocking",
            "test_util",
            "fuzzing",
            "cli",
        ],
    },
    Order {
        folder: "bank-server/src",
        modules: &[
            "config_error",
            "config",
            "transport",
            "calendar",
            "keyed_locks",
            "http",
            "openapi",
            "domain",
            "telemetry",
            "identity",
            "store",
            "bank_service",
            "core_banking",
            "identity_provider",
            "sca",
            "consent",
            "xs2a",
            "metrics",
            "operator",
            "online_banking",
            "server",
        ],
    },
];

#[test]
fn modules_import_lower_modules_alone() {
    for order in ORDERS {
        let folder = Path::new(ROOT).join(order.folder);
        assert_eq!(
            modules(&folder),
            order.modules.iter().map(ToString::to_string).collect(),
            "{}",
            order.folder
        );
        let place = |name: &str| order.modules.iter().position(|module| *module == name);
        let mut imports = 0;
        for module in order.modules {
            for (file, imported) in imported(&folder, module) {
                let Some(there) = place(&imported) else {
                    panic!("{file} imports `{imported}`: import it from its module")
                };
                imports += 1;
                let is_lower = Some(there) <= place(module);
                assert!(is_lower, "{file}: `{module}` imports `{imported}` above it");
            }
        }
        assert!(imports > 5, "{}: {imports}", order.folder);
    }
}

#[test]
fn transport_imports_nothing_of_the_bank() {
    let folder = Path::new(ROOT).join("bank-server/src");
    for (file, imported) in imported(&folder, "transport") {
        let is_general = ["config_error", "transport"].contains(&imported.as_str());
        assert!(is_general, "{file} imports `{imported}`");
    }
}

/// The files and folders in it, but for those that a crate or a folder begins with.
fn modules(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_owned())
        .map(|name| name.into_string().unwrap())
        .filter(|name| !["lib", "main", "mod"].contains(&name.as_str()))
        .collect()
}

/// Imports of a module, without its tests, from its own folder, with file and line.
fn imported(folder: &Path, module: &str) -> Vec<(String, String)> {
    fn visit(path: &Path, depth: usize, prefix: &str, found: &mut Vec<(String, String)>) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if ["tests", "testing"].contains(&name) || !path.exists() {
            return;
        }
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                visit(&entry.unwrap().path(), depth + 1, prefix, found);
            }
            return;
        }
        let depth = if name == "mod" { depth - 1 } else { depth };
        let code = code(&fs::read_to_string(path).unwrap());
        let above = "super::".repeat(depth);
        let relative = behind(&code, &above)
            .into_iter()
            // An item of the file itself, seen from an inline module.
            .filter(|name| {
                !name.is_empty() && name != "super" && !name.starts_with(char::is_uppercase)
            });
        for name in behind(&code, prefix).into_iter().chain(relative) {
            found.push((path.display().to_string(), name));
        }
    }

    let crate_path = folder.components().rev();
    let within: Vec<_> = crate_path
        .map(|part| part.as_os_str().to_str().unwrap())
        .take_while(|part| *part != "src")
        .collect();
    let prefix: String = within
        .iter()
        .rev()
        .fold("crate::".to_owned(), |path, part| format!("{path}{part}::"));
    let mut found = Vec::new();
    visit(&folder.join(format!("{module}.rs")), 1, &prefix, &mut found);
    visit(&folder.join(module), 1, &prefix, &mut found);
    found
}

/// A source without comments and without its tests.
fn code(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = source.lines();
    let code = lines.filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// The names behind a path: the one that follows, or those of a list in braces.
fn behind(code: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let is_whole =
            !code[..at].ends_with(|before: char| before.is_alphanumeric() || ":_".contains(before));
        if !is_whole {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let end = list.find(|sign| {
                depth += i32::from(sign == '{') - i32::from(sign == '}');
                depth < 0
            });
            let mut depth = 0;
            let list = list[..end.unwrap()].split(|sign| {
                depth += i32::from(sign == '{') - i32::from(sign == '}');
                sign == ',' && depth == 0
            });
            names.extend(list.map(first).filter(|name| !name.is_empty()));
        } else {
            names.push(first(rest));
        }
    }
    names
}

fn first(path: &str) -> String {
    let path = path.trim_start();
    let end = path.find(|sign: char| !sign.is_alphanumeric() && sign != '_');
    path[..end.unwrap_or(path.len())].to_owned()
}
