//! Accounts at other banks, as a browser meets them: what goes wrong, what is misused, and what time does. The story itself
//! is told in `browser_story`.

use bank_client::environment::Clock as _;
use chrono::TimeDelta;
use fixtures::browser::{Browser, Page};
use fixtures::sandbox::CUSTOMER;
use fixtures::sandbox::customer::Customer;
use fixtures::world::{Bank, SampleCustomer};
use shared_types::xs2a::consent::ConsentStatus;
use tests::banks::Banks;
use tests::browser::{Tab, code_of};
use tests::stores;
use tests::wait::wait_until;

/// A customer of Bank A and Bank B, with a browser at Bank A.
struct Desk {
    banks: Banks,
    a: Tab,
}

impl Desk {
    async fn open() -> Self {
        let banks = Banks::start().await;
        let a = Tab::at(&banks.sandbox.bank(Bank::A).running);
        let mut desk = Self { banks, a };
        desk.log_in().await;
        desk
    }

    fn at(&self, bank: Bank) -> SampleCustomer {
        self.banks.customer(bank)
    }

    /// Moves the clock on. Sessions end after some minutes.
    fn wait(&self, time: TimeDelta) {
        self.banks.clock.advance(time);
    }

    async fn log_in(&mut self) {
        self.wait(TimeDelta::seconds(30));
        let anna = self.at(Bank::A);
        self.a = Tab::at(&self.banks.sandbox.bank(Bank::A).running);
        self.a.log_in(&self.banks, &anna).await;
    }

    /// Asks Bank B for a consent. Returns where it is approved there.
    async fn ask(&mut self) -> String {
        self.a.get("/other-banks/connect").await;
        let bank = self.a.page.links("/other-banks/connect/")[0].clone();
        self.a.get(&bank).await;
        self.a.submit(&bank, &[]).await;
        assert!(
            self.a.page.path().starts_with("/other-banks/go/"),
            "{:?}",
            self.a.page
        );
        let pages = self.banks.sandbox.bank(Bank::B).pages();
        self.a.page.links(&pages)[0].clone()
    }

    /// The customer at Bank B, with a browser that has been nowhere and stays there.
    fn customer(&self) -> Customer {
        // Codes of this moment may belong to what was asked before.
        self.wait(TimeDelta::seconds(30));
        let mut customer = Customer::new(self.at(Bank::B), self.banks.clock.clone());
        customer.browser = Browser::at(&self.banks.sandbox.bank(Bank::B).pages()).unwrap();
        customer
    }

    /// Approves at Bank B. Returns where that sends the browser.
    async fn approve(&mut self, at: &str) -> String {
        self.sent_back(self.customer().approve(at).await.unwrap())
    }

    async fn refuse(&mut self, at: &str) -> String {
        self.sent_back(self.customer().refuse(at).await.unwrap())
    }

    fn sent_back(&self, page: Page) -> String {
        let to = page.sent_to.unwrap_or_else(|| panic!("{:?}", page.html));
        let pages = self.banks.sandbox.bank(Bank::A).pages();
        to.as_str().strip_prefix(&pages).unwrap().to_owned()
    }

    async fn connect(&mut self) {
        let at = self.ask().await;
        let back = self.approve(&at).await;
        self.a.get(&back).await;
        assert_eq!(
            self.problem().as_deref(),
            Some("other-banks-connected"),
            "{:?}",
            self.a.page
        );
    }

    fn problem(&self) -> Option<String> {
        self.a.page.problem()
    }

    /// Whether the accounts at Bank B are on the page.
    fn shows_b(&self) -> bool {
        let text = self.a.page.text().replace(['\u{a0}', ' '], "");
        let accounts = self.at(Bank::B).accounts;
        let shown = accounts.iter().filter(|one| text.contains(&one.number));
        let shown = shown.count();
        assert!(shown == 0 || shown == accounts.len(), "all or none: {text}");
        shown > 0
    }

