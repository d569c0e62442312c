//! Return of the customer from the bank's redirect: checks `state`, passes on `code`.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use shared_types::xs2a::authorisation::Secret;
use url::form_urlencoded;

use super::ConnectionId;
use super::{ConnectionStatus, ConsentManager, ManagerError};

/// Query parameters of the return address.
#[derive(Default, PartialEq, Eq)]
struct ReturnParameters {
    state: Option<String>,
    code: Option<String>,
}

impl ReturnParameters {
    fn of(address: &str) -> Self {
        let mut parameters = Self::default();
        let address = address.split('#').next().unwrap_or_default();
        // Before the question mark of an address stands no name with a value.
        let query = match address.split_once('?') {
            Some((path, query)) if !path.contains('=') => query,
            _ => address,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match name.as_ref() {
                "state" => &mut parameters.state,
                "code" => &mut parameters.code,
                _ => continue,
            };
            // The first one counts, so that appended parameters have no effect.
            place.get_or_insert_with(|| value.into_owned());
        }
        parameters
    }
}

impl ConsentManager {
    /// The customer comes back from the bank, by that address: the whole of it, path and query, or
    /// the query alone.
    ///
    /// Its `state` must be the one that was sent; otherwise the return belongs to another customer
    /// or request. If the bank wants the approval confirmed, the `code` is passed on. The rest of
    /// the address is ignored: the outcome is polled at the bank. A second return changes nothing.
    pub async fn handle_redirect(
        &self,
        id: &ConnectionId,
        address: &str,
    ) -> Result<ConnectionStatus, ManagerError> {
        let _guard = self.lock(id).await?;
        let (connection, _) = self.load(id).await?;
        let parameters = ReturnParameters::of(address);
        let (bank, sent) = (&connection.bank, connection.state.as_deref());
        let Some(state) = parameters.state.as_deref() else {
            tracing::warn!(%bank, connection = %id, "return from the bank without a state");
            return Err(ManagerError::StateMissing);
        };
        let is_ours = sent
            .is_some_and(|sent| verify_slices_are_equal(sent.as_bytes(), state.as_bytes()).is_ok());
        if !is_ours {
            tracing::warn!(%bank, connection = %id, "return from the bank with a state of another connection");
            return Err(ManagerError::Foreign(id.clone()));
        }
        if let Some((pending, answer)) = connection
            .waiting()
            .filter(|(pending, _)| !pending.returned)
        {
            tracing::info!(%bank, connection = %id, "customer returned from the bank");
            let handle = self.bank_handle(bank)?;
            let code = parameters.code.and_then(|code| Secret::new(code).ok());
            if let Some((code, authorisation)) = code.zip(answer.authorisation.as_deref())
                && let Err(error) = handle.confirm(&answer.consent, authorisation, code).await
            {
                if error.may_have_been_heard() {
                    // She can come back once more.
                    return Err(error.into());
                }
                // The consent's status shows whether that was right.
                let reasons = error.kind.label();
                tracing::warn!(%bank, connection = %id, %reasons, "confirmation code rejected by the bank");
            }
            let request_id = pending.request_id;
            self.change(id, |connection| {
                let same = connection.is_pending(request_id);
                let pending = connection.pending.as_mut().filter(|_| same)?;
                pending.returned = true;
                Some(())
            })
            .await?;
        }
        self.follow_locked(id).await
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
            let parameters = ReturnParameters::of(query);
            assert_eq!(parameters.state.as_deref(), state, "{query}");
            assert_eq!(parameters.code.as_deref(), code, "{query}");
        }
    }
}
