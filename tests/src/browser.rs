//! A browser without JavaScript: it keeps cookies, follows redirects within a bank, and sends the forms of its page.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bank_client::environment::Clock as _;
use bank_server::RunningBank;
use bank_server::sca::code_at;
use fixtures::world::{Bank, SampleCustomer};
use scraper::{ElementRef, Html, Selector};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::banks::Banks;
use crate::http::Response;

#[derive(Clone)]
pub struct Browser {
    address: SocketAddr,
    /// As in `http://bank-b.localhost:8452`.
    pub origin: String,
    pub cookies: BTreeMap<String, String>,
    /// What it shows.
    pub page: Page,
}

#[derive(Clone, Debug, Default)]
pub struct Page {
    pub path: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub html: String,
}

/// Redirects that it follows.
const REDIRECTS: usize = 5;

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}

impl Browser {
    pub fn at(bank: &RunningBank) -> Self {
        Self {
            address: bank.online_banking_address().unwrap(),
            origin: bank.online_banking_origin().unwrap().text(),
            cookies: BTreeMap::new(),
            page: Page::default(),
        }
    }

    pub fn host(&self) -> &str {
        self.origin.split("//").nth(1).unwrap()
    }

    /// Sends a request as it is told to, and gets the answer; nothing is followed or kept.
    pub async fn raw(&self, request: &[u8]) -> Response {
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        // The bank may have heard enough before everything is sent.
        let _ = tcp.write_all(request).await;
        let mut answer = Vec::new();
        let _ = tcp.read_to_end(&mut answer).await;
        Response::read(&answer)
    }

    /// One request with its own cookies, and with these headers besides.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        let given = |name: &str| {
            headers
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let length = body.len().to_string();
        let cookies = cookies.join("; ");
        let mut own = vec![("Host", self.host()), ("Cookie", &cookies)];
        if method == "POST" {
            own.push(("Content-Length", &length));
            own.push(("Content-Type", "application/x-www-form-urlencoded"));
            own.push(("Origin", &self.origin));
            own.push(("Sec-Fetch-Site", "same-origin"));
        }
        own.retain(|(name, value)| !given(name) && !value.is_empty());
        for (name, value) in own
            .iter()
            .chain(headers)
            .filter(|(_, value)| !value.is_empty())
        {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(body);
        self.raw(request.as_bytes()).await
    }

    /// The same, as a person sees it: cookies are kept, redirects within the bank followed.
    pub async fn visit(&mut self, method: &str, path: &str, body: &str) -> &Page {
        let (mut method, mut path, mut body) = (method, path.to_owned(), body.to_owned());
        for _ in 0..=REDIRECTS {
            let answer = self.send(method, &path, &[], &body).await;
            self.keep_cookies(&answer);
            self.page = Page {
                path: path.clone(),
                status: answer.status,
                html: String::from_utf8(answer.body).unwrap(),
                headers: answer.headers,
            };
            match self.page.header("location") {
                Some(next) if next.starts_with('/') => path = next.to_owned(),
                _ => return &self.page,
            }
            (method, body) = ("GET", String::new());
        }
        panic!("redirected in circles at {path}");
    }

