//! No page is wider than the screen, whatever the data (WCAG 2.2, 1.4.10): 60 accounts, names of 140 characters in one word,
//! emoji, Arabic, characters that turn the direction of writing, the largest amounts.

use bank_client::authorisations::{ApprovalOptions, NextStep};
use bank_server::core_banking::ledger::import;
use fixtures::sandbox::CUSTOMER;
use fixtures::world::Bank;
use serde_json::{Value, json};
use shared_types::xs2a::authorisation::ScaApproach;
use shared_types::xs2a::consent::ConsentRequest;
use tests::chromium::{Screen, Scripts, Visit};
use tests::stores;

/// Accounts that the customer has beside those of the story.
const ACCOUNTS: usize = 60;

/// A page with all of them is not longer than this on a phone, in pixels. With what is seen of each account under each, it
/// was 14,600.
const LONGEST_PAGE: u64 = 4_000;

/// Texts of so many characters that are hard to print.
fn hard(length: usize) -> [String; 5] {
    [
        "W",
        "Überweisungsauftragsbestätigungsnummer",
        "👨\u{200d}👩\u{200d}👧\u{200d}👦",
        "\u{202e}نص طويل من اليمين إلى اليسار",
        "abc\u{2066}\u{202d}",
    ]
    .map(|part| part.chars().cycle().take(length).collect())
}

/// That id, of the account of that number.
fn id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn account(number: usize) -> Value {
    let (names, owners, products) = (hard(70), hard(140), hard(35));
    let of = |texts: &[String; 5]| texts[number % texts.len()].clone();
    let bban = format!("{number:W>30}");
    json!({ "account": {
        "id": id(number), "customer": CUSTOMER,
        "openingBalance": "-99999999999999.999", "closingBalance": "-99999999999999.999",
        "details": {
            "bban": bban, "currency": "EUR", "name": of(&names), "ownerName": of(&owners), "product": of(&products)
        }
    } })
}

fn transactions(day: &str) -> Vec<Value> {
    let (names, texts) = (hard(70), hard(140));
    let one = |number: usize, amount: &str| {
        json!({ "transaction": { "account": id(0), "details": {
            "transactionId": format!("{number}{amount}"), "bookingDate": day,
            "transactionAmount": { "currency": "EUR", "amount": amount },
            "creditorName": names[number], "debtorName": names[number],
            "remittanceInformationUnstructured": texts[number],
        } } })
    };
    let pair = |number| {
        [
            one(number, "99999999999999.999"),
            one(number, "-99999999999999.999"),
        ]
    };
    (0..names.len()).flat_map(pair).collect()
}

/// The story's customer has all of it at Bank B, and everybody in the register has a name like it.
async fn fill(visit: &Visit) {
    let banks = &visit.banks;
    let mut lines = vec![json!({ "world": { "version": 1 } })];
    lines.extend((0..ACCOUNTS).map(account));
    lines.extend(transactions(&banks.today().to_string()));
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    let database = stores::of(&banks.folder.path().join("bank-b.toml")).await;
    import(&database, banks.today(), lines.join("\n").as_bytes())
        .await
        .unwrap();
    database.close().await;
    let mut register = banks.sandbox.pki.register.clone();
    for (organisation, name) in register
        .organisations
        .iter_mut()
        .zip(hard(140).iter().cycle())
    {
        organisation.name.clone_from(name);
    }
    banks.publish(&register).await;
}

async fn height(visit: &Visit) -> u64 {
    visit.browser.show_on(Screen::Phone).await;
    let script = "return document.documentElement.scrollHeight";
    let height = visit.browser.driver().execute(script, Vec::new()).await;
    height.unwrap().json().as_u64().unwrap()
}

