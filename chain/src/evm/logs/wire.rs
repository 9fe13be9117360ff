//! Logs as they come over the wire, decoded where they lie: a backfill reads tens of thousands a second.

use std::fmt;

use alloy::primitives::{Address as EvmAddress, B256, FixedBytes};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::Decode;
use crate::{ChainError, ChainEvent, EventMeta};

/// A log that borrows from the answer it came in.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireLog<'a> {
    #[serde(borrow)]
    address: Hex<'a, 20>,
    topics: Topics,
    #[serde(borrow)]
    data: &'a str,
    // Null in logs of pending blocks, which are none of ours.
    #[serde(borrow)]
    block_number: Option<&'a str>,
    #[serde(borrow)]
    block_hash: Option<Hex<'a, 32>>,
    #[serde(borrow, default)]
    block_timestamp: Option<&'a str>,
    #[serde(borrow)]
    transaction_hash: Option<Hex<'a, 32>>,
    #[serde(borrow)]
    log_index: Option<&'a str>,
    #[serde(default)]
    removed: bool,
}

/// `N` bytes of hex.
#[derive(Debug, Clone, Copy)]
struct Hex<'a, const N: usize>([u8; N], std::marker::PhantomData<&'a ()>);

impl<'de: 'a, 'a, const N: usize> Deserialize<'de> for Hex<'a, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        let mut bytes = [0; N];
        alloy::hex::decode_to_slice(text, &mut bytes).map_err(D::Error::custom)?;
        Ok(Self(bytes, std::marker::PhantomData))
    }
}

/// Up to four topics, without a heap.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Topics {
    words: [B256; 4],
    count: usize,
}

impl Topics {
    pub(super) fn as_slice(&self) -> &[B256] {
        &self.words[..self.count]
    }
}

impl<'de> Deserialize<'de> for Topics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TopicsVisitor;
        impl<'de> Visitor<'de> for TopicsVisitor {
            type Value = Topics;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("up to four topics")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Topics, A::Error> {
                let mut topics = Topics::default();
                while let Some(Hex(word, _)) = sequence.next_element::<Hex<'de, 32>>()? {
                    let slot =
                        topics.words.get_mut(topics.count).ok_or_else(|| A::Error::custom("more than four topics"))?;
                    *slot = FixedBytes(word);
                    topics.count += 1;
                }
                Ok(topics)
            }
        }
        deserializer.deserialize_seq(TopicsVisitor)
    }
}

/// Which logs are wanted, and how they are read.
pub(super) struct Logs<'a, K> {
    pub(super) contracts: &'a [EvmAddress],
    pub(super) decode: Decode<K>,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Decodes logs strictly, in chain order; the flag says that times are missing.
///
/// # Errors
/// [`ChainError::Inconsistent`] for logs of another contract or range, removed or pending ones, duplicates, and events that
/// are not what the ABI says. Unknown events are skipped.
pub(super) fn decode_all<K>(
    logs: &[WireLog<'_>],
    wanted: Logs<'_, K>,
) -> Result<(Vec<ChainEvent<K>>, bool), ChainError> {
    let Logs { contracts, decode, from, to } = wanted;
    let mut events: Vec<ChainEvent<K>> = Vec::with_capacity(logs.len());
    let mut timeless = false;
    let mut data = Vec::with_capacity(256);
    for log in logs {
        if !contracts.iter().any(|contract| log.address.0 == contract.0) {
            let address = EvmAddress::from(log.address.0);
            return Err(inconsistent(format!("a log of {address} instead of {contracts:?}")));
        }
        if log.removed {
            return Err(inconsistent("a log that was removed by a reorganisation".into()));
        }
        let (Some(number), Some(hash), Some(transaction), Some(index)) =
            (log.block_number, log.block_hash, log.transaction_hash, log.log_index)
        else {
            return Err(inconsistent("a log without a block".into()));
        };
        let meta = EventMeta {
            block_number: hex_u64(number)?,
            block_hash: hash.0.into(),
            block_timestamp: log.block_timestamp.map_or(Ok(0), hex_u64)?,
            transaction: B256::new(transaction.0).into(),
            log_index: hex_u64(index)?,
        };
        if !(from..=to).contains(&meta.block_number) {
            return Err(inconsistent(format!("a log of block {} for the range {from}..={to}", meta.block_number)));
        }
        timeless |= log.block_timestamp.is_none();
        data.clear();
        data.resize(log.data.len().saturating_sub(2) / 2, 0);
        alloy::hex::decode_to_slice(log.data, &mut data)
            .map_err(|error| inconsistent(format!("log data is not hex: {error}")))?;
        if let Some(kind) = decode(log.topics.as_slice(), &data, &meta)? {
            events.push(ChainEvent { meta, kind });
        }
    }
    let place = |event: &ChainEvent<K>| (event.meta.block_number, event.meta.log_index);
    if !events.is_sorted_by_key(place) {
        events.sort_by_key(place);
    }
    if let Some(twice) = events.array_windows().find(|[one, next]| place(one) == place(next)).map(|[one, _]| place(one))
    {
        return Err(inconsistent(format!("two logs with number {} in block {}", twice.1, twice.0)));
    }
    Ok((events, timeless))
}

fn hex_u64(text: &str) -> Result<u64, ChainError> {
    let digits = text.strip_prefix("0x").unwrap_or("");
    u64::from_str_radix(digits, 16).map_err(|_| inconsistent(format!("{text:?} is not a hex number")))
}

fn inconsistent(what: String) -> ChainError {
    ChainError::Inconsistent(what)
}
