//! A bank behind gateways: HAProxy and nginx, as Debian has them and as the documentation configures them, and what
//! gateways of all three kinds may and may not say.

use std::fs;
use std::sync::Arc;

use bank_client::environment::Clock as _;
use bank_server::RunningBank;
use bank_server::config::HeaderForm;
use bank_server::store::DatabaseLocation;
use chrono::TimeDelta;
use fixtures::openssl_client::{Reaction, Tls, call};
use fixtures::pki::{Identity, Wanted};
use openssl::base64::encode_block;
use openssl::x509::X509;
use shared_types::pki::register::Status;
use tests::banks::{Banks, trust_changed};
use tests::customer;
use tests::files;
use tests::gateway::{Asks, Gateway, GatewayListener, Kind, Relay, self_signed};
use tests::held_connection::HeldConnection;
use tests::http::{STATUS_PATH, Tpp, alert};
use tests::sdk::BANK_A;
use tests::wait::wait_for;

const UNKNOWN: &str = "403 CONSENT_UNKNOWN";

fn ders(identity: &Identity) -> Vec<Vec<u8>> {
    let chain = X509::stack_from_pem(identity.chain_pem.as_bytes()).unwrap();
    chain.iter().map(|one| one.to_der().unwrap()).collect()
}

/// RFC 9440's Byte Sequence.
fn bytes(der: &[u8]) -> String {
    format!(":{}:", encode_block(der))
}

fn leaf(identity: &Identity) -> String {
    bytes(&ders(identity)[0])
}

fn escaped(pem: &str) -> String {
    pem.replace('\n', "%0A")
        .replace(' ', "%20")
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
}

fn leaf_pem(identity: &Identity) -> String {
    fixtures::pki::leaf_of(&identity.chain_pem).unwrap()
}

/// A consent for all accounts, that Bank A asks for through a gateway and the customer gives.
async fn consent(banks: &Banks, bank: &RunningBank, tpp: &Tpp) -> String {
    let id = banks.consent(tpp).received().await;
    customer::approve(bank, &banks.sandbox.pki.bank_a.qwac, &id).await;
    id
}

