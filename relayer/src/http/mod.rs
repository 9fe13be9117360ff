//! HTTP: a room per resource, one table of endpoints ([`endpoints`]), and what surrounds every request.
//!
//! From outside in: request id, log and metrics ([`observe`]) → CORS → panics → limits ([`limit`]) → time → handler. Whatever
//! goes wrong, the answer is `{error, code, hint}`.

mod admin;
mod artifacts;
mod batch;
mod body;
mod compute;
mod discovery;
pub mod endpoints;
mod estimate;
mod extensions;
pub mod futures;
mod gpu;
mod health;
mod job_status;
mod limit;
mod llms;
pub mod market;
mod models;
mod observe;
mod offer_receipt;
mod openai;
pub mod openapi;
pub mod paid;
mod provider_webhooks;
mod rate_cards;
mod ready;
mod receipts;
mod run;
mod serve;
pub mod shapes;
pub mod siwx;
pub mod state;
mod streaming;

use std::any::Any;
use std::time::Duration;

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use tower::ServiceBuilder;
use tower_http::{catch_panic::CatchPanicLayer, cors};

pub use admin::Token as AdminToken;
pub use limit::Limits;
pub use ready::Readiness;
pub use serve::serve;
pub use state::{App, AppState};

use compute_futures_protocol::JobKind;

use crate::{
    config::ServerConfig,
    error::ApiError,
    payment::{PaidRequest, wire},
};
use endpoints::{ENDPOINTS, Id};

/// The handler of each endpoint. Exhaustive: an endpoint in the table without a handler does not compile.
fn handler(id: Id) -> MethodRouter<AppState> {
    match id {
        Id::TextInference => job(JobKind::TextInference),
        Id::ImageGeneration => job(JobKind::ImageGeneration),
        Id::VideoGeneration => job(JobKind::VideoGeneration),
        Id::TextToSpeech => job(JobKind::TextToSpeech),
        Id::SpeechToText => job(JobKind::SpeechToText),
        Id::Embeddings => job(JobKind::Embeddings),
        Id::DocumentParsing => job(JobKind::DocumentParsing),
        Id::Batch => post(batch::batch),
        Id::Status => get(job_status::compute),
        Id::Models => get(models::list),
        Id::Estimate => post(estimate::estimate),
        Id::GpuRun => job(JobKind::Gpu),
        Id::GpuStatus => get(job_status::gpu),
        Id::GpuModels => get(gpu::models),
        Id::Run => post(run::run),
        Id::Artifact => get(artifacts::artifact),
        Id::Deposit => post(futures::deposit),
        Id::DepositAddress => get(futures::deposit_address),
        Id::Balance => get(futures::balance),
        Id::Execute => post(futures::execute),
        Id::History => get(futures::history),
        Id::Refund => post(futures::refund),
        Id::Pricing => get(futures::pricing),
        Id::SponsorOffer => post(futures::sponsored::offer),
        Id::SponsorSubmit => post(futures::sponsored::submit),
        Id::MarketProviders => get(market::providers),
        Id::MarketProvider => get(market::provider),
        Id::MarketQuote => post(market::quote),
        Id::MarketOpen => post(market::open),
        Id::MarketSession => get(market::session),
        Id::MarketClose => post(market::close),
        Id::MarketReceipts => get(market::receipts),
        Id::MarketReceipt => get(market::receipt),
        Id::EscrowCreate => post(market::create),
        Id::EscrowSweep => post(market::sweep),
        Id::Escrow => get(market::escrow),
        Id::EscrowFund => post(market::fund),
        Id::EscrowAgents => post(market::agents),
        Id::EscrowRefund => post(market::refund),
        Id::EscrowExpire => post(market::expire),
        Id::Receipts => get(receipts::batch),
        Id::RateCard => get(rate_cards::card),
        Id::MarketInference => post(market::inference),
        Id::MarketOutcomes => get(market::outcomes),
        Id::ChatCompletions => post(openai::chat),
        Id::OpenAiEmbeddings => post(openai::embeddings),
        Id::OpenAiImages => post(openai::images),
        Id::OpenAiSpeech => post(openai::speech),
        Id::OpenAiTranscriptions => post(openai::transcriptions),
        Id::OpenAiModels => get(openai::models),
        Id::Discovery => get(discovery::x402),
        Id::OpenApi => get(openapi::document),
        Id::Llms => get(llms::page),
        Id::Health => get(health::health),
        Id::Ready => get(ready::ready),
        Id::Metrics => get(health::metrics),
    }
}

/// The endpoint of a kind of job.
fn job(kind: JobKind) -> MethodRouter<AppState> {
    post(move |State(state): State<AppState>, request: PaidRequest| compute::serve(state, request, kind))
}

