//! The life of a connection at our own bank, as the SDK's consent manager leads it: renewed without
//! one read that fails, and told apart where it ends.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bank_client::AccountInformation;
use bank_client::authorisations::{ApprovalOptions, NextStep};
use bank_client::consent_manager::{
    Approval, ApprovalFailure, Attendance, ConnectionId, ConnectionStatus, ConsentManager,
    ConsentTerms, EndReason, ManagerError, Renewal,
};
use bank_client::environment::Clock;
use bank_client::store::{Kind, MemoryStore, Record, SqliteStore, Store, StoreError, Version};
use chrono::{Days, TimeDelta};
use sqlx::Row as _;
use tests::banks::Banks;
use tests::consent_requests::{DEVICE, bank_b_id, client, vault};
use tests::customer::Customer;
use tests::stores;
use tests::wait::wait_for;

const PRESENT: Attendance = Attendance::Attended(DEVICE);

/// Bank A's program, which customers connect Bank B with.
struct App {
    banks: Banks,
    store: Arc<dyn Store>,
    manager: ConsentManager,
    /// Each who connects is another one.
    customers: AtomicUsize,
}

impl App {
    async fn start() -> Self {
        Self::on(Arc::new(MemoryStore::new())).await
    }

    async fn on(store: Arc<dyn Store>) -> Self {
        let banks = Banks::start().await;
        let manager = manager(&banks, &store);
        Self {
            banks,
            store,
            manager,
            customers: AtomicUsize::new(17),
        }
    }

    async fn connect(&self, wish: &ConsentTerms) -> Approval {
        let customer = self.customers.fetch_add(1, Ordering::Relaxed);
        self.manager
            .connect(
                &bank_b_id(),
                &format!("customer {customer}"),
                DEVICE,
                wish,
                &ApprovalOptions::new(),
            )
            .await
            .unwrap()
    }

    /// Connected, and approved by the story's customer.
    async fn connected(&self, wish: &ConsentTerms) -> (ConnectionId, Approval) {
        let approval = self.connect(wish).await;
        self.approve(&approval).await;
        let status = self.manager.follow(&approval.connection).await.unwrap();
        assert!(status.is_serving(), "{status}");
        (approval.connection.clone(), approval)
    }

    async fn approve(&self, approval: &Approval) {
        let tpp = self.banks.a_at_b();
        self.banks.approve(&tpp, approval.consent_id()).await;
    }

    async fn renew(&self, id: &ConnectionId) -> Approval {
        let options = ApprovalOptions::new();
        self.manager.renew(id, DEVICE, &options).await.unwrap()
    }

    async fn read(&self, id: &ConnectionId, attendance: Attendance) -> Result<usize, ManagerError> {
        read(&self.manager, id, attendance).await
    }

    async fn status(&self, id: &ConnectionId) -> ConnectionStatus {
        self.manager.status(id).await.unwrap()
    }

    /// Status of a consent at the bank.
    async fn at_the_bank(&self, consent: &str) -> String {
        let path = format!("/v1/consents/{consent}/status");
        let answer = self.banks.a_at_b().get(&path, &[]).await.json();
        answer["consentStatus"].as_str().unwrap().to_owned()
    }

    /// Number of requests for consents at the bank.
    async fn asked_for(&self) -> i64 {
        let path = self.banks.folder.path().join("bank-b.toml");
        let database = stores::of(&path).await;
        sqlx::query("SELECT COUNT(*) FROM consent")
            .fetch_one(database.pool())
            .await
            .unwrap()
            .get(0)
    }
}

fn manager(banks: &Banks, store: &Arc<dyn Store>) -> ConsentManager {
    ConsentManager::builder(Arc::clone(store), vault())
        .bank(bank_b_id(), client(banks))
        .clock(Arc::clone(&banks.clock) as Arc<dyn Clock>)
        .build()
}

async fn read(
    manager: &ConsentManager,
    id: &ConnectionId,
    attendance: Attendance,
) -> Result<usize, ManagerError> {
    let accounts =
        async |bank: AccountInformation| bank.accounts(false).await.map(|accounts| accounts.len());
    manager.read(id, attendance, accounts).await
}

