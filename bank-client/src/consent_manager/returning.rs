//! The customer's way back from the bank.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use shared_types::xs2a::authorisation::Secret;
use url::form_urlencoded;

use super::ConnectionId;
use super::{ConnectionStatus, ConsentManager, ManagerError};

/// What the customer's browser brings along.
#[derive(Default, PartialEq, Eq)]
struct Brought {
    state: Option<String>,
    code: Option<String>,
}

impl Brought {
    fn of(address: &str) -> Self {
        let mut brought = Self::default();
        let address = address.split('#').next().unwrap_or_default();
        // Before the question mark of an address stands no name with a value.
        let query = match address.split_once('?') {
            Some((path, query)) if !path.contains('=') => query,
            _ => address,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match name.as_ref() {
                "state" => &mut brought.state,
                "code" => &mut brought.code,
                _ => continue,
            };
            // The first one counts: nobody adds another behind it.
            place.get_or_insert_with(|| value.into_owned());
        }
        brought
    }
}

impl ConsentManager {
    /// The customer comes back from the bank, by that address: the whole of it, path and query, or the query alone.
    ///
    /// Its `state` has to be the one that was sent along; else it is somebody else who comes back, or with something
    /// else. If the bank wants its approval confirmed, the `code` is passed on. What else the address says counts for
    /// nothing: what came of it is asked of the bank. Coming back twice changes nothing.
    pub async fn returned(
        &self,
        id: &ConnectionId,
        address: &str,
    ) -> Result<ConnectionStatus, ManagerError> {
        let _turn = self.turn(id).await?;
        let (connection, _) = self.load(id).await?;
        let brought = Brought::of(address);
        let (bank, sent) = (&connection.bank, connection.state.as_deref());
        let Some(state) = brought.state.as_deref() else {
            tracing::warn!(%bank, connection = %id, "return from the bank without a state");
            return Err(ManagerError::StateMissing);
        };
        let is_ours = sent
            .is_some_and(|sent| verify_slices_are_equal(sent.as_bytes(), state.as_bytes()).is_ok());
        if !is_ours {
            tracing::warn!(%bank, connection = %id, "return from the bank with a state that does not belong to this connection");
            return Err(ManagerError::Foreign(id.clone()));
        }
        if let Some((asking, answer)) = connection.waiting().filter(|(asking, _)| !asking.returned)
        {
            tracing::info!(%bank, connection = %id, "the customer is back from the bank");
            let handle = self.managed(bank)?;
            let code = brought.code.and_then(|code| Secret::new(code).ok());
            if let Some((code, authorisation)) = code.zip(answer.authorisation.as_deref())
                && let Err(error) = handle.confirm(&answer.consent, authorisation, code).await
            {
                if error.may_have_been_heard() {
                    // She can come back once more.
                    return Err(error.into());
                }
                // Whether that was right, the consent's status says.
                let reasons = error.kind.label();
                tracing::warn!(%bank, connection = %id, %reasons, "the bank does not take the code that was brought back");
            }
            let request_id = asking.request_id;
            self.change(id, |connection| {
                let same = connection.is_asking(request_id);
                let asking = connection.asking.as_mut().filter(|_| same)?;
                asking.returned = true;
                Some(())
            })
            .await?;
        }
        self.follow_in_turn(id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_browsers_write_it() {
        for (query, state, code) in [
            ("state=a-b_c&code=12%2F3", Some("a-b_c"), Some("12/3")),
            ("code=1&x=y&state=s", Some("s"), Some("1")),
            ("state=first&state=second", Some("first"), None),
            ("state=", Some(""), None),
            (
                "https://app.example/back?state=s&code=1#top",
                Some("s"),
                Some("1"),
            ),
            ("/back?from=bank&state=s", Some("s"), None),
            ("?state=s", Some("s"), None),
            ("state=s&code=a?b", Some("s"), Some("a?b")),
            ("State=s&xcode=1", None, None),
            ("", None, None),
            ("&&=&%", None, None),
        ] {
            let brought = Brought::of(query);
            assert_eq!(brought.state.as_deref(), state, "{query}");
            assert_eq!(brought.code.as_deref(), code, "{query}");
        }
    }
}
