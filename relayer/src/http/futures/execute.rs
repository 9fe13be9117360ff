//! `POST /api/v1/compute-futures/execute`: a job out of prepaid credit.

use axum::extract::State;
use axum::response::Response;
use compute_futures_protocol::JobKind;
use serde_json::{Map, Value};

use crate::error::ApiResult;
use crate::http::paid::{futures_id, invalid, json_object, parse_account, unknown_account};
use crate::http::state::AppState;
use crate::jobs::{Job, Paying};
use crate::payment::gates::refuse;
use crate::payment::{Gates, PaidRequest};

const EXAMPLE: &str = "send {\"futuresId\": \"CFE-…\", \"type\": \"text-inference\", \"messages\": [{\"role\": \"user\", \"content\": \"…\"}]}";

/// Runs a job and charges it to the account. With scheme `exact` the payment is the gate price and proves who asks; with
/// `compute-futures` the signature does, and the job is all that is charged.
pub async fn execute(State(state): State<AppState>, request: PaidRequest) -> Response {
    match prepare(&state, &request).await {
        Ok((job, gates)) => {
            let price = state.config.gates.execute;
            let offer = gates.offer("a job from prepaid credit", price, Some(job.max_list()));
            gates.serve(&request, offer, job).await
        }
        Err(error) => refuse(&request, error),
    }
}

async fn prepare(state: &AppState, request: &PaidRequest) -> ApiResult<(Job, Gates)> {
    let mut fields = json_object(request)?;
    let network = fields.contains_key("network").then(|| text(&mut fields, "network")).transpose()?;
    let (at, id) = parse_account(state, &text(&mut fields, "futuresId")?, network.as_deref())?;
    let kind = text(&mut fields, "type")?;
    let kind: JobKind =
        kind.parse().map_err(|_| invalid("`type` is not a kind of job", "use \"text-inference\" or \"embeddings\""))?;
    let account = at.gate.cached_account(id).await?.ok_or_else(|| unknown_account(&at, id))?;
    let paying = Paying::FromAccount(account, futures_id(&at, id));
    let job = Job::new(&state.catalog, &state.providers, kind, &Value::Object(fields), paying)?;
    // Only a wallet of the account's own network can be its owner or delegate.
    Ok((job, at.gates()))
}

fn text(fields: &mut Map<String, Value>, name: &str) -> ApiResult<String> {
    match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(invalid(format!("`{name}` is not a string"), EXAMPLE)),
        None => Err(invalid(format!("`{name}` is missing"), EXAMPLE)),
    }
}
