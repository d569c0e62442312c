//! Shell script that runs `bank-client` against two banks.

use std::fs;
use std::process::{Command, Output};

use fixtures::sandbox::CUSTOMER;
use fixtures::world::Bank;
use serde_json::Value;

use crate::browser::code_of;
use crate::first_time_user::FirstTimeUser;
use crate::programs::both;

/// A program that sends requests to both banks, which it has connected without a browser.
pub struct Script(pub FirstTimeUser);

impl Script {
    pub async fn ready() -> Self {
        let script = Self(FirstTimeUser::start().await);
        for (bank, id) in [(Bank::A, "bank-a"), (Bank::B, "bank-b")] {
            let connected = script.connect(bank, id);
            assert!(connected.status.success(), "{}", both(&connected));
        }
        script
    }

    /// The customer's password and code go through us, on standard input.
    pub fn connect(&self, bank: Bank, id: &str) -> Output {
        self.connect_with(bank, id, &[])
    }

    /// Like `connect`, with more arguments.
    pub fn connect_with(&self, bank: Bank, id: &str, more: &[&str]) -> Output {
        let who = self.0.banks.customer(bank);
        self.0.banks.clock.advance(chrono::TimeDelta::seconds(30));
        let code = code_of(&self.0.banks, &who, 0);
        let answers = self.0.home.path().join("answers");
        fs::write(&answers, format!("{}\n{code}\n", who.password)).unwrap();
        let arguments = [
            "connect",
            id,
            "--approach",
            "embedded",
            "--psu-id",
            CUSTOMER,
        ];
        let mut command = self.command(&[&arguments, more].concat());
        command
            .stdin(fs::File::open(&answers).unwrap())
            .output()
            .unwrap()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.0.command(arguments);
        command.env("BANK_CLIENT_CONFIG", self.0.sandbox("bank-client.toml"));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", both(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.stdout(&[&["--json"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|fault| panic!("{fault}: {text}"))
    }
}
