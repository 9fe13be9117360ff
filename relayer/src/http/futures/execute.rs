//! `POST /api/v1/compute-futures/execute`: a job out of prepaid credit.

use axum::extract::State;
use axum::response::Response;
use compute_futures_protocol::JobKind;
use serde_json::{Map, Value};

use crate::error::ApiResult;
use crate::http::compute::refuse;
use crate::http::paid::{futures_id, invalid, json_object, parse_account, unknown_account};
use crate::http::state::AppState;
use crate::jobs::{Job, Paying};
use crate::payment::PaidRequest;
use crate::payment::offer::{ExactOffer, Offer};

const EXAMPLE: &str = "send {\"futuresId\": \"CFE-…\", \"type\": \"text-inference\", \"messages\": [{\"role\": \"user\", \"content\": \"…\"}]}";

/// Runs a job and charges it to the account. With scheme `exact` the payment is the gate price and proves who asks; with
/// `compute-futures` the signature does, and the job is all that is charged.
pub async fn execute(State(state): State<AppState>, request: PaidRequest) -> Response {
    match prepare(&state, &request).await {
        Ok(job) => {
            let exact = ExactOffer::price(state.config.gates.execute, state.gate.settings().pay_to);
            let offer = Offer { description: "a job from prepaid credit", exact, credit: Some(job.max_list()) };
            state.gate.serve(&request, offer, job).await
        }
        Err(error) => refuse(&state, &request, error),
    }
}

async fn prepare(state: &AppState, request: &PaidRequest) -> ApiResult<Job> {
    let mut fields = json_object(request)?;
    let id = parse_account(state, &text(&mut fields, "futuresId")?)?;
    let kind = text(&mut fields, "type")?;
    let kind: JobKind =
        kind.parse().map_err(|_| invalid("`type` is not a kind of job", "use \"text-inference\" or \"embeddings\""))?;
    let account = state.gate.cached_account(id).await?.ok_or_else(|| unknown_account(state, id))?;
    let name = futures_id(state, id);
    Job::new(&state.catalog, &state.providers, kind, &Value::Object(fields), Paying::FromAccount(account, name))
}

fn text(fields: &mut Map<String, Value>, name: &str) -> ApiResult<String> {
    match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(invalid(format!("`{name}` is not a string"), EXAMPLE)),
        None => Err(invalid(format!("`{name}` is missing"), EXAMPLE)),
    }
}
