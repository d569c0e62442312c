//! Online banking: the bank's web pages for its customers, on a listener of their own.
//!
//! Pages are rendered on the server and work without JavaScript; the one script is for passkeys.
//! The middleware in `headers` checks host and origin, finds the `session` and sets the security
//! headers. A handler takes a `Visitor`, or a `Customer` who is fully logged in, which hold the
//! shared state, and a `FormBody`, which accepts our own forms alone (`csrf`). It returns a `Page`
//! in the common `layout`, a `Message` page, or a `Problem`, for which the middleware renders a
//! message page. All texts stand in `texts`.

mod accounts;
mod assets;
mod authorise;
mod client_address;
mod confirming;
mod consents;
mod csrf;
mod destination;
mod foreign;
mod formatting;
mod forms;
mod headers;
mod identity_provider;
mod layout;
pub(crate) mod listener;
mod log_in;
mod message;
mod other_banks;
mod passkeys;
mod phone;
mod problem;
mod removing;
mod request;
mod second_factor;
mod session;
mod texts;

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use shared_types::environment::Randomness;

pub(crate) use self::client_address::TrustedProxies;
pub(crate) use self::csrf::Seal;
pub(crate) use self::headers::frame;
pub(crate) use self::other_banks::{OtherBanks, OtherBanksParts, read_what_is_due};
use self::problem::Problem;
pub(crate) use self::texts::{ENGLISH, Texts};
use crate::calendar::Calendar;
use crate::config::{LimitsConfig, Origin};
use crate::consent::authorisation::Authorisations;
use crate::core_banking::CoreBanking;
use crate::identity_provider::IdentityProvider;
use crate::sca::Sca;
use crate::store::sessions::{SessionLifetime, Sessions};
use crate::store::vault::Vault;
use crate::telemetry::request_metrics::RequestMetrics;

/// Response of a handler.
type PageResult = Result<HttpResponse, Problem>;

/// Shared state of all pages.
pub(crate) struct OnlineBanking {
    pub(crate) bank_name: String,
    pub(crate) is_sandbox: bool,
    pub(crate) origin: Origin,
    pub(crate) texts: &'static Texts,
    pub(crate) core: Arc<dyn CoreBanking>,
    pub(crate) sessions: Sessions,
    pub(crate) session_lifetime: SessionLifetime,
    pub(crate) sca: Sca,
    /// In place of the bank's own passwords, codes and passkeys.
    pub(crate) identity_provider: Option<IdentityProvider>,
    pub(crate) authorisations: Authorisations,
    pub(crate) other_banks: OtherBanks,
    /// Signs forms and cookies.
    pub(crate) seal: Seal,
    pub(crate) vault: Vault,
    pub(crate) calendar: Calendar,
    pub(crate) randomness: Arc<dyn Randomness>,
    pub(crate) limits: LimitsConfig,
    pub(crate) proxies: TrustedProxies,
    pub(crate) request_metrics: RequestMetrics,
}

/// The pages and their paths. With an identity provider, customers have no passwords, devices and
/// passkeys here.
pub(crate) fn configure(app: &mut web::ServiceConfig, has_identity_provider: bool) {
    app.configure(assets::configure)
        .configure(accounts::configure)
        .configure(authorise::configure)
        .configure(consents::configure)
        .configure(other_banks::configure);
    if has_identity_provider {
        app.configure(identity_provider::configure);
    } else {
        app.configure(log_in::configure)
            .configure(phone::configure)
            .configure(passkeys::configure)
            .configure(removing::configure);
    }
}
