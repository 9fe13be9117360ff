//! Jobs paid per call, or from the credit of whoever signs: `compute/text-inference`, `compute/embeddings`.

use axum::extract::State;
use axum::response::Response;
use compute_futures_protocol::{JobKind, Usdc};
use serde_json::Value;

use super::paid::json_object;
use super::state::AppState;
use crate::error::ApiError;
use crate::jobs::{Job, Paying};
use crate::payment::PaidRequest;
use crate::payment::offer::{ExactOffer, Offer};

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
    match job {
        Ok(job) => {
            let offer = quote(state, description, job.max_list());
            state.gate.serve(request, offer, job).await
        }
        Err(error) => refuse(state, request, error),
    }
}

/// A job costs its quote, in either scheme.
fn quote(state: &AppState, description: &'static str, max_list: Usdc) -> Offer {
    let pay_to = state.gate.settings().pay_to;
    Offer { description, exact: ExactOffer::price(max_list, pay_to), credit: Some(max_list) }
}

/// A request that cannot be priced is refused before any payment is asked for.
pub(super) fn refuse(state: &AppState, request: &PaidRequest, error: ApiError) -> Response {
    let offer = quote(state, "", Usdc::ZERO);
    state.gate.refuse(request, &offer, error)
}
