//! `GET /api/v1/market/sessions/{id}` and `POST …/close`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use compute_futures_protocol::TransactionId;
use compute_futures_protocol::market::SessionId;
use serde::Deserialize;

use super::shapes::MarketSession;
use super::{at, providers};
use crate::error::{ApiError, ApiResult};
use crate::http::paid::{invalid, query};
use crate::http::siwx;
use crate::http::state::AppState;
use crate::market::{ChainStatus, Market, Session, SessionState};
use crate::payment::PaidRequest;

const EXAMPLE: &str = "?network=eip155:8453";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    network: Option<String>,
}

/// The session that a path names, and the marketplace it is of.
pub(super) async fn named(state: &AppState, id: &str, request: &PaidRequest) -> ApiResult<(Market, Session)> {
    let id: SessionId = id.parse().map_err(|error| invalid(format!("{error}"), "write it as 4294967297"))?;
    let query: Query = query(request, EXAMPLE)?;
    let (_, market) = at(state, query.network.as_deref())?;
    let session = market.session(id).await?.ok_or_else(|| unknown(&market, id))?;
    Ok((market, session))
}

fn unknown(market: &Market, id: SessionId) -> ApiError {
    ApiError::not_found(
        "unknown_session",
        format!("session {id} on {} is not metered here", market.chain()),
        format!(
            "this relayer meters sessions that name {} as their meter; a fresh one appears with its block",
            market.meter_address()
        ),
    )
}

/// The session as it is shown. `transaction`: the one that opened it, where that is the news.
pub(super) fn view(market: &Market, session: &Session, transaction: Option<TransactionId>) -> MarketSession {
    let signed = session.signed_cost.as_ref().map(|signed| &signed.cost);
    MarketSession {
        network: market.chain().caip2(),
        session_id: session.id,
        escrow_id: session.id.escrow(),
        agent: session.agent,
        provider_id: session.provider,
        content_hash: session.content_hash,
        meter: market.meter_address(),
        limit: session.limit,
        deadline: session.deadline.to_string(),
        status: session.status(),
        cost: session.cost,
        held: session.held,
        available: if session.state == SessionState::Open && session.chain_status == ChainStatus::Open {
            session.available()
        } else {
            compute_futures_protocol::Usdc::ZERO
        },
        receipt_count: session.receipts,
        receipts_root: signed.map(|cost| cost.receipts_root),
        transaction: transaction.or(session.transaction).map(|transaction| transaction.to_string()),
    }
}

/// One session.
pub async fn session(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: PaidRequest,
) -> ApiResult<Json<MarketSession>> {
    let id = path.map(|Path(text)| text).unwrap_or_default();
    let (market, session) = named(&state, &id, &request).await?;
    Ok(Json(view(&market, &session, None)))
}

/// No more calls; it is closed at what it cost as soon as those in flight have ended. By its agent or its provider's owner, signed in.
pub async fn close(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: PaidRequest,
) -> ApiResult<Response> {
    let id = path.map(|Path(text)| text).unwrap_or_default();
    let (market, session) = named(&state, &id, &request).await?;
    let signer = siwx::signer_of(&state, &request).await?;
    let owner = providers::known(&market, session.provider).await.map(|provider| provider.owner).ok();
    if signer != session.agent && Some(signer) != owner {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "not_session_agent",
            format!("{signer} is neither the session's agent nor its provider's owner"),
            "sign in with one of these wallets",
        ));
    }
    if session.chain_status == ChainStatus::Gone {
        return Err(unknown(&market, session.id));
    }
    market.stop(session.id).await?;
    let now = market.session(session.id).await?.unwrap_or(session);
    let over = now.chain_status != ChainStatus::Open;
    let status = if over { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(view(&market, &now, None))).into_response())
}
