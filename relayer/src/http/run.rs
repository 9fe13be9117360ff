//! `POST /run` `{service, input}`: every job by the name of a service.

use axum::extract::State;
use axum::response::Response;
use compute_futures_protocol::JobKind;
use serde_json::{Map, Value};

use super::compute;
use super::paid::{invalid, json_object};
use super::state::AppState;
use crate::catalog::Catalog;
use crate::error::{ApiError, ApiResult};
use crate::payment::PaidRequest;
use crate::payment::gates::refuse;

const EXAMPLE: &str = "send {\"service\": \"text-inference\", \"input\": {\"prompt\": \"…\"}}";

/// Runs what the service's name says: a kind of job, a model, or a common short name of either.
pub(super) async fn run(State(state): State<AppState>, request: PaidRequest) -> Response {
    match json_object(&request).and_then(|fields| job(&state.catalog, fields)) {
        Ok((kind, fields)) => compute::run(&state, &request, kind, fields).await,
        Err(error) => refuse(&request, error),
    }
}

/// The kind and the fields of the job.
pub(super) fn job(catalog: &Catalog, mut fields: Map<String, Value>) -> ApiResult<(JobKind, Map<String, Value>)> {
    let service = match fields.remove("service") {
        Some(Value::String(service)) => service,
        Some(_) => return Err(invalid("`service` is not a string", EXAMPLE)),
        None => return Err(invalid("`service` is missing", EXAMPLE)),
    };
    let mut input = match fields.remove("input") {
        Some(Value::Object(input)) => input,
        Some(_) => return Err(invalid("`input` is not an object", EXAMPLE)),
        None => return Err(invalid("`input` is missing", EXAMPLE)),
    };
    if let Some(webhook) = fields.remove("webhookUrl") {
        input.insert("webhookUrl".to_owned(), webhook);
    }
    if let Some(name) = fields.keys().next() {
        let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
        return Err(invalid(format!("unknown field `{name}`"), EXAMPLE));
    }
    let (kind, model) = named(catalog, &service).ok_or_else(|| unknown(&service))?;
    if kind == JobKind::Gpu {
        // Its own input is an object of any fields.
        let webhook = input.remove("webhookUrl");
        let model = model.map_or_else(|| input.remove("model").unwrap_or(Value::Null), Value::from);
        let inner = match input.remove("input") {
            Some(Value::Object(inner)) if input.is_empty() => inner,
            Some(inner) => {
                input.insert("input".to_owned(), inner);
                input
            }
            None => input,
        };
        let mut job = Map::from_iter([("model".to_owned(), model), ("input".to_owned(), Value::Object(inner))]);
        job.extend(webhook.map(|webhook| ("webhookUrl".to_owned(), webhook)));
        return Ok((kind, job));
    }
    if let Some(model) = model {
        input.entry("model").or_insert(Value::from(model));
    }
    if matches!(kind, JobKind::Embeddings | JobKind::TextToSpeech)
        && !input.contains_key("input")
        && let Some(text) = input.remove("text")
    {
        input.insert("input".to_owned(), text);
    }
    Ok((kind, input))
}

/// A kind, a model of the catalog, or a short name; `llm-…` is any chat service.
fn named(catalog: &Catalog, service: &str) -> Option<(JobKind, Option<String>)> {
    if let Ok(kind) = service.parse::<JobKind>() {
        return Some((kind, None));
    }
    if let Some(kind) = JobKind::ALL.into_iter().find(|kind| catalog.model(*kind, service).is_some()) {
        return Some((kind, Some(service.to_owned())));
    }
    let kind = match service {
        "llm" | "chat" | "text" => JobKind::TextInference,
        "embedding" => JobKind::Embeddings,
        "image" => JobKind::ImageGeneration,
        "video" => JobKind::VideoGeneration,
        "tts" => JobKind::TextToSpeech,
        "stt" | "transcription" | "whisper" => JobKind::SpeechToText,
        "document" | "document-parse" | "pdf-parse" | "pdf" => JobKind::DocumentParsing,
        other if other.starts_with("llm-") => JobKind::TextInference,
        other if other.starts_with("embedding-") => JobKind::Embeddings,
        other if other.starts_with("image-") => JobKind::ImageGeneration,
        other if other.starts_with("whisper-") => JobKind::SpeechToText,
        _ => return None,
    };
    Some((kind, None))
}

fn unknown(service: &str) -> ApiError {
    let service: String = service.chars().filter(|c| !c.is_control()).take(64).collect();
    ApiError::bad_request(
        "unknown_service",
        format!("no service is called {service:?}"),
        format!(
            "use a kind of job ({}) or the id of a model; GET /api/v1/compute/models lists them with prices",
            JobKind::names()
        ),
    )
}
