//! The command `connect`: requests a consent and leads the customer through its approval.

use std::num::NonZeroU32;
use std::time::Duration;

use bank_client::authorisations::{ApprovalOptions, Authorisation, NextStep};
use bank_client::consent_manager::{
    Approval, ConnectionId, ConnectionStatus, ConsentManager, ConsentTerms, ManagerError,
};
use bank_client::directory::BankEntry;
use bank_client::environment::SystemRandomness;
use bank_client::{Error, ErrorKind};
use shared_types::xs2a::authorisation::ScaStatus;
use shared_types::xs2a::consent::ConsentStatus;
use tokio::time::{interval, timeout};

use super::arguments::{Approach, Connect};
use super::connection_store::{ConnectionStore, connect_command, diagnose, label};
use super::failure::{Diagnostic, Exit, Failure, failure};
use super::loopback::Loopback;
use super::prompt::Prompt;
use super::screen::{Screen, note, plain};

/// Interval at which the consent's status is polled while the customer approves at the bank.
const POLL_INTERVAL: Duration = Duration::from_secs(3);

/// Time in which the browser returns after an approval that was seen at the bank first.
const RETURN_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of steps in one approval.
const MAX_STEPS: usize = 12;

/// Advice for a bank that refuses the loopback redirect URI.
const REDIRECT_ADVICE: &str = "this program waits for the browser at an address on this machine, \
                               which the bank has to allow (`[sca] allow_loopback_redirects` of \
                               bank-server); or approve with `--approach decoupled` or \
                               `--approach embedded`";

/// A `connect` command in progress: one customer, one bank.
struct Connecting<'a> {
    entry: &'a BankEntry,
    customer: &'a str,
    manager: ConsentManager,
    arguments: &'a Connect,
    prompt: Prompt,
    /// Another holder of an account approves, after the customer.
    is_further_holder: bool,
}

/// Maximum of holders whose approvals one call waits for: a faulty bank could start authorisations
/// without end.
const MAX_HOLDERS: u32 = 10;

/// Connects the bank, or renews its connection.
pub(super) async fn run(
    store: &ConnectionStore,
    arguments: &Connect,
    screen: Screen,
) -> Result<(), Failure> {
    let entry = store.profile.find(&arguments.bank)?;
    let mut connecting = Connecting {
        entry,
        customer: &arguments.customer,
        manager: store.manager(&[entry])?,
        arguments,
        prompt: Prompt {
            allowed: !arguments.no_input,
        },
        is_further_holder: false,
    };
    let loopback = Loopback::open(arguments.port, &SystemRandomness)
        .await
        .map_err(|error| {
            failure(
                format!("port {}: {error}", arguments.port),
                "give another one with --port, or none",
            )
        })?;
    let label = connecting.label();
    let mut approval = connecting.begin(store, &loopback).await?;
    let mut status = connecting.approve(&approval, &loopback).await?;
    let mut holders = 1;
    while holders < MAX_HOLDERS && is_pending(&status) && is_partly_approved(&approval).await {
        holders += 1;
        note(format!(
            "{label}: approved; another holder of an account has to approve as well"
        ));
        connecting.is_further_holder = true;
        let further = connecting
            .approve_further(store, &approval, &loopback)
            .await;
        (approval, status) = further.map_err(|failure| match failure {
            Failure::Diagnostic(failed) => failed.exit(Exit::AnotherApproval).into(),
            failure => failure,
        })?;
    }
    match status {
        status if status.is_serving() => screen.line(format!("{label}: the connection {status}")),
        status => Err(connecting
            .diagnose(&ManagerError::NotServing(status))
            .into()),
    }
}

