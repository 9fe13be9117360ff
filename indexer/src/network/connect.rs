//! From settings to a reader of the chain.

use std::sync::Arc;

use compute_futures_chain::{
    evm::{EvmConfig, EvmMarket, EvmReader, MarketContracts},
    market::MarketReader,
    solana::{MarketPrograms, SolanaConfig, SolanaMarket, SolanaReader},
};
use futures::{FutureExt, future::BoxFuture};
use url::Url;

use crate::{
    config::{FollowConfig, NetworkConfig},
    error::{IndexerError, Result},
    follow::Source,
};

/// Tries to reach a chain; may be tried again.
pub(crate) type Connect = Box<dyn Fn() -> BoxFuture<'static, Result<Source>> + Send + Sync>;

/// A chain that is at hand already.
pub(crate) fn at_hand(source: Source) -> Connect {
    Box::new(move || futures::future::ready(Ok(source.clone())).boxed())
}

/// The chain of a section.
///
/// # Errors
/// URLs and addresses that are none.
pub(crate) fn as_configured(network: &NetworkConfig, follow: &FollowConfig) -> Result<Connect> {
    let section = network.section();
    let urls = network.rpc_urls.iter().map(|text| url(section, text)).collect::<Result<Vec<Url>>>()?;
    let other = |key: &str| IndexerError::Config(format!("{section}.{key} is no address on {}", network.network));
    if network.network.evm_chain_id().is_some() {
        let contract = network.contract.evm().ok_or_else(|| other("contract"))?;
        let token = network.token.evm().ok_or_else(|| other("token"))?;
        let mut evm = EvmConfig::new(network.network, urls, contract, token);
        evm.deployment_block = Some(network.deployment_block);
        evm.max_log_range = follow.max_range_blocks;
        let market = match (network.market_registry.evm(), network.market_escrow.evm()) {
            _ if !network.has_market() => None,
            (Some(registry), Some(escrow)) => Some(MarketContracts { registry, escrow }),
            _ => return Err(other("market_escrow")),
        };
        let block = network.market_deployment_block;
        return Ok(Box::new(move || {
            let evm = evm.clone();
            async move {
                let chain = EvmReader::connect(evm).await?;
                let market: Option<Arc<dyn MarketReader>> = match market {
                    None => None,
                    Some(at) => Some(EvmMarket::connect(Arc::clone(&chain), at, Some(block)).await?),
                };
                Ok(Source { chain, market })
            }
            .boxed()
        }));
    }
    let program = network.contract.solana().ok_or_else(|| other("contract"))?;
    let mut solana = SolanaConfig::new(network.network, urls, program);
    solana.deployment_slot = network.deployment_block;
    let market = match (network.market_registry.solana(), network.market_escrow.solana()) {
        _ if !network.has_market() => None,
        (Some(registry), Some(escrow)) => Some(MarketPrograms { registry, escrow }),
        _ => return Err(other("market_escrow")),
    };
    let slot = network.market_deployment_block;
    Ok(Box::new(move || {
        let solana = solana.clone();
        async move {
            let chain = SolanaReader::connect(solana).await?;
            let market: Option<Arc<dyn MarketReader>> = match market {
                None => None,
                Some(at) => Some(SolanaMarket::connect(Arc::clone(&chain), at, slot).await?),
            };
            Ok(Source { chain, market })
        }
        .boxed()
    }))
}

/// The text may hold a key: it is not repeated.
fn url(section: &str, text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| {
        IndexerError::Config(format!("{section}.rpc_urls: one is not a URL ({error}); write it like https://host/path"))
    })
}
