//! What happened to an escrow, a session or a provider, newest first.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::{
    Api,
    answer::{self, Amount, Page, Place},
    error::{ApiError, ApiResult, ErrorBody},
    input::{self, At, PageParams, Params},
    view::Now,
};
use super::{escrows, providers, sessions};
use crate::{error::Result, store::Row};

/// The kinds an escrow's history can be narrowed to.
const KINDS: [&str; 11] = [
    "escrowCreated",
    "escrowFunded",
    "swept",
    "agentAdded",
    "agentRemoved",
    "sessionOpened",
    "sessionClosed",
    "sessionShortfall",
    "sessionLapsed",
    "escrowRefunded",
    "escrowExpired",
];

/// One thing that happened. Fields that a kind does not have are absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct MarketEntry {
    /// The event's name, such as `escrowFunded`, `sessionOpened`, `sessionClosed`.
    #[schema(example = "sessionClosed")]
    pub kind: String,
    /// Whose money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escrow_id: Option<u64>,
    /// Which session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Which provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<u64>,
    /// Creator, payer, deposit address, agent, provider's owner, or whom it was paid to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Funded, limit (opened; at the creation most a session may reserve), cost (closed), released (lapsed), refunded, withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// Unreserved after it (funding, refund).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreserved: Option<Amount>,
    /// Why a row of a batch was rejected: it says nothing about the session, anyone may bring one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Where on chain.
    pub at: Place,
}

fn entry(row: &Row, now: &Now) -> Result<(u64, MarketEntry)> {
    let position = row.u64("position")?;
    let amount = |column: &str| row.opt_u64(column).map(|micros| micros.map(Amount::from));
    let entry = MarketEntry {
        kind: row.text("kind")?,
        escrow_id: row.opt_u64("escrow_id")?,
        session_id: row.opt_u64("session_id")?.map(|id| id.to_string()),
        provider_id: row.opt_u64("provider_id")?,
        address: row.opt_address("party")?.map(answer::address),
        amount: amount("amount")?,
        unreserved: amount("total")?,
        detail: row.opt_text("detail")?,
        at: Place::new(position, row.opt_u64("timestamp")?, Some(row.transaction("tx")?), now),
    };
    Ok((position, entry))
}

/// A page of events: whose, by an index.
macro_rules! events {
    ($whose:literal) => {
        concat!(
            "SELECT v.*, b.timestamp FROM market_events v LEFT JOIN blocks b ON b.number = v.position / 1048576 WHERE v.",
            $whose,
            " = $1 AND v.position < $2 AND ($4 = '' OR v.kind = $4) ORDER BY v.position DESC LIMIT $3"
        )
    };
}

/// `?network=&kind=&cursor=&limit=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct MarketHistoryParams {
    /// CAIP-2 name of the network; needed where several are followed.
    pub network: Option<String>,
    /// One kind only.
    pub kind: Option<String>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Entries on a page: 1 to 500, 50 unless given.
    pub limit: Option<u32>,
}

/// History of an escrow and its sessions, newest first.
#[utoipa::path(get, path = "/api/v1/market/escrows/{escrow}/history", tag = "market",
    params(("escrow" = u32, Path), MarketHistoryParams),
    responses((status = 200, body = Page<MarketEntry>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn of_escrow(
    State(api): State<Api>,
    At(escrow): At<String>,
    Params(params): Params<MarketHistoryParams>,
) -> ApiResult<Json<Page<MarketEntry>>> {
    let id = super::number("escrow", &escrow)?;
    let kind = params.kind.as_deref().unwrap_or_default();
    if !kind.is_empty() && !KINDS.contains(&kind) {
        let hint = format!("pass one of {}", KINDS.join(", "));
        return Err(ApiError::bad_request("invalid_kind", "no such kind of entry", hint));
    }
    let (before, limit) = input::page(params.cursor.as_deref(), params.limit, i64::MAX.cast_unsigned())?;
    let (mut tx, now) = super::open(api.market(params.network.as_deref())?).await?;
    escrows::load(&mut tx, id).await?;
    let arguments = [id.into(), before.into(), (limit as u64 + 1).into(), kind.into()];
    let rows = tx.all(events!("escrow_id"), &arguments).await?;
    let items = rows.iter().map(|row| entry(row, &now)).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}

/// History of a session, newest first. Rows of batches that were rejected are in it: they changed nothing, and anyone may bring one.
#[utoipa::path(get, path = "/api/v1/market/sessions/{session}/history", tag = "market", params(("session" = String, Path), PageParams),
    responses((status = 200, body = Page<MarketEntry>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn of_session(
    State(api): State<Api>,
    At(session): At<String>,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<MarketEntry>>> {
    let id = super::session_id(&session)?;
    let (before, limit) = params.read(i64::MAX.cast_unsigned())?;
    let (mut tx, now) = super::open(api.market(params.network.as_deref())?).await?;
    sessions::load(&mut tx, id).await?;
    let arguments = [id.into(), before.into(), (limit as u64 + 1).into(), "".into()];
    let rows = tx.all(events!("session_id"), &arguments).await?;
    let items = rows.iter().map(|row| entry(row, &now)).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}

/// History of a provider and its sessions, newest first.
#[utoipa::path(get, path = "/api/v1/market/providers/{provider}/history", tag = "market", params(("provider" = u32, Path), PageParams),
    responses((status = 200, body = Page<MarketEntry>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn of_provider(
    State(api): State<Api>,
    At(provider): At<String>,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<MarketEntry>>> {
    let id = super::number("provider", &provider)?;
    let (before, limit) = params.read(i64::MAX.cast_unsigned())?;
    let (mut tx, now) = super::open(api.market(params.network.as_deref())?).await?;
    providers::known(&mut tx, id).await?;
    let arguments = [id.into(), before.into(), (limit as u64 + 1).into(), "".into()];
    let rows = tx.all(events!("provider_id"), &arguments).await?;
    let items = rows.iter().map(|row| entry(row, &now)).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}
