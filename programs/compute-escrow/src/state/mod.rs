//! What the program stores, and the rules of each kind of account. Byte layouts: docs/adr/014-marketplace.md.

mod agent;
mod deposit_address;
mod earnings;
mod escrow;
mod session;

pub use agent::Agent;
pub use deposit_address::DepositAddress;
pub use earnings::{Earnings, MAX_PEAKS};
pub use escrow::{Escrow, Escrows, MAX_SESSION_SECONDS};
pub use session::{Session, session_id};

use anchor_lang::prelude::*;

/// The most an escrow holds: 56 bits, as on every chain.
pub const MAX_BUDGET: u64 = (1 << 56) - 1;
/// The most a session can be limited to, or cost: 48 bits, 281 million USDC.
pub const MAX_SESSION_LIMIT: u64 = (1 << 48) - 1;
/// The latest time that typed data can hold: 40 bits of seconds.
pub const MAX_TIME: u64 = (1 << 40) - 1;

/// Unix seconds.
pub fn now() -> Result<u64> {
    Ok(u64::try_from(Clock::get()?.unix_timestamp).unwrap_or_default())
}