    /// The consents of Bank A at Bank B, the oldest first.
    async fn consents(&self) -> Vec<(String, ConsentStatus)> {
        let running = &self.banks.sandbox.bank(Bank::B).running;
        let psu = bank_server::domain::PsuId(CUSTOMER.to_owned());
        let mut given = running.authorisations().consents_of(&psu).await.unwrap();
        given.sort_by_key(|one| one.consent.last_action);
        given
            .into_iter()
            .map(|one| (one.consent.id, one.status))
            .collect()
    }

    async fn statuses(&self) -> Vec<ConsentStatus> {
        let consents = self.consents().await.into_iter();
        consents.map(|(_, status)| status).collect()
    }

    /// Waits until the consents at Bank B stand so, in the order of the statuses' names; background work is done a little later.
    async fn come_to(&self, wanted: &[ConsentStatus]) {
        let what = format!("{wanted:?} at Bank B");
        wait_until(&what, async || {
            let mut statuses = self.statuses().await;
            statuses.sort_by_key(|status| status.as_str());
            (statuses == wanted).then_some(())
        })
        .await;
    }
}

/// A customer has another one approve what she herself has begun: it must not become hers.
#[tokio::test(flavor = "multi_thread")]
async fn the_customer_who_approves_is_the_customer_who_asked() {
    let mut desk = Desk::open().await;
    let at = desk.ask().await;
    let go = desk.a.page.path().to_owned();
    let back = desk.approve(&at).await;

    // She who asked cannot have it looked up before a browser has come back to her.
    desk.a.get("/other-banks").await;
    assert!(
        desk.a.page.text().contains("You started to connect"),
        "{:?}",
        desk.a.page
    );
    assert!(!desk.a.page.html.contains("/other-banks/check/"));

    let other = desk.banks.other_customer(Bank::A);
    desk.wait(TimeDelta::seconds(30));
    let mut victim = Tab::at(&desk.banks.sandbox.bank(Bank::A).running);
    victim.log_in(&desk.banks, &other).await;
    victim.get(&back).await;
    assert_eq!(
        victim.page.problem().as_deref(),
        Some("other-banks-unknown-return")
    );
    desk.come_to(&[ConsentStatus::TerminatedByTpp]).await;

    // It is over for the one who asked as well.
    for (path, problem) in [
        (back.as_str(), "other-banks-unknown-return"),
        (&go, "other-banks-no-such-connection"),
    ] {
        desk.a.get(path).await;
        assert_eq!(desk.problem().as_deref(), Some(problem));
        assert_eq!(desk.a.page.status, 404);
    }
    desk.a.get("/other-banks").await;
    assert!(!desk.shows_b());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_address_works_once_for_its_customer() {
    let mut desk = Desk::open().await;
    let at = desk.ask().await;
    let back = desk.approve(&at).await;
    // A customer whose session has ended logs in, and comes back then.
    let mut later = Tab::at(&desk.banks.sandbox.bank(Bank::A).running);
    later.get(&back).await;
    assert_eq!(later.page.path(), format!("/log-in?to={back}"));
    desk.a.get(&back).await;
    assert_eq!(desk.problem().as_deref(), Some("other-banks-connected"));
    desk.a.get(&back).await;
    assert_eq!(
        desk.problem().as_deref(),
        Some("other-banks-returned-before")
    );
    for wrong in ["x", &"A".repeat(43), &"A".repeat(5000)] {
        desk.a.get(&format!("/other-banks/return/{wrong}")).await;
        assert_eq!(
            desk.problem().as_deref(),
            Some("other-banks-unknown-return"),
            "{wrong}"
        );
    }
    assert_eq!(desk.statuses().await, [ConsentStatus::Valid]);
}

/// Her session ends while she is at the other bank, which wants its approval confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_code_survives_the_log_in() {
    let mut desk = Desk::open().await;
    let confirming = desk
        .banks
        .replica_of_b(|config| config.sca.confirmation_code = true)
        .await;
    let at = desk.ask().await;
    let pages = desk.banks.sandbox.bank(Bank::B).pages();
    let origin = confirming.online_banking_origin().unwrap().text();
    let at = at.replace(&pages, &origin);
    let mut customer = desk.customer();
    customer.browser = Browser::at(&origin).unwrap();
    let back = desk.sent_back(customer.approve(&at).await.unwrap());
    assert!(back.contains("?code="), "{back}");
    desk.wait(TimeDelta::minutes(11));
    desk.a.get(&back).await;
    assert_eq!(desk.a.page.path(), format!("/log-in?to={back}"));
    let anna = desk.at(Bank::A);
    let code = code_of(&desk.banks, &anna, 0);
    desk.a.identify(&anna, &code).await;
    assert_eq!(
        desk.problem().as_deref(),
        Some("other-banks-connected"),
        "{:?}",
        desk.a.page
    );
    assert_eq!(desk.statuses().await, [ConsentStatus::Valid]);
    confirming.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_has_its_page() {
    let mut desk = Desk::open().await;
    // Back before anything was answered.
    let at = desk.ask().await;
    let back = {
        // What the other bank has been told.
        let refused = desk.refuse(&at).await;
        desk.a.get(&refused).await;
        assert_eq!(desk.problem().as_deref(), Some("other-banks-refused"));
        let at = desk.ask().await;
        desk.approve(&at).await
    };
    // Withdrawn before she comes back.
    let (id, _) = desk.consents().await.pop().unwrap();
    let running = &desk.banks.sandbox.bank(Bank::B).running;
    let psu = bank_server::domain::PsuId(CUSTOMER.to_owned());
    assert!(running.authorisations().revoke(&psu, &id).await.unwrap());
    desk.a.get(&back).await;
    assert_eq!(desk.problem().as_deref(), Some("other-banks-too-late"));
    desk.a.get("/other-banks/connect/PSDXX-NONE-1").await;
    assert_eq!(desk.problem().as_deref(), Some("other-banks-no-such-bank"));
}

/// Two tabs: what was begun first is given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_gives_up_the_pending_one() {
    let mut desk = Desk::open().await;
    let first = desk.ask().await;
    assert_eq!(desk.ask().await, first, "who presses twice has asked once");
    let back = desk.approve(&first).await;
    desk.ask().await;
    desk.come_to(&[ConsentStatus::TerminatedByTpp]).await;
    desk.a.get(&back).await;
    assert_eq!(
        desk.problem().as_deref(),
        Some("other-banks-unknown-return")
    );
    let text = desk.a.get("/other-banks").await.text();
    assert_eq!(text.matches("You started to connect").count(), 1, "{text}");
}

