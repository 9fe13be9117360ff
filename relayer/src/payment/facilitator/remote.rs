//! A facilitator at a URL: `/verify`, `/settle`, `/supported` as x402 specifies them.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::{Client, RequestBuilder, header::HeaderMap, redirect};
use serde_json::Value;

use super::{SettleError, Settled, Verified, VerifyError, read_settle, read_verify};

/// Largest answer that is read.
const LIMIT: usize = 256 * 1024;

/// The facilitator at a URL.
pub(super) struct Remote {
    url: String,
    client: Client,
    verify_timeout: Duration,
    settle_timeout: Duration,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Remote").field(&self.url).finish()
    }
}

impl Remote {
    pub(super) fn new(
        url: &str,
        token: Option<&str>,
        verify_timeout: Duration,
        settle_timeout: Duration,
    ) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value: reqwest::header::HeaderValue = format!("Bearer {token}")
                .parse()
                .map_err(|_| "the facilitator's token holds characters that a header cannot".to_owned())?;
            value.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        let client = Client::builder()
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), client, verify_timeout, settle_timeout })
    }

    /// Verifying takes nothing, so it is tried again.
    pub(super) async fn verify(&self, request: &Value) -> Result<Verified, VerifyError> {
        let attempt = || async {
            let (_, answer) = self
                .ask(self.client.post(format!("{}/verify", self.url)).json(request).timeout(self.verify_timeout))
                .await?;
            Ok::<_, String>(answer)
        };
        let backoff =
            ExponentialBuilder::default().with_min_delay(Duration::from_millis(100)).with_jitter().with_max_times(2);
        let answer = tokio::time::timeout(self.verify_timeout, attempt.retry(backoff)).await;
        match answer {
            Ok(Ok(answer)) => read_verify(&answer),
            Ok(Err(reason)) => Err(VerifyError::Unavailable(reason)),
            Err(_) => Err(VerifyError::Unavailable("no answer in time".into())),
        }
    }

    /// Settling is asked for once. Without a clear answer the result is unknown until the chain says.
    pub(super) async fn settle(&self, request: &Value) -> Result<Settled, SettleError> {
        let sending = self.client.post(format!("{}/settle", self.url)).json(request).timeout(self.settle_timeout);
        match self.ask(sending).await {
            Ok((_, answer)) => read_settle(&answer),
            Err(reason) => Err(SettleError::Unknown(reason)),
        }
    }

    pub(super) async fn supported(&self) -> Result<Value, String> {
        Ok(self.ask(self.client.get(format!("{}/supported", self.url)).timeout(self.verify_timeout)).await?.1)
    }

    /// Sends, and reads a JSON object of bounded size. Facilitators answer a refused payment with 200 or with 4xx: the body
    /// tells; without a readable body it is an error.
    async fn ask(&self, request: RequestBuilder) -> Result<(u16, Value), String> {
        let mut response = request.send().await.map_err(|error| {
            if error.is_timeout() {
                "no answer in time".to_owned()
            } else if error.is_connect() {
                "no connection".to_owned()
            } else {
                "the connection broke".to_owned()
            }
        })?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| "the answer broke off".to_owned())? {
            if bytes.len() + chunk.len() > LIMIT {
                return Err("its answer is too large".into());
            }
            bytes.extend_from_slice(&chunk);
        }
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(answer) if answer.is_object() && status < 500 => Ok((status, answer)),
            _ => Err(format!("it answers {status}")),
        }
    }
}
