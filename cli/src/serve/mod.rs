//! `provider serve`: a provider of the marketplace in front of any server that speaks OpenAI's API.
//!
//! Whoever asks must be a meter that this provider accepts, and ask on a session that is open on chain, with this provider, metered by
//! that very key: whatever is served is then something the meter signs the cost of. The server behind is asked nothing else, and its key
//! never leaves this process.

mod orders;
mod refusal;
mod sessions;
#[cfg(test)]
mod tests;
mod upstream;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use compute_futures_protocol::Address;
use compute_futures_protocol::market::MarketDomain;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::market_args::ServeArgs;
use crate::output::{Output, facts};
use crate::shutdown;

use orders::Orders;
use refusal::Refusal;
use sessions::{OnChain, Sessions};
use upstream::Upstream;

/// Time for the body of an order to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);
/// How long an answer about the server behind is told to whoever looks whether this provider lives.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What all requests share.
struct Serving {
    output: Output,
    provider_id: u32,
    domain: MarketDomain,
    meters: Vec<Address>,
    models: Vec<String>,
    max_body: usize,
    orders: Orders,
    rate: DefaultDirectRateLimiter,
    sessions: Sessions,
    upstream: Upstream,
    /// Whether the server behind answered, and when that was seen.
    alive: Mutex<Option<(Instant, bool)>>,
}

/// Runs the provider until told to stop; calls on their way are answered first.
///
/// # Errors
/// When there is no such provider, nobody to accept as meter, or the socket cannot be had.
pub(crate) async fn run(context: &Context, args: ServeArgs) -> Outcome<()> {
    let market = context.market().await?.reader();
    let found = market.provider(args.provider).await?.ok_or_else(|| {
        Failure::new(
            "unknown_provider",
            format!("provider {} does not exist", args.provider),
            "register it first: compute-futures provider register",
        )
    })?;
    if found.content_hash.is_none() {
        return Err(Failure::new(
            "provider_retired",
            format!("provider {} has retired: no session can be opened with it", args.provider),
            "register another one: compute-futures provider register",
        ));
    }
    let content = market.provider_content(args.provider).await?.ok_or_else(|| {
        Failure::new(
            "no_content",
            format!("what provider {} publishes cannot be read", args.provider),
            "publish it again: compute-futures provider update",
        )
    })?;
    let limit = args.rate_limit.or_else(|| std::num::NonZeroU32::new(content.rate_limit));
    let limit = limit.unwrap_or(std::num::NonZeroU32::MIN);
    let chain = OnChain { chain: context.reader().await?, market: market.clone() };
    let serving = Serving {
        output: context.output,
        provider_id: args.provider,
        domain: market.domain(),
        meters: meters(context, &args)?,
        models: content.models.into_iter().map(|model| model.name).collect(),
        max_body: args.max_body,
        orders: Orders::default(),
        rate: RateLimiter::direct(Quota::per_minute(limit)),
        sessions: Sessions::new(Box::new(chain)),
        upstream: Upstream::new(&args)?,
        alive: Mutex::default(),
    };
    let listener = TcpListener::bind(args.bind).await.map_err(|error| {
        let error = format!("{}: {error}", args.bind);
        Failure::new("port", error, "name another one with --bind ADDRESS:PORT, or port 0 for any free one")
    })?;
    let lost =
        |error: std::io::Error| Failure::new("port", format!("the provider's socket: {error}"), "start it again");
    let url = format!("http://{}/v1", listener.local_addr().map_err(lost)?);
    tell(&serving, &url, &content.endpoint, limit.get());
    let stop = shutdown::token(args.with_parent);
    let app = router(Arc::new(serving));
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await.map_err(lost)
}

