//! Log-in and approval by the bank's identity provider: what a provider's answer has to prove, and
//! that a replayed, foreign or older one opens nothing.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bank_client::environment::{Clock as _, SystemClock};
use bank_server::config::{ApprovalBinding, Config, IdentityProviderConfig};
use bank_server::{BankServer, RunningBank};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use fixtures::browser::Page;
use fixtures::world::{Bank, SampleCustomer};
use serde_json::{Value, json};
use tests::banks::{Banks, trust_changed};
use tests::browser::Tab;
use tests::chromium::{Chromium, Scripts};
use tests::consent_requests::{BACK, PSU};
use tests::files;
use tests::http::Tpp;
use tests::issuing::{Ca, VALID, both_ends, identity, loopback, signs};
use tests::oidc_provider::{FACTOR, Features, OidcProvider, PASSWORD};
use tests::operator;
use tests::scripted_provider::{CLIENT, SECRET, ScriptedProvider, SigningKey, Token, url_pairs};
use tests::tls_terminator;
use tests::wait::{wait_for, wait_until};
use tokio::sync::watch;
use wiremock::ResponseTemplate;

/// A replica of Bank B whose customers log in at a provider, and its TPP.
struct Scene {
    banks: Banks,
    bank: RunningBank,
    provider: ScriptedProvider,
    tpp: Tpp,
    anna: SampleCustomer,
}

/// Parameters of an authorization request.
type Asked = HashMap<String, String>;

impl Scene {
    async fn set() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut IdentityProviderConfig)) -> Self {
        let (banks, provider) = futures::join!(Banks::start(), ScriptedProvider::start());
        Self::of(banks, provider, change).await
    }

    async fn of(
        banks: Banks,
        provider: ScriptedProvider,
        change: impl FnOnce(&mut IdentityProviderConfig),
    ) -> Self {
        let mut section = provider.section(banks.folder.path());
        change(&mut section);
        let bank = banks
            .replica_of_b(|config: &mut Config| config.identity_provider = Some(section))
            .await;
        let identity = banks.sandbox.pki.bank_a.qwac.clone();
        Self {
            tpp: Tpp::new(bank.xs2a_address(), identity),
            anna: banks.customer(Bank::B),
            banks,
            bank,
            provider,
        }
    }

    fn tab(&self) -> Tab {
        Tab::at(&self.bank)
    }

    /// A browser at that address.
    fn tab_from(&self, address: [u8; 4]) -> Tab {
        let mut tab = self.tab();
        tab.browser.from = Some(address.into());
        tab
    }

    /// The answer of the operator's readiness check.
    fn health(&self) -> String {
        operator::get(self.bank.operator_address(), "/health/ready")
    }

    /// Has the provider take pushed requests.
    fn take_pushed_requests(&self, changes: &Value) {
        let issuer = self.provider.issuer();
        let mut all = json!({
            "pushed_authorization_request_endpoint": format!("{issuer}/pushed"),
        });
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.provider.announce(&all);
        let pushed = json!({ "request_uri": "urn:request:1", "expires_in": 60 });
        let answer = ResponseTemplate::new(201).set_body_json(pushed);
        self.provider.answer("/pushed", answer);
    }

    /// The last pushed request.
    async fn pushed(&self) -> Asked {
        self.provider.posted("/pushed").await.pop().unwrap().0
    }

    /// Anna's valid token for a request.
    fn token(&self, asked: &Asked) -> Token {
        let now = self.banks.clock.now();
        self.provider.token(&asked["nonce"], &self.anna.id, now)
    }

    /// Opens a page that leads to the provider.
    async fn ask(&self, tab: &mut Tab, path: &str) -> Asked {
        let page = tab.get(path).await;
        self.asked(page)
    }

    /// The request with which a page has sent the browser to the provider.
    fn asked(&self, page: &Page) -> Asked {
        let address = page.sent_to.as_ref();
        let address = address.unwrap_or_else(|| panic!("not at the provider: {page:?}"));
        assert!(address.as_str().starts_with(&self.provider.issuer()));
        url_pairs(address.query().unwrap())
    }

    /// Returns from the provider with a code.
    async fn come_back<'a>(&self, tab: &'a mut Tab, asked: &Asked) -> &'a Page {
        tab.get(&callback(asked)).await
    }

    /// Logs Anna in.
    async fn log_in(&self, tab: &mut Tab) {
        let asked = self.ask(tab, "/log-in").await;
        self.provider
            .issue(&self.token(&asked).signed(&self.provider.key));
        self.come_back(tab, &asked).await;
        assert_eq!(tab.page.path(), "/", "{:?}", tab.page);
        assert_eq!(tab.page.heading(), "Accounts");
    }

    /// A consent of the TPP, and the path at which it is approved.
    async fn consent(&self, access: &Value) -> (String, String) {
        let body = self.banks.consent(&self.tpp).access(access).body().clone();
        let headers = [
            PSU,
            ("TPP-Redirect-URI", BACK),
            ("TPP-Redirect-Preferred", "true"),
        ];
        let created = self
            .tpp
            .post("/v1/consents", &headers, &body.to_string())
            .await;
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(created.header("ASPSP-SCA-Approach"), Some("REDIRECT"));
        let created = created.json();
        let page = created["_links"]["scaRedirect"]["href"].as_str().unwrap();
        let origin = self.bank.online_banking_origin().unwrap().text();
        let path = page.strip_prefix(&origin).unwrap().to_owned();
        (created["consentId"].as_str().unwrap().to_owned(), path)
    }

    async fn status(&self, consent: &str) -> String {
        let path = format!("/v1/consents/{consent}/status");
        let answer = self.tpp.get(&path, &[]).await;
        answer.json()["consentStatus"].as_str().unwrap().to_owned()
    }

    /// Presses "Allow access" on the page of that authorisation.
    async fn allow(&self, tab: &mut Tab, path: &str) -> Asked {
        tab.get(path).await;
        assert_eq!(
            tab.page.heading(),
            "Allow access to your accounts?",
            "{:?}",
            tab.page
        );
        // Each authentication has a time of its own, in seconds.
        self.banks.clock.advance(TimeDelta::seconds(1));
        let page = tab.submit(&format!("{path}/approve"), &[]).await;
        self.asked(page)
    }
}

/// Waits until an authentication has another time, in seconds, than the one before.
async fn next_second() {
    let second = SystemClock.now().timestamp();
    let is_over = || (SystemClock.now().timestamp() > second).then_some(());
    wait_for("the next second", is_over).await;
}

fn callback(asked: &Asked) -> String {
    format!("/log-in/callback?code=a-code&state={}", asked["state"])
}

fn all_accounts() -> Value {
    json!({ "allPsd2": "allAccounts" })
}

/// Change of a token that was good.
type ChangeToken = Box<dyn Fn(&mut Token)>;

/// Change of a JSON document that was good.
type ChangeJson = Box<dyn Fn(&Value) -> Value>;

