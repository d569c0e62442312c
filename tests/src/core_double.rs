//! Core banking system over plain HTTP on loopback, with one account, which answers honestly until
//! it is given a fault.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bank_server::config::CoreBankingConfig;
use chrono::{Days, NaiveDate};
use fixtures::sandbox::CUSTOMER;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// Response to a request in place of the honest answer, which comes along. `None`: that answer.
pub type Fault = Box<dyn Fn(&Request, &Value) -> Option<ResponseTemplate> + Send>;

/// The core, and its present fault.
pub struct CoreDouble {
    server: MockServer,
    fault: Arc<Mutex<Option<Fault>>>,
    /// Address at which the bank reaches it.
    address: SocketAddr,
    /// Whether connections close, as with a process that has ended.
    dead: watch::Sender<bool>,
}

impl CoreDouble {
    /// Starts it, with that account and thirty booked entries, one for each day until `today`, and
    /// one pending.
    pub async fn start(account: &str, today: NaiveDate) -> Self {
        let server = MockServer::start().await;
        let fault: Arc<Mutex<Option<Fault>>> = Arc::default();
        let (shared, account) = (Arc::clone(&fault), account.to_owned());
        let respond = move |request: &Request| {
            let answer = honest(request, &account, today);
            let fault = shared.lock().unwrap();
            let faulty = fault.as_ref().and_then(|fault| fault(request, &answer));
            faulty.unwrap_or_else(|| ResponseTemplate::new(200).set_body_json(answer))
        };
        Mock::given(any())
            .respond_with(respond)
            .mount(&server)
            .await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (dead, state) = watch::channel(false);
        tokio::spawn(relay(listener, *server.address(), state));
        Self {
            server,
            fault,
            address,
            dead,
        }
    }

    /// Closes all connections, and each new one at once.
    pub fn die(&self) {
        self.dead.send_replace(true);
    }

    /// Takes connections again.
    pub fn revive(&self) {
        self.dead.send_replace(false);
    }

    /// Gives it a fault.
    pub fn fail(
        &self,
        fault: impl Fn(&Request, &Value) -> Option<ResponseTemplate> + Send + 'static,
    ) {
        *self.fault.lock().unwrap() = Some(Box::new(fault));
    }

    /// Takes the fault away.
    pub fn recover(&self) {
        *self.fault.lock().unwrap() = None;
    }

    /// The address at which the bank reaches it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Text of section `[core_banking]` for it, with a timeout of one second.
    pub fn section_text(&self) -> String {
        format!(
            "url = \"http://{}\"\nresponse_timeout_seconds = 1\ndeltas = true\ntext_search = true\n",
            self.address
        )
    }

    /// The same, parsed.
    pub fn section(&self) -> CoreBankingConfig {
        toml::from_str(&self.section_text()).unwrap()
    }

    /// The requests so far.
    pub async fn requests(&self) -> Vec<Request> {
        self.server.received_requests().await.unwrap()
    }
}