/// Whose orders are taken. Without a list an agent could name itself as meter, be served, and sign a cost of nothing.
fn meters(context: &Context, args: &ServeArgs) -> Outcome<Vec<Address>> {
    if !args.meters.is_empty() {
        return args.meters.iter().map(|meter| context.named(*meter)).collect();
    }
    let devnets = context.devnet().and_then(|devnet| devnet.operator(context.chain()));
    devnets.map(|(operator, _)| vec![operator]).ok_or_else(|| {
        Failure::new(
            "no_meter",
            "no meter is named whose orders are to be served",
            "--meter ADDRESS: the operator of a relayer that you trust to count what you serve; several times for several",
        )
    })
}

fn tell(serving: &Serving, url: &str, published: &str, limit: u32) {
    let result = json!({
        "url": url,
        "providerId": serving.provider_id,
        "published": published,
        "upstream": serving.upstream.name(),
        "meters": serving.meters,
        "models": serving.models,
        "requestsPerMinute": limit,
    });
    let meters = serving.meters.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    serving.output.result(&result, || {
        facts([
            ("provider", serving.provider_id.to_string()),
            ("serves at", url.to_owned()),
            ("publishes", published.to_owned()),
            ("asks", serving.upstream.name()),
            ("for meters", meters),
            ("requests a minute", limit.to_string()),
        ])
    });
}

fn router(serving: Arc<Serving>) -> Router {
    // A content's endpoint ends where its owner wants it to.
    let api = Router::new().route("/chat/completions", post(chat)).route("/models", get(models));
    Router::new()
        .merge(api.clone())
        .nest("/v1", api)
        .route("/health", get(health))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here"))
        .with_state(serving)
}

async fn chat(State(serving): State<Arc<Serving>>, request: Request) -> Response {
    let started = Instant::now();
    let outcome = serving.order(request).await;
    let took = started.elapsed().as_millis();
    match outcome {
        Ok((session, answer)) => {
            serving.output.progress(format!("session {session}: {} in {took} ms", answer.status()));
            answer
        }
        Err(refusal) => {
            serving.output.progress(format!("{refusal}, in {took} ms"));
            refusal.into_response()
        }
    }
}

impl Serving {
    /// Checks an order and has it carried out.
    async fn order(&self, request: Request) -> Result<(String, Response), Refusal> {
        let (parts, body) = request.into_parts();
        // From here on it is somebody's whom we know: strangers cost no body and no look at the chain.
        let (call, meter) =
            orders::signed_call(&parts.headers, &self.domain, self.provider_id, &self.meters, unix_now())?;
        let body = match tokio::time::timeout(BODY_TIME, to_bytes(body, self.max_body)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => return Err(Refusal::too_large(self.max_body)),
            Err(_) => return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body did not arrive")),
        };
        orders::check_body(&call, &body)?;
        self.sessions.check(&call, meter, unix_now()).await?;
        self.rate.check().map_err(|until| Refusal::wait(until.wait_time_from(DefaultClock::default().now())))?;
        let taken = self.orders.take(call.execution_id)?;
        let answer = self.upstream.chat(&body).await?;
        taken.answered();
        Ok((call.session_id.to_string(), answer))
    }

    /// Whether the server behind answers, asked at most once in a while.
    async fn alive(&self) -> bool {
        let known = *self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, alive)) = known.filter(|(seen, _)| seen.elapsed() < LOOK_AGAIN) {
            return alive;
        }
        let alive = self.upstream.alive().await;
        *self.alive.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), alive));
        alive
    }
}

/// What is published, as long as the server behind answers: meters look here whether a provider lives.
async fn models(State(serving): State<Arc<Serving>>) -> Response {
    if !serving.alive().await {
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "upstream_unavailable", "the models do not answer")
            .into_response();
    }
    let entry = |name: &String| json!({ "id": name, "object": "model", "owned_by": "provider" });
    let data: Vec<Value> = serving.models.iter().map(entry).collect();
    Json(json!({ "object": "list", "data": data })).into_response()
}

async fn health(State(serving): State<Arc<Serving>>) -> Response {
    let alive = serving.alive().await;
    let status = if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "status": if alive { "ok" } else { "upstream_unavailable" },
        "providerId": serving.provider_id,
        "network": serving.domain.network(),
    });
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
