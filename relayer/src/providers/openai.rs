//! Adapter for anything that speaks OpenAI's chat/completions and embeddings.
//!
//! The URL is the operator's own choice and trusted; the answer is not: it is bounded in time and size, redirects are not
//! followed, and only what was understood is passed on.

use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use compute_futures_protocol::Usage;
use reqwest::{
    Client, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use serde_json::{Map, Value, json};
use url::{Host, Url};

use super::{Answer, Embeddings, JobInput, Outcome, Provider, ProviderError, TextInference};
use crate::catalog::Route;
use crate::config::{ConfigError, ProviderConfig};

/// One OpenAI-compatible API.
pub struct OpenAi {
    name: String,
    base_url: Url,
    client: Client,
    timeout: Duration,
    retries: u32,
    response_limit: usize,
}

impl std::fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAi")
            .field("name", &self.name)
            .field("host", &self.base_url.host_str())
            .finish_non_exhaustive()
    }
}

/// What one attempt ended with.
struct Failure {
    error: ProviderError,
    /// Nothing came out and asking again may help.
    again: bool,
}

impl OpenAi {
    /// The adapter as configured; the API key is read from the environment.
    ///
    /// # Errors
    /// A base URL that is not https (or loopback with `allow_insecure`), a key that is not set, a header that is none.
    pub fn from_config(config: &ProviderConfig) -> Result<Self, ConfigError> {
        let wrong = |text: String| ConfigError::Invalid(vec![format!("providers: {}: {text}", config.name)]);
        let mut base_url: Url = config.base_url.parse().map_err(|error| {
            wrong(format!("base_url {:?} is not a URL ({error}); write https://host/v1", config.base_url))
        })?;
        check_scheme(&base_url, config.allow_insecure).map_err(wrong)?;
        if !base_url.path().ends_with('/') {
            base_url.set_path(&format!("{}/", base_url.path()));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let name: HeaderName = name.parse().map_err(|_| wrong(format!("{name:?} is not a header name")))?;
            headers.insert(
                name,
                value.parse().map_err(|_| wrong("a header's value holds characters that headers cannot".into()))?,
            );
        }
        if !config.api_key_env.is_empty() {
            let key =
                std::env::var(&config.api_key_env).ok().filter(|key| !key.trim().is_empty()).ok_or_else(|| {
                    wrong(format!(
                        "the environment variable {} is not set; put the API key there, or remove the provider",
                        config.api_key_env
                    ))
                })?;
            let mut value: HeaderValue = format!("Bearer {}", key.trim())
                .parse()
                .map_err(|_| wrong(format!("{} holds characters that a key cannot", config.api_key_env)))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let timeout = Duration::from_secs(config.timeout_seconds.max(1));
        let client = Client::builder()
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            .timeout(timeout)
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(60))
            .build()
            .map_err(|error| wrong(format!("no HTTP client: {error}")))?;
        Ok(Self {
            name: config.name.clone(),
            base_url,
            client,
            timeout,
            retries: config.retries,
            response_limit: config.response_limit_bytes,
        })
    }

