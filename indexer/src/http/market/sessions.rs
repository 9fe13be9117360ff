//! Sessions: what they were opened at, and what became of them.

use axum::{Json, extract::State};
use compute_futures_protocol::market::{SessionId, SessionStatus};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::{
    Api,
    answer::{self, Amount, AsOf, Page, Place},
    batches::ReceiptsState,
    choose::NetworkParams,
    error::{ApiError, ApiResult, ErrorBody},
    input::{self, At, Params},
    view::Now,
};
use crate::{
    error::Result,
    market::SessionRow,
    receipts::DocumentState,
    store::{Row, Tx, Value},
};

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Session {
    /// Escrow id * 2^32 + sequence, as a decimal string.
    #[schema(example = "4294967297")]
    pub session_id: String,
    /// Who pays.
    pub escrow_id: u32,
    /// Who opened it.
    pub agent: String,
    /// Who serves.
    pub provider_id: u32,
    /// Of the provider's content.
    pub provider_version: u32,
    /// The prices agreed to.
    pub content_hash: String,
    /// Who signs the cost.
    pub meter: String,
    /// `open`, `closed` or `lapsed`.
    #[schema(example = "closed")]
    pub status: &'static str,
    /// Most it may cost.
    pub limit: Amount,
    /// Last second in which it can be closed, in seconds since 1970.
    #[schema(example = "1790003600")]
    pub deadline: String,
    /// Whether its agent signed and somebody else brought it.
    pub by_signature: bool,
    /// Paid to the provider.
    pub cost: Amount,
    /// Signed beyond the limit, and not paid.
    pub uncovered: Amount,
    /// Receipts announced at its closing.
    pub receipt_count: u32,
    /// Their Merkle root; of a closed session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipts_root: Option<String>,
    /// Place of the closing among those of its provider, from 1 (Solana, where that proves the root).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closing_number: Option<u64>,
    /// Whether its meter's receipts were fetched and hold.
    pub receipts: ReceiptsState,
    /// Where it was opened.
    pub opened: Place,
    /// Where it ended. A session that lapsed with its escrow ended where that was emptied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Place>,
    /// Which block this answer speaks of.
    pub as_of: AsOf,
}

/// Sessions with what became of their receipts, and the rest of the statement.
macro_rules! sessions {
    ($rest:expr) => {
        concat!(
            "SELECT s.*, o.timestamp AS opened_time, d.state AS document, d.attempts, d.reason
             FROM market_sessions s
             LEFT JOIN blocks o ON o.number = s.opened_at / 1048576
             LEFT JOIN market_documents d ON d.session_id = s.id ",
            $rest
        )
    };
}

/// A page of sessions: a condition with an index ($1), then whatever else was asked for.
macro_rules! page {
    ($first:literal) => {
        sessions!(concat!(
            "WHERE ",
            $first,
            " AND s.opened_at < $2 AND ($4 IS NULL OR s.status = $4) AND ($5 IS NULL OR s.provider_id = $5)
             AND ($6 IS NULL OR s.agent = $6) ORDER BY s.opened_at DESC LIMIT $3"
        ))
    };
}

fn describe(row: &Row, now: &Now) -> Result<(u64, Session)> {
    let session = SessionRow::read(row)?;
    let status = match session.state.status {
        SessionStatus::Open => "open",
        SessionStatus::Closed => "closed",
        SessionStatus::Lapsed => "lapsed",
    };
    let receipts = ReceiptsState {
        state: row.opt_u64("document")?.map_or("none", |state| DocumentState::from_u64(state).name()),
        attempts: row.opt_u64("attempts")?.unwrap_or_default(),
        reason: row.opt_text("reason")?,
    };
    let answer = Session {
        session_id: session.id.to_string(),
        escrow_id: session.id.escrow(),
        agent: answer::address(session.agent),
        provider_id: session.provider_id,
        provider_version: session.provider_version,
        content_hash: session.content_hash.to_string(),
        meter: answer::address(session.meter),
        status,
        limit: session.state.limit.into(),
        deadline: session.state.deadline.to_string(),
        by_signature: session.by_signature,
        cost: session.cost.into(),
        uncovered: session.uncovered.into(),
        receipt_count: session.receipt_count,
        receipts_root: session.receipts_root.map(|root| root.to_string()),
        closing_number: session.closing_number,
        receipts,
        opened: Place::new(session.opened_at, row.opt_u64("opened_time")?, Some(session.opened_tx), now),
        ended: session.ended_at.map(|at| Place::new(at, session.ended_time, session.ended_tx, now)),
        as_of: now.into(),
    };
    Ok((session.opened_at, answer))
}

