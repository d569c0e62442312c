//! Query parameters.

use actix_web::HttpRequest;
use chrono::NaiveDate;
use shared_types::date;
use shared_types::link::Links;
use shared_types::transaction::BookingStatus;

use super::RequestLimits;
use super::error::ApiError;
use crate::core_banking::{PageKey, TransactionQuery};

/// Parameters of a request, at most; no operation knows more than seven.
const MOST: usize = 32;

/// The query of a request, each name at most once. Names nobody asks for are ignored.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
            if parameters.len() >= MOST {
                return Err(ApiError::format(
                    "query",
                    format!("more than {MOST} parameters"),
                ));
            }
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(ApiError::format(name, "the parameter must be there once"));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn date(&self, name: &str) -> Result<Option<NaiveDate>, ApiError> {
        let parsed = self.get(name).map(date::parse).transpose();
        parsed.map_err(|fault| ApiError::format(name, fault.to_string()))
    }

    fn truth(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::format(name, "expected true or false")),
        }
    }

    /// `withBalance`.
    pub(super) fn with_balance(&self) -> Result<bool, ApiError> {
        self.truth("withBalance")
    }

    /// What `GET …/transactions` asks for.
    pub(super) fn list(&self, today: NaiveDate, limits: &RequestLimits) -> Result<List, ApiError> {
        for delta in ["entryReferenceFrom", "deltaList"] {
            if self.get(delta).is_some() {
                return Err(ApiError::not_supported(
                    delta,
                    "this bank has no delta reports; use dateFrom",
                ));
            }
        }
        let status = match self.get("bookingStatus") {
            Some("booked") => BookingStatus::Booked,
            Some("pending") => BookingStatus::Pending,
            Some("both") => BookingStatus::Both,
            Some("information" | "all") => {
                return Err(ApiError::not_supported(
                    "bookingStatus",
                    "this bank offers booked, pending and both",
                ));
            }
            Some(_) => {
                return Err(ApiError::format(
                    "bookingStatus",
                    "expected booked, pending or both",
                ));
            }
            None => {
                return Err(ApiError::format(
                    "bookingStatus",
                    "the parameter is required",
                ));
            }
        };
        let from = self
            .date("dateFrom")?
            .ok_or_else(|| ApiError::format("dateFrom", "the parameter is required"))?;
        let to = self.date("dateTo")?.unwrap_or(today);
        if from > to {
            return Err(ApiError::period(
                "dateFrom",
                "dateFrom must not be after dateTo, nor after today without one",
            ));
        }
        let limit = match self.get("pageSize").map(str::parse::<usize>) {
            None => limits.page,
            Some(Ok(size)) if (1..=limits.largest_page).contains(&size) => size,
            Some(_) => {
                let largest = limits.largest_page;
                return Err(ApiError::format(
                    "pageSize",
                    format!("expected a whole number from 1 to {largest}"),
                ));
            }
        };
        let after = match self.get("page").map(page_key) {
            None => None,
            Some(Some(key)) => Some(key),
            Some(None) => {
                return Err(ApiError::format(
                    "page",
                    "not a page of this bank; follow the link next",
                ));
            }
        };
        let query = TransactionQuery {
            from,
            to,
            status,
            after,
            limit,
        };
        Ok(List {
            query,
            with_balance: self.with_balance()?,
        })
    }
}

/// What a list of transactions is asked for.
#[derive(Debug)]
pub(super) struct List {
    pub(super) query: TransactionQuery,
    pub(super) with_balance: bool,
}

impl List {
    /// `first`, and `next` where there is more, for a list of transactions at `path`.
    pub(super) fn page_links(&self, links: Links, path: &str, next: Option<PageKey>) -> Links {
        let links = links.with("first", self.link(path, None));
        match next {
            Some(next) => links.with("next", self.link(path, Some(next))),
            None => links,
        }
    }

    fn link(&self, path: &str, page: Option<PageKey>) -> String {
        let TransactionQuery {
            from,
            to,
            status,
            limit,
            ..
        } = &self.query;
        let mut link = format!(
            "{path}?dateFrom={from}&dateTo={to}&bookingStatus={}&pageSize={limit}",
            status.as_str()
        );
        if self.with_balance {
            link.push_str("&withBalance=true");
        }
        if let Some(page) = page {
            link.push_str("&page=");
            link.push_str(&page_token(page));
        }
        link
    }
}

fn page_token(
    PageKey {
        booked,
        date,
        sequence,
    }: PageKey,
) -> String {
    let kind = if booked { 'b' } else { 'p' };
    format!("{kind}.{date}.{sequence}")
}

/// Reads back a [`page_token`]. A TPP that makes one up moves within what it may see anyway.
fn page_key(token: &str) -> Option<PageKey> {
    let mut parts = token.splitn(3, '.');
    let booked = match parts.next()? {
        "b" => true,
        "p" => false,
        _ => return None,
    };
    let date = date::parse(parts.next()?).ok()?;
    let sequence = parts.next()?.parse().ok()?;
    Some(PageKey {
        booked,
        date,
        sequence,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_page_token_reads_back(booked: bool, day in 1..3_000_000_i32, sequence: i64) {
            let date = NaiveDate::from_num_days_from_ce_opt(day).unwrap();
            let key = PageKey { booked, date, sequence };
            prop_assert_eq!(page_key(&page_token(key)), Some(key));
        }

        #[test]
        fn no_token_panics(token in "\\PC*") {
            let _ = page_key(&token);
        }
    }
}