impl Connecting<'_> {
    fn label(&self) -> String {
        label(&self.entry.id, self.customer)
    }

    fn diagnose(&self, error: &ManagerError) -> Diagnostic {
        let mut diagnostic = diagnose(&self.label(), &self.entry.id, error);
        if let ManagerError::Bank(error) = error
            && is_redirect_refused(error)
        {
            diagnostic.advice = REDIRECT_ADVICE.into();
        }
        diagnostic
    }

    /// Requests the consent: the first one, or a renewal of the existing one.
    async fn begin(
        &self,
        store: &ConnectionStore,
        loopback: &Loopback,
    ) -> Result<Approval, Failure> {
        let mut options = ApprovalOptions::new();
        if matches!(self.arguments.approach, None | Some(Approach::Redirect)) {
            options = options
                .return_to(loopback.url())
                .return_to_if_refused(loopback.url());
        }
        if let Some(id) = self.given_psu_id() {
            options = options.psu_id(id);
        }
        if let Some(approach) = self.arguments.approach {
            options = options.prefer(approach.into());
        }
        let psu = self
            .arguments
            .psu_ip_address
            .or(store.profile.psu_ip_address);
        let connection = store.connections().await?;
        let connection = connection.into_iter().find(|connection| {
            connection.label() == self.label() && connection.status != ConnectionStatus::Leaving
        });
        let before = match connection {
            Some(connection) => {
                if let Some(until) = connection.status.until() {
                    note(format!(
                        "{} is connected until {until}. A new approval replaces the present consent; \
                         until then it stays valid.",
                        self.label()
                    ));
                }
                self.manager.consent_terms(&connection.id).await
            }
            None => Ok(ConsentTerms::of(self.arguments.access.requested_or_all())),
        };
        let terms = self.terms(before.map_err(|error| self.diagnose(&error))?);
        // For an existing connection, this is a renewal.
        let approval = self
            .manager
            .connect(&self.entry.id, self.customer, psu, &terms, &options)
            .await;
        Ok(approval.map_err(|error| self.diagnose(&error))?)
    }

    /// Terms to request: those of the connection before, but for what the command line
    /// and the directory say.
    fn terms(&self, before: ConsentTerms) -> ConsentTerms {
        let mut terms = before;
        if let Some(access) = self.arguments.access.requested() {
            terms = terms.access(access);
        }
        // As many unattended reads as the bank is known to allow.
        if let Some(reads) = self.entry.limits.calls_a_day.and_then(NonZeroU32::new) {
            terms = terms.a_day(reads);
        }
        if let Some(days) = self.arguments.days {
            terms = terms.days(days.get());
        }
        terms
    }

    /// Goes the way of the approval, whichever it is.
    async fn approve(
        &self,
        approval: &Approval,
        loopback: &Loopback,
    ) -> Result<ConnectionStatus, Failure> {
        let mut next = approval.next.clone();
        let mut authorisation = approval.authorisation_id().map(str::to_owned);
        for _ in 0..MAX_STEPS {
            next = match next {
                NextStep::Nothing => return self.follow(&approval.connection).await,
                NextStep::Redirect(page) => {
                    return self.redirect(approval, &page, loopback).await;
                }
                NextStep::Wait => {
                    note(format!(
                        "{}: approve in the bank's app, within {} s",
                        plain(&self.entry.name),
                        self.arguments.wait.as_secs()
                    ));
                    return self.wait(approval, None).await;
                }
                step => {
                    let done = self.step(approval, authorisation.as_deref(), &step).await?;
                    if let Some(message) = &done.psu_message {
                        note(plain(message.as_str()));
                    }
                    authorisation = Some(done.id.clone());
                    done.next()
                }
            };
        }
        Err(failure(
            format!("{} requires more than {MAX_STEPS} steps", self.entry.name),
            "tell the bank",
        ))
    }

    /// Opens the bank's page in the customer's browser, and waits for the redirect back or a change
    /// of the consent's status.
    async fn redirect(
        &self,
        approval: &Approval,
        page: &str,
        loopback: &Loopback,
    ) -> Result<ConnectionStatus, Failure> {
        let name = plain(&self.entry.name);
        let page = web_page(page).ok_or_else(|| {
            failure(
                format!("{name} redirects the customer to an address that is no web page"),
                "tell the bank",
            )
        })?;
        let wait = self.arguments.wait.as_secs();
        if self.arguments.print || open::that_detached(&page).is_err() {
            note(format!("approve at {name}, within {wait} s:\n{page}"));
        } else {
            note(format!(
                "approve at {name}, in the browser, within {wait} s; if it did not open:\n{page}"
            ));
        }
        self.wait(approval, Some(loopback)).await
    }

    /// Waits until the customer's approval succeeds, fails or times out.
    async fn wait(
        &self,
        approval: &Approval,
        loopback: Option<&Loopback>,
    ) -> Result<ConnectionStatus, Failure> {
        let id = &approval.connection;
        let waiting = async {
            let mut again = interval(POLL_INTERVAL);
            // The first tick comes at once.
            again.tick().await;
            loop {
                let (status, is_polled) = tokio::select! {
                    query = next_redirect(loopback) => {
                        (self.manager.handle_redirect(id, &query?).await, false)
                    }
                    _ = again.tick() => (self.manager.follow(id).await, true),
                };
                match status {
                    // A redirect that belongs to another approval: ours may still arrive.
                    Err(ManagerError::Foreign(_) | ManagerError::StateMissing) => {
                        note("a redirect arrived that does not belong to this connection");
                    }
                    Err(ManagerError::Bank(error)) if error.is_transient() => {}
                    Err(error) => return Err(Failure::from(self.diagnose(&error))),
                    Ok(status) if is_pending(&status) && !is_partly_approved(approval).await => {}
                    Ok(status) => {
                        // The browser may be on its way: it would find no one here.
                        if is_polled && loopback.is_some() {
                            let _ = timeout(RETURN_TIMEOUT, next_redirect(loopback)).await;
                        }
                        return Ok(status);
                    }
                }
            }
        };
        timeout(self.arguments.wait, waiting)
            .await
            .unwrap_or_else(|_| {
                let cause = format!(
                    "{}: not approved within {} s",
                    self.label(),
                    self.arguments.wait.as_secs()
                );
                let again = connect_command(&self.entry.id, &self.label());
                let again = format!("try again with `{again}`");
                Err(Diagnostic::new(cause, again)
                    .exit(Exit::ConsentNeeded)
                    .into())
            })
    }

    /// Goes through the approval of another holder of an account.
    async fn approve_further(
        &self,
        store: &ConnectionStore,
        before: &Approval,
        loopback: &Loopback,
    ) -> Result<(Approval, ConnectionStatus), Failure> {
        let approval = self.begin(store, loopback).await?;
        if approval.authorisation_id() == before.authorisation_id() {
            let again = connect_command(&self.entry.id, &self.label());
            return Err(failure(
                format!(
                    "{}: the bank starts no authorisation for another holder",
                    self.label()
                ),
                format!("connect the accounts that have one holder: `{again} --accounts IBAN`"),
            ));
        }
        let status = self.approve(&approval, loopback).await?;
        Ok((approval, status))
    }

    async fn follow(&self, id: &ConnectionId) -> Result<ConnectionStatus, Failure> {
        let status = self.manager.follow(id).await;
        Ok(status.map_err(|error| self.diagnose(&error))?)
    }

    /// Runs one step of an approval that this program passes on to the bank.
    async fn step(
        &self,
        approval: &Approval,
        authorisation: Option<&str>,
        step: &NextStep,
    ) -> Result<Authorisation, Failure> {
        let (bank, consent) = (&approval.bank, approval.consent_id());
        let mut options = ApprovalOptions::new();
        if let Some(id) = self.given_psu_id() {
            options = options.psu_id(id);
        }
        let done = match (step, authorisation) {
            (NextStep::Start, _) => bank.start_authorisation(consent, &options).await,
            (NextStep::Identify, authorisation) => {
                let psu = self.psu_id()?;
                match authorisation {
                    Some(id) => bank.identify(consent, id, &psu).await,
                    None => {
                        bank.start_authorisation(consent, &options.psu_id(psu))
                            .await
                    }
                }
            }
            (NextStep::Password, authorisation) => {
                let psu = self.psu_id()?;
                let password = self.prompt.secret("the customer's password at the bank")?;
                if let Some(id) = authorisation {
                    bank.authenticate(consent, id, &psu, password).await
                } else {
                    let options = options.psu_id(psu);
                    bank.start_authorisation_with_password(consent, &options, password)
                        .await
                }
            }
            (NextStep::Code, Some(id)) => {
                let code = self.prompt.secret("the code for this approval")?;
                bank.authorise(consent, id, code).await
            }
            (NextStep::Confirm, Some(id)) => {
                let code = self
                    .prompt
                    .secret("the code that the bank has given for confirmation")?;
                bank.confirm(consent, id, code).await
            }
            (NextStep::SelectMethod, Some(id)) => {
                let method = self.prompt.line("the id of the method to approve with")?;
                bank.select_method(consent, id, &method).await
            }
            _ => {
                return Err(failure(
                    format!(
                        "{} requires a step that this program does not support",
                        self.entry.name
                    ),
                    "prefer another way with --approach",
                ));
            }
        };
        Ok(done?)
    }

    /// The login name of the command line, which is the first holder's.
    fn given_psu_id(&self) -> Option<&String> {
        let id = self.arguments.psu_id.as_ref();
        id.filter(|_| !self.is_further_holder)
    }

    fn psu_id(&self) -> Result<String, Failure> {
        match self.given_psu_id() {
            Some(id) => Ok(id.clone()),
            None => self
                .prompt
                .line("the customer's login name at the bank (--psu-id)"),
        }
    }
}