/// Every route, with everything that surrounds it.
pub fn router(state: AppState, limits: Limits, admin: Option<AdminToken>) -> Router {
    let config = state.config.server.clone();
    let files = state.config.limits.max_file_bytes;
    let routes = ENDPOINTS
        .iter()
        // With an address of their own, metrics are not shown to clients.
        .filter(|endpoint| endpoint.id != Id::Metrics || config.metrics_bind.is_empty())
        .fold(Router::new(), |router, endpoint| router.route(endpoint.path, handler(endpoint.id)));
    let routes = routes.route(provider_webhooks::PATH, post(provider_webhooks::told));
    let routes = match admin {
        Some(token) => routes.merge(admin::routes(token)),
        None => routes,
    };
    let routes = routes.layer(from_fn_with_state(state.clone(), extensions::announce));
    surround(routes, &config, files, limits).with_state(state)
}

/// `/metrics` alone, for `server.metrics_bind`.
pub fn metrics_router() -> Router {
    Router::new().route("/metrics", get(health::metrics)).fallback(not_found)
}

/// What stands around every route, outside first. One layer for the router: it puts each of its layers into a box of its own.
fn surround<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    config: &ServerConfig,
    files: usize,
    limits: Limits,
) -> Router<S> {
    let bounds = Bounded {
        limits,
        limit: Duration::from_secs(config.request_timeout_seconds),
        bounds: body::Bounds::new(config, files),
    };
    let around = ServiceBuilder::new()
        .layer(from_fn(observe::observe))
        .layer(cors())
        .layer(from_fn(openai::errors))
        .layer(CatchPanicLayer::custom(|_: Box<dyn Any + Send>| {
            ApiError::internal("a handler panicked").into_response()
        }))
        .layer(from_fn_with_state(bounds, bounded))
        // The limit that counts is ours.
        .layer(DefaultBodyLimit::disable());
    routes.fallback(not_found).method_not_allowed_fallback(method_not_allowed).layer(around)
}

/// What bounds a request: how many, how long, how large.
#[derive(Clone)]
struct Bounded {
    limits: Limits,
    limit: Duration,
    bounds: body::Bounds,
}

/// Number and head of requests, then their time, then their body: each asks the next.
async fn bounded(State(Bounded { limits, limit, bounds }): State<Bounded>, request: Request, next: Next) -> Response {
    let whole = move |request| body::take_in(bounds, request, |request| next.run(request));
    limit::guard(&limits, request, |request| in_time(limit, whole(request))).await
}

/// Browsers may call from anywhere: nothing here rests on cookies, and payments are signed.
fn cors() -> cors::CorsLayer {
    let request_headers = wire::ACCEPTED_HEADERS.into_iter().chain([
        header::CONTENT_TYPE,
        header::ACCEPT,
        header::AUTHORIZATION,
        siwx::HEADER,
    ]);
    cors::CorsLayer::new()
        .allow_origin(cors::Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(request_headers.collect::<Vec<_>>())
        .expose_headers(
            wire::EXPOSED_HEADERS.into_iter().chain([header::RETRY_AFTER, observe::REQUEST_ID]).collect::<Vec<_>>(),
        )
        .max_age(Duration::from_secs(3600))
}

async fn not_found(request: Request) -> ApiError {
    let path: String = request.uri().path().chars().take(100).collect();
    ApiError::not_found(
        "not_found",
        format!("there is nothing at {path}"),
        "GET /openapi.json or /.well-known/x402.json lists every endpoint",
    )
}

async fn method_not_allowed(request: Request) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or_else(|| request.uri().path(), MatchedPath::as_str);
    let known = admin::method_of(path).or((path == provider_webhooks::PATH).then_some("POST")).unwrap_or_else(|| {
        ENDPOINTS.iter().find(|endpoint| endpoint.path == path).map_or("GET", |endpoint| endpoint.method.as_str())
    });
    let error = ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} is not served here", request.method()),
        format!("use {known}"),
    );
    ([(header::ALLOW, HeaderValue::from_static(known))], error).into_response()
}

/// Answers 504 when a request takes too long. Work behind a payment runs in a task of its own and is not cut off by this.
async fn in_time(limit: Duration, answer: impl Future<Output = Response>) -> Response {
    match tokio::time::timeout(limit, answer).await {
        Ok(response) => response,
        Err(_) => ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            format!("no answer within {} s", limit.as_secs()),
            "retry with the same payment: it is never charged twice, and the answer may be ready by then",
        )
        .into_response(),
    }
}

#[cfg(test)]
mod tests;
