//! The current state of one session.

use compute_futures_protocol::{
    Address, B256, TransactionId, Usdc,
    market::{SessionId, SessionState, SessionStatus},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{IndexerError, Result},
    store::{Bulk, Row},
};

/// A session: what it was opened at, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Escrow and sequence.
    pub id: SessionId,
    /// Who opened it.
    pub agent: Address,
    /// Who serves.
    pub provider_id: u32,
    /// Of the provider's content.
    pub provider_version: u32,
    /// The prices agreed to.
    pub content_hash: B256,
    /// Who signs the cost.
    pub meter: Address,
    /// Limit, deadline, and whether it is open; an escrow that is emptied lapses its sessions.
    pub state: SessionState,
    /// Whether the agent signed and somebody else brought it.
    pub by_signature: bool,
    /// Paid to the provider.
    pub cost: Usdc,
    /// Signed beyond the limit, and not paid.
    pub uncovered: Usdc,
    /// Receipts announced at its closing.
    pub receipt_count: u32,
    /// Their root; of a closed session.
    pub receipts_root: Option<B256>,
    /// Place of the closing among those of its provider (Solana).
    pub closing_number: Option<u64>,
    /// Position of its opening.
    pub opened_at: u64,
    /// Transaction of its opening.
    pub opened_tx: TransactionId,
    /// Position of its end.
    pub ended_at: Option<u64>,
    /// Transaction of its end.
    pub ended_tx: Option<TransactionId>,
    /// Time of the block of its end.
    pub ended_time: Option<u64>,
    /// Position of the newest event.
    pub updated_at: u64,
}

impl SessionRow {
    /// From its row in `market_sessions`.
    pub fn read(row: &Row) -> Result<Self> {
        let status = match row.u64("status")? {
            0 => SessionStatus::Open,
            1 => SessionStatus::Closed,
            2 => SessionStatus::Lapsed,
            other => return Err(IndexerError::Corrupt(format!("a session of status {other}"))),
        };
        Ok(Self {
            id: row.session("id")?,
            agent: row.address("agent")?,
            provider_id: row.u32("provider_id")?,
            provider_version: row.u32("provider_version")?,
            content_hash: row.b256("content_hash")?,
            meter: row.address("meter")?,
            state: SessionState { limit: row.usdc("session_limit")?, deadline: row.u64("deadline")?, status },
            by_signature: row.bool("by_signature")?,
            cost: row.usdc("cost")?,
            uncovered: row.usdc("uncovered")?,
            receipt_count: row.u32("receipt_count")?,
            receipts_root: row.opt_b256("receipts_root")?,
            closing_number: row.opt_u64("closing_number")?,
            opened_at: row.u64("opened_at")?,
            opened_tx: row.transaction("opened_tx")?,
            ended_at: row.opt_u64("ended_at")?,
            ended_tx: row.opt_transaction("ended_tx")?,
            ended_time: row.opt_u64("ended_time")?,
            updated_at: row.u64("updated_at")?,
        })
    }

    /// A status as rows hold it.
    #[must_use]
    pub fn number_of(status: SessionStatus) -> u64 {
        match status {
            SessionStatus::Open => 0,
            SessionStatus::Closed => 1,
            SessionStatus::Lapsed => 2,
        }
    }

    pub(super) fn push_to(&self, bulk: &mut Bulk) {
        bulk.push([
            self.id.into(),
            self.id.escrow().into(),
            self.agent.into(),
            self.provider_id.into(),
            self.provider_version.into(),
            self.content_hash.into(),
            self.meter.into(),
            self.state.limit.into(),
            self.state.deadline.into(),
            self.by_signature.into(),
            Self::number_of(self.state.status).into(),
            self.cost.into(),
            self.uncovered.into(),
            self.receipt_count.into(),
            self.receipts_root.into(),
            self.closing_number.into(),
            self.opened_at.into(),
            self.opened_tx.into(),
            self.ended_at.into(),
            self.ended_tx.into(),
            self.ended_time.into(),
            self.updated_at.into(),
        ]);
    }
}
