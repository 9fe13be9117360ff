//! One RPC URL: JSON-RPC over HTTP, and how it has been doing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use alloy::primitives::U64;
use alloy::rpc::json_rpc::ErrorPayload;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

use super::Head;
use super::classify::RpcFailure;

/// Rest after the first failure; doubles with each one in a row.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

pub(super) struct Endpoint {
    client: reqwest::Client,
    url: Url,
    /// Host and port: all of the URL that may be logged.
    label: String,
    /// The newest block this endpoint was seen at.
    head: AtomicU64,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    failures_in_a_row: u32,
    resting_until: Option<Instant>,
}

#[derive(Serialize)]
struct Request<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'static str,
    params: &'a P,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Response<T> {
    // `null` is an answer ("no such block"), a missing field is not.
    #[serde(default = "none", deserialize_with = "present")]
    result: Option<T>,
    error: Option<ErrorPayload>,
}

fn none<T>() -> Option<T> {
    None
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Decodes the body of an answer, borrowing from it where `T` does.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, RpcFailure> {
    match serde_json::from_slice::<Response<T>>(body) {
        Ok(Response { error: Some(error), .. }) => Err(RpcFailure::from_payload(error)),
        Ok(Response { result: Some(result), .. }) => Ok(result),
        Ok(Response { .. }) => Err(RpcFailure::Malformed("neither result nor error".into())),
        Err(error) => Err(RpcFailure::Malformed(error.to_string())),
    }
}

impl Endpoint {
    pub(super) fn new(client: reqwest::Client, url: Url) -> Self {
        let host = url.host_str().unwrap_or("?");
        let label = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Self { client, url, label, head: AtomicU64::new(0), health: Mutex::default() }
    }

    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Relaxed)
    }

    pub(super) fn saw_head(&self, head: u64) {
        self.head.store(head, Ordering::Relaxed);
    }

    /// Until when to prefer other endpoints.
    pub(super) fn resting_until(&self) -> Option<Instant> {
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.resting_until.filter(|until| *until > Instant::now())
    }

    /// Sends a request; `Ok` is a body with a result in it, not yet decoded.
    pub(super) async fn post<P: Serialize + Sync>(
        &self,
        method: &'static str,
        params: &P,
    ) -> Result<Bytes, RpcFailure> {
        let outcome = self.exchange(method, params).await;
        let label = match &outcome {
            Ok(_) => "ok",
            Err(failure) => failure.label(),
        };
        metrics::counter!("rpc_requests_total", "method" => method, "outcome" => label).increment(1);
        match outcome {
            Ok(body) => {
                self.recovered();
                Ok(body)
            }
            Err(failure) => Err(self.blame(method, failure)),
        }
    }

    /// Takes note of a failure: one that is no answer makes the endpoint rest.
    pub(super) fn blame(&self, method: &'static str, failure: RpcFailure) -> RpcFailure {
        if failure.is_answer() {
            self.recovered();
            return failure;
        }
        let why = format!("{method} at {}: {failure}", self.label);
        if !matches!(failure, RpcFailure::Behind(_)) {
            self.rest(&why);
        }
        failure.explained(why)
    }

    /// Lets the others go first for a while, longer each time in a row.
    pub(super) fn rest(&self, why: &str) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.failures_in_a_row = health.failures_in_a_row.saturating_add(1);
        let doubled = FIRST_REST.saturating_mul(1 << (health.failures_in_a_row - 1).min(6));
        let rest = doubled.min(LONGEST_REST);
        health.resting_until = Some(Instant::now() + rest);
        drop(health);
        tracing::warn!(endpoint = self.label, rest_seconds = rest.as_secs(), why, "RPC endpoint rests");
    }

    pub(super) fn recovered(&self) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        *health = Health::default();
    }

    /// Makes sure that the endpoint has block `needed`; asks it when it was not yet seen there.
    pub(super) async fn require_head(&self, needed: u64, head: Head) -> Result<(), RpcFailure> {
        if self.head() >= needed {
            return Ok(());
        }
        let head = match head {
            Head::Evm => {
                let body = self.post("eth_blockNumber", &()).await?;
                parse::<U64>(&body).map_err(|failure| self.blame("eth_blockNumber", failure))?.to()
            }
            Head::Solana => {
                let body = self.post("getSlot", &serde_json::json!([{"commitment": "confirmed"}])).await?;
                parse(&body).map_err(|failure| self.blame("getSlot", failure))?
            }
        };
        self.saw_head(head);
        if self.head() >= needed {
            return Ok(());
        }
        // No rest: being a block behind is the normal state of one of two nodes.
        Err(RpcFailure::Behind(format!("{} stands at block {}, {needed} is needed", self.label, self.head())))
    }

    async fn exchange<P: Serialize + Sync>(&self, method: &'static str, params: &P) -> Result<Bytes, RpcFailure> {
        let request = Request { jsonrpc: "2.0", id: 1, method, params };
        let sent = self.client.post(self.url.clone()).json(&request).send().await;
        let response = sent.map_err(|error| unreachable_endpoint(&error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| unreachable_endpoint(&error))?;
        if status.is_success() {
            // Errors come with status 200 from most nodes. They are short: an answer this long is looked into once, by its reader.
            return match body.len() {
                0..=8192 => check_short(body),
                _ => Ok(body),
            };
        }
        // Some nodes send a JSON-RPC error under a 4xx or 5xx status.
        if let Err(failure @ (RpcFailure::Refused(_) | RpcFailure::TooLarge(_) | RpcFailure::Behind(_))) =
            parse::<serde::de::IgnoredAny>(&body)
        {
            return Err(failure);
        }
        if status == reqwest::StatusCode::PAYLOAD_TOO_LARGE {
            return Err(RpcFailure::TooLarge(format!("HTTP {status}")));
        }
        Err(RpcFailure::Endpoint { why: format!("HTTP {status}"), slow: false })
    }
}

fn check_short(body: Bytes) -> Result<Bytes, RpcFailure> {
    parse::<serde::de::IgnoredAny>(&body).map(|_| body)
}

/// Without the URL, which may hold a key.
fn unreachable_endpoint(error: &reqwest::Error) -> RpcFailure {
    let mut why = String::from(if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "broken connection"
    });
    // The innermost cause says most ("connection refused", "dns error …").
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if inner.source().is_none() {
            why = format!("{why}: {inner}");
        }
        source = inner.source();
    }
    RpcFailure::Endpoint { why, slow: error.is_timeout() }
}
