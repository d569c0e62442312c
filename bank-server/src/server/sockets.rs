//! Where the bank listens, before anybody is let in.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use rustls_pki_types::UnixTime;

use super::descriptors::share;
use super::{StartError, wrong};
use crate::calendar::Calendar;
use crate::config::{Config, ConfigError, OnlineBankingConfig, Origin};
use crate::online_banking::TrustedProxies;
use crate::online_banking::listener::{Entrance, Times};
use crate::sca::Passkeys;
use crate::store::Database;
use crate::store::sessions::Lasting;
use crate::store::vault::Vault;

/// The socket that was handed in, or one at that address.
pub(super) fn bound(
    socket: Option<TcpListener>,
    setting: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let wrong = |error| StartError::Listen {
        setting,
        address,
        error,
    };
    let socket = match socket {
        Some(socket) => socket,
        None => TcpListener::bind(address).map_err(wrong)?,
    };
    let bound = socket.local_addr().map_err(wrong)?;
    Ok((socket, bound))
}

/// The listener for customers, before the pages are there.
pub(super) struct Pages {
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) origin: Origin,
    pub(super) entrance: Entrance,
    pub(super) lasting: Lasting,
    pub(super) proxies: TrustedProxies,
}

impl Pages {
    /// Passkeys for these pages.
    pub(super) fn passkeys(
        &self,
        bank: &str,
        database: &Database,
        vault: &Vault,
        calendar: &Calendar,
    ) -> Result<Passkeys, StartError> {
        let (database, vault, calendar) = (database.clone(), vault.clone(), calendar.clone());
        let passkeys = Passkeys::new(self.origin.url(), bank, database, vault, calendar);
        passkeys.map_err(|error| wrong("online_banking.origin", error.to_string()))
    }
}

/// Opens the listener for customers, with the certificate that their browsers are shown.
pub(super) fn open_pages(
    config: &Config,
    pages: &OnlineBankingConfig,
    socket: Option<TcpListener>,
    now: UnixTime,
) -> Result<Pages, StartError> {
    let entrance = entrance(config, pages)
        .map_err(|faults| StartError::Configuration(config.lines.locate(faults)))?;
    if let Some(fault) = entrance.certificate_fault(pages, now) {
        tracing::warn!(%fault, "browsers will warn of the customers' pages");
    }
    let (socket, address) = bound(socket, "online_banking.listen", pages.listen)?;
    Ok(Pages {
        socket,
        address,
        origin: pages.origin_at(address),
        entrance,
        lasting: pages.lasting(),
        proxies: TrustedProxies::new(&pages.trusted_proxies),
    })
}

/// What customers' connections pass.
pub(super) fn entrance(
    config: &Config,
    pages: &OnlineBankingConfig,
) -> Result<Entrance, Vec<ConfigError>> {
    let seconds = Duration::from_secs;
    let limits = &config.limits;
    let times = Times {
        handshake: seconds(limits.handshake_seconds),
        request: seconds(limits.request_seconds),
        idle: seconds(limits.idle_seconds),
    };
    Entrance::open(pages, share(pages.connections).pages, times)
}