    /// Posts `body` and reads a JSON object. Tries again only while nothing came out and the failure is one that passes.
    async fn post(&self, path: &str, body: &Value) -> Result<Map<String, Value>, ProviderError> {
        let url = self.base_url.join(path).map_err(|_| self.bad("its base URL does not join"))?;
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(3))
            .with_jitter()
            .with_max_times(self.retries as usize);
        let attempts = (|| self.attempt(&url, body)).retry(backoff).when(|failure| failure.again);
        // However many attempts: the whole takes no longer than one may.
        match tokio::time::timeout(self.timeout, attempts).await {
            Ok(result) => result.map_err(|failure| failure.error),
            Err(_) => Err(self.late()),
        }
    }

    async fn attempt(&self, url: &Url, body: &Value) -> Result<Map<String, Value>, Failure> {
        let response = self.client.post(url.clone()).json(body).send().await.map_err(|error| self.transport(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refusal(status));
        }
        let bytes = self.read(response).await?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err(self.final_failure("it is not a JSON object")),
        }
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| {
            // Output has begun: asking again could run the job twice.
            let error = if error.is_timeout() { self.late() } else { self.bad("it broke off") };
            Failure { error, again: false }
        })? {
            if bytes.len() + chunk.len() > self.response_limit {
                return Err(self.final_failure(&format!("it is larger than {} bytes", self.response_limit)));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn transport(&self, error: &reqwest::Error) -> Failure {
        if error.is_connect() {
            return Failure { error: self.unavailable("no connection"), again: true };
        }
        if error.is_timeout() {
            return Failure { error: self.late(), again: false };
        }
        // The request may have arrived: it is not sent twice.
        Failure { error: self.unavailable("the connection broke"), again: false }
    }

    fn refusal(&self, status: StatusCode) -> Failure {
        let error = match status.as_u16() {
            // About the operator's account or settings there, not about the request.
            401..=404 => {
                self.unavailable(&format!("it answers {status}: check its key, its credit and the model's name there"))
            }
            408 | 429 | 500..=599 => {
                return Failure { error: self.unavailable(&format!("it answers {status}")), again: true };
            }
            300..=399 => self.bad("it is a redirect"),
            code => ProviderError::Refused { provider: self.name.clone(), status: code },
        };
        Failure { error, again: false }
    }

    fn final_failure(&self, reason: &str) -> Failure {
        Failure { error: self.bad(reason), again: false }
    }

    fn bad(&self, reason: &str) -> ProviderError {
        ProviderError::BadAnswer { provider: self.name.clone(), reason: reason.into() }
    }

    fn unavailable(&self, reason: &str) -> ProviderError {
        ProviderError::Unavailable { provider: self.name.clone(), reason: reason.into() }
    }

    fn late(&self) -> ProviderError {
        ProviderError::Timeout { provider: self.name.clone(), seconds: self.timeout.as_secs() }
    }

    fn chat_request(model: &str, job: &TextInference) -> Value {
        let mut body =
            json!({ "model": model, "messages": job.messages, "max_tokens": job.max_tokens, "stream": false });
        if let Some(object) = body.as_object_mut() {
            let mut set = |name: &str, value: Option<Value>| {
                if let Some(value) = value {
                    object.insert(name.into(), value);
                }
            };
            set("temperature", job.temperature.clone().map(Value::from));
            set("top_p", job.top_p.clone().map(Value::from));
            set("seed", job.seed.map(Value::from));
            set("stop", (!job.stop.is_empty()).then(|| json!(job.stop)));
        }
        body
    }

    /// Passes on one choice: its text, its reasoning where shown, and why it ended.
    fn read_chat(&self, answer: &Map<String, Value>) -> Result<Answer, ProviderError> {
        let choice =
            answer.get("choices").and_then(|choices| choices.get(0)).ok_or_else(|| self.bad("it has no choices"))?;
        let message =
            choice.get("message").and_then(Value::as_object).ok_or_else(|| self.bad("its choice has no message"))?;
        let content = message.get("content").and_then(Value::as_str).unwrap_or_default();
        if content.is_empty() {
            return Err(self.bad("its message is empty"));
        }
        let mut passed_on = json!({ "role": "assistant", "content": content });
        let reasoning =
            ["reasoning_content", "reasoning"].into_iter().find_map(|name| message.get(name)).and_then(Value::as_str);
        if let (Some(reasoning), Some(object)) = (reasoning, passed_on.as_object_mut()) {
            object.insert("reasoning_content".into(), reasoning.into());
        }
        let finish_reason = match choice.get("finish_reason").and_then(Value::as_str) {
            Some("length") => "length",
            Some("content_filter") => "content_filter",
            _ => "stop",
        };
        let body = Map::from_iter([(
            "choices".to_owned(),
            json!([{ "index": 0, "message": passed_on, "finish_reason": finish_reason }]),
        )]);
        Ok(Answer { body, usage: read_usage(answer), artifacts: Vec::new() })
    }

    /// Passes on one vector a text, in the order of the texts, all of one length.
    fn read_embeddings(&self, job: &Embeddings, answer: &Map<String, Value>) -> Result<Answer, ProviderError> {
        let items = answer.get("data").and_then(Value::as_array).ok_or_else(|| self.bad("it has no data"))?;
        if items.len() != job.input.len() {
            return Err(self.bad(&format!("it has {} vectors for {} texts", items.len(), job.input.len())));
        }
        let mut vectors: Vec<Option<&Vec<Value>>> = vec![None; items.len()];
        for (position, item) in items.iter().enumerate() {
            let index = match item.get("index") {
                None => position,
                Some(index) => index.as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(usize::MAX),
            };
            let place = vectors
                .get_mut(index)
                .filter(|place| place.is_none())
                .ok_or_else(|| self.bad("its vectors are misnumbered"))?;
            *place = Some(
                item.get("embedding")
                    .and_then(Value::as_array)
                    .filter(|vector| vector.iter().all(Value::is_number))
                    .ok_or_else(|| self.bad("a vector is not a list of numbers"))?,
            );
        }
        let vectors: Vec<&Vec<Value>> = vectors.into_iter().flatten().collect();
        let length = vectors.first().map_or(0, |vector| vector.len());
        if length == 0 || vectors.iter().any(|vector| vector.len() != length) {
            return Err(self.bad("its vectors differ in length"));
        }
        let data: Vec<Value> = vectors
            .into_iter()
            .enumerate()
            .map(|(index, vector)| json!({ "object": "embedding", "index": index, "embedding": vector }))
            .collect();
        let body = Map::from_iter([("data".to_owned(), Value::Array(data))]);
        Ok(Answer { body, usage: read_usage(answer), artifacts: Vec::new() })
    }
}

#[async_trait]
impl Provider for OpenAi {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, route: &Route, job: &JobInput) -> Result<Outcome, ProviderError> {
        let upstream_model = route.model.as_str();
        match job {
            JobInput::TextInference(job) => {
                let answer = self.post("chat/completions", &Self::chat_request(upstream_model, job)).await?;
                self.read_chat(&answer).map(Outcome::Done)
            }
            JobInput::Embeddings(job) => {
                let mut body = json!({ "model": upstream_model, "input": job.input, "encoding_format": "float" });
                if let (Some(dimensions), Some(object)) = (job.dimensions, body.as_object_mut()) {
                    object.insert("dimensions".into(), dimensions.into());
                }
                let answer = self.post("embeddings", &body).await?;
                self.read_embeddings(job, &answer).map(Outcome::Done)
            }
            _ => Err(self.unavailable(&format!("it does no {}", job.kind()))),
        }
    }
}

/// What the provider says it used; nonsense counts as silence.
fn read_usage(answer: &Map<String, Value>) -> Option<Usage> {
    let usage = answer.get("usage")?;
    Some(Usage::tokens(
        usage.get("prompt_tokens")?.as_u64()?,
        usage.get("completion_tokens").map_or(Some(0), Value::as_u64)?,
    ))
}

/// https, or http to this very machine when the operator says so.
fn check_scheme(url: &Url, allow_insecure: bool) -> Result<(), String> {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("base_url holds a user or a password; put the key into the variable named by api_key_env".into());
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if loopback && allow_insecure => Ok(()),
        "http" if loopback => Err(format!("base_url {url} is plain http; set allow_insecure = true if that is meant")),
        _ => Err(format!("base_url {url} is not https; keys and prompts would travel in the open")),
    }
}

#[cfg(test)]
mod tests;
