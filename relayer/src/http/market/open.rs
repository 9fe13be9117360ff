//! `POST /api/v1/market/sessions`: a signed opening, brought on chain for an agent without gas.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use compute_futures_chain::Action;
use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::market::OpenSession;
use serde_json::json;

use super::errors::{chain, explain, unknown_escrow};
use super::quote::check_parties;
use super::shapes::OpenRequest;
use super::{PATIENCE, at, escrows_relayed, now, on, providers, sessions, turn};
use crate::error::{ApiError, ApiResult};
use crate::http::paid::{invalid, json_body};
use crate::http::state::{AppState, At};
use crate::market::{Market, Relayed};
use crate::payment::PaidRequest;

const EXAMPLE: &str = "{\"open\": {…}, \"signature\": \"0x…\"}, as POST /api/v1/market/sessions/quote answered it";

/// Opens a session: once, however often it is asked for.
pub async fn open(State(state): State<AppState>, request: PaidRequest) -> ApiResult<Response> {
    let body: OpenRequest = json_body(&request, EXAMPLE)?;
    let (at, market) = at(&state, body.network.as_deref())?;
    let OpenRequest { open, signature, .. } = body;
    check(&at, &market, &open)?;
    let digest = open.digest(&market.domain);
    let _turn = turn().await?;
    let signed = at.reader.is_valid_signature(open.agent, digest, &signature).await.map_err(chain)?;
    if !signed {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "invalid_signature",
            "the signature is not the agent's over this opening",
            "sign `typedData` (on Solana `digest`) of the quote with the agent's key, and send `open` unchanged",
        ));
    }
    let purpose = Market::relay_purpose("open", open.escrow_id, digest);
    let verb = MarketAction::OpenSessionWithSignature { open: open.clone(), signature };
    if !market.is_under_way(&purpose).await? {
        // Somebody else may have brought it.
        if let Some(answer) = opened_before(&market, &open).await? {
            return Ok(answer);
        }
        let checked = async {
            check_on_chain(&market, &open).await?;
            market.settlement.would_pass(&Action::Market(verb.clone())).await.map_err(explain)
        };
        // The same request beside this one may have been faster: then it is the one that is waited for.
        if let Err(error) = Box::pin(checked).await
            && !market.is_under_way(&purpose).await?
        {
            return Err(error);
        }
    }
    match Box::pin(market.relay(&purpose, &open.escrow_id.to_string(), verb, PATIENCE)).await {
        Ok(Relayed::Done(transaction, events)) => {
            let id = events.iter().find_map(|event| match event {
                MarketEvent::SessionOpened { session, agent, .. } if *agent == open.agent => Some(*session),
                _ => None,
            });
            let session = match id {
                Some(id) => market.session(id).await?,
                None => None,
            };
            let session = session.ok_or_else(|| ApiError::internal("an opening left no session"))?;
            Ok((StatusCode::CREATED, Json(sessions::view(&market, &session, Some(transaction)))).into_response())
        }
        Ok(Relayed::Pending) => {
            let answer = json!({ "network": market.chain().caip2(), "status": "pending" });
            let again = [(header::RETRY_AFTER, HeaderValue::from_static("5"))];
            Ok((StatusCode::ACCEPTED, again, Json(answer)).into_response())
        }
        Ok(Relayed::Enough) => Err(escrows_relayed::enough()),
        // Brought by somebody else in the meantime.
        Err(error) => match opened_before(&market, &open).await? {
            Some(answer) => Ok(answer),
            None => Err(explain(error)),
        },
    }
}

/// The session, when it is there already. One that is over was opened on the same terms long ago.
async fn opened_before(market: &Market, open: &OpenSession) -> ApiResult<Option<Response>> {
    let used = market.reader.agent(open.escrow_id, open.agent).await.map_err(chain)?.nonce > open.nonce;
    let Some(id) = market.opened(open).await?.filter(|_| used) else { return Ok(None) };
    let Some(session) = market.session(id).await? else { return Ok(None) };
    Ok(Some((StatusCode::CREATED, Json(sessions::view(market, &session, None))).into_response()))
}

/// What needs no chain.
fn check(at: &At, market: &Market, open: &OpenSession) -> ApiResult<()> {
    on(at, "open.agent", open.agent)?;
    if open.meter != market.meter_address() {
        return Err(ApiError::bad_request(
            "not_our_meter",
            "the opening names another meter than this relayer",
            format!("name {} as `meter`, or bring it on chain yourself", market.meter_address()),
        ));
    }
    if open.limit < market.settings.relay_minimum {
        return Err(ApiError::bad_request(
            "limit_too_small",
            format!(
                "the limit is {} USDC; sessions of at least {} USDC are brought on chain here",
                open.limit, market.settings.relay_minimum
            ),
            "ask for a higher limit (what is not spent goes back), or open the session yourself",
        ));
    }
    let least = now().saturating_add(market.settings.close_margin_seconds.saturating_mul(2));
    if open.deadline <= least {
        return Err(invalid(
            "`open.deadline` leaves no time for calls",
            format!(
                "a session takes no calls in its last {} seconds; sign a later deadline",
                market.settings.close_margin_seconds
            ),
        ));
    }
    Ok(())
}

/// What the contract checks, in words that help.
async fn check_on_chain(market: &Market, open: &OpenSession) -> ApiResult<()> {
    let provider = providers::known(market, open.provider_id).await?;
    if provider.retired || provider.content_hash != open.content_hash {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "provider_changed",
            format!("provider {} publishes something else now than the opening agrees to", provider.id),
            "ask for a new quote, look at its prices, and sign that",
        ));
    }
    let escrow = market.reader.escrow(open.escrow_id).await.map_err(chain)?;
    let escrow = escrow.filter(|escrow| !escrow.state.closed).ok_or_else(|| unknown_escrow(open.escrow_id))?;
    let listed = market.reader.agent(open.escrow_id, open.agent).await.map_err(chain)?;
    check_parties(market, open, escrow.meter, listed.allowed || escrow.open_to_all)?;
    if listed.nonce != open.nonce {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "wrong_nonce",
            format!("the agent's next nonce is {}, the opening has {}", listed.nonce, open.nonce),
            "ask for a new quote and sign that",
        )
        .with_extra(json!({ "nonce": listed.nonce })));
    }
    let mut budget = escrow.state;
    budget.open(open.limit, open.deadline, now()).map(|_| ()).map_err(|error| {
        ApiError::new(
            StatusCode::CONFLICT,
            "escrow_refuses",
            error.to_string(),
            "ask for what the escrow has: GET /api/v1/market/escrows/{id}",
        )
    })
}