/// The notice of a pending connection offers the button that it names, and replaces the notice that
/// an earlier connection has ended.
#[tokio::test(flavor = "multi_thread")]
async fn the_notice_of_a_pending_connection_offers_what_it_names() {
    const WITHDRAWN: &str = "You have withdrawn our access to your accounts at Bank B.";
    const CHECK: &str = "/other-banks/check/";

    let mut desk = Desk::open().await;
    desk.connect().await;
    let (id, _) = desk.consents().await.pop().unwrap();
    let running = &desk.banks.sandbox.bank(Bank::B).running;
    let psu = bank_server::domain::PsuId(CUSTOMER.to_owned());
    assert!(running.authorisations().revoke(&psu, &id).await.unwrap());
    desk.wait(TimeDelta::minutes(6));
    desk.log_in().await;
    let text = desk.a.get("/other-banks").await.text();
    assert!(text.contains(WITHDRAWN), "{text}");

    let at = desk.ask().await;
    let text = desk.a.get("/other-banks").await.text();
    assert!(text.contains("Try again: a new request"), "{text}");
    assert!(desk.a.page.link("Try again").is_ok(), "{text}");
    for other in [WITHDRAWN, "Connect again", "check again"] {
        assert!(!text.contains(other), "{other}: {text}");
    }

    // Back at Bank A before the approval.
    let (_, authorisation) = at.rsplit_once('/').unwrap();
    let running = &desk.banks.sandbox.bank(Bank::B).running;
    let request = running.authorisations().request(authorisation).await;
    let back = request.unwrap().authorisation.redirect_uri.unwrap();
    let pages = desk.banks.sandbox.bank(Bank::A).pages();
    desk.a.get(back.strip_prefix(&pages).unwrap()).await;
    assert_eq!(desk.problem().as_deref(), Some("other-banks-waiting"));
    let text = desk.a.get("/other-banks").await.text();
    assert!(
        text.contains("check again") && !text.contains(WITHDRAWN),
        "{text}"
    );
    let check = desk.a.page.form("Check again").unwrap();
    assert!(check.action.path().starts_with(CHECK), "{check:?}");
    desk.approve(&at).await;
    desk.a.submit_form(&check).await;
    assert_eq!(desk.problem().as_deref(), Some("other-banks-connected"));
    assert_eq!(
        desk.a
            .get("/other-banks")
            .await
            .links("/other-banks/disconnect/")
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_deletes_data_and_ends_the_consent() {
    let mut desk = Desk::open().await;
    desk.connect().await;
    desk.a.get("/other-banks").await;
    assert!(desk.shows_b());
    let end = desk.a.page.links("/other-banks/disconnect/")[0].clone();

    // Another customer cannot.
    let other = desk.banks.other_customer(Bank::A);
    desk.wait(TimeDelta::seconds(30));
    let mut stranger = Tab::at(&desk.banks.sandbox.bank(Bank::A).running);
    stranger.log_in(&desk.banks, &other).await;
    let page = stranger.get(&end).await;
    assert_eq!(
        page.problem().as_deref(),
        Some("other-banks-no-such-connection")
    );
    stranger.get("/other-banks").await;
    assert!(!stranger.page.text().contains("Access expires"));

    desk.a.get(&end).await;
    // A form without its token, or with that of another form, does nothing.
    let forged = desk.a.send("POST", &end, &[], "").await;
    assert_eq!(forged.status, 403);
    let body = desk.a.form("/log-out").body();
    assert_eq!(desk.a.send("POST", &end, &[], &body).await.status, 403);
    assert_eq!(desk.statuses().await, [ConsentStatus::Valid]);

    desk.a.submit(&end, &[]).await;
    assert_eq!(desk.problem().as_deref(), Some("other-banks-disconnected"));
    assert_eq!(desk.statuses().await, [ConsentStatus::TerminatedByTpp]);
    desk.a.get("/other-banks").await;
    assert!(!desk.shows_b());
    desk.a.get(&end).await;
    assert_eq!(
        desk.problem().as_deref(),
        Some("other-banks-no-such-connection")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_is_down_is_shown_with_the_age_of_its_data() {
    let mut desk = Desk::open().await;
    desk.connect().await;
    let Desk { banks, mut a, .. } = desk;
    let numbers: Vec<String> = banks
        .customer(Bank::B)
        .accounts
        .into_iter()
        .map(|account| account.number)
        .collect();
    let Banks { sandbox, clock, .. } = banks;
    let [_a, b, _c] = sandbox.banks;
    b.running.stop().await;
    clock.advance(TimeDelta::minutes(3));
    a.get("/").await;
    clock.advance(TimeDelta::minutes(3));
    let text = a.get("/other-banks").await.text();
    assert!(
        text.contains("We cannot reach Bank B at the moment."),
        "{text}"
    );
    assert!(text.contains("Updated 6 minutes ago."), "{text}");
    let close = text.replace(['\u{a0}', ' '], "");
    assert!(
        numbers.iter().all(|number| close.contains(number)),
        "{text}"
    );

    // Nor can it be asked anew, or told that it is over.
    let bank = a
        .get("/other-banks/connect")
        .await
        .links("/other-banks/connect/")[0]
        .clone();
    a.get(&bank).await;
    a.submit(&bank, &[]).await;
    assert_eq!(
        (a.page.status, a.page.problem().as_deref()),
        (502, Some("other-banks-not-asked"))
    );
    let end = a
        .get("/other-banks")
        .await
        .links("/other-banks/disconnect/")[0]
        .clone();
    a.get(&end).await;
    a.submit(&end, &[]).await;
    assert_eq!(
        a.page.problem().as_deref(),
        Some("other-banks-disconnected-untold")
    );
    let text = a
        .get("/other-banks")
        .await
        .text()
        .replace(['\u{a0}', ' '], "");
    assert!(!numbers.iter().any(|number| text.contains(number)));
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_is_offered_a_week_before_the_end_and_breaks_nothing() {
    const OFFER: &str = "Our access to your accounts at Bank B expires in 7 days.";

    let mut desk = Desk::open().await;
    desk.connect().await;

    desk.wait(TimeDelta::days(172));
    desk.log_in().await;
    let text = desk.a.get("/other-banks").await.text();
    assert!(!text.contains("Renew access"), "{text}");
    assert!(desk.shows_b());
    desk.wait(TimeDelta::days(1));
    desk.log_in().await;
    let text = desk.a.get("/other-banks").await.text();
    assert!(text.contains(OFFER), "{text}");

    // Begun and not approved: what runs goes on.
    let at = desk.ask().await;
    desk.a.get("/other-banks").await;
    assert!(desk.shows_b());
    let back = desk.approve(&at).await;
    desk.a.get(&back).await;
    assert_eq!(desk.problem().as_deref(), Some("other-banks-connected"));
    let text = desk.a.get("/other-banks").await.text();
    assert!(desk.shows_b() && !text.contains("Renew access"), "{text}");
    desk.come_to(&[ConsentStatus::TerminatedByTpp, ConsentStatus::Valid])
        .await;

    // A year later it has not been renewed.
    desk.wait(TimeDelta::days(181));
    desk.log_in().await;
    let text = desk.a.get("/other-banks").await.text();
    assert!(text.contains("has expired"), "{text}");
    assert!(!desk.shows_b(), "what was read is deleted");
}

/// The customer is there: Bank B is told so, and does not count.
#[tokio::test(flavor = "multi_thread")]
async fn reads_of_a_customer_who_is_present_are_not_limited() {
    let mut desk = Desk::open().await;
    desk.connect().await;
    for _ in 0..6 {
        desk.wait(TimeDelta::seconds(20));
        desk.a.get("/other-banks").await;
        desk.a.submit("/other-banks/refresh", &[]).await;
        let text = desk.a.page.text();
        assert!(
            text.contains("Updated just now") && desk.shows_b(),
            "{text}"
        );
        assert!(!text.contains("allows no more updates"), "{text}");
    }
}

/// One customer's connection that cannot be read is her trouble alone, also if it comes first.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_read_while_the_customer_is_absent() {
    let mut desk = Desk::open().await;
    desk.connect().await;
    let database = stores::of(&desk.banks.folder.path().join("bank-a.toml")).await;
    sqlx::query(
        "INSERT INTO connection (id, psu, bank, status, state, begun, data, tried) \
         SELECT 'damaged', 'lucas', bank, status, 'x', begun, data, 0 FROM connection",
    )
    .execute(database.pool())
    .await
    .unwrap();
    desk.wait(TimeDelta::hours(7));
    let now = desk.banks.clock.now().timestamp();
    // It looks when it starts, and then every ten minutes.
    let replica = desk.banks.replica_of_a().await;
    wait_until("what was read", async || {
        let read: Vec<(Option<i64>, i64, Option<String>)> =
            sqlx::query_as("SELECT fetched, tried, problem FROM connection ORDER BY psu")
                .fetch_all(database.pool())
                .await
                .unwrap();
        // If it could not be read, it is not tried again for hours.
        assert_eq!(read[0].2, None);
        (read[0] == (Some(now), now, None) && read[1] == (None, now, None)).then_some(())
    })
    .await;
    replica.stop().await;
}
