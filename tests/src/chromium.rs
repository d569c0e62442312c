//! Chromium driver: finds fields by label, buttons and links by text, as a customer does.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use fixtures::world::Bank;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::error::{WebDriverError, WebDriverErrorInner};
use thirtyfour::prelude::*;

use crate::banks::Banks;
use crate::browser::code_of;
use crate::child_process::{ChildProcess, OnDrop};
use crate::programs;

/// The package of npm that judges accessibility. `tests/run` names the same version.
const AXE: &str = "npm:axe-core@4.14.1";

/// Timeout of a condition.
const PATIENCE: Duration = Duration::from_secs(20);

/// Set, to any value, to have the pages' pictures in `docs/pages` made anew.
pub const WRITE_PICTURES: &str = "WRITE_PICTURES";

/// Chromium finds the hosts of the sandbox, and no others.
const ARGUMENTS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--disable-features=Translate,OptimizationHints",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE *.localhost, EXCLUDE 127.0.0.1",
];

/// Whether pages may run scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    On,
    Off,
}

/// Size of the visible part of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// 1280 by 900.
    Desktop,
    /// 390 by 844.
    Phone,
    /// 320 by 640: to that width a page reflows (WCAG 2.2, 1.4.10).
    Narrow,
}

impl Screen {
    const fn size(self) -> (u32, u32) {
        match self {
            Self::Desktop => (1280, 900),
            Self::Phone => (390, 844),
            Self::Narrow => (320, 640),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Phone => "phone",
            Self::Narrow => "narrow screen",
        }
    }
}

/// One browser with an empty profile. It ends when it is dropped, and leaves nothing behind.
pub struct Chromium {
    // The order matters: the session ends first, then the program that drives it; the profile is
    // removed last.
    driver: WebDriver,
    _program: ChildProcess,
    _profile: TempDir,
    scripts: Scripts,
}

impl Chromium {
    /// Starts one, with a desktop's screen.
    pub async fn start(scripts: Scripts) -> Self {
        Self::start_trusting(scripts, None).await
    }