/// The session's row, or 404.
pub(in crate::http) async fn load(tx: &mut Tx, id: SessionId) -> ApiResult<Row> {
    let row = tx.first(sessions!("WHERE s.id = $1"), &[id.into()]).await?;
    row.ok_or_else(|| {
        let hint =
            "list an escrow's at /api/v1/market/sessions?escrow=<id>; one opened seconds ago may still be on its way";
        ApiError::not_found("unknown_session", format!("no session {id}"), hint)
    })
}

/// `?escrow=&provider=&agent=&status=&network=&cursor=&limit=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct SessionParams {
    /// Of this escrow only.
    pub escrow: Option<u32>,
    /// Of this provider only.
    pub provider: Option<u32>,
    /// Opened by this agent only: `0x…` names Base, base58 Solana.
    pub agent: Option<String>,
    /// `open`, `closed` or `lapsed`.
    pub status: Option<String>,
    /// CAIP-2 name of the network; needed where several are followed and nothing else names one.
    pub network: Option<String>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Entries on a page: 1 to 500, 50 unless given.
    pub limit: Option<u32>,
}

/// Sessions, newest first.
#[utoipa::path(get, path = "/api/v1/market/sessions", tag = "market", params(SessionParams),
    responses((status = 200, body = Page<Session>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Params(params): Params<SessionParams>,
) -> ApiResult<Json<Page<Session>>> {
    let (before, limit) = input::page(params.cursor.as_deref(), params.limit, i64::MAX.cast_unsigned())?;
    let status = match params.status.as_deref() {
        None => None,
        Some("open") => Some(SessionRow::number_of(SessionStatus::Open)),
        Some("closed") => Some(SessionRow::number_of(SessionStatus::Closed)),
        Some("lapsed") => Some(SessionRow::number_of(SessionStatus::Lapsed)),
        Some(_) => {
            let error = "no such status of a session";
            return Err(ApiError::bad_request("invalid_status", error, "pass open, closed or lapsed"));
        }
    };
    let agent = params.agent.as_deref().map(input::address).transpose()?;
    let which = params.network.as_deref();
    let network = agent.map_or_else(|| api.market(which), |agent| api.market_of(agent, which))?;
    let (mut tx, now) = super::open(network).await?;
    // The narrowest of what was asked for leads, by its index.
    let (statement, first): (&'static str, Value) = match (params.escrow, agent, params.provider) {
        (Some(escrow), _, _) => (page!("s.escrow_id = $1"), escrow.into()),
        (None, Some(agent), _) => (page!("s.agent = $1"), agent.into()),
        (None, None, Some(provider)) => (page!("s.provider_id = $1"), provider.into()),
        (None, None, None) => (page!("s.opened_at >= $1"), 0u64.into()),
    };
    let provider = Value::from(params.provider.map(u64::from));
    let arguments = [first, before.into(), (limit as u64 + 1).into(), status.into(), provider, agent.into()];
    let rows = tx.all(statement, &arguments).await?;
    let items = rows.iter().map(|row| describe(row, &now)).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}

/// A session.
#[utoipa::path(get, path = "/api/v1/market/sessions/{session}", tag = "market", params(("session" = String, Path), NetworkParams),
    responses((status = 200, body = Session), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn get(
    State(api): State<Api>,
    At(session): At<String>,
    Params(which): Params<NetworkParams>,
) -> ApiResult<Json<Session>> {
    let id = super::session_id(&session)?;
    let (mut tx, now) = super::open(api.market(which.name())?).await?;
    Ok(Json(describe(&load(&mut tx, id).await?, &now)?.1))
}
