//! The marketplace: who sells inference and at what price, budgets for agents, sessions and what they cost.
//!
//! The rules of ProviderRegistry and ComputeEscrow (docs/adr/014-marketplace.md), on both chains, checked with them against
//! `tests/vectors/market.json`.

mod call;
mod content;
mod escrow;
mod id;
mod messages;
mod request;
mod terms;

pub use call::{ProviderCall, SessionCall, SignedProviderCall};
pub use content::{ContentError, Model, ProviderContent, ProviderType, execution_cost};
pub use escrow::{
    AgentList, AgentState, Closing, EscrowError, EscrowState, MAX_SESSION_SECONDS, SessionState, SessionStatus,
};
pub use id::{SessionId, SessionIdError};
pub use messages::{MarketDomain, OpenSession, SessionCost, SessionReceipt};
pub use request::{FundingAuthorization, SessionRequest};
pub use terms::{EscrowTerms, MAX_FIRST_AGENTS, TermsFault, fund_nonce};

use alloy_primitives::Uint;

use crate::Usdc;

/// The most a session can be limited to, or cost: 48 bits of micro-USDC, 281 million USDC.
pub const MAX_SESSION_LIMIT: Usdc = Usdc::from_micros((1 << 48) - 1);
/// The latest time the chain can hold: 40 bits of seconds.
pub const MAX_TIME: u64 = (1 << 40) - 1;

/// An amount as the contract's uint48. What is read from JSON or a chain always fits.
fn uint48(amount: Usdc) -> Uint<48, 1> {
    Uint::saturating_from(amount.micros())
}

/// A time as the contract's uint40.
fn uint40(seconds: u64) -> Uint<40, 1> {
    Uint::saturating_from(seconds)
}

/// Amounts of at most 48 bits as decimal strings of micro-USDC.
mod session_amount {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::MAX_SESSION_LIMIT;
    use crate::Usdc;

    pub(super) fn serialize<S: Serializer>(amount: &Usdc, serializer: S) -> Result<S::Ok, S::Error> {
        amount.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Usdc, D::Error> {
        let amount = Usdc::deserialize(deserializer)?;
        if amount > MAX_SESSION_LIMIT {
            return Err(de::Error::custom(format_args!("at most {MAX_SESSION_LIMIT} USDC")));
        }
        Ok(amount)
    }
}

/// Times of at most 40 bits as decimal strings of seconds.
mod time {
    use serde::{Deserializer, Serializer, de};

    use super::MAX_TIME;
    use crate::serde_util::u64_string;

    pub(super) fn serialize<S: Serializer>(seconds: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        u64_string::serialize(seconds, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let seconds = u64_string::deserialize(deserializer)?;
        if seconds > MAX_TIME {
            return Err(de::Error::custom("a time has at most 40 bits of seconds"));
        }
        Ok(seconds)
    }
}
