//! `GET /health` (the process lives) and `GET /metrics`.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use compute_futures_protocol::Chain;

use super::{
    shapes::{Health, NetworkHealth},
    state::AppState,
};
use crate::telemetry;

/// Answers as long as the process runs.
pub(super) async fn health(State(app): State<AppState>) -> Json<Health> {
    let state = |(chain, network): (Chain, Result<_, _>)| NetworkHealth {
        network: chain.caip2(),
        state: if network.is_ok() { "ready" } else { "connecting" },
    };
    let networks = app.networks.all().map(state).collect();
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION"), networks })
}

/// Figures in Prometheus' text format.
pub(super) async fn metrics() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::metrics().render())
        .into_response()
}
