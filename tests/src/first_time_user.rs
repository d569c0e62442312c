//! First-time user of `bank-client`: an empty home directory, a recorded terminal, and a browser.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use chrono::TimeDelta;
use fixtures::sandbox::customer::Customer;
use fixtures::world::{Bank, SampleCustomer};
use tempfile::TempDir;

use crate::banks::Banks;
use crate::programs::{own, system_of};
use crate::wait::wait_for;

pub struct FirstTimeUser {
    pub banks: Banks,
    pub home: TempDir,
    /// The transcript of the terminal, with captions in between, in Markdown.
    pub transcript: String,
}

impl FirstTimeUser {
    pub async fn start() -> Self {
        let newcomer = Self {
            banks: Banks::start().await,
            home: tempfile::tempdir().unwrap(),
            transcript: String::new(),
        };
        newcomer.install_browser();
        newcomer
    }

    /// A browser that writes down where it is sent.
    fn install_browser(&self) {
        let script = self.home.path().join("browser.sh");
        let visited = self.visited();
        fs::write(
            &script,
            format!("#!/bin/sh\necho \"$1\" >'{}'\n", visited.display()),
        )
        .unwrap();
        fs::create_dir_all(self.programs()).unwrap();
        // By a program: this process never opens the file that is run. A child that another test
        // forks would hold it open, and running it would fail (ETXTBSY).
        let installed = system_of("install", "coreutils")
            .args(["-m", "755"])
            .arg(&script)
            .arg(self.programs().join("xdg-open"))
            .status()
            .unwrap();
        assert!(installed.success());
        fs::remove_file(script).unwrap();
    }

    fn programs(&self) -> PathBuf {
        self.home.path().join("bin")
    }

    /// A file of the sandbox.
    pub fn sandbox(&self, file: &str) -> PathBuf {
        self.banks.folder.path().join(file)
    }

    /// The program, with nothing in its environment but home, width, and a browser that writes down
    /// where it is sent.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = own("bank-client");
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.programs().display()),
            )
            .env("COLUMNS", "120")
            .stdin(Stdio::null())
            .args(arguments);
        command
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command, and adds it to the transcript. Returns its output.
    pub fn types(&mut self, caption: &str, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let all = format!("{errors}{printed}");
        self.note(caption, arguments, &all);
        let code = output.status.code();
        if code != Some(0) {
            self.exit(code.unwrap());
        }
        all
    }

    fn exit(&mut self, code: i32) {
        let end = "```\n";
        assert!(self.transcript.ends_with(end));
        self.transcript.truncate(self.transcript.len() - end.len());
        self.transcript += &*format!("$ echo $?\n{code}\n{end}");
    }

    fn note(&mut self, caption: &str, arguments: &[&str], printed: &str) {
        let quoted = arguments.iter().map(|argument| {
            if argument.contains(' ') {
                format!("\"{argument}\"")
            } else {
                (*argument).to_owned()
            }
        });
        let typed = quoted.collect::<Vec<_>>().join(" ");
        let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
        let printed = printed.join("\n");
        self.transcript +=
            &format!("\n{caption}\n\n```console\n$ bank-client {typed}\n{printed}\n```\n");
    }

    /// Connects a bank; the customer approves in the browser. With `--print`, the address comes
    /// from the terminal, otherwise from the browser that was opened.
    pub async fn connects(&mut self, caption: &str, bank: Bank, arguments: &[&str]) {
        let (told, status) = self
            .approves([self.banks.customer(bank)], &mut self.command(arguments))
            .await;
        assert!(status.success(), "{told}");
        self.note(caption, arguments, &told);
    }

    /// Several customers approve one after another, each on a separate page. Returns the program's
    /// output and exit status.
    pub async fn approves<const N: usize>(
        &self,
        customers: [SampleCustomer; N],
        command: &mut Command,
    ) -> (String, ExitStatus) {
        let is_printed = command.get_args().any(|argument| argument == "--print");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = String::new();
        for who in customers {
            let page;
            (child, page) = read_page(child, &mut told);
            let page = if is_printed {
                page
            } else {
                let visited = self.visited();
                wait_for("the browser", || {
                    fs::read_to_string(&visited)
                        .ok()
                        .filter(|page| page.ends_with('\n'))
                })
                .await
                .trim()
                .to_owned()
            };
            let _ = fs::remove_file(self.visited());
            // Each code is good for one thing.
            self.banks.clock.advance(TimeDelta::seconds(30));
            let mut customer = Customer::new(who, self.banks.clock.clone());
            let came = customer.approve(&page).await.unwrap();
            assert!(
                came.status == 200 && came.html.contains("You can close this window"),
                "{came:?}"
            );
        }
        let output = tokio::task::spawn_blocking(|| child.wait_with_output())
            .await
            .unwrap()
            .unwrap();
        told += String::from_utf8(output.stderr).unwrap().as_str();
        told += String::from_utf8(output.stdout).unwrap().as_str();
        (told, output.status)
    }

    fn visited(&self) -> PathBuf {
        self.home.path().join("visited")
    }

    /// The transcript as it can be shown: with the folders of a newcomer, and the sandbox's usual
    /// ports.
    pub fn shown(&self) -> String {
        let mut shown = self.transcript.clone();
        let mut replace = |from: &str, to: &str| shown = shown.replace(from, to);
        let path = |path: &Path| path.display().to_string();
        replace(&path(self.home.path()), "/home/you");
        replace(&path(self.banks.folder.path()), "DIR");
        for (bank, port) in [(Bank::A, 1), (Bank::B, 2), (Bank::C, 3)] {
            let running = &self.banks.sandbox.bank(bank).running;
            let (xs2a, pages) = (
                running.xs2a_address(),
                running.online_banking_address().unwrap(),
            );
            replace(&format!(":{}", xs2a.port()), &format!(":{}", 8440 + port));
            replace(&format!(":{}", pages.port()), &format!(":{}", 8450 + port));
        }
        shown
    }
}

