//! Who ordered an inference, proven, and on which sessions it may run.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::StatusCode;
use compute_futures_protocol::market::{ProviderContent, SessionCall};
use compute_futures_protocol::{Address, B256, SignatureError, Usdc, signer_among};
use serde_json::json;
use url::Url;

use super::chat::Chat;
use super::payment::{Payload, payment_required};
use crate::error::{ApiError, ApiResult};
use crate::ledger::{LedgerError, now_ms};
use crate::market::meter::NewCall;
use crate::market::routing::{self, Candidate, Fit, Misfit};
use crate::market::{Market, Session};
use crate::payment::Gate;

/// An order is valid at most this far ahead, in seconds.
const MAX_VALIDITY_SECONDS: u64 = 24 * 60 * 60;

/// A proven order.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) call: SessionCall,
    pub(crate) digest: B256,
}

/// A session that could serve an order, and how.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) session: Session,
    pub(crate) content: Arc<ProviderContent>,
    pub(crate) endpoint: Url,
    /// Requests a minute.
    pub(crate) rate_limit: u32,
    pub(crate) fit: Fit,
}

impl Order {
    /// Checks whose order it is, and for which request. Whether it is still valid is looked at when it is not answered yet.
    ///
    /// # Errors
    /// 402 `request_hash_mismatch`, `invalid_signature`; 503 when a contract wallet cannot be asked.
    pub(crate) async fn prove(market: &Market, gate: &Gate, payload: Payload, request_hash: B256) -> ApiResult<Self> {
        let Payload { authorization: call, signature } = payload;
        if call.request_hash != request_hash {
            return Err(payment_required(
                "request_hash_mismatch",
                "the order was signed for another request",
                "sign keccak256 of method, space, path with query, newline, body as requestHash",
            )
            .with_extra(json!({ "requestHash": request_hash })));
        }
        if !call.agent.is_on(market.chain()) {
            return Err(payment_required(
                "invalid_signature",
                "the agent is an address of another chain",
                "name the agent by its address on the network of the payment",
            ));
        }
        let digest = call.digest(&market.domain);
        match signer_among(digest, &signature, &[call.agent]) {
            Ok(_) => return Ok(Self { call, digest }),
            // The chain is asked for agents that there are: anyone can name any address.
            Err(_)
                if market.knows_agent(call.agent, call.escrow_id).await?
                    && gate.is_signed_by_contract(call.agent, digest, &signature).await? =>
            {
                return Ok(Self { call, digest });
            }
            Err(SignatureError::Stranger(_)) => Err("the order is not signed by its agent".to_owned()),
            Err(error) => Err(error.to_string()),
        }
        .map_err(|error| {
            payment_required(
                "invalid_signature",
                error,
                "sign the EIP-712 SessionCall with the agent's key; the domain is ComputeEscrow's on this network",
            )
        })
    }

    /// Checks that it may be carried out now.
    ///
    /// # Errors
    /// 402 `expired`, `validity_too_long`.
    pub(crate) fn check_validity(&self, now: u64) -> ApiResult<()> {
        let until = self.call.valid_before;
        if until <= now {
            return Err(payment_required(
                "expired",
                format!("the order was valid before {until}; it is {now} now"),
                "sign a new one with validBefore a few minutes ahead",
            ));
        }
        if until > now.saturating_add(MAX_VALIDITY_SECONDS) {
            return Err(payment_required(
                "validity_too_long",
                "the order is valid for more than 24 hours",
                "sign a new one with validBefore a few minutes ahead",
            ));
        }
        Ok(())
    }

    /// The call on one of the places.
    pub(crate) fn on(&self, place: &Place, model: &str) -> NewCall {
        NewCall {
            execution_id: self.call.execution_id(),
            session: place.session.id,
            provider: place.session.provider,
            agent: self.call.agent,
            nonce: self.call.nonce,
            order: self.digest,
            request_hash: self.call.request_hash,
            model: model.to_owned(),
            hold: place.fit.cost,
        }
    }

    /// The sessions that it may run on, best first; never empty.
    ///
    /// # Errors
    /// 404 `unknown_session`; 403 `not_session_agent`; 409 `session_not_open`; what [`misfit`] says when none fits.
    pub(crate) async fn places(&self, market: &Market, chat: &Chat) -> ApiResult<Vec<Place>> {
        let sessions = self.sessions(market, chat).await?;
        let health = market.health().await?;
        let mut places: HashMap<u64, Place> = HashMap::new();
        let mut contents = Vec::new();
        let mut trouble = None;
        for session in sessions {
            let (id, provider) = (session.id, session.provider);
            let content = market.content(session.content_hash).await?.map(Arc::new);
            let Some(content) = content else {
                trouble.get_or_insert_with(|| not_callable(provider, "what it publishes is no text"));
                continue;
            };
            // Prices are those of the session; where it is and how much it takes are those of now.
            let now = market.provider(provider).await?.filter(|now| !now.retired).and_then(|now| now.content);
            let at = now.as_ref().unwrap_or(&content);
            let endpoint = match market.serving.client.callable(&at.endpoint) {
                Ok(endpoint) => endpoint,
                Err(why) => {
                    trouble.get_or_insert_with(|| not_callable(provider, why));
                    continue;
                }
            };
            match routing::fit(&content, &chat.wants(Some(self.call.max_cost))) {
                Ok(fit) => {
                    let rate_limit = at.rate_limit;
                    contents.push((id.get(), Arc::clone(&content), health.get(&provider).copied().unwrap_or_default()));
                    places.insert(id.get(), Place { session, content, endpoint, rate_limit, fit });
                }
                Err(why) => {
                    trouble.get_or_insert_with(|| misfit(why, &chat.model, self.call.max_cost));
                }
            }
        }
        let candidates: Vec<Candidate<'_>> = contents
            .iter()
            .map(|(id, content, health)| Candidate { id: *id, content, callable: true, health: *health })
            .collect();
        let ranked = routing::rank(&candidates, &chat.wants(Some(self.call.max_cost)), &market.weights());
        let found: Vec<Place> = ranked.iter().filter_map(|ranked| places.remove(&ranked.id)).collect();
        match (found.is_empty(), trouble) {
            (false, _) => Ok(found),
            (true, Some(trouble)) => Err(trouble),
            (true, None) => Err(self.no_session(chat)),
        }
    }

