//! The story as a customer sees it, in a real browser: her accounts at Bank A and at Bank B on one page.

use std::ops::Deref;

use bank_client::authorisations::{ApprovalOptions, NextStep};
use fixtures::sandbox::{CUSTOMER, SandboxBank};
use fixtures::world::Bank;
use serde_json::json;
use shared_types::xs2a::authorisation::ScaApproach;
use shared_types::xs2a::consent::{ConsentRequest, ConsentStatus};
use tests::chromium::{Screen, Scripts, Visit};

/// The customer in front of her browser, and what she does in the story.
struct Story(Visit);

impl Deref for Story {
    type Target = Visit;

    fn deref(&self) -> &Visit {
        &self.0
    }
}

impl Story {
    async fn begin(scripts: Scripts) -> Self {
        Self(Visit::begin(scripts).await)
    }

    /// All accounts, as often as is usual.
    fn wanted(&self) -> ConsentRequest {
        let tpp = self.banks.a_at_b();
        let body = self.banks.consent(&tpp).frequency(4).body().clone();
        serde_json::from_value(body).unwrap()
    }

    fn bank(&self, bank: Bank) -> &SandboxBank {
        self.banks.sandbox.bank(bank)
    }

    fn name(&self, bank: Bank) -> &str {
        &self.bank(bank).party.organisation.name
    }

    /// From the list of banks at Bank A to the log-in or the question at Bank B.
    async fn ask_bank_b(&self) {
        let (b, browser) = (self.name(Bank::B), &self.browser);
        browser.sees_heading(&format!("Connect {b}")).await;
        browser.portray("connect-explained").await;
        browser.press("Continue").await;
        browser.sees_heading(&format!("Continue to {b}")).await;
        browser.look_at("connect-go").await;
        browser.follow(&format!("Go to {b}")).await;
    }

    /// Logs in at Bank A, connects Bank B, and looks at the accounts of both.
    async fn connect(&self) {
        let (a, b, browser) = (self.name(Bank::A), self.name(Bank::B), &self.browser);
        self.open(Bank::A, "/").await;
        browser.sees_heading("Log in").await;
        browser.portray("log-in").await;
        self.log_in(Bank::A).await;
        browser.sees_heading("Accounts").await;
        browser.portray("accounts").await;
        browser.follow("Current account").await;
        browser.sees_heading("Current account").await;
        browser.portray("account").await;

        browser.follow("Other banks").await;
        browser.sees_heading("All your accounts").await;
        browser.look_at("other-banks-none").await;
        browser.follow("Connect another bank").await;
        browser.sees_heading("Connect another bank").await;
        browser.look_at("connect-pick").await;
        browser.follow(b).await;
        self.ask_bank_b().await;

        browser.sees_heading("Log in").await;
        self.log_in(Bank::B).await;
        browser.sees_heading("Allow access to your accounts?").await;
        // Who asks is what certificate and register say.
        browser.sees(a).await;
        browser.sees(self.bank(Bank::A).organisation.as_str()).await;
        browser.portray("approve").await;
        browser.press("Allow access").await;

        browser.sees_heading(&format!("{b} is connected")).await;
        let back = browser.url().await;
        assert!(back.starts_with(&self.bank(Bank::A).pages()), "{back}");
        browser.look_at("connected").await;
        browser.follow("See all accounts").await;
        self.both_are_there().await;
        browser.portray("both-banks").await;

        // Back is no way to do it twice.
        browser.open(&back).await;
        browser.sees_heading("You have already returned").await;
        browser.look_at("returned-before").await;
        browser.follow("See all accounts").await;
        self.both_are_there().await;
        browser.follow(&format!("Disconnect {b}")).await;
        browser.sees_heading(&format!("Disconnect {b}")).await;
        browser.look_at("disconnect").await;
        browser.follow("Cancel").await;
        self.both_are_there().await;
    }

    /// Every account at both banks is on the page, and the currencies' sums.
    async fn both_are_there(&self) {
        self.browser.sees_heading("All your accounts").await;
        let text = self.browser.text().await.replace(['\u{a0}', ' '], "");
        for bank in [Bank::A, Bank::B] {
            for account in &self.banks.customer(bank).accounts {
                assert!(text.contains(&account.number), "{}", account.number);
            }
            assert!(text.contains(&self.name(bank).replace(' ', "")));
        }
        for currency in ["EUR", "USD", "CHF"] {
            assert!(text.contains(&format!("In{currency}")), "{text}");
        }
        assert!(text.contains("Updatedjustnow"), "{text}");
    }

