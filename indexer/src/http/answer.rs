//! Pieces that many answers share: amounts, certainty, pages.

use compute_futures_chain::Finality;
use compute_futures_protocol::{Address, Chain, TransactionId, Usdc};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

use super::view::Now;
use crate::{follow::Progress, project::Position};

/// An amount of USDC, exact, twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Amount {
    /// Micro-USDC (6 decimals), as a decimal string.
    #[schema(example = "42473000")]
    pub micro_usdc: String,
    /// USDC, as a decimal string.
    #[schema(example = "42.473")]
    pub usdc: String,
}

impl From<Usdc> for Amount {
    fn from(amount: Usdc) -> Self {
        Self { micro_usdc: amount.micros().to_string(), usdc: amount.to_string() }
    }
}

/// Sums may exceed what one account can hold.
impl From<u64> for Amount {
    fn from(micros: u64) -> Self {
        let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let usdc = if fraction == 0 {
            whole.to_string()
        } else {
            format!("{whole}.{fraction:06}").trim_end_matches('0').to_owned()
        };
        Self { micro_usdc: micros.to_string(), usdc }
    }
}

/// Which block an answer speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AsOf {
    /// CAIP-2 name of the network.
    #[schema(value_type = String, example = "eip155:8453")]
    pub network: Chain,
    /// Block number; on Solana the slot.
    pub block: u64,
    /// Its hash; absent when the answer is about an earlier, more certain block than the newest stored one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_hash: Option<String>,
    /// `latest`, `safe` or `finalized`.
    #[schema(value_type = String, example = "safe")]
    pub finality: Finality,
    /// Newest safe block.
    pub safe: u64,
    /// Newest finalized block.
    pub finalized: u64,
}

impl From<&Now> for AsOf {
    fn from(now: &Now) -> Self {
        Self {
            network: now.network,
            block: now.block_number,
            block_hash: Some(now.block_hash.to_string()),
            finality: now.finality_of(now.block_number),
            safe: now.safe,
            finalized: now.finalized,
        }
    }
}

/// Where an event stands on chain, and how certain that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place {
    /// Block number; on Solana the slot.
    pub block: u64,
    /// Index among the block's logs; on Solana among the program's events of the slot.
    pub log_index: u64,
    /// Time of the block, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The transaction: its hash, on Solana its signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// `latest`, `safe` or `finalized`.
    #[schema(value_type = String, example = "finalized")]
    pub finality: Finality,
}

impl Place {
    /// From what rows hold.
    pub(super) fn new(
        position: u64,
        time: Option<u64>,
        transaction: Option<TransactionId>,
        progress: &Progress,
    ) -> Self {
        let position = Position::from_u64(position);
        Self {
            block: position.block(),
            log_index: position.log_index(),
            time: time.and_then(rfc3339),
            transaction: transaction.map(|hash| hash.to_string()),
            finality: progress.finality_of(position.block()),
        }
    }
}

/// One page of a list, newest first unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Pass as `cursor` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Which block the list speaks of.
    pub as_of: AsOf,
}

impl<T> Page<T> {
    /// Cuts a list that was asked one entry too many; `key` is the cursor of an entry.
    pub(super) fn cut(mut items: Vec<(u64, T)>, limit: usize, now: &Now) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|(key, _)| key.to_string()) } else { None };
        Self { items: items.into_iter().map(|(_, item)| item).collect(), next, as_of: now.into() }
    }
}

/// Seconds since 1970 as RFC 3339.
pub(super) fn rfc3339(seconds: u64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds.cast_signed()).ok()?.format(&Rfc3339).ok()
}

/// An address as people write it: on EVM chains with its checksum.
pub(super) fn address(address: Address) -> String {
    address.to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn wide_and_narrow_amounts_print_alike(micros in 0u64..1 << 56) {
            prop_assert_eq!(Amount::from(micros), Amount::from(Usdc::from_micros(micros)));
        }
    }

    #[test]
    fn a_page_knows_whether_there_is_more() {
        let progress = Progress {
            block_number: 9,
            block_hash: Default::default(),
            block_time: 0,
            latest: 9,
            safe: 5,
            finalized: 3,
            reorgs: 0,
        };
        let now = Now { network: Chain::Solana, progress };
        let page = Page::cut(vec![(7, 'a'), (6, 'b'), (5, 'c')], 2, &now);
        assert_eq!((page.items, page.next.as_deref()), (vec!['a', 'b'], Some("6")));
        assert_eq!(Page::cut(vec![(7, 'a'), (6, 'b')], 2, &now).next, None);
        assert_eq!(page.as_of.finality, Finality::Latest);
    }
}
