//! One network as of one block: what an answer is made of.

use std::ops::Deref;

use compute_futures_protocol::Chain;

use super::error::{ApiError, ApiResult};
use crate::{error::Result, follow::Progress, network::Network, store::Tx};

/// The newest stored block of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    /// Which network.
    pub network: Chain,
    /// How far it is stored.
    pub progress: Progress,
}

impl Deref for Now {
    type Target = Progress;

    fn deref(&self) -> &Progress {
        &self.progress
    }
}

/// A consistent look at what is stored of a network; `None` when that is nothing yet.
pub(super) async fn look(network: &Network) -> Result<Option<(Tx, Now)>> {
    let mut tx = network.store.snapshot().await?;
    let progress = Progress::load_in(&mut tx).await?;
    Ok(progress.map(|progress| (tx, Now { network: network.chain, progress })))
}

/// As [`look`]; 503 when nothing is stored yet.
pub(super) async fn open(network: &Network) -> ApiResult<(Tx, Now)> {
    look(network).await?.ok_or_else(|| {
        ApiError::unavailable(
            "nothing_stored",
            format!("nothing is known of {} yet: its chain has not been reached", network.chain),
            "try again in a moment; /api/v1/networks says how it goes",
        )
    })
}