    /// The session that it names, or all that it may mean.
    async fn sessions(&self, market: &Market, chat: &Chat) -> ApiResult<Vec<Session>> {
        let call = &self.call;
        let Some(id) = call.session_id else {
            let mut sessions = market.sessions_of(call.agent, call.escrow_id).await?;
            sessions.retain(|session| chat.provider.is_none_or(|provider| provider == session.provider));
            if sessions.is_empty() {
                return Err(self.no_session(chat));
            }
            return Ok(sessions);
        };
        if id.escrow() != call.escrow_id {
            return Err(ApiError::bad_request(
                "invalid_request",
                format!("session {id} is one of escrow {}, not of escrow {}", id.escrow(), call.escrow_id),
                "sign the order with the session's own escrow",
            ));
        }
        let session = market.session(id).await?.ok_or_else(|| unknown_session(id))?;
        if session.agent != call.agent {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "not_session_agent",
                format!("session {id} was opened by another agent than {}", call.agent),
                "order on a session that the signing agent opened; nothing was taken",
            ));
        }
        if chat.provider.is_some_and(|provider| provider != session.provider) {
            return Err(ApiError::bad_request(
                "invalid_request",
                format!("session {id} is with provider {}", session.provider),
                "leave `providerId` out, or order on a session with that provider",
            ));
        }
        if !session.takes_calls(now_ms() / 1000, market.settings.close_margin_seconds) {
            let status = session.status();
            return Err(not_open(&format!(
                "session {id} takes no calls any more: it is {}",
                if status == "open" { "about to close" } else { status }
            )));
        }
        Ok(vec![session])
    }

    fn no_session(&self, chat: &Chat) -> ApiError {
        let with = chat.provider.map(|provider| format!(" with provider {provider}")).unwrap_or_default();
        not_open(&format!(
            "{} has no session{with} in escrow {} that takes calls and names this meter",
            self.call.agent, self.call.escrow_id
        ))
    }
}

impl Market {
    /// Whether an agent ever had a session in an escrow that named this meter.
    async fn knows_agent(&self, agent: Address, escrow: u32) -> Result<bool, LedgerError> {
        let found = sqlx::query("SELECT id FROM market_sessions WHERE agent = $1 AND escrow = $2 LIMIT 1")
            .bind(agent.to_vec())
            .bind(i64::from(escrow))
            .fetch_optional(&self.ledger.db.pool)
            .await?;
        Ok(found.is_some())
    }
}

/// 404.
pub(crate) fn unknown_session(id: compute_futures_protocol::market::SessionId) -> ApiError {
    ApiError::not_found(
        "unknown_session",
        format!("session {id} is not known here"),
        "open one that names this relayer's meter; one of the last seconds appears once its block is seen",
    )
}

/// 409.
pub(crate) fn not_open(error: &str) -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "session_not_open",
        error,
        "open a session (POST /api/v1/market/sessions/quote); nothing was taken",
    )
}

fn not_callable(provider: u32, why: &str) -> ApiError {
    ApiError::unavailable(
        "provider_not_callable",
        format!("provider {provider} cannot be called: {why}"),
        "choose another provider; nothing was taken",
    )
}

/// Why a request does not fit a provider, for whoever asked.
pub(crate) fn misfit(why: Misfit, model: &str, max_cost: Usdc) -> ApiError {
    match why {
        Misfit::NoModel => ApiError::not_found(
            "unknown_model",
            format!("{model:?} is not a model that this can run on"),
            "use a model of the session's provider: GET /api/v1/market/providers lists them",
        ),
        Misfit::TooLong(context) => ApiError::bad_request(
            "context_too_long",
            format!("the conversation does not fit the model's context of {context} tokens"),
            "send less, or use a model with a larger context",
        ),
        Misfit::TooDear(needed) => payment_required(
            "max_cost_too_low",
            format!("the order allows {max_cost} USDC, the least answer may cost {needed} USDC"),
            "sign an order with a higher maxCost: `amount` in `accepts` suffices",
        )
        .with_extra(json!({ "maxCost": max_cost, "needed": needed })),
        Misfit::Unpayable => ApiError::bad_request(
            "context_too_long",
            "no session can pay for a request of this size at the provider's prices",
            "send less, or use another provider",
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn validity_is_bounded_on_both_sides() {
        let order = |valid_before| Order {
            call: SessionCall {
                escrow_id: 1,
                session_id: None,
                agent: Address::repeat_byte(1),
                request_hash: B256::ZERO,
                max_cost: Usdc::ZERO,
                nonce: B256::ZERO,
                valid_before,
            },
            digest: B256::ZERO,
        };
        let now = 1_800_000_000;
        assert!(order(now + 1).check_validity(now).is_ok());
        assert!(order(now + MAX_VALIDITY_SECONDS).check_validity(now).is_ok());
        assert_eq!(order(now).check_validity(now).unwrap_err().code, "expired");
        assert_eq!(order(now + MAX_VALIDITY_SECONDS + 1).check_validity(now).unwrap_err().code, "validity_too_long");
    }
}
