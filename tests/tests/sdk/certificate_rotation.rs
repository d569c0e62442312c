//! The SDK's own certificate is replaced while calls are made: none fails, and what is no good is
//! not taken.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bank_client::credentials::CredentialsError;
use bank_client::environment::Clock as _;
use bank_client::rotation::{CredentialFiles, CredentialFilesError, ReplacementRefused};
use bank_client::{Bank as Handle, ErrorKind, ServerRefusal};
use chrono::TimeDelta;
use fixtures::pki::{Identity, Wanted, bank_a};
use fixtures::world::Bank;
use serde_json::json;
use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::trust::{Anchors, Refusal};
use tempfile::TempDir;
use tests::banks::Banks;
use tests::files;
use tests::http::alert;
use tests::lone_bank::LoneBank;
use tests::sdk::{BANK_A, anchors, credentials};
use tests::tls_terminator::Manners;
use tests::wait::{wait_for, wait_until};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn serial(identity: &Identity) -> String {
    CertificateSummary::of(&credentials(identity).chain()[0]).serial
}

/// A certificate and its key in files, replaced as careful people do: each in one step.
struct Files(TempDir);

impl Files {
    fn with(identity: &Identity) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.put(identity);
        files
    }

    fn certificate(&self) -> PathBuf {
        self.0.path().join("qwac.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("qwac.key")
    }

    fn put(&self, identity: &Identity) {
        files::replace(&self.certificate(), &identity.chain_pem);
        files::replace(&self.key(), &identity.key_pem);
    }
}

/// Outcomes of the key pairs that a handle was offered, in words.
type Told = Arc<Mutex<Vec<String>>>;

/// Has a handle follow the files, until the returned task is aborted.
fn follow(files: CredentialFiles, handle: &Handle) -> (tokio::task::JoinHandle<()>, Told) {
    let told = Told::default();
    let (tell, handle) = (Arc::clone(&told), handle.clone());
    let watching = tokio::spawn(files.watch(Duration::from_millis(1), move |read| {
        let word = match read {
            Ok(new) => match handle.replace_credentials(new) {
                Ok(()) => "taken".to_owned(),
                Err(refused) => refused.to_string(),
            },
            Err(error) => error.to_string(),
        };
        tell.lock().unwrap().push(word);
    }));
    (watching, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_rotate_and_no_call_fails() {
    const CALLERS: usize = 4;
    /// An odd number: the last certificate is another than the first.
    const ROTATIONS: usize = 21;

    let banks = Banks::start().await;
    let consent = banks.consent(&banks.a_at_b()).approved().await;
    let pki = &banks.sandbox.pki;
    let (first, bank) = (&pki.bank_a.qwac, banks.sandbox.bank(Bank::B));
    let second = pki
        .enrol(&bank_a(), &Wanted::default(), banks.clock.now())
        .unwrap();
    let files = Files::with(first);
    let (watched, own_credentials) =
        CredentialFiles::open(files.certificate(), files.key()).unwrap();
    let handle = Handle::builder(
        bank.url(),
        bank.organisation.clone(),
        anchors(&pki.ca1),
        own_credentials,
    )
    .build()
    .unwrap();
    let (watching, told) = follow(watched, &handle);

    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            let under = handle.with_consent(&consent);
            tokio::spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match under.accounts(true).await {
                        Ok(accounts) => assert_eq!(accounts.len(), 3),
                        Err(error) => failed.push(error.to_string()),
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                failed
            })
        })
        .collect();
    let more_calls = async || {
        let before = asked.load(Ordering::Relaxed);
        wait_for("more calls", || {
            (asked.load(Ordering::Relaxed) > before + 2 * CALLERS).then_some(())
        })
        .await;
    };
    for round in 1..=ROTATIONS {
        more_calls().await;
        files.put(if round % 2 == 0 { first } else { &second });
        wait_for("the new pair", || {
            let taken = told.lock().unwrap();
            (taken.iter().filter(|word| *word == "taken").count() == round).then_some(())
        })
        .await;
    }
    // The second is in use. The first is revoked, and no caller notices.
    banks.revoke(&bank.running, &serial(first)).await;
    more_calls().await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Vec::<String>::new());
    }
    watching.abort();
    assert_eq!(
        alert(bank.running.xs2a_address(), first),
        "certificate_revoked"
    );
}

/// A bank that notes which certificates it is shown, and Bank A's handle for it.
struct Scene {
    lone: LoneBank,
    behind: MockServer,
    handle: Handle,
}

impl Scene {
    async fn set(answer: ResponseTemplate) -> Self {
        let (lone, behind) = LoneBank::mocked(Manners::Honest).await;
        Mock::given(wiremock::matchers::any())
            .respond_with(answer)
            .mount(&behind)
            .await;
        let handle = lone.builder().build().unwrap();
        Self {
            lone,
            behind,
            handle,
        }
    }

    /// Another certificate of Bank A's.
    fn another(&self, valid_for: TimeDelta, now: TimeDelta) -> Identity {
        let wanted = Wanted {
            valid_for,
            ..Wanted::default()
        };
        let at = self.lone.clock.now() + now;
        self.lone.pki.enrol(&bank_a(), &wanted, at).unwrap()
    }

    /// A call works, and the bank last saw that certificate.
    async fn works_with(&self, identity: &Identity) {
        self.handle.consent_status("any").await.unwrap();
        assert_eq!(
            self.lone.shown.lock().unwrap().last(),
            Some(&serial(identity))
        );
    }
}

