//! A list of transactions, put together from their JSON: to read and to write each of them again would cost more than the
//! rest of the answer.

use actix_web::HttpResponse;
use serde::Serialize;

use super::error::ApiError;
use crate::core_banking::{Listed, Page};

/// The answer that is like `empty`, whose lists of transactions are there and empty where they are wanted, with those of
/// the page in them. Each gets what `more` adds to its members.
pub(super) fn respond(
    empty: &impl Serialize,
    page: &Page<Listed>,
    more: impl Fn(&Listed, &mut String),
) -> Result<HttpResponse, ApiError> {
    let mut text = serde_json::to_string(empty).map_err(|_| ApiError::internal())?;
    for (member, entries) in [("booked", &page.booked), ("pending", &page.pending)] {
        // Within a string a quotation mark has a backslash before it: this is the member itself.
        let start = format!("\"{member}\":[");
        if let Some(found) = text.find(&start) {
            let tail = text.split_off(found + start.len());
            text.reserve(
                entries
                    .iter()
                    .map(|entry| entry.json.len() + 256)
                    .sum::<usize>()
                    + tail.len(),
            );
            fill(&mut text, entries, &more).ok_or_else(ApiError::internal)?;
            text.push_str(&tail);
        }
    }
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(text))
}

/// `None` if one of them is no object.
fn fill(text: &mut String, entries: &[Listed], more: impl Fn(&Listed, &mut String)) -> Option<()> {
    for (position, entry) in entries.iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        text.push_str(entry.json.strip_suffix('}')?);
        more(entry, text);
        text.push('}');
    }
    Some(())
}
