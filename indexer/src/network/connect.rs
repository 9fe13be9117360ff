//! From settings to a reader of the chain.

use std::sync::Arc;

use compute_futures_chain::{
    ChainReader,
    evm::{EvmConfig, EvmReader},
    solana::{SolanaConfig, SolanaReader},
};
use futures::{FutureExt, future::BoxFuture};
use url::Url;

use crate::{
    config::{FollowConfig, NetworkConfig},
    error::{IndexerError, Result},
};

/// Tries to reach a chain; may be tried again.
pub(crate) type Connect = Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn ChainReader>>> + Send + Sync>;

/// A chain that is at hand already.
pub(crate) fn at_hand(reader: Arc<dyn ChainReader>) -> Connect {
    Box::new(move || futures::future::ready(Ok(Arc::clone(&reader))).boxed())
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
        return Ok(Box::new(move || {
            let evm = evm.clone();
            async move { Ok(EvmReader::connect(evm).await? as Arc<dyn ChainReader>) }.boxed()
        }));
    }
    let program = network.contract.solana().ok_or_else(|| other("contract"))?;
    let mut solana = SolanaConfig::new(network.network, urls, program);
    solana.deployment_slot = network.deployment_block;
    Ok(Box::new(move || {
        let solana = solana.clone();
        async move { Ok(SolanaReader::connect(solana).await? as Arc<dyn ChainReader>) }.boxed()
    }))
}

/// The text may hold a key: it is not repeated.
fn url(section: &str, text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| {
        IndexerError::Config(format!("{section}.rpc_urls: one is not a URL ({error}); write it like https://host/path"))
    })
}
