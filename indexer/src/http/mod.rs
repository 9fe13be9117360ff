//! The REST API: one file a resource, read-only, every answer of one consistent state.

mod accounts;
mod answer;
mod batches;
mod choose;
mod discrepancies;
mod error;
mod history;
mod input;
mod limit;
mod live;
mod market;
mod networks;
mod operators;
mod receipts;
mod status;
mod subscribers;
mod totals;
mod view;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{Any, CorsLayer},
    trace::TraceLayer,
};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::limit::Limits;
use self::{error::ApiError, subscribers::Subscribers};
use crate::{config::ServerConfig, error::IndexerError, network::Network};

/// Questions that read many rows answered at once, of all networks.
const HEAVY: usize = 2;

/// What handlers share.
#[derive(Clone)]
pub struct Api {
    networks: Arc<[Network]>,
    subscribers: Arc<Subscribers>,
    heartbeat_seconds: u64,
    /// Places for questions that read many rows: they wait for each other, and nobody else for them.
    heavy: Arc<Semaphore>,
    metrics: Option<PrometheusHandle>,
    shutdown: CancellationToken,
}

impl Api {
    /// Over one network or several, each of another chain.
    #[must_use]
    pub(crate) fn new(
        networks: Vec<Network>,
        config: &ServerConfig,
        metrics: Option<PrometheusHandle>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            networks: networks.into(),
            subscribers: Arc::new(Subscribers::new(config)),
            heartbeat_seconds: config.heartbeat_seconds,
            heavy: Arc::new(Semaphore::new(HEAVY)),
            metrics,
            shutdown,
        }
    }
}

/// Every path.
pub fn router(api: Api, config: &ServerConfig, limits: Limits) -> Router {
    let (timed, document) = paths();
    let document = Arc::new(document);
    let cors = CorsLayer::new().allow_origin(Any).allow_methods([Method::GET]).expose_headers([header::RETRY_AFTER]);
    timed
        .layer(middleware::from_fn_with_state(Duration::from_secs(config.request_timeout_seconds), in_time))
        // A live balance lasts, so it stands outside the timeout.
        .route("/api/v1/accounts/{id}/events", get(live::events))
        .route("/openapi.json", get(move || async move { Json(Arc::clone(&document)) }))
        .fallback(|| async { ApiError::not_found("unknown_path", "nothing is here", "see /openapi.json for what is") })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(middleware::from_fn_with_state(limits, limit::guard))
        .layer(middleware::from_fn(count))
        .layer(CatchPanicLayer::custom(|_| {
            ApiError::from(IndexerError::Corrupt("a handler panicked".into())).into_response()
        }))
        .layer(cors)
        .layer(TraceLayer::new_for_http())
        .with_state(api)
}

/// Handlers and their OpenAPI document, from one list.
fn paths() -> (Router<Api>, OpenApi) {
    let info = InfoBuilder::new()
        .title("ComputeFutures indexer")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Balances, history, batches, receipts with proofs, straight from the chain. Read-only and public.",
        ))
        .build();
    let (router, mut document) = OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build())
        .routes(routes!(accounts::list))
        .routes(routes!(accounts::get))
        .routes(routes!(history::get))
        .routes(routes!(receipts::of_account))
        .routes(routes!(receipts::get))
        .routes(routes!(receipts::of_batch))
        .routes(routes!(operators::list))
        .routes(routes!(operators::get))
        .routes(routes!(operators::terms))
        .routes(routes!(operators::withdrawals))
        .routes(routes!(batches::list))
        .routes(routes!(batches::get))
        .routes(routes!(batches::rows))
        .merge(market())
        .routes(routes!(networks::list))
        .routes(routes!(totals::totals))
        .routes(routes!(totals::solvency))
        .routes(routes!(discrepancies::list))
        .routes(routes!(status::status))
        .routes(routes!(status::health))
        .routes(routes!(networks::ready))
        .routes(routes!(status::metrics))
        .split_for_parts();
    let (_, live) = OpenApiRouter::<Api>::default().routes(routes!(live::events)).split_for_parts();
    document.merge(live);
    (router, document)
}

/// What belongs to the marketplace.
fn market() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(market::providers::list))
        .routes(routes!(market::providers::get))
        .routes(routes!(market::providers::contents))
        .routes(routes!(market::metrics::get))
        .routes(routes!(market::history::of_provider))
        .routes(routes!(market::escrows::list))
        .routes(routes!(market::escrows::get))
        .routes(routes!(market::escrows::agents))
        .routes(routes!(market::history::of_escrow))
        .routes(routes!(market::sessions::list))
        .routes(routes!(market::sessions::get))
        .routes(routes!(market::receipts::of_session))
        .routes(routes!(market::receipts::get))
        .routes(routes!(market::history::of_session))
        .routes(routes!(market::totals::totals))
        .routes(routes!(market::totals::solvency))
        .routes(routes!(market::discrepancies::list))
}

/// The API as OpenAPI, without a running service.
#[must_use]
pub fn openapi() -> OpenApi {
    paths().1
}

async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let error = format!("no answer within {} s", limit.as_secs());
            ApiError::unavailable("timeout", error, "try again, with a smaller `limit` if there is one").into_response()
        }
    }
}

async fn count(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    metrics::counter!("indexer_requests_total", "status" => response.status().as_str().to_owned()).increment(1);
    response
}