/// The whole story, with a gateway in front.
async fn a_gets_in_and_c_and_a_revoked_a_do_not(kind: Kind) {
    let banks = Banks::start().await;
    let pki = &banks.sandbox.pki;
    let (a, c, r) = (&pki.bank_a.qwac, &pki.bank_c.qwac, &pki.bank_r.qwac);
    let gateway_listener = GatewayListener::start_with(&banks, kind.form(), |config| {
        // The gateway's connections are counted: none may end because it was quiet.
        config.limits.idle_timeout_seconds = 600;
    })
    .await;
    let relay = Relay::start(gateway_listener.address()).await;
    let gateway = Gateway::start(
        kind,
        Asks::Ca1,
        &banks,
        &gateway_listener.gateway,
        relay.address,
    )
    .await;
    let at_gateway = |identity: &Identity| Tpp::new(gateway.address, identity.clone());

    let consent = consent(&banks, &gateway_listener.bank, &at_gateway(a)).await;
    let accounts = at_gateway(a)
        .read("/v1/accounts?withBalance=true", &consent)
        .await;
    assert_eq!(accounts.status, 200, "{accounts:?}");
    assert_eq!(accounts.json()["accounts"].as_array().unwrap().len(), 3);

    // Bank R would be Bank A: the gateway says who it is, whatever it says itself.
    let forged = [
        ("Client-Cert", leaf(a)),
        ("Client-Cert-Chain", bytes(&ders(a)[1])),
        ("X-SSL-Client-Cert", escaped(&leaf_pem(a))),
        (
            "X-Forwarded-Client-Cert",
            format!("Cert=\"{}\"", escaped(&leaf_pem(a))),
        ),
        ("Consent-ID", consent.clone()),
    ];
    let forged: Vec<(&str, &str)> = forged
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let own_consent = at_gateway(r).read("/v1/accounts", &consent).await;
    let refused = at_gateway(r).get("/v1/accounts", &forged).await;
    assert_eq!(refused.refusal(), "400 CONSENT_UNKNOWN Consent-ID");
    assert_eq!(refused.body, own_consent.body);
    // And Bank A is still Bank A.
    assert_eq!(at_gateway(a).get("/v1/accounts", &forged).await.status, 200);

    // The gateway itself turns Bank C away.
    match (
        kind,
        at_gateway(c)
            .raw(format!(
                "GET {STATUS_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            ))
            .await
            .reaction,
    ) {
        (Kind::HaProxy, Reaction::Alert(alert)) => assert_eq!(alert.to_string(), "unknown_ca"),
        (Kind::Nginx, Reaction::Http(answer)) => {
            let answer = String::from_utf8(answer).unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 400") && answer.contains("The SSL certificate error"),
                "{answer}"
            );
        }
        other => panic!("{other:?}"),
    }

    // One that asks for no certificate of CA1 leaves it to the bank.
    let open = Gateway::start(
        kind,
        Asks::Nothing,
        &banks,
        &gateway_listener.gateway,
        relay.address,
    )
    .await;
    let at_open = |identity: &Identity| Tpp::new(open.address, identity.clone());
    assert_eq!(at_open(a).get(STATUS_PATH, &[]).await.refusal(), UNKNOWN);
    let refused = at_open(c).get(STATUS_PATH, &[]).await;
    assert_eq!(refused.refusal(), "401 CERTIFICATE_INVALID");
    let text = refused.json().to_string();
    assert!(
        text.contains("was not sent along") || text.contains("not an agreed authority"),
        "{text}"
    );
    let unauthenticated = tokio::task::spawn_blocking({
        let (address, request) = (
            open.address,
            format!("GET {STATUS_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        );
        move || call(address, None, Tls::V1_3, &request).unwrap().reaction
    })
    .await
    .unwrap();
    match unauthenticated {
        Reaction::Http(answer) => {
            assert_eq!(
                tests::http::Response::read(&answer).refusal(),
                "401 CERTIFICATE_MISSING"
            );
        }
        other => panic!("{other:?}"),
    }

    // Bank A is revoked while its connection, and that of the gateway, are open.
    let mut held = HeldConnection::open(gateway.address, a);
    let mut other = HeldConnection::open(gateway.address, r);
    assert_eq!(
        held.get("/v1/accounts", &[("Consent-ID", &consent)]).status,
        200
    );
    assert_eq!(other.get(STATUS_PATH, &[]).refusal(), UNKNOWN);
    let ended = relay.ended();
    banks
        .revoke(&gateway_listener.bank, &banks.serial_of_bank_a())
        .await;
    let refused = held.get("/v1/accounts", &[("Consent-ID", &consent)]);
    assert_eq!(refused.refusal(), "401 CERTIFICATE_REVOKE");
    assert_eq!(other.get(STATUS_PATH, &[]).refusal(), UNKNOWN);
    assert_eq!(
        held.get(STATUS_PATH, &[]).refusal(),
        "401 CERTIFICATE_REVOKE"
    );
    assert_eq!(
        relay.ended(),
        ended,
        "the gateway keeps its connections to the bank"
    );
    assert_eq!(
        at_gateway(a).get(STATUS_PATH, &[]).await.refusal(),
        "401 CERTIFICATE_REVOKE"
    );
    assert_eq!(at_gateway(r).get(STATUS_PATH, &[]).await.refusal(), UNKNOWN);
    drop((gateway, open));
    gateway_listener.bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_haproxy_a_gets_in_and_c_and_a_revoked_a_do_not() {
    a_gets_in_and_c_and_a_revoked_a_do_not(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_nginx_a_gets_in_and_c_and_a_revoked_a_do_not() {
    a_gets_in_and_c_and_a_revoked_a_do_not(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_caller_who_forges_the_headers_is_refused() {
    let banks = Banks::start().await;
    let pki = &banks.sandbox.pki;
    let (a, r) = (&pki.bank_a.qwac, &pki.bank_r.qwac);
    let gateway_listener =
        GatewayListener::start_with(&banks, HeaderForm::NginxEscapedPem, |config| {
            config.gateway_listener.as_mut().unwrap().header_name =
                Some("X-Bank-Client".to_owned());
        })
        .await;
    let direct = Tpp::new(gateway_listener.bank.xs2a_address(), r.clone());
    let without_gateways = banks.at_b(r);
    let pem = escaped(&leaf_pem(a));
    for (name, value) in [
        ("client-cert", leaf(a)),
        ("client-cert-chain", leaf(a)),
        ("x-ssl-client-cert", pem.clone()),
        ("x-forwarded-client-cert", format!("Cert=\"{pem}\"")),
    ] {
        for tpp in [&direct, &without_gateways] {
            let answer = tpp.get(STATUS_PATH, &[(name, &value)]).await;
            assert_eq!(answer.refusal(), format!("400 FORMAT_ERROR {name}"));
        }
    }
    let answer = direct.get(STATUS_PATH, &[("X-Bank-Client", &pem)]).await;
    assert_eq!(answer.refusal(), "400 FORMAT_ERROR x-bank-client");
    let answer = without_gateways
        .get(STATUS_PATH, &[("X-Bank-Client", &pem)])
        .await;
    assert_eq!(answer.refusal(), UNKNOWN, "there it means nothing");

    // No TPP comes in where gateways do, and no gateway where TPPs do.
    let request = format!(
        "GET {STATUS_PATH} HTTP/1.1\r\nHost: localhost\r\nX-Bank-Client: {pem}\r\nConnection: close\r\n\r\n"
    );
    let stranger = self_signed(
        "gateway",
        bank_client::environment::Clock::now(&*banks.clock),
        TimeDelta::days(1),
    );
    for tls in [Tls::V1_2, Tls::V1_3] {
        for (address, identity, expected) in [
            (gateway_listener.address(), Some(a), "access_denied"),
            (gateway_listener.address(), Some(&stranger), "access_denied"),
            (gateway_listener.address(), None, "certificate_required"),
            (
                gateway_listener.bank.xs2a_address(),
                Some(&gateway_listener.gateway),
                "unknown_ca",
            ),
        ] {
            let met = call(address, identity, tls, &request).unwrap().reaction;
            match met {
                Reaction::Alert(alert) => assert_eq!(alert.to_string(), expected),
                other => panic!("{other:?}"),
            }
        }
    }
    gateway_listener.bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_says_who_asks_in_its_one_form() {
    let banks = Banks::start().await;
    let a = &banks.sandbox.pki.bank_a.qwac;
    let whole = escaped(&a.chain_pem);
    let own_pem = escaped(&leaf_pem(a));
    let of = |form| match form {
        HeaderForm::Rfc9440 => ("client-cert", leaf(a)),
        HeaderForm::NginxEscapedPem => ("x-ssl-client-cert", own_pem.clone()),
        HeaderForm::EnvoyXfcc => (
            "x-forwarded-client-cert",
            format!("Hash=00;Cert=\"{own_pem}\";Chain=\"{whole}\";Subject=\"O=\\\"A\\\"\""),
        ),
    };
    let forms = [
        HeaderForm::Rfc9440,
        HeaderForm::NginxEscapedPem,
        HeaderForm::EnvoyXfcc,
    ];
    for form in forms {
        let gateway_listener = GatewayListener::start(&banks, form).await;
        let gateway = Tpp::new(gateway_listener.address(), gateway_listener.gateway.clone());
        let (name, value) = of(form);
        let get =
            async |headers: &[(&str, &str)]| gateway.get(STATUS_PATH, headers).await.refusal();

        assert_eq!(get(&[(name, &value)]).await, UNKNOWN);
        let missing = gateway.get(STATUS_PATH, &[]).await;
        assert_eq!(missing.refusal(), "401 CERTIFICATE_MISSING");
        let malformed = format!("400 FORMAT_ERROR {name}");
        assert_eq!(get(&[(name, "nonsense")]).await, malformed);
        assert_eq!(get(&[(name, &value), (name, &value)]).await, malformed);
        for other in forms.into_iter().filter(|other| *other != form) {
            let (other, theirs) = of(other);
            assert_eq!(
                get(&[(name, &value), (other, &theirs)]).await,
                format!("400 FORMAT_ERROR {other}")
            );
        }
        // What one TPP does wrong does not end the connection that others share.
        let mut held = HeldConnection::open(gateway_listener.address(), &gateway_listener.gateway);
        assert_eq!(
            held.get(STATUS_PATH, &[]).refusal(),
            "401 CERTIFICATE_MISSING"
        );
        assert_eq!(
            held.get(STATUS_PATH, &[(name, "nonsense")]).refusal(),
            malformed
        );
        assert_eq!(held.get(STATUS_PATH, &[(name, &value)]).refusal(), UNKNOWN);
        let large = "x".repeat(40_000);
        assert_eq!(
            held.get(STATUS_PATH, &[(name, &value), ("x-large", &large)])
                .refusal(),
            "431 FORMAT_ERROR"
        );
        assert_eq!(held.get(STATUS_PATH, &[(name, &value)]).refusal(), UNKNOWN);
        gateway_listener.bank.stop().await;
        // The next one begins with an empty file of that name.
        if let DatabaseLocation::File(path) = &gateway_listener.config.store.location {
            fs::remove_file(path).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_chain_is_judged_as_any_other() {
    let banks = Banks::start().await;
    let pki = &banks.sandbox.pki;
    let now = bank_client::environment::Clock::now(&*banks.clock);
    let brief = Wanted {
        valid_for: TimeDelta::days(1),
        ..Wanted::default()
    };
    let brief = pki.enrol(&fixtures::pki::bank_b(), &brief, now).unwrap();
    let gateway_listener = GatewayListener::start(&banks, HeaderForm::Rfc9440).await;
    let mut held = HeldConnection::open(gateway_listener.address(), &gateway_listener.gateway);
    let mut ask = |identity: &Identity| {
        held.get(STATUS_PATH, &[("Client-Cert", &leaf(identity))])
            .refusal()
    };
    for refused in &pki.refused {
        let answer = ask(&refused.identity);
        assert!(
            [
                "401 CERTIFICATE_",
                "401 ROLE_INVALID",
                "403 CONSENT_UNKNOWN"
            ]
            .iter()
            .any(|start| answer.starts_with(start)),
            "{}: {answer}",
            refused.reason
        );
        // Of the invalid certificates, one alone has nothing wrong but that its holder sent no chain; the bank knows the chain.
        assert_eq!(
            answer == UNKNOWN,
            refused.reason == "issuing-ca-missing",
            "{}: {answer}",
            refused.reason
        );
    }
    assert_eq!(ask(&pki.bank_a.qwac), UNKNOWN);
    assert_eq!(ask(&pki.bank_a.qsealc), "401 CERTIFICATE_INVALID");
    assert_eq!(ask(&pki.bank_c.qwac), "401 CERTIFICATE_INVALID");
    assert_eq!(ask(&brief), UNKNOWN);

    let mut register = pki.register.clone();
    register.organisations[0].status = Status::Blocked;
    let before = gateway_listener.bank.trust_report().changes;
    banks.publish(&register).await;
    trust_changed(&gateway_listener.bank, before).await;
    assert_eq!(ask(&pki.bank_a.qwac), "401 CERTIFICATE_BLOCKED");
    assert_eq!(ask(&brief), UNKNOWN);
    let before = gateway_listener.bank.trust_report().changes;
    banks.publish(&pki.register).await;
    trust_changed(&gateway_listener.bank, before).await;
    assert_eq!(ask(&pki.bank_a.qwac), UNKNOWN, "and back again");

    banks.clock.advance(TimeDelta::days(2));
    assert_eq!(ask(&brief), "401 CERTIFICATE_EXPIRED");
    assert_eq!(ask(&pki.bank_a.qwac), UNKNOWN, "on the same connection");
    gateway_listener.bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_comes_from_the_gateway_or_from_the_configuration() {
    let banks = Banks::start().await;
    let a = &banks.sandbox.pki.bank_a.qwac;
    let chain = bytes(&ders(a)[1]);
    let folder = banks.folder.path();
    let known = folder.join("known.pem");
    let issuing = fs::read(folder.join("pki/ca1/issuing.pem")).unwrap();
    // A CA that has nothing to do with it: an intermediate file must not be empty.
    fs::copy(folder.join("pki/ca2/issuing.pem"), &known).unwrap();
    let gateway_listener = GatewayListener::start_with(&banks, HeaderForm::Rfc9440, |config| {
        config.xs2a.intermediates = vec![known.clone()];
        let lists = &mut config.revocation;
        lists.lists.retain(|list| list.contains("root"));
        lists.unknown_status = shared_types::pki::revocation::UnknownStatus::SoftFail;
    })
    .await;
    let mut held = HeldConnection::open(gateway_listener.address(), &gateway_listener.gateway);
    let leaf = leaf(a);
    let alone = [("Client-Cert", leaf.as_str())];
    let whole = [alone[0], ("Client-Cert-Chain", chain.as_str())];
    let refused = held.get(STATUS_PATH, &alone);
    assert_eq!(refused.refusal(), "401 CERTIFICATE_INVALID");
    assert!(refused.json().to_string().contains("was not sent along"));
    assert_eq!(held.get(STATUS_PATH, &whole).refusal(), UNKNOWN);
    let before = gateway_listener.bank.trust_report().changes;
    files::replace(&known, issuing);
    trust_changed(&gateway_listener.bank, before).await;
    assert_eq!(held.get(STATUS_PATH, &alone).refusal(), UNKNOWN);
    gateway_listener.bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_change_their_certificates_while_the_bank_runs() {
    let banks = Banks::start().await;
    let clock = Arc::clone(&banks.clock);
    let now = || bank_client::environment::Clock::now(&*clock);
    let a = leaf(&banks.sandbox.pki.bank_a.qwac);
    let headers = [("Client-Cert", a.as_str())];
    let gateway_listener = GatewayListener::start(&banks, HeaderForm::Rfc9440).await;
    let (address, file) = (
        gateway_listener.address(),
        gateway_listener
            .config
            .gateway_listener
            .as_ref()
            .unwrap()
            .gateways[0]
            .clone(),
    );
    let old = &gateway_listener.gateway;
    let new = self_signed("new gateway", now(), TimeDelta::days(2));
    let alert = |identity: &Identity| alert(address, identity);
    let replace = async |pem: &str| {
        let before = gateway_listener.bank.trust_report().changes;
        files::replace(&file, pem);
        trust_changed(&gateway_listener.bank, before).await;
    };
    let mut of_old = HeldConnection::open(address, old);
    assert_eq!(of_old.get(STATUS_PATH, &headers).refusal(), UNKNOWN);
    assert_eq!(alert(&new), "access_denied");

    // Both, for as long as it takes.
    replace(&(old.chain_pem.clone() + new.chain_pem.as_str())).await;
    let mut of_new = HeldConnection::open(address, &new);
    assert_eq!(of_new.get(STATUS_PATH, &headers).refusal(), UNKNOWN);
    assert_eq!(of_old.get(STATUS_PATH, &headers).refusal(), UNKNOWN);

    // The old one is closed, without bytes that could be read as a response; other connections stay.
    replace(&new.chain_pem).await;
    assert!(of_old.is_closed());
    assert_eq!(alert(old), "access_denied");
    assert_eq!(of_new.get(STATUS_PATH, &headers).refusal(), UNKNOWN);

    // What is broken, or would lock all out, is refused, and the one before stays.
    let expired = self_signed("expired", now() - TimeDelta::days(9), TimeDelta::days(1));
    for (broken, says) in [
        ("nonsense", "holds no certificate"),
        (expired.chain_pem.as_str(), "none could connect"),
    ] {
        let before = gateway_listener.bank.trust_report().refusals;
        files::replace(&file, broken);
        wait_for(says, || {
            let report = gateway_listener.bank.trust_report();
            let mut problems = report.problems.iter().map(ToString::to_string);
            let is_told = problems.any(|problem| {
                problem.contains("gateway_listener.gateways[0]") && problem.contains(says)
            });
            (report.refusals > before && is_told).then_some(())
        })
        .await;
        assert_eq!(of_new.get(STATUS_PATH, &headers).refusal(), UNKNOWN);
    }

    // Time ends it as well.
    banks.clock.advance(TimeDelta::days(3));
    assert!(of_new.is_closed());
    assert_eq!(alert(&new), "certificate_expired");
    wait_for("the report", || {
        let problems = gateway_listener.bank.trust_report().problems.clone();
        problems
            .iter()
            .any(|fault| fault.key == "gateway_listener.gateways[0]")
            .then_some(())
    })
    .await;

    let mut config = gateway_listener.config.clone();
    assert!(
        bank_server::check(&config, clock_at(&banks))
            .iter()
            .any(|fault| fault.key == "gateway_listener.gateways[0]")
    );
    config.gateway_listener.as_mut().unwrap().gateways = vec!["nowhere.pem".into()];
    let faults = bank_server::check(&config, clock_at(&banks));
    assert!(
        faults
            .iter()
            .any(|fault| fault.key == "gateway_listener.gateways[0]"
                && fault.problem.contains("cannot be read")),
        "{faults:?}"
    );
    gateway_listener.bank.stop().await;
}

fn clock_at(banks: &Banks) -> bank_client::environment::ManualClock {
    let now = bank_client::environment::Clock::now(&*banks.clock);
    bank_client::environment::ManualClock::at(now)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_for_the_gateway_and_requests_for_the_tpp() {
    let banks = Banks::start().await;
    let pki = &banks.sandbox.pki;
    let [a, r] = [&pki.bank_a.qwac, &pki.bank_r.qwac].map(leaf);
    let gateway_listener = GatewayListener::start_with(&banks, HeaderForm::Rfc9440, |config| {
        config.gateway_listener.as_mut().unwrap().max_connections = 1;
        config.limits.max_connections_per_organisation = 1;
        config.limits.max_requests_per_organisation = 1;
    })
    .await;
    let mut held = HeldConnection::open(gateway_listener.address(), &gateway_listener.gateway);
    let mut ask = |leaf: &str| held.get(STATUS_PATH, &[("Client-Cert", leaf)]).refusal();
    assert_eq!(ask(&a), UNKNOWN);

    let mut excess = HeldConnection::open(gateway_listener.address(), &gateway_listener.gateway);
    let answer = excess.get(STATUS_PATH, &[("Client-Cert", &a)]);
    assert_eq!(answer.refusal(), "503 SERVICE_UNAVAILABLE");
    assert!(excess.is_closed());
    assert_eq!(ask(&a), UNKNOWN);

    // Bank A has a request open that it has sent itself, and none is left through the gateway.
    let mut direct = HeldConnection::open(gateway_listener.bank.xs2a_address(), &pki.bank_a.qwac);
    assert_eq!(direct.get(STATUS_PATH, &[]).refusal(), UNKNOWN);
    direct.send(
        "POST /v1/consents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         X-Request-ID: 99391c7e-ad88-49ec-a2ad-99ddcb1f7721\r\nContent-Length: 2\r\n\r\n",
    );
    wait_for("the open request", || {
        (ask(&a) == "429 ACCESS_EXCEEDED").then_some(())
    })
    .await;
    assert_eq!(ask(&r), UNKNOWN, "another TPP is not concerned");
    direct.send("{}");
    assert_eq!(direct.response().status, 400);
    wait_for("the end of the request", || {
        (ask(&a) == UNKNOWN).then_some(())
    })
    .await;
    gateway_listener.bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_peers_responder_is_asked_and_asked_again() {
    let banks = Banks::start().await;
    let (pki, now) = (&banks.sandbox.pki, banks.clock.now());
    let gateway_listener = GatewayListener::start_with(&banks, HeaderForm::Rfc9440, |config| {
        // How TPPs stand, only the responder says.
        config.revocation.lists.truncate(1);
        config.revocation.refresh_interval_seconds = 1;
    })
    .await;
    let mut held = HeldConnection::open(gateway_listener.address(), &gateway_listener.gateway);
    let leaf = leaf(&pki.bank_a.qwac);
    let mut ask = || held.get(STATUS_PATH, &[("Client-Cert", &leaf)]).refusal();
    assert_eq!(ask(), "403 CONSENT_UNKNOWN");
    let serial = pki.ca1.serials_of(BANK_A).remove(0);
    let reason = shared_types::pki::revocation::Reason::KeyCompromise;
    pki.ca1.revoke(&serial, reason, "Rita", now).unwrap();
    wait_for("the responder's word", || {
        (ask() == "401 CERTIFICATE_REVOKE").then_some(())
    })
    .await;
}
