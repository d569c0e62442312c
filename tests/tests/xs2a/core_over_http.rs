//! Core banking systems over HTTP: a bank with a reference core gives the answers that it gives with
//! its ledger; and what the reference cores refuse.

use std::fs;
use std::process::Output;

use bank_client::environment::{Clock as _, SystemClock};
use chrono::{Days, NaiveDate};
use fixtures::core_process::{CoreProcess, CoreProcessError, ReferenceCore};
use fixtures::pki::InternalPki;
use fixtures::world::{Bank, SampleAccount};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::banks::Banks;
use tests::http::Tpp;
use tests::ledger::{Ledger, payment, transaction_id};
use tests::programs::{both, system};
use tests::reference_core::CoreOfB;

/// A TPP's reads, at Bank B with its ledger and at a replica with a core: equal, but for the tokens
/// of next pages.
struct Comparison<'a> {
    banks: &'a Banks,
    ledger: Tpp,
    core: Tpp,
    consent: String,
}

impl Comparison<'_> {
    /// Reads at both; returns the answer, if they are equal.
    async fn read(&self, path: &str) -> Value {
        let [ledger, core] = self.both([path, path]).await;
        assert_eq!(core, ledger, "{path}");
        ledger.1
    }

    async fn both(&self, paths: [&str; 2]) -> [(u16, Value); 2] {
        let ledger = self.ledger.read(paths[0], &self.consent).await;
        let core = self.core.read(paths[1], &self.consent).await;
        [ledger, core].map(|response| (response.status, response.json()))
    }

    /// Reads all pages at both, which are equal one by one; returns the entries, pending ones first.
    async fn list(&self, path: &str) -> Vec<Value> {
        let mut entries = Vec::new();
        let mut next = Some([path.to_owned(), path.to_owned()]);
        while let Some([ledger, core]) = next {
            let [mut ledger, mut core] = self.both([&ledger, &core]).await;
            let following = [&mut ledger.1, &mut core.1].map(take_next);
            assert_eq!(core, ledger, "{path}");
            assert_eq!(ledger.0, 200, "{path}: {}", ledger.1);
            for part in ["pending", "booked"] {
                let list = &list_of(&mut ledger.1)[part];
                entries.extend(list.as_array().into_iter().flatten().cloned());
            }
            next = match following {
                [Some(ledger), Some(core)] => Some([ledger, core]),
                [None, None] => None,
                one => panic!("a next page at one of them: {one:?}"),
            };
        }
        entries
    }

    fn day(&self, ago: u64) -> NaiveDate {
        self.banks.today() - Days::new(ago)
    }

    /// Balances, lists of every form, single transactions and delta reports of an account.
    async fn account(&self, account: &SampleAccount) {
        let (kind, id) = if account.card {
            ("card-accounts", account.id)
        } else {
            ("accounts", account.id)
        };
        let base = format!("/v1/{kind}/{id}");
        self.read(&format!("{base}?withBalance=true")).await;
        let balances = self.read(&format!("{base}/balances")).await;
        assert_eq!(balances["balances"].as_array().unwrap().len(), 2);

        let all = format!(
            "{base}/transactions?dateFrom={}&bookingStatus",
            self.day(800)
        );
        let entries = self.list(&format!("{all}=both&pageSize=100")).await;
        assert_eq!(entries.len(), account.transactions, "{base}");
        let [pending, booked] = ["pending", "booked"].map(|status| format!("{all}={status}"));
        let parts = self.list(&pending).await.len() + self.list(&booked).await.len();
        assert_eq!(parts, entries.len(), "{base}");
        let days = format!("dateFrom={}&dateTo={}", self.day(40), self.day(9));
        for size in [1, 7] {
            let query = format!("bookingStatus=both&{days}&pageSize={size}");
            self.list(&format!("{base}/transactions?{query}")).await;
        }

        let name = |entry: &Value| match entry.get("entryReference") {
            Some(reference) => reference.as_str().unwrap().to_owned(),
            None => transaction_id(entry).to_owned(),
        };
        let booked = entries
            .iter()
            .filter(|entry| entry.get("bookingDate").is_some());
        let booked: Vec<&Value> = booked.collect();
        for since in [
            booked[0],
            booked[booked.len() / 50],
            booked[booked.len() / 20],
        ] {
            let query = format!("bookingStatus=both&entryReferenceFrom={}", name(since));
            self.list(&format!("{base}/transactions?{query}&pageSize=5"))
                .await;
        }
        self.read(&format!(
            "{base}/transactions?bookingStatus=both&entryReferenceFrom=none"
        ))
        .await;
        if !account.card {
            for entry in [booked[0], booked[booked.len() / 2]] {
                let id = transaction_id(entry);
                let read = self.read(&format!("{base}/transactions/{id}")).await;
                assert_eq!(
                    read["transactionsDetails"]["transactionDetails"]["transactionId"], id,
                    "{read}"
                );
            }
            self.read(&format!("{base}/transactions/none")).await;
        }
    }
}

