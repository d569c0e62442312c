//! Delta reports: what is new on an account, told once, and no more than the consent and the rules for history open.

use bank_client::environment::Clock as _;
use chrono::{Days, NaiveDate, TimeDelta};
use fixtures::world::Bank;
use serde_json::Value;
use tests::banks::Banks;
use tests::consent_requests::PSU;
use tests::http::{Response, Tpp};
use tests::ledger::{Ledger, payment, transaction_id};

struct Scene {
    banks: Banks,
    tpp: Tpp,
    ledger: Ledger,
    consent: String,
    account: String,
    card: String,
}

impl Scene {
    async fn set() -> Self {
        let banks = Banks::start().await;
        let (tpp, accounts) = (banks.a_at_b(), banks.accounts_at_b());
        let ledger = Ledger::of(&banks.sandbox.bank(Bank::B).running);
        let consent = banks.consent(&tpp).approved().await;
        Self {
            banks,
            tpp,
            ledger,
            consent,
            account: accounts[0].id.to_string(),
            card: accounts[3].id.to_string(),
        }
    }

    fn day(&self, ago: u64) -> NaiveDate {
        self.banks.today().checked_sub_days(Days::new(ago)).unwrap()
    }

    fn list(&self, query: &str) -> String {
        format!(
            "/v1/accounts/{}/transactions?bookingStatus=both&{query}",
            self.account
        )
    }

    async fn read(&self, query: &str) -> Response {
        self.tpp.read(&self.list(query), &self.consent).await
    }

    /// The booked ones of a whole report, by their ids, and how many are pending.
    async fn report(&self, query: &str) -> (Vec<String>, usize) {
        walk(&self.tpp, &self.consent, &self.list(query)).await
    }
}

async fn walk(tpp: &Tpp, consent: &str, path: &str) -> (Vec<String>, usize) {
    let (mut booked, mut pending) = (Vec::new(), 0);
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let page = tpp.read(&path, consent).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        let page = page.json();
        let list = page.get("transactions").or(page.get("cardTransactions"));
        let list = list.unwrap();
        let ids = list["booked"]
            .as_array()
            .unwrap()
            .iter()
            .map(transaction_id);
        booked.extend(ids.map(str::to_owned));
        pending += list["pending"].as_array().map_or(0, Vec::len);
        next = next_of(list);
    }
    (booked, pending)
}

