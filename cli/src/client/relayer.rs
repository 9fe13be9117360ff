//! HTTP to a relayer or indexer, with retries that can never pay twice.

use std::time::Duration;

use compute_futures_x402::decode_header;
use reqwest::{Client, Method, Response, StatusCode, header::CONTENT_TYPE, header::HeaderMap};
use serde_json::Value;
use url::Url;

use super::{Answer, ClientError};

/// Header of an offer (x402 V2).
const PAYMENT_REQUIRED: &str = "payment-required";

/// How often one request is tried. Each attempt carries the same payment, which is its idempotency key.
const ATTEMPTS: u32 = 6;

/// One request: what is hashed, signed and sent are the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Path with query, from the root of the server.
    pub path: String,
    /// Body bytes; empty for GET.
    pub body: Vec<u8>,
}

impl Request {
    /// A GET.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: Vec::new() }
    }

    /// A POST of JSON.
    #[must_use]
    pub fn post(path: impl Into<String>, body: &Value) -> Self {
        Self { method: Method::POST, path: path.into(), body: body.to_string().into_bytes() }
    }
}

/// A server, by its base URL.
#[derive(Debug, Clone)]
pub struct Relayer {
    base: Url,
    http: Client,
}

impl Relayer {
    /// The server at `base` (origin; a path prefix is kept).
    #[must_use]
    pub fn new(base: Url) -> Self {
        Self { base, http: Client::new() }
    }

    /// With a client of the caller's: own pools, timeouts, proxies.
    #[must_use]
    pub fn with_client(base: Url, http: Client) -> Self {
        Self { base, http }
    }

    /// Its base URL.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Full URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base.as_str().trim_end_matches('/'))
    }

    /// GET of something free.
    ///
    /// # Errors
    /// When there is no answer, or not a 2xx one.
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        Ok(self.send(&Request::get(path), &HeaderMap::new()).await?.success()?.body)
    }

    /// What a request costs: the decoded `PAYMENT-REQUIRED` of its 402.
    ///
    /// # Errors
    /// When there is no answer, or one that asks for no payment.
    pub async fn offer(&self, request: &Request) -> Result<Value, ClientError> {
        let response = self.once(request, &HeaderMap::new()).await?;
        if response.status() != StatusCode::PAYMENT_REQUIRED {
            let url = self.url(&request.path);
            Answer::read(response).await?.success()?;
            return Err(ClientError::BadAnswer { url, reason: "it does not ask for a payment".into() });
        }
        response.headers().get(PAYMENT_REQUIRED).and_then(|header| decode_header(header.as_bytes())).ok_or_else(|| {
            ClientError::BadAnswer {
                url: self.url(&request.path),
                reason: "its 402 has no readable PAYMENT-REQUIRED".into(),
            }
        })
    }

    /// One request with these headers, tried again when the answer was lost or the server asks for patience.
    ///
    /// # Errors
    /// When no attempt got an answer. A 4xx or 5xx is an [`Answer`], not an error.
    pub async fn send(&self, request: &Request, headers: &HeaderMap) -> Result<Answer, ClientError> {
        let mut attempt = 1;
        let mut in_doubt = false;
        loop {
            let outcome = match self.once(request, headers).await {
                Ok(response) => Answer::read(response).await.map(|answer| Answer { in_doubt, ..answer }),
                Err(error) => Err(error),
            };
            in_doubt = outcome.as_ref().map_or(true, Answer::may_charge);
            let patience = match &outcome {
                Ok(answer) => answer.status == StatusCode::SERVICE_UNAVAILABLE.as_u16() || in_progress(answer),
                Err(_) => true,
            };
            if !patience || attempt == ATTEMPTS {
                return outcome;
            }
            tokio::time::sleep(Duration::from_millis(150 << attempt)).await;
            attempt += 1;
        }
    }

    /// One attempt, unread: for answers that stream.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when there is no answer.
    pub async fn once(&self, request: &Request, headers: &HeaderMap) -> Result<Response, ClientError> {
        let url = self.url(&request.path);
        let mut builder = self.http.request(request.method.clone(), &url).headers(headers.clone());
        if !request.body.is_empty() {
            if !headers.contains_key(CONTENT_TYPE) {
                builder = builder.header(CONTENT_TYPE, "application/json");
            }
            builder = builder.body(request.body.clone());
        }
        builder.send().await.map_err(|error| ClientError::Unreachable { url, reason: reason_of(&error) })
    }
}

/// The same payment is being worked on: its answer comes in a moment.
fn in_progress(answer: &Answer) -> bool {
    answer.status == StatusCode::CONFLICT.as_u16()
        && answer.body.get("code").and_then(Value::as_str) == Some("in_progress")
}

/// The innermost cause: "connection refused" says more than "error sending request".
fn reason_of(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
