//! One agent of one escrow.

use compute_futures_protocol::Address;
use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    project::Position,
    store::{Bulk, Row},
};

/// An agent that is or was on an escrow's list, or opened a session of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRow {
    /// Whose money.
    pub escrow_id: u32,
    /// Who.
    pub agent: Address,
    /// On the list.
    pub allowed: bool,
    /// Signed openings so far: the nonce of the next.
    pub nonce: u32,
    /// Sessions ever opened.
    pub sessions: u64,
    /// Σ costs of its closed sessions, in micro-USDC.
    pub spent: u64,
    /// Position of the newest event.
    pub updated_at: u64,
}

impl AgentRow {
    /// An agent nothing has happened to yet.
    #[must_use]
    pub fn new(escrow_id: u32, agent: Address, at: Position) -> Self {
        Self { escrow_id, agent, allowed: false, nonce: 0, sessions: 0, spent: 0, updated_at: at.as_u64() }
    }

    /// From its row in `market_agents`.
    pub fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            escrow_id: row.u32("escrow_id")?,
            agent: row.address("agent")?,
            allowed: row.bool("allowed")?,
            nonce: row.u32("nonce")?,
            sessions: row.u64("sessions")?,
            spent: row.u64("spent")?,
            updated_at: row.u64("updated_at")?,
        })
    }

    pub(super) fn push_to(&self, bulk: &mut Bulk) {
        bulk.push([
            self.escrow_id.into(),
            self.agent.into(),
            self.allowed.into(),
            self.nonce.into(),
            self.sessions.into(),
            self.spent.into(),
            self.updated_at.into(),
        ]);
    }
}
