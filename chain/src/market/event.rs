//! The marketplace's events in the words of the domain, the same for every chain.

use compute_futures_protocol::market::{ProviderContent, SessionId};
use compute_futures_protocol::{Address, B256, Usdc};
use serde::{Deserialize, Serialize};

/// What ProviderRegistry and ComputeEscrow say (see `IProviderRegistry` and `IComputeEscrow` for units and meaning). One event of the
/// programs on Solana is the same sequence as on EVM chains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum MarketEvent {
    ProviderRegistered {
        provider_id: u32,
        owner: Address,
        version: u32,
        content_hash: B256,
        /// `None` when it is no text (a contract takes any bytes): nobody can agree to prices that cannot be read.
        content: Option<ProviderContent>,
    },
    ProviderUpdated {
        provider_id: u32,
        owner: Address,
        version: u32,
        content_hash: B256,
        /// As in [`MarketEvent::ProviderRegistered`].
        content: Option<ProviderContent>,
    },
    ProviderRetired {
        provider_id: u32,
        owner: Address,
        version: u32,
    },
    EscrowCreated {
        escrow_id: u32,
        creator: Address,
        #[serde(with = "compute_futures_protocol::serde_util::u64_string")]
        expiry: u64,
        session_limit: Usdc,
        meter: Option<Address>,
        open_to_all: bool,
    },
    EscrowFunded {
        escrow_id: u32,
        payer: Address,
        amount: Usdc,
        unreserved: Usdc,
    },
    Swept {
        escrow_id: u32,
        deposit_address: Address,
        amount: Usdc,
    },
    Recovered {
        deposit_address: Address,
        creator: Address,
        token: Address,
        amount: String,
    },
    AgentAdded {
        escrow_id: u32,
        agent: Address,
    },
    AgentRemoved {
        escrow_id: u32,
        agent: Address,
    },
    SessionOpened {
        session: SessionId,
        agent: Address,
        provider_id: u32,
        provider_version: u32,
        content_hash: B256,
        meter: Address,
        limit: Usdc,
        #[serde(with = "compute_futures_protocol::serde_util::u64_string")]
        deadline: u64,
        by_signature: bool,
    },
    SessionClosed {
        session: SessionId,
        provider_id: u32,
        cost: Usdc,
        receipt_count: u32,
        receipts_root: B256,
        /// Place of the closing among those of its provider, from 1 (Solana, where that proves the receipts' root).
        number: Option<u64>,
    },
    SessionShortfall {
        session: SessionId,
        uncovered: Usdc,
    },
    SessionLapsed {
        session: SessionId,
        released: Usdc,
    },
    /// A row of a batch changed nothing. Rows are whatever their sender wrote: the number need be no session's.
    SessionRejected {
        #[serde(with = "compute_futures_protocol::serde_util::u64_string")]
        session: u64,
        /// Who sent the batch; Solana does not say it of lapses.
        caller: Option<Address>,
        reason: SessionRejection,
    },
    EscrowRefunded {
        escrow_id: u32,
        creator: Address,
        amount: Usdc,
        unreserved: Usdc,
    },
    /// Sessions still open lapsed with it, with no event of their own.
    EscrowExpired {
        escrow_id: u32,
        creator: Address,
        amount: Usdc,
    },
    EarningsWithdrawn {
        provider_id: u32,
        to: Address,
        amount: Usdc,
    },
}

/// Why a row of a batch changed nothing (I-6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionRejection {
    /// Never opened, or over.
    NotOpen,
    /// Too late to close.
    DeadlinePassed,
    /// Too early to lapse.
    DeadlineNotPassed,
    /// Not signed by the session's meter.
    InvalidSignature,
    /// The transaction named accounts that are not the session's (Solana): built wrongly, build it again.
    WrongAccounts,
}

impl SessionRejection {
    /// As the contracts number them; zero is no rejection.
    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::NotOpen,
            2 => Self::DeadlinePassed,
            3 => Self::DeadlineNotPassed,
            4 => Self::InvalidSignature,
            5 => Self::WrongAccounts,
            _ => return None,
        })
    }
}

impl MarketEvent {
    /// The session that the event changes. A rejected row changes none.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::SessionOpened { session, .. }
            | Self::SessionClosed { session, .. }
            | Self::SessionShortfall { session, .. }
            | Self::SessionLapsed { session, .. } => Some(*session),
            _ => None,
        }
    }

    /// The escrow whose money or agents the event is about, itself or by one of its sessions. Money recovered from a deposit address
    /// was in no escrow.
    #[must_use]
    pub fn escrow(&self) -> Option<u32> {
        match self {
            Self::EscrowCreated { escrow_id, .. }
            | Self::EscrowFunded { escrow_id, .. }
            | Self::Swept { escrow_id, .. }
            | Self::AgentAdded { escrow_id, .. }
            | Self::AgentRemoved { escrow_id, .. }
            | Self::EscrowRefunded { escrow_id, .. }
            | Self::EscrowExpired { escrow_id, .. } => Some(*escrow_id),
            of_session => of_session.session().map(SessionId::escrow),
        }
    }

    /// The provider whose content or earnings the event changes.
    #[must_use]
    pub const fn provider(&self) -> Option<u32> {
        match self {
            Self::ProviderRegistered { provider_id, .. }
            | Self::ProviderUpdated { provider_id, .. }
            | Self::ProviderRetired { provider_id, .. }
            | Self::SessionClosed { provider_id, .. }
            | Self::EarningsWithdrawn { provider_id, .. } => Some(*provider_id),
            _ => None,
        }
    }
}