/// Relays connections to the server as long as it is not dead; ends with the double.
async fn relay(listener: TcpListener, server: SocketAddr, mut dead: watch::Receiver<bool>) {
    loop {
        let mut inbound = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            ended = dead.changed() => match ended {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let mut dead = dead.clone();
        if *dead.borrow_and_update() {
            continue;
        }
        tokio::spawn(async move {
            let mut outbound = TcpStream::connect(server).await.unwrap();
            tokio::select! {
                _ = copy_bidirectional(&mut inbound, &mut outbound) => {}
                _ = dead.changed() => {}
            }
        });
    }
}

/// The operation of a request, such as `transactions`.
pub fn operation(request: &Request) -> &str {
    request.url.path().strip_prefix("/v1/").unwrap()
}

fn honest(request: &Request, account: &str, today: NaiveDate) -> Value {
    let query: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let details = json!({ "iban": "DE89370400440532013000", "currency": "EUR" });
    let record = json!({ "accountId": account, "kind": "payment", "approvalsNeeded": 1, "details": details });
    let ids = query["accountIds"].as_array().cloned().unwrap_or_default();
    match operation(request) {
        "ready" => json!({ "version": "1.0" }),
        "customer-accounts" => {
            let is_known = query["customerId"] == CUSTOMER;
            let accounts: Vec<&Value> = is_known.then_some(&record).into_iter().collect();
            json!({ "customerId": query["customerId"], "accounts": accounts })
        }
        "accounts" => {
            let known = ids.iter().filter(|id| *id == account);
            json!({ "accounts": known.map(|_| record.clone()).collect::<Vec<_>>() })
        }
        "balances" => {
            let amount = json!({ "currency": "EUR", "amount": "30.00" });
            let balance = json!({ "balanceType": "interimBooked", "balanceAmount": amount });
            let of = |id: &Value| {
                let balances: Vec<&Value> =
                    (id == account).then_some(&balance).into_iter().collect();
                json!({ "accountId": id, "balances": balances })
            };
            json!({ "balances": ids.iter().map(of).collect::<Vec<_>>() })
        }
        "transactions" if query["accountId"] == account => page(&query, today),
        "transactions" | "card-transactions" => {
            json!({ "accountId": query["accountId"], "entries": [] })
        }
        "transaction" => {
            let all = entries(today);
            let wanted =
                |entry: &&Value| entry["details"]["transactionId"] == query["transactionId"];
            let found = all
                .iter()
                .filter(|_| query["accountId"] == account)
                .find(wanted);
            let details = found.map(|entry| &entry["details"]);
            json!({ "accountId": query["accountId"], "details": details })
        }
        "arrival" => {
            let all = entries(today);
            let wanted = |entry: &&Value| entry["details"]["entryReference"] == query["reference"];
            let found = all
                .iter()
                .filter(|entry| entry["booked"] == true)
                .find(wanted);
            let arrival =
                found.map(|entry| json!({ "sequence": entry["sequence"], "date": entry["date"] }));
            json!({ "accountId": query["accountId"], "arrival": arrival })
        }
        other => panic!("no operation {other}"),
    }
}

/// All entries in the order of the contract.
fn entries(today: NaiveDate) -> Vec<Value> {
    let amount = json!({ "currency": "EUR", "amount": "1.00" });
    let pending = json!({
        "booked": false,
        "date": today,
        "sequence": 31,
        "details": { "transactionId": "31", "transactionAmount": amount },
    });
    let booked = (1..=30_u32).rev().map(|number| {
        let date = today - Days::new(u64::from(30 - number));
        json!({
            "booked": true,
            "date": date,
            "sequence": number,
            "details": {
                "transactionId": number.to_string(),
                "entryReference": format!("E{number}"),
                "bookingDate": date,
                "transactionAmount": amount,
                "creditorName": format!("Bookshop {number}"),
            },
        })
    });
    std::iter::once(pending).chain(booked).collect()
}

fn page(query: &Value, today: NaiveDate) -> Value {
    let all = entries(today);
    let after = query["after"]["sequence"].as_i64().unwrap_or(i64::MAX);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (from, to) = (text(&query["dateFrom"]), text(&query["dateTo"]));
    let limit = usize::try_from(query["limit"].as_u64().unwrap()).unwrap();
    let status = text(&query["bookingStatus"]);
    let since = query["arrivedAfter"].as_i64();
    let searched = query["text"].as_str().map(str::to_lowercase);
    let wanted = |entry: &&Value| {
        let date = text(&entry["date"]);
        let name = entry["details"]["creditorName"]
            .as_str()
            .unwrap_or_default();
        let list = if entry["booked"] == true {
            "booked"
        } else {
            "pending"
        };
        entry["sequence"].as_i64().unwrap() < after
            && from <= date
            && (date <= to || since.is_some() && entry["booked"] == true)
            && (since < entry["sequence"].as_i64() || entry["booked"] == false)
            && searched
                .as_ref()
                .is_none_or(|text| name.to_lowercase().contains(text))
            && (status == "both" || status == list)
    };
    let mut found: Vec<Value> = all.iter().filter(|entry| wanted(entry)).cloned().collect();
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| {
        json!({
            "booked": last["booked"],
            "date": last["date"],
            "sequence": last["sequence"],
        })
    });
    json!({ "accountId": query["accountId"], "entries": found, "next": next })
}
