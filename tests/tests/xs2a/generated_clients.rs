//! Our document of the interface before tools of others: a validator, and generators whose clients
//! read accounts over mutual TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::banks::Banks;
use tests::programs::{both, system_of, unpacked};

const VALIDATOR: &str = "pip:openapi-spec-validator@0.9.0";
const PYTHON: &str = "pip:openapi-python-client@0.29.1";
const TYPESCRIPT: &str =
    "npm:openapi-typescript@7.13.0,openapi-fetch@0.17.0,typescript@5.9.3,undici@6.29.1";

/// Runs it, and returns what it prints; it has to succeed.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", both(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A bank, a consent that opens all of a customer's accounts, and a folder with the bank's
/// document.
struct Scene {
    banks: Banks,
    consent: String,
    folder: TempDir,
}

impl Scene {
    async fn set() -> Self {
        let banks = Banks::start().await;
        let tpp = banks.a_at_b();
        let created = banks.consent(&tpp).ask().await.json();
        let consent = created["consentId"].as_str().unwrap().to_owned();
        banks.approve(&tpp, &consent).await;
        let folder = tempfile::tempdir().unwrap();
        let document = tpp.get("/openapi.json", &[]).await.body;
        fs::write(folder.path().join("openapi.json"), document).unwrap();
        Self {
            banks,
            consent,
            folder,
        }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Input of a client: address, authority, certificate, key and consent.
    fn told(&self, client: &mut Command) {
        let pki = self.banks.folder.path().join("pki");
        let files = ["ca1/root.pem", "bank-a/qwac.pem", "bank-a/qwac.key"];
        client
            .current_dir(self.folder.path())
            .arg(self.banks.sandbox.bank(fixtures::world::Bank::B).url())
            .args(files.map(|file| pki.join(file)))
            .arg(&self.consent);
    }

    /// What a client has to print: the accounts with their balances, the booked entries of the
    /// first since a year ago, and why a consent that does not exist opens nothing.
    async fn expected(&self) -> Value {
        let tpp = self.banks.a_at_b();
        let read = async |path: &str| tpp.read(path, &self.consent).await.json();
        let list = read("/v1/accounts?withBalance=true").await;
        let accounts: Vec<Value> = list["accounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|account| {
                let balance = &account["balances"][0]["balanceAmount"];
                json!([account["iban"], balance["amount"], balance["currency"]])
            })
            .collect();
        assert!(accounts.len() > 1, "{list}");
        let id = list["accounts"][0]["resourceId"].as_str().unwrap();
        let path = format!(
            "/v1/accounts/{id}/transactions?dateFrom={}&bookingStatus=booked",
            self.first_day()
        );
        let page = read(&path).await;
        let booked: Vec<&Value> = page["transactions"]["booked"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| &entry["bookingDate"])
            .collect();
        assert!(booked.len() > 1, "{page}");
        let refused = tpp.read("/v1/accounts", "none").await.json();
        json!({ "accounts": accounts, "booked": booked, "refused": refused["tppMessages"][0]["code"] })
    }

    fn first_day(&self) -> String {
        (self.banks.today() - chrono::Days::new(60)).to_string()
    }

    async fn reads(&self, client: &mut Command) {
        self.told(client);
        let printed = printed(client.arg(self.first_day()));
        let found: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(found, self.expected().await);
    }
}

fn python(package: &str) -> Command {
    Command::new(unpacked(package).join("bin/python"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let validate = |text: &str| {
        let path = folder.path().join("openapi.json");
        fs::write(&path, text).unwrap();
        let mut validator = python(VALIDATOR);
        validator.args(["-m", "openapi_spec_validator"]).arg(path);
        validator.output().unwrap()
    };
    let text = bank_server::xs2a::openapi_document();
    let core = bank_server::core_banking::http::core_banking_api();
    let sca_methods = bank_server::sca::external::http::sca_methods_api();
    for text in [&text, &core, &sca_methods] {
        let valid = validate(text);
        assert!(valid.status.success(), "{}", both(&valid));
        assert!(!text.contains("\"null\""), "what is not said is left out");
    }

    // What the validator does not look at.
    let mut document: Value = serde_json::from_str(&text).unwrap();
    for operation in document["paths"].as_object().unwrap().values() {
        for operation in operation.as_object().unwrap().values() {
            let responses = operation["responses"].as_object().unwrap();
            for status in ["400", "401", "429", "500", "503"] {
                let body = &responses[status]["content"]["application/json"]["schema"];
                assert_eq!(
                    body["$ref"], "#/components/schemas/TppMessages",
                    "{operation}"
                );
            }
            for parameter in operation["parameters"].as_array().unwrap() {
                let (what, form) = match parameter["name"].as_str().unwrap() {
                    "X-Request-ID" => (
                        "pattern",
                        "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
                    ),
                    "dateFrom" | "dateTo" => ("format", "date"),
                    _ => continue,
                };
                assert_eq!(parameter["schema"][what], form, "{parameter}");
            }
        }
    }

    // It does look.
    let responses = &mut document["paths"]["/v1/accounts"]["get"]["responses"];
    responses["200"]
        .as_object_mut()
        .unwrap()
        .remove("description");
    assert!(!validate(&document.to_string()).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_python_reads_accounts() {
    let scene = Scene::set().await;
    let settings = scene.write("settings.yaml", "post_hooks: []\n");
    let mut generator = python(PYTHON);
    generator
        .args([
            "-m",
            "openapi_python_client",
            "generate",
            "--meta",
            "none",
            "--fail-on-warning",
        ])
        .args([
            "--path",
            "openapi.json",
            "--output-path",
            "xs2a_client",
            "--config",
        ])
        .arg(settings);
    printed(generator.current_dir(scene.folder.path()));
    let program = scene.write(
        "read_accounts.py",
        include_str!("generated_clients/read_accounts.py"),
    );
    scene.reads(python(PYTHON).arg(program)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_typescript_reads_accounts() {
    let scene = Scene::set().await;
    let modules = unpacked(TYPESCRIPT).join("node_modules");
    std::os::unix::fs::symlink(&modules, scene.folder.path().join("node_modules")).unwrap();
    let node = |script: &Path| {
        let mut node = system_of("node", "nodejs");
        node.arg(script).current_dir(scene.folder.path());
        node
    };
    let mut generator = node(&modules.join("openapi-typescript/bin/cli.js"));
    printed(generator.args(["openapi.json", "--output", "interface.ts"]));
    scene.write("client.ts", include_str!("generated_clients/client.ts"));
    let options = json!({
        "strict": true, "target": "es2022", "module": "nodenext", "lib": ["es2022", "dom"], "types": [],
    });
    let settings = json!({ "compilerOptions": options, "files": ["client.ts"] });
    scene.write("tsconfig.json", &settings.to_string());
    scene.write("package.json", r#"{ "type": "module" }"#);
    printed(&mut node(&modules.join("typescript/bin/tsc")));
    let program = scene.write(
        "read_accounts.js",
        include_str!("generated_clients/read_accounts.js"),
    );
    scene.reads(&mut node(&program)).await;
}
