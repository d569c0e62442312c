//! A bank that changes its mind: 429 with `Retry-After`, 401 `CONSENT_EXPIRED`, 503, then well. What the handle does, and
//! what the log tells of it. What becomes of the consent is the manager's part.

use std::sync::Arc;

use bank_client::environment::{Clock as _, Randomness};
use bank_client::{Breaker, ErrorKind, Retries};
use serde_json::json;
use tests::log_capture::LogCapture;
use tests::lone_bank::{ScriptedBank, refusal, well};
use wiremock::ResponseTemplate;

/// Always the same: no pause is longer than the bank asks for.
struct NoChance;

impl Randomness for NoChance {
    fn bytes(&self) -> [u8; 16] {
        [0; 16]
    }
}

/// The captured lines, without what the calls took.
fn lines(log: &LogCapture) -> Vec<String> {
    let text = log.text();
    let lines = text.lines().map(|line| without(line, " took_ms="));
    lines.collect()
}

/// A line without that field.
fn without(line: &str, field: &str) -> String {
    match line.split_once(field) {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|next: char| next.is_ascii_digit());
            format!("{before}{rest}")
        }
        None => line.to_owned(),
    }
}

/// The lines of a call with those fields at its end.
fn line(level: &str, end: &str, event: &str) -> String {
    let id = "00000000-0000-4000-8000-000000000000";
    format!(
        "{level:>5} call{{bank=\"Bank B\" operation=GET /v1/accounts request_id={id}{end}}}: {event}"
    )
}

#[tokio::test]
async fn the_handle_waits_repeats_and_tells_and_the_log_tells_the_story() {
    let log = LogCapture::start();
    let scripted = ScriptedBank::start([
        refusal(429, "ACCESS_EXCEEDED").insert_header("Retry-After", "1"),
        refusal(401, "CONSENT_EXPIRED"),
        ResponseTemplate::new(503),
        well(json!({ "accounts": [] })),
    ])
    .await;
    let bank = scripted
        .lone
        .builder()
        .randomness(Arc::new(NoChance))
        .retries(Retries::default())
        .build()
        .unwrap();

    let error = bank
        .with_consent("the-old-consent")
        .accounts(false)
        .await
        .unwrap_err();
    assert_eq!(error.code().unwrap().as_str(), "CONSENT_EXPIRED");
    assert!(!error.is_transient());
    let renewed = bank.with_consent("the-new-consent");
    assert!(renewed.accounts(false).await.unwrap().is_empty());

    assert_eq!(
        lines(&log),
        [
            line(
                "INFO",
                "",
                "retrying in 1000 ms attempt=1 cause=\"429 ACCESS_EXCEEDED\""
            ),
            line(
                "INFO",
                " attempts=2 status=401",
                "failed cause=\"401 CONSENT_EXPIRED\""
            ),
            line("INFO", "", "retrying in 0 ms attempt=1 cause=\"503\""),
            line("DEBUG", " attempts=2 status=200", "answered"),
        ]
    );
    let asked = scripted.asked_with("consent-id").await;
    let (old, new) = ("the-old-consent", "the-new-consent");
    assert_eq!(asked, [old, old, new, new]);
}

#[tokio::test]
async fn a_bank_that_stays_down_is_given_up_and_left_alone() {
    let log = LogCapture::start();
    let scripted = ScriptedBank::start([
        ResponseTemplate::new(503),
        ResponseTemplate::new(502),
        ResponseTemplate::new(504).insert_header("Retry-After", "20"),
        well(json!({ "accounts": [] })),
    ])
    .await;
    let clock = Arc::clone(&scripted.lone.clock);
    let bank = scripted
        .lone
        .builder()
        .randomness(Arc::new(NoChance))
        .retries(Retries {
            attempts: 2,
            ..Retries::default()
        })
        .breaker(Breaker {
            failures: 3,
            ..Breaker::default()
        })
        .build()
        .unwrap();
    let reading = bank.with_consent("the-consent");
    let ask = || async { reading.accounts(false).await.map_err(|error| error.kind) };
    assert!(matches!(
        ask().await,
        Err(ErrorKind::Status { status: 502, .. })
    ));
    assert!(matches!(
        ask().await,
        Err(ErrorKind::Status { status: 504, .. })
    ));
    let Err(ErrorKind::CircuitOpen { until, .. }) = ask().await else {
        panic!("the bank was asked")
    };
    // As long as the bank asked for, which is longer than the first pause.
    assert_eq!(until, clock.now() + chrono::TimeDelta::seconds(20));
    clock.advance(chrono::TimeDelta::seconds(20));
    assert!(ask().await.is_ok());

    let opened = format!(
        "the circuit is open: leaving the bank alone cause=\"504\" until={}",
        until.format("%FT%TZ")
    );
    let half_open = "the circuit is half open: asking whether the bank is well again";
    assert_eq!(
        lines(&log),
        [
            line("INFO", "", "retrying in 0 ms attempt=1 cause=\"503\""),
            line(
                "WARN",
                " attempts=2 status=502",
                "gave up after 2 attempts cause=\"502\""
            ),
            line("WARN", "", &opened),
            line(
                "WARN",
                " attempts=1 status=504",
                "gave up after 1 attempt cause=\"504\""
            ),
            line("DEBUG", "", "not asked: the circuit is open"),
            line("INFO", "", half_open),
            line("INFO", "", "the circuit is closed: the bank is well again"),
            line("DEBUG", " attempts=1 status=200", "answered"),
        ]
    );
}
