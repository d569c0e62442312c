//! Running `sandbox` program: its output and its folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use bank_client::environment::{Randomness as _, SystemRandomness};
use fixtures::browser::{Browser, Page};
use serde_json::{Value, json};

use crate::child_process::ChildProcess;
use crate::programs::{both, own, system};

pub struct RunningSandbox {
    pub child: ChildProcess,
    pub folder: PathBuf,
    /// Its output, up to the lines to try.
    pub printed: String,
}

impl RunningSandbox {
    /// Starts it in that folder, at ports that the system chooses, and waits until it has printed
    /// all.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        let child = ChildProcess::spawn(
            own("sandbox")
                .args(["--port-base", "0", "--dir"])
                .arg(folder)
                .args(arguments)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let mut printed = String::new();
        while !printed.contains("  export BANK_CLIENT_CONFIG=")
            || !printed.ends_with("--with-balance\n")
        {
            printed += &child.line(|line| Some(format!("{line}\n")));
        }
        Self {
            child,
            folder: folder.to_owned(),
            printed,
        }
    }

    pub fn description(&self) -> Value {
        let text = std::fs::read(self.folder.join("sandbox.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Address of the pages of the bank of that key.
    pub fn pages(&self, bank: &str) -> String {
        let description = self.description();
        description["banks"][bank]["pages"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Password and code of a customer, in lines such as it prints below the name of a bank.
    pub fn log_in_of(lines: &str, bank: &str, customer: &str) -> (String, String) {
        let (_, below) = lines.split_once(&format!("{bank}: http")).unwrap();
        let line = below
            .lines()
            .find(|line| line.trim_start().starts_with(customer));
        let words: Vec<&str> = line.unwrap().split_whitespace().collect();
        let after = |word: &str| {
            let place = words.iter().position(|known| *known == word).unwrap();
            words[place + 1].to_owned()
        };
        (after("password"), after("code"))
    }

    /// The output of `sandbox codes`.
    pub fn codes(&self) -> String {
        let codes = own("sandbox")
            .arg("codes")
            .arg(&self.folder)
            .output()
            .unwrap();
        let note = String::from_utf8_lossy(&codes.stderr);
        assert!(
            codes.status.success()
                && note.starts_with("note: each code is valid for a minute and for one use"),
            "{codes:?}"
        );
        String::from_utf8(codes.stdout).unwrap()
    }

    /// Sends a request of Budget App to a bank with curl, as the README does. Returns the response
    /// as JSON.
    pub fn asks(&self, bank: &str, arguments: &[&str]) -> Value {
        self.asks_as("budget-app", bank, arguments)
    }

    /// Sends a request of a party. The argument without a blank, dash or brace before it is the
    /// path.
    pub fn asks_as(&self, party: &str, bank: &str, arguments: &[&str]) -> Value {
        let file = |name: &str| self.folder.join("pki").join(name);
        let base = self.description()["banks"][bank]["xs2a"].clone();
        let base = format!("{}/v1/", base.as_str().unwrap());
        let starts = ["consents", "accounts"];
        let arguments = arguments.iter().map(|argument| {
            if starts.iter().any(|start| argument.starts_with(start)) {
                format!("{base}{argument}")
            } else {
                (*argument).to_owned()
            }
        });
        let answer = system("curl")
            .args([
                "-sS",
                "-H",
                &format!("X-Request-ID: {}", SystemRandomness.uuid()),
            ])
            .args(["-H", "Content-Type: application/json"])
            .arg("--cacert")
            .arg(file("ca1/root.pem"))
            .arg("--cert")
            .arg(file(&format!("{party}/qwac.pem")))
            .arg("--key")
            .arg(file(&format!("{party}/qwac.key")))
            .args(arguments)
            .output()
            .unwrap();
        serde_json::from_slice(&answer.stdout)
            .unwrap_or_else(|fault| panic!("{fault}: {}", both(&answer)))
    }

    /// A consent request for the current account of a customer.
    pub fn wanted(&self, bank: &str, customer: &str) -> String {
        let description = self.description();
        let customers = description["banks"][bank]["customers"].as_array().unwrap();
        let known = customers
            .iter()
            .find(|known| known["id"] == customer)
            .unwrap();
        let iban = &known["accounts"][0]["iban"];
        json!({
            "access": { "accounts": [{ "iban": iban }] },
            "recurringIndicator": true,
            "validUntil": "9999-12-31",
            "frequencyPerDay": 4,
            "combinedServiceIndicator": false,
        })
        .to_string()
    }
}

/// Logs in at that address with id, password and code, and presses the button of the page that
/// follows, if one is named. The page is where that has led.
pub async fn enter(
    browser: &mut Browser,
    address: &str,
    customer: &str,
    (password, code): &(String, String),
    then: Option<&str>,
) -> Page {
    let page = browser.open(address).await.unwrap();
    let form = page.form("Log in").unwrap();
    let form = form.with("customer", customer).with("password", password);
    let page = browser.submit(&form.with("code", code)).await.unwrap();
    match then {
        Some(button) => browser.submit(&page.form(button).unwrap()).await.unwrap(),
        None => page,
    }
}
