//! `POST /api/v1/compute-futures/execute`: a job of any kind, or a batch, out of prepaid credit.

use axum::extract::State;
use axum::response::Response;
use compute_futures_protocol::{JobKind, Usdc};
use futures::FutureExt as _;
use serde_json::{Map, Value};

use crate::error::ApiResult;
use crate::http::batch;
use crate::http::compute::{Prepared, lasting};
use crate::http::paid::{futures_id, invalid, json_object, parse_account, unknown_account};
use crate::http::state::AppState;
use crate::jobs::Paying;
use crate::jobs::batch::KIND;
use crate::payment::gates::refuse;
use crate::payment::later::Work;
use crate::payment::offer::Offer;
use crate::payment::{Gates, PaidRequest};

const EXAMPLE: &str = "send {\"futuresId\": \"CFE-…\", \"type\": \"text-inference\", \"messages\": [{\"role\": \"user\", \"content\": \"…\"}]}";

enum Asked {
    Job(Prepared),
    Batch(Box<Work>),
}

/// Runs a job and charges it to the account. With scheme `exact` the payment is the gate price and proves who asks; with
/// `compute-futures` the signature does, and the job is all that is charged.
pub async fn execute(State(state): State<AppState>, request: PaidRequest) -> Response {
    match prepare(&state, &request).await {
        Ok((Asked::Job(job), gates)) => {
            let offer = offer(&state, &gates, job.max_list());
            job.serve(&state, &gates, &request, offer).boxed().await
        }
        Ok((Asked::Batch(work), gates)) => {
            let offer = offer(&state, &gates, work.max_list).lasting(lasting(&state));
            gates.accept(&request, &offer, *work).boxed().await
        }
        Err(error) => refuse(&request, error),
    }
}

fn offer(state: &AppState, gates: &Gates, max_list: Usdc) -> Offer {
    gates.offer("a job from prepaid credit", state.config.gates.execute, Some(max_list))
}

/// With the gates of the account's own network: only a wallet there can be its owner or delegate.
async fn prepare(state: &AppState, request: &PaidRequest) -> ApiResult<(Asked, Gates)> {
    let mut fields = json_object(request)?;
    let network = fields.contains_key("network").then(|| text(&mut fields, "network")).transpose()?;
    let (at, id) = parse_account(state, &text(&mut fields, "futuresId")?, network.as_deref())?;
    let kind = text(&mut fields, "type")?;
    let account = at.gate.cached_account(id).await?.ok_or_else(|| unknown_account(&at, id))?;
    let paying = Paying::FromAccount(account, futures_id(&at, id));
    if kind == KIND {
        return Ok((Asked::Batch(Box::new(batch::prepare(state, fields, paying)?)), at.gates()));
    }
    let kind: JobKind = kind
        .parse()
        .map_err(|_| invalid("`type` is not a kind of job", format!("use one of: {}, batch", JobKind::names())))?;
    Ok((Asked::Job(Prepared::new(state, kind, fields, paying)?), at.gates()))
}

fn text(fields: &mut Map<String, Value>, name: &str) -> ApiResult<String> {
    match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(invalid(format!("`{name}` is not a string"), EXAMPLE)),
        None => Err(invalid(format!("`{name}` is missing"), EXAMPLE)),
    }
}
