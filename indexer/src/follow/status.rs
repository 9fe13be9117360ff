//! What following tells the rest of the process: how it goes, and which accounts changed.

use std::sync::Arc;

use compute_futures_chain::{BlockRef, Heads};
use compute_futures_protocol::{AccountId, Chain};
use tokio::sync::{broadcast, watch};

use super::Progress;

/// Changes a slow subscriber may lag behind before it is sent a fresh snapshot.
const BACKLOG: usize = 1024;

/// How following goes.
#[derive(Debug, Clone, Default)]
pub struct FollowStatus {
    /// Whether the chain was reached since the start of the process.
    pub connected: bool,
    /// What the database holds.
    pub progress: Option<Progress>,
    /// Newest block seen on the chain.
    pub head: Option<BlockRef>,
    /// Whether the newest look at the chain found nothing left to do.
    pub in_sync: bool,
    /// Events written since the start of the process.
    pub events: u64,
    /// The newest failure, while it lasts.
    pub failure: Option<String>,
    /// Set when following has stopped for good.
    pub halted: Option<String>,
}

/// Accounts that changed with one transaction.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which; `None` means any.
    pub accounts: Option<Arc<[AccountId]>>,
    /// Whether blocks were rolled back, so that balances may have moved backwards.
    pub reorg: bool,
}

/// The one who follows writes; handlers and live balances read. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    network: Chain,
    status: watch::Sender<FollowStatus>,
    changes: broadcast::Sender<Change>,
}

impl Feed {
    /// Of one network.
    #[must_use]
    pub fn new(network: Chain) -> Self {
        Self { network, status: watch::Sender::new(FollowStatus::default()), changes: broadcast::Sender::new(BACKLOG) }
    }

    /// Whose.
    #[must_use]
    pub fn network(&self) -> Chain {
        self.network
    }

    /// How it goes now.
    #[must_use]
    pub fn status(&self) -> FollowStatus {
        self.status.borrow().clone()
    }

    /// Waits for the status to change; for tests and for whoever waits for a block.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<FollowStatus> {
        self.status.subscribe()
    }

    /// Changes from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    pub(super) fn saw(&self, heads: &Heads, progress: &Progress) {
        let lag = heads.latest.number.saturating_sub(progress.block_number);
        self.gauge("indexer_head_block", heads.latest.number);
        self.gauge("indexer_finalized_block", heads.finalized);
        self.gauge("indexer_lag_blocks", lag);
        self.status.send_modify(|status| {
            status.head = Some(heads.latest);
            status.progress = Some(*progress);
            status.in_sync = lag == 0;
        });
    }

    pub(super) fn changed(&self, progress: Progress, accounts: Vec<AccountId>, reorg: bool) {
        self.gauge("indexer_block", progress.block_number);
        self.status.send_modify(|status| status.progress = Some(progress));
        if !accounts.is_empty() {
            // Nobody listening is no failure.
            let _ = self.changes.send(Change { accounts: Some(accounts.into()), reorg });
        }
    }

    pub(super) fn everything_changed(&self, progress: Progress) {
        self.status.send_modify(|status| status.progress = Some(progress));
        let _ = self.changes.send(Change { accounts: None, reorg: false });
    }

    pub(super) fn wrote(&self, events: u64) {
        self.status.send_modify(|status| status.events += events);
    }

    pub(super) fn healthy(&self) {
        self.status.send_modify(|status| status.failure = None);
    }

    pub(crate) fn failed(&self, failure: String) {
        self.count("indexer_failures_total", 1);
        self.status.send_modify(|status| {
            status.in_sync = false;
            status.failure = Some(failure);
        });
    }

    pub(crate) fn halted(&self, reason: String) {
        self.gauge("indexer_halted", 1);
        self.status.send_modify(|status| {
            status.in_sync = false;
            status.halted = Some(reason);
        });
    }

    pub(crate) fn connected(&self) {
        self.status.send_modify(|status| {
            status.connected = true;
            status.failure = None;
        });
    }

    /// Sets this network's gauge to a whole number.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floats; block numbers and counts fit")]
    pub(crate) fn gauge(&self, name: &'static str, value: u64) {
        metrics::gauge!(name, "network" => self.network.caip2()).set(value as f64);
    }

    /// Adds to this network's counter.
    pub(crate) fn count(&self, name: &'static str, by: u64) {
        metrics::counter!(name, "network" => self.network.caip2()).increment(by);
    }
}
