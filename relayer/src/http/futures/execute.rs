//! `POST /api/v1/compute-futures/execute`: a job of any kind, or a batch, out of prepaid credit.

use futures::FutureExt as _;
use axum::extract::State;
use axum::response::Response;
use compute_futures_protocol::{JobKind, Usdc};
use serde_json::{Map, Value};

use crate::error::ApiResult;
use crate::http::batch;
use crate::http::compute::{Prepared, lasting, refuse};
use crate::http::paid::{futures_id, invalid, json_object, parse_account, unknown_account};
use crate::http::state::AppState;
use crate::jobs::Paying;
use crate::jobs::batch::KIND;
use crate::payment::PaidRequest;
use crate::payment::later::Work;
use crate::payment::offer::{ExactOffer, Offer};

const EXAMPLE: &str = "send {\"futuresId\": \"CFE-…\", \"type\": \"text-inference\", \"messages\": [{\"role\": \"user\", \"content\": \"…\"}]}";

enum Asked {
    Job(Prepared),
    Batch(Box<Work>),
}

/// Runs a job and charges it to the account. With scheme `exact` the payment is the gate price and proves who asks; with
/// `compute-futures` the signature does, and the job is all that is charged.
pub async fn execute(State(state): State<AppState>, request: PaidRequest) -> Response {
    match prepare(&state, &request).await {
        Ok(Asked::Job(job)) => {
            let offer = offer(&state, job.max_list());
            job.serve(&state, &request, offer).boxed().await
        }
        Ok(Asked::Batch(work)) => {
            let mut offer = offer(&state, work.max_list);
            offer.max_timeout_seconds = Some(lasting(&state));
            state.gate.accept(&request, &offer, &state.queue, *work).boxed().await
        }
        Err(error) => refuse(&state, &request, error),
    }
}

fn offer(state: &AppState, max_list: Usdc) -> Offer {
    let exact = ExactOffer::price(state.config.gates.execute, state.gate.settings().pay_to);
    Offer { description: "a job from prepaid credit", exact, credit: Some(max_list), max_timeout_seconds: None }
}

async fn prepare(state: &AppState, request: &PaidRequest) -> ApiResult<Asked> {
    let mut fields = json_object(request)?;
    let id = parse_account(state, &text(&mut fields, "futuresId")?)?;
    let kind = text(&mut fields, "type")?;
    let account = state.gate.cached_account(id).await?.ok_or_else(|| unknown_account(state, id))?;
    let paying = Paying::FromAccount(account, futures_id(state, id));
    if kind == KIND {
        return Ok(Asked::Batch(Box::new(batch::prepare(state, fields, paying)?)));
    }
    let kind: JobKind = kind
        .parse()
        .map_err(|_| invalid("`type` is not a kind of job", format!("use one of: {}, batch", JobKind::names())))?;
    Prepared::new(state, kind, fields, paying).map(Asked::Job)
}

fn text(fields: &mut Map<String, Value>, name: &str) -> ApiResult<String> {
    match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(invalid(format!("`{name}` is not a string"), EXAMPLE)),
        None => Err(invalid(format!("`{name}` is missing"), EXAMPLE)),
    }
}
