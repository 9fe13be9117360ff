//! Jobs paid per call, or from the credit of whoever signs: one endpoint a kind.
//!
//! Short ones are answered at once. Long ones (films, predictions of a GPU cloud) go to the queue: the request waits for a while,
//! then it is answered 202 with the job's id.

use std::time::Duration;

use axum::response::Response;
use compute_futures_protocol::{JobKind, Usdc};
use futures::FutureExt as _;
use serde_json::{Map, Value};

use super::paid::json_object;
use super::state::AppState;
use super::streaming;
use crate::error::{ApiError, ApiResult};
use crate::jobs::queue::Spec;
use crate::jobs::{Job, Paying, webhook};
use crate::payment::gates::refuse;
use crate::payment::later::Work;
use crate::payment::offer::Offer;
use crate::payment::{Gates, PaidRequest};

/// What the quote of a kind is for, in a sentence.
pub(super) const fn description(kind: JobKind) -> &'static str {
    match kind {
        JobKind::TextInference => "a text inference",
        JobKind::Embeddings => "embeddings",
        JobKind::ImageGeneration => "an image generation",
        JobKind::VideoGeneration => "a video generation",
        JobKind::TextToSpeech => "a text spoken",
        JobKind::SpeechToText => "a transcription",
        JobKind::DocumentParsing => "a document's text",
        _ => "a prediction of a GPU model",
    }
}

/// The handler of a kind's own endpoint.
pub(super) async fn serve(state: AppState, request: PaidRequest, kind: JobKind) -> Response {
    match json_object(&request) {
        Ok(fields) => run(&state, &request, kind, fields).await,
        Err(error) => refuse(&request, error),
    }
}

/// A job paid directly, whatever endpoint it came by.
pub(super) async fn run(
    state: &AppState,
    request: &PaidRequest,
    kind: JobKind,
    fields: Map<String, Value>,
) -> Response {
    let prepared = Prepared::new(state, kind, fields, Paying::Directly);
    match prepared.and_then(|prepared| Ok((prepared, state.gates()?))) {
        Ok((prepared, gates)) => {
            let offer = quote(&gates, description(kind), prepared.max_list());
            // Nobody is asked who they are where the answer is at once and the same for all.
            let offer = if matches!(prepared, Prepared::Now(_)) { offer.or_by_transfer() } else { offer };
            prepared.serve(state, &gates, request, offer).boxed().await
        }
        Err(error) => refuse(request, error),
    }
}

/// A job that is priced, and how it will be run.
pub(super) enum Prepared {
    Now(Box<Job>),
    Streamed(Box<Job>),
    Queued(Box<Work>),
}

impl Prepared {
    /// Reads a job from the fields of a body.
    ///
    /// # Errors
    /// 400 that says which field is wrong; 503 for a model that nobody runs here.
    pub(super) fn new(
        state: &AppState,
        kind: JobKind,
        mut fields: Map<String, Value>,
        paying: Paying,
    ) -> ApiResult<Self> {
        let webhook = match fields.remove("webhookUrl") {
            None | Some(Value::Null) => None,
            Some(url) if kind.is_long() => Some(webhook::check(&state.config.jobs, &url)?),
            Some(_) => {
                return Err(ApiError::bad_request(
                    "unsupported_parameter",
                    "`webhookUrl` is for jobs that outlive their request",
                    "leave it out: the answer comes at once; video generation, gpu/run and batches take it",
                ));
            }
        };
        let body = Value::Object(fields);
        if !kind.is_long() {
            let job = Job::new(state, kind, &body, paying)?;
            return Ok(if job.wants_stream() { Self::Streamed(job.into()) } else { Self::Now(job.into()) });
        }
        let input = state.catalog.parse(kind, &body)?;
        let max_list = state.catalog.max_price(&input)?;
        let spec = Spec {
            kind: kind.name().to_owned(),
            model: input.model().to_owned(),
            batch: false,
            futures_id: paying.futures_id(),
            quote: max_list,
            webhook,
            max_list: None,
        };
        Ok(Self::Queued(Box::new(work(state, spec, vec![input], max_list, paying))))
    }

    /// Most it can cost before discount.
    pub(super) const fn max_list(&self) -> Usdc {
        match self {
            Self::Now(job) | Self::Streamed(job) => job.max_list(),
            Self::Queued(work) => work.max_list,
        }
    }

    pub(super) async fn serve(self, state: &AppState, gates: &Gates, request: &PaidRequest, offer: Offer) -> Response {
        match self {
            Self::Now(job) => gates.serve(request, offer, *job).boxed().await,
            Self::Streamed(job) => {
                streaming::serve(gates, request, &offer, *job, streaming::Shape::Compute).boxed().await
            }
            Self::Queued(work) => {
                let offer = offer.lasting(lasting(state));
                gates.accept(request, &offer, *work).boxed().await
            }
        }
    }
}

/// Work for the queue, with the times of the settings.
pub(super) fn work(
    state: &AppState,
    spec: Spec,
    items: Vec<crate::providers::JobInput>,
    max_list: Usdc,
    paying: Paying,
) -> Work {
    let jobs = &state.config.jobs;
    Work {
        spec,
        items,
        max_list,
        paying,
        timeout: Duration::from_secs(jobs.timeout_seconds),
        wait: Duration::from_secs(jobs.wait_seconds.min(state.config.server.request_timeout_seconds / 2)),
    }
}

/// `maxTimeoutSeconds` of work that goes to the queue: its signed payment settles when it is done.
pub(super) fn lasting(state: &AppState) -> u64 {
    state.config.jobs.timeout_seconds.saturating_add(120)
}

/// A job costs its quote, in either scheme.
pub(super) fn quote(gates: &Gates, description: &'static str, max_list: Usdc) -> Offer {
    gates.offer(description, max_list, Some(max_list))
}
