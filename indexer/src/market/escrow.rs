//! The current state of one escrow.

use compute_futures_protocol::{Address, market::EscrowState};
use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    project::Position,
    store::{Bulk, Row},
};

/// An escrow. Amounts in micro-USDC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscrowRow {
    /// As ComputeEscrow counts.
    pub id: u32,
    /// Gets back whatever is not spent.
    pub creator: Address,
    /// The only meter its sessions may name; `None`: agents choose.
    pub meter: Option<Address>,
    /// Whether anyone may open sessions.
    pub open_to_all: bool,
    /// Its money, as the protocol's model holds it.
    pub state: EscrowState,
    /// Σ fundings.
    pub funded: u64,
    /// Σ costs of closed sessions.
    pub spent: u64,
    /// Paid back to the creator, at its expiry too.
    pub refunded: u64,
    /// Sessions that are open.
    pub open_sessions: u64,
    /// Position of the first event.
    pub created_at: u64,
    /// Position of the newest event.
    pub updated_at: u64,
}

impl EscrowRow {
    /// An escrow nothing has happened to yet.
    #[must_use]
    pub fn new(id: u32, creator: Address, state: EscrowState, at: Position) -> Self {
        let (created_at, updated_at) = (at.as_u64(), at.as_u64());
        Self {
            id,
            creator,
            meter: None,
            open_to_all: false,
            state,
            funded: 0,
            spent: 0,
            refunded: 0,
            open_sessions: 0,
            created_at,
            updated_at,
        }
    }

    /// From its row in `market_escrows`.
    pub fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.u32("id")?,
            creator: row.address("creator")?,
            meter: row.opt_address("meter")?,
            open_to_all: row.bool("open_to_all")?,
            state: EscrowState {
                expiry: row.u64("expiry")?,
                session_limit: row.usdc("session_limit")?,
                unreserved: row.usdc("unreserved")?,
                reserved: row.usdc("reserved")?,
                session_count: row.u32("session_count")?,
                closed: row.bool("emptied")?,
            },
            funded: row.u64("funded")?,
            spent: row.u64("spent")?,
            refunded: row.u64("refunded")?,
            open_sessions: row.u64("open_sessions")?,
            created_at: row.u64("created_at")?,
            updated_at: row.u64("updated_at")?,
        })
    }

    pub(super) fn push_to(&self, bulk: &mut Bulk) {
        bulk.push([
            self.id.into(),
            self.creator.into(),
            self.meter.into(),
            self.open_to_all.into(),
            self.state.expiry.into(),
            self.state.session_limit.into(),
            self.state.unreserved.into(),
            self.state.reserved.into(),
            self.state.session_count.into(),
            self.state.closed.into(),
            self.funded.into(),
            self.spent.into(),
            self.refunded.into(),
            self.open_sessions.into(),
            self.created_at.into(),
            self.updated_at.into(),
        ]);
    }
}
