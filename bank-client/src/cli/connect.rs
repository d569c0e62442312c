//! `bank-client connect`: from a bank to a connection that serves.

use std::num::NonZeroU32;
use std::time::Duration;

use bank_client::authorisations::{ApprovalOptions, Authorisation, NextStep};
use bank_client::consent_manager::{
    Approval, ConnectionId, ConnectionStatus, ConsentManager, ConsentTerms, ManagerError,
};
use bank_client::directory::BankEntry;
use bank_client::environment::SystemRandomness;
use bank_client::{Error, ErrorKind};
use tokio::time::{interval, timeout};

use super::arguments::{Approach, Connect};
use super::ask::Questions;
use super::connection_store::{ConnectionStore, connect, label, trouble};
use super::failure::{BankFailure, Exit, Failure, failure};
use super::loopback::Loopback;
use super::screen::{Screen, note, plain};

/// Between two questions about what the customer has done in the bank's app, or on another device.
const AGAIN: Duration = Duration::from_secs(3);

/// Steps of one approval; a bank that wants more leads nowhere.
const MOST_STEPS: usize = 12;

/// What to do about a bank that sends no browser back to us.
const WAY_BACK: &str = "this program waits for the browser at an address on this machine, which the bank has to allow \
                        (`[sca] allow_loopback_redirects` of bank-server); or approve with `--approach decoupled` or \
                        `--approach embedded`";

/// Who is connected to what.
struct Connecting<'a> {
    entry: &'a BankEntry,
    customer: &'a str,
    manager: ConsentManager,
    asked: &'a Connect,
    questions: Questions,
}

/// Connects the bank, or connects it anew.
pub(super) async fn run(
    kept: &ConnectionStore,
    asked: &Connect,
    screen: Screen,
) -> Result<(), Failure> {
    let entry = kept.profile.find(&asked.bank)?;
    let connecting = Connecting {
        entry,
        customer: &asked.customer,
        manager: kept.manager(&[entry])?,
        asked,
        questions: Questions {
            allowed: !asked.no_input,
        },
    };
    let loopback = Loopback::open(asked.port, &SystemRandomness)
        .await
        .map_err(|error| {
            failure(
                format!("port {}: {error}", asked.port),
                "give another one with --port, or none",
            )
        })?;
    let approval = connecting.begin(kept, &loopback).await?;
    let standing = connecting.approve(&approval, &loopback).await?;
    let label = connecting.label();
    match standing {
        standing if standing.is_serving() => {
            screen.line(format!("{label}: the connection {standing}"))
        }
        standing => Err(connecting
            .trouble(&ManagerError::NotServing(standing))
            .into()),
    }
}

