//! Everything that belongs to one chain: its database, what following says, and the tasks behind it. Networks share the process
//! and the port and nothing else, so that none waits for another (ADR 012).

mod connect;
mod task;

use std::{sync::Arc, time::Duration};

use compute_futures_protocol::{Address, Chain, Domain, market::MarketDomain};

pub(crate) use connect::{Connect, as_configured, at_hand};
pub(crate) use task::Task;

use crate::{
    config::{Config, NetworkConfig},
    error::{IndexerError, Result},
    follow::Feed,
    market::{MarketAt, OutcomePoller, SessionFetcher},
    receipts::{self, Fetcher},
    store::Store,
};

/// One network as requests see it: it can be served without its chain, from what is stored. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    /// Which chain.
    pub chain: Chain,
    /// The contract; on Solana the program.
    pub contract: Address,
    /// USDC; on Solana its mint.
    pub token: Address,
    /// The marketplace, where one is followed.
    pub market: Option<MarketAt>,
    /// Its database, and nobody else's.
    pub store: Store,
    /// How following goes.
    pub feed: Feed,
}

impl Network {
    /// Finds the network's database, and prepares the task that follows its chain.
    ///
    /// # Errors
    /// Settings that cannot work.
    pub(crate) fn open(config: &Config, network: &NetworkConfig, connect: Connect) -> Result<(Self, Task)> {
        let store = Store::at(&network.database_url, config.database.connections)?;
        let feed = Feed::new(network.network);
        let domain = Domain::new(network.network, network.contract)
            .map_err(|error| IndexerError::Config(format!("{}.contract: {error}", network.section())))?;
        let fetcher = Fetcher::new(store.clone(), feed.clone(), &config.receipts, &network.operators, domain)?;
        let market = network.has_market().then_some(MarketAt {
            registry: network.market_registry,
            escrow: network.market_escrow,
            deployment_block: network.market_deployment_block,
        });
        let (chain, contract, token) = (network.network, network.contract, network.token);
        let opened = Self { chain, contract, token, market, store, feed };
        let meters = match opened.market {
            None => None,
            Some(at) => Some(Meters::new(&opened, at, config, network)?),
        };
        let task = Task::new(opened.clone(), config.clone(), connect, fetcher, meters);
        Ok((opened, task))
    }
}

/// What asks the relayers that meter sessions.
pub(crate) struct Meters {
    pub(crate) receipts: SessionFetcher,
    pub(crate) outcomes: OutcomePoller,
}

impl Meters {
    fn new(opened: &Network, at: MarketAt, config: &Config, network: &NetworkConfig) -> Result<Self> {
        let domain = MarketDomain::new(opened.chain, at.escrow)
            .map_err(|error| IndexerError::Config(format!("{}.market_escrow: {error}", network.section())))?;
        let sources = Arc::new(receipts::clients(&config.receipts, &network.operators, opened.chain)?);
        let (store, feed) = (opened.store.clone(), opened.feed.clone());
        let every = Duration::from_secs(config.market.outcomes_seconds);
        Ok(Self {
            receipts: SessionFetcher {
                store: store.clone(),
                feed: feed.clone(),
                config: config.receipts.clone(),
                domain,
                sources: Arc::clone(&sources),
            },
            outcomes: OutcomePoller { store, feed, every, sources },
        })
    }
}