/// Adds the output of the program up to the address of the approval page. Returns that address.
fn read_page(mut child: Child, told: &mut String) -> (Child, String) {
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    loop {
        let mut line = String::new();
        if errors.read_line(&mut line).unwrap() == 0 {
            let mut printed = String::new();
            child
                .stdout
                .take()
                .unwrap()
                .read_to_string(&mut printed)
                .unwrap();
            panic!("no page: {told}{printed}");
        }
        *told += line.as_str();
        if line.starts_with("http") {
            // Nothing is behind it in the buffer yet: the program waits for the browser.
            child.stderr = Some(errors.into_inner());
            return (child, line.trim().to_owned());
        }
    }
}

/// The part of a transcript that is the same on every day and machine: input, captions, headers and
/// messages. Omits the rows of tables, and replaces all digits by the same one.
pub fn skeleton(transcript: &str) -> Vec<String> {
    let lines: Vec<&str> = transcript.lines().collect();
    let is_rule = |line: &str| !line.is_empty() && line.trim().chars().all(|letter| letter == '─');
    let kept = lines.iter().enumerate().filter(|(place, line)| {
        let header = lines.get(place + 1).is_some_and(|below| is_rule(below));
        let row = line.starts_with(' ') && !line.trim_start().starts_with("to do:");
        !is_rule(line) && (header || !row)
    });
    // The totals, their currencies, and whether running totals fit in depend on the day.
    let same = |line: &str| match line.split_once("total: ") {
        Some(("", _)) => "total: …".to_owned(),
        _ => alike(line.trim_end().trim_end_matches("total so far")),
    };
    kept.map(|(_, line)| same(line)).collect()
}

/// Normalises blanks to one, and figures and random values to one character.
fn alike(line: &str) -> String {
    let words: Vec<String> = line.split_whitespace().map(without_chance).collect();
    let mut alike = String::new();
    for letter in words.join(" ").chars() {
        match letter {
            '0'..='9' if alike.ends_with('#') => {}
            '0'..='9' => alike.push('#'),
            letter => alike.push(letter),
        }
    }
    alike
}

/// Without ids and serial numbers.
fn without_chance(word: &str) -> String {
    let is_part = |letter: char| letter.is_ascii_hexdigit() || letter == '-';
    let parts = word.split_inclusive(|letter| !is_part(letter));
    let parts = parts.map(
        |part| match part.trim_end_matches(|letter| !is_part(letter)) {
            id if id.len() >= 32 => part.replace(id, "…"),
            _ => part.to_owned(),
        },
    );
    parts.collect()
}