    fn keep_cookies(&mut self, answer: &Response) {
        let set = answer
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie");
        for (_, line) in set {
            let pair = line.split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    pub async fn get(&mut self, path: &str) -> &Page {
        self.visit("GET", path, "").await
    }

    /// Sends the form of the page that goes to a path ending so, with some of its fields filled in.
    pub async fn submit(&mut self, action: &str, fill: &[(&str, &str)]) -> &Page {
        let (path, body) = self.page.form(action, fill);
        self.visit("POST", &path, &body).await
    }

    /// Logs in, both steps.
    pub async fn log_in(&mut self, banks: &Banks, customer: &SampleCustomer) -> &Page {
        self.get("/log-in").await;
        self.give_password(customer).await;
        let code = code_of(banks, customer, 0);
        self.submit("/log-in/second-factor", &[("answer", &code)])
            .await
    }

    /// The first step of a log-in, on whatever page has one.
    pub async fn give_password(&mut self, customer: &SampleCustomer) -> &Page {
        let filled = [
            ("customer", customer.id.as_str()),
            ("password", customer.password.as_str()),
        ];
        self.submit("/log-in", &filled).await
    }
}

/// The code that the customer's authenticator shows, so many steps from now.
pub fn code_of(banks: &Banks, customer: &SampleCustomer, steps: i64) -> String {
    code_at(&customer.secret, banks.clock.now().timestamp() + 30 * steps)
}

/// The banks, the story's customer at Bank B, and her browser, which has been nowhere.
pub async fn at_bank_b() -> (Banks, Browser, SampleCustomer) {
    let banks = Banks::start().await;
    let browser = Browser::at(&banks.sandbox.bank(Bank::B).running);
    let customer = banks.customer(Bank::B);
    (banks, browser, customer)
}

impl Page {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn document(&self) -> Html {
        Html::parse_document(&self.html)
    }

    /// The text of the first element of that kind.
    pub fn text_of(&self, wanted: &str) -> Option<String> {
        let document = self.document();
        let found = document.select(&selector(wanted)).next()?;
        Some(text(found))
    }

    /// All that is to be read on it.
    pub fn text(&self) -> String {
        self.text_of("body").unwrap_or_default()
    }

    /// Its heading.
    pub fn title(&self) -> String {
        self.text_of("h1").unwrap_or_default()
    }

    /// The name of the problem that it tells of.
    pub fn problem(&self) -> Option<String> {
        let document = self.document();
        let told = document.select(&selector("[data-problem]")).next()?;
        told.value().attr("data-problem").map(str::to_owned)
    }

    /// Where the links of it lead whose path begins so.
    pub fn links(&self, start: &str) -> Vec<String> {
        let document = self.document();
        let links: Vec<String> = document
            .select(&selector("a[href]"))
            .filter_map(|link| link.value().attr("href"))
            .filter(|href| href.starts_with(start))
            .map(str::to_owned)
            .collect();
        links
    }

    /// Where the form goes whose action ends so, and what a browser would send: hidden fields, what is filled in or ticked.
    pub fn form(&self, action: &str, fill: &[(&str, &str)]) -> (String, String) {
        let document = self.document();
        let leads = |element: &ElementRef<'_>, attribute| {
            let to = element.value().attr(attribute);
            to.filter(|to| to.ends_with(action)).map(str::to_owned)
        };
        let (form, to) = document
            .select(&selector("form[method=post]"))
            .find_map(|form| {
                let buttons = selector("button[formaction]");
                let mut buttons = form.select(&buttons);
                let to = leads(&form, "action")
                    .or_else(|| buttons.find_map(|button| leads(&button, "formaction")));
                to.map(|to| (form, to))
            })
            .unwrap_or_else(|| panic!("no form to {action} on {self:?}"));
        let mut fields: Vec<(String, String)> = Vec::new();
        for input in form.select(&selector("input")) {
            let attr = |name| input.value().attr(name);
            let Some(name) = attr("name") else { continue };
            let filled = fill.iter().any(|(known, _)| *known == name);
            let unticked = attr("type") == Some("checkbox") && attr("checked").is_none();
            if !filled && !unticked {
                fields.push((
                    name.to_owned(),
                    attr("value").unwrap_or_default().to_owned(),
                ));
            }
        }
        let filled = fill
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        fields.extend(filled);
        (to, encode(&fields))
    }
}

/// Fields as a browser writes them.
pub fn encode(fields: &[(String, String)]) -> String {
    let part = |text: &str| {
        let mut encoded = String::new();
        for byte in text.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                    encoded.push(char::from(byte));
                }
                byte => encoded.push_str(&format!("%{byte:02X}")),
            }
        }
        encoded
    };
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", part(name), part(value)))
        .collect();
    pairs.join("&")
}

fn text(element: ElementRef<'_>) -> String {
    let words: Vec<&str> = element.text().flat_map(str::split_whitespace).collect();
    words.join(" ")
}
