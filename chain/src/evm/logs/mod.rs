//! Following the contract's events through `eth_getLogs`.

mod authorization;
pub(super) mod decode;
mod span;
mod wire;

use std::collections::HashMap;

use alloy::primitives::{Address as EvmAddress, B256};
use futures::{Stream, StreamExt, TryStreamExt};
use serde_json::{Value, json};

use self::span::Span;
use self::wire::{Logs, WireLog, decode_all};
use super::EvmReader;
use super::blocks::{Header, quantity};
use crate::transport::{RpcFailure, parse};
use crate::{ChainError, ChainEvent, EventKind, EventMeta, EventRange};

pub(crate) use self::span::LogSpan;

/// Headers asked for at once when a node leaves the time out of its logs.
const HEADERS_AT_ONCE: usize = 8;

/// From topics and data to an event; `None` when it is unknown.
pub(super) type Decode<K> = fn(&[B256], &[u8], &EventMeta) -> Result<Option<K>, ChainError>;

/// Contracts whose events are followed together.
#[derive(Clone, Copy)]
pub(super) struct Source<'a, K> {
    pub(super) contracts: &'a [EvmAddress],
    pub(super) decode: Decode<K>,
    pub(super) span: &'a LogSpan,
}

impl EvmReader {
    /// ComputeFutures.
    pub(super) fn futures(&self) -> Source<'_, EventKind> {
        Source { contracts: std::slice::from_ref(&self.contract), decode: decode::decode_event, span: &self.log_span }
    }

    /// The working size is asked for range by range, so that it adapts while the stream runs.
    pub(super) fn stream_events<'a, K: Send + 'static>(
        &'a self,
        source: Source<'a, K>,
        from: u64,
        to: u64,
        concurrency: usize,
    ) -> impl Stream<Item = Result<EventRange<K>, ChainError>> + Send + 'a {
        let (log_span, contracts, decode) = (source.span, source.contracts, source.decode);
        let spans = futures::stream::unfold(Some(from), move |next| async move {
            let span = log_span.next(next?, to)?;
            Some((span, span.to.checked_add(1)))
        });
        spans
            .map(move |span| async move {
                let source = Source { contracts, decode, span: log_span };
                let events = self.events_in(source, span.from, span.to).await?;
                Ok(EventRange { from: span.from, to: span.to, events })
            })
            .buffered(concurrency.max(1))
    }

    /// Every event of blocks `from..=to`, in as many requests as the provider makes necessary.
    pub(super) async fn events_in<K: Send + 'static>(
        &self,
        source: Source<'_, K>,
        from: u64,
        to: u64,
    ) -> Result<Vec<ChainEvent<K>>, ChainError> {
        let (contracts, decode, log_span) = (source.contracts, source.decode, source.span);
        let mut events = Vec::new();
        let mut next = Some(from);
        while let Some(span) = next.and_then(|next| log_span.next(next, to)) {
            match self.fetch(Source { contracts, decode, span: log_span }, span, None).await {
                Ok(part) => {
                    log_span.served(span, part.len());
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
                    log_span.refused(span);
                }
                Err(FetchError::Chain(error)) => return Err(error),
            }
        }
        Ok(events)
    }

    async fn fetch<K: Send + 'static>(
        &self,
        source: Source<'_, K>,
        span: Span,
        topics: Option<&Value>,
    ) -> Result<Vec<ChainEvent<K>>, FetchError> {
        let mut filter = json!([{
            "address": source.contracts,
            "fromBlock": quantity(span.from),
            "toBlock": quantity(span.to),
        }]);
        if let Some(topics) = topics {
            filter[0]["topics"] = topics.clone();
        }
        // A node that is behind answers with the logs it has and no hint of it, hence `_at`.
        let body = match self.rpc.body_at(span.to, "eth_getLogs", &filter).await {
            Ok(body) => body,
            Err(RpcFailure::TooLarge(why)) => return Err(FetchError::TooLarge(why)),
            Err(failure) => {
                // Too much work for it, perhaps: whoever asks again asks for less.
                if failure.was_slow() {
                    source.span.refused(span);
                }
                return Err(FetchError::Chain(failure.into()));
            }
        };
        let logs: Vec<WireLog<'_>> = match parse(&body) {
            Ok(logs) => logs,
            Err(RpcFailure::TooLarge(why)) => return Err(FetchError::TooLarge(why)),
            Err(failure) => return Err(FetchError::Chain(failure.into())),
        };
        let wanted = Logs { contracts: source.contracts, decode: source.decode, from: span.from, to: span.to };
        let (mut events, timeless) = decode_all(&logs, wanted).map_err(FetchError::Chain)?;
        if timeless {
            self.fill_times(&mut events).await.map_err(FetchError::Chain)?;
        }
        Ok(events)
    }

    /// Events with these topics from the newest block backwards to `oldest`, newest first, until `enough` says so of one.
    pub(super) async fn find_back<K: Send + Sync + 'static>(
        &self,
        source: Source<'_, K>,
        topics: &Value,
        oldest: u64,
        enough: impl Fn(&K) -> bool + Send,
    ) -> Result<Vec<ChainEvent<K>>, ChainError> {
        let (contracts, decode, log_span) = (source.contracts, source.decode, source.span);
        let newest = self.read_heads().await?.latest.number;
        let mut found = Vec::new();
        let mut pending = Vec::new();
        let mut next = Some(newest);
        while let Some(to) = next.filter(|to| *to >= oldest) {
            pending.push(Span { from: to.saturating_sub(log_span.most() - 1).max(oldest), to });
            while let Some(span) = pending.pop() {
                match self.fetch(Source { contracts, decode, span: log_span }, span, Some(topics)).await {
                    Ok(part) => {
                        for event in part.into_iter().rev() {
                            let last = enough(&event.kind);
                            found.push(event);
                            if last {
                                return Ok(found);
                            }
                        }
                    }
                    Err(FetchError::TooLarge(why)) => {
                        let (first, second) = span.halves().ok_or(ChainError::Unavailable(why))?;
                        pending.push(first);
                        pending.push(second);
                    }
                    Err(FetchError::Chain(error)) => return Err(error),
                }
                next = span.from.checked_sub(1);
            }
        }
        Ok(found)
    }

    /// Looks up the time of each block once.
    async fn fill_times<K>(&self, events: &mut [ChainEvent<K>]) -> Result<(), ChainError> {
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
