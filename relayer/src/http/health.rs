//! `GET /health` (the process lives) and `GET /metrics`.

use axum::{
    Json,
    http::header,
    response::{IntoResponse, Response},
};

use super::shapes::Health;
use crate::telemetry;

/// Answers as long as the process runs.
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Figures in Prometheus' text format.
pub(super) async fn metrics() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::metrics().render())
        .into_response()
}
