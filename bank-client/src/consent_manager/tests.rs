//! Consent manager against a mock bank with every `MockBehaviour`.

use std::sync::atomic::{AtomicUsize, Ordering};

use shared_types::environment::ManualClock;

use super::*;
use crate::authorisations::ApprovalOptions;
use crate::store::MemoryStore;
use crate::test_util::{MockBank, MockBehaviour};
use crate::vault::Key;

const DEVICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct Scene {
    mock: MockBank,
    store: Arc<dyn Store>,
    manager: ConsentManager,
    /// Each who connects is another one.
    customers: AtomicUsize,
}

impl Scene {
    async fn set() -> Self {
        let mock = MockBank::happy().await;
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let key = Key::from_bytes([1; 32]);
        let vault = Vault::new(&key, "consents", Arc::new(SystemRandomness)).unwrap();
        let manager = ConsentManager::builder(Arc::clone(&store), vault)
            .bank(bank(), mock.bank())
            .build();
        Self {
            mock,
            store,
            manager,
            customers: AtomicUsize::new(17),
        }
    }

    async fn connect(&self, options: &ApprovalOptions) -> Result<Approval, ManagerError> {
        let consent_terms = ConsentTerms::all_accounts();
        let customer = self.customers.fetch_add(1, Ordering::Relaxed).to_string();
        self.manager
            .connect(&bank(), &customer, DEVICE, &consent_terms, options)
            .await
    }

    /// Asks for a consent, and does not get to know what came of it.
    async fn unanswered(&self) -> ConnectionId {
        self.mock.once(MockBehaviour::Malformed);
        match self.connect(&ApprovalOptions::new()).await {
            Err(ManagerError::Unanswered { connection, .. }) => connection,
            outcome => panic!("{outcome:?}"),
        }
    }

    async fn connected(&self) -> ConnectionId {
        let approval = self.connect(&ApprovalOptions::new()).await.unwrap();
        self.mock.customer_approves();
        let status = self.manager.follow(&approval.connection).await.unwrap();
        assert!(status.is_serving(), "{status}");
        approval.connection
    }

    async fn read(&self, id: &ConnectionId) -> Result<usize, ManagerError> {
        self.manager
            .read(id, Attendance::Attended(DEVICE), |under| async move {
                under.accounts(false).await.map(|accounts| accounts.len())
            })
            .await
    }

    async fn deleted(&self) -> Vec<String> {
        let mut asked = self.mock.asked().await;
        asked.retain(|line| line.starts_with("DELETE"));
        asked
    }
}

fn bank() -> BankId {
    "mock".parse().unwrap()
}

