//! Calls to several RPC endpoints as if they were one that is always up.
//!
//! Requests go to one endpoint at a time, the first in the configured order that is well: following a chain needs answers that
//! fit together, and two nodes asked in parallel rarely stand at the same block. (alloy's fallback layer takes the fastest of
//! several answers, which suits independent reads only.) Another endpoint takes over when this one cannot be reached, is slow,
//! limits us, fails inside, or is behind; never when it answers that a call reverts or a transaction is refused.

mod classify;
mod endpoint;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use self::endpoint::Endpoint;
use crate::ChainError;

pub(crate) use self::classify::RpcFailure;
pub(crate) use self::endpoint::parse;

/// After every endpoint failed, and failed quickly, they are tried again this often.
const EXTRA_ROUNDS: u32 = 2;
const ROUND_PAUSE: Duration = Duration::from_millis(250);

/// The endpoints of one chain.
#[derive(Clone)]
pub(crate) struct Rpc {
    endpoints: Arc<[Endpoint]>,
    max_head_lag: u64,
    head: Head,
}

/// How an endpoint is asked how far it is.
#[derive(Clone, Copy)]
pub(crate) enum Head {
    /// By block number.
    Evm,
    /// By confirmed slot.
    Solana,
}

impl Rpc {
    pub(crate) fn new(
        urls: &[Url],
        request_timeout: Duration,
        max_head_lag: u64,
        head: Head,
    ) -> Result<Self, ChainError> {
        let client = reqwest::Client::builder()
            .connect_timeout(request_timeout)
            .timeout(request_timeout)
            .build()
            .map_err(|error| ChainError::Config(format!("no HTTP client: {error}")))?;
        let endpoints = urls.iter().map(|url| Endpoint::new(client.clone(), url.clone())).collect();
        Ok(Self { endpoints, max_head_lag, head })
    }

    /// One call, decoded.
    pub(crate) async fn call<P, R>(&self, method: &'static str, params: P) -> Result<R, RpcFailure>
    where
        P: Serialize + Sync,
        R: DeserializeOwned,
    {
        let (body, endpoint) = self.raw(method, &params, None).await?;
        parse(&body).map_err(|failure| endpoint.blame(method, failure))
    }

    /// One call to an endpoint that has reached block `needed`, for answers that are silently empty on one that has not.
    pub(crate) async fn call_at<P, R>(&self, needed: u64, method: &'static str, params: P) -> Result<R, RpcFailure>
    where
        P: Serialize + Sync,
        R: DeserializeOwned,
    {
        let (body, endpoint) = self.raw(method, &params, Some(needed)).await?;
        parse(&body).map_err(|failure| endpoint.blame(method, failure))
    }

    /// The body of a successful answer, as it came: for large answers that are decoded in place with [`parse`].
    pub(crate) async fn body_at<P>(&self, needed: u64, method: &'static str, params: &P) -> Result<Bytes, RpcFailure>
    where
        P: Serialize + Sync,
    {
        self.raw(method, params, Some(needed)).await.map(|(body, _)| body)
    }

    /// Highest block any endpoint was seen at.
    pub(crate) fn best_head(&self) -> u64 {
        self.endpoints.iter().map(Endpoint::head).max().unwrap_or_default()
    }

    /// The newest block through `read_head`, from an endpoint that is not far behind the best of them.
    pub(crate) async fn newest<P, R>(
        &self,
        method: &'static str,
        params: P,
        number: impl Fn(&R) -> u64,
    ) -> Result<R, RpcFailure>
    where
        P: Serialize + Sync,
        R: DeserializeOwned,
    {
        let mut lagging: Option<(u64, &Endpoint, R)> = None;
        let mut last = None;
        for endpoint in self.by_health() {
            let answer = match endpoint.post(method, &params).await {
                Ok(body) => parse::<R>(&body).map_err(|failure| endpoint.blame(method, failure)),
                Err(failure) => Err(failure),
            };
            match answer {
                Ok(answer) => {
                    let head = number(&answer);
                    endpoint.saw_head(head);
                    if head.saturating_add(self.max_head_lag) >= self.best_head() {
                        return Ok(answer);
                    }
                    if lagging.as_ref().is_none_or(|(best, _, _)| head > *best) {
                        lagging = Some((head, endpoint, answer));
                    }
                    endpoint.rest("behind the other endpoints");
                }
                Err(failure) if failure.is_answer() => return Err(failure),
                Err(failure) => last = Some(failure),
            }
            metrics::counter!("rpc_failovers_total").increment(1);
        }
        // Everyone is "behind": then what we took for the best head is gone (a rollback, or an endpoint that lied).
        if let Some((head, endpoint, answer)) = lagging {
            for other in self.endpoints.iter() {
                other.saw_head(other.head().min(head));
            }
            endpoint.recovered();
            return Ok(answer);
        }
        Err(last.unwrap_or_else(RpcFailure::nobody))
    }

    /// The first good answer, with the endpoint that gave it.
    async fn raw<P>(
        &self,
        method: &'static str,
        params: &P,
        needed: Option<u64>,
    ) -> Result<(Bytes, &Endpoint), RpcFailure>
    where
        P: Serialize + Sync,
    {
        let mut last = RpcFailure::nobody();
        for round in 0..=EXTRA_ROUNDS {
            for (position, endpoint) in self.by_health().into_iter().enumerate() {
                if position > 0 || round > 0 {
                    metrics::counter!("rpc_failovers_total").increment(1);
                }
                if let Some(needed) = needed
                    && let Err(failure) = endpoint.require_head(needed, self.head).await
                {
                    last = failure;
                    continue;
                }
                match endpoint.post(method, params).await {
                    Ok(body) => return Ok((body, endpoint)),
                    Err(failure) if failure.is_answer() => return Err(failure),
                    Err(failure) => last = failure,
                }
            }
            if last.was_slow() {
                break;
            }
            if round < EXTRA_ROUNDS {
                tokio::time::sleep(ROUND_PAUSE * (round + 1)).await;
            }
        }
        Err(last)
    }

    /// Endpoints in the order to try: the configured order, those that are resting last.
    fn by_health(&self) -> Vec<&Endpoint> {
        let mut order: Vec<_> = self.endpoints.iter().map(|endpoint| (endpoint.resting_until(), endpoint)).collect();
        // `None` sorts first; the sort is stable, so the configured order holds among the healthy.
        order.sort_by_key(|(until, _)| *until);
        order.into_iter().map(|(_, endpoint)| endpoint).collect()
    }
}
