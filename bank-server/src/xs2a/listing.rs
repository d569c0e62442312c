//! Lists of transactions: for a period or as a delta report, page by page.

use actix_web::HttpRequest;
use chrono::{DateTime, NaiveDate, Utc};
use shared_types::xs2a::link::Links;
use url::form_urlencoded::byte_serialize;

use super::consent_access::{ConsentAccess, GrantedAccount};
use super::error::{ApiError, Result};
use super::pages::{ListKey, PagePosition};
use super::parameters::{Delta, ListRequest, Parameters};
use crate::core_banking::{Listed, Page, TransactionQuery};
use crate::domain::{AccountId, Arrival, Resource};

/// A delta report has no last day: it contains entries with a booking date in the future too.
const FAR_AHEAD: Option<NaiveDate> = NaiveDate::from_ymd_opt(9999, 12, 31);

/// List of transactions, at the requested page.
pub(super) struct Listing {
    /// Query for the core banking system.
    pub(super) query: TransactionQuery,
    /// Whether this is the list's first page, which is counted.
    first: bool,
    delta: Option<Delta>,
    with_balance: bool,
    /// Parameters of the list, as in the links of its pages.
    parameters: String,
    started: DateTime<Utc>,
    /// Of a delta report: the newest booked entry on the pages before.
    newest: Option<Arrival>,
}

impl ConsentAccess {
    /// The list that a request asks for.
    pub(super) fn list_request(&self, request: &HttpRequest) -> Result<ListRequest> {
        let today = self.state.calendar.today();
        Parameters::of(request)?.list(today, &self.state.limits)
    }

    /// Opens the list at the requested page.
    pub(super) async fn open_list(
        &self,
        list: ListRequest,
        account: &AccountId,
    ) -> Result<Listing> {
        let (now, first_day) = (self.state.calendar.now(), self.first_day());
        let ListRequest {
            mut query,
            delta,
            with_balance,
            page,
        } = list;
        let parameters = parameters(&query, delta.as_ref());
        // On later pages too: a list that was begun in time does not open old transactions for
        // ever.
        if let Some(delta) = &delta {
            if !self.state.core.has_deltas() {
                return Err(ApiError::not_supported(
                    delta.parameter(),
                    "this bank has no delta reports; use dateFrom",
                ));
            }
            query.from = first_day;
            query.to = FAR_AHEAD.unwrap_or(query.to);
        } else if query.from < first_day {
            let minutes = self.state.rules.history_minutes;
            return Err(ApiError::period(
                "dateFrom",
                format!(
                    "transactions before {first_day} can be read within {minutes} minutes after the customer has \
                     authenticated; ask for later ones, or for a new consent"
                ),
            ));
        }
        let mut listing = Listing {
            query,
            first: page.is_none(),
            delta,
            with_balance,
            parameters,
            started: now,
            newest: None,
        };
        match (&page, &listing.delta) {
            (Some(token), _) => {
                let position = self
                    .key(&listing, account)
                    .open(&self.state.vault, token, now)
                    .ok_or_else(|| {
                        ApiError::format(
                            "page",
                            "not a page of this list, or older than an hour; start again with the first page",
                        )
                    })?;
                listing.query.after = Some(position.place);
                listing.query.since = position.since;
                listing.started = position.started;
                listing.newest = position.newest;
            }
            (None, Some(delta)) => {
                listing.query.since = Some(self.start(delta, account, first_day).await?);
            }
            (None, None) => {}
        }
        Ok(listing)
    }

    /// Arrival after which a delta report starts.
    async fn start(
        &self,
        delta: &Delta,
        account: &AccountId,
        first_day: NaiveDate,
    ) -> Result<Arrival> {
        match delta {
            Delta::AfterEntry(reference) => self
                .state
                .core
                .arrival_of(account, reference)
                .await?
                // One that is too old to be shown now is answered like one that never was.
                .filter(|arrived| arrived.date >= first_day)
                .map(|arrived| arrived.place)
                .ok_or_else(ApiError::unknown_reference),
            Delta::AfterLastReport => {
                let last = self.state.reports.last(self.consent(), account).await?;
                Ok(last.unwrap_or(Arrival::BEFORE_ALL))
            }
        }
    }

    /// Finishes a page: counts the read with the first one, records the position of a delta report
    /// with the last one, and returns `links` with those of the list, `first` and `next`.
    pub(super) async fn finish_page<D>(
        &self,
        links: Links,
        path: &str,
        account: &GrantedAccount<'_, D>,
        listing: &mut Listing,
        page: &Page<Listed>,
    ) -> Result<Links> {
        if listing.first {
            let resource = Resource::Transactions(&account.id);
            self.count_one(resource, account).await?;
        }
        listing.newest = listing.newest.max(page.newest);
        if let (Some(Delta::AfterLastReport), None, Some(reached)) =
            (&listing.delta, page.next, listing.newest)
        {
            let (reports, now) = (&self.state.reports, self.state.calendar.now());
            reports
                .note(self.consent(), &account.id, reached, now)
                .await?;
        }
        let query = format!("{path}?{}", listing.parameters);
        let balance = if listing.with_balance {
            "&withBalance=true"
        } else {
            ""
        };
        let links = links.with("first", format!("{query}{balance}"));
        let Some(place) = page.next else {
            return Ok(links);
        };
        let position = PagePosition {
            place,
            started: listing.started,
            since: listing.query.since,
            newest: listing.newest,
        };
        let token = self
            .key(listing, &account.id)
            .token(&self.state.vault, &position);
        Ok(links.with("next", format!("{query}&page={token}")))
    }

    fn key<'a>(&'a self, listing: &'a Listing, account: &'a AccountId) -> ListKey<'a> {
        ListKey {
            consent: &self.consent().id,
            account: &account.0,
            parameters: &listing.parameters,
        }
    }
}

/// Parameters of the list, for a link.
fn parameters(query: &TransactionQuery, delta: Option<&Delta>) -> String {
    let TransactionQuery {
        from,
        to,
        status,
        limit,
        ..
    } = query;
    let selection = match delta {
        None => format!("dateFrom={from}&dateTo={to}"),
        Some(Delta::AfterEntry(reference)) => {
            let reference: String = byte_serialize(reference.as_bytes()).collect();
            format!("entryReferenceFrom={reference}")
        }
        Some(Delta::AfterLastReport) => "deltaList=true".to_owned(),
    };
    let status = status.as_str();
    format!("{selection}&bookingStatus={status}&pageSize={limit}")
}