#[tokio::test]
async fn what_the_bank_may_have_heard_is_not_given_up_before_it_says_a_word() {
    let scene = Scene::set().await;
    let id = scene.unanswered().await;
    let wait = std::time::Duration::from_secs(1);
    for mood in [
        MockBehaviour::RateLimited(wait),
        MockBehaviour::Broken,
        MockBehaviour::Malformed,
    ] {
        scene.mock.once(mood);
        let outcome = scene.manager.follow(&id).await;
        let kept = matches!(outcome, Err(ManagerError::Unanswered { .. }));
        assert!(kept, "{outcome:?}");
    }
    assert_eq!(
        scene.manager.follow(&id).await.unwrap(),
        ConnectionStatus::Waiting
    );
    // What was put off at once was never there.
    scene.mock.once(MockBehaviour::RateLimited(wait));
    let outcome = scene.connect(&ApprovalOptions::new()).await;
    assert!(matches!(outcome, Err(ManagerError::Bank(_))), "{outcome:?}");
    assert_eq!(scene.manager.connections().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_given_up_before_the_answer_came_does_not_stay_at_the_bank() {
    let scene = Scene::set().await;
    let id = scene.unanswered().await;
    scene.mock.once(MockBehaviour::Broken);
    let outcome = scene.manager.disconnect(&id).await;
    let untold = matches!(outcome, Err(ManagerError::NotGivenUp { .. }));
    assert!(untold, "{outcome:?}");
    let status = scene.manager.status(&id).await.unwrap();
    assert_eq!(status, ConnectionStatus::Leaving);
    scene.manager.disconnect(&id).await.unwrap();
    assert_eq!(
        scene.deleted().await,
        ["DELETE /v1/consents/mock-consent-1"]
    );
    assert!(scene.manager.connections().await.unwrap().is_empty());
}

#[tokio::test]
async fn who_comes_back_to_another_address_is_sent_another_way() {
    let scene = Scene::set().await;
    let back_to = |port| ApprovalOptions::new().return_to(format!("http://127.0.0.1:{port}/"));
    let first = scene.connect(&back_to(1)).await.unwrap();
    let id = &first.connection;
    let renew = async |port| {
        let renewed = scene.manager.renew(id, DEVICE, &back_to(port)).await;
        renewed.unwrap().consent_id().to_owned()
    };
    assert_eq!(renew(1).await, first.consent_id(), "it waits");
    let second = renew(2).await;
    assert_ne!(second, first.consent_id());
    assert_eq!(renew(2).await, second);
    scene.manager.follow(id).await.unwrap();
    let given_up = format!("DELETE /v1/consents/{}", first.consent_id());
    assert_eq!(scene.deleted().await, [given_up]);
    scene.mock.customer_approves();
    assert!(scene.manager.follow(id).await.unwrap().is_serving());
}

#[tokio::test]
async fn a_return_from_the_bank_is_one_line_to_test_and_errors_are_sentences() {
    let scene = Scene::set().await;
    let back = "https://app.example/back?from=bank";
    let options = ApprovalOptions::new()
        .return_to(back)
        .return_to_if_refused("https://app.example/refused");
    let [first, second] = [
        scene.connect(&options).await.unwrap(),
        scene.connect(&options).await.unwrap(),
    ];
    let id = &first.connection;

    let missing = scene.manager.handle_redirect(id, back).await.unwrap_err();
    assert!(matches!(missing, ManagerError::StateMissing), "{missing}");
    let theirs = scene.mock.approve(&second);
    let foreign = scene
        .manager
        .handle_redirect(id, &theirs)
        .await
        .unwrap_err();
    assert!(matches!(&foreign, ManagerError::Foreign(to) if to == id));
    for error in [missing, foreign] {
        // What a program prints whose `main` ends with it.
        let printed = format!("Error: {error:?}");
        assert!(printed.starts_with("Error: the customer came back with"));
        assert!(!printed.contains('\n'), "{printed}");
    }

    let ours = scene.mock.approve(&first);
    assert!(ours.starts_with("https://app.example/back?from=bank&state="));
    assert!(
        scene
            .manager
            .handle_redirect(id, &ours)
            .await
            .unwrap()
            .is_serving()
    );

    let third = scene.connect(&options).await.unwrap();
    let refused = scene.mock.refuse(&third);
    assert!(refused.starts_with("https://app.example/refused?state="));
    assert_eq!(
        scene
            .manager
            .handle_redirect(&third.connection, &refused)
            .await
            .unwrap(),
        ConnectionStatus::NeverApproved(ApprovalFailure::Refused)
    );
}

#[tokio::test]
async fn reads_are_counted_by_the_banks_own_day() {
    let mock = MockBank::happy().await;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let vault = || {
        let key = Key::from_bytes([1; 32]);
        Vault::new(&key, "consents", Arc::new(SystemRandomness)).unwrap()
    };
    let berlin = Terms {
        time_zone: Tz::Europe__Berlin,
        ..Terms::default()
    };
    // Half an hour before midnight in Berlin, on the day on which its clocks go forward, and on an
    // ordinary one.
    for last_half_hour in ["2026-03-29T21:30:00Z", "2026-11-24T22:30:00Z"] {
        let clock = Arc::new(ManualClock::at(last_half_hour.parse().unwrap()));
        let manager = |with_bank| {
            let builder = ConsentManager::builder(Arc::clone(&store), vault())
                .terms(bank(), berlin)
                .clock(Arc::<ManualClock>::clone(&clock));
            let builder = if with_bank {
                builder.bank(bank(), mock.bank())
            } else {
                builder
            };
            builder.build()
        };
        let reading = manager(true);
        let (consent_terms, options) = (ConsentTerms::all_accounts(), ApprovalOptions::new());
        let asked = reading
            .connect(&bank(), last_half_hour, None, &consent_terms, &options)
            .await
            .unwrap();
        mock.customer_approves();
        let id = &asked.connection;
        reading.follow(id).await.unwrap();
        let read = async || {
            reading
                .reading(id, Attendance::Unattended)
                .await
                .map(|_| ())
        };
        for _ in 0..4 {
            read().await.unwrap();
        }
        assert!(matches!(read().await, Err(ManagerError::UsedUp { .. })));
        clock.advance(chrono::TimeDelta::minutes(29));
        assert!(matches!(read().await, Err(ManagerError::UsedUp { .. })));
        // It is midnight there; in UTC, the day goes on for an hour or two.
        clock.advance(chrono::TimeDelta::minutes(1));
        let listing = manager(false);
        let status = listing.status(id).await.unwrap();
        assert!(
            matches!(status, ConnectionStatus::Serving { .. }),
            "{status}"
        );
        // So a list has it, which says when they are counted anew.
        let mut listed = listing.connections().await.unwrap();
        listed.retain(|connection| connection.id == *id);
        let [connection] = listed.as_slice() else {
            panic!("{listed:?}")
        };
        assert_eq!(
            connection.days_left,
            Some(179),
            "it was asked for yesterday"
        );
        let reads = connection.unattended.as_ref().unwrap();
        assert_eq!((reads.left, reads.a_day.get()), (4, 4));
        let until = reads.until.naive_local();
        assert_eq!(until.time(), chrono::NaiveTime::MIN);
        let left = reads.until.to_utc() - clock.now();
        assert_eq!(left, chrono::TimeDelta::days(1));
        read().await.unwrap();
    }
}

#[tokio::test]
async fn a_bank_that_is_being_given_up_can_be_connected_anew() {
    let scene = Scene::set().await;
    let (consent_terms, options) = (ConsentTerms::all_accounts(), ApprovalOptions::new());
    let connect = async || {
        let (bank, anna) = (bank(), "anna");
        let connecting = scene
            .manager
            .connect(&bank, anna, None, &consent_terms, &options);
        connecting.await.unwrap()
    };
    let first = connect().await;
    scene.mock.customer_approves();
    let id = &first.connection;
    assert!(scene.manager.follow(id).await.unwrap().is_serving());
    scene.mock.turns(MockBehaviour::Broken);
    assert!(scene.manager.disconnect(id).await.is_err());
    scene.mock.turns(MockBehaviour::Happy);
    let second = connect().await;
    assert_eq!(second.connection, *id, "one connection");
    scene.mock.customer_approves();
    assert!(scene.manager.follow(id).await.unwrap().is_serving());
    let given_up = format!("DELETE /v1/consents/{}", first.consent_id());
    assert_eq!(scene.deleted().await, [given_up], "the bank is told later");
    assert_eq!(scene.manager.connections().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_consent_that_has_expired_is_told_from_a_bank_that_is_wrong_for_a_moment() {
    let scene = Scene::set().await;
    let id = scene.connected().await;
    scene.mock.once(MockBehaviour::ConsentExpired);
    assert_eq!(scene.read(&id).await.unwrap(), 2);
    scene.mock.turns(MockBehaviour::ConsentExpired);
    let ended = ConnectionStatus::Ended {
        reason: EndReason::Expired,
        renewal: None,
    };
    let outcome = scene.read(&id).await;
    assert!(
        matches!(&outcome, Err(ManagerError::NotServing(status)) if *status == ended),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_connection_that_cannot_be_read_hides_no_other() {
    let scene = Scene::set().await;
    let damaged = ConnectionId::new(SystemRandomness.uuid());
    scene
        .store
        .put(Kind::Connection, &damaged.to_string(), None, b"damaged")
        .await
        .unwrap();
    let outcome = scene.manager.connections().await;
    let all = matches!(outcome, Err(ManagerError::Record(_)));
    assert!(all, "where nothing can be read, it is the key: {outcome:?}");
    let id = scene.connected().await;
    let connections = scene.manager.connections().await.unwrap();
    assert_eq!(connections.len(), 1);
    assert_eq!(connections[0].id, id);
    let unreadable = scene.manager.unreadable().await.unwrap();
    assert_eq!(unreadable.len(), 1);
    assert_eq!(unreadable[0].id, damaged);
}
