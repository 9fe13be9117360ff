//! How a durable job is doing, as its owner is told.

use axum::http::StatusCode;
use compute_futures_protocol::B256;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::answer::{entry, item_id, unpaid_entry};
use super::queue::JobState;
use super::queue::types::{Item, ItemOutcome, ItemState, StoredJob};
use crate::catalog::Catalog;
use crate::error::{ApiError, ApiResult};
use crate::ledger::StoredAnswer;
use crate::payment::report::Answer;

/// Path under which jobs are asked for.
pub const PATH: &str = "/api/v1/compute/status";

/// A job, or one job of a batch: `0x…` or `0x….3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobRef {
    /// The job.
    pub job: B256,
    /// Which of a batch.
    pub position: Option<u64>,
}

impl std::str::FromStr for JobRef {
    type Err = ApiError;

    fn from_str(text: &str) -> ApiResult<Self> {
        let (job, position) = match text.split_once('.') {
            Some((job, position)) => (job, Some(position)),
            None => (text, None),
        };
        let well_formed = job.len() == 66 && job.starts_with("0x");
        let parsed = job.parse().ok().filter(|_| well_formed);
        let position = position.map(str::parse::<u64>).transpose().ok();
        match (parsed, position) {
            (Some(job), Some(position)) => Ok(Self { job, position }),
            _ => Err(ApiError::bad_request(
                "invalid_job_id",
                "the job id is not 32 bytes of hex",
                "send the `jobId` as it was answered: 0x and 64 digits, for a job of a batch with .0 to .49 after it",
            )),
        }
    }
}

/// 404.
#[must_use]
pub fn unknown(id: JobRef) -> ApiError {
    ApiError::not_found(
        "unknown_job",
        format!("there is no job {}", id.job),
        "check the id; jobs that ended are kept for a limited time",
    )
}

/// What is answered while a job is on its way.
#[must_use]
pub fn pending(job: &StoredJob, public_url: &str) -> Value {
    let mut fields = head(job);
    fields.insert("prediction_id".to_owned(), json!(job.id));
    fields.insert("poll_url".to_owned(), json!(format!("{public_url}{PATH}/{}", job.id)));
    if job.spec.batch {
        let jobs: Vec<Value> = job
            .items
            .iter()
            .map(|item| json!({ "index": item.position, "id": item_id(job, item), "type": item.input.kind() }))
            .collect();
        fields.insert("jobs".to_owned(), Value::from(jobs));
    }
    Value::Object(fields)
}

/// Everything about a job, or about one of a batch.
///
/// # Errors
/// 404 when the batch has no such job.
pub fn whole(job: &StoredJob, id: JobRef, catalog: &Catalog) -> ApiResult<Value> {
    if let Some(position) = id.position {
        let item = job.items.iter().find(|item| item.position == position).ok_or_else(|| unknown(id))?;
        return Ok(part(job, item, catalog));
    }
    let mut fields = head(job);
    if let Some(error) = &job.error {
        fields.insert("error".to_owned(), json!(error));
    }
    match &job.answer {
        Some(answer) => add_answer(&mut fields, job, answer),
        None if job.spec.batch => {
            let jobs: Vec<Value> = job.items.iter().map(|item| unpaid_entry(job, item)).collect();
            fields.insert("jobs".to_owned(), Value::from(jobs));
        }
        None => {}
    }
    Ok(Value::Object(fields))
}

/// One job of a batch. What it produced is shown once the batch is paid for: until then it says how it is doing.
fn part(job: &StoredJob, item: &Item, catalog: &Catalog) -> Value {
    let mut fields = Map::from_iter([
        ("jobId".to_owned(), json!(item_id(job, item))),
        ("batchId".to_owned(), json!(job.id)),
        ("type".to_owned(), json!(item.input.kind())),
    ]);
    let paid = job.state == JobState::Done;
    let status = match &item.state {
        ItemState::Open { running: false } => "pending",
        ItemState::Open { running: true } => "processing",
        ItemState::Ended(ItemOutcome::Failed(reason)) => {
            fields.insert("error".to_owned(), json!(reason));
            "failed"
        }
        ItemState::Ended(ItemOutcome::Done { .. }) if paid => {
            fields.insert("result".to_owned(), entry(job, item, catalog));
            "completed"
        }
        ItemState::Ended(ItemOutcome::Done { .. }) if job.state == JobState::Failed => "failed",
        ItemState::Ended(ItemOutcome::Done { .. }) => "processing",
    };
    fields.insert("status".to_owned(), json!(status));
    Value::Object(fields)
}

fn head(job: &StoredJob) -> Map<String, Value> {
    let started = job.items.iter().any(|item| !matches!(item.state, ItemState::Open { running: false }));
    let status = match job.state {
        JobState::Done => "completed",
        JobState::Failed => "failed",
        JobState::Open if started => "processing",
        JobState::Open => "pending",
    };
    let mut fields = Map::from_iter([
        ("jobId".to_owned(), json!(job.id)),
        ("id".to_owned(), json!(job.id)),
        ("status".to_owned(), json!(status)),
        ("type".to_owned(), json!(job.spec.kind)),
        ("createdAt".to_owned(), json!(job.created_ms / 1000)),
    ]);
    if !job.spec.model.is_empty() {
        fields.insert("model".to_owned(), json!(job.spec.model));
    }
    if let Some(finished) = job.finished_ms {
        fields.insert("finishedAt".to_owned(), json!(finished / 1000));
    }
    fields
}

/// The answer as it was first given, with its receipt.
fn add_answer(fields: &mut Map<String, Value>, job: &StoredJob, answer: &bytes::Bytes) {
    let answer = Answer::unpack(&StoredAnswer { status: StatusCode::OK.as_u16(), body: answer.clone() });
    let parsed =
        |bytes: &[u8]| serde_json::from_slice::<&RawValue>(bytes).ok().and_then(|raw| serde_json::to_value(raw).ok());
    let body = parsed(&answer.body);
    if job.spec.futures_id.is_some() {
        if let Some(Value::Object(body)) = body {
            fields.insert("result".to_owned(), body.get("compute").cloned().unwrap_or_default());
            fields.extend(body.into_iter().filter(|(name, _)| name != "compute"));
        }
        return;
    }
    fields.insert("result".to_owned(), body.unwrap_or_default());
    if let Some(Value::Object(extra)) = parsed(&answer.extra) {
        fields.extend(extra.into_iter().filter(|(name, _)| name == "receipt" || name == "receiptHash"));
    }
}
