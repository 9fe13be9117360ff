//! How it goes: the process, and following on each network.

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    answer::{self, AsOf},
    choose::NetworkParams,
    error::{ApiResult, ErrorBody},
    input::Params,
    view,
};
use crate::{error::Result, network::Network};

/// How following goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    /// CAIP-2 name of the chain.
    #[schema(example = "eip155:8453")]
    pub network: &'static str,
    /// The contract.
    pub contract: String,
    /// USDC.
    pub token: String,
    /// What is stored.
    pub as_of: AsOf,
    /// Newest block seen on the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<u64>,
    /// Blocks (on Solana slots) between the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Whether the newest look at the chain found nothing left to do.
    pub in_sync: bool,
    /// Times that blocks were replaced and rolled back.
    pub reorgs: u64,
    /// Events written since the process started.
    pub events: u64,
    /// Why following does not progress at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Why following has stopped for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
    /// Batches whose receipts are still to be fetched.
    pub documents_pending: u64,
    /// Batches whose published receipts do not hold.
    pub documents_refused: u64,
    /// Stored discrepancies.
    pub discrepancies: u64,
    /// The marketplace, where one is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub market: Option<MarketStatus>,
}

/// What is open on the marketplace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MarketStatus {
    /// Closed sessions whose receipts are still to be fetched.
    pub documents_pending: u64,
    /// Closed sessions whose published receipts do not hold.
    pub documents_refused: u64,
    /// Stored discrepancies.
    pub discrepancies: u64,
}

/// How following goes, which block answers speak of, and what is open.
#[utoipa::path(get, path = "/api/v1/status", tag = "service", params(NetworkParams),
    responses((status = 200, body = Status), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn status(State(api): State<Api>, Params(which): Params<NetworkParams>) -> ApiResult<Json<Status>> {
    of(api.named(which.name())?).await.map(Json)
}

/// The status of one network.
pub(super) async fn of(network: &Network) -> ApiResult<Status> {
    let (mut tx, now) = view::open(network).await?;
    let mut count =
        async |sql: &'static str| -> Result<u64> { tx.first(sql, &[]).await?.map_or(Ok(0), |row| row.u64("n")) };
    let documents_pending = count("SELECT COUNT(*) AS n FROM documents WHERE state = 0").await?;
    let documents_refused = count("SELECT COUNT(*) AS n FROM documents WHERE state = 2").await?;
    let discrepancies = count("SELECT COUNT(*) AS n FROM discrepancies").await?;
    let market = match network.market {
        None => None,
        Some(_) => Some(MarketStatus {
            documents_pending: count("SELECT COUNT(*) AS n FROM market_documents WHERE state = 0").await?,
            documents_refused: count("SELECT COUNT(*) AS n FROM market_documents WHERE state = 2").await?,
            discrepancies: count("SELECT COUNT(*) AS n FROM market_discrepancies").await?,
        }),
    };
    let follow = network.feed.status();
    let head = follow.head.map(|head| head.number);
    Ok(Status {
        network: network.chain.caip2(),
        contract: answer::address(network.contract),
        token: answer::address(network.token),
        head,
        lag: head.map(|head| head.saturating_sub(now.block_number)),
        in_sync: follow.in_sync,
        reorgs: now.reorgs,
        events: follow.events,
        // The cause may name an RPC URL: the log has it.
        failure: follow.failure.map(|_| "the chain or the database does not answer; the log says more".into()),
        halted: follow.halted,
        documents_pending,
        documents_refused,
        discrepancies,
        market,
        as_of: (&now).into(),
    })
}

/// The process answers.
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, description = "alive")))]
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// Prometheus metrics.
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = 200, description = "Prometheus text")))]
pub(super) async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    let content_type = [("content-type", "text/plain; version=0.0.4")];
    match &api.metrics {
        Some(handle) => (StatusCode::OK, content_type, handle.render()),
        None => (StatusCode::OK, content_type, "# collected by the process this indexer runs in\n".into()),
    }
}
