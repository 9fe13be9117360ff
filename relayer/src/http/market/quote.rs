//! `POST /api/v1/market/sessions/quote`: what an agent signs to open a session, checked against the chain.

use axum::Json;
use axum::extract::State;
use compute_futures_protocol::Usdc;
use compute_futures_protocol::market::{MAX_SESSION_SECONDS, OpenSession, SessionRequest};
use serde_json::Value;

use super::errors::{chain, unknown_escrow};
use super::shapes::{CallEstimate, Quote, QuoteRequest};
use super::{at, now, providers, turn, typed_data, wallet};
use crate::error::{ApiError, ApiResult};
use crate::http::paid::{invalid, json_body};
use crate::http::state::AppState;
use crate::market::{Market, StoredProvider};
use crate::payment::PaidRequest;

const EXAMPLE: &str =
    "{\"escrowId\": 1, \"agent\": \"0x…\", \"model\": \"llama-3.3-70b\", \"limit\": \"5000000\", \"seconds\": 3600}";
/// How long a session stays open when nobody says.
const SECONDS: u64 = 3_600;
/// Tokens of a request, for the estimate.
const INPUT_TOKENS: u64 = 1_000;
const OUTPUT_TOKENS: u64 = 500;

/// An amount in micro-USDC, as every amount of the marketplace.
pub(super) fn micros(field: &str, value: &Value) -> ApiResult<Usdc> {
    serde_json::from_value(value.clone()).map_err(|_| {
        invalid(
            format!("`{field}` is not an amount"),
            format!("send micro-USDC as a string: \"{field}\": \"5000000\" are 5 USDC"),
        )
    })
}

/// A session to sign.
pub async fn quote(State(state): State<AppState>, request: PaidRequest) -> ApiResult<Json<Quote>> {
    let body: QuoteRequest = json_body(&request, EXAMPLE)?;
    let (at, market) = at(&state, body.network.as_deref())?;
    let agent = wallet(&at, "agent", &body.agent)?;
    let limit = micros("limit", &body.limit)?;
    let seconds = body.seconds.unwrap_or(SECONDS);
    let output = body.max_tokens.map_or(OUTPUT_TOKENS, u64::from);
    let provider = chosen(&market, &body, output).await?;
    let estimate = body.model.as_deref().map(|model| estimate(&provider, model, output, limit)).transpose()?;
    let escrow = {
        let _turn = turn().await?;
        let escrow = market.reader.escrow(body.escrow_id).await.map_err(chain)?;
        let escrow = escrow.filter(|escrow| !escrow.state.closed).ok_or_else(|| unknown_escrow(body.escrow_id))?;
        (escrow, market.reader.agent(body.escrow_id, agent).await.map_err(chain)?)
    };
    let (escrow, listed) = escrow;
    let margin = market.settings.close_margin_seconds;
    if seconds > MAX_SESSION_SECONDS || seconds <= margin.saturating_mul(2) {
        return Err(invalid(
            format!("`seconds` is not between {} and {MAX_SESSION_SECONDS}", margin.saturating_mul(2) + 1),
            format!("a session takes no calls in its last {margin} seconds: it is closed in them"),
        ));
    }
    let mut state_of = escrow.state;
    let deadline = now().saturating_add(seconds).min(state_of.latest_deadline(now()));
    if let Err(error) = state_of.open(limit, deadline, now()) {
        return Err(ApiError::new(
            axum::http::StatusCode::CONFLICT,
            "escrow_refuses",
            error.to_string(),
            "ask for what the escrow has: GET /api/v1/market/escrows/{id}",
        ));
    }
    let request = SessionRequest {
        escrow_id: body.escrow_id,
        provider_id: provider.id,
        content_hash: provider.content_hash,
        meter: market.meter_address(),
        limit,
        deadline,
    };
    let open = request.by(agent, listed.nonce);
    check_parties(&market, &open, escrow.meter, listed.allowed || escrow.open_to_all)?;
    Ok(Json(Quote {
        network: market.chain().caip2(),
        typed_data: typed_data::opening(market.chain(), &market.domain, &open),
        digest: open.digest(&market.domain),
        open,
        provider: providers::found(&market, provider.id).await?,
        estimate,
    }))
}

/// 403 unless the agent may, 409 when the escrow names another meter.
pub(super) fn check_parties(
    market: &Market,
    open: &OpenSession,
    pinned: Option<compute_futures_protocol::Address>,
    allowed: bool,
) -> ApiResult<()> {
    if pinned.is_some_and(|meter| meter != market.meter_address()) {
        return Err(ApiError::new(
            axum::http::StatusCode::CONFLICT,
            "other_meter",
            "the escrow's terms name another meter than this relayer",
            "ask the relayer whose meter they name",
        ));
    }
    if !allowed {
        return Err(ApiError::new(
            axum::http::StatusCode::FORBIDDEN,
            "not_agent",
            format!("{} is not an agent of escrow {}", open.agent, open.escrow_id),
            "the escrow's creator adds agents: POST /api/v1/market/escrows/{id}/agents",
        ));
    }
    Ok(())
}

async fn chosen(market: &Market, body: &QuoteRequest, output: u64) -> ApiResult<StoredProvider> {
    match (body.provider_id, &body.model) {
        (Some(id), _) => {
            let provider = providers::known(market, id).await?;
            match providers::uncallable(market, &provider) {
                None => Ok(provider),
                Some(why) => Err(ApiError::new(
                    axum::http::StatusCode::CONFLICT,
                    "provider_not_callable",
                    format!("provider {id} cannot be called from here: {why}"),
                    "choose another: GET /api/v1/market/providers",
                )),
            }
        }
        (None, Some(model)) => providers::best(market, model, INPUT_TOKENS, output).await,
        (None, None) => Err(invalid("neither `providerId` nor `model` is named", format!("send {EXAMPLE}"))),
    }
}

fn estimate(provider: &StoredProvider, model: &str, output_tokens: u64, limit: Usdc) -> ApiResult<CallEstimate> {
    let unknown = || {
        ApiError::not_found(
            "unknown_model",
            format!("provider {} has no such model", provider.id),
            "its `content.models` lists what it has",
        )
    };
    let content = provider.content.as_ref().ok_or_else(unknown)?;
    let model = content.model(model).ok_or_else(unknown)?;
    let cost = content.cost(&model.name, INPUT_TOKENS, output_tokens).ok_or_else(unknown)?;
    Ok(CallEstimate {
        model: model.name.clone(),
        input_price: model.input_price,
        output_price: model.output_price,
        minimum_charge: content.minimum_charge,
        input_tokens: INPUT_TOKENS,
        output_tokens,
        cost,
        calls: limit.micros().checked_div(cost.micros()).unwrap_or(u64::MAX),
    })
}
