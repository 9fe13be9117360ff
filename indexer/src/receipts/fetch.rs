//! Fetching one document: capped in time and size, no redirect to another host.

use std::time::Duration;

use compute_futures_outbound::Reach;
use compute_futures_protocol::{BatchDocument, Chain};
use reqwest::{Client, StatusCode, redirect::Policy};
use serde::de::DeserializeOwned;
use url::Url;

use crate::{
    config::OperatorSource,
    error::{IndexerError, Result},
};

/// Most redirects, all to the same host.
const REDIRECTS: usize = 3;
/// Time to connect.
const CONNECT: Duration = Duration::from_secs(5);

/// Why a document could not be had. Never holds what a server sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Not there (yet).
    #[error("the operator does not publish it (404)")]
    NotFound,
    /// Any other refusal.
    #[error("the operator answered with status {0}")]
    Status(u16),
    /// No connection, no name, a redirect elsewhere, too slow.
    #[error("the operator could not be reached: {0}")]
    Unreachable(String),
    /// Above the cap.
    #[error("the document is larger than {0} bytes")]
    TooLarge(u64),
    /// Not a document.
    #[error("the document is not one: {0}")]
    Malformed(String),
}

/// Fetches documents from one operator.
pub struct DocumentClient {
    client: Client,
    base: Url,
    network: Chain,
    max_bytes: u64,
}

impl DocumentClient {
    /// For one source's batches on `network`: it may publish those of several. With `allow_insecure` the source is the user's own: any address goes.
    ///
    /// # Errors
    /// [`IndexerError::Config`] when the URL may not be fetched.
    pub fn new(source: &OperatorSource, network: Chain, timeout: Duration, max_bytes: u64) -> Result<Self> {
        let refuse = |reason: String| IndexerError::Config(format!("receipts from {}: {reason}", source.url));
        source.check().map_err(refuse)?;
        let reach = if source.allow_insecure { Reach::Anywhere } else { Reach::Public };
        reach
            .check(&source.url)
            .map_err(|why| refuse(format!("{why}; set allow_insecure for a relayer of your own")))?;
        let builder = Client::builder()
            .timeout(timeout)
            .connect_timeout(CONNECT.min(timeout))
            .redirect(same_origin())
            .user_agent(concat!("compute-futures-indexer/", env!("CARGO_PKG_VERSION")));
        let client = reach.guard(builder).build().map_err(|e| refuse(e.to_string()))?;
        Ok(Self { client, base: source.url.clone(), network, max_bytes })
    }

    /// The document of a batch, unverified.
    ///
    /// # Errors
    /// [`FetchError`]; all but [`FetchError::TooLarge`] and [`FetchError::Malformed`] are worth a retry soon.
    pub async fn fetch(&self, operator_index: u32, batch_number: u64) -> Result<BatchDocument, FetchError> {
        self.get(&format!("receipts/{operator_index}/{batch_number}"), "").await
    }

    /// What the relayer answers at a path under `/api/v1`, about this network; `query` follows, beginning with `&` or empty.
    ///
    /// # Errors
    /// As [`DocumentClient::fetch`].
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &str) -> Result<T, FetchError> {
        let unreachable = |e: reqwest::Error| FetchError::Unreachable(reason(&e));
        let (base, network) = (self.base.as_str().trim_end_matches('/'), self.network.caip2());
        let url = format!("{base}/api/v1/{path}?network={network}{query}");
        let mut response = self.client.get(url).send().await.map_err(unreachable)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(FetchError::NotFound),
            status => return Err(FetchError::Status(status.as_u16())),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if (body.len() + chunk.len()) as u64 > self.max_bytes {
                return Err(FetchError::TooLarge(self.max_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body)
            .map_err(|e| FetchError::Malformed(format!("line {}, column {}: {:?}", e.line(), e.column(), e.classify())))
    }
}

/// Follows redirects within scheme, host and port only.
fn same_origin() -> Policy {
    Policy::custom(|attempt| {
        let stays = attempt.previous().last().is_some_and(|from| from.origin() == attempt.url().origin());
        if !stays {
            attempt.error("a redirect to another host is not followed")
        } else if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else {
            attempt.follow()
        }
    })
}

/// The innermost cause, without the URL.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_timeout() { "it took too long".into() } else { cause.to_string() }
}
