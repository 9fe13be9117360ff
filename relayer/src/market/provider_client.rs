//! Asking a provider: a stranger's endpoint, named on chain by anyone (T-17).
//!
//! https to public addresses only ([`Reach`]), no redirects, no key of ours, one deadline over everything, a bounded answer. Each
//! provider gets at most the requests a minute that it publishes. Errors say whether anything was produced: only where nothing was may
//! another provider be asked for the same order.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use compute_futures_outbound::Reach;
use compute_futures_protocol::market::SignedProviderCall;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Map, Value};
use url::Url;

use super::meter::Claim;

/// Largest answer that is taken.
const MOST: usize = 1024 * 1024;
/// Largest answer to a probe.
const MOST_PROBE: usize = 64 * 1024;
/// How long a probe may take.
const PROBE: Duration = Duration::from_secs(5);
/// Longest pause of a provider's own that is passed on.
const LONGEST_PAUSE: u32 = 3_600;

/// Calls providers. One for each network.
pub struct ProviderClient {
    http: reqwest::Client,
    reach: Reach,
    timeout: Duration,
    limits: Mutex<HashMap<u32, Limit>>,
}

/// Requests a minute, and how many of them are left.
struct Limit {
    per_minute: u32,
    bucket: Arc<DefaultDirectRateLimiter>,
}

/// An answer that is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The text.
    pub content: String,
    /// What the model thought, where that is shown.
    pub reasoning: Option<String>,
    /// `stop`, `length` or `content_filter`.
    pub finish_reason: &'static str,
    /// What the provider says it used.
    pub claim: Claim,
    /// From request to whole answer, in milliseconds.
    pub latency_ms: u64,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection, or an endpoint that may not be called.
    #[error("it cannot be reached")]
    Unreachable,
    /// It has no room (429).
    #[error("it is busy")]
    Busy {
        /// Seconds that it asks to be left alone for.
        retry_after: Option<u32>,
    },
    /// It refuses this very request (400, 413, 422).
    #[error("it refuses the request with status {0}")]
    Request(u16),
    /// Any other status: a fault of its own, a redirect, an access that we do not have.
    #[error("it answered with status {0}")]
    Status(u16),
    /// No whole answer in time.
    #[error("it did not answer within {0} s")]
    Late(u64),
    /// An answer that is none.
    #[error("its answer cannot be used: {0}")]
    BadAnswer(&'static str),
}

impl CallError {
    /// Whether certainly nothing was produced that anybody could want to be paid for.
    #[must_use]
    pub const fn nothing_produced(&self) -> bool {
        !matches!(self, Self::Late(_) | Self::BadAnswer(_))
    }

    /// Whether another provider may do better.
    #[must_use]
    pub const fn worth_another(&self) -> bool {
        self.nothing_produced() && !matches!(self, Self::Request(_))
    }

    /// Whether it says something against the provider.
    #[must_use]
    pub const fn is_its_fault(&self) -> bool {
        !matches!(self, Self::Request(_) | Self::Busy { .. })
    }
}

impl std::fmt::Debug for ProviderClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProviderClient").field("reach", &self.reach).finish_non_exhaustive()
    }
}