/// Change of a response that was good.
type ChangeResponse = Box<dyn Fn(ResponseTemplate) -> ResponseTemplate>;

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_logs_in_and_approves_and_the_tpp_reads() {
    let scene = Scene::set().await;
    let (consent, path) = scene.consent(&all_accounts()).await;
    let mut tab = scene.tab();
    let asked = scene.ask(&mut tab, &path).await;
    let origin = scene.bank.online_banking_origin().unwrap();
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", &origin.page("/log-in/callback")),
        ("scope", "openid"),
        ("code_challenge_method", "S256"),
        ("acr_values", "urn:test:sca"),
        // As long as a session without activity.
        ("max_age", "300"),
    ] {
        assert_eq!(asked[name], value, "{name}");
    }
    assert!(!asked.contains_key("prompt"));
    scene
        .provider
        .issue(&scene.token(&asked).signed(&scene.provider.key));
    scene.come_back(&mut tab, &asked).await;
    assert_eq!(tab.page.path(), path, "{:?}", tab.page);
    // The code was redeemed with its verifier, by the bank alone.
    let (form, authorization) = scene.provider.posted("/token").await.pop().unwrap();
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
    assert_eq!(challenge, asked["code_challenge"]);
    assert_eq!(
        (form["code"].as_str(), form["grant_type"].as_str()),
        ("a-code", "authorization_code")
    );
    let both = format!("{CLIENT}:a+secret%2C+with%3A+colon");
    assert!(SECRET.contains(','), "what the header has to encode");
    assert_eq!(
        authorization.unwrap(),
        format!("Basic {}", STANDARD.encode(both))
    );

    // The log-in is no approval: that takes an authentication of its own.
    assert_eq!(scene.status(&consent).await, "received");
    let approval = scene.allow(&mut tab, &path).await;
    assert_eq!(
        (approval["prompt"].as_str(), approval["max_age"].as_str()),
        ("login", "0")
    );
    assert_eq!(scene.status(&consent).await, "received");
    scene
        .provider
        .issue(&scene.token(&approval).signed(&scene.provider.key));
    let page = scene.come_back(&mut tab, &approval).await;
    assert_eq!(page.sent_to.as_ref().unwrap().as_str(), BACK);
    assert_eq!(scene.status(&consent).await, "valid");
    assert_eq!(scene.tpp.read("/v1/accounts", &consent).await.status, 200);

    // The session was for this authorisation alone.
    scene.ask(&mut tab, "/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_that_proves_too_little_logs_no_one_in() {
    const NOT_ACCEPTED: &str = "log-in-not-accepted";
    const WEAK: &str = "log-in-not-strong";

    let scene = Scene::set().await;
    let now = scene.banks.clock.now().timestamp();
    let claim = |name: &'static str, value: Value| {
        move |token: &mut Token| token.claims[name] = value.clone()
    };
    let without = |name: &'static str| {
        move |token: &mut Token| drop(token.claims.as_object_mut().unwrap().remove(name))
    };
    let cases: Vec<(&str, &str, ChangeToken)> = vec![
        (
            "another issuer",
            NOT_ACCEPTED,
            Box::new(claim("iss", "http://127.0.0.1:9".into())),
        ),
        (
            "an issuer with a slash",
            NOT_ACCEPTED,
            Box::new(claim("iss", format!("{}/", scene.provider.issuer()).into())),
        ),
        (
            "another audience",
            NOT_ACCEPTED,
            Box::new(claim("aud", "another".into())),
        ),
        (
            "a second audience",
            NOT_ACCEPTED,
            Box::new(claim("aud", json!([CLIENT, "another"]))),
        ),
        (
            "no audience",
            NOT_ACCEPTED,
            Box::new(claim("aud", json!([]))),
        ),
        (
            "another authorized party",
            NOT_ACCEPTED,
            Box::new(claim("azp", "another".into())),
        ),
        (
            "another nonce",
            NOT_ACCEPTED,
            Box::new(claim("nonce", "another".into())),
        ),
        ("no nonce", NOT_ACCEPTED, Box::new(without("nonce"))),
        (
            "expired",
            NOT_ACCEPTED,
            Box::new(claim("exp", (now - 6).into())),
        ),
        ("no expiry", NOT_ACCEPTED, Box::new(without("exp"))),
        (
            "issued too long ago",
            NOT_ACCEPTED,
            Box::new(claim("iat", (now - 301).into())),
        ),
        (
            "issued in the future",
            NOT_ACCEPTED,
            Box::new(claim("iat", (now + 60).into())),
        ),
        (
            "not valid yet",
            NOT_ACCEPTED,
            Box::new(claim("nbf", (now + 60).into())),
        ),
        (
            "no authentication time",
            NOT_ACCEPTED,
            Box::new(without("auth_time")),
        ),
        (
            "authenticated too long ago",
            NOT_ACCEPTED,
            Box::new(claim("auth_time", (now - 306).into())),
        ),
        (
            "authenticated in the future",
            NOT_ACCEPTED,
            Box::new(claim("auth_time", (now + 60).into())),
        ),
        ("no acr", WEAK, Box::new(without("acr"))),
        (
            "another acr",
            WEAK,
            Box::new(claim("acr", "urn:test:password".into())),
        ),
        ("no amr", WEAK, Box::new(without("amr"))),
        ("another amr", WEAK, Box::new(claim("amr", json!(["pwd"])))),
        (
            "no customer",
            NOT_ACCEPTED,
            Box::new(without("customer_number")),
        ),
        (
            "a customer that is no text",
            NOT_ACCEPTED,
            Box::new(claim("customer_number", 7.into())),
        ),
        (
            "an empty customer",
            NOT_ACCEPTED,
            Box::new(claim("customer_number", " ".into())),
        ),
        (
            "a customer with a line break",
            NOT_ACCEPTED,
            Box::new(claim("customer_number", "a\nb".into())),
        ),
        (
            "a customer that is too long",
            NOT_ACCEPTED,
            Box::new(claim("customer_number", "a".repeat(71).into())),
        ),
        (
            "an unknown key",
            NOT_ACCEPTED,
            Box::new(|token| token.header["kid"] = "unknown".into()),
        ),
        (
            "another algorithm than its key's",
            NOT_ACCEPTED,
            Box::new(|token| token.header["alg"] = "ES384".into()),
        ),
        (
            "a critical extension",
            NOT_ACCEPTED,
            Box::new(|token| token.header["crit"] = json!(["x"])),
        ),
    ];
    for (name, problem, change) in cases {
        let mut tab = scene.tab();
        let asked = scene.ask(&mut tab, "/log-in").await;
        let mut token = scene.token(&asked);
        change(&mut token);
        scene.provider.issue(&token.signed(&scene.provider.key));
        let page = scene.come_back(&mut tab, &asked).await;
        assert_eq!(
            (page.status, page.problem().as_deref()),
            (403, Some(problem)),
            "{name}: {page:?}"
        );
        scene.ask(&mut tab, "/").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_provider_has_not_signed_with_a_current_key_is_refused() {
    let mut scene = Scene::set().await;
    let forger = SigningKey::new("first");
    let old = scene.provider.key.clone();
    let attempt = async |scene: &Scene, name: &str, sign: &dyn Fn(Token) -> String| {
        let mut tab = scene.tab();
        let asked = scene.ask(&mut tab, "/log-in").await;
        scene.provider.issue(&sign(scene.token(&asked)));
        let page = scene.come_back(&mut tab, &asked).await;
        let found = (page.status, page.problem());
        assert_eq!(
            found,
            (403, Some("log-in-not-accepted".to_owned())),
            "{name}"
        );
    };
    attempt(&scene, "forged", &|token| token.signed(&forger)).await;
    attempt(&scene, "changed", &|token| {
        let signed = token.signed(&old);
        let (_, signature) = signed.rsplit_once('.').unwrap();
        let mut other = token.clone();
        other.claims["customer_number"] = "lucas.meyer".into();
        let other = other.unsigned();
        format!("{other}{signature}")
    })
    .await;
    for algorithm in ["none", "None", ""] {
        attempt(&scene, algorithm, &|mut token| {
            token.header["alg"] = algorithm.into();
            token.unsigned()
        })
        .await;
    }
    attempt(&scene, "HS256 with the public key", &|mut token| {
        token.header["alg"] = "HS256".into();
        token.keyed(&old)
    })
    .await;
    attempt(&scene, "no token", &|_| "a.b".to_owned()).await;
    attempt(&scene, "an embedded key", &|mut token| {
        token.header.as_object_mut().unwrap().remove("kid");
        token.header["jwk"] = forger.jwk();
        token.signed(&forger)
    })
    .await;

    // The provider changes its key: the new one counts at once, the old one no longer.
    scene.provider.key = SigningKey::new("second");
    scene.provider.publish(&[&scene.provider.key, &old]);
    scene.log_in(&mut scene.tab()).await;
    attempt(&scene, "two keys, and none named", &|mut token| {
        token.header.as_object_mut().unwrap().remove("kid");
        token.signed(&scene.provider.key)
    })
    .await;
    scene.provider.publish(&[&scene.provider.key]);
    attempt(&scene, "the old key", &|mut token| {
        token.header["kid"] = "first".into();
        token.signed(&old)
    })
    .await;
    scene.log_in(&mut scene.tab()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_good_once_in_the_browser_that_asked() {
    let scene = Scene::set().await;
    let over = |page: &Page| {
        assert_eq!(
            (page.status, page.problem().as_deref()),
            (409, Some("log-in-over")),
            "{page:?}"
        );
    };
    let mut tab = scene.tab();
    let asked = scene.ask(&mut tab, "/log-in").await;
    scene
        .provider
        .issue(&scene.token(&asked).signed(&scene.provider.key));
    let redeemed = scene.provider.posted("/token").await.len();
    // In another browser, as an attacker would have a customer log in to the attacker's account.
    over(scene.come_back(&mut scene.tab(), &asked).await);
    // It is used up by that.
    over(scene.come_back(&mut tab, &asked).await);
    over(tab.get("/log-in/callback?code=a&state=made-up").await);
    // After ten minutes.
    let asked = scene.ask(&mut tab, "/log-in").await;
    scene.banks.clock.advance(TimeDelta::minutes(10));
    over(scene.come_back(&mut tab, &asked).await);
    assert_eq!(scene.provider.posted("/token").await.len(), redeemed);
    // Twice.
    let asked = scene.ask(&mut tab, "/log-in").await;
    let before = tab.clone();
    scene
        .provider
        .issue(&scene.token(&asked).signed(&scene.provider.key));
    scene.come_back(&mut tab, &asked).await;
    assert_eq!(tab.page.heading(), "Accounts");
    for mut again in [tab.clone(), before] {
        over(scene.come_back(&mut again, &asked).await);
    }
    // Begun before the log-in in another tab.
    tab.get("/").await;
    assert_eq!(tab.page.heading(), "Accounts");

    for wrong in ["", "code=a", "state=s", "code=a&code=b&state=s"] {
        let page = scene
            .tab()
            .get(&format!("/log-in/callback?{wrong}"))
            .await
            .clone();
        assert_eq!(
            (page.status, page.problem().as_deref()),
            (400, Some("form-unreadable"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_provider_or_without_its_name_is_not_redeemed() {
    let scene = Scene::set().await;
    scene
        .provider
        .announce(&json!({ "authorization_response_iss_parameter_supported": true }));
    let mut tab = scene.tab();
    for (issuer, accepted) in [
        (None, false),
        (Some("http://127.0.0.1:9".to_owned()), false),
        (Some(scene.provider.issuer()), true),
    ] {
        let asked = scene.ask(&mut tab, "/log-in").await;
        scene
            .provider
            .issue(&scene.token(&asked).signed(&scene.provider.key));
        let path = match &issuer {
            Some(issuer) => format!("{}&iss={issuer}", callback(&asked)),
            None => callback(&asked),
        };
        let problem = tab.get(&path).await.problem();
        let redeemed = !scene.provider.posted("/token").await.is_empty();
        assert_eq!(
            (problem.is_none(), redeemed),
            (accepted, accepted),
            "{issuer:?}"
        );
    }
    // The customer declined there.
    let mut tab = scene.tab();
    let asked = scene.ask(&mut tab, "/log-in").await;
    let state = &asked["state"];
    let issuer = scene.provider.issuer();
    let path = format!("/log-in/callback?error=access_denied&state={state}&iss={issuer}");
    assert_eq!(
        tab.get(&path).await.problem().as_deref(),
        Some("log-in-cancelled")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_foreign_or_older_approval_opens_nothing() {
    let scene = Scene::set().await;
    let lucas = scene.banks.other_customer(Bank::B);
    let mut tab = scene.tab();
    scene.log_in(&mut tab).await;
    let (consent, path) = scene.consent(&all_accounts()).await;
    let (other_consent, other_path) = scene.consent(&all_accounts()).await;
    let key = &scene.provider.key;
    let refused = |page: &Page, problem: &str| {
        assert_eq!(page.problem().as_deref(), Some(problem), "{page:?}");
    };

    // The authentication of the log-in, a second before, approves nothing.
    let asked = scene.allow(&mut tab, &path).await;
    let mut token = scene.token(&asked);
    token.claims["auth_time"] = (scene.banks.clock.now().timestamp() - 1).into();
    scene.provider.issue(&token.signed(key));
    refused(
        scene.come_back(&mut tab, &asked).await,
        "approval-not-accepted",
    );

    // Of another customer.
    let asked = scene.allow(&mut tab, &path).await;
    let now = scene.banks.clock.now();
    scene.provider.issue(
        &scene
            .provider
            .token(&asked["nonce"], &lucas.id, now)
            .signed(key),
    );
    refused(
        scene.come_back(&mut tab, &asked).await,
        "approval-of-another",
    );
    assert_eq!(tab.page.links(&path), [path.as_str()], "the way back");

    // Of another authorisation: its token is not for this request.
    let asked = scene.allow(&mut tab, &path).await;
    let other = scene.allow(&mut tab, &other_path).await;
    scene.provider.issue(&scene.token(&other).signed(key));
    refused(
        scene.come_back(&mut tab, &asked).await,
        "approval-not-accepted",
    );

    // Of a log-in.
    let log_in = scene.ask(&mut scene.tab(), "/log-in").await;
    let asked = scene.allow(&mut tab, &path).await;
    scene.provider.issue(&scene.token(&log_in).signed(key));
    refused(
        scene.come_back(&mut tab, &asked).await,
        "approval-not-accepted",
    );

    // An authentication before the question, such as that of the log-in.
    let asked = scene.allow(&mut tab, &path).await;
    let mut token = scene.token(&asked);
    token.claims["auth_time"] = (scene.banks.clock.now().timestamp() - 6).into();
    scene.provider.issue(&token.signed(key));
    refused(
        scene.come_back(&mut tab, &asked).await,
        "approval-not-accepted",
    );

    // With one factor.
    let asked = scene.allow(&mut tab, &path).await;
    let mut token = scene.token(&asked);
    token.claims["amr"] = json!(["pwd"]);
    scene.provider.issue(&token.signed(key));
    refused(scene.come_back(&mut tab, &asked).await, "log-in-not-strong");

    // Declined there.
    let asked = scene.allow(&mut tab, &path).await;
    let declined = format!(
        "/log-in/callback?error=access_denied&state={}",
        asked["state"]
    );
    refused(tab.get(&declined).await, "approval-cancelled");

    // In a session that has ended, and in another one of the same customer.
    let asked = scene.allow(&mut tab, &path).await;
    scene.provider.issue(&scene.token(&asked).signed(key));
    let mut another = scene.tab();
    scene.log_in(&mut another).await;
    scene.provider.issue(&scene.token(&asked).signed(key));
    refused(scene.come_back(&mut another, &asked).await, "log-in-over");
    let asked = scene.allow(&mut tab, &path).await;
    let mut left = tab.clone();
    tab.get("/").await;
    tab.submit("/log-out", &[]).await;
    assert_eq!(tab.page.heading(), "You are logged out");
    scene.provider.issue(&scene.token(&asked).signed(key));
    refused(scene.come_back(&mut left, &asked).await, "session-over");
    for consent in [&consent, &other_consent] {
        assert_eq!(scene.status(consent).await, "received");
        assert_eq!(scene.tpp.read("/v1/accounts", consent).await.status, 401);
    }

    // What is right opens that one consent, once.
    let mut tab = scene.tab();
    scene.log_in(&mut tab).await;
    let asked = scene.allow(&mut tab, &path).await;
    scene.provider.issue(&scene.token(&asked).signed(key));
    let page = scene.come_back(&mut tab, &asked).await;
    assert_eq!(page.sent_to.as_ref().unwrap().as_str(), BACK);
    refused(scene.come_back(&mut tab, &asked).await, "log-in-over");
    assert_eq!(scene.status(&consent).await, "valid");
    assert_eq!(scene.status(&other_consent).await, "received");
}

/// Another name of the TPP, as the register has it, is another access.
#[tokio::test(flavor = "multi_thread")]
async fn an_access_that_has_changed_since_it_was_shown_is_not_approved() {
    let scene = Scene::set().await;
    let mut tab = scene.tab();
    scene.log_in(&mut tab).await;
    let (consent, path) = scene.consent(&all_accounts()).await;
    let asked = scene.allow(&mut tab, &path).await;
    let mut register = scene.banks.sandbox.pki.register.clone();
    for entry in &mut register.organisations {
        entry.name.push_str(" (new)");
    }
    let before = scene.bank.trust_report().changes;
    scene.banks.publish(&register).await;
    trust_changed(&scene.bank, before).await;
    scene.consent(&all_accounts()).await;
    scene
        .provider
        .issue(&scene.token(&asked).signed(&scene.provider.key));
    let page = scene.come_back(&mut tab, &asked).await;
    assert_eq!(page.problem().as_deref(), Some("approval-changed"));
    assert_eq!(scene.status(&consent).await, "received");
    // What is shown now can be approved.
    let asked = scene.allow(&mut tab, &path).await;
    scene
        .provider
        .issue(&scene.token(&asked).signed(&scene.provider.key));
    assert!(scene.come_back(&mut tab, &asked).await.sent_to.is_some());
    assert_eq!(scene.status(&consent).await, "valid");
}

/// The choice is kept by the bank: nothing in the browser changes it on the way.
#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_that_were_chosen_are_those_that_are_opened() {
    let scene = Scene::set().await;
    let mut tab = scene.tab();
    scene.log_in(&mut tab).await;
    let offered = json!({ "balances": [], "transactions": [] });
    let (consent, path) = scene.consent(&offered).await;
    tab.get(&path).await;
    let form = tab.form(&format!("{path}/approve"));
    let account = tab.page.attribute("input[name=account]", "value").unwrap();
    scene.banks.clock.advance(TimeDelta::seconds(1));
    tab.submit_form(&form.with("account", &account)).await;
    let asked = scene.asked(&tab.page);
    scene
        .provider
        .issue(&scene.token(&asked).signed(&scene.provider.key));
    let back = format!("{}&account=all", callback(&asked));
    assert!(tab.get(&back).await.sent_to.is_some());
    let read = scene.tpp.read("/v1/accounts", &consent).await.json();
    let accounts: Vec<&str> = read["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|account| account["resourceId"].as_str().unwrap())
        .collect();
    assert_eq!(accounts, [account.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_is_pushed_to_the_provider_and_comes_back_with_the_approval() {
    let scene = Scene::with(|section| {
        section.approval = ApprovalBinding::AuthorizationDetails;
    })
    .await;
    let announce = |types: Value| {
        scene.take_pushed_requests(&json!({ "authorization_details_types_supported": types }));
    };
    announce(json!(["account_information"]));
    let mut tab = scene.tab();
    // Through the browser goes a reference, and nothing else.
    let short = scene.ask(&mut tab, "/log-in").await;
    let expected = [("client_id", CLIENT), ("request_uri", "urn:request:1")];
    assert_eq!(
        short,
        expected
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    );
    let asked = scene.pushed().await;
    assert!(!asked.contains_key("authorization_details"));
    scene
        .provider
        .issue(&scene.token(&asked).signed(&scene.provider.key));
    scene.come_back(&mut tab, &asked).await;
    assert_eq!(tab.page.heading(), "Accounts");

    let (consent, path) = scene.consent(&all_accounts()).await;
    let changed = |change: fn(&mut Value)| {
        move |details: &Value| {
            let mut details = details.clone();
            change(&mut details);
            details
        }
    };
    let cases: [(&str, ChangeJson); 6] = [
        ("none", Box::new(|_| Value::Null)),
        ("an empty list", Box::new(|_| json!([]))),
        (
            "another authorisation",
            Box::new(changed(|all| all[0]["identifier"] = "other".into())),
        ),
        (
            "fewer accounts",
            Box::new(changed(|all| {
                all[0]["accounts"].as_array_mut().unwrap().pop();
            })),
        ),
        (
            "two",
            Box::new(changed(|all| {
                let first = all[0].clone();
                all.as_array_mut().unwrap().push(first);
            })),
        ),
        ("the same", Box::new(Value::clone)),
    ];
    for (name, returned) in cases {
        scene.allow(&mut tab, &path).await;
        let asked = scene.pushed().await;
        let details: Value = serde_json::from_str(&asked["authorization_details"]).unwrap();
        let shown = &details[0];
        assert_eq!(shown["type"], "account_information");
        assert_eq!(
            path,
            format!("/authorise/{}", shown["identifier"].as_str().unwrap())
        );
        assert_eq!(shown["customer"], scene.anna.id.as_str());
        assert_eq!(
            shown["accounts"].as_array().unwrap().len(),
            scene.anna.accounts.len()
        );
        assert_eq!(
            shown["tpp"]["organisation"],
            scene.banks.sandbox.bank(Bank::A).organisation.as_str()
        );
        let mut token = scene.token(&asked);
        token.claims["authorization_details"] = returned(&details);
        scene.provider.issue(&token.signed(&scene.provider.key));
        let page = scene.come_back(&mut tab, &asked).await;
        let (problem, status) = match name {
            "the same" => (None, "valid"),
            _ => (Some("approval-not-accepted"), "received"),
        };
        assert_eq!(page.problem().as_deref(), problem, "{name}: {page:?}");
        assert_eq!(scene.status(&consent).await, status, "{name}");
    }
}

/// Account numbers would go through the browser's address, or what is approved would not be shown.
#[tokio::test(flavor = "multi_thread")]
async fn approval_by_authorization_details_takes_a_provider_that_supports_it() {
    let scene = Scene::with(|section| {
        section.approval = ApprovalBinding::AuthorizationDetails;
    })
    .await;
    let types = |types: Value| json!({ "authorization_details_types_supported": types });
    for (name, told) in [
        (
            "no pushed requests",
            "takes no pushed authorization requests",
        ),
        ("another type", "of the type account_information"),
    ] {
        scene.banks.clock.advance(TimeDelta::minutes(10));
        match name {
            "another type" => scene.take_pushed_requests(&types(json!(["payment_initiation"]))),
            _ => scene
                .provider
                .announce(&types(json!(["account_information"]))),
        }
        let health = scene.health();
        assert!(health.contains(told), "{name}: {health}");
        let page = scene.tab().get("/log-in").await.clone();
        let found = (page.status, page.problem());
        let unavailable = Some("identity-provider-unavailable".to_owned());
        assert_eq!(found, (503, unavailable), "{name}");
        assert!(scene.provider.posted("/pushed").await.is_empty(), "{name}");
    }
    scene.take_pushed_requests(&types(json!(["account_information"])));
    let health = scene.health();
    assert!(health.contains(r#""identityProvider":"ready""#), "{health}");
    scene.ask(&mut scene.tab(), "/log-in").await;
}

/// What another site has a browser do, or the browser does in advance, is no log-in.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_that_no_person_has_asked_for_is_neither_stored_nor_pushed() {
    let scene = Scene::set().await;
    scene.take_pushed_requests(&json!({}));
    let (_, path) = scene.consent(&all_accounts()).await;
    let to_approve = format!("/log-in?to={path}");
    let made_up = "/log-in?to=/authorise/5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11";
    let navigation = |site| {
        vec![
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
            ("Sec-Fetch-Site", site),
        ]
    };
    let with = |site, (name, value)| {
        let mut headers = navigation(site);
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value));
        headers
    };
    let click = ("Sec-Fetch-User", "?1");
    let prefetch = ("Sec-Purpose", "prefetch;prerender");
    let image = ("Sec-Fetch-Dest", "image");
    let script = ("Sec-Fetch-Mode", "no-cors");
    let frame = ("Sec-Fetch-Dest", "iframe");
    let refused = [
        ("GET", "/log-in", 200, navigation("cross-site")),
        ("GET", "/log-in?prompt=login", 200, navigation("cross-site")),
        ("GET", made_up, 200, navigation("cross-site")),
        ("GET", "/log-in", 200, with("cross-site", image)),
        ("GET", "/log-in", 200, with("same-origin", script)),
        ("GET", &to_approve, 200, with("cross-site", frame)),
        ("GET", "/log-in", 503, with("same-origin", prefetch)),
        ("GET", &to_approve, 503, with("none", prefetch)),
        ("GET", "/log-in", 503, vec![("Purpose", "prefetch")]),
        ("GET", "/log-in", 503, vec![("X-Moz", "prefetch")]),
        ("HEAD", "/log-in", 200, vec![]),
    ];
    for (method, path, status, headers) in refused {
        let page = scene.tab().send(method, path, &headers, "").await;
        assert_eq!(page.status, status, "{method} {path} {headers:?}");
        assert_eq!(page.header("location"), None, "{path} {headers:?}");
        if method == "GET" {
            // The person who wants to log in after all is one click away.
            assert_eq!(page.heading(), "Log in");
            let to = path.split_once("to=").map_or("/", |(_, to)| to);
            assert_eq!(page.links("/log-in"), [format!("/log-in?to={to}")]);
        }
        let pushed = scene.provider.posted("/pushed").await.len();
        assert_eq!(pushed, 0, "{method} {path} {headers:?}");
    }
    // A page of ours, a bookmark, a link that was clicked, a TPP, and a client that says nothing.
    let asked_for = [
        ("/log-in", navigation("same-origin")),
        ("/log-in", navigation("same-site")),
        ("/log-in", navigation("none")),
        ("/log-in", with("cross-site", click)),
        (&to_approve, navigation("cross-site")),
        ("/log-in", vec![]),
    ];
    for (number, (path, headers)) in asked_for.into_iter().enumerate() {
        let page = scene.tab().send("GET", path, &headers, "").await;
        assert_eq!(page.status, 303, "{path} {headers:?}");
        let pushed = scene.provider.posted("/pushed").await.len();
        assert_eq!(pushed, number + 1, "{path} {headers:?}");
    }
}

/// Neither the table nor the provider's own limit is filled from one network.
#[tokio::test(flavor = "multi_thread")]
async fn one_network_begins_a_hundred_log_ins_in_ten_minutes() {
    let scene = Scene::set().await;
    let (near, far) = ([127, 0, 1, 1], [127, 0, 2, 1]);
    // A device on which a customer has logged in is not counted with its network.
    let mut known = scene.tab_from(near);
    scene.log_in(&mut known).await;
    known.get("/").await;
    known.submit("/log-out", &[]).await;
    scene.take_pushed_requests(&json!({}));
    scene.banks.clock.advance(TimeDelta::minutes(10));
    for number in 0..100 {
        let mut tab = scene.tab_from(near);
        scene.ask(&mut tab, "/log-in").await;
        // A return without a log-in makes no room.
        let asked = scene.pushed().await;
        let declined = format!("/log-in/callback?error=no&state={}", asked["state"]);
        let page = tab.get(&declined).await;
        let problem = page.problem();
        assert_eq!(problem.as_deref(), Some("log-in-cancelled"), "{number}");
    }
    let refused = async |tab: &mut Tab| {
        let page = tab.get("/log-in").await;
        let found = (page.status, page.problem());
        assert_eq!(found, (429, Some("too-many-log-ins-here".to_owned())));
    };
    refused(&mut scene.tab_from(near)).await;
    refused(&mut scene.tab_from([127, 0, 1, 2])).await;
    assert_eq!(scene.provider.posted("/pushed").await.len(), 100);
    scene.ask(&mut known, "/log-in").await;
    scene.ask(&mut scene.tab_from(far), "/log-in").await;
    scene.banks.clock.advance(TimeDelta::minutes(10));
    scene.ask(&mut scene.tab_from(near), "/log-in").await;
}

/// A log-in is counted only as long as it is open.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_that_could_not_be_pushed_is_not_counted() {
    let scene = Scene::set().await;
    scene.take_pushed_requests(&json!({}));
    let answer = ResponseTemplate::new(500);
    scene.provider.answer("/pushed", answer);
    for _ in 0..101 {
        let page = scene.tab().get("/log-in").await.clone();
        let problem = page.problem();
        assert_eq!(problem.as_deref(), Some("identity-provider-unavailable"));
    }
    scene.take_pushed_requests(&json!({}));
    scene.ask(&mut scene.tab(), "/log-in").await;
}

/// A wrong secret shows only when it is used, and is then reported until it is right.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_the_client_is_reported_until_it_accepts_it() {
    let scene = Scene::set().await;
    let unknown = json!({ "error": "invalid_client" });
    let unknown = ResponseTemplate::new(401).set_body_json(unknown);
    let ready = |expected: &str| {
        let health = scene.health();
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
        let told = format!(r#""identityProvider":"{expected}"#);
        assert!(health.contains(&told), "{told}: {health}");
    };
    for answer in [unknown.clone(), ResponseTemplate::new(401)] {
        scene.provider.answer("/token", answer);
        let mut tab = scene.tab();
        let asked = scene.ask(&mut tab, "/log-in").await;
        let page = scene.come_back(&mut tab, &asked).await;
        assert_eq!(page.status, 503);
        ready("token: the provider ");
        // Its metadata are no proof of the opposite, nor is a request that it does not answer.
        scene.banks.clock.advance(TimeDelta::minutes(10));
        scene.ask(&mut scene.tab(), "/log-in").await;
        ready("token: the provider ");
    }
    scene.log_in(&mut scene.tab()).await;
    ready("ready");
    // At the endpoint for pushed requests.
    scene.take_pushed_requests(&json!({}));
    scene.banks.clock.advance(TimeDelta::minutes(10));
    scene.provider.answer("/pushed", unknown);
    assert_eq!(scene.tab().get("/log-in").await.status, 503);
    ready("pushed request: the provider refused: invalid_client; check client_id");
    scene.take_pushed_requests(&json!({}));
    scene.ask(&mut scene.tab(), "/log-in").await;
    ready("ready");
}

/// Several requests of one step do not add up.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_has_one_timeout_for_all_its_requests() {
    let scene = Scene::set().await;
    let mut tab = scene.tab();
    let asked = scene.ask(&mut tab, "/log-in").await;
    let token = scene.token(&asked).signed(&scene.provider.key);
    let slow = Duration::from_millis(700);
    let token = ResponseTemplate::new(200).set_body_json(json!({ "id_token": token }));
    let keys = json!({ "keys": [scene.provider.key.jwk()] });
    let keys = ResponseTemplate::new(200).set_body_json(keys);
    scene.provider.answer("/token", token.set_delay(slow));
    scene.provider.answer("/keys", keys.set_delay(slow));
    let page = scene.come_back(&mut tab, &asked).await;
    let found = (page.status, page.problem());
    let unavailable = Some("identity-provider-unavailable".to_owned());
    assert_eq!(found, (503, unavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_secret_is_used_and_a_bad_one_is_reported() {
    let scene = Scene::set().await;
    let file = scene.banks.folder.path().join("identity-provider.secret");
    let is_reported = || {
        scene
            .health()
            .contains("identity_provider.client_secret_file")
    };
    let used = async || {
        scene.log_in(&mut scene.tab()).await;
        let (_, authorization) = scene.provider.posted("/token").await.pop().unwrap();
        let basic = authorization.unwrap();
        let both = STANDARD.decode(basic.strip_prefix("Basic ").unwrap());
        String::from_utf8(both.unwrap()).unwrap()
    };
    files::replace(&file, "");
    wait_for("the report", || is_reported().then_some(())).await;
    assert!(used().await.ends_with("colon"));
    files::replace(&file, "new");
    wait_for("the reload", || (!is_reported()).then_some(())).await;
    assert_eq!(used().await, format!("{CLIENT}:new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_anchors_are_used_and_an_expired_certificate_ends_open_connections() {
    let (banks, mut provider) = futures::join!(Banks::start(), ScriptedProvider::start());
    let now = banks.clock.now().timestamp();
    let (first, second) = (Ca::root("first authority"), Ca::root("second authority"));
    let issued = |authority: &Ca, until: i64| {
        let extensions = [signs(), both_ends(), loopback()];
        let (certificate, key) = authority.party_for((now - 60, until), &extensions);
        identity(&[&certificate], &key)
    };
    let (presented, identities) = watch::channel(issued(&first, now + 60 * 60));
    let front = tls_terminator::start_without_clients(identities, *provider.server.address()).await;
    provider.move_to(&format!("https://{front}"));
    let anchors = banks.folder.path().join("provider-ca.pem");
    files::replace(&anchors, first.certificate.to_pem().unwrap());
    let scene = Scene::of(banks, provider, |section| {
        section.anchors = vec![anchors.clone()];
    })
    .await;
    scene.log_in(&mut scene.tab()).await;
    let is_reported = || scene.health().contains("identity_provider.anchors[0]");
    files::replace(&anchors, "no certificate");
    wait_for("the report", || is_reported().then_some(())).await;
    scene.log_in(&mut scene.tab()).await;
    files::replace(&anchors, first.certificate.to_pem().unwrap());
    wait_for("the end of the report", || (!is_reported()).then_some(())).await;
    // Metadata is read on the open connection until the certificate is over.
    wait_until("the end of the connection", async || {
        scene.banks.clock.advance(TimeDelta::minutes(10));
        (scene.tab().get("/log-in").await.status == 503).then_some(())
    })
    .await;
    presented.send_replace(issued(&second, VALID.1));
    assert_eq!(
        scene.tab().get("/log-in").await.status,
        503,
        "an unknown authority"
    );
    files::replace(&anchors, second.certificate.to_pem().unwrap());
    wait_until("the new anchors", async || {
        (scene.tab().get("/log-in").await.status == 303).then_some(())
    })
    .await;
}

/// Pages that need the provider say so; the TPP's reads go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_takes_nothing_else_along() {
    let scene = Scene::set().await;
    let mut tab = scene.tab();
    scene.log_in(&mut tab).await;
    let (consent, path) = scene.consent(&all_accounts()).await;
    let asked = scene.allow(&mut tab, &path).await;
    scene
        .provider
        .issue(&scene.token(&asked).signed(&scene.provider.key));
    scene.come_back(&mut tab, &asked).await;
    let ready = || scene.health();
    assert!(
        ready().contains(r#""identityProvider":"ready""#),
        "{}",
        ready()
    );

    // Each answer would be good, but for its size, its time, its place or its status.
    let padded = |mut body: Value| {
        body["padding"] = "x".repeat(256 * 1024).into();
        ResponseTemplate::new(200).set_body_json(body)
    };
    let elsewhere = format!("{}/elsewhere", scene.provider.issuer());
    let cases: Vec<(&str, ChangeResponse)> = vec![
        (
            "too late",
            Box::new(|good| good.set_delay(Duration::from_secs(5))),
        ),
        (
            "a redirect",
            Box::new(move |good| {
                let redirect = ResponseTemplate::new(302);
                drop(good);
                redirect.insert_header("location", elsewhere.as_str())
            }),
        ),
        ("an error", Box::new(|_| ResponseTemplate::new(500))),
        (
            "no JSON",
            Box::new(|_| ResponseTemplate::new(200).set_body_string("{")),
        ),
        (
            "no token",
            Box::new(|_| ResponseTemplate::new(200).set_body_string("{}")),
        ),
    ];
    let keys = json!({ "keys": [scene.provider.key.jwk()] });
    let attempt = async |name: &str, spoil: &dyn Fn(&str)| {
        let mut tab = scene.tab();
        let asked = scene.ask(&mut tab, "/log-in").await;
        let token = scene.token(&asked).signed(&scene.provider.key);
        scene.provider.issue(&token);
        spoil(&token);
        let page = scene.come_back(&mut tab, &asked).await;
        let found = (page.status, page.problem());
        let unavailable = Some("identity-provider-unavailable".to_owned());
        assert_eq!(found, (503, unavailable), "{name}");
        // It is told until the provider answers again; the bank stays in service.
        let metadata = ResponseTemplate::new(500);
        scene
            .provider
            .answer("/.well-known/openid-configuration", metadata);
        let health = ready();
        assert!(health.starts_with("HTTP/1.1 200"), "{name}: {health}");
        let told = r#""identityProvider":"metadata: the provider answered 500"#;
        assert!(health.contains(told), "{name}: {health}");
        let read = scene.tpp.read("/v1/accounts", &consent).await;
        assert_eq!(read.status, 200, "{name}");
        scene.provider.announce(&json!({}));
        let health = ready();
        let told = r#""identityProvider":"ready""#;
        assert!(health.contains(told), "{name}: {health}");
        scene.provider.publish(&[&scene.provider.key]);
    };
    for (name, spoil) in cases {
        attempt(name, &|token| {
            let good = json!({ "id_token": token });
            let good = ResponseTemplate::new(200).set_body_json(good);
            scene.provider.answer("/elsewhere", good.clone());
            scene.provider.answer("/token", spoil(good));
        })
        .await;
    }
    attempt("too large", &|token| {
        let large = padded(json!({ "id_token": token }));
        scene.provider.answer("/token", large);
    })
    .await;
    attempt("keys too large", &|_| {
        scene.provider.answer("/keys", padded(keys.clone()));
    })
    .await;
    attempt("no keys", &|_| {
        scene.provider.answer("/keys", ResponseTemplate::new(404));
    })
    .await;
    let metrics = operator::get(scene.bank.operator_address(), "/metrics");
    let counted = r#"bank_identity_provider_requests_total{request="token",outcome="failed"} 6"#;
    assert!(metrics.contains(counted), "{metrics}");

    // Metadata that is not usable.
    for (name, changes) in [
        ("another issuer", json!({ "issuer": "http://127.0.0.1:9" })),
        (
            "an endpoint without TLS",
            json!({ "token_endpoint": "http://login.example/token" }),
        ),
        (
            "no PKCE",
            json!({ "code_challenge_methods_supported": ["plain"] }),
        ),
        ("an endpoint that is missing", json!({ "jwks_uri": null })),
    ] {
        scene.banks.clock.advance(TimeDelta::minutes(10));
        scene.provider.announce(&changes);
        let page = scene.tab().get("/log-in").await.clone();
        let found = (page.status, page.problem());
        assert_eq!(
            found,
            (503, Some("identity-provider-unavailable".to_owned())),
            "{name}"
        );
    }
    scene.provider.announce(&json!({}));
    scene.log_in(&mut scene.tab()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banks_own_passwords_devices_and_passkeys_are_not_offered() {
    let scene = Scene::set().await;
    let mut tab = scene.tab();
    scene.log_in(&mut tab).await;
    assert!(tab.page.links("/passkeys").is_empty(), "{:?}", tab.page);
    for path in [
        "/passkeys",
        "/passkeys/add",
        "/phone",
        "/phone/enrol",
        "/log-in/passkey",
    ] {
        assert_eq!(tab.get(path).await.status, 404, "{path}");
    }
    let posted = scene
        .tab()
        .send("POST", "/log-in", &[], "customer=a&password=b&code=1")
        .await;
    assert_eq!(posted.status, 405);
    // Nor to TPPs, whatever they prefer.
    let consent = scene.banks.consent(&scene.tpp);
    let wanted = consent.headers(&[
        ("TPP-Redirect-Preferred", "false"),
        ("TPP-Redirect-URI", BACK),
    ]);
    let created = wanted.ask().await;
    assert_eq!(
        created.header("ASPSP-SCA-Approach"),
        Some("REDIRECT"),
        "{created:?}"
    );
    let id = created.json()["consentId"].as_str().unwrap().to_owned();
    let password = json!({ "psuData": { "password": scene.anna.password } });
    let headers = [PSU, ("PSU-ID", scene.anna.id.as_str())];
    let path = format!("/v1/consents/{id}/authorisations");
    let refused = scene.tpp.post(&path, &headers, &password.to_string()).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.refusal().contains("PARAMETER_NOT_SUPPORTED"),
        "{}",
        refused.refusal()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_out_ends_both_sessions_and_the_next_log_in_is_a_new_one() {
    let scene = Scene::set().await;
    let mut tab = scene.tab();
    scene.log_in(&mut tab).await;
    let mut left = tab.clone();
    let page = tab.submit("/log-out", &[]).await;
    assert_eq!(page.heading(), "You are logged out");
    assert_eq!(
        page.header("refresh"),
        None,
        "the provider has no address for it"
    );
    scene.ask(&mut left, "/").await;
    let again = tab.page.links("/log-in").pop().unwrap();
    // Whichever page the next customer opens, and however often.
    let (_, path) = scene.consent(&all_accounts()).await;
    for page in ["/log-in", "/", "/consents", &path, "/log-in"] {
        let asked = scene.ask(&mut tab, page).await;
        assert_eq!(
            asked.get("prompt").map(String::as_str),
            Some("login"),
            "{page}"
        );
    }
    let asked = scene.ask(&mut tab, &again).await;
    assert_eq!(asked["prompt"], "login");
    // The provider has to have asked: an authentication from before is not enough.
    let mut token = scene.token(&asked);
    token.claims["auth_time"] = (scene.banks.clock.now().timestamp() - 6).into();
    scene.provider.issue(&token.signed(&scene.provider.key));
    let page = scene.come_back(&mut tab, &asked).await;
    assert_eq!(page.problem().as_deref(), Some("log-in-not-accepted"));

    let issuer = scene.provider.issuer();
    scene
        .provider
        .announce(&json!({ "end_session_endpoint": format!("{issuer}/end") }));
    scene.banks.clock.advance(TimeDelta::minutes(10));
    scene.log_in(&mut tab).await;
    let page = tab.submit("/log-out", &[]).await.clone();
    // From the page without the way back from the provider.
    assert_eq!(scene.ask(&mut tab, "/").await["prompt"], "login");
    let address = page
        .header("refresh")
        .unwrap()
        .strip_prefix("0; url=")
        .unwrap();
    let (end, query) = address.split_once('?').unwrap();
    assert_eq!(end, format!("{issuer}/end"));
    let origin = scene.bank.online_banking_origin().unwrap();
    let query = url_pairs(query);
    assert_eq!(query["client_id"], CLIENT);
    assert_eq!(query["post_logout_redirect_uri"], origin.page("/log-out"));
    assert_eq!(tab.get("/log-out").await.heading(), "You are logged out");

    // It ends with the log-in that follows, and returns with the session for one approval.
    scene.log_in(&mut tab).await;
    let cookies = tab.browser.cookies.values().flatten();
    let names: Vec<&String> = cookies.map(|(name, _)| name).collect();
    assert_eq!(names, ["device", "session"]);
    let (_, path) = scene.consent(&all_accounts()).await;
    let mut tab = scene.tab();
    let asked = scene.ask(&mut tab, &path).await;
    assert!(!asked.contains_key("prompt"));
    scene.banks.clock.advance(TimeDelta::seconds(1));
    let token = scene.token(&asked).signed(&scene.provider.key);
    scene.provider.issue(&token);
    scene.come_back(&mut tab, &asked).await;
    let asked = scene.allow(&mut tab, &path).await;
    let token = scene.token(&asked).signed(&scene.provider.key);
    scene.provider.issue(&token);
    assert!(scene.come_back(&mut tab, &asked).await.sent_to.is_some());
    assert_eq!(scene.ask(&mut tab, "/").await["prompt"], "login");
}

/// Bank B with npm's `oidc-provider`, in Chromium.
struct BrowserScene {
    banks: Banks,
    bank: RunningBank,
    provider: OidcProvider,
    browser: Chromium,
    tpp: Tpp,
}

impl BrowserScene {
    async fn set(features: Features) -> Self {
        let banks = Banks::start().await;
        // The provider has to know the address of the pages, and the pages that of the provider.
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let origin = format!("http://bank-b.localhost:{port}");
        let provider = OidcProvider::start(banks.folder.path(), &origin, features);
        let mut config = Config::read(&banks.folder.path().join("bank-b.toml")).unwrap();
        config.online_banking.as_mut().unwrap().origin = origin.parse().unwrap();
        config.identity_provider = Some(provider.section());
        // Bank and provider have the same clock.
        let bank = BankServer::new(config)
            .online_banking_socket(socket)
            .start();
        let bank = bank.await.unwrap();
        let browser = Chromium::start_trusting(Scripts::On, Some(&provider.key_digest)).await;
        let identity = banks.sandbox.pki.bank_a.qwac.clone();
        Self {
            tpp: Tpp::new(bank.xs2a_address(), identity),
            banks,
            bank,
            provider,
            browser,
        }
    }

    fn pages(&self) -> String {
        self.bank.online_banking_origin().unwrap().text()
    }

    /// A consent of the TPP, and the page at which it is approved.
    async fn consent(&self) -> (String, String) {
        let body = self.banks.consent_body().to_string();
        // A page that is there, for the browser to return to.
        let back = format!("{}/other-banks", self.banks.sandbox.bank(Bank::A).pages());
        let headers = [
            PSU,
            ("TPP-Redirect-URI", back.as_str()),
            ("TPP-Redirect-Preferred", "true"),
        ];
        let created = self.tpp.post("/v1/consents", &headers, &body).await;
        assert_eq!(created.status, 201, "{created:?}");
        let created = created.json();
        let page = created["_links"]["scaRedirect"]["href"].as_str().unwrap();
        (
            created["consentId"].as_str().unwrap().to_owned(),
            page.to_owned(),
        )
    }

    async fn status(&self, consent: &str) -> String {
        let path = format!("/v1/consents/{consent}/status");
        let answer = self.tpp.get(&path, &[]).await;
        answer.json()["consentStatus"].as_str().unwrap().to_owned()
    }

    /// Signs in at the provider.
    async fn sign_in(&self, customer: &str, factor: &str) {
        let browser = &self.browser;
        browser.sees_heading("Sign in").await;
        assert!(browser.url().await.starts_with(&self.provider.issuer));
        browser.fill("User", customer).await;
        browser.fill("Secret", PASSWORD).await;
        browser.fill("Second factor", factor).await;
        browser.press("Sign in").await;
    }
}

/// Log-in and approval through a provider that no one here wrote, then the TPP reads.
#[tokio::test(flavor = "multi_thread")]
async fn in_chromium_a_consent_is_approved_at_npms_oidc_provider() {
    let scene = BrowserScene::set(Features::default()).await;
    let (anna, browser) = (scene.banks.customer(Bank::B).id, &scene.browser);
    let (consent, page) = scene.consent().await;

    // One factor is not enough.
    browser.open(&page).await;
    scene.sign_in(&anna, "").await;
    browser
        .sees_heading("Your log-in needs a second factor")
        .await;
    browser.look_at("identity-provider-weak").await;

    // The session at the provider would repeat it: the way on is a new one.
    browser.follow("Log in").await;
    scene.sign_in(&anna, FACTOR).await;
    browser.sees_heading("Allow access to your accounts?").await;
    browser
        .sees("Next, you confirm this with your log-in.")
        .await;
    browser.look_at("identity-provider-approve").await;

    // The customer thinks better of it, and again.
    next_second().await;
    browser.press("Allow access").await;
    browser.sees_heading("Sign in").await;
    browser.press("Cancel").await;
    browser.sees_heading("You have not confirmed").await;
    browser.look_at("identity-provider-cancelled").await;
    let cancelled = browser.url().await;
    browser.follow("Back to the request").await;
    browser.sees_heading("Allow access to your accounts?").await;
    assert_eq!(scene.status(&consent).await, "received");

    // Another customer confirms.
    next_second().await;
    browser.press("Allow access").await;
    let other = scene.banks.other_customer(Bank::B).id;
    scene.sign_in(&other, FACTOR).await;
    browser.sees_heading("Confirmed by another customer").await;
    browser.look_at("identity-provider-other").await;
    browser.follow("Back to the request").await;
    assert_eq!(scene.status(&consent).await, "received");

    next_second().await;
    browser.press("Allow access").await;
    scene.sign_in(&anna, FACTOR).await;
    // Back at the TPP.
    browser.sees_heading("Log in").await;
    assert!(
        browser
            .url()
            .await
            .starts_with(&scene.banks.sandbox.bank(Bank::A).pages())
    );
    assert_eq!(scene.status(&consent).await, "valid");
    let read = scene.tpp.read("/v1/accounts", &consent).await;
    let read = read.json()["accounts"].as_array().unwrap().len();
    let payment_accounts = scene.banks.accounts_at_b().len() - 1;
    assert_eq!(read, payment_accounts, "the card is in another list");

    // An answer once more.
    browser.open(&cancelled).await;
    browser.sees_heading("This log-in has ended").await;
    browser.look_at("identity-provider-over").await;

    // The session for the approval has ended: the one at the provider begins no other.
    browser.open(&format!("{}/consents", scene.pages())).await;
    scene.sign_in(&anna, FACTOR).await;
    browser
        .sees_heading("Who has access to your accounts")
        .await;
    browser.does_not_see("Passkeys").await;
    browser.press("Log out").await;
    browser.press("Yes, sign me out").await;
    browser.sees_heading("You are logged out").await;
    browser.look_at("identity-provider-logged-out").await;
    browser.follow("Log in").await;
    browser.sees_heading("Sign in").await;

    // A click on another site begins a log-in; the site itself does not.
    let log_in = format!("{}/log-in", scene.pages());
    let other_site = |html: String| {
        let encoded = STANDARD.encode(html);
        format!("data:text/html;base64,{encoded}")
    };
    let link = other_site(format!("<a href='{log_in}'>Log in</a>"));
    browser.open(&link).await;
    browser.follow("Log in").await;
    browser.sees_heading("Sign in").await;
    let refresh = format!("<meta http-equiv='refresh' content='0; url={log_in}'>");
    browser.open(&other_site(refresh)).await;
    browser.sees_heading("Log in").await;
    browser.look_at("identity-provider-begin").await;
    browser.follow("Log in").await;
    browser.sees_heading("Sign in").await;
}

/// The access is pushed to the provider, shown there, and comes back signed.
#[tokio::test(flavor = "multi_thread")]
async fn in_chromium_the_access_is_shown_by_npms_oidc_provider_and_returned() {
    let features = Features {
        pushed: true,
        details: true,
        key: true,
    };
    let scene = BrowserScene::set(features).await;
    let (anna, browser) = (scene.banks.customer(Bank::B), &scene.browser);
    let (consent, page) = scene.consent().await;
    browser.open(&page).await;
    browser.does_not_see("gets access to").await;
    scene.sign_in(&anna.id, FACTOR).await;
    browser.sees_heading("Allow access to your accounts?").await;
    next_second().await;
    browser.press("Allow access").await;
    browser.sees("Bank A gets access to:").await;
    for account in &anna.accounts {
        browser.sees(&account.number.replace(' ', "")).await;
    }
    scene.sign_in(&anna.id, FACTOR).await;
    browser.sees_heading("Log in").await;
    assert_eq!(scene.status(&consent).await, "valid");
    assert_eq!(scene.tpp.read("/v1/accounts", &consent).await.status, 200);

    // Without the provider, the page says so.
    let pages = scene.pages();
    drop(scene.provider);
    browser.open(&pages).await;
    browser
        .sees_heading("Logging in is not possible at the moment")
        .await;
    browser.look_at("identity-provider-unavailable").await;
}
