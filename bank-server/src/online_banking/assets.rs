//! Static assets: stylesheet, script for passkeys and icon, from our own origin, each under a path
//! that contains a digest of its content.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web;
use shared_types::pki::digest::sha256;

use super::problem::Problem;
use crate::http::resource;

/// File with its path.
pub(super) struct Asset {
    pub(super) path: String,
    kind: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(name: &str, kind: &'static str, content: &'static str) -> Self {
        let digest: String = sha256(content.as_bytes()).chars().take(16).collect();
        Self {
            path: format!("{FOLDER}{digest}/{name}"),
            kind,
            content,
        }
    }
}

/// Folder of all assets.
pub(super) const FOLDER: &str = "/assets/";

const ICON_SVG: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="5" fill="#0b5d57"/><path d="M12 4 5 8v1.5h14V8zM6.5 11h2v5h-2zm4.5 0h2v5h-2zm4.5 0h2v5h-2zM5 17.5h14V19H5z" fill="#fff"/></svg>"##;

pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "style.css",
        "text/css; charset=utf-8",
        include_str!("style.css"),
    )
});
pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "passkey.js",
        "text/javascript; charset=utf-8",
        include_str!("passkey.js"),
    )
});
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon.svg", "image/svg+xml", ICON_SVG));

pub(super) fn configure(app: &mut web::ServiceConfig) {
    for asset in [&STYLE, &SCRIPT, &ICON] {
        app.service(resource(&asset.path).get(async || send(asset)));
    }
    app.service(
        resource("/favicon.ico").get(async || Err::<HttpResponse, _>(Problem::not_found())),
    );
}

fn send(asset: &Asset) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, asset.kind))
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(asset.content)
}