impl ProviderClient {
    /// A client that gives up after `timeout`. `allow_loopback`: endpoints on this machine and over http too, for development.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(allow_loopback: bool, timeout: Duration) -> reqwest::Result<Self> {
        let reach = if allow_loopback { Reach::Anywhere } else { Reach::Public };
        Ok(Self { http: reach.client(timeout)?, reach, timeout, limits: Mutex::default() })
    }

    /// The endpoint as it would be called.
    ///
    /// # Errors
    /// Says why it is not: what a provider's entry shows.
    pub fn callable(&self, endpoint: &str) -> Result<Url, &'static str> {
        let mut url: Url = endpoint.parse().map_err(|_| "it is no URL")?;
        self.reach.check(&url)?;
        url.set_query(None);
        url.set_fragment(None);
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(url)
    }

    /// Takes one of a provider's requests of this minute.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub fn admit(&self, provider: u32, per_minute: u32) -> Result<(), Duration> {
        let bucket = {
            let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
            let limit = limits.entry(provider).or_insert_with(|| Limit::new(per_minute));
            if limit.per_minute != per_minute {
                *limit = Limit::new(per_minute);
            }
            Arc::clone(&limit.bucket)
        };
        bucket.check().map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }

    /// Sends a chat request and reads its answer. `base` is from [`ProviderClient::callable`].
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn chat(&self, base: &Url, order: &SignedProviderCall, body: Bytes) -> Result<Answered, CallError> {
        let url = base.join("chat/completions").map_err(|_| CallError::Unreachable)?;
        let order = serde_json::to_vec(order).map_err(|_| CallError::BadAnswer("our order cannot be written"))?;
        let request = self
            .http
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(SignedProviderCall::HEADER, STANDARD.encode(order))
            .body(body);
        let started = Instant::now();
        let body = self.whole(request, MOST, self.timeout).await?;
        let latency = started.elapsed();
        let answer = match serde_json::from_slice(&body) {
            Ok(Value::Object(answer)) => answer,
            _ => return Err(CallError::BadAnswer("it is not a JSON object")),
        };
        read(&answer, u64::try_from(latency.as_millis()).unwrap_or(u64::MAX))
    }

    /// Looks whether a provider answers: its list of models, of which only the form matters.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn probe(&self, endpoint: &str) -> Result<(), CallError> {
        let base = self.callable(endpoint).map_err(|_| CallError::Unreachable)?;
        let url = base.join("models").map_err(|_| CallError::Unreachable)?;
        let body = self.whole(self.http.get(url), MOST_PROBE, PROBE.min(self.timeout)).await?;
        match serde_json::from_slice(&body) {
            Ok(Value::Object(_)) => Ok(()),
            _ => Err(CallError::BadAnswer("it is not a JSON object")),
        }
    }

    /// The whole answer to a request, however slowly it drips in.
    async fn whole(&self, request: RequestBuilder, most: usize, limit: Duration) -> Result<Vec<u8>, CallError> {
        let late = CallError::Late(limit.as_secs());
        let read =
            async {
                let response = request.send().await.map_err(|error| transport(&error, &late))?;
                let mut response = success(response)?;
                let mut bytes = Vec::new();
                while let Some(piece) = response.chunk().await.map_err(|error| {
                    if error.is_timeout() { late.clone() } else { CallError::BadAnswer("it broke off") }
                })? {
                    if bytes.len() + piece.len() > most {
                        return Err(CallError::BadAnswer("it is too large"));
                    }
                    bytes.extend_from_slice(&piece);
                }
                Ok(bytes)
            };
        tokio::time::timeout(limit, read).await.unwrap_or_else(|_| Err(late.clone()))
    }
}

impl Limit {
    fn new(per_minute: u32) -> Self {
        // The registry refuses zero.
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
        Self { per_minute, bucket: Arc::new(RateLimiter::direct(quota)) }
    }
}

fn transport(error: &reqwest::Error, late: &CallError) -> CallError {
    if error.is_connect() {
        CallError::Unreachable
    } else if error.is_timeout() {
        late.clone()
    } else {
        // The request may have arrived.
        CallError::BadAnswer("it broke off")
    }
}

fn success(response: Response) -> Result<Response, CallError> {
    match response.status() {
        status if status.is_success() => Ok(response),
        StatusCode::TOO_MANY_REQUESTS => {
            let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Err(CallError::Busy { retry_after: seconds.map(|seconds: u32| seconds.min(LONGEST_PAUSE)) })
        }
        status @ (StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY) => {
            Err(CallError::Request(status.as_u16()))
        }
        status => Err(CallError::Status(status.as_u16())),
    }
}

/// One choice: its text, its reasoning where shown, why it ended, and what is claimed for it.
fn read(answer: &Map<String, Value>, latency_ms: u64) -> Result<Answered, CallError> {
    let choice = answer.get("choices").and_then(|choices| choices.get(0));
    let choice = choice.ok_or(CallError::BadAnswer("it has no choices"))?;
    let message = choice.get("message").and_then(Value::as_object);
    let message = message.ok_or(CallError::BadAnswer("its choice has no message"))?;
    let content = message.get("content").and_then(Value::as_str).unwrap_or_default();
    if content.is_empty() {
        return Err(CallError::BadAnswer("its message is empty"));
    }
    let reasoning = ["reasoning_content", "reasoning"].iter().find_map(|name| message.get(*name)?.as_str());
    let finish_reason = match choice.get("finish_reason").and_then(Value::as_str) {
        Some("length") => "length",
        Some("content_filter") => "content_filter",
        _ => "stop",
    };
    Ok(Answered {
        content: content.to_owned(),
        reasoning: reasoning.filter(|text| !text.is_empty()).map(str::to_owned),
        finish_reason,
        claim: claim(answer.get("usage")),
        latency_ms,
    })
}

