use std::sync::Arc;

use chrono::TimeDelta;
use shared_types::environment::SystemRandomness;

use sqlx::Row as _;

use super::*;

struct Desk {
    connections: Connections,
    database: Database,
    now: DateTime<Utc>,
    _folder: tempfile::TempDir,
}

fn anna() -> PsuId {
    PsuId("anna".to_owned())
}

fn bank() -> OrganisationId {
    "PSDFR-ACPR-20002".parse().unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

impl Desk {
    async fn open() -> Self {
        let (database, folder) = crate::store::tests::database().await;
        let vault = Vault::new(&[7; 32], Arc::new(SystemRandomness)).unwrap();
        Self {
            connections: Connections::new(database.clone(), vault),
            database,
            now: "2026-11-24T12:00:00Z".parse().unwrap(),
            _folder: folder,
        }
    }

    /// Asks for a consent of that name, with a state of the same name.
    async fn ask(&self, name: &str) -> Option<Connection> {
        let (psu, bank) = (anna(), bank());
        let new = NewConnection {
            id: name,
            psu: &psu,
            bank: &bank,
            state: name,
            now: self.now,
        };
        let earlier = self.connections.begin(&new).await.unwrap();
        let asked = RequestedConsent {
            consent: name.to_owned(),
            authorisation: None,
            link: format!("https://b/{name}"),
        };
        assert!(self.connections.asked(&new, &asked).await.unwrap());
        earlier
    }

    async fn find(&self, id: &str) -> Option<Connection> {
        self.connections.find(&anna(), id).await.unwrap()
    }

    /// Asks for a consent that is approved.
    async fn run(&self, name: &str) -> Vec<Connection> {
        self.ask(name).await;
        let asked = self.find(name).await.unwrap();
        let until = day("2027-05-23");
        self.connections.take_over(&asked, until).await.unwrap()
    }

    async fn all(&self) -> Vec<(String, ConnectionStatus)> {
        let all = self.connections.of(&anna()).await.unwrap();
        all.into_iter().map(|one| (one.id, one.status)).collect()
    }
}

#[tokio::test]
async fn a_state_is_good_for_once_and_for_its_customer() {
    let desk = Desk::open().await;
    desk.ask("first").await;
    let back = async |psu: &str, state: &str| {
        let psu = PsuId(psu.to_owned());
        desk.connections
            .come_back(&psu, state, desk.now)
            .await
            .unwrap()
    };
    assert!(back("anna", "nothing").await == ReturnOutcome::Unknown);
    let ReturnOutcome::First(connection) = back("anna", "first").await else {
        panic!("the first time");
    };
    assert_eq!(connection.consent.as_deref(), Some("first"));
    assert!(back("anna", "first").await == ReturnOutcome::Repeated);
    assert!(
        back("lucas", "first").await == ReturnOutcome::Unknown,
        "another's, and used"
    );
    let first = desk.find("first").await.unwrap();
    assert_eq!(first.returned, Some(desk.now));

    // Another customer has approved than the one who requested the consent.
    desk.ask("second").await;
    let ReturnOutcome::Foreign(connection) = back("lucas", "second").await else {
        panic!("another's");
    };
    assert_eq!(connection.consent.as_deref(), Some("second"));
    assert!(back("anna", "second").await == ReturnOutcome::Unknown);
    assert!(desk.find("second").await.is_none());
    desk.ask("third").await;
    let lucas = PsuId("lucas".to_owned());
    let foreign = desk.connections.find(&lucas, "third").await.unwrap();
    assert!(foreign.is_none());
}

#[tokio::test]
async fn a_renewal_takes_over_when_it_is_approved_and_not_before() {
    let desk = Desk::open().await;
    assert!(desk.run("old").await.is_empty());
    let old = desk.find("old").await.unwrap();
    desk.connections
        .keep(&old, b"data", desk.now)
        .await
        .unwrap();

    assert!(
        desk.ask("renewal").await.is_none(),
        "what runs is not given up"
    );
    let standing = [
        ("old".to_owned(), ConnectionStatus::Active),
        ("renewal".to_owned(), ConnectionStatus::Requested),
    ];
    assert_eq!(desk.all().await, standing);
    // Asked for once more: only the earlier request is given up.
    let given_up = desk.ask("another").await.unwrap();
    assert_eq!(given_up.consent.as_deref(), Some("renewal"));

    let another = desk.find("another").await.unwrap();
    let given_up = desk
        .connections
        .take_over(&another, day("2027-06-01"))
        .await
        .unwrap();
    assert_eq!(given_up[0].consent.as_deref(), Some("old"));
    assert_eq!(
        desk.all().await,
        [("another".to_owned(), ConnectionStatus::Active)]
    );
    let running = desk.find("another").await.unwrap();
    assert_eq!(
        running.data.as_deref(),
        Some(&b"data"[..]),
        "is kept until more is fetched"
    );
    assert_eq!(running.fetched, Some(desk.now));
    assert_eq!(running.valid_until, Some(day("2027-06-01")));
    assert!(running.link.is_none());
    // The same once more, from another tab.
    assert!(
        desk.connections
            .take_over(&another, day("2027-06-01"))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        desk.all().await,
        [("another".to_owned(), ConnectionStatus::Active)]
    );
}

#[tokio::test]
async fn what_ends_leaves_no_data_behind() {
    let desk = Desk::open().await;
    desk.run("one").await;
    let one = desk.find("one").await.unwrap();
    desk.connections
        .keep(&one, b"data", desk.now)
        .await
        .unwrap();
    let later = desk.now + TimeDelta::hours(7);
    desk.connections.failed(&one, "down", later).await.unwrap();
    let down = desk.find("one").await.unwrap();
    assert_eq!(down.data.as_deref(), Some(&b"data"[..]));
    assert_eq!((down.fetched, down.tried), (Some(desk.now), Some(later)));
    assert_eq!(down.problem.as_deref(), Some("down"));

    desk.connections.end(&down, "revoked", later).await.unwrap();
    let ended = desk.find("one").await.unwrap();
    assert!(
        ended.status == ConnectionStatus::Ended && ended.data.is_none() && ended.consent.is_none()
    );
    // What comes in late is not kept.
    desk.connections.keep(&ended, b"late", later).await.unwrap();
    assert!(desk.find("one").await.unwrap().data.is_none());
    // The next one takes its place, and another end takes the place of this one.
    assert_eq!(desk.run("two").await.len(), 1);
    let two = desk.find("two").await.unwrap();
    desk.connections.end(&two, "revoked", later).await.unwrap();
    assert_eq!(
        desk.all().await,
        [("two".to_owned(), ConnectionStatus::Ended)]
    );
    assert!(desk.connections.forget(&anna(), "two").await.unwrap());
    assert!(!desk.connections.forget(&anna(), "two").await.unwrap());
}

#[tokio::test]
async fn who_is_away_is_served_by_what_was_tried_longest_ago() {
    let desk = Desk::open().await;
    desk.run("one").await;
    let due = async |hours| {
        let before = desk.now + TimeDelta::hours(hours);
        let now = before + TimeDelta::hours(1);
        let due = desk.connections.due(before, now, 10).await.unwrap();
        due.len()
    };
    assert_eq!(
        due(9).await,
        0,
        "has never been tried: she is there and waits for it"
    );
    let one = desk.find("one").await.unwrap();
    desk.connections
        .keep(&one, b"data", desk.now)
        .await
        .unwrap();
    assert_eq!((due(0).await, due(6).await), (0, 1));
    // Of two replicas that find it, one reads it.
    let hours = |hours| desk.now + TimeDelta::hours(hours);
    let claim = async || {
        desk.connections
            .claim("one", hours(6), hours(7))
            .await
            .unwrap()
            .map(|claimed| claimed.data)
    };
    assert_eq!(
        (claim().await, claim().await),
        (Some(Some(b"data".to_vec())), None)
    );
    assert_eq!((due(7).await, due(8).await), (0, 1), "again after its time");
    // One that does not open is no longer the first in line, either.
    sqlx::query("UPDATE connection SET data = 'x'")
        .execute(desk.database.pool())
        .await
        .unwrap();
    let unreadable = desk.connections.claim("one", hours(8), hours(9)).await;
    assert!(matches!(unreadable, Err(StoreError::Corrupt { .. })));
    assert_eq!(due(9).await, 0);
    // One that a replica has tried whose clock is ahead is due.
    sqlx::query("UPDATE connection SET tried = $1, data = NULL")
        .bind(hours(24 * 30).timestamp())
        .execute(desk.database.pool())
        .await
        .unwrap();
    assert_eq!(due(9).await, 1);
    let claimed = desk.connections.claim("one", hours(9), hours(10)).await;
    assert!(claimed.unwrap().is_some());
    assert_eq!(due(9).await, 0);
}

#[tokio::test]
async fn nothing_can_be_read_in_the_database_alone() {
    let desk = Desk::open().await;
    desk.ask("consent-id").await;
    let columns = "SELECT consent, link FROM connection";
    let row = sqlx::query(columns)
        .fetch_one(desk.database.pool())
        .await
        .unwrap();
    for column in ["consent", "link"] {
        let text: String = row.get(column);
        assert!(!text.is_empty() && !text.contains("consent-id"), "{text}");
    }
    // Nor does it open for another customer.
    sqlx::query("UPDATE connection SET psu = 'lucas'")
        .execute(desk.database.pool())
        .await
        .unwrap();
    let stolen = desk.connections.of(&PsuId("lucas".to_owned())).await;
    assert!(stolen.is_err());
}
