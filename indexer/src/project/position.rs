//! Where an event stands, as one number.

use compute_futures_chain::{ChainError, EventMeta};

/// Bits of the log index: a block of a million events is beyond any gas limit.
const LOG_BITS: u32 = 20;

/// `block number * 2^20 + log index`: orders events, pages through them, and makes "everything above a block" one range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

impl Position {
    /// The place of an event.
    ///
    /// # Errors
    /// A log index or block number that no chain has.
    pub fn of(meta: &EventMeta) -> Result<Self, ChainError> {
        if meta.log_index >> LOG_BITS != 0 || meta.block_number >> (63 - LOG_BITS) != 0 {
            return Err(ChainError::Inconsistent(format!("log {} of block {}", meta.log_index, meta.block_number)));
        }
        Ok(Self(meta.block_number << LOG_BITS | meta.log_index))
    }

    /// The first place in a block: also the place of what concerns the block as a whole.
    #[must_use]
    pub fn start_of(block: u64) -> Self {
        Self(block << LOG_BITS)
    }

    /// From the number in a row.
    #[must_use]
    pub fn from_u64(value: u64) -> Self {
        Self(value)
    }

    /// For a row.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// Its block.
    #[must_use]
    pub fn block(self) -> u64 {
        self.0 >> LOG_BITS
    }

    /// Its index among the block's logs.
    #[must_use]
    pub fn log_index(self) -> u64 {
        self.0 & ((1 << LOG_BITS) - 1)
    }
}

impl From<Position> for crate::store::Value {
    fn from(position: Position) -> Self {
        position.0.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use compute_futures_protocol::B256;
    use proptest::prelude::*;

    use super::*;

    fn meta(block_number: u64, log_index: u64) -> EventMeta {
        EventMeta {
            block_number,
            log_index,
            block_hash: B256::ZERO,
            block_timestamp: 0,
            transaction: B256::ZERO.into(),
        }
    }

    proptest! {
        #[test]
        fn orders_like_block_then_log(a in 0u64..1 << 40, i in 0u64..1 << 20, b in 0u64..1 << 40, j in 0u64..1 << 20) {
            let (p, q) = (Position::of(&meta(a, i)).unwrap(), Position::of(&meta(b, j)).unwrap());
            prop_assert_eq!(p.cmp(&q), (a, i).cmp(&(b, j)));
            prop_assert_eq!((p.block(), p.log_index()), (a, i));
            prop_assert_eq!(p >= Position::start_of(b + 1), a > b);
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert!(Position::of(&meta(1, 1 << 20)).is_err());
        assert!(Position::of(&meta(1 << 43, 0)).is_err());
    }
}
