//! What runs for one network: reach its database and the chain, follow it, fetch receipts. A failure here is this network's alone.

use std::time::Duration;

use compute_futures_protocol::Address;
use tokio_util::sync::CancellationToken;

use super::{Connect, Meters, Network};
use crate::{
    config::Config,
    error::{IndexerError, Result},
    follow::{Follower, Progress, Source},
    receipts::Fetcher,
};

/// First pause after a chain could not be reached; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// See the module.
pub(crate) struct Task {
    network: Network,
    config: Config,
    connect: Connect,
    fetcher: Fetcher,
    meters: Option<Meters>,
}

impl Task {
    pub(super) fn new(
        network: Network,
        config: Config,
        connect: Connect,
        fetcher: Fetcher,
        meters: Option<Meters>,
    ) -> Self {
        Self { network, config, connect, fetcher, meters }
    }

    /// Until told to stop.
    ///
    /// # Errors
    /// What waiting does not mend: the network stays served from what is stored, and says so in its status.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<()> {
        let Self { network, config, connect, fetcher, meters } = self;
        let halted = |error: IndexerError| {
            tracing::error!(network = %network.chain, %error, "this network is not followed");
            network.feed.halted(error.to_string());
            Err(error)
        };
        let reached = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            reached = until_it_passes(&network, "the database", || network.store.prepare()) => reached,
        };
        if let Err(error) = reached {
            return halted(error);
        }
        // Published receipts do not need the chain.
        let mut asking = vec![tokio::spawn(fetcher.run(stop.clone()))];
        if let Some(Meters { receipts, outcomes }) = meters {
            asking.push(tokio::spawn(receipts.run(stop.clone())));
            asking.push(tokio::spawn(outcomes.run(stop.clone())));
        }
        let started = tokio::select! {
            () = stop.cancelled() => Ok(None),
            started = until_it_passes(&network, "the chain", || try_start(&network, &config, &connect)) => started.map(Some),
        };
        match started {
            Ok(Some(follower)) => follower.run(stop.clone()).await,
            Ok(None) => {}
            Err(error) => return halted(error),
        }
        for task in asking {
            if let Err(failure) = task.await {
                tracing::error!(network = %network.chain, %failure, "asking relayers ended badly");
            }
        }
        Ok(())
    }
}

/// Tries again for as long as waiting may help.
async fn until_it_passes<T, F: Future<Output = Result<T>>>(
    network: &Network,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T> {
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt().await {
            Ok(reached) => return Ok(reached),
            Err(error) if error.passes() => {
                tracing::warn!(network = %network.chain, %error, "cannot reach {what}, trying again");
                network.feed.failed(error.to_string());
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The chain answers, and is the one the database belongs to.
async fn try_start(network: &Network, config: &Config, connect: &Connect) -> Result<Follower> {
    let source = connect().await?;
    same(network, &source)?;
    let follower = Follower::new(network.store.clone(), source, config.clone(), network.feed.clone()).await?;
    network.feed.connected();
    let stored = Progress::load(&network.store).await?.map(|progress| progress.block_number);
    tracing::info!(network = %network.chain, contract = %network.contract, stored, "following");
    Ok(follower)
}

/// The chain must be the one that is served and that receipts are verified for.
fn same(network: &Network, source: &Source) -> Result<()> {
    let reader = &source.chain;
    let differs = |key: &str, configured: String, found: String| {
        Err(IndexerError::Config(format!("{key} of {} is {configured}, the chain's is {found}", network.chain)))
    };
    if reader.chain() != network.chain {
        return differs("network", network.chain.to_string(), reader.chain().to_string());
    }
    if reader.contract() != network.contract {
        return differs("contract", network.contract.to_string(), reader.contract().to_string());
    }
    if reader.token() != network.token {
        return differs("token", network.token.to_string(), reader.token().to_string());
    }
    let market = source.market.as_ref().map(|market| (market.registry(), market.escrow_contract()));
    if market != network.market.map(|market| (market.registry, market.escrow)) {
        let name = |market: Option<(Address, Address)>| {
            market.map_or("none".into(), |(registry, escrow)| format!("{registry} and {escrow}"))
        };
        let configured = network.market.map(|market| (market.registry, market.escrow));
        return differs("the marketplace", name(configured), name(market));
    }
    Ok(())
}
