//! Connections at a mock bank that is in all moods.

use super::*;
use crate::authorisations::ApprovalOptions;
use crate::store::MemoryStore;
use crate::test_util::{MockBank, Mood};
use crate::vault::Key;

const DEVICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct Scene {
    mock: MockBank,
    store: Arc<dyn Store>,
    manager: ConsentManager,
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
        }
    }

    async fn connect(&self, options: &ApprovalOptions) -> Result<Approval, ManagerError> {
        let wish = Wish::all_accounts();
        self.manager
            .connect(&bank(), "17", DEVICE, &wish, options)
            .await
    }

    /// Asks for a consent, and does not get to know what came of it.
    async fn unanswered(&self) -> ConnectionId {
        self.mock.once(Mood::Malformed);
        match self.connect(&ApprovalOptions::new()).await {
            Err(ManagerError::Unanswered { connection, .. }) => connection,
            outcome => panic!("{outcome:?}"),
        }
    }

    async fn connected(&self) -> ConnectionId {
        let approval = self.connect(&ApprovalOptions::new()).await.unwrap();
        self.mock.customer_approves();
        let standing = self.manager.follow(&approval.connection).await.unwrap();
        assert!(standing.is_serving(), "{standing}");
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
    for mood in [Mood::RateLimited(wait), Mood::Broken, Mood::Malformed] {
        scene.mock.once(mood);
        let outcome = scene.manager.follow(&id).await;
        let kept = matches!(outcome, Err(ManagerError::Unanswered { .. }));
        assert!(kept, "{outcome:?}");
    }
    assert_eq!(scene.manager.follow(&id).await.unwrap(), Standing::Waiting);
    // What was put off at once was never there.
    scene.mock.once(Mood::RateLimited(wait));
    let outcome = scene.connect(&ApprovalOptions::new()).await;
    assert!(matches!(outcome, Err(ManagerError::Bank(_))), "{outcome:?}");
    assert_eq!(scene.manager.connections().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_given_up_before_the_answer_came_does_not_stay_at_the_bank() {
    let scene = Scene::set().await;
    let id = scene.unanswered().await;
    scene.mock.once(Mood::Broken);
    let outcome = scene.manager.disconnect(&id).await;
    assert!(matches!(outcome, Err(ManagerError::Bank(_))), "{outcome:?}");
    let standing = scene.manager.standing(&id).await.unwrap();
    assert_eq!(standing, Standing::Leaving);
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
async fn a_consent_that_has_expired_is_told_from_a_bank_that_is_wrong_for_a_moment() {
    let scene = Scene::set().await;
    let id = scene.connected().await;
    scene.mock.once(Mood::ConsentExpired);
    assert_eq!(scene.read(&id).await.unwrap(), 2);
    scene.mock.turns(Mood::ConsentExpired);
    let ended = Standing::Ended {
        why: Ending::Expired,
        renewal: None,
    };
    let outcome = scene.read(&id).await;
    assert!(
        matches!(&outcome, Err(ManagerError::NotServing(standing)) if *standing == ended),
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
