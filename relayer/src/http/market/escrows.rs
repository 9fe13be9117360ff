//! Budgets: what the chain holds, and transactions for their creators' wallets.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use compute_futures_chain::Action;
use compute_futures_chain::market::{EscrowOnChain, MarketAction, MarketEvent, UnsignedVerb};
use compute_futures_protocol::{Address, Usdc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::errors::{chain, explain, unknown_escrow};
use super::escrows_relayed::{relayed, too_small};
use super::quote::micros;
use super::shapes::{
    AgentsRequest, Escrow, EscrowAgent, EscrowRefundRequest, ExpireRequest, SweepRequest, UnsignedTransaction,
};
use super::{at, number, on, turn, wallet};
use crate::error::ApiResult;
use crate::http::paid::{invalid, json_body, query};
use crate::http::state::{AppState, At};
use crate::market::Market;
use crate::payment::PaidRequest;
use crate::payment::wire::BASE64;

/// The escrow of this id.
///
/// # Errors
/// 404 `unknown_escrow`.
pub(super) async fn found(market: &Market, id: u32) -> ApiResult<EscrowOnChain> {
    market.reader.escrow(id).await.map_err(chain)?.ok_or_else(|| unknown_escrow(id))
}

/// What the chain holds.
pub async fn escrow(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: PaidRequest,
) -> ApiResult<Json<Escrow>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Query {
        network: Option<String>,
        agent: Option<String>,
    }
    let id = number("id", path)?;
    let query: Query = query(&request, "?network=eip155:8453&agent=0x…")?;
    let (at, market) = at(&state, query.network.as_deref())?;
    let asked = query.agent.as_deref().map(|agent| wallet(&at, "agent", agent)).transpose()?;
    let _turn = turn().await?;
    let found = found(&market, id).await?;
    let agent = match asked {
        Some(address) => {
            let agent = market.reader.agent(id, address).await.map_err(chain)?;
            Some(EscrowAgent { address, allowed: agent.allowed || found.open_to_all, nonce: agent.nonce })
        }
        None => None,
    };
    Ok(Json(Escrow {
        network: market.chain().caip2(),
        escrow_id: id,
        creator: found.creator,
        meter: found.meter,
        open_to_all: found.open_to_all,
        expiry: found.state.expiry.to_string(),
        session_limit: found.state.session_limit,
        unreserved: found.state.unreserved,
        reserved: found.state.reserved,
        session_count: found.state.session_count,
        closed: found.state.closed,
        agent,
    }))
}

/// A verb as JSON that wallets take.
pub(super) async fn unsigned(market: &Market, sender: Address, verb: &MarketAction) -> ApiResult<Value> {
    Ok(match market.reader.unsigned(sender, verb).await.map_err(chain)? {
        UnsignedVerb::Call { to, data } => json!({ "to": to.to_string(), "data": data, "value": "0" }),
        UnsignedVerb::Transaction(bytes) => BASE64.encode(&bytes).into(),
    })
}

async fn for_sender(market: &Market, sender: Address, verb: &MarketAction) -> ApiResult<Json<UnsignedTransaction>> {
    Ok(Json(UnsignedTransaction {
        network: market.chain().caip2(),
        transaction: unsigned(market, sender, verb).await?,
        sender: Some(sender).filter(|sender| !sender.is_zero()),
        approve: None,
        deposit_address: None,
        authorization: None,
        typed_data: None,
    }))
}

/// A transaction by which the creator allows an agent, or removes it.
pub async fn agents(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: PaidRequest,
) -> ApiResult<Json<UnsignedTransaction>> {
    let escrow_id = number("id", path)?;
    let body: AgentsRequest = json_body(&request, "{\"agent\": \"0x…\", \"allowed\": true}")?;
    let (at, market) = at(&state, body.network.as_deref())?;
    let agent = wallet(&at, "agent", &body.agent)?;
    let _turn = turn().await?;
    let creator = found(&market, escrow_id).await?.creator;
    let verb = if body.allowed {
        MarketAction::AddAgent { escrow_id, agent }
    } else {
        MarketAction::RemoveAgent { escrow_id, agent }
    };
    for_sender(&market, creator, &verb).await
}

