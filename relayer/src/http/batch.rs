//! `POST /api/v1/compute/batch`: up to fifty jobs in one payment, at a tenth less.

use axum::extract::State;
use axum::response::Response;
use compute_futures_protocol::Usdc;
use futures::FutureExt as _;
use serde_json::{Map, Value};

use super::compute::{lasting, work};
use super::paid::json_object;
use super::state::AppState;
use crate::error::ApiResult;
use crate::jobs::batch::{Batch, KIND};
use crate::jobs::queue::Spec;
use crate::jobs::{Paying, webhook};
use crate::payment::gates::refuse;
use crate::payment::later::Work;
use crate::payment::{Gates, PaidRequest};

/// Runs a batch. The answer lists every job with its own end; while some still run, it is 202 with the batch's id.
pub(super) async fn batch(State(state): State<AppState>, request: PaidRequest) -> Response {
    let prepared = json_object(&request).and_then(|fields| prepare(&state, fields, Paying::Directly));
    match prepared.and_then(|work| Ok((work, state.gates()?))) {
        Ok((work, gates)) => serve(&state, &gates, &request, work).await,
        Err(error) => refuse(&request, error),
    }
}

async fn serve(state: &AppState, gates: &Gates, request: &PaidRequest, mut work: Work) -> Response {
    let exact = least(state, work.max_list);
    let offer = gates.offer("a batch of jobs", exact, Some(work.max_list)).lasting(lasting(state));
    work.spec.quote = exact;
    gates.accept(request, &offer, work).boxed().await
}

/// What a plain payment for a batch pays: its jobs, and not less than the price of the call.
pub(super) fn least(state: &AppState, max_list: Usdc) -> Usdc {
    max_list.max(state.config.gates.batch)
}

/// Reads a batch.
///
/// # Errors
/// 400 that says which job is wrong.
pub(super) fn prepare(state: &AppState, mut fields: Map<String, Value>, paying: Paying) -> ApiResult<Work> {
    let webhook = match fields.remove("webhookUrl") {
        None | Some(Value::Null) => None,
        Some(url) => Some(webhook::check(&state.config.jobs, &url)?),
    };
    let batch = Batch::new(&state.catalog, &fields)?;
    let spec = Spec {
        kind: KIND.to_owned(),
        model: String::new(),
        batch: true,
        futures_id: paying.futures_id(),
        quote: batch.max_list,
        webhook,
        max_list: None,
    };
    Ok(work(state, spec, batch.jobs, batch.max_list, paying))
}
