//! The interface of OpenAI: the same jobs, paid by the same x402 headers, in the shapes that its clients send and read.
//!
//! Bodies are read by the catalog as everywhere; answers are written by [`crate::jobs::Form`]. Errors become
//! `{error: {message, type, code, param}}`, and a 402 keeps its offer: header and body.

mod audio;
mod error;
mod models;

use axum::extract::State;
use axum::response::Response;
use compute_futures_protocol::JobKind;
use futures::FutureExt as _;
use serde_json::{Map, Value};

pub(super) use audio::{speech, transcriptions};
pub(super) use error::{error_body, errors};
pub(super) use models::models;

use super::compute::{description, quote};
use super::paid::json_object;
use super::state::AppState;
use super::streaming;
use crate::jobs::{Form, Job, Paying};
use crate::payment::PaidRequest;
use crate::payment::gates::refuse;

/// `POST /v1/chat/completions`.
pub(super) async fn chat(State(state): State<AppState>, request: PaidRequest) -> Response {
    answer(&state, &request, JobKind::TextInference, |_| Form::Chat).await
}

/// `POST /v1/embeddings`.
pub(super) async fn embeddings(State(state): State<AppState>, request: PaidRequest) -> Response {
    answer(&state, &request, JobKind::Embeddings, |fields| {
        // What OpenAI's own clients ask for, and then decode without looking.
        let base64 = fields.get("encoding_format").is_some_and(|format| format == "base64");
        if base64 {
            fields.remove("encoding_format");
        }
        Form::Embeddings { base64 }
    })
    .await
}

/// `POST /v1/images/generations`.
pub(super) async fn images(State(state): State<AppState>, request: PaidRequest) -> Response {
    answer(&state, &request, JobKind::ImageGeneration, |_| Form::Images).await
}

/// `form` says how the answer is written, and takes out what only that depends on.
async fn answer(
    state: &AppState,
    request: &PaidRequest,
    kind: JobKind,
    form: impl FnOnce(&mut Map<String, Value>) -> Form + Send,
) -> Response {
    let job = json_object(request).and_then(|mut fields| {
        let form = form(&mut fields);
        let job = Job::new(state, kind, &Value::Object(fields), Paying::Directly)?;
        Ok(job.answered_as(form))
    });
    serve(state, request, kind, job).boxed().await
}

async fn serve(state: &AppState, request: &PaidRequest, kind: JobKind, job: crate::error::ApiResult<Job>) -> Response {
    match job.and_then(|job| Ok((job, state.gates()?))) {
        Ok((job, gates)) => {
            let offer = quote(&gates, description(kind), job.max_list());
            if job.wants_stream() {
                streaming::serve(&gates, request, &offer, job, streaming::Shape::OpenAi).boxed().await
            } else {
                gates.serve(request, offer.or_by_transfer(), job).boxed().await
            }
        }
        Err(error) => refuse(request, error),
    }
}
