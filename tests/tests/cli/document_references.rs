//! References in documents: links, paths, commands with their options, types. And the documents'
//! form.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tests::programs::{both, own};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The programs of this repository that documents call.
const PROGRAMS: [&str; 4] = ["bank-client", "bank-server", "sandbox", "scheme-ca"];

/// A Markdown file.
struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    /// All documents of the repository.
    fn all() -> Vec<Self> {
        let folders = ["", "docs", "docs/adr", "tests", "bank-client/fuzz"];
        let files = folders.iter().flat_map(|folder| {
            let folder = Path::new(ROOT).join(folder);
            fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
        });
        files
            .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
            .map(|path| Self {
                text: fs::read_to_string(&path).unwrap(),
                path,
            })
            .collect()
    }

    fn read(path: &str) -> Self {
        let path = Path::new(ROOT).join(path);
        let text = fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    fn name(&self) -> String {
        self.path.strip_prefix(ROOT).unwrap().display().to_string()
    }

    /// The text between fences, and outside of them.
    fn parts(&self) -> impl Iterator<Item = (bool, &str)> {
        let parts = self.text.split("```").enumerate();
        parts.map(|(index, part)| (index % 2 == 1, part))
    }

    /// Targets of links.
    fn links(&self) -> impl Iterator<Item = &str> {
        let prose = self.parts().filter(|(is_code, _)| !is_code);
        prose.flat_map(|(_, part)| {
            let links = part.split("](").skip(1);
            links.filter_map(|rest| rest.split(')').next())
        })
    }

    /// Anchors of headings, as GitHub makes them.
    fn anchors(&self) -> Vec<String> {
        let prose = self.parts().filter(|(is_code, _)| !is_code);
        let headings =
            prose.flat_map(|(_, part)| part.lines().filter(|line| line.starts_with('#')));
        headings
            .map(|heading| {
                let words = heading.trim_start_matches('#').trim().to_lowercase();
                words
                    .chars()
                    .filter(|character| character.is_alphanumeric() || " -_".contains(*character))
                    .map(|character| if character == ' ' { '-' } else { character })
                    .collect()
            })
            .collect()
    }

    /// Words that start with a folder of the repository.
    fn paths(&self) -> Vec<&str> {
        let folders = [
            "bank-client",
            "bank-server",
            "docs",
            "fixtures",
            "shared-types",
            "tests",
        ];
        let words = self.text.split(|character: char| {
            character.is_whitespace() || "`()[]{},;:\"'=<>|*…".contains(character)
        });
        words
            .map(|word| word.trim_end_matches(['.', '/']))
            .filter(|word| {
                let folder = word.split_once('/').map(|(folder, _)| folder);
                folder.is_some_and(|folder| folders.contains(&folder) || folder == ".ci")
            })
            .collect()
    }

    /// Commands of shell blocks and of inline code, each as words.
    fn commands(&self) -> Vec<Vec<String>> {
        let mut lines: Vec<String> = Vec::new();
        for (is_code, part) in self.parts() {
            if let Some(block) = part.strip_prefix("sh\n").filter(|_| is_code) {
                let block = block.replace("\\\n", " ");
                let commands = block.lines().filter_map(|line| line.split(" #").next());
                lines.extend(commands.map(str::to_owned));
            } else if !is_code {
                let inline = part.split('`').skip(1).step_by(2);
                lines.extend(inline.map(|code| code.replace('\n', " ")));
            }
        }
        lines
            .iter()
            .flat_map(|line| line.split(['|', ';', '&', '(', ')']))
            .map(|command| {
                let words = command.split_whitespace();
                let words = words.skip_while(|word| word.contains('=') || *word == "sudo");
                words.map(str::to_owned).collect()
            })
            .collect()
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for document in Document::all() {
        for link in document.links().filter(|link| !link.starts_with("http")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = document.path.parent().unwrap().join(file);
            let target = if file.is_empty() {
                document.path.clone()
            } else {
                target
            };
            assert!(target.exists(), "{}: {link}", document.name());
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let there = Document { path: target, text }.anchors();
                assert!(
                    there.iter().any(|one| one == anchor),
                    "{}: {link}",
                    document.name()
                );
            }
            links += 1;
        }
    }
    assert!(links > 50, "{links}");
}

