//! The operators' listener: plain HTTP on loopback.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::core_banking::CoreBanking;
use crate::store::Database;

pub(crate) struct Health {
    pub(crate) database: Database,
    pub(crate) core: Arc<dyn CoreBanking>,
}

pub(crate) fn configure(app: &mut web::ServiceConfig) {
    app.route("/health/live", web::get().to(live))
        .route("/health/ready", web::get().to(ready));
}

/// The process runs.
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// Requests can be answered: the database and the core banking system do.
async fn ready(health: web::Data<Health>) -> HttpResponse {
    let store = health
        .database
        .ready()
        .await
        .map_err(|error| error.to_string());
    let core = health.core.ready().await.map_err(|error| error.to_string());
    let name = |outcome: &Result<(), String>| match outcome {
        Ok(()) => "ready".to_owned(),
        Err(problem) => problem.clone(),
    };
    let body = json!({ "store": name(&store), "coreBanking": name(&core) });
    if store.is_ok() && core.is_ok() {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}