fn claim(usage: Option<&Value>) -> Claim {
    let tokens = |usage: &Value, name: &str| usage.get(name).and_then(Value::as_u64);
    match usage {
        None | Some(Value::Null) => Claim::None,
        Some(usage) => match (tokens(usage, "prompt_tokens"), tokens(usage, "completion_tokens")) {
            (Some(input), Some(output)) => Claim::Tokens { input, output },
            _ => Claim::Unreadable,
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_are_whole_numbers_or_none() {
        assert_eq!(claim(None), Claim::None);
        assert_eq!(claim(Some(&Value::Null)), Claim::None);
        let tokens = |input, output| json!({ "prompt_tokens": input, "completion_tokens": output });
        assert_eq!(claim(Some(&tokens(json!(3), json!(4)))), Claim::Tokens { input: 3, output: 4 });
        assert_eq!(claim(Some(&tokens(json!(u64::MAX), json!(0)))), Claim::Tokens { input: u64::MAX, output: 0 });
        for bad in [json!(-1), json!(1.5), json!("7"), json!(1e30), json!([]), Value::Null] {
            assert_eq!(claim(Some(&tokens(bad.clone(), json!(1)))), Claim::Unreadable, "{bad}");
            assert_eq!(claim(Some(&tokens(json!(1), bad))), Claim::Unreadable);
        }
        assert_eq!(claim(Some(&json!({ "prompt_tokens": 1 }))), Claim::Unreadable);
        assert_eq!(claim(Some(&json!("many"))), Claim::Unreadable);
    }

    #[test]
    fn endpoints_of_strangers_are_public_and_https() {
        let client = ProviderClient::new(false, Duration::from_secs(1)).unwrap();
        let url = client.callable("https://provider.example/v1?key=1#x").unwrap();
        assert_eq!(url.join("chat/completions").unwrap().as_str(), "https://provider.example/v1/chat/completions");
        for bad in [
            "",
            "provider.example",
            "http://provider.example/",
            "https://127.0.0.1/v1",
            "https://169.254.169.254/",
            "file:///etc/passwd",
        ] {
            assert!(client.callable(bad).is_err(), "{bad}");
        }
        let open = ProviderClient::new(true, Duration::from_secs(1)).unwrap();
        assert!(open.callable("http://127.0.0.1:1/v1").is_ok() && open.callable("file:///etc/passwd").is_err());
    }

    #[test]
    fn each_provider_has_the_limit_that_it_publishes() {
        let client = ProviderClient::new(true, Duration::from_secs(1)).unwrap();
        for _ in 0..3 {
            assert_eq!(client.admit(1, 3), Ok(()));
        }
        let wait = client.admit(1, 3).unwrap_err();
        assert!(wait > Duration::from_secs(10) && wait <= Duration::from_secs(20), "{wait:?}");
        assert_eq!(client.admit(2, 3), Ok(()), "others have their own");
        assert_eq!(client.admit(1, 4), Ok(()), "a new limit counts at once");
    }

    #[test]
    fn an_answer_is_one_message_with_text() {
        let good =
            json!({ "choices": [{ "message": { "content": "hi", "reasoning": "hm" }, "finish_reason": "length" }] });
        let answered = read(good.as_object().unwrap(), 5).unwrap();
        assert_eq!((answered.content.as_str(), answered.reasoning.as_deref()), ("hi", Some("hm")));
        assert_eq!((answered.finish_reason, answered.claim, answered.latency_ms), ("length", Claim::None, 5));
        for bad in [
            json!({}),
            json!({ "choices": [] }),
            json!({ "choices": [{}] }),
            json!({ "choices": [{ "message": { "content": "" } }] }),
        ] {
            let error = read(bad.as_object().unwrap(), 0).unwrap_err();
            assert!(
                matches!(error, CallError::BadAnswer(_)) && error.is_its_fault() && !error.worth_another(),
                "{bad}"
            );
        }
    }
}