#[test]
fn every_path_exists() {
    let mut paths = 0;
    for document in Document::all() {
        for path in document.paths() {
            // `bank-client/keyring` is a feature, for Cargo.
            let is_feature = || {
                let (package, feature) = path.split_once('/').unwrap();
                fs::read_to_string(format!("{ROOT}/{package}/Cargo.toml"))
                    .is_ok_and(|manifest| manifest.contains(&format!("\n{feature} = [")))
            };
            let exists = Path::new(ROOT).join(path).exists() || is_feature();
            assert!(exists, "{}: {path}", document.name());
            paths += 1;
        }
    }
    assert!(paths > 100, "{paths}");
}

/// The subcommands and options of our programs, as their help shows them.
#[derive(Default)]
struct Help(BTreeMap<Vec<String>, String>);

impl Help {
    fn of(&mut self, program: &str, subcommands: &[&str]) -> &str {
        let key: Vec<String> = std::iter::once(&program)
            .chain(subcommands)
            .map(|word| (*word).to_owned())
            .collect();
        self.0.entry(key).or_insert_with(|| {
            let help = own(program)
                .args(subcommands)
                .arg("--help")
                .output()
                .unwrap();
            assert!(help.status.success(), "{}", both(&help));
            both(&help)
        })
    }

    fn subcommands(&mut self, program: &str) -> BTreeSet<String> {
        commands_of(self.of(program, &[]))
    }

    /// Reason for which the program refuses these arguments, if it does.
    fn problem(&mut self, program: &str, words: &[String]) -> Option<String> {
        let subcommands = self.subcommands(program);
        let subcommand = words.iter().find(|word| subcommands.contains(*word));
        let first = words.first().filter(|word| !word.starts_with('-'));
        if let (None, Some(first)) = (subcommand, first) {
            return Some(format!("{program} has no command {first}"));
        }
        let mut help = self.of(program, &[]).to_owned();
        if let Some(subcommand) = subcommand {
            let own = self.of(program, &[subcommand.as_str()]).to_owned();
            let nested = commands_of(&own);
            help += &own;
            if let Some(nested) = words.iter().find(|word| nested.contains(*word)) {
                help += self.of(program, &[subcommand.as_str(), nested.as_str()]);
            }
        }
        let mut options = words
            .iter()
            .filter(|word| word.starts_with("--") && word.len() > 2);
        let unknown = options.find(|option| !help.contains(option.as_str()))?;
        Some(format!("{program} has no option {unknown}"))
    }
}

