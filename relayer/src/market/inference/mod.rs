//! An inference on the budget of a session, from the agent's order to its receipt.
//!
//! ```text
//! order ─ proven ─ known? ──────────────────────────────▶ the same answer again
//!                   └─ places: sessions that fit, best first ([`crate::market::routing`])
//!                        └─ hold ─▶ provider ─▶ receipt, answer
//!                             ▲        └─ nothing was produced: the next place
//!                             └────────────┘
//! ```
//! From the first hold on this runs in a task of its own: a client that hangs up changes nothing about what is charged and kept.

pub mod chat;
mod order;
mod payment;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::Response;
use compute_futures_protocol::market::{ProviderCall, SessionId, SignedProviderCall};
use compute_futures_protocol::{Chain, Usdc, keccak256};
use serde_json::json;

use chat::{Chat, Draft};
use order::{Order, Place};
use payment::{Line, Presented, payment_required};

use super::meter::{ChargeError, Charged, Execution, Hold, Known, Refusal, Reservation, Signed, usage};
use super::outcomes::Seen;
use super::provider_client::CallError;
use super::routing::{self, Candidate, Misfit};
use super::{ChainStatus, Market};
use crate::error::{ApiError, ApiResult};
use crate::http::AppState;
use crate::ledger::{LedgerError, StoredAnswer, now_ms};
use crate::network::Network;
use crate::payment::PaidRequest;
use crate::payment::gate::Proven;
use crate::payment::gate::detached;
use crate::payment::report::Answer;
use crate::payment::wire::Version;
use crate::providers::ProviderError;

pub use payment::COMPUTE_ESCROW;

/// How long a second request with the same order waits for the first one.
const IN_PROGRESS_WAIT: Duration = Duration::from_secs(10);

/// An answer on its way to the agent.
struct Delivered {
    chain: Chain,
    payer: String,
    answer: Answer,
    transaction: String,
}

/// Answers `POST /api/v1/market/inference`.
pub(crate) async fn serve(state: &AppState, request: &PaidRequest) -> Response {
    let url = format!("{}{}", state.public_url, request.target);
    let chat = match Chat::read(request, &state.config.limits) {
        Ok(chat) => chat,
        Err(error) => return payment::refuse(error, &url, &[]),
    };
    let answered = match payment::presented(&request.headers) {
        Ok(Some(presented)) => Box::pin(paid(state, request, &chat, presented)).await,
        Ok(None) => Err(payment_required(
            "payment_required",
            "an inference on the marketplace is paid from a session",
            "sign a SessionCall of at most `amount` with the agent's key, and send the request again with it (scheme compute-escrow)",
        )),
        Err(error) => Err(error),
    };
    match answered {
        Ok(delivered) => {
            let Delivered { chain, payer, answer, transaction } = delivered;
            answer.respond(chain, Version::V2, &transaction, &payer)
        }
        Err(error) if error.status == StatusCode::PAYMENT_REQUIRED => match Box::pin(offer(state, &chat)).await {
            Ok(lines) => payment::refuse(error, &url, &lines),
            // Nobody could take it, whatever is paid.
            Err(trouble) if error.code == "payment_required" => payment::refuse(trouble, &url, &[]),
            Err(_) => payment::refuse(error, &url, &[]),
        },
        Err(error) => payment::refuse(error, &url, &[]),
    }
}

