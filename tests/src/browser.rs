//! Browser tab of a test: the browser of the fixtures at one bank, and the page that it shows.

use bank_client::environment::Clock as _;
use bank_server::RunningBank;
use fixtures::browser::{Browser, Form, Page};
use fixtures::world::{Bank, SampleCustomer};

use crate::banks::Banks;

/// A clone has cookies of its own.
#[derive(Clone)]
pub struct Tab {
    pub browser: Browser,
    /// The page that it shows. Before the first request, it is empty and its status is 0.
    pub page: Page,
}

impl Tab {
    pub fn at(bank: &RunningBank) -> Self {
        let origin = bank.online_banking_origin().unwrap().text();
        Self {
            browser: Browser::at(&origin).unwrap(),
            page: Page {
                url: origin.parse().unwrap(),
                status: 0,
                headers: Vec::new(),
                html: String::new(),
                sent_to: None,
            },
        }
    }

    /// [`Browser::send`]
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Page {
        let answer = self.browser.send(method, path, headers, body).await;
        answer.unwrap()
    }

    pub async fn get(&mut self, path: &str) -> &Page {
        self.page = self.browser.open(path).await.unwrap();
        &self.page
    }

    pub async fn submit_form(&mut self, form: &Form) -> &Page {
        self.page = self.browser.submit(form).await.unwrap();
        &self.page
    }

    /// The form on the page whose action ends with `action`.
    pub fn form(&self, action: &str) -> Form {
        self.page.form_to(action).unwrap()
    }

    /// Sends that form, with some of its fields filled in.
    pub async fn submit(&mut self, action: &str, fill: &[(&str, &str)]) -> &Page {
        let filled = |form: Form, (name, value): &(&str, &str)| form.with(name, value);
        let form = fill.iter().fold(self.form(action), filled);
        self.submit_form(&form).await
    }

    /// Logs in at the page for it.
    pub async fn log_in(&mut self, banks: &Banks, customer: &SampleCustomer) -> &Page {
        self.get("/log-in").await;
        self.identify(customer, &code_of(banks, customer, 0)).await
    }

    /// Logs in with that code, on the page that is shown.
    pub async fn identify(&mut self, customer: &SampleCustomer, code: &str) -> &Page {
        let (id, password) = (&customer.id, &customer.password);
        let entered = [
            ("customer", id.as_str()),
            ("password", password),
            ("code", code),
        ];
        self.submit("/log-in", &entered).await
    }
}

/// The code that the customer's authenticator shows, a number of time steps from now.
pub fn code_of(banks: &Banks, customer: &SampleCustomer, steps: i64) -> String {
    customer.code_at(banks.clock.now(), steps)
}

/// The banks, the story's customer at Bank B, and the customer's browser without any history.
pub async fn at_bank_b() -> (Banks, Tab, SampleCustomer) {
    let banks = Banks::start().await;
    let browser = Tab::at(&banks.sandbox.bank(Bank::B).running);
    let customer = banks.customer(Bank::B);
    (banks, browser, customer)
}