/// Whether the bank refuses the redirect URI.
fn is_redirect_refused(error: &Error) -> bool {
    let ErrorKind::Refused { messages, .. } = &error.kind else {
        return false;
    };
    let paths = messages
        .iter()
        .filter_map(|message| message.path.as_deref());
    paths
        .map(str::to_ascii_lowercase)
        .any(|path| path.contains("redirect-uri"))
}

/// Whether the connection or its renewal is still waiting for approval.
fn is_pending(status: &ConnectionStatus) -> bool {
    use bank_client::consent_manager::Renewal;
    matches!(status, ConnectionStatus::Waiting) || status.renewal() == Some(Renewal::Waiting)
}

/// Whether this approval has succeeded and another holder of an account must approve as well. False
/// if the bank does not answer.
async fn is_partly_approved(approval: &Approval) -> bool {
    let (bank, consent) = (&approval.bank, approval.consent_id());
    if let Some(id) = approval.authorisation_id()
        && !matches!(
            bank.authorisation_status(consent, id).await,
            Ok(ScaStatus::Finalised)
        )
    {
        return false;
    }
    let status = bank.consent_status(consent).await;
    matches!(status, Ok(ConsentStatus::PartiallyAuthorised))
}

/// Returns the query of the next redirect; never, without a loopback listener.
async fn next_redirect(loopback: Option<&Loopback>) -> Result<String, Failure> {
    match loopback {
        Some(loopback) => loopback.wait().await.map_err(|error| {
            failure(
                format!("cannot receive the redirect from the bank: {error}"),
                "try again",
            )
        }),
        None => std::future::pending().await,
    }
}

/// Returns the address if it is safe to open in a browser: HTTPS, or HTTP on this machine. A bank
/// cannot make this program open a file or another program.
fn web_page(page: &str) -> Option<String> {
    let url = url::Url::parse(page).ok()?;
    let own = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    // The customer types a password there: without TLS only on this machine.
    (url.scheme() == "https" || url.scheme() == "http" && own).then(|| url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_to_web_pages_alone() {
        for (page, expected) in [
            (
                "https://bank-b.example/approve?id=1",
                Some("https://bank-b.example/approve?id=1"),
            ),
            (
                "http://bank-b.localhost:8452/a",
                Some("http://bank-b.localhost:8452/a"),
            ),
            (
                "https://bank-b.example/\x1b[2J",
                Some("https://bank-b.example/%1B[2J"),
            ),
            ("http://bank-b.example/approve", None),
            ("http://localhost.bank-b.example/approve", None),
            ("file:///etc/passwd", None),
            ("javascript:alert(1)", None),
            ("x-apple.systempreferences:", None),
            ("--help", None),
            ("/approve", None),
        ] {
            assert_eq!(web_page(page).as_deref(), expected, "{page}");
        }
    }
}