/// The commands that a help text lists.
fn commands_of(help: &str) -> BTreeSet<String> {
    let (_, commands) = help.split_once("Commands:\n").unwrap_or_default();
    let names = commands.lines().take_while(|line| line.starts_with("  "));
    names
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn has_source(folder: &str, name: &str) -> bool {
    let crates = ["bank-client", "bank-server", "fixtures"];
    crates.iter().any(|package| {
        let path = Path::new(ROOT).join(package).join(folder).join(name);
        path.with_extension("rs").is_file()
    })
}

/// Whether a test binary has that module, and a test whose name starts so, as a filter says.
fn has_tests(binary: &str, filter: &str) -> bool {
    let folder = Path::new(ROOT).join("tests/tests").join(binary);
    let (module, test) = filter.split_once("::").unwrap_or((filter, ""));
    let source = match module {
        "" => return folder.is_dir() || folder.with_extension("rs").is_file(),
        module => fs::read_to_string(folder.join(module).with_extension("rs")),
    };
    source.is_ok_and(|source| source.contains(&format!("fn {test}")))
}

/// Reason for which Cargo would refuse these arguments, if it would.
fn cargo_problem(words: &[String]) -> Option<String> {
    let manifest = fs::read_to_string(format!("{ROOT}/Cargo.toml")).unwrap();
    let mut pairs = words.iter().zip(words.iter().skip(1));
    let (option, value) = pairs.find(|(option, value)| {
        let exists = match option.as_str() {
            "--test" => has_tests(value, ""),
            "--bin" => {
                has_source("src/bin", value)
                    || Path::new(ROOT).join(value).join("src/main.rs").is_file()
            }
            "--example" => has_source("examples", value),
            "-p" => Path::new(ROOT).join(value).join("Cargo.toml").is_file(),
            "--profile" => manifest.contains(&format!("[profile.{value}]")),
            _ => true,
        };
        !exists
    })?;
    Some(format!("nothing for {option} {value}"))
}

#[test]
fn every_command_exists_with_its_options() {
    let mut help = Help::default();
    let mut checked = 0;
    for document in Document::all() {
        for command in document.commands() {
            let command = match command.first().map(String::as_str) {
                Some("tests/postgres") => &command[1..],
                _ => &command[..],
            };
            let Some((program, words)) = command.split_first() else {
                continue;
            };
            let program = match program.as_str() {
                "fixtures/sandbox" => "sandbox",
                program => program,
            };
            let problem = if PROGRAMS.contains(&program) {
                help.problem(program, words)
            } else if ["cargo", "tests/run"].contains(&program) {
                let filtered = words.windows(3).find(|three| {
                    three[0] == "--test"
                        && !three[2].starts_with('-')
                        && !has_tests(&three[1], &three[2])
                });
                let missing = filtered.map(|three| format!("no tests {} {}", three[1], three[2]));
                missing.or_else(|| cargo_problem(words))
            } else {
                continue;
            };
            assert_eq!(problem, None, "{}: {command:?}", document.name());
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn documents_of_the_program_are_what_it_prints() {
    for (command, file) in [
        (["config", "--reference"], "docs/configuration.md"),
        (["core", "api"], "docs/core-banking-api.json"),
        (["sca-methods", "api"], "docs/sca-methods-api.json"),
    ] {
        let printed = own("bank-server").args(command).output().unwrap();
        assert!(printed.status.success(), "{}", both(&printed));
        let written = fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
        assert!(
            String::from_utf8_lossy(&printed.stdout) == written,
            "run `bank-server {} > {file}`, and look at what changed",
            command.join(" ")
        );
    }
}

#[test]
fn every_type_of_the_glossary_exists() {
    fn sources(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                *text += &fs::read_to_string(&path).unwrap();
            }
        }
    }

    let mut text = String::new();
    for package in ["shared-types", "bank-client", "bank-server", "fixtures"] {
        sources(&Path::new(ROOT).join(package).join("src"), &mut text);
    }
    let declared: BTreeSet<&str> = text
        .split_whitespace()
        .zip(text.split_whitespace().skip(1))
        .filter(|(keyword, _)| ["struct", "enum", "trait"].contains(keyword))
        .filter_map(|(_, name)| name.split(|one: char| !one.is_alphanumeric()).next())
        .collect();
    let glossary = Document::read("docs/glossary.md").text;
    let mut terms = Vec::new();
    for row in glossary
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
    {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [term, meaning, _, types] = cells[..] else {
            panic!("{row}");
        };
        assert!(!meaning.is_empty(), "{row}");
        for name in types.split('`').skip(1).step_by(2) {
            assert!(declared.contains(name), "{term}: {name}");
        }
        terms.push(term.to_lowercase());
    }
    assert!(terms.len() > 30 && terms.is_sorted(), "{terms:?}");
}

#[test]
fn decisions_are_numbered_and_have_one_form() {
    let mut names: Vec<String> = fs::read_dir(Path::new(ROOT).join("docs/adr"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    for (index, name) in names.iter().enumerate() {
        let number = format!("{:04}", index + 1);
        assert!(name.starts_with(&format!("{number}-")), "{name}");
        let text = Document::read(&format!("docs/adr/{name}")).text;
        assert!(text.starts_with(&format!("# {number}: ")), "{name}");
        let headings: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("## "))
            .collect();
        assert_eq!(
            headings,
            ["## Context", "## Decision", "## Consequences"],
            "{name}"
        );
    }
}

#[test]
fn the_readme_is_short() {
    let lines = Document::read("README.md").text.lines().count();
    assert!(lines <= 200, "{lines}");
}