fn status_received() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "consentStatus": "received" }))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_call_shows_the_new_certificate_and_one_under_way_ends_with_the_old() {
    let scene = Scene::set(status_received()).await;
    // The first answer takes its time: the certificate is replaced meanwhile. The others come at
    // once.
    Mock::given(wiremock::matchers::any())
        .respond_with(status_received().set_delay(Duration::from_secs(5)))
        .up_to_n_times(1)
        .with_priority(1)
        .mount(&scene.behind)
        .await;
    let old = scene.lone.pki.bank_a.qwac.clone();
    let new = scene.another(TimeDelta::days(700), TimeDelta::zero());
    let handle = scene.handle.clone();
    let under_way = tokio::spawn(async move { handle.consent_status("any").await });
    wait_until("the first request", async || {
        let requests = scene.behind.received_requests().await.unwrap();
        (!requests.is_empty()).then_some(())
    })
    .await;
    scene.handle.replace_credentials(credentials(&new)).unwrap();
    assert!(!under_way.is_finished());
    scene.works_with(&new).await;
    under_way.await.unwrap().unwrap();
    assert_eq!(
        *scene.lone.shown.lock().unwrap(),
        [serial(&old), serial(&new)],
        "one connection each"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_good_is_refused_and_the_old_stays() {
    let scene = Scene::set(status_received()).await;
    let old = &scene.lone.pki.bank_a.qwac;
    scene.works_with(old).await;
    let refused = |identity: &Identity| {
        scene
            .handle
            .replace_credentials(credentials(identity))
            .unwrap_err()
    };
    let expired = scene.another(TimeDelta::days(1), TimeDelta::days(-2));
    let error = refused(&expired);
    assert!(
        matches!(error, ReplacementRefused::Unusable(Refusal::Expired { .. })),
        "{error:?}"
    );
    let early = scene.another(TimeDelta::days(1), TimeDelta::days(1));
    let error = refused(&early);
    assert!(
        matches!(
            error,
            ReplacementRefused::Unusable(Refusal::NotYetValid { .. })
        ),
        "{error:?}"
    );
    let error = refused(&scene.lone.pki.bank_r.qwac);
    assert!(
        matches!(&error, ReplacementRefused::AnotherOrganisation { current, new }
            if current.as_str() == BANK_A && new != current),
        "{error:?}"
    );
    let error = refused(&scene.lone.pki.bank_a.qsealc);
    assert!(
        matches!(error, ReplacementRefused::Unusable(Refusal::WrongUsage(_))),
        "a seal does not open a connection: {error:?}"
    );
    scene.works_with(old).await;
    assert_eq!(
        scene.lone.shown.lock().unwrap().len(),
        1,
        "nor a new connection"
    );
    // Its time comes, by the handle's clock.
    scene.lone.clock.advance(TimeDelta::days(1));
    scene
        .handle
        .replace_credentials(credentials(&early))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_of_files_is_taken_once_both_fit() {
    let scene = Scene::set(status_received()).await;
    let (old, new) = (
        scene.lone.pki.bank_a.qwac.clone(),
        scene.another(TimeDelta::days(700), TimeDelta::zero()),
    );
    let files = Files::with(&old);
    let (mut watched, _) = CredentialFiles::open(files.certificate(), files.key()).unwrap();
    assert!(watched.look().is_none(), "nothing has changed");

    files::replace(&files.certificate(), &new.chain_pem[..100]);
    assert!(matches!(
        watched.look(),
        Some(Err(CredentialFilesError::Credentials {
            error: CredentialsError::Certificate(_),
            ..
        }))
    ));
    files::replace(&files.certificate(), &new.chain_pem);
    assert!(matches!(
        watched.look(),
        Some(Err(CredentialFilesError::Credentials {
            error: CredentialsError::OtherKey,
            ..
        }))
    ));
    assert!(watched.look().is_none(), "told once");
    scene.works_with(&old).await;
    fs::remove_file(files.key()).unwrap();
    assert!(
        matches!(watched.look(), Some(Err(CredentialFilesError::Unreadable { path, .. })) if path == files.key())
    );
    files::replace(&files.key(), &new.key_pem);
    let fits = watched.look().unwrap().unwrap();
    scene.handle.replace_credentials(fits).unwrap();
    scene.works_with(&new).await;
    assert!(watched.look().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_is_replaced_by_its_successor_with_an_overlap() {
    let scene = Scene::set(status_received()).await;
    let old = &scene.lone.pki.bank_a.qwac;
    let [ca1, ca2] = [&scene.lone.pki.ca1, &scene.lone.pki.ca2];
    let both = [ca1, ca2].map(|ca| ca.root_pem().unwrap()).concat();
    scene
        .handle
        .replace_anchors(Anchors::from_pem(both.as_bytes()).unwrap())
        .unwrap();
    scene.works_with(old).await;
    scene.handle.replace_anchors(anchors(ca2)).unwrap();
    let error = scene.handle.consent_status("any").await.unwrap_err();
    assert!(
        matches!(
            error.kind,
            ErrorKind::WeRefused {
                reason: ServerRefusal::Trust(Refusal::UnknownIssuer { .. }),
                ..
            }
        ),
        "{error:?}"
    );
    scene.handle.replace_anchors(anchors(ca1)).unwrap();
    scene.works_with(old).await;

    scene.lone.clock.advance(TimeDelta::days(365 * 40));
    let error = scene.handle.replace_anchors(anchors(ca1)).unwrap_err();
    assert!(
        matches!(error, ReplacementRefused::NoValidAnchor),
        "{error:?}"
    );
}
