//! Query parameters.

use actix_web::HttpRequest;
use chrono::NaiveDate;
use shared_types::xs2a::date;
use shared_types::xs2a::transaction::BookingStatus;

use super::error::{ApiError, Result};
use crate::config::LimitsConfig;
use crate::core_banking::TransactionQuery;

/// Maximum of parameters of a request; no operation has more than eight.
const MAX_PARAMETERS: usize = 32;

/// Maximum length of an `entryReference`, by the standard.
const MAX_REFERENCE: usize = 35;

/// The query of a request, each name at most once. Unknown names are ignored.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn of(request: &HttpRequest) -> Result<Self> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
            if parameters.len() >= MAX_PARAMETERS {
                return Err(ApiError::format(
                    "query",
                    format!("more than {MAX_PARAMETERS} parameters"),
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

    fn date(&self, name: &str) -> Result<Option<NaiveDate>> {
        let parsed = self.get(name).map(date::parse).transpose();
        parsed.map_err(|fault| ApiError::format(name, fault.to_string()))
    }

    fn truth(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::format(name, "expected true or false")),
        }
    }

    /// `withBalance`.
    pub(super) fn with_balance(&self) -> Result<bool> {
        self.truth("withBalance")
    }

    /// Parameters of `GET …/transactions`.
    pub(super) fn list(&self, today: NaiveDate, limits: &LimitsConfig) -> Result<ListRequest> {
        const STATUS: &str = "bookingStatus";

        let status = self.get(STATUS);
        let status = status.ok_or_else(|| ApiError::format(STATUS, "the parameter is required"))?;
        let status = match status {
            "booked" => BookingStatus::Booked,
            "pending" => BookingStatus::Pending,
            "both" => BookingStatus::Both,
            "information" | "all" => {
                let offered = "this bank offers booked, pending and both";
                return Err(ApiError::not_supported(STATUS, offered));
            }
            _ => return Err(ApiError::format(STATUS, "expected booked, pending or both")),
        };
        let delta = self.delta()?;
        // With a delta report the standard lets us ignore the period, which could hide new entries.
        let (from, to) = match delta {
            Some(_) => (today, today),
            None => self.period(today)?,
        };
        let limit = match self.get("pageSize").map(str::parse::<usize>) {
            None => limits.page_size,
            Some(Ok(size)) if (1..=limits.max_page_size).contains(&size) => size,
            Some(_) => {
                let expected =
                    format!("expected a whole number from 1 to {}", limits.max_page_size);
                return Err(ApiError::format("pageSize", expected));
            }
        };
        let query = TransactionQuery {
            from,
            to,
            status,
            since: None,
            after: None,
            limit,
        };
        let page = self.get("page").map(str::to_owned);
        Ok(ListRequest {
            query,
            delta,
            // Balances come with the first page, which is counted.
            with_balance: self.with_balance()? && page.is_none(),
            page,
        })
    }

    fn period(&self, today: NaiveDate) -> Result<(NaiveDate, NaiveDate)> {
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
        Ok((from, to))
    }

    fn delta(&self) -> Result<Option<Delta>> {
        let after_last = self.truth("deltaList")?;
        match self.get("entryReferenceFrom") {
            Some(_) if after_last => Err(ApiError::not_consistent(
                "deltaList",
                "ask for what is new in one way: entryReferenceFrom or deltaList",
            )),
            Some(reference) if (1..=MAX_REFERENCE).contains(&reference.chars().count()) => {
                Ok(Some(Delta::AfterEntry(reference.to_owned())))
            }
            Some(_) => Err(ApiError::format(
                "entryReferenceFrom",
                format!("expected 1 to {MAX_REFERENCE} characters"),
            )),
            None => Ok(after_last.then_some(Delta::AfterLastReport)),
        }
    }
}

/// Start of a delta report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Delta {
    /// `entryReferenceFrom`: what arrived after the booked entry of this reference.
    AfterEntry(String),
    /// `deltaList`: what arrived after the TPP's last report.
    AfterLastReport,
}

impl Delta {
    /// The parameter that requests it.
    pub(super) const fn parameter(&self) -> &'static str {
        match self {
            Self::AfterEntry(_) => "entryReferenceFrom",
            Self::AfterLastReport => "deltaList",
        }
    }
}

/// Request for a list of transactions.
#[derive(Debug)]
pub(super) struct ListRequest {
    pub(super) query: TransactionQuery,
    /// A delta report, instead of a period.
    pub(super) delta: Option<Delta>,
    pub(super) with_balance: bool,
    /// The token of a page that is not the first.
    pub(super) page: Option<String>,
}
