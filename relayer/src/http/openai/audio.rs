//! `POST /v1/audio/speech` (bytes out) and `POST /v1/audio/transcriptions` (a file in).

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use compute_futures_protocol::{B256, JobKind};
use serde_json::{Map, Value};

use super::serve;
use crate::error::{ApiError, ApiResult};
use crate::http::paid::json_object;
use crate::http::state::AppState;
use crate::jobs::{Form, Job, Paying};
use crate::payment::PaidRequest;
use crate::payment::report::attest;

const SPEECH: &str = "send {\"model\": \"auto\", \"input\": \"a text\", \"voice\": \"…\"}";
const TRANSCRIPTION: &str = "send multipart/form-data with the fields `file` and `model`";
/// Largest JSON answer that is read again to find its file.
const MOST: usize = 1024 * 1024;

/// The audio itself. The JSON that the receipt covers names the file by its hash, and stands in the header of the payment.
pub(in crate::http) async fn speech(State(state): State<AppState>, request: PaidRequest) -> Response {
    let job = json_object(&request).and_then(|mut fields| {
        if let Some(format) = fields.remove("response_format") {
            fields.insert("format".to_owned(), format);
        }
        if fields.get("stream_format").is_some_and(|format| format == "sse") {
            return Err(ApiError::bad_request(
                "unsupported_parameter",
                "`stream_format` \"sse\" is not supported here",
                SPEECH,
            ));
        }
        fields.remove("stream_format");
        fields.remove("instructions");
        make(&state, JobKind::TextToSpeech, fields, Form::Speech)
    });
    file_of(&state, serve(&state, &request, JobKind::TextToSpeech, job).await, "/audio/hash").await
}

/// Puts the file in place of the answer that names it by its hash, and the answer into the payment's header.
async fn file_of(state: &AppState, response: Response, at: &str) -> Response {
    if response.status() != StatusCode::OK {
        return response;
    }
    file(state, response, at).await.unwrap_or_else(IntoResponse::into_response)
}

async fn file(state: &AppState, response: Response, at: &str) -> ApiResult<Response> {
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, MOST).await.map_err(ApiError::internal)?;
    let answer: Value = serde_json::from_slice(&bytes).map_err(ApiError::internal)?;
    let hash = answer
        .pointer(at)
        .and_then(Value::as_str)
        .and_then(|hash| hash.parse::<B256>().ok())
        .ok_or_else(|| ApiError::internal("an answer names no file"))?;
    let kept = state.networks.artifact(hash).await?.ok_or_else(|| {
        ApiError::new(
            StatusCode::GONE,
            "artifact_expired",
            "what this payment was for is no longer kept",
            format!("files are kept for {} days; send a new request", state.config.outputs.keep_days),
        )
    })?;
    let media_type =
        HeaderValue::from_str(&kept.media_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    parts.headers.insert(header::CONTENT_TYPE, media_type);
    parts.headers.remove(header::CONTENT_LENGTH);
    attest(&mut parts.headers, std::str::from_utf8(&bytes).map_err(ApiError::internal)?);
    Ok(Response::from_parts(parts, Body::from(kept.bytes)))
}

/// Text of a recording: JSON that the receipt covers, or plain text as a file that such JSON names.
pub(in crate::http) async fn transcriptions(State(state): State<AppState>, request: PaidRequest) -> Response {
    let mut plain = false;
    let job = form(&request).await.and_then(|mut fields| {
        let format = fields.remove("response_format");
        plain = match format.as_ref().and_then(Value::as_str) {
            None | Some("json" | "verbose_json") => false,
            Some("text") => true,
            Some(_) => {
                return Err(ApiError::bad_request(
                    "unsupported_parameter",
                    "this `response_format` is not supported here",
                    "use json, verbose_json or text",
                ));
            }
        };
        let form = if plain { Form::PlainTranscription } else { Form::Transcription };
        make(&state, JobKind::SpeechToText, fields, form)
    });
    let response = serve(&state, &request, JobKind::SpeechToText, job).await;
    if plain { file_of(&state, response, "/text/hash").await } else { response }
}

fn make(state: &AppState, kind: JobKind, fields: Map<String, Value>, form: Form) -> ApiResult<Job> {
    let body = Value::Object(fields);
    let job = Job::new(state, kind, &body, Paying::Directly)?;
    Ok(job.answered_as(form))
}

/// The fields of a multipart form; the file becomes a data URL under `audio`.
async fn form(request: &PaidRequest) -> ApiResult<Map<String, Value>> {
    let content_type = request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = content_type
        .and_then(|content_type| multer::parse_boundary(content_type).ok())
        .ok_or_else(|| invalid("the body is not multipart/form-data"))?;
    let body = request.body.clone();
    let stream = futures::stream::once(async move { Ok::<_, std::convert::Infallible>(body) });
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut fields = Map::new();
    while let Some(part) = parts.next_field().await.map_err(|_| invalid("the multipart body is broken"))? {
        let name = part.name().unwrap_or_default().to_owned();
        let media_type = part.content_type().map(|media_type| media_type.essence_str().to_owned());
        let by_name = part.file_name().and_then(media_type_of);
        let content = part.bytes().await.map_err(|_| invalid("the multipart body is broken"))?;
        let field = if name == "file" {
            let stated =
                media_type.filter(|media_type| media_type.starts_with("audio/") || media_type.starts_with("video/"));
            let media_type = stated.as_deref().or(by_name).unwrap_or("audio/wav");
            ("audio".to_owned(), format!("data:{media_type};base64,{}", STANDARD.encode(&content)))
        } else {
            let text = std::str::from_utf8(&content).map_err(|_| invalid("a field of the form is not text"))?;
            (name, text.to_owned())
        };
        if fields.insert(field.0, Value::from(field.1)).is_some() {
            return Err(invalid("a field of the form is given twice"));
        }
    }
    if !fields.contains_key("audio") {
        return Err(invalid("the form has no `file`"));
    }
    // Accepted and without effect: what is asked for is what the models here do.
    fields.remove("temperature");
    fields.remove("timestamp_granularities[]");
    Ok(fields)
}

/// By the end of a file's name, for clients that send no type.
fn media_type_of(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "mp3" | "mpga" | "mpeg" => Some("audio/mpeg"),
        "wav" => Some("audio/wav"),
        "flac" => Some("audio/flac"),
        "ogg" | "oga" | "opus" => Some("audio/ogg"),
        "m4a" | "mp4" => Some("audio/mp4"),
        "webm" => Some("audio/webm"),
        _ => None,
    }
}

fn invalid(error: &str) -> ApiError {
    ApiError::bad_request("invalid_request", error, TRANSCRIPTION)
}
