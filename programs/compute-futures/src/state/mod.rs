//! What the program stores, and the rules of each kind of account. Byte layouts: docs/adr/010-solana.md.

mod account;
mod deposit_address;
pub mod discount;
mod operator;
mod registry;
mod terms;

pub use account::{Charge, FuturesAccount};
pub use deposit_address::DepositAddress;
pub use operator::{MAX_PEAKS, Operator, RECENT_ROOTS};
pub use registry::{OperatorOf, Registry};
pub use terms::{MAX_REFUND_DELAY, MAX_THRESHOLD, MAX_TIERS, PackedTier, Tier, discount_for, pack_tiers};

use anchor_lang::prelude::*;

use crate::errors::ComputeFuturesError;

/// Largest credit, ceiling and fee: 56 bits, as on every chain.
pub const MAX_AMOUNT: u64 = (1 << 56) - 1;
/// Sequences fit 28 bits, so that every account has a futures id.
pub const LAST_SEQUENCE: u32 = (1 << 28) - 1;

/// Operator index (high 32 bits) and sequence (low 32 bits).
pub const fn account_id(operator_index: u32, sequence: u32) -> u64 {
    (operator_index as u64) << 32 | sequence as u64
}

/// Refuses amounts that no chain of the product could hold.
pub fn check_amount(amount: u64) -> Result<()> {
    require!(amount <= MAX_AMOUNT, ComputeFuturesError::AmountTooLarge);
    Ok(())
}
