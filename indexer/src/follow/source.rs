//! What is followed: the contract, and the marketplace where there is one, on the same chain.

use std::sync::Arc;

use compute_futures_chain::{
    ChainError, ChainEvent, ChainReader,
    market::{MarketEvent, MarketReader},
};

/// The readers of one network. Cheap to clone.
#[derive(Clone)]
pub struct Source {
    /// Blocks, and the contract.
    pub chain: Arc<dyn ChainReader>,
    /// The marketplace.
    pub market: Option<Arc<dyn MarketReader>>,
}

impl From<Arc<dyn ChainReader>> for Source {
    fn from(chain: Arc<dyn ChainReader>) -> Self {
        Self { chain, market: None }
    }
}

impl Source {
    /// The marketplace's events in blocks `from..=to`; `None` when none is followed.
    pub(super) async fn market_events(
        &self,
        from: u64,
        to: u64,
    ) -> Result<Option<Vec<ChainEvent<MarketEvent>>>, ChainError> {
        let Some(market) = &self.market else { return Ok(None) };
        let from = from.max(market.deployment_block());
        if from > to {
            return Ok(Some(Vec::new()));
        }
        market.events(from, to).await.map(Some)
    }
}