/// A transaction by which the creator takes unreserved money back.
pub async fn refund(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: PaidRequest,
) -> ApiResult<Json<UnsignedTransaction>> {
    let escrow_id = number("id", path)?;
    let body: EscrowRefundRequest = json_body(&request, "{\"amount\": \"5000000\"}, or {} for all that is unreserved")?;
    let (_, market) = at(&state, body.network.as_deref())?;
    let amount = body.amount.as_ref().map_or(Ok(Usdc::MAX), |amount| micros("amount", amount))?;
    let _turn = turn().await?;
    let escrow = found(&market, escrow_id).await?;
    let mut after = escrow.state;
    after.refund(amount).map_err(|error| {
        crate::error::ApiError::new(
            axum::http::StatusCode::CONFLICT,
            "escrow_refuses",
            error.to_string(),
            "what sessions hold comes back when they close or lapse",
        )
    })?;
    for_sender(&market, escrow.creator, &MarketAction::Refund { escrow_id, amount }).await
}

/// Who sends a verb that anybody may send. An EVM chain need not know beforehand.
fn sender(at: &At, named: Option<&str>) -> ApiResult<Address> {
    match named {
        Some(text) => wallet(at, "sender", text),
        None if at.chain().evm_chain_id().is_some() => Ok(Address::ZERO),
        None => {
            Err(invalid("`sender` is missing", "name the wallet that sends it, or let it be relayed: \"relay\": true"))
        }
    }
}

/// Empties an escrow after its expiry: everything goes to its creator.
pub async fn expire(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: PaidRequest,
) -> ApiResult<Response> {
    let escrow_id = number("id", path)?;
    let body: ExpireRequest = json_body(&request, "{\"relay\": true}, or {\"sender\": \"…\"}")?;
    let (at, market) = at(&state, body.network.as_deref())?;
    let verb = MarketAction::Expire { escrow_id };
    let _turn = turn().await?;
    if !body.relay {
        found(&market, escrow_id).await?;
        return Ok(for_sender(&market, sender(&at, body.sender.as_deref())?, &verb).await?.into_response());
    }
    let purpose = Market::relay_purpose("expire", escrow_id, 1);
    if !market.is_under_way(&purpose).await? {
        let escrow = found(&market, escrow_id).await?;
        too_small(&market, escrow.state.total())?;
        market.settlement.would_pass(&Action::Market(verb.clone())).await.map_err(explain)?;
    }
    relayed(&market, &purpose, &escrow_id.to_string(), verb, |event| match event {
        MarketEvent::EscrowExpired { escrow_id, amount, .. } => Some((*escrow_id, *amount)),
        _ => None,
    })
    .await
}

/// Sweeps a deposit address: what landed there becomes an escrow's budget.
pub async fn sweep(State(state): State<AppState>, request: PaidRequest) -> ApiResult<Response> {
    let body: SweepRequest = json_body(&request, "{\"terms\": {…}, \"relay\": true}")?;
    let (at, market) = at(&state, body.network.as_deref())?;
    on(&at, "terms.creator", body.terms.creator)?;
    let _turn = turn().await?;
    let address = market.reader.deposit_address(&body.terms).map_err(chain)?;
    let verb = MarketAction::Sweep { terms: body.terms };
    if !body.relay {
        return Ok(for_sender(&market, sender(&at, body.sender.as_deref())?, &verb).await?.into_response());
    }
    // Each sweep is another one; the same is not sent twice while it is under way.
    let before = market.relayed_before("sweep", address).await?;
    let purpose = Market::relay_purpose("sweep", address, before);
    if !market.is_under_way(&purpose).await? {
        too_small(&market, at.reader.token_balance(address, None).await.map_err(chain)?)?;
        market.settlement.would_pass(&Action::Market(verb.clone())).await.map_err(explain)?;
    }
    relayed(&market, &purpose, &address.to_string(), verb, |event| match event {
        MarketEvent::Swept { escrow_id, amount, .. } => Some((*escrow_id, *amount)),
        _ => None,
    })
    .await
}