fn list_of(page: &mut Value) -> &mut Value {
    let name = if page.get("transactions").is_some() {
        "transactions"
    } else {
        "cardTransactions"
    };
    &mut page[name]
}

/// Removes the link to the next page, whose token is sealed.
fn take_next(page: &mut Value) -> Option<String> {
    let links = list_of(page)["_links"].as_object_mut()?;
    let next = links.remove("next")?;
    Some(next["href"].as_str().unwrap().to_owned())
}

async fn answers_as_the_ledger(core: ReferenceCore) {
    let banks = Banks::start().await;
    let process = CoreOfB::start(core, &banks);
    let replica = process.replica_of_b(&banks).await;
    let ledger = banks.a_at_b();
    let comparison = Comparison {
        consent: banks.consent(&ledger).approved().await,
        core: Tpp::new(replica.xs2a_address(), ledger.identity.clone()),
        banks: &banks,
        ledger,
    };

    let accounts = comparison.read("/v1/accounts?withBalance=true").await;
    assert_eq!(accounts["accounts"].as_array().unwrap().len(), 3);
    let cards = comparison.read("/v1/card-accounts?withBalance=true").await;
    assert_eq!(cards["cardAccounts"].as_array().unwrap().len(), 1);
    for account in banks.accounts_at_b() {
        comparison.account(&account).await;
    }

    // The ledger is not read besides.
    let id = banks.accounts_at_b()[0].id.to_string();
    let entries = Ledger::of(&banks.sandbox.bank(Bank::B).running);
    entries
        .book(&id, "new", banks.today(), payment(-1, "Shop"))
        .await;
    let path = format!("/v1/accounts/{id}/transactions/new");
    let [ledger, core] = comparison.both([&path, &path]).await;
    assert_eq!((ledger.0, core.0), (200, 404));
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_in_python_answers_as_the_ledger() {
    answers_as_the_ledger(ReferenceCore::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_in_java_answers_as_the_ledger() {
    answers_as_the_ledger(ReferenceCore::Java).await;
}

/// The accounts of the example.
const ACCOUNT: &str = "5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11";
const CARD: &str = "0d7a3b52-3c1f-4c58-8b57-6a1a5e0d2f22";

/// The example of `docs/world-file.md`.
fn example() -> &'static str {
    let text = include_str!("../../../docs/world-file.md");
    let (_, example) = text.rsplit_once("```json\n").unwrap();
    example.split_once("```").unwrap().0
}

/// Both reference cores, on the example.
fn cores() -> ([CoreOfB; 2], TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let world = folder.path().join("world.jsonl");
    fs::write(&world, example()).unwrap();
    let cores = ReferenceCore::ALL.map(|core| CoreOfB::on(core, &world, folder.path()));
    (cores, folder)
}

/// Sends a request with curl, with the certificate of that name.
fn curl(core: &CoreOfB, certificate: Option<&str>, arguments: &[&str], path: &str) -> Output {
    let file = |name: &str| core.pki.join(name);
    let mut curl = system("curl");
    curl.args(["-sS", "-w", "\n%{http_code}", "--cacert"])
        .arg(file("root.pem"));
    if let Some(name) = certificate {
        curl.arg("--cert").arg(file(&format!("{name}.pem")));
        curl.arg("--key").arg(file(&format!("{name}.key")));
    }
    let url = format!("{}{path}", core.process.url());
    curl.args(arguments).arg(url).output().unwrap()
}

/// The status and the JSON of an answer to the bank.
fn answer(core: &CoreOfB, arguments: &[&str], path: &str) -> (u16, Value) {
    let output = curl(core, Some("client"), arguments, path);
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    let (body, status) = printed
        .rsplit_once('\n')
        .unwrap_or_else(|| panic!("{}", both(&output)));
    let body = serde_json::from_str(body).unwrap_or_else(|fault| panic!("{fault}: {body}"));
    (status.parse().unwrap(), body)
}

#[test]
fn cores_refuse_callers_without_a_certificate_of_their_authority() {
    let (cores, folder) = cores();
    let foreign = InternalPki::make("Mallory", SystemClock.now()).unwrap();
    foreign.write(&folder.path().join("foreign")).unwrap();
    for core in &cores {
        for suffix in ["pem", "key"] {
            let from = folder.path().join(format!("foreign/client.{suffix}"));
            fs::copy(from, core.pki.join(format!("foreign.{suffix}"))).unwrap();
        }
        for certificate in [None, Some("foreign")] {
            let refused = curl(core, certificate, &[], "/v1/ready");
            assert!(
                !refused.status.success(),
                "{certificate:?}: {}",
                both(&refused)
            );
        }
        let tls_1_1 = ["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"];
        let refused = curl(core, Some("client"), &tls_1_1, "/v1/ready");
        assert!(!refused.status.success(), "{}", both(&refused));
        for version in [
            ["--tlsv1.2", "--tls-max", "1.2"],
            ["--tlsv1.3", "--tls-max", "1.3"],
        ] {
            let ready = answer(core, &version, "/v1/ready");
            assert_eq!(ready, (200, json!({ "version": "1.0" })));
        }
    }
}

#[test]
fn cores_answer_a_request_that_breaks_the_contract_with_its_fault() {
    let (cores, _folder) = cores();
    let page = json!({
        "accountId": ACCOUNT,
        "dateFrom": "2026-10-01", "dateTo": "2026-10-31", "bookingStatus": "both", "limit": 10,
    });
    let changed = |name: &str, value: Value| {
        let mut changed = page.clone();
        changed[name] = value;
        changed.to_string()
    };
    let deep = "[".repeat(100_000);
    let pages = [
        changed("limit", json!(0)),
        changed("limit", json!(1001)),
        changed("limit", json!("10")),
        changed("limit", json!(true)),
        changed("limit", Value::Null),
        changed("dateFrom", json!("2026-02-30")),
        changed("bookingStatus", json!("all")),
        changed("after", json!({ "booked": true, "date": "2026-10-28" })),
        changed("arrivedAfter", json!(9_223_372_036_854_775_808_u64)),
        changed("accountId", json!(["x"])),
        String::new(),
        "[]".to_owned(),
        page.to_string() + "x",
        deep,
    ];
    let twice = json!({ "accountIds": ["a", "a"] }).to_string();
    let many: Vec<String> = (0..1001).map(|number| number.to_string()).collect();
    let many = json!({ "accountIds": many }).to_string();
    let large = "x".repeat(2 * 1024 * 1024);
    for core in &cores {
        let post = |path: &str, body: &str| {
            let file = core.pki.join("body");
            fs::write(&file, body).unwrap();
            answer(
                core,
                &["--data-binary", &format!("@{}", file.display())],
                path,
            )
        };
        let good = post("/v1/transactions", &page.to_string());
        assert_eq!(
            (good.0, good.1["entries"].as_array().unwrap().len()),
            (200, 3)
        );
        for body in &pages {
            let (status, told) = post("/v1/transactions", body);
            let told = told["error"].as_str().unwrap();
            assert_eq!(status, 400, "{body:.60}: {told}");
            assert!(
                !told.is_empty() && told.len() < 200 && !told.contains("Traceback"),
                "{told}"
            );
        }
        for body in [&twice, &many] {
            assert_eq!(post("/v1/balances", body).0, 400, "{body:.60}");
        }
        assert_eq!(post("/v1/balances", &large).0, 413);
        assert_eq!(post("/v1/balances/", "{}").0, 404);
        assert_eq!(post("/v1/balance", "{}").0, 404);
        assert_eq!(post("/v1/ready", "{}").0, 405);
        assert_eq!(answer(core, &[], "/v1/balances").0, 405);
    }
}

/// As the import into the ledger does.
#[test]
fn cores_work_out_balances() {
    let (cores, _folder) = cores();
    let ids = [ACCOUNT, CARD, "none"];
    let balance = |kind: &str, amount: &str, day: &str| {
        json!({
            "balanceType": kind, "referenceDate": day,
            "balanceAmount": { "currency": "EUR", "amount": amount },
        })
    };
    let of_account = [("interimBooked", "1250.50"), ("expected", "1238.50")];
    let of_card = [("interimBooked", "-80.00"), ("nonInvoiced", "-80.00")];
    let expected = json!({ "balances": [
        { "accountId": ACCOUNT, "balances": of_account.map(|(kind, sum)| balance(kind, sum, "2026-10-28")) },
        { "accountId": CARD, "balances": of_card.map(|(kind, sum)| balance(kind, sum, "2026-10-20")) },
        { "accountId": "none", "balances": [] },
    ] });
    let query = json!({ "accountIds": ids }).to_string();
    for core in &cores {
        assert_eq!(
            answer(core, &["-d", &query], "/v1/balances"),
            (200, expected.clone())
        );
    }
}

#[test]
fn cores_find_texts_without_regard_to_case() {
    let (cores, _folder) = cores();
    let found = [
        (" ORDER 44 ", vec!["2"]),
        ("holm & sons", vec!["1"]),
        ("of another", vec![]),
    ];
    for core in &cores {
        for (text, expected) in &found {
            let query = json!({
                "accountId": ACCOUNT, "text": text, "limit": 10,
                "dateFrom": "2026-10-01", "dateTo": "2026-10-31", "bookingStatus": "both",
            });
            let (status, page) = answer(core, &["-d", &query.to_string()], "/v1/transactions");
            let entries = page["entries"].as_array().unwrap().iter();
            let ids = entries.map(|entry| transaction_id(&entry["details"]));
            assert_eq!((status, ids.collect()), (200, expected.clone()), "{text}");
        }
    }
}

#[test]
fn a_core_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let world = folder.path().join("world.jsonl");
    let (before, _) = example().rsplit_once("-80.00").unwrap();
    fs::write(&world, format!("{before}minus eighty\"}}}}}}}}\n")).unwrap();
    let pki = InternalPki::make("Bank B", SystemClock.now()).unwrap();
    pki.write(folder.path()).unwrap();
    for core in ReferenceCore::ALL {
        let error = CoreProcess::start(core, &world, folder.path()).unwrap_err();
        let CoreProcessError::Ended { output, .. } = &error else {
            panic!("{error}");
        };
        assert!(output.contains("world.jsonl, line 8: "), "{output}");
        assert!(
            !output.contains("Traceback") && !output.contains("\tat "),
            "{output}"
        );
    }
}
