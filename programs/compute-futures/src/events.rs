//! What happened, for readers off chain: the events of `IComputeFutures`, one an instruction.
//!
//! Recorded as the data of a call to this program itself (as `emit_cpi!` does), because logs can be cut short by whoever calls
//! this program from another one (docs/adr/010-solana.md).

use anchor_lang::Discriminator;
use anchor_lang::prelude::*;
use compute_program_common::events;

use crate::state::Tier;

/// An operator's terms for accounts opened from now on; the first ones register it.
#[event]
pub struct TermsSet {
    /// Index of the operator.
    pub operator_index: u32,
    /// Its authority.
    pub operator: Pubkey,
    /// From 1.
    pub terms_version: u32,
    /// Seconds between request and refund (I-4).
    pub refund_delay: u32,
    /// Smallest amount that opens an account, micro-USDC.
    pub minimum_deposit: u64,
    /// keccak256 of the rate card in canonical JSON.
    pub rate_card_hash: [u8; 32],
    /// Rising in both fields.
    pub tiers: Vec<Tier>,
}

/// Credit came in; micro-USDC throughout.
#[event]
pub struct Deposited {
    /// Account id.
    pub account: u64,
    /// Whose tokens: the funder, or the deposit address.
    pub payer: Pubkey,
    /// How much more.
    pub amount: u64,
    /// How much in all.
    pub credit: u64,
    /// What the total has earned (I-3).
    pub discount_bps: u16,
    /// The floor before `discount_from_batch`.
    pub previous_discount_bps: u16,
    /// First batch for which `discount_bps` binds.
    pub discount_from_batch: u64,
    /// The account is new.
    pub opened: Option<Opened>,
    /// The ceiling rose with the deposit (I-2).
    pub raised: Option<Raised>,
    /// It came by way of a deposit address.
    pub swept: Option<Swept>,
}

/// What is said of a new account.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Who can take the credit back.
    pub owner: Pubkey,
    /// Who can charge it.
    pub operator_index: u32,
    /// The terms it has for life.
    pub terms_version: u32,
}

/// A ceiling that rose.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// Owner or delegate.
    pub signer: Pubkey,
    /// Cumulative cap on what is charged.
    pub ceiling: u64,
}

/// A deposit address that was emptied.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The address.
    pub deposit_address: Pubkey,
    /// What became operator earnings, on top of the amount.
    pub fee: u64,
}

/// The ceiling rose (I-2).
#[event]
pub struct CeilingRaised {
    /// Account id.
    pub account: u64,
    /// Owner or delegate, who signed the transaction or the message.
    pub signer: Pubkey,
    /// Cumulative cap on what is charged.
    pub ceiling: u64,
}

/// The session key of the account changed.
#[event]
pub struct DelegateSet {
    /// Account id.
    pub account: u64,
    /// None: cleared.
    pub delegate: Option<Pubkey>,
}

/// A batch was posted, once (I-5).
#[event]
pub struct BatchPosted {
    /// Index of the operator.
    pub operator_index: u32,
    /// One more than the batch before.
    pub batch_number: u64,
    /// Merkle root of the receipts (I-7).
    pub receipts_root: [u8; 32],
    /// As the operator states it.
    pub receipt_count: u32,
    /// What became operator earnings.
    pub charged: u64,
    /// What each row became.
    pub rows: Vec<DebitRow>,
}

/// What a row was about.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// This operator's open account: charged, as far as it goes.
    Charged,
    /// No open account: closed, or never there. Nothing was charged.
    Missing,
    /// Another operator's account: nothing was charged and nothing about it changed.
    Foreign,
}

/// What became of a row (I-6).
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Debug, PartialEq, Eq)]
pub struct DebitRow {
    /// What the row was about.
    pub kind: RowKind,
    /// Account id.
    pub account: u64,
    /// Before discount.
    pub list_amount: u64,
    /// The discount applied.
    pub discount_bps: u16,
    /// What was charged.
    pub charged: u64,
    /// What was ever charged to the account, after it.
    pub total_charged: u64,
    /// Carried into the account's next row, in 1/10,000 micro-USDC.
    pub remainder: u16,
    /// What was not charged, net of discount.
    pub uncovered: u64,
}

/// The owner is leaving (I-4).
#[event]
pub struct RefundRequested {
    /// Account id.
    pub account: u64,
    /// Its owner.
    pub owner: Pubkey,
    /// Unix seconds from which `refund` pays.
    pub refundable_at: u64,
}

/// The account is gone and everything unspent went to the owner (I-4).
#[event]
pub struct Refunded {
    /// Account id.
    pub account: u64,
    /// Who got it.
    pub owner: Pubkey,
    /// How much.
    pub amount: u64,
    /// The consent path.
    pub by_operator: bool,
}

/// The operator took earnings.
#[event]
pub struct EarningsWithdrawn {
    /// Index of the operator.
    pub operator_index: u32,
    /// Owner of the token account.
    pub to: Pubkey,
    /// Where it went.
    pub token_account: Pubkey,
    /// How much.
    pub amount: u64,
}

/// The owner got tokens back from a deposit address that never were credit.
#[event]
pub struct Recovered {
    /// The address.
    pub deposit_address: Pubkey,
    /// Who got them.
    pub owner: Pubkey,
    /// The mint.
    pub token: Pubkey,
    /// In the token's own units.
    pub amount: u64,
}

/// Records `event`. `authority` has been checked by `#[event_cpi]`.
pub(crate) fn record<E: AnchorSerialize + Discriminator>(authority: &AccountInfo<'_>, event: &E) -> Result<()> {
    events::record(crate::ID, authority, crate::EVENT_AUTHORITY_AND_BUMP.1, event)
}
