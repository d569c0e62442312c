//! SCA methods service of a bank over plain HTTP on loopback: a code by SMS and an approval in the
//! bank's app for the story's customer. It answers honestly until it is given a fault.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bank_server::config::ScaMethodsConfig;
use fixtures::sandbox::CUSTOMER;
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::wait::{wait_for, wait_until};

/// The code of each challenge by SMS.
pub const CODE: &str = "481516";

/// Response to a request in place of the honest answer, which comes along. `None`: that answer.
type Fault = Box<dyn Fn(&Request, &Value) -> Option<ResponseTemplate> + Send>;

/// The service.
pub struct ScaMethodsDouble {
    server: MockServer,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By its id: the request that has started it, and its status.
    challenges: HashMap<String, (Value, &'static str)>,
    /// Messages that the customer has received.
    sent: Vec<Value>,
    attempts: HashMap<String, u32>,
    fault: Option<Fault>,
}

impl ScaMethodsDouble {
    pub async fn start() -> Self {
        let server = MockServer::start().await;
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let respond = move |request: &Request| {
            let mut state = shared.lock().unwrap();
            let answer = state.answer(request);
            let fault = state.fault.as_ref();
            let faulty = fault.and_then(|fault| fault(request, &answer));
            faulty.unwrap_or_else(|| match &answer {
                Value::Null => ResponseTemplate::new(404),
                answer => ResponseTemplate::new(200).set_body_json(answer),
            })
        };
        Mock::given(any())
            .respond_with(respond)
            .mount(&server)
            .await;
        Self { server, state }
    }

    /// Section `[sca_methods]` for it, with a timeout of one second.
    pub fn section(&self) -> ScaMethodsConfig {
        let text = format!(
            "url = \"http://{}\"\nresponse_timeout_seconds = 1\n",
            self.server.address()
        );
        toml::from_str(&text).unwrap()
    }

    /// Gives it a fault.
    pub fn fail(
        &self,
        fault: impl Fn(&Request, &Value) -> Option<ResponseTemplate> + Send + 'static,
    ) {
        self.state.lock().unwrap().fault = Some(Box::new(fault));
    }

    /// Takes the fault away.
    pub fn recover(&self) {
        self.state.lock().unwrap().fault = None;
    }

    /// What the customer has received: the requests that started challenges, each once.
    pub fn sent(&self) -> Vec<Value> {
        self.state.lock().unwrap().sent.clone()
    }

    /// Waits until the customer's app shows the challenge of that authorisation.
    pub async fn wait_for_challenge(&self, authorisation: &str) -> Value {
        wait_for("a challenge in the app", || {
            let state = self.state.lock().unwrap();
            let found = state.challenges.get(authorisation);
            found.map(|(request, _)| request.clone())
        })
        .await
    }

    /// Waits until the state of that challenge is read.
    pub async fn wait_for_poll(&self, authorisation: &str) {
        let polls = async || {
            let requests = self.requests("challenge-state").await.into_iter();
            let of_challenge = requests.filter(|request| {
                let query: Value = serde_json::from_slice(&request.body).unwrap();
                query["challengeId"] == authorisation
            });
            of_challenge.count()
        };
        let before = polls().await;
        wait_until("a poll", async || (polls().await > before).then_some(())).await;
    }

    /// The customer answers in the app: `approved` or `refused`; `over`: the challenge expires.
    pub fn answer(&self, authorisation: &str, status: &'static str) {
        let mut state = self.state.lock().unwrap();
        state.challenges.get_mut(authorisation).unwrap().1 = status;
    }

    /// The requests of an operation so far.
    pub async fn requests(&self, operation: &str) -> Vec<Request> {
        let requests = self.server.received_requests().await.unwrap();
        let path = format!("/v1/{operation}");
        let of_operation = requests.into_iter();
        of_operation
            .filter(|request| request.url.path() == path)
            .collect()
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Value {
        let query: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let id = query["challengeId"].as_str().unwrap_or_default().to_owned();
        match request.url.path() {
            "/v1/ready" => json!({ "version": "1.0" }),
            "/v1/customer-methods" => {
                let is_known = query["customerId"] == CUSTOMER;
                let methods = [
                    json!({ "methodId": "sms-1", "authenticationType": "SMS_OTP", "name": "SMS to +49 ··· 42", "answer": "code" }),
                    json!({ "methodId": "app-1", "authenticationType": "PUSH_OTP", "name": "Bank B app", "answer": "approval" }),
                ];
                let methods = methods.iter().filter(|_| is_known).collect::<Vec<_>>();
                json!({ "customerId": query["customerId"], "methods": methods })
            }
            "/v1/start-challenge" => {
                let before = self.challenges.get(&id);
                if before.is_none_or(|(before, _)| before["requestId"] != query["requestId"]) {
                    self.sent.push(query.clone());
                    self.attempts.insert(id.clone(), 3);
                    self.challenges.insert(id.clone(), (query, "pending"));
                }
                let data = json!({ "otpMaxLength": 6, "otpFormat": "integer", "additionalInformation": "SMS sent to +49 ··· 42" });
                json!({ "challengeId": id, "challengeData": data })
            }
            "/v1/challenge-state" => self.state_of(&id),
            "/v1/verify-code" => {
                if let Some((_, status @ "pending")) = self.challenges.get_mut(&id) {
                    let left = self.attempts.get_mut(&id).unwrap();
                    *left -= 1;
                    *status = match (query["code"] == CODE, *left) {
                        (true, _) => "approved",
                        (false, 0) => "over",
                        (false, _) => "pending",
                    };
                    return self.state_of(&id);
                }
                json!({ "challengeId": id, "status": "over" })
            }
            _ => Value::Null,
        }
    }

    fn state_of(&self, id: &str) -> Value {
        let Some((request, status)) = self.challenges.get(id) else {
            return json!({ "challengeId": id, "status": "over" });
        };
        let mut state = json!({ "challengeId": id, "status": status });
        match *status {
            "approved" => state["factsDigest"] = request["factsDigest"].clone(),
            "pending" => state["attemptsLeft"] = self.attempts[id].into(),
            _ => {}
        }
        state
    }
}
