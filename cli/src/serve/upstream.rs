//! The server that does the work: any that speaks OpenAI's API, or the extractive summariser built in here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use compute_futures_relayer::catalog::Route;
use compute_futures_relayer::config::ProviderConfig;
use compute_futures_relayer::providers::local::{Local, SUMMARY_MODEL};
use compute_futures_relayer::providers::{JobInput, Outcome as Answered, Provider};
use futures::StreamExt;
use reqwest::Client;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use url::Url;

use super::refusal::Refusal;
use crate::failure::{Failure, Outcome};
use crate::market_args::{ServeArgs, UpstreamArg};

/// Largest answer: meters take no larger one.
const MOST_ANSWER: usize = 1024 * 1024;
/// Time to connect, and to say that one is there.
const SHORTLY: Duration = Duration::from_secs(5);
/// Bound of an answer that names none, in tokens (of the summariser).
const DEFAULT_TOKENS: u64 = 512;

/// Where the work is done.
pub(super) enum Upstream {
    /// A server, by its base URL.
    Http { base: Url, client: Client },
    /// Here: sentences picked from the text itself, by no model.
    Local(Local),
}

impl Upstream {
    /// # Errors
    /// When its key is not there, or TLS cannot be set up.
    pub(super) fn new(args: &ServeArgs) -> Outcome<Self> {
        let base = match &args.upstream {
            UpstreamArg::Local => return Ok(Self::Local(Local::new(&ProviderConfig::default()))),
            UpstreamArg::Url(base) => base.clone(),
        };
        let mut headers = HeaderMap::new();
        if let Some(name) = &args.upstream_key_env {
            let missing = |what: &str| {
                Failure::new("no_upstream_key", format!("{name} {what}"), "set it to the key of the server behind")
            };
            let key = std::env::var(name).map_err(|_| missing("is not set"))?;
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
                .map_err(|_| missing("holds what no header can carry"))?;
            value.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(SHORTLY)
            .timeout(Duration::from_secs(args.timeout))
            .default_headers(headers)
            .build()
            .map_err(|error| Failure::new("tls", error.to_string(), "check this machine's certificates"))?;
        Ok(Self::Http { base, client })
    }

    /// As people read it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Http { base, .. } => base.as_str().trim_end_matches('/').to_owned(),
            Self::Local(_) => "the summariser built in here".into(),
        }
    }

    fn url(base: &Url, path: &str) -> String {
        format!("{}{path}", base.as_str().trim_end_matches('/'))
    }

    /// Whether it answers at all; one without a list of models is there all the same.
    pub(super) async fn alive(&self) -> bool {
        let Self::Http { base, client } = self else { return true };
        let asked = client.get(Self::url(base, "/models")).timeout(SHORTLY).send().await;
        asked.is_ok_and(|answer| !answer.status().is_server_error())
    }

    /// Has a chat request answered, whole.
    ///
    /// # Errors
    /// Nothing was produced: the request is refused, or whoever is behind does not answer properly.
    pub(super) async fn chat(&self, body: &Bytes) -> Result<Response, Refusal> {
        let invalid = |message: &str| Refusal::new(StatusCode::BAD_REQUEST, "invalid_request", message);
        let request: Value = serde_json::from_slice(body).map_err(|_| invalid("the body is no JSON"))?;
        if request["stream"] == true {
            // What is metered is the whole answer.
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "stream_not_supported",
                "answers come whole; leave `stream` out",
            ));
        }
        match self {
            Self::Local(local) => summarise(local, &request).await,
            Self::Http { base, client } => {
                let sent = client
                    .post(Self::url(base, "/chat/completions"))
                    .header(CONTENT_TYPE, "application/json")
                    .body(body.clone());
                passed(sent.send().await.map_err(|error| unavailable(&error))?).await
            }
        }
    }
}

fn unavailable(error: &reqwest::Error) -> Refusal {
    if error.is_timeout() {
        return Refusal::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", "the model did not answer in time");
    }
    Refusal::new(StatusCode::BAD_GATEWAY, "upstream_unavailable", "the model does not answer")
}

/// The answer of whoever is behind. Of a refusal only its number is passed on: its words may name keys and machines.
async fn passed(answer: reqwest::Response) -> Result<Response, Refusal> {
    let status = answer.status();
    if !status.is_success() {
        let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        return Err(match status {
            StatusCode::TOO_MANY_REQUESTS => {
                Refusal::new(status, "upstream_busy", "the model has too much to do").retry_after(wait)
            }
            // That is between us and it.
            StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => {
                Refusal::new(StatusCode::BAD_GATEWAY, "upstream_unavailable", "the model does not let this provider in")
            }
            refused if refused.is_client_error() => {
                Refusal::new(refused, "upstream_refused", format!("the model refuses the request (HTTP {refused})"))
            }
            other => Refusal::new(
                StatusCode::BAD_GATEWAY,
                "upstream_unavailable",
                format!("the model answered HTTP {}", other.as_u16()),
            ),
        });
    }
    let bad = |message: &str| Refusal::new(StatusCode::BAD_GATEWAY, "bad_upstream_answer", message);
    let mut whole = Vec::new();
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| unavailable(&error))?;
        if whole.len() + piece.len() > MOST_ANSWER {
            return Err(bad("the model's answer is too large"));
        }
        whole.extend_from_slice(&piece);
    }
    let parsed: Value = serde_json::from_slice(&whole).map_err(|_| bad("the model's answer is no JSON"))?;
    if !parsed["choices"].is_array() {
        return Err(bad("the model's answer has no `choices`"));
    }
    Ok(([(CONTENT_TYPE, "application/json")], whole).into_response())
}

/// The answer of the summariser, in OpenAI's form.
async fn summarise(local: &Local, request: &Value) -> Result<Response, Refusal> {
    let most = [&request["max_completion_tokens"], &request["max_tokens"]].into_iter().find_map(Value::as_u64);
    let job = json!({
        "type": "text-inference",
        "model": request["model"],
        "messages": request["messages"],
        "max_tokens": most.unwrap_or(DEFAULT_TOKENS),
    });
    let invalid = |error: serde_json::Error| {
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_request", format!("`model` and `messages` are needed: {error}"))
    };
    let job: JobInput = serde_json::from_value(job).map_err(invalid)?;
    let failed = || Refusal::new(StatusCode::BAD_GATEWAY, "upstream_unavailable", "the summariser has no answer");
    let Ok(Answered::Done(answer)) = local.run(&Route::new("local", SUMMARY_MODEL), &job).await else {
        return Err(failed());
    };
    let usage = answer.usage.ok_or_else(failed)?;
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    Ok(Json(json!({
        "id": format!("chatcmpl-{}", hex::encode(rand::random::<[u8; 12]>())),
        "object": "chat.completion",
        "created": created,
        "model": request["model"],
        "choices": answer.body.get("choices"),
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
        },
    }))
    .into_response())
}
