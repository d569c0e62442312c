//! Account report assembled from the JSON of its transactions: parsing and serialising each of them
//! again would cost more than the rest of the response.

use actix_web::HttpResponse;
use serde::Serialize;
use shared_types::xs2a::link::Links;

use super::error::{ApiError, Result};
use crate::core_banking::{Listed, Page};

/// Response from `empty`, a report with empty lists, filled with the transactions of the page. If
/// single transactions can be read below `path`, each has a link.
pub(super) fn respond(
    empty: &impl Serialize,
    page: &Page<Listed>,
    path: Option<&str>,
) -> Result<HttpResponse> {
    let mut text = serde_json::to_string(empty).map_err(|_| ApiError::internal())?;
    // From the back: entries, which may have members of that name, are not in the text yet.
    for (member, entries) in [("pending", &page.pending), ("booked", &page.booked)] {
        // Within a string a quotation mark is escaped: this is the member itself.
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
            fill(&mut text, entries, path).ok_or_else(ApiError::internal)?;
            text.push_str(&tail);
        }
    }
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(text))
}

/// Appends the entries. `None` if one of them is no object.
fn fill(text: &mut String, entries: &[Listed], path: Option<&str>) -> Option<()> {
    let link = path.and_then(link_below);
    for (position, entry) in entries.iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        text.push_str(entry.json.strip_suffix('}')?);
        if let (Some((before, after)), Some(id)) = (&link, &entry.id) {
            text.push_str(before);
            push_segment(text, id);
            text.push_str(after);
        }
        text.push('}');
    }
    Some(())
}

/// Text of a link before and after its last segment.
fn link_below(path: &str) -> Option<(String, String)> {
    // A segment has no character that JSON would escape, and no blank.
    let links = Links::new().with("transactionDetails", format!("{path}/ "));
    let links = serde_json::to_string(&links).ok()?;
    let (before, after) = links.rsplit_once(' ')?;
    Some((format!(r#","_links":{before}"#), after.to_owned()))
}

/// Appends a transaction id as a path segment, percent-encoded (RFC 3986).
fn push_segment(path: &mut String, id: &str) {
    use std::fmt::Write as _;

    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    fn entries(all: &[&str]) -> Vec<Listed> {
        let listed = |json: &&str| Listed {
            id: Some("a/1".into()),
            json: (*json).into(),
        };
        all.iter().map(listed).collect()
    }

    async fn answered(
        empty: &Value,
        path: Option<&str>,
        booked: &[&str],
        pending: &[&str],
    ) -> Option<Value> {
        let page = Page {
            booked: entries(booked),
            pending: entries(pending),
            next: None,
            newest: None,
        };
        let answer = respond(empty, &page, path).ok()?;
        let body = to_bytes(answer.into_body()).await.unwrap();
        Some(serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn entries_go_where_they_are_wanted_and_nowhere_else() {
        // A name that looks like the place.
        let name = r#""booked":[ \"pending\":["#;
        let empty = json!({ "account": { "name": name }, "list": { "booked": [], "pending": [], "_links": {} } });
        let answer = answered(
            &empty,
            Some("/v1"),
            &[r#"{"a":"1"}"#, r#"{"a":"}"}"#],
            &[r#"{"b":{}}"#],
        )
        .await;
        let link = json!({ "transactionDetails": { "href": "/v1/a%2F1" } });
        let filled = json!({ "account": { "name": name }, "list": {
            "booked": [{ "a": "1", "_links": link }, { "a": "}", "_links": link }],
            "pending": [{ "b": {}, "_links": link }],
            "_links": {},
        } });
        assert_eq!(answer, Some(filled));
        let booked = json!({ "list": { "booked": [] } });
        let answer = answered(&booked, None, &[], &[r#"{"b":1}"#]).await;
        assert_eq!(answer, Some(booked), "pending ones were not wanted");
    }

    #[tokio::test]
    async fn an_entry_may_have_members_of_the_lists_names() {
        let empty = json!({ "booked": [], "pending": [] });
        let entry = r#"{"booked":[1],"pending":[2]}"#;
        let answer = answered(&empty, None, &[entry], &[entry]).await;
        let entry = json!({ "booked": [1], "pending": [2] });
        assert_eq!(
            answer,
            Some(json!({ "booked": [entry], "pending": [entry] }))
        );
    }

    #[tokio::test]
    async fn what_is_no_object_is_not_answered() {
        let empty = json!({ "booked": [] });
        assert_eq!(answered(&empty, None, &["1"], &[]).await, None);
    }
}
