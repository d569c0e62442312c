//! The customer's own accounts: all on one page, and each on one of its own.

mod account;
mod chart;
mod entry;
mod history;
mod months;
mod overview;
mod query;
mod view;

use actix_web::web;

pub(super) use self::entry::Entry;
pub(super) use self::overview::{totals, views};
pub(super) use self::view::View;

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(web::resource("/").get(overview::page))
        .service(web::resource("/accounts/{account}").get(account::page));
}
