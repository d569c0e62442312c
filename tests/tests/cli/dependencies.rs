//! Rules for dependencies: licences, banned and duplicate crates, sources. They are those of
//! `deny.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde::Deserialize;
use tests::programs::both;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// `deny.toml`, as far as these tests read it.
#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    #[serde(default)]
    deny_multiple_versions: bool,
    #[serde(default)]
    wrappers: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: BTreeSet<String>,
}

fn rules() -> Rules {
    toml::from_str(&fs::read_to_string(format!("{ROOT}/deny.toml")).unwrap()).unwrap()
}

/// Lines of `cargo tree`, each once.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--workspace",
            "--prefix",
            "none",
        ])
        .args(arguments)
        .current_dir(ROOT)
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", both(&tree));
    let lines = String::from_utf8(tree.stdout).unwrap();
    lines
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect()
}

/// Whether an SPDX expression can be met with those licences.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    /// Parts of an expression between words that stand outside all brackets.
    fn split<'a>(expression: &'a str, word: &str) -> Vec<&'a str> {
        let mut parts = Vec::new();
        let (mut depth, mut start) = (0, 0);
        for (at, character) in expression.char_indices() {
            match character {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ if depth == 0 && expression[at..].starts_with(word) => {
                    parts.push(&expression[start..at]);
                    start = at + word.len();
                }
                _ => {}
            }
        }
        parts.push(&expression[start..]);
        parts
    }

    let expression = expression.trim();
    for word in [" OR ", "/"] {
        let choices = split(expression, word);
        if choices.len() > 1 {
            return choices.iter().any(|choice| is_allowed(choice, allowed));
        }
    }
    let all = split(expression, " AND ");
    if all.len() > 1 {
        return all.iter().all(|part| is_allowed(part, allowed));
    }
    match expression
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
    {
        Some(inner) => is_allowed(inner, allowed),
        None => allowed.contains(expression),
    }
}

#[test]
fn each_dependency_has_an_allowed_licence() {
    let allowed = rules().licenses.allow;
    let packages = tree(&["--format", "{p}|{l}"]);
    assert!(packages.len() > 300, "{}", packages.len());
    for package in &packages {
        let (name, licence) = package.split_once('|').unwrap();
        assert!(is_allowed(licence, &allowed), "{name}: {licence}");
    }
    for (expression, is_good) in [
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("MIT AND (GPL-3.0 OR ISC)", true),
        ("(MIT OR ISC) AND GPL-3.0", false),
        ("GPL-3.0", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), is_good, "{expression}");
    }
}

#[test]
fn no_banned_crate_is_built_and_the_tls_stack_has_one_version() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in tree(&["--format", "{p}"]) {
        let mut words = package.split(' ').map(str::to_owned);
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        versions.entry(name).or_default().insert(version);
    }
    for ban in rules().bans.deny {
        let built = versions.get(&ban.name);
        if ban.deny_multiple_versions {
            assert_eq!(built.map(BTreeSet::len), Some(1), "{}: {built:?}", ban.name);
        } else if ban.wrappers.is_empty() {
            assert_eq!(built, None, "{}", ban.name);
        } else {
            let users = tree(&["--invert", &ban.name, "--depth", "1", "--format", "{p}"]);
            let names = users.iter().filter_map(|line| line.split(' ').next());
            let users: BTreeSet<String> = names
                .filter(|name| *name != ban.name)
                .map(str::to_owned)
                .collect();
            assert_eq!(users, ban.wrappers, "{}", ban.name);
        }
    }
}

#[test]
fn dependencies_come_from_allowed_registries() {
    let allowed = rules().sources.allow_registry;
    let lock = fs::read_to_string(format!("{ROOT}/Cargo.lock")).unwrap();
    let sources = lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = "));
    let sources: BTreeSet<&str> = sources.map(|source| source.trim_matches('"')).collect();
    assert!(!sources.is_empty());
    for source in sources {
        let registry = source.strip_prefix("registry+");
        assert!(
            registry.is_some_and(|registry| allowed.contains(registry)),
            "{source}"
        );
    }
}
