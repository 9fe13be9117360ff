//! Jobs paid per call, or from the credit of whoever signs: `compute/text-inference`, `compute/embeddings`.

use axum::extract::State;
use axum::response::Response;
use compute_futures_protocol::JobKind;
use serde_json::Value;

use super::paid::json_object;
use super::state::AppState;
use crate::jobs::{Job, Paying};
use crate::payment::PaidRequest;
use crate::payment::gates::refuse;

/// `POST /api/v1/compute/text-inference`.
pub async fn text_inference(State(state): State<AppState>, request: PaidRequest) -> Response {
    direct(&state, &request, JobKind::TextInference, "a text inference").await
}

/// `POST /api/v1/compute/embeddings`.
pub async fn embeddings(State(state): State<AppState>, request: PaidRequest) -> Response {
    direct(&state, &request, JobKind::Embeddings, "embeddings").await
}

async fn direct(state: &AppState, request: &PaidRequest, kind: JobKind, description: &'static str) -> Response {
    let job = json_object(request)
        .and_then(|fields| Job::new(&state.catalog, &state.providers, kind, &Value::Object(fields), Paying::Directly));
    match job.and_then(|job| Ok((job, state.gates()?))) {
        Ok((job, gates)) => {
            // A job costs its quote, in either scheme.
            let offer = gates.offer(description, job.max_list(), Some(job.max_list())).or_by_transfer();
            gates.serve(request, offer, job).await
        }
        Err(error) => refuse(request, error),
    }
}