/// Bank A asks for a choice of accounts at Bank B. Returns the link, if the customer is sent there.
async fn ask(visit: &Visit, options: &ApprovalOptions) -> Option<String> {
    let tpp = visit.banks.a_at_b();
    let access = json!({ "balances": [], "transactions": [] });
    let body = visit
        .banks
        .consent(&tpp)
        .access(&access)
        .frequency(4)
        .body()
        .clone();
    let wanted: ConsentRequest = serde_json::from_value(body).unwrap();
    let bank_a = visit
        .banks
        .sandbox
        .client(Bank::A, Bank::B, Bank::B)
        .unwrap();
    let here = std::net::IpAddr::from([127, 0, 0, 1]);
    let asked = bank_a
        .ask_for_consent(&wanted, here, options)
        .await
        .unwrap();
    match asked.next() {
        NextStep::Redirect(link) => Some(link.clone()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banks_own_pages_fit_with_any_data() {
    let visit = Visit::begin(Scripts::On).await;
    let browser = &visit.browser;
    fill(&visit).await;
    let back = format!("{}/other-banks", visit.banks.sandbox.bank(Bank::A).pages());
    let redirect = ApprovalOptions::new()
        .prefer(ScaApproach::Redirect)
        .return_to(back);

    let link = ask(&visit, &redirect).await.unwrap();
    browser.open(&link).await;
    visit.log_in(Bank::B).await;
    browser.sees_heading("Allow access to your accounts?").await;
    browser.look_at("hard-approve-at-once").await;
    let tall = height(&visit).await;
    assert!(tall < LONGEST_PAGE, "{tall}");
    browser.press("Decline").await;

    visit.open(Bank::B, "/").await;
    visit.log_in(Bank::B).await;
    browser.sees_heading("Accounts").await;
    browser.look_at("hard-accounts").await;
    for page in [
        format!("/accounts/{}", id(0)),
        format!("/accounts/{}?text=W", id(0)),
        format!("/accounts/{}?text=nothing&from=1", id(1)),
    ] {
        visit.open(Bank::B, &page).await;
        browser.look_at(&page).await;
    }
    // The whole of it, and again after a mistake.
    let link = ask(&visit, &redirect).await.unwrap();
    browser.open(&link).await;
    browser.sees("WWW").await;
    browser.look_at("hard-approve").await;
    browser.find("summary").await.click().await.unwrap();
    browser.look_at("hard-approve-unfolded").await;
    let boxes = browser
        .driver()
        .find_all(thirtyfour::By::Css("input:checked"))
        .await;
    assert!(boxes.unwrap().is_empty(), "nothing is ticked beforehand");
    browser.fill("Code", "000000").await;
    browser.press("Allow access").await;
    browser.sees("Choose at least one account").await;
    browser.look_at("hard-approve-none-chosen").await;
    browser.tick("All 64 accounts").await;
    browser.fill("Code", &visit.code(Bank::B)).await;
    browser.press("Allow access").await;
    browser.sees_heading("Log in").await;

    visit.open(Bank::B, "/consents").await;
    browser.look_at("hard-consents").await;
    let tall = height(&visit).await;
    assert!(tall < LONGEST_PAGE, "{tall}");
    browser.follow("End access").await;
    browser.look_at("hard-end-access").await;

    // In the bank's app.
    visit.open(Bank::B, "/phone/enrol").await;
    browser.fill("Code", &visit.code(Bank::B)).await;
    browser.press("Set up").await;
    browser
        .sees("No requests are waiting for your approval.")
        .await;
    let decoupled = ApprovalOptions::new()
        .prefer(ScaApproach::Decoupled)
        .psu_id(CUSTOMER);
    assert_eq!(ask(&visit, &decoupled).await, None);
    visit.open(Bank::B, "/phone").await;
    browser.look_at("hard-phone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_at_another_bank_fit_with_any_data() {
    let visit = Visit::begin(Scripts::On).await;
    let browser = &visit.browser;
    fill(&visit).await;
    visit.open(Bank::A, "/").await;
    visit.log_in(Bank::A).await;
    browser.sees_heading("Accounts").await;
    visit.open(Bank::A, "/other-banks/connect").await;
    browser.follow("Bank B").await;
    browser.press("Continue").await;
    browser.follow("Go to Bank B").await;
    visit.log_in(Bank::B).await;
    browser.press("Allow access").await;
    browser.sees_heading("Bank B is connected").await;
    visit.open(Bank::A, "/other-banks").await;
    browser.sees("WWW").await;
    browser.look_at("hard-elsewhere").await;
}
