//! Following the contract's events through `eth_getLogs`.

mod authorization;
mod decode;
mod span;
mod wire;

use std::collections::HashMap;

use alloy::primitives::B256;
use futures::{Stream, StreamExt, TryStreamExt};
use serde_json::json;

use self::span::Span;
use self::wire::{WireLog, decode_all};
use super::EvmReader;
use super::blocks::{Header, quantity};
use crate::transport::{RpcFailure, parse};
use crate::{ChainError, ChainEvent, EventRange};

pub(crate) use self::span::LogSpan;

/// Headers asked for at once when a node leaves the time out of its logs.
const HEADERS_AT_ONCE: usize = 8;

impl EvmReader {
    /// The working size is asked for range by range, so that it adapts while the stream runs.
    pub(super) fn stream_events(
        &self,
        from: u64,
        to: u64,
        concurrency: usize,
    ) -> impl Stream<Item = Result<EventRange, ChainError>> + Send + '_ {
        let spans = futures::stream::unfold(Some(from), move |next| async move {
            let span = self.log_span.next(next?, to)?;
            Some((span, span.to.checked_add(1)))
        });
        spans
            .map(move |span| async move {
                let events = self.events_in(span.from, span.to).await?;
                Ok(EventRange { from: span.from, to: span.to, events })
            })
            .buffered(concurrency.max(1))
    }

    /// Every event of blocks `from..=to`, in as many requests as the provider makes necessary.
    pub(super) async fn events_in(&self, from: u64, to: u64) -> Result<Vec<ChainEvent>, ChainError> {
        let mut events = Vec::new();
        let mut next = Some(from);
        while let Some(span) = next.and_then(|next| self.log_span.next(next, to)) {
            match self.fetch(span).await {
                Ok(part) => {
                    self.log_span.served(span, part.len());
                    if events.is_empty() {
                        events = part;
                    } else {
                        events.extend(part);
                    }
                    next = span.to.checked_add(1);
                }
                Err(FetchError::TooLarge(why)) if span.from == span.to => {
                    return Err(ChainError::Unavailable(format!(
                        "the RPC endpoint refuses the logs of the single block {}: {why}",
                        span.from
                    )));
                }
                Err(FetchError::TooLarge(why)) => {
                    tracing::debug!(from = span.from, to = span.to, why, "log range refused; asking for less");
                    self.log_span.refused(span);
                }
                Err(FetchError::Chain(error)) => return Err(error),
            }
        }
        Ok(events)
    }

    async fn fetch(&self, span: Span) -> Result<Vec<ChainEvent>, FetchError> {
        let filter = json!([{
            "address": self.contract,
            "fromBlock": quantity(span.from),
            "toBlock": quantity(span.to),
        }]);
        // A node that is behind answers with the logs it has and no hint of it, hence `_at`.
        let body = match self.rpc.body_at(span.to, "eth_getLogs", &filter).await {
            Ok(body) => body,
            Err(RpcFailure::TooLarge(why)) => return Err(FetchError::TooLarge(why)),
            Err(failure) => {
                // Too much work for it, perhaps: whoever asks again asks for less.
                if failure.was_slow() {
                    self.log_span.refused(span);
                }
                return Err(FetchError::Chain(failure.into()));
            }
        };
        let logs: Vec<WireLog<'_>> = match parse(&body) {
            Ok(logs) => logs,
            Err(RpcFailure::TooLarge(why)) => return Err(FetchError::TooLarge(why)),
            Err(failure) => return Err(FetchError::Chain(failure.into())),
        };
        let (mut events, timeless) = decode_all(&logs, self.contract, span.from, span.to).map_err(FetchError::Chain)?;
        if timeless {
            self.fill_times(&mut events).await.map_err(FetchError::Chain)?;
        }
        Ok(events)
    }

    /// Looks up the time of each block once.
    async fn fill_times(&self, events: &mut [ChainEvent]) -> Result<(), ChainError> {
        let mut blocks: Vec<B256> = events.iter().map(|event| event.meta.block_hash).collect();
        blocks.dedup();
        let times: HashMap<B256, u64> = futures::stream::iter(blocks)
            .map(|hash| async move {
                let header: Option<Header> = self.rpc.call("eth_getBlockByHash", (hash, false)).await?;
                let header = header
                    .ok_or_else(|| ChainError::Unavailable(format!("block {hash} was reorganised away; ask again")))?;
                Ok::<_, ChainError>((hash, header.timestamp()))
            })
            .buffer_unordered(HEADERS_AT_ONCE)
            .try_collect()
            .await?;
        for event in events {
            event.meta.block_timestamp = times.get(&event.meta.block_hash).copied().unwrap_or_default();
        }
        Ok(())
    }
}

enum FetchError {
    TooLarge(String),
    Chain(ChainError),
}
