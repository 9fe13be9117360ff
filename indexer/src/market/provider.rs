//! The current state of one provider.

use compute_futures_protocol::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    project::Position,
    store::{Bulk, Row},
};

/// A provider. Amounts in micro-USDC; what it publishes is in `market_contents`, version by version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRow {
    /// As the registry counts.
    pub id: u32,
    /// Who changes it and withdraws.
    pub owner: Address,
    /// Of its content; counts on at retirement.
    pub version: u32,
    /// What sessions are opened at; `None` once retired.
    pub content_hash: Option<B256>,
    /// Σ costs of closed sessions.
    pub earned: u64,
    /// Σ withdrawals.
    pub withdrawn: u64,
    /// Σ of what meters signed beyond sessions' limits, and nobody paid.
    pub uncovered: u64,
    /// Sessions ever opened.
    pub sessions: u64,
    /// Sessions that are open.
    pub open_sessions: u64,
    /// Sessions that were closed.
    pub closed: u64,
    /// Σ receipts of closed sessions.
    pub receipts: u64,
    /// Position of the first event.
    pub registered_at: u64,
    /// Position of the newest event.
    pub updated_at: u64,
}

impl ProviderRow {
    /// A provider nothing has happened to yet.
    #[must_use]
    pub fn new(id: u32, owner: Address, at: Position) -> Self {
        let (registered_at, updated_at) = (at.as_u64(), at.as_u64());
        Self {
            id,
            owner,
            version: 0,
            content_hash: None,
            earned: 0,
            withdrawn: 0,
            uncovered: 0,
            sessions: 0,
            open_sessions: 0,
            closed: 0,
            receipts: 0,
            registered_at,
            updated_at,
        }
    }

    /// Earned and not withdrawn.
    #[must_use]
    pub fn earnings(&self) -> u64 {
        self.earned.saturating_sub(self.withdrawn)
    }

    /// From its row in `market_providers`.
    pub fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.u32("id")?,
            owner: row.address("owner")?,
            version: row.u32("version")?,
            content_hash: row.opt_b256("content_hash")?,
            earned: row.u64("earned")?,
            withdrawn: row.u64("withdrawn")?,
            uncovered: row.u64("uncovered")?,
            sessions: row.u64("sessions")?,
            open_sessions: row.u64("open_sessions")?,
            closed: row.u64("closed")?,
            receipts: row.u64("receipts")?,
            registered_at: row.u64("registered_at")?,
            updated_at: row.u64("updated_at")?,
        })
    }

    pub(super) fn push_to(&self, bulk: &mut Bulk) {
        bulk.push([
            self.id.into(),
            self.owner.into(),
            self.version.into(),
            self.content_hash.into(),
            self.earned.into(),
            self.withdrawn.into(),
            self.uncovered.into(),
            self.sessions.into(),
            self.open_sessions.into(),
            self.closed.into(),
            self.receipts.into(),
            self.registered_at.into(),
            self.updated_at.into(),
        ]);
    }
}
