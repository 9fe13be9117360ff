//! What the settlement's leader does for the marketplace, round after round.

use std::sync::Arc;
use std::time::{Duration, Instant};

use compute_futures_chain::ChainReader;
use compute_futures_chain::market::MarketReader;

use super::closing::{Closer, MOST_ROWS};
use super::follow::{Follower, cursor};
use crate::config::MarketConfig;
use crate::follow::{FollowConfig, Step};
use crate::ledger::Ledger;
use crate::settlement::SettlementError;

/// Most ranges of blocks taken in a round: the rest of settlement wants its turn too.
const RANGES: usize = 16;

/// Follows the marketplace, closes sessions and lapses them. One per network, moved into the settlement's task.
pub struct Keeper {
    follower: Follower,
    closer: Closer,
    /// When sessions were last looked at.
    looked: Option<Instant>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("looked", &self.looked).finish_non_exhaustive()
    }
}

impl Keeper {
    /// For the marketplace that `market` reads, on the chain that `chain` reads.
    #[must_use]
    pub fn new(
        ledger: Ledger,
        chain: Arc<dyn ChainReader>,
        market: Arc<dyn MarketReader>,
        follow: FollowConfig,
        settings: Arc<MarketConfig>,
    ) -> Self {
        let meter = ledger.identity().signer.address();
        let closer = Closer { ledger: ledger.clone(), domain: market.domain(), settings, rows: MOST_ROWS };
        Self { follower: Follower { ledger, chain, market, meter, config: follow }, closer, looked: None }
    }

    /// Before the first round: whether this ledger's marketplace is that one, and how many sessions fit one of its transactions.
    pub(crate) async fn prepare(&mut self, most_rows: u64) -> Result<(), SettlementError> {
        self.closer.rows = MOST_ROWS.min(most_rows).max(1);
        Ok(self.follower.check().await?)
    }

    /// One look at everything; `close`: sessions too.
    pub(crate) async fn round(&mut self, close: bool) -> Result<(), SettlementError> {
        let mut caught_up = false;
        for _ in 0..RANGES {
            match self.follower.step().await? {
                Step::Idle | Step::Advanced { caught_up: true, .. } => {
                    caught_up = true;
                    break;
                }
                Step::Advanced { .. } | Step::RolledBack { .. } => {}
            }
        }
        let interval = Duration::from_secs(self.closer.settings.close_interval_seconds);
        // Behind the chain, sessions may be over that look open.
        if !close || !caught_up || self.looked.is_some_and(|looked| looked.elapsed() < interval) {
            return Ok(());
        }
        let followed = cursor(&mut *self.follower.ledger.db.pool.acquire().await?).await?;
        if let Some(followed) = followed {
            self.closer.round(followed.timestamp).await?;
            self.looked = Some(Instant::now());
        }
        Ok(())
    }
}
