//! Listening sockets of the server, and TLS set-up of online banking.

use std::net::{SocketAddr, TcpListener};

use chrono::TimeDelta;
use rustls_pki_types::UnixTime;

use super::StartError;
use super::descriptors::connection_budget;
use crate::calendar::Calendar;
use crate::config::{Config, ConfigError, OnlineBankingConfig, Origin};
use crate::online_banking::TrustedProxies;
use crate::online_banking::listener::{BrowserListener, BrowserTimeouts};
use crate::sca::Passkeys;
use crate::store::Database;
use crate::store::sessions::SessionLifetime;
use crate::store::vault::Vault;

/// The inherited socket, or a new one bound to that address.
pub(super) fn bind(
    socket: Option<TcpListener>,
    setting: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen {
        setting,
        address,
        error,
    };
    let socket = match socket {
        Some(socket) => socket,
        None => TcpListener::bind(address).map_err(failed)?,
    };
    let address = socket.local_addr().map_err(failed)?;
    Ok((socket, address))
}

/// The listener for customers, before the pages are there.
pub(super) struct Pages {
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) origin: Origin,
    pub(super) listener: BrowserListener,
    pub(super) session_lifetime: SessionLifetime,
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
        passkeys.map_err(|error| {
            vec![ConfigError::new("online_banking.origin", error.to_string())].into()
        })
    }
}

/// Opens the listener for customers, with the certificate that their browsers are shown.
pub(super) fn open_pages(
    config: &Config,
    pages: &OnlineBankingConfig,
    socket: Option<TcpListener>,
    now: UnixTime,
) -> Result<Pages, StartError> {
    let listener = listener(config, pages).map_err(|faults| config.lines.locate(faults))?;
    if let Some(fault) = listener.certificate_fault(pages, now) {
        tracing::warn!(%fault, "certificate of online banking has a problem, browsers will warn");
    }
    let (socket, address) = bind(socket, "online_banking.listen", pages.listen)?;
    Ok(Pages {
        socket,
        address,
        origin: pages.origin_at(address),
        listener,
        session_lifetime: SessionLifetime {
            idle: TimeDelta::minutes(pages.idle_timeout_minutes.into()),
            whole: TimeDelta::minutes(pages.max_session_minutes.into()),
        },
        proxies: TrustedProxies::new(&pages.trusted_proxies),
    })
}

/// TLS set-up of the listener for browsers.
pub(super) fn listener(
    config: &Config,
    pages: &OnlineBankingConfig,
) -> Result<BrowserListener, Vec<ConfigError>> {
    let limits = &config.limits;
    let timeouts = BrowserTimeouts {
        handshake: limits.handshake_timeout(),
        request: limits.request_timeout(),
        idle: limits.idle_timeout(),
    };
    BrowserListener::open(
        pages,
        connection_budget(pages.max_connections).pages,
        timeouts,
    )
}
