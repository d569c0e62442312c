//! Pages of the customer's own accounts: the overview, and one page per account.

mod account;
mod chart;
mod entry;
mod history;
mod months;
mod overview;
mod query;
mod view;

use actix_web::web;

use crate::http::resource;

pub(super) use self::entry::{Entry, EntryPage, table};
pub(super) use self::overview::{card, totals, views};
pub(super) use self::view::View;

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/").get(overview::page))
        .service(resource("/accounts/{account}").get(account::page));
}