/// What the request may be paid with: an entry for each network where somebody could serve it.
async fn offer(state: &AppState, chat: &Chat) -> ApiResult<Vec<Line>> {
    let networks: Vec<Arc<Network>> = match &chat.network {
        Some(name) => vec![state.networks.get(state.networks.chain_named(name)?)?],
        None => state.networks.present().filter(|network| network.market.is_some()).collect(),
    };
    let (mut lines, mut trouble) = (Vec::new(), None);
    for network in &networks {
        let market = network.market()?;
        match most(market, chat).await {
            Ok(amount) => lines.push(Line {
                chain: network.chain(),
                amount,
                asset: network.gate.settings().token.address().to_string(),
                market: market.clone(),
                session: chat.session,
            }),
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    if lines.is_empty() { Err(trouble.unwrap_or_else(super::not_served)) } else { Ok(lines) }
}

/// The most that the request costs: on the session or with the provider that it names, else with the one that would be chosen now.
async fn most(market: &Market, chat: &Chat) -> ApiResult<Usdc> {
    let wants = chat.wants(None);
    if let Some(id) = chat.session {
        let session = market.session(id).await?.ok_or_else(|| order::unknown_session(id))?;
        let content = market.content(session.content_hash).await?;
        let content = content.ok_or_else(|| order::misfit(Misfit::NoModel, wants.model, Usdc::ZERO))?;
        let fit = routing::fit(&content, &wants).map_err(|why| order::misfit(why, wants.model, Usdc::ZERO))?;
        return Ok(fit.cost);
    }
    if let Some(id) = chat.provider {
        let provider = market.provider(id).await?.ok_or_else(|| super::unknown_provider(id))?;
        let content = provider.content.ok_or_else(|| order::misfit(Misfit::NoModel, wants.model, Usdc::ZERO))?;
        let fit = routing::fit(&content, &wants).map_err(|why| order::misfit(why, wants.model, Usdc::ZERO))?;
        return Ok(fit.cost);
    }
    let (providers, health) = (market.providers().await?, market.health().await?);
    let candidates: Vec<Candidate<'_>> = providers
        .iter()
        .filter_map(|provider| {
            let content = provider.content.as_ref()?;
            let callable = market.serving.client.callable(&content.endpoint).is_ok();
            let health = health.get(&provider.id).copied().unwrap_or_default();
            Some(Candidate { id: u64::from(provider.id), content, callable, health })
        })
        .collect();
    let chosen = routing::choose(&candidates, &wants, &market.weights());
    Ok(chosen.ok_or_else(|| order::misfit(Misfit::NoModel, wants.model, Usdc::ZERO))?.fit.cost)
}

/// Carries out an order, or gives its answer again.
async fn paid(state: &AppState, request: &PaidRequest, chat: &Chat, presented: Presented) -> ApiResult<Delivered> {
    let network = state.networks.get(state.networks.chain_named(&presented.network())?)?;
    let market = network.market()?;
    presented.check(market, &network.gate.settings().token.address().to_string())?;
    let order = Order::prove(market, &network.gate, presented.payload, request.request_hash).await?;
    let payer = order.call.agent.to_string();
    let delivered = |(answer, transaction)| Delivered { chain: network.chain(), payer, answer, transaction };
    let started = Instant::now();
    while let Some(known) = market.known(order.call.execution_id(), order.digest).await? {
        match again(market, known).await? {
            Some(answer) => {
                request.proven.mark();
                return Ok(delivered(answer));
            }
            None if started.elapsed() > IN_PROGRESS_WAIT => return Err(in_progress()),
            None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    order.check_validity(now_ms() / 1000)?;
    let places = Box::pin(order.places(market, chat)).await?;
    let run = Run { market: market.clone(), chat: Arc::new(chat.clone()), order, proven: request.proven.clone() };
    let answer = detached(async move { run.anywhere(places).await }).await?;
    Ok(delivered(answer))
}

/// The answer of an order that was made before, and how its session was paid for; `None` while it is not over.
async fn again(market: &Market, known: Known) -> ApiResult<Option<(Answer, String)>> {
    match known {
        Known::Running => Ok(None),
        Known::OtherOrder => Err(ApiError::new(
            StatusCode::CONFLICT,
            "nonce_reused",
            "this nonce was used for another order of the agent",
            "sign a fresh random nonce for a new order; send the identical one to get its answer again",
        )),
        Known::Expired(id) => Err(LedgerError::AnswerExpired(id).into()),
        Known::Answered { session, answer } => {
            let mut answer = Answer::unpack(&answer);
            let transaction = paid_by(market, session).await?;
            if let Some(transaction) = &transaction {
                answer.body = chat::settled(&answer.body, transaction).into();
            }
            Ok(Some((answer, transaction.unwrap_or_default())))
        }
    }
}

/// The transaction that paid for a session.
async fn paid_by(market: &Market, session: SessionId) -> ApiResult<Option<String>> {
    let session = market.session(session).await?.filter(|session| session.chain_status == ChainStatus::Closed);
    Ok(session.and_then(|session| session.transaction).map(|transaction| transaction.to_string()))
}

/// An order being carried out.
struct Run {
    market: Market,
    chat: Arc<Chat>,
    order: Order,
    proven: Proven,
}

/// Why a place did not serve, and how much that tells: a provider's failure more than a limit, a limit more than a session without room.
struct Trouble(u8, ApiError);

impl Run {
    /// Tries one place after the other, as long as certainly nothing was produced.
    async fn anywhere(&self, places: Vec<Place>) -> ApiResult<(Answer, String)> {
        let (mut trouble, mut tried) = (None::<Trouble>, HashSet::new());
        let mut note = |rank, error| {
            if trouble.as_ref().is_none_or(|Trouble(before, _)| rank > *before) {
                trouble = Some(Trouble(rank, error));
            }
        };
        for place in places {
            let provider = place.session.provider;
            if tried.contains(&provider) {
                continue;
            }
            if place.session.available() < place.fit.cost {
                let (available, needed) = (place.session.available(), place.fit.cost);
                note(0, refused(place.session.id, Refusal::Exhausted { available, needed }));
                continue;
            }
            // Before anything is held.
            if let Err(wait) = self.market.serving.client.admit(provider, place.rate_limit) {
                tried.insert(provider);
                note(1, rate_limited(provider, u32::try_from(wait.as_secs().saturating_add(1)).unwrap_or(u32::MAX)));
                continue;
            }
            let hold = match self.market.reserve(self.order.on(&place, &self.chat.model)).await? {
                Reservation::Held(hold) => {
                    // Anyone can sign as somebody, and open a session with nothing in it: who has money held pays.
                    self.proven.mark();
                    hold
                }
                Reservation::Refused(refusal) => {
                    note(0, refused(place.session.id, refusal));
                    continue;
                }
                Reservation::Known(known) => return again(&self.market, known).await?.ok_or_else(in_progress),
            };
            match self.at(&place, &hold).await {
                Ok(charged) => return Ok((Answer::unpack(&charged.answer), String::new())),
                Err(Failed::Here(error)) => {
                    // Nothing, when it ended; what cannot be released now is once this process has ended.
                    if let Err(again) = self.market.fail(&hold, "not_charged", None).await {
                        tracing::warn!(%again, "a hold could not be released");
                    }
                    return Err(error);
                }
                Err(Failed::There(error)) => {
                    tried.insert(provider);
                    let answer = failure(provider, &error);
                    if !error.worth_another() {
                        return Err(answer);
                    }
                    note(2, answer);
                }
            }
        }
        Err(trouble.map_or_else(|| order::not_open("no session takes this call any more"), |Trouble(_, error)| error))
    }

    /// Calls the provider of a place under its hold, and charges what came back or lets the hold go.
    async fn at(&self, place: &Place, hold: &Hold) -> Result<Charged, Failed> {
        let (market, provider) = (&self.market, place.session.provider);
        let body = self.chat.body(place.fit.output);
        let call = ProviderCall {
            session_id: place.session.id,
            provider_id: provider,
            execution_id: hold.ordered_as(),
            body_hash: keccak256(&body),
            issued_at: now_ms() / 1000,
        };
        let signature = market.meter.sign(call.digest(&market.domain)).to_vec().into();
        let signed = SignedProviderCall {
            network: market.domain.network(),
            contract: market.domain.contract(),
            call,
            signature,
        };
        let answered = market.serving.client.chat(&place.endpoint, &signed, body).await;
        let outcome = answered.as_ref().map_or_else(|error| outcome(error), |_| "answered");
        metrics::counter!("relayer_market_calls_total", "network" => market.chain().caip2(), "outcome" => outcome)
            .increment(1);
        crate::failpoint!("market::after_provider");
        let answered = match answered {
            Ok(answered) => answered,
            Err(error) => {
                tracing::info!(provider, session = %place.session.id, %error, "a provider did not serve a call");
                let seen = if error.is_its_fault() { Seen::Failed } else { Seen::Refused };
                market.fail(hold, outcome, Some(seen)).await?;
                return Err(Failed::There(error));
            }
        };
        let (chat, asked) = (self.chat.clone(), place.fit.output);
        let counting = move || (chat.count(&answered, asked), answered);
        let (count, answered) = tokio::task::spawn_blocking(counting)
            .await
            .map_err(|error| ApiError::internal(format!("counting tokens: {error}")))?;
        let mut metered = usage::meter(answered.claim, &count, market.settings.usage_tolerance_percent);
        let (cost, cut) = usage::charge(&place.content, &self.chat.model, metered, hold.call.hold)
            .ok_or_else(|| ApiError::internal("a session's content lost a model"))?;
        metered.disputed |= cut;
        if metered.disputed {
            tracing::warn!(provider, session = %place.session.id, claim = ?answered.claim, ?count, "a provider claims usage that cannot be true");
            metrics::counter!("relayer_market_cases_total", "network" => market.chain().caip2()).increment(1);
        }
        let (claim, latency_ms) = (answered.claim, answered.latency_ms);
        let draft = Draft::new(hold.call.execution_id, &self.chat, provider, answered, metered);
        let execution = Execution { output_hash: draft.hash()?, metered, cost, latency_ms, claim };
        match market.charge(hold, &execution, move |signed| stored(draft, &signed)).await {
            Ok(charged) => Ok(charged),
            Err(ChargeError::Ledger(error)) => Err(error.into()),
            Err(error @ (ChargeError::GivenUp | ChargeError::SessionEnded(_))) => {
                tracing::error!(provider, session = %place.session.id, %error, "an answer came to nothing");
                Err(order::not_open(&error.to_string()).into())
            }
        }
    }
}

/// Where it went wrong: at the provider, or on our side.
enum Failed {
    There(CallError),
    Here(ApiError),
}

impl<E: Into<ApiError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Here(error.into())
    }
}

/// The answer with its receipt, as it is kept and sent.
fn stored(draft: Draft, signed: &Signed<'_>) -> StoredAnswer {
    let receipt = signed.receipt;
    let extra = json!({
        "sessionId": receipt.session_id,
        "cost": receipt.cost,
        "sequence": receipt.sequence,
        "receiptHash": signed.digest,
    });
    Answer { status: StatusCode::OK, extra: extra.to_string().into(), body: draft.body(signed).into() }.pack()
}

/// What a failed call is called in metrics and rows.
const fn outcome(error: &CallError) -> &'static str {
    match error {
        CallError::Unreachable => "unreachable",
        CallError::Busy { .. } => "busy",
        CallError::Request(_) => "refused",
        CallError::Status(_) => "status",
        CallError::Late(_) => "late",
        CallError::BadAnswer(_) => "bad_answer",
    }
}

/// A provider's failure, as the agent hears it.
fn failure(provider: u32, error: &CallError) -> ApiError {
    let (name, reason) = (provider.to_string(), error.to_string());
    match *error {
        CallError::Busy { retry_after } => rate_limited(provider, retry_after.unwrap_or(5)),
        CallError::Request(status) => ProviderError::Refused { provider: name, status }.into(),
        CallError::Unreachable | CallError::Status(500..) => {
            ProviderError::Unavailable { provider: name, reason }.into()
        }
        CallError::Late(seconds) => ProviderError::Timeout { provider: name, seconds }.into(),
        CallError::Status(_) | CallError::BadAnswer(_) => ProviderError::BadAnswer { provider: name, reason }.into(),
    }
}

fn rate_limited(provider: u32, seconds: u32) -> ApiError {
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "provider_rate_limited",
        format!("provider {provider} takes no more requests right now"),
        "nothing was charged; wait as long as Retry-After says, or open a session with another provider",
    )
    .with_retry_after(seconds.max(1))
}

fn refused(session: SessionId, refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Unknown => order::unknown_session(session),
        Refusal::NotOpen(status) => {
            order::not_open(&format!("session {session} takes no calls any more: it is {status}"))
        }
        Refusal::Full => ApiError::new(
            StatusCode::CONFLICT,
            "session_full",
            format!("session {session} has as many receipts as a session can have"),
            "open another session; nothing was taken",
        ),
        Refusal::Exhausted { available, needed } => ApiError::new(
            StatusCode::CONFLICT,
            "session_exhausted",
            format!("{available} USDC is left of session {session}, this call may cost {needed} USDC"),
            "ask for fewer tokens, wait for calls in flight to end, or open another session; nothing was taken",
        )
        .with_extra(json!({ "available": available, "needed": needed })),
    }
}

fn in_progress() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "in_progress",
        "the same order is being carried out right now",
        "retry with the same order in a moment; it is charged once",
    )
    .with_retry_after(1)
}