    /// Ends the access at Bank B, and sees at Bank A that there is none any more.
    async fn revoke(&self) {
        let (a, b, browser) = (self.name(Bank::A), self.name(Bank::B), &self.browser);
        self.open(Bank::B, "/consents").await;
        self.log_in(Bank::B).await;
        browser
            .sees_heading("Who has access to your accounts")
            .await;
        browser.sees(a).await;
        browser.portray("my-consents").await;
        browser.follow("End access").await;
        browser.sees_heading(&format!("End access of {a}?")).await;
        browser.look_at("end-access").await;
        browser.press("End access now").await;
        browser.sees_heading("Access ended").await;

        self.open(Bank::A, "/other-banks").await;
        self.both_are_there().await;
        browser.press("Refresh").await;
        let lost = format!("You have withdrawn our access to your accounts at {b}.");
        browser.sees(&lost).await;
        let text = browser.text().await.replace(['\u{a0}', ' '], "");
        for account in &self.banks.customer(Bank::B).accounts {
            assert!(!text.contains(&account.number), "what was read is deleted");
        }
        browser.portray("access-lost").await;
    }

    /// Asks once more, and refuses at Bank B.
    async fn refuse(&self) {
        let (b, browser) = (self.name(Bank::B), &self.browser);
        browser.follow("Connect again").await;
        self.ask_bank_b().await;
        // She is logged in there already.
        browser.sees_heading("Allow access to your accounts?").await;
        browser.press("Decline").await;
        browser.sees_heading(&format!("{b} is not connected")).await;
        browser.sees(&format!("Access was declined at {b}.")).await;
        browser.look_at("refused").await;
        self.open(Bank::A, "/other-banks").await;
        browser.does_not_see("You started to connect").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_banks_on_one_page_then_access_ends_and_is_refused() {
    let story = Story::begin(Scripts::On).await;
    story.connect().await;
    story.revoke().await;
    story.refuse().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_works_without_scripts() {
    let story = Story::begin(Scripts::Off).await;
    story.connect().await;
    story.revoke().await;
    story.refuse().await;
}

/// A passkey in place of a code, and a code in place of the passkey where there is no script.
#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_logs_in_and_gives_access() {
    let story = Story::begin(Scripts::On).await;
    let browser = &story.browser;
    browser.add_authenticator().await;
    story.open(Bank::A, "/passkeys").await;
    story.log_in(Bank::A).await;
    browser.sees_heading("Passkeys").await;
    browser.look_at("passkeys-none").await;
    browser.follow("Add a passkey").await;
    browser.sees_heading("Add a passkey").await;
    browser.fill("Code", &story.code(Bank::A)).await;
    browser.press("Continue").await;
    browser.fill("Name", "Anna's laptop").await;
    browser.look_at("passkey-new").await;
    browser.press("Create passkey").await;
    browser.sees_heading("Passkey added").await;
    story.open(Bank::A, "/passkeys").await;
    browser.sees("Anna's laptop").await;
    browser.look_at("passkeys").await;

    browser.press("Log out").await;
    browser.sees_heading("You are logged out").await;
    story.open(Bank::A, "/").await;
    browser.follow("Use a passkey instead").await;
    let anna = story.banks.customer(Bank::A);
    browser.fill("Customer ID", &anna.id).await;
    browser.fill("Password", &anna.password).await;
    browser.press("Continue").await;
    browser.sees_heading("Confirm that it is you").await;
    browser
        .sees("Your device will ask for your fingerprint")
        .await;
    browser.look_at("log-in-with-passkey").await;
    browser.press("Log in").await;
    browser.sees_heading("Accounts").await;

    // A consent that another TPP asks for.
    let bank_b = story
        .banks
        .sandbox
        .client(Bank::B, Bank::A, Bank::A)
        .unwrap();
    let wanted = story.wanted();
    let here = std::net::IpAddr::from([127, 0, 0, 1]);
    let back = format!("{}/other-banks", story.bank(Bank::B).pages());
    let options = ApprovalOptions::new()
        .prefer(ScaApproach::Redirect)
        .return_to(back);
    let asked = bank_b
        .ask_for_consent(&wanted, here, &options)
        .await
        .unwrap();
    let NextStep::Redirect(link) = asked.next() else {
        panic!("{:?}", asked.next());
    };
    browser.open(&link).await;
    browser.sees_heading("Allow access to your accounts?").await;
    browser.follow("Use a passkey instead").await;
    browser
        .sees("Your device will ask for your fingerprint")
        .await;
    browser.look_at("approve-with-passkey").await;
    browser.press("Allow access").await;
    browser.sees_heading("Log in").await;
    assert!(
        browser
            .url()
            .await
            .starts_with(&story.bank(Bank::B).pages())
    );
    let status = bank_b
        .consent_status(&asked.consent.consent_id)
        .await
        .unwrap();
    assert_eq!(status, ConsentStatus::Valid);
}

/// Where a consent to three accounts is approved, all three are listed, and the buttons are on the
/// first screen. With a field for a code, a phone has to be scrolled by an eighth of its screen.
#[tokio::test(flavor = "multi_thread")]
async fn the_approve_button_is_in_reach() {
    const BOTTOM: &str = "window.scrollTo(0, 0); \
        const named = button => button.textContent.trim() === arguments[0]; \
        const button = [...document.querySelectorAll('button')].find(named); \
        return button.getBoundingClientRect().bottom - window.innerHeight;";

    let story = Story::begin(Scripts::On).await;
    let browser = &story.browser;
    let accounts = story.banks.accounts_at_b().into_iter();
    let three: Vec<_> = accounts
        .filter(|account| !account.card)
        .take(3)
        .map(|account| json!({ "iban": account.number }))
        .collect();
    assert_eq!(three.len(), 3);
    let tpp = story.banks.a_at_b();
    let access = json!({ "accounts": three, "balances": three, "transactions": three });
    let consent = story.banks.consent(&tpp).access(&access).frequency(4);
    let wanted: ConsentRequest = serde_json::from_value(consent.body().clone()).unwrap();
    let sandbox = &story.banks.sandbox;
    let bank_a = sandbox.client(Bank::A, Bank::B, Bank::B).unwrap();
    let here = std::net::IpAddr::from([127, 0, 0, 1]);
    let options = ApprovalOptions::new()
        .prefer(ScaApproach::Redirect)
        .return_to(format!("{}/other-banks", story.bank(Bank::A).pages()));
    let asked = bank_a.ask_for_consent(&wanted, here, &options).await;
    let NextStep::Redirect(link) = asked.unwrap().next() else {
        panic!("no redirect");
    };

    let is_in_reach = async |with_code: bool| {
        browser.sees_heading("Allow access to your accounts?").await;
        let fields = browser.driver().find_all(thirtyfour::By::Id("answer"));
        assert_eq!(!fields.await.unwrap().is_empty(), with_code);
        let listed = browser
            .driver()
            .find_all(thirtyfour::By::Css(".opened > ul > li"));
        assert_eq!(listed.await.unwrap().len(), 3);
        for (screen, name) in [(Screen::Phone, "phone"), (Screen::Desktop, "desktop")] {
            browser.show_on(screen).await;
            for button in ["Allow access", "Decline"] {
                let below = browser.driver().execute(BOTTOM, vec![button.into()]).await;
                let below = below.unwrap().json().as_f64().unwrap();
                let scrolled = if with_code && name == "phone" {
                    844.0 / 8.0
                } else {
                    0.0
                };
                assert!(
                    below <= scrolled,
                    "{button} on a {name}, {with_code}: {below}"
                );
            }
        }
    };
    browser.open(&link).await;
    story.log_in(Bank::B).await;
    is_in_reach(false).await;
    browser.look_at("approve-three-accounts").await;
    story.open(Bank::B, "/").await;
    story.log_in(Bank::B).await;
    browser.sees_heading("Accounts").await;
    browser.open(&link).await;
    is_in_reach(true).await;
    browser.look_at("approve-three-accounts-with-code").await;
}

/// The page that stands for the bank's app, with something to approve.
#[tokio::test(flavor = "multi_thread")]
async fn the_banks_app_approves() {
    let story = Story::begin(Scripts::On).await;
    let (a, browser) = (story.name(Bank::A), &story.browser);
    story.open(Bank::B, "/").await;
    story.log_in(Bank::B).await;
    browser.sees_heading("Accounts").await;
    story.open(Bank::B, "/phone").await;
    browser.look_at("phone-not-set-up").await;
    browser.follow("Set up this device").await;
    browser.sees_heading("Set up this device").await;
    browser.look_at("phone-confirm").await;
    browser.fill("Code", &story.code(Bank::B)).await;
    browser.press("Set up").await;
    browser
        .sees("No requests are waiting for your approval.")
        .await;
    browser.look_at("phone-empty").await;
    story.open(Bank::B, "/passkeys").await;
    browser.sees("This device").await;
    browser.look_at("devices").await;
    browser.follow("Remove").await;
    browser
        .sees("You will no longer be able to approve on it.")
        .await;
    browser.look_at("device-remove").await;
    browser.follow("Cancel").await;
    browser.sees("This device").await;

    let bank_a = story
        .banks
        .sandbox
        .client(Bank::A, Bank::B, Bank::B)
        .unwrap();
    let wanted = story.wanted();
    let here = std::net::IpAddr::from([127, 0, 0, 1]);
    let options = ApprovalOptions::new()
        .prefer(ScaApproach::Decoupled)
        .psu_id(CUSTOMER);
    let asked = bank_a
        .ask_for_consent(&wanted, here, &options)
        .await
        .unwrap();
    story.open(Bank::B, "/phone").await;
    browser.sees(&format!("{a} is requesting access")).await;
    browser.portray("phone").await;
    browser
        .fill("Password", &story.banks.customer(Bank::B).password)
        .await;
    browser.press("Allow access").await;
    browser.sees_heading("Approved").await;
    let status = bank_a
        .consent_status(&asked.consent.consent_id)
        .await
        .unwrap();
    assert_eq!(status, ConsentStatus::Valid);
}