fn next_of(list: &Value) -> Option<String> {
    list["_links"]["next"]["href"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_after_an_entry_is_told_whatever_its_day() {
    let scene = Scene::set().await;
    let (ledger, account) = (&scene.ledger, scene.account.as_str());
    ledger
        .add_pending(account, "P0", scene.day(2), payment(-9, "Hotel"))
        .await;
    let before = ledger.entries(account).await;
    let newest = before.iter().rfind(|entry| entry.is_booked).unwrap();
    let newest = transaction_id(&newest.details);
    let pending = before.iter().filter(|entry| !entry.is_booked).count();
    let after_newest = format!("entryReferenceFrom={newest}");
    assert_eq!(scene.report(&after_newest).await, (vec![], pending));

    // Booked late, under an earlier day; ahead of time; and one of which only its form is odd.
    let odd = "N/3 ä+&\n";
    for (id, date) in [
        ("N1", scene.day(40)),
        ("N2", scene.banks.today() + Days::new(3)),
        (odd, scene.day(1)),
    ] {
        ledger.book(account, id, date, payment(-100, "Shop")).await;
    }
    let ahead = scene.banks.today() + Days::new(2);
    ledger
        .add_pending(account, "P1", ahead, payment(-5, "Cafe"))
        .await;
    for size in [1, 2, 100] {
        let query = format!("{after_newest}&pageSize={size}");
        let expected = [odd, "N2", "N1"].map(str::to_owned).to_vec();
        assert_eq!(
            scene.report(&query).await,
            (expected, pending + 1),
            "pages of {size}"
        );
    }
    assert_eq!(
        scene
            .report("entryReferenceFrom=N1&dateFrom=2099-01-01&pageSize=1")
            .await
            .0,
        [odd, "N2"],
        "a period with a delta report is ignored"
    );
    let escaped = "entryReferenceFrom=N%2F3%20%C3%A4%2B%26%0A&pageSize=1";
    assert_eq!(scene.report(escaped).await.0, Vec::<String>::new());

    // What was pending is booked: that is new.
    ledger.book_pending(account, "P1", "N4", scene.day(0)).await;
    let (booked, left) = scene.report("entryReferenceFrom=N2").await;
    assert_eq!(
        (booked, left),
        (vec!["N4".to_owned(), odd.to_owned()], pending)
    );

    let cards = format!(
        "/v1/card-accounts/{}/transactions?bookingStatus=both&pageSize=1",
        scene.card
    );
    let newest = ledger.entries(&scene.card).await;
    let newest = newest.iter().rfind(|entry| entry.is_booked).unwrap();
    ledger
        .book(&scene.card, "C1", scene.day(2), payment(-700, "Hotel"))
        .await;
    let path = format!(
        "{cards}&entryReferenceFrom={}",
        transaction_id(&newest.details)
    );
    assert_eq!(walk(&scene.tpp, &scene.consent, &path).await.0, ["C1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_report_is_one_whose_last_page_was_handed_out() {
    let scene = Scene::set().await;
    let (ledger, account) = (&scene.ledger, scene.account.as_str());
    let (all, pending) = scene.report("deltaList=true&pageSize=500").await;
    let entries = ledger.entries(account).await;
    assert_eq!(
        all.len() + pending,
        entries.len(),
        "before the first report, everything is new"
    );
    let booked: Vec<_> = entries
        .iter()
        .rev()
        .filter(|entry| entry.is_booked)
        .collect();
    let by_arrival: Vec<&str> = booked
        .iter()
        .map(|entry| transaction_id(&entry.details))
        .collect();
    assert_eq!(all, by_arrival);
    assert_eq!(scene.report("deltaList=true").await, (vec![], pending));

    for (number, date) in [(1, scene.day(3)), (2, scene.day(0)), (3, scene.day(60))] {
        let id = format!("N{number}");
        ledger
            .book(account, &id, date, payment(number, "Shop"))
            .await;
    }
    let size = pending + 1;
    // A report of a period is no delta report, nor is one of pending ones alone.
    let period = format!("dateFrom={}", scene.day(5));
    scene.report(&period).await;
    let alone = scene.list("deltaList=true").replace("both", "pending");
    assert_eq!(scene.tpp.read(&alone, &scene.consent).await.status, 200);
    // One that is not read to its end is told again, and what comes meanwhile is for the next.
    let first = scene
        .read(&format!("deltaList=true&pageSize={size}"))
        .await
        .json();
    assert_eq!(transaction_id(&first["transactions"]["booked"][0]), "N3");
    let query = format!("deltaList=true&pageSize={size}");
    let first = scene.read(&query).await.json();
    ledger
        .book(account, "N4", scene.day(0), payment(4, "Shop"))
        .await;
    let next = next_of(&first["transactions"]).unwrap();
    let (rest, _) = walk(&scene.tpp, &scene.consent, &next).await;
    assert_eq!(rest, ["N2", "N1"]);
    assert_eq!(scene.report("deltaList=true").await.0, ["N4"]);
    assert!(scene.report("deltaList=true").await.0.is_empty());

    // Another consent of the same TPP and customer goes on from there; another TPP has its own.
    let again = scene.banks.consent(&scene.tpp).approved().await;
    let list = scene.list("deltaList=true&pageSize=500");
    assert!(walk(&scene.tpp, &again, &list).await.0.is_empty());
    let other = scene.banks.at_b(&scene.banks.sandbox.pki.bank_r.qwac);
    let others = scene.banks.consent(&other).approved().await;
    assert_eq!(walk(&other, &others, &list).await.0.len(), all.len() + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_is_no_way_to_another_account_nor_to_old_transactions() {
    let scene = Scene::set().await;
    let (ledger, account) = (&scene.ledger, scene.account.as_str());
    let old = scene.day(200);
    ledger.book(account, "OLD", old, payment(1, "Shop")).await;
    ledger
        .book(account, "NEW", scene.day(1), payment(2, "Shop"))
        .await;
    ledger
        .book(account, "LATE", scene.day(190), payment(3, "Shop"))
        .await;
    ledger
        .book(&scene.card, "ONLY-CARD", scene.day(1), payment(4, "Shop"))
        .await;
    let path = "400 RESOURCE_UNKNOWN entryReferenceFrom";
    // A pending one has no reference yet.
    ledger
        .add_pending(account, "PEND", scene.day(1), payment(5, "Shop"))
        .await;
    let never = scene.read("entryReferenceFrom=NEVER").await;
    let never = never.without_date_and_request_id();
    for wrong in ["ONLY-CARD", "PEND"] {
        let answer = scene.read(&format!("entryReferenceFrom={wrong}")).await;
        assert_eq!(answer.refusal(), path, "{wrong}");
        assert_eq!(answer.without_date_and_request_id(), never);
    }
    // Just after the customer has authenticated she shows all of it.
    assert_eq!(
        scene.report("entryReferenceFrom=OLD").await.0,
        ["LATE", "NEW"]
    );
    let begun = scene
        .read("entryReferenceFrom=OLD&pageSize=1&bookingStatus=booked")
        .await;
    assert_eq!(begun.status, 400, "a parameter is there once");
    let begun = scene
        .list("entryReferenceFrom=OLD&pageSize=1")
        .replace("both", "booked");
    let begun = scene.tpp.read(&begun, &scene.consent).await.json();
    let next = next_of(&begun["transactions"]).unwrap();

    scene.banks.clock.advance(TimeDelta::minutes(16));
    let refused = scene.read("entryReferenceFrom=OLD").await;
    assert_eq!(refused.refusal(), path);
    assert_eq!(refused.without_date_and_request_id(), never);
    assert_eq!(
        scene.report("entryReferenceFrom=NEW").await.0,
        Vec::<String>::new()
    );
    // A list that was begun in time shows no old ones either.
    let (rest, _) = walk(&scene.tpp, &scene.consent, &next).await;
    assert_eq!(rest, ["NEW"]);
    let (all, _) = scene.report("deltaList=true&pageSize=500").await;
    assert!(all.contains(&"NEW".to_owned()) && !all.contains(&"LATE".to_owned()));
    assert!(scene.banks.clock.now().date_naive() >= scene.day(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_one_report_is_none_of_another() {
    let scene = Scene::set().await;
    let entries = scene.ledger.entries(&scene.account).await;
    let reference = entries
        .iter()
        .rev()
        .filter(|entry| entry.is_booked)
        .nth(20)
        .unwrap();
    let by_reference = format!("entryReferenceFrom={}", transaction_id(&reference.details));
    let other = entries
        .iter()
        .rev()
        .filter(|entry| entry.is_booked)
        .nth(30)
        .unwrap();
    let by_other = format!("entryReferenceFrom={}", transaction_id(&other.details));
    let period = format!("dateFrom={}", scene.day(60));
    let queries = [&by_reference, &by_other, "deltaList=true", &period];
    let mut tokens = Vec::new();
    for query in queries {
        let page = scene.read(&format!("{query}&pageSize=5")).await.json();
        let next = next_of(&page["transactions"]).unwrap();
        tokens.push(next.split("page=").nth(1).unwrap().to_owned());
    }
    for (of, token) in tokens.iter().enumerate() {
        for (to, query) in queries.iter().enumerate() {
            let page = scene
                .read(&format!("{query}&pageSize=5&page={token}"))
                .await;
            if of == to {
                assert_eq!(page.status, 200, "{query}");
            } else {
                assert_eq!(page.refusal(), "400 FORMAT_ERROR page", "{query}");
            }
        }
    }
    // Not even with the place of another one written into it.
    let moved = tokens[2].replacen(&i64::MIN.to_string(), "1", 1);
    assert_ne!(moved, tokens[2]);
    let page = scene
        .read(&format!("deltaList=true&pageSize=5&page={moved}"))
        .await;
    assert_eq!(page.refusal(), "400 FORMAT_ERROR page");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_report_counts_as_one_read() {
    let scene = Scene::set().await;
    let consent = scene.banks.consent(&scene.tpp).frequency(2).approved();
    let consent = &consent.await;
    let list = scene.list("deltaList=true");
    walk(&scene.tpp, consent, &format!("{list}&pageSize=50")).await;
    let unknown = scene.list("entryReferenceFrom=NEVER");
    for _ in 0..3 {
        let refused = scene.tpp.read(&unknown, consent).await;
        assert_eq!(refused.status, 400, "what is refused does not count");
    }
    assert!(walk(&scene.tpp, consent, &list).await.0.is_empty());
    scene
        .ledger
        .book(&scene.account, "N1", scene.day(0), payment(1, "Shop"))
        .await;
    let refused = scene.tpp.read(&list, consent).await;
    assert_eq!(refused.refusal(), "429 ACCESS_EXCEEDED");
    // What was not handed out is still to be told.
    let attended = [("Consent-ID", consent.as_str()), PSU];
    let told = scene.tpp.get(&list, &attended).await.json();
    assert_eq!(transaction_id(&told["transactions"]["booked"][0]), "N1");
}