fn a_day(reads: u32) -> NonZeroU32 {
    NonZeroU32::new(reads).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_is_renewed_and_not_one_read_fails() {
    let app = App::start().await;
    // As good as no limit: the reader reads all the time.
    let wish = ConsentTerms::all_accounts().a_day(a_day(1_000_000));
    let (id, old) = app.connected(&wish).await;
    let until = app.banks.today() + Days::new(180);
    let status = app.status(&id).await;
    assert_eq!(
        status,
        ConnectionStatus::Serving {
            until,
            renewal: None
        }
    );
    assert!(app.manager.due_for_renewal(7).await.unwrap().is_empty());

    app.banks.clock.advance(TimeDelta::days(175));
    assert_eq!(
        app.manager.due_for_renewal(5).await.unwrap(),
        std::slice::from_ref(&id)
    );
    assert!(app.manager.due_for_renewal(4).await.unwrap().is_empty());

    let (reads, stop) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let readers: Vec<_> = [PRESENT, Attendance::Unattended, PRESENT]
        .into_iter()
        .map(|attendance| {
            let (manager, id) = (app.manager.clone(), id.clone());
            let (reads, stop) = (Arc::clone(&reads), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    // Not one may fail.
                    assert_eq!(read(&manager, &id, attendance).await.unwrap(), 3);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let read_on = async || {
        let goal = reads.load(Ordering::Relaxed) + 20;
        wait_for("twenty more reads", || {
            let broken = readers.iter().any(tokio::task::JoinHandle::is_finished);
            (broken || reads.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    };

    read_on().await;
    let new = app.renew(&id).await;
    assert_ne!(new.consent_id(), old.consent_id());
    assert!(matches!(new.next, NextStep::Redirect(_)));
    read_on().await;
    assert_eq!(
        app.manager.follow(&id).await.unwrap(),
        ConnectionStatus::Serving {
            until,
            renewal: Some(Renewal::Waiting)
        }
    );
    // What opens nothing yet cannot be what was read under.
    assert_eq!(app.at_the_bank(new.consent_id()).await, "received");
    assert_eq!(app.at_the_bank(old.consent_id()).await, "valid");

    // From the moment of the approval on, our bank gives nothing more under the old one.
    app.approve(&new).await;
    read_on().await;
    assert_eq!(app.at_the_bank(old.consent_id()).await, "terminatedByTpp");
    let until = app.banks.today() + Days::new(180);
    let status = app.status(&id).await;
    assert_eq!(
        status,
        ConnectionStatus::Serving {
            until,
            renewal: None
        }
    );
    app.banks.clock.advance(TimeDelta::days(6));
    read_on().await;

    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(app.manager.due_for_renewal(7).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_is_refused_leaves_the_old_one_serving() {
    let app = App::start().await;
    let (id, old) = app.connected(&ConsentTerms::all_accounts()).await;
    let until = app.status(&id).await.until().unwrap();
    let customer = Customer::of(&app.banks).await;
    for (why, expected) in [
        ("refused", ApprovalFailure::Refused),
        ("lapsed", ApprovalFailure::Lapsed),
    ] {
        let new = app.renew(&id).await;
        let again = app.renew(&id).await;
        assert_eq!(again.consent_id(), new.consent_id(), "it is asked for once");
        if why == "refused" {
            let authorisation = new.authorisation_id().unwrap();
            customer.refuse(authorisation).await.unwrap();
        } else {
            app.banks.clock.advance(TimeDelta::minutes(61));
        }
        let renewal = Some(Renewal::Failed(expected));
        let status = app.manager.follow(&id).await.unwrap();
        assert_eq!(
            status,
            ConnectionStatus::Serving { until, renewal },
            "{why}"
        );
        assert_eq!(app.read(&id, PRESENT).await.unwrap(), 3);
        assert_eq!(app.at_the_bank(old.consent_id()).await, "valid");
    }
    let new = app.renew(&id).await;
    app.approve(&new).await;
    assert_eq!(
        app.renew(&id).await.next,
        NextStep::Nothing,
        "it is approved"
    );
    assert_eq!(app.status(&id).await.renewal(), None);
    assert_eq!(app.read(&id, PRESENT).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn endings_are_told_apart() {
    let app = App::start().await;
    let customer = Customer::of(&app.banks).await;
    let ended = |reason| ConnectionStatus::Ended {
        reason,
        renewal: None,
    };

    // Never approved: it waits, is refused, or lapses.
    let refused = app.connect(&ConsentTerms::all_accounts()).await;
    let id = &refused.connection;
    assert_eq!(
        app.manager.follow(id).await.unwrap(),
        ConnectionStatus::Waiting
    );
    let outcome = app.read(id, PRESENT).await;
    assert!(matches!(
        outcome,
        Err(ManagerError::NotServing(ConnectionStatus::Waiting))
    ));
    customer
        .refuse(refused.authorisation_id().unwrap())
        .await
        .unwrap();
    let expected = ConnectionStatus::NeverApproved(ApprovalFailure::Refused);
    assert_eq!(app.manager.follow(id).await.unwrap(), expected);
    let lapsed = app.connect(&ConsentTerms::all_accounts()).await;
    app.banks.clock.advance(TimeDelta::minutes(61));
    let expected = ConnectionStatus::NeverApproved(ApprovalFailure::Lapsed);
    assert_eq!(
        app.manager.follow(&lapsed.connection).await.unwrap(),
        expected
    );

    // Replaced: the same person has connected the same bank once more, by another name.
    let (first, _) = app.connected(&ConsentTerms::all_accounts()).await;
    let (second, approval) = app.connected(&ConsentTerms::all_accounts()).await;
    let outcome = app.read(&first, PRESENT).await;
    let expected = ended(EndReason::Replaced);
    assert!(
        matches!(&outcome, Err(ManagerError::NotServing(status)) if *status == expected),
        "{outcome:?}"
    );

    // Revoked, and reported so from then on to every caller.
    assert_eq!(app.read(&second, PRESENT).await.unwrap(), 3);
    assert!(customer.revoke(approval.consent_id()).await);
    let outcome = app.read(&second, PRESENT).await;
    let expected = ended(EndReason::RevokedByCustomer);
    assert!(
        matches!(&outcome, Err(ManagerError::NotServing(status)) if *status == expected),
        "{outcome:?}"
    );
    assert_eq!(app.status(&second).await, expected);

    // What has ended can be approved anew.
    let new = app.renew(&second).await;
    app.approve(&new).await;
    assert_eq!(app.read(&second, PRESENT).await.unwrap(), 3);

    // Expired: the calendar says so, and the bank is not asked.
    app.banks.clock.advance(TimeDelta::days(180));
    assert_eq!(
        app.read(&second, PRESENT).await.unwrap(),
        3,
        "the last day counts"
    );
    app.banks.clock.advance(TimeDelta::days(1));
    let expected = ended(EndReason::Expired);
    assert_eq!(app.status(&second).await, expected);
    assert_eq!(app.manager.follow(&second).await.unwrap(), expected);

    // Given up: the bank knows, and nothing is left here.
    let (id, approval) = app.connected(&ConsentTerms::all_accounts()).await;
    app.manager.disconnect(&id).await.unwrap();
    assert_eq!(
        app.at_the_bank(approval.consent_id()).await,
        "terminatedByTpp"
    );
    let outcome = app.manager.status(&id).await;
    assert!(matches!(outcome, Err(ManagerError::NoSuchConnection(_))));
    let left = app.manager.connections().await.unwrap();
    assert_eq!(left.len(), 4);
    assert!(
        left.iter()
            .all(|one| one.id != id && one.customer.starts_with("customer "))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unattended_reads_are_counted_planned_and_never_too_many() {
    let app = App::start().await;
    app.banks
        .move_to(&format!("{}T06:00:00Z", app.banks.today() + Days::new(1)));
    let now = || app.banks.clock.now();
    let (id, approval) = app
        .connected(&ConsentTerms::all_accounts().a_day(a_day(2)))
        .await;
    let midnight = (app.banks.today() + Days::new(1))
        .and_hms_opt(0, 0, 0)
        .unwrap()
        .and_utc();
    let next = async || app.manager.next_unattended(&id).await.unwrap().unwrap();

    assert_eq!(next().await, now());
    assert_eq!(app.read(&id, Attendance::Unattended).await.unwrap(), 3);
    assert_eq!(next().await, now() + TimeDelta::hours(12));
    for _ in 0..3 {
        assert_eq!(app.read(&id, PRESENT).await.unwrap(), 3, "not counted");
    }
    app.banks.clock.advance(TimeDelta::hours(12));
    assert_eq!(app.read(&id, Attendance::Unattended).await.unwrap(), 3);
    let outcome = app.read(&id, Attendance::Unattended).await;
    assert!(
        matches!(outcome, Err(ManagerError::UsedUp { again }) if again == midnight),
        "{outcome:?}"
    );
    let status = app.status(&id).await;
    assert!(
        matches!(status, ConnectionStatus::UsedUp { again, .. } if again == midnight),
        "{status}"
    );
    assert_eq!(app.read(&id, PRESENT).await.unwrap(), 3);
    assert_eq!(next().await, now() + TimeDelta::hours(12));

    // The next day another program reads under the same consent: the bank has counted, and is
    // believed.
    app.banks.clock.advance(TimeDelta::hours(12));
    let tpp = app.banks.a_at_b();
    for _ in 0..2 {
        assert_eq!(
            tpp.read("/v1/accounts", approval.consent_id()).await.status,
            200
        );
    }
    let midnight = midnight + TimeDelta::days(1);
    let outcome = app.read(&id, Attendance::Unattended).await;
    assert!(
        matches!(outcome, Err(ManagerError::UsedUp { again }) if again == midnight),
        "{outcome:?}"
    );
    assert!(matches!(
        app.status(&id).await,
        ConnectionStatus::UsedUp { .. }
    ));
    assert_eq!(app.read(&id, PRESENT).await.unwrap(), 3);
    app.banks.clock.advance(TimeDelta::days(1));
    assert_eq!(app.read(&id, Attendance::Unattended).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_connect_a_customer_at_once_have_one_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let app = App::on(Arc::new(SqliteStore::open(&path).await.unwrap())).await;
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).await.unwrap());
    let other = manager(&app.banks, &store);
    let (bank, wish, options) = (
        bank_b_id(),
        ConsentTerms::all_accounts(),
        ApprovalOptions::new(),
    );
    let managers = [&app.manager, &other];
    let approvals = futures::future::join_all(
        (managers.into_iter().cycle().take(8))
            .map(|manager| manager.connect(&bank, "anna", DEVICE, &wish, &options)),
    )
    .await;
    let consents: BTreeSet<String> = approvals
        .into_iter()
        .map(|approval| approval.unwrap().consent_id().to_owned())
        .collect();
    assert_eq!(consents.len(), 1, "{consents:?}");
    assert_eq!(app.asked_for().await, 1);
    let connections = app.manager.connections().await.unwrap();
    assert_eq!(connections.len(), 1, "{connections:?}");
    // Another customer has another one.
    let bert = other.connect(&bank, "bert", DEVICE, &wish, &options).await;
    assert_ne!(bert.unwrap().connection, connections[0].id);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_on_one_store_renew_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let app = App::on(Arc::new(SqliteStore::open(&path).await.unwrap())).await;
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).await.unwrap());
    let other = manager(&app.banks, &store);
    let (id, _) = app.connected(&ConsentTerms::all_accounts()).await;
    let before = app.asked_for().await;
    let options = ApprovalOptions::new();
    let renewals = futures::future::join_all((0..8).map(|number| {
        let manager = if number % 2 == 0 {
            &app.manager
        } else {
            &other
        };
        manager.renew(&id, DEVICE, &options)
    }))
    .await;
    let consents: Vec<String> = renewals
        .into_iter()
        .map(|approval| approval.unwrap().consent_id().to_owned())
        .collect();
    assert!(
        consents.iter().all(|consent| *consent == consents[0]),
        "{consents:?}"
    );
    assert_eq!(app.asked_for().await, before + 1);

    let tpp = app.banks.a_at_b();
    app.banks.approve(&tpp, &consents[0]).await;
    let (one, two) = tokio::join!(app.manager.follow(&id), other.follow(&id));
    assert_eq!(
        (one.unwrap().renewal(), two.unwrap().renewal()),
        (None, None)
    );
    assert_eq!(read(&other, &id, PRESENT).await.unwrap(), 3);

    // Runs with no customer present are counted together.
    let runs = futures::future::join_all((0..8).map(|number| {
        let manager = if number % 2 == 0 {
            &app.manager
        } else {
            &other
        };
        manager.reading(&id, Attendance::Unattended)
    }))
    .await;
    assert_eq!(runs.iter().filter(|run| run.is_ok()).count(), 4);
}

/// A store whose program is killed at some write: what comes after it does not happen.
struct Killed {
    store: Arc<dyn Store>,
    writes_left: AtomicUsize,
}

#[async_trait]
impl Store for Killed {
    async fn get(&self, kind: Kind, id: &str) -> Result<Option<Record>, StoreError> {
        self.store.get(kind, id).await
    }

    async fn list(
        &self,
        kind: Kind,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Record)>, StoreError> {
        self.store.list(kind, after, limit).await
    }

    async fn put(
        &self,
        kind: Kind,
        id: &str,
        expected: Option<Version>,
        sealed: &[u8],
    ) -> Result<Version, StoreError> {
        let left = &self.writes_left;
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .map_err(|_| StoreError::Failed("killed".into()))?;
        self.store.put(kind, id, expected, sealed).await
    }

    async fn remove(&self, _: Kind, _: &str, _: Version) -> Result<(), StoreError> {
        Err(StoreError::Failed("killed".into()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_before_the_answer_is_kept_asks_again_with_one_effect() {
    let app = App::start().await;
    let killed = |writes: usize| -> Arc<dyn Store> {
        Arc::new(Killed {
            store: Arc::clone(&app.store),
            writes_left: AtomicUsize::new(writes),
        })
    };
    // The intention is written; the bank is asked; and then.
    let first = manager(&app.banks, &killed(1));
    let outcome = first
        .connect(
            &bank_b_id(),
            "17",
            DEVICE,
            &ConsentTerms::all_accounts(),
            &ApprovalOptions::new(),
        )
        .await;
    assert!(
        matches!(outcome, Err(ManagerError::Record(_))),
        "{outcome:?}"
    );
    assert_eq!(app.asked_for().await, 1);
    let known = app.manager.connections().await.unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].status, ConnectionStatus::Waiting);
    let id = known[0].id.clone();

    // Perhaps it still runs: no other takes its place before some time has passed.
    assert_eq!(
        app.manager.follow(&id).await.unwrap(),
        ConnectionStatus::Waiting
    );
    app.banks.clock.advance(TimeDelta::minutes(2));
    assert_eq!(
        app.manager.follow(&id).await.unwrap(),
        ConnectionStatus::Waiting
    );
    let approval = app.renew(&id).await;
    assert_eq!(
        app.asked_for().await,
        1,
        "the bank was asked for one consent"
    );
    app.approve(&approval).await;
    assert!(app.manager.follow(&id).await.unwrap().is_serving());

    // The same with a renewal. The old one serves all along.
    let second = manager(&app.banks, &killed(1));
    let outcome = second.renew(&id, DEVICE, &ApprovalOptions::new()).await;
    assert!(
        matches!(outcome, Err(ManagerError::Record(_))),
        "{outcome:?}"
    );
    assert_eq!(app.asked_for().await, 2);
    assert_eq!(app.read(&id, PRESENT).await.unwrap(), 3);
    app.banks.clock.advance(TimeDelta::minutes(2));
    let approval = app.renew(&id).await;
    assert_eq!(app.asked_for().await, 2);

    // And between the approval and the switch.
    app.approve(&approval).await;
    let third = manager(&app.banks, &killed(0));
    assert!(third.follow(&id).await.is_err());
    assert_eq!(app.read(&id, PRESENT).await.unwrap(), 3);
    assert_eq!(app.status(&id).await.renewal(), None);
}