impl Connecting<'_> {
    fn label(&self) -> String {
        label(&self.entry.id, self.customer)
    }

    fn trouble(&self, error: &ManagerError) -> BankFailure {
        let mut trouble = trouble(&self.label(), &self.entry.id, error);
        if let ManagerError::Bank(error) = error
            && is_about_way_back(error)
        {
            trouble.advice = WAY_BACK.into();
        }
        trouble
    }

    /// Asks for the consent: a first one, or one in place of that there is.
    async fn begin(
        &self,
        kept: &ConnectionStore,
        loopback: &Loopback,
    ) -> Result<Approval, Failure> {
        let mut options = ApprovalOptions::new();
        if matches!(self.asked.approach, None | Some(Approach::Redirect)) {
            options = options
                .return_to(loopback.url())
                .return_to_if_refused(loopback.url());
        }
        if let Some(id) = &self.asked.psu_id {
            options = options.psu_id(id);
        }
        if let Some(approach) = self.asked.approach {
            options = options.prefer(approach.into());
        }
        let psu = self.asked.psu_ip_address.or(kept.profile.psu_ip_address);
        let known = kept.connections().await?;
        let known = known.into_iter().find(|known| {
            known.label() == self.label() && known.standing != ConnectionStatus::Leaving
        });
        let before = match known {
            Some(known) => {
                if known.standing.is_serving() {
                    note(format!(
                        "{} is connected: the connection {}; the consent it has is read under until a new one is approved, and \
                         then given up",
                        self.label(),
                        known.standing
                    ));
                }
                self.manager.consent_terms(&known.id).await
            }
            None => Ok(ConsentTerms::of(self.asked.access.wanted())),
        };
        let wish = self.wish(before.map_err(|error| self.trouble(&error))?);
        // Of one that is there, this is a renewal.
        let approval = self
            .manager
            .connect(&self.entry.id, self.customer, psu, &wish, &options)
            .await;
        Ok(approval.map_err(|error| self.trouble(&error))?)
    }

    /// What is to be asked for: what was asked for before, but for what the command line and the directory say.
    fn wish(&self, before: ConsentTerms) -> ConsentTerms {
        let mut wish = before;
        if let Some(access) = self.asked.access.told() {
            wish = wish.access(access);
        }
        // Without the customer, as often as the bank is known to allow.
        if let Some(reads) = self.entry.limits.calls_a_day.and_then(NonZeroU32::new) {
            wish = wish.a_day(reads);
        }
        if let Some(days) = self.asked.days {
            wish = wish.days(days.get());
        }
        wish
    }

    /// Goes the way of the approval, whichever it is.
    async fn approve(
        &self,
        approval: &Approval,
        loopback: &Loopback,
    ) -> Result<ConnectionStatus, Failure> {
        let mut next = approval.next.clone();
        let mut authorisation = approval.authorisation_id().map(str::to_owned);
        for _ in 0..MOST_STEPS {
            next = match next {
                NextStep::Nothing => return self.follow(&approval.connection).await,
                NextStep::Redirect(page) => {
                    return self.redirect(&approval.connection, &page, loopback).await;
                }
                NextStep::Wait => {
                    note(format!(
                        "{}: approve in the bank's app, within {} s",
                        plain(&self.entry.name),
                        self.asked.wait.as_secs()
                    ));
                    return self.wait(&approval.connection, None).await;
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
            format!("{} asks for step after step", self.entry.name),
            "tell the bank",
        ))
    }

    /// Sends the customer's browser to the bank, and waits for it, or for the bank to say that she was there.
    async fn redirect(
        &self,
        id: &ConnectionId,
        page: &str,
        loopback: &Loopback,
    ) -> Result<ConnectionStatus, Failure> {
        let name = plain(&self.entry.name);
        let page = web_page(page).ok_or_else(|| {
            failure(
                format!("{name} sends the customer to something that is no web page"),
                "tell the bank",
            )
        })?;
        let wait = self.asked.wait.as_secs();
        if self.asked.print || open::that_detached(&page).is_err() {
            note(format!("approve at {name}, within {wait} s:\n{page}"));
        } else {
            note(format!(
                "approve at {name}, in the browser, within {wait} s; if it did not open:\n{page}"
            ));
        }
        self.wait(id, Some(loopback)).await
    }

    /// Waits until the connection does not wait any more.
    async fn wait(
        &self,
        id: &ConnectionId,
        loopback: Option<&Loopback>,
    ) -> Result<ConnectionStatus, Failure> {
        let waiting = async {
            let mut again = interval(AGAIN);
            // The first tick comes at once.
            again.tick().await;
            loop {
                let standing = tokio::select! {
                    query = back(loopback) => self.manager.returned(id, &query?).await,
                    _ = again.tick() => self.manager.follow(id).await,
                };
                match standing {
                    // Somebody else's return: ours may still come.
                    Err(ManagerError::Foreign(_) | ManagerError::StateMissing) => {
                        note("what came back does not belong to this connection");
                    }
                    Err(ManagerError::Bank(error)) if error.is_transient() => {}
                    Err(error) => return Err(Failure::from(self.trouble(&error))),
                    Ok(standing) if is_open(&standing) => {}
                    Ok(standing) => return Ok(standing),
                }
            }
        };
        timeout(self.asked.wait, waiting).await.unwrap_or_else(|_| {
            let cause = format!(
                "{}: nobody has approved within {} s",
                self.label(),
                self.asked.wait.as_secs()
            );
            let again = connect(&self.entry.id, &self.label());
            let again = format!("`{again}` asks once more");
            Err(BankFailure::new(cause, again)
                .exit(Exit::ConsentNeeded)
                .into())
        })
    }

    async fn follow(&self, id: &ConnectionId) -> Result<ConnectionStatus, Failure> {
        let standing = self.manager.follow(id).await;
        Ok(standing.map_err(|error| self.trouble(&error))?)
    }

    /// One step of an approval through us.
    async fn step(
        &self,
        approval: &Approval,
        authorisation: Option<&str>,
        step: &NextStep,
    ) -> Result<Authorisation, Failure> {
        let (bank, consent) = (&approval.bank, approval.consent_id());
        let mut options = ApprovalOptions::new();
        if let Some(id) = &self.asked.psu_id {
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
                let password = self
                    .questions
                    .secret("the customer's password at the bank")?;
                if let Some(id) = authorisation {
                    bank.authenticate(consent, id, &psu, password).await
                } else {
                    let options = options.psu_id(psu);
                    bank.start_authorisation_with_password(consent, &options, password)
                        .await
                }
            }
            (NextStep::Code, Some(id)) => {
                let code = self.questions.secret("the code for this approval")?;
                bank.authorise(consent, id, code).await
            }
            (NextStep::Confirm, Some(id)) => {
                let code = self
                    .questions
                    .secret("the code that the bank has given for confirmation")?;
                bank.confirm(consent, id, code).await
            }
            (NextStep::SelectMethod, Some(id)) => {
                let method = self
                    .questions
                    .line("the id of the method to approve with")?;
                bank.select_method(consent, id, &method).await
            }
            _ => {
                return Err(failure(
                    format!(
                        "{} asks for a step that this program does not know",
                        self.entry.name
                    ),
                    "prefer another way with --approach",
                ));
            }
        };
        Ok(done?)
    }

    fn psu_id(&self) -> Result<String, Failure> {
        match &self.asked.psu_id {
            Some(id) => Ok(id.clone()),
            None => self
                .questions
                .line("with what the customer logs in at the bank (--psu-id)"),
        }
    }
}

/// Whether the bank refuses the address to which it is to send the customer's browser.
fn is_about_way_back(error: &Error) -> bool {
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

/// Whether something can still become of it.
fn is_open(standing: &ConnectionStatus) -> bool {
    use bank_client::consent_manager::Renewal;
    matches!(standing, ConnectionStatus::Waiting) || standing.renewal() == Some(Renewal::Waiting)
}

/// What the browser brings back, if it has a way back.
async fn back(loopback: Option<&Loopback>) -> Result<String, Failure> {
    match loopback {
        Some(loopback) => loopback.wait().await.map_err(|error| {
            failure(
                format!("the way back from the bank is closed: {error}"),
                "try again",
            )
        }),
        None => std::future::pending().await,
    }
}

/// The address, if it is one that a browser may be sent to: a bank can name no file and no other program of this machine.
fn web_page(page: &str) -> Option<String> {
    let url = url::Url::parse(page).ok()?;
    let own = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    // She types her password there: in the clear on this machine alone.
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
