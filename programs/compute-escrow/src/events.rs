//! What happened, for readers off chain: the events of `IComputeEscrow`, one an instruction.

use anchor_lang::Discriminator;
use anchor_lang::prelude::*;
use compute_program_common::events;

use crate::terms::EscrowTerms;

/// Money came in; micro-USDC throughout.
#[event]
pub struct EscrowFunded {
    /// Escrow id.
    pub escrow: u32,
    /// Whose tokens: the funder, or the deposit address.
    pub payer: Pubkey,
    /// How much more.
    pub amount: u64,
    /// How much is free after it.
    pub unreserved: u64,
    /// The escrow is new, on these terms; their agents are on its list.
    pub created: Option<EscrowTerms>,
    /// It came by way of this deposit address.
    pub swept: Option<Pubkey>,
}

/// `agent` may open sessions.
#[event]
pub struct AgentAdded {
    /// Escrow id.
    pub escrow: u32,
    /// Who.
    pub agent: Pubkey,
}

/// `agent` may open no more sessions. Those it opened go on.
#[event]
pub struct AgentRemoved {
    /// Escrow id.
    pub escrow: u32,
    /// Who.
    pub agent: Pubkey,
}

/// `limit` moved from unreserved to reserved.
#[event]
pub struct SessionOpened {
    /// Escrow id (high 32 bits) and sequence (low 32 bits).
    pub session: u64,
    /// Who asked.
    pub agent: Pubkey,
    /// Who serves.
    pub provider: u32,
    /// Version of its content (I-11).
    pub provider_version: u32,
    /// Hash of that content: the prices agreed to (I-11).
    pub content_hash: [u8; 32],
    /// Who will sign the cost.
    pub meter: Pubkey,
    /// Most it may cost, micro-USDC (I-10).
    pub limit: u64,
    /// Last second in which it can be closed.
    pub deadline: u64,
    /// Relayed: the agent's nonce rose by one.
    pub by_signature: bool,
}

/// The session is over: `cost` became the provider's earnings, the rest of its limit is unreserved again.
#[event]
pub struct SessionClosed {
    /// Session id.
    pub session: u64,
    /// Who earned it.
    pub provider: u32,
    /// What was paid, at most the limit (I-10).
    pub cost: u64,
    /// What the meter signed beyond the limit, and was not paid.
    pub uncovered: u64,
    /// As the meter states it.
    pub receipt_count: u32,
    /// Merkle root of the receipts (I-7).
    pub receipts_root: [u8; 32],
    /// Number of the leaf in the provider's mountain range, from 1.
    pub number: u64,
}

/// A batch of closes, and what each row became (I-6).
#[event]
pub struct SessionsClosed {
    /// Who signed them all.
    pub meter: Pubkey,
    /// In order.
    pub rows: Vec<ClosedRow>,
}

/// What became of a row: a close, or what was asked and why nothing changed.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Debug, PartialEq, Eq)]
pub struct ClosedRow {
    /// Why nothing changed.
    pub rejection: Rejection,
    /// Session id, as the row states it.
    pub session: u64,
    /// Who earned it; zero when rejected.
    pub provider: u32,
    /// What was paid; zero when rejected.
    pub cost: u64,
    /// What was not, beyond the limit; zero when rejected.
    pub uncovered: u64,
    /// As the meter states it.
    pub receipt_count: u32,
    /// As the meter states it.
    pub receipts_root: [u8; 32],
    /// Number of the leaf in the provider's mountain range, from 1; zero when rejected.
    pub number: u64,
}

/// Why a row of a batch changed nothing (I-6). Numbers are those of `IComputeEscrow.Rejection`; the last is of this chain alone.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It did change something.
    None,
    /// Never opened, or closed or lapsed before.
    NotOpen,
    /// Too late to close.
    DeadlinePassed,
    /// Too early to lapse.
    DeadlineNotPassed,
    /// The session has another meter.
    InvalidSignature,
    /// Escrow, earnings or rent payer are not the session's, or not writable: the transaction was built wrongly.
    WrongAccounts,
}

/// Nobody closed the session in time: `released`, its whole limit, went back to unreserved.
#[event]
pub struct SessionLapsed {
    /// Session id.
    pub session: u64,
    /// Its limit.
    pub released: u64,
}

/// A batch of lapses, and what each row became (I-6).
#[event]
pub struct SessionsLapsed {
    /// In order.
    pub rows: Vec<LapsedRow>,
}

/// What became of a row.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Debug, PartialEq, Eq)]
pub struct LapsedRow {
    /// Why nothing changed.
    pub rejection: Rejection,
    /// Session id; zero when the account is no session (any more).
    pub session: u64,
    /// Its limit; zero when rejected.
    pub released: u64,
}

/// Unreserved money went back to the creator (I-4).
#[event]
pub struct EscrowRefunded {
    /// Escrow id.
    pub escrow: u32,
    /// Who got it.
    pub creator: Pubkey,
    /// How much.
    pub amount: u64,
    /// What is left free.
    pub unreserved: u64,
}

/// The escrow is over: everything in it went to the creator (I-4). Sessions still open lapsed with it, with no event of their own.
#[event]
pub struct EscrowExpired {
    /// Escrow id.
    pub escrow: u32,
    /// Who got it.
    pub creator: Pubkey,
    /// How much.
    pub amount: u64,
}

/// The provider's owner took earnings.
#[event]
pub struct EarningsWithdrawn {
    /// Provider id.
    pub provider: u32,
    /// Owner of the token account.
    pub to: Pubkey,
    /// Where it went.
    pub token_account: Pubkey,
    /// How much.
    pub amount: u64,
}

/// Tokens went from a deposit address back to the creator without becoming a budget.
#[event]
pub struct Recovered {
    /// The address.
    pub deposit_address: Pubkey,
    /// Who got them.
    pub creator: Pubkey,
    /// The mint.
    pub token: Pubkey,
    /// In the token's own units.
    pub amount: u64,
}

/// Records `event`. `authority` has been checked by `#[event_cpi]`.
pub(crate) fn record<E: AnchorSerialize + Discriminator>(authority: &AccountInfo<'_>, event: &E) -> Result<()> {
    events::record(crate::ID, authority, crate::EVENT_AUTHORITY_AND_BUMP.1, event)
}