    /// Starts one that accepts the certificate of a public key, by its SHA-256 in base64.
    pub async fn start_trusting(scripts: Scripts, key_digest: Option<&str>) -> Self {
        // The crate that drives it makes an HTTP client, which wants one even where no TLS is
        // spoken. If another test was here first, so much the better.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // The error of `chromedriver` would be less clear.
        programs::system("chromium");
        let (program, port) = start_driver();
        let profile = tempfile::tempdir().unwrap();
        let capabilities = capabilities(profile.path(), scripts, key_digest);
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities)
            .await
            .expect("a session of chromedriver");
        let browser = Self {
            driver,
            _program: program,
            _profile: profile,
            scripts,
        };
        browser.show_on(Screen::Desktop).await;
        browser
    }

    /// Whether its pages may run scripts.
    pub fn scripts(&self) -> Scripts {
        self.scripts
    }

    /// Further features.
    pub fn driver(&self) -> &WebDriver {
        &self.driver
    }

    /// Changes the size of the screen.
    pub async fn show_on(&self, screen: Screen) {
        let (width, height) = screen.size();
        let mobile = screen != Screen::Desktop;
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}),
        )
        .await;
    }

    /// Navigates to an address, as if it were typed.
    pub async fn open(&self, url: &str) {
        if let Err(error) = self.driver.goto(url).await {
            panic!("{url}: {error}");
        }
    }

    pub async fn back(&self) {
        self.driver.back().await.unwrap();
    }

    pub async fn url(&self) -> String {
        self.driver.current_url().await.unwrap().to_string()
    }

    /// The visible text of the page.
    pub async fn text(&self) -> String {
        self.on_one_page(async || self.element("the page's body", "//body").await.text().await)
            .await
    }

    /// Waits until the page has that heading.
    pub async fn sees_heading(&self, heading: &str) {
        let xpath = format!("//h1[normalize-space(.)={}]", literal(heading));
        self.element(&format!("the heading “{heading}”"), &xpath)
            .await;
    }

    /// Waits until that can be read on the page.
    pub async fn sees(&self, text: &str) {
        let started = Instant::now();
        while !self.text().await.contains(text) {
            if started.elapsed() > PATIENCE {
                self.fail(&format!("“{text}” is not on the page")).await;
            }
        }
    }

    /// That text is not on the page.
    pub async fn does_not_see(&self, text: &str) {
        if self.text().await.contains(text) {
            self.fail(&format!("“{text}” is on the page")).await;
        }
    }

    /// Writes into the field of that label.
    pub async fn fill(&self, label: &str, value: &str) {
        self.on_one_page(async || {
            let field = self.field(label).await?;
            field.clear().await?;
            field.send_keys(value).await
        })
        .await;
    }

    /// Clicks the box or button of that label, or takes it back.
    pub async fn tick(&self, label: &str) {
        self.on_one_page(async || self.field(label).await?.click().await)
            .await;
    }

    /// Presses the button on which that is written.
    pub async fn press(&self, label: &str) {
        let xpath = format!("//button[normalize-space(.)={}]", literal(label));
        self.leave_by(&format!("the button “{label}”"), &xpath)
            .await;
    }

    /// Follows the link on which that is written.
    pub async fn follow(&self, label: &str) {
        let xpath = format!("//a[@href][normalize-space(.)={}]", literal(label));
        self.leave_by(&format!("the link “{label}”"), &xpath).await;
    }

    /// The one element that a CSS selector finds.
    pub async fn find(&self, selector: &str) -> WebElement {
        let found = self.driver.query(By::Css(selector));
        match found.wait(PATIENCE, LOOK_AGAIN).single().await {
            Ok(element) => element,
            Err(error) => self.fail(&format!("{selector}: {error}")).await,
        }
    }

    /// Puts an authenticator into the machine that holds passkeys and takes its owner for present
    /// and verified.
    pub async fn add_authenticator(&self) {
        self.cdp("WebAuthn.enable", json!({})).await;
        self.cdp(
            "WebAuthn.addVirtualAuthenticator",
            json!({"options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": true,
                "hasUserVerification": true,
                "isUserVerified": true,
                "automaticPresenceSimulation": true,
            }}),
        )
        .await;
    }

    /// Checks the current page on a desktop, a phone and a narrow screen: axe-core finds no serious
    /// fault, and nothing is wider than the screen. If scripts are off, only the widths are
    /// checked.
    pub async fn look_at(&self, name: &str) {
        for screen in [Screen::Narrow, Screen::Phone, Screen::Desktop] {
            self.show_on(screen).await;
            self.nothing_sticks_out(name, screen).await;
            if self.scripts == Scripts::On && screen != Screen::Narrow {
                self.is_accessible(&format!("{name} ({})", screen.name()))
                    .await;
            }
        }
    }

    /// Like `look_at`, for a page that is shown in the documentation. Renews its pictures if
    /// [`WRITE_PICTURES`] is set.
    pub async fn portray(&self, name: &str) {
        self.look_at(name).await;
        if self.scripts == Scripts::On && std::env::var_os(WRITE_PICTURES).is_some() {
            for screen in [Screen::Phone, Screen::Desktop] {
                self.show_on(screen).await;
                let file = format!("{name}-{}.png", screen.name());
                self.picture(&pictures().join(file)).await;
            }
        }
    }

    /// Runs axe-core; serious and critical faults are faults.
    pub async fn is_accessible(&self, page: &str) {
        const RUN: &str = "const done = arguments[arguments.length - 1]; \
            axe.run(document, {resultTypes: ['violations']}).then( \
                found => done(found.violations.map(rule => ({ \
                    id: rule.id, impact: rule.impact, help: rule.help, \
                    nodes: rule.nodes.map(node => node.html + ' ' + (node.failureSummary || ''))}))), \
                error => done(String(error)));";

        assert_eq!(self.scripts, Scripts::On, "axe-core is a script");
        self.driver.execute(axe(), Vec::new()).await.unwrap();
        let found = self.driver.execute_async(RUN, Vec::new()).await.unwrap();
        let found: &Value = found.json();
        let rules = found
            .as_array()
            .unwrap_or_else(|| panic!("axe-core: {found}"));
        let mut faults = String::new();
        for rule in rules {
            if rule["impact"] == "serious" || rule["impact"] == "critical" {
                let (impact, id, help) = (&rule["impact"], &rule["id"], &rule["help"]);
                writeln!(faults, "{impact} {id}: {help}").unwrap();
                for node in rule["nodes"].as_array().into_iter().flatten() {
                    writeln!(faults, "    {}", node.as_str().unwrap_or_default()).unwrap();
                }
            }
        }
        assert!(faults.is_empty(), "{page}:\n{faults}");
    }

    /// A picture of the page from its top, as PNG. Of a very long one the rest is left out.
    pub async fn picture(&self, file: &Path) {
        let metrics = self.cdp("Page.getLayoutMetrics", json!({})).await;
        let size = &metrics["cssContentSize"];
        let height = size["height"].as_f64().unwrap().min(TALLEST);
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1});
        let taken = self
            .cdp(
                "Page.captureScreenshot",
                json!({"format": "png", "captureBeyondViewport": true, "clip": clip}),
            )
            .await;
        let png = STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, png).unwrap();
    }

    /// The page needs no horizontal scrolling.
    async fn nothing_sticks_out(&self, page: &str, screen: Screen) {
        let script = "return document.documentElement.scrollWidth";
        let width = self.driver.execute(script, Vec::new()).await.unwrap();
        let width = width.json().as_u64().unwrap();
        assert!(
            width <= u64::from(screen.size().0),
            "{page} is {width} wide on a {}",
            screen.name()
        );
    }

    /// The field that a label belongs to, or that it surrounds. What else is in the label (a hint,
    /// for example) comes after its name.
    async fn field(&self, label: &str) -> WebDriverResult<WebElement> {
        let named = format!(
            "//label[starts-with(normalize-space(.), {})]",
            literal(label)
        );
        let found = self.element(&format!("the label “{label}”"), &named).await;
        match found.attr("for").await? {
            Some(id) => Ok(self.find(&format!("[id={id:?}]")).await),
            None => found.find(By::Css("input, select, textarea")).await,
        }
    }

    /// Runs `what` on a page, and retries all of it if the browser navigates to another page.
    async fn on_one_page<T>(&self, what: impl AsyncFn() -> WebDriverResult<T>) -> T {
        let started = Instant::now();
        loop {
            match what().await {
                Ok(done) => return done,
                Err(error) if is_stale(&error) && started.elapsed() < PATIENCE => {}
                Err(error) => self.fail(&error.to_string()).await,
            }
        }
    }

    /// Clicks that, and waits until the page is left, so that nothing more is done on it. What does
    /// not lead anywhere (a button that a script listens to) is waited for a while.
    async fn leave_by(&self, what: &str, xpath: &str) {
        let page = self
            .on_one_page(async || {
                let page = self.driver.find(By::Tag("html")).await?;
                self.element(what, xpath).await.click().await?;
                Ok(page)
            })
            .await;
        let clicked = Instant::now();
        while clicked.elapsed() < LEAVES && page.tag_name().await.is_ok() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn element(&self, what: &str, xpath: &str) -> WebElement {
        let found = self.driver.query(By::XPath(xpath));
        match found.wait(PATIENCE, LOOK_AGAIN).first().await {
            Ok(element) => element,
            Err(error) => self.fail(&format!("{what}: {error}")).await,
        }
    }

    /// Panics with `what`, and the address and text of the current page.
    async fn fail(&self, what: &str) -> ! {
        let url = self.driver.current_url().await;
        let url = url.map_or_else(|error| error.to_string(), |url| url.to_string());
        let text = match self.driver.find(By::Tag("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        panic!("{what}\nat {url}, where it says:\n{text}");
    }

    async fn cdp(&self, method: &str, parameters: Value) -> Value {
        match self.driver.cdp().send_raw(method, parameters).await {
            Ok(answer) => answer,
            Err(error) => panic!("{method}: {error}"),
        }
    }
}

/// The story's customer with a browser, and the banks.
pub struct Visit {
    pub banks: Banks,
    pub browser: Chromium,
}

impl Visit {
    pub async fn begin(scripts: Scripts) -> Self {
        let (banks, browser) = futures::join!(Banks::start(), Chromium::start(scripts));
        Self { banks, browser }
    }

    pub async fn open(&self, bank: Bank, path: &str) {
        let pages = self.banks.sandbox.bank(bank).pages();
        self.browser.open(&format!("{pages}{path}")).await;
    }

    /// A code that was not used before: codes change with the time.
    pub fn code(&self, bank: Bank) -> String {
        self.banks.clock.advance(TimeDelta::seconds(30));
        code_of(&self.banks, &self.banks.customer(bank), 0)
    }

    /// Logs in, on whatever page has the form.
    pub async fn log_in(&self, bank: Bank) {
        let password = self.banks.customer(bank).password;
        self.give(bank, &password, &self.code(bank)).await;
    }

    /// Logs in with a given password and code.
    pub async fn give(&self, bank: Bank, password: &str, code: &str) {
        let customer = self.banks.customer(bank).id;
        self.browser.fill("Customer ID", &customer).await;
        self.browser.fill("Password", password).await;
        self.browser.fill("Code", code).await;
        self.browser.press("Log in").await;
    }
}

/// Timeout for leaving a page.
const LEAVES: Duration = Duration::from_secs(20);

fn is_stale(error: &WebDriverError) -> bool {
    matches!(
        error.as_inner(),
        WebDriverErrorInner::StaleElementReference(_)
    )
}

/// Pictures are not taller than that.
const TALLEST: f64 = 1500.0;

/// Interval at which an element that does not exist yet is looked up again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The folder of the pictures of the documentation.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pages")
}

fn capabilities(profile: &Path, scripts: Scripts, key_digest: Option<&str>) -> Capabilities {
    let mut chrome = DesiredCapabilities::chrome();
    for argument in ARGUMENTS {
        chrome.add_arg(argument).unwrap();
    }
    let profile = format!("--user-data-dir={}", profile.display());
    chrome.add_arg(&profile).unwrap();
    if let Some(digest) = key_digest {
        let accepted = format!("--ignore-certificate-errors-spki-list={digest}");
        chrome.add_arg(&accepted).unwrap();
    }
    if scripts == Scripts::Off {
        let blocked = json!({"profile.managed_default_content_settings.javascript": 2});
        chrome.add_experimental_option("prefs", blocked).unwrap();
    }
    chrome.into()
}

/// Starts `chromedriver` on a port that the system gives. The processes of Chromium belong to its
/// process group.
///
/// It takes a port of IPv6, and ends if another program has the same of IPv4: then it is started
/// again.
fn start_driver() -> (ChildProcess, u16) {
    const STARTS: usize = 20;

    for _ in 0..STARTS {
        let program = ChildProcess::spawn(
            programs::system_of("chromedriver", "chromium-driver")
                .arg("--port=0")
                .process_group(0)
                .stdout(Stdio::piped())
                .stderr(Stdio::null()),
        )
        .on_drop(OnDrop::KillGroup);
        let port = program.line(|line| {
            if line.contains("port not available") {
                return Some(None);
            }
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').parse().ok())
        });
        if let Some(port) = port {
            return (program, port);
        }
    }
    panic!("chromedriver has found no port");
}

/// The script of axe-core.
fn axe() -> String {
    let package = programs::unpacked(AXE);
    std::fs::read_to_string(package.join("node_modules/axe-core/axe.min.js")).unwrap()
}

/// A text as an `XPath` literal, in which quotes cannot be escaped.
fn literal(text: &str) -> String {
    let quote = if text.contains('\'') { '"' } else { '\'' };
    assert!(!text.contains(quote), "both kinds of quotes: {text}");
    format!("{quote}{text}{quote}")
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::wait::wait_for;

    const GOOD: &str = "<!doctype html><html lang=en><meta name=viewport content='width=device-width'><title>Good</title>\
        <main><h1>Hello</h1><form action=/went><label for=n>Name <span>as you like</span></label><input id=n name=n>\
        <label><input type=checkbox name=c>Sure</label><button>Continue</button></form><p id=scripts>off</p>\
        <script>document.getElementById('scripts').textContent = 'on'</script></main>";
    const WENT: &str = "<!doctype html><html lang=en><title>Went</title><main><h1>There</h1><a href=/>Back again</a></main>";
    const BAD: &str = "<!doctype html><html lang=en><meta name=viewport content='width=device-width'><title>Bad</title>\
        <main><h1>Hello</h1><input name=n><div style='width: 1000px'>wide</div></main>";

    async fn site() -> (MockServer, String) {
        let server = MockServer::start().await;
        for (at, page) in [("/", GOOD), ("/went", WENT), ("/bad", BAD)] {
            let answer = ResponseTemplate::new(200).set_body_raw(page, "text/html");
            Mock::given(path(at))
                .respond_with(answer)
                .mount(&server)
                .await;
        }
        let url = format!("http://bank-a.localhost:{}", server.address().port());
        (server, url)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_page_is_read_filled_in_and_judged() {
        let (server, url) = site().await;
        let browser = Chromium::start(Scripts::On).await;
        browser.open(&url).await;
        browser.sees_heading("Hello").await;
        browser.sees("on").await;
        browser.look_at("good").await;
        browser.fill("Name", "Ada").await;
        browser.tick("Sure").await;
        browser.press("Continue").await;
        browser.sees_heading("There").await;
        assert_eq!(browser.url().await, format!("{url}/went?n=Ada&c=on"));
        browser.follow("Back again").await;
        browser.does_not_see("There").await;

        browser.open(&format!("{url}/bad")).await;
        let judged = futures::future::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(
            browser.is_accessible("bad"),
        ))
        .await;
        let said = judged.unwrap_err();
        let said = said.downcast_ref::<String>().unwrap();
        assert!(said.contains("label"), "the rule: {said}");
        assert!(said.contains("<input name=\"n\">"), "the node: {said}");
        let judged =
            futures::future::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(async {
                browser.show_on(Screen::Phone).await;
                browser.nothing_sticks_out("bad", Screen::Phone).await;
            }))
            .await;
        assert!(judged.is_err(), "a page wider than a phone");
        let picture = server.address().port().to_string();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(picture);
        browser.picture(&file).await;
        assert!(std::fs::read(&file).unwrap().starts_with(b"\x89PNG"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_scripts_none_runs_and_no_other_host_is_requested() {
        let (_server, url) = site().await;
        let browser = Chromium::start(Scripts::Off).await;
        browser.open(&url).await;
        assert_eq!(browser.find("#scripts").await.text().await.unwrap(), "off");
        let other_host = browser.driver().goto("http://example.org/").await;
        let error = other_host.unwrap_err().to_string();
        assert!(error.contains("ERR_NAME_NOT_RESOLVED"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_of_it_is_left() {
        let browser = Chromium::start(Scripts::On).await;
        let capabilities = browser.driver.capabilities();
        let profile = capabilities.get("chrome").unwrap()["userDataDir"]
            .as_str()
            .unwrap();
        let profile = profile.to_owned();
        assert!(runs_with(&profile));
        // As if the driver did not answer any more.
        browser.driver.clone().leak().unwrap();
        drop(browser);
        wait_for("the end of all processes", || {
            (!runs_with(&profile)).then_some(())
        })
        .await;
    }

    /// Whether a process has that among its arguments.
    fn runs_with(argument: &str) -> bool {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut lines = processes.filter_map(|one| std::fs::read(one.path().join("cmdline")).ok());
        lines.any(|line| String::from_utf8_lossy(&line).contains(argument))
    }
}
