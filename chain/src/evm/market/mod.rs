//! ProviderRegistry and ComputeEscrow on EVM chains: [`EvmMarket`] reads them, [`super::EvmWriter::with_market`] posts to them.

mod call;
mod decode;
mod reader;

use std::fmt;
use std::sync::{Arc, LazyLock};

use alloy::primitives::{Address as EvmAddress, Bytes};
use compute_futures_protocol::Chain;
use serde::{Deserialize, Serialize};

use self::decode::decode_market_event;
use super::EvmReader;
use super::bindings::ComputeEscrow as abi;
use super::logs::{LogSpan, Source};
use crate::market::{MarketAction, MarketEvent};
use crate::{ChainError, ChainReader};

/// Addresses of a deployment of the marketplace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketContracts {
    /// ProviderRegistry.
    pub registry: EvmAddress,
    /// ComputeEscrow.
    pub escrow: EvmAddress,
}

/// One deployment of the marketplace on the chain of a reader.
pub struct EvmMarket {
    reader: Arc<EvmReader>,
    /// Registry, then escrow.
    contracts: [EvmAddress; 2],
    vault_implementation: EvmAddress,
    deployment_block: u64,
    span: LogSpan,
}

impl fmt::Debug for EvmMarket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvmMarket")
            .field("reader", &self.reader)
            .field("contracts", &self.contracts)
            .finish_non_exhaustive()
    }
}

impl EvmMarket {
    /// Checks that the contracts are there and belong together. Without `deployment_block` it is searched for, which needs an
    /// endpoint with old state.
    ///
    /// # Errors
    /// [`ChainError::Config`] says which setting is wrong; [`ChainError::Unavailable`] when no endpoint answers.
    pub async fn connect(
        reader: Arc<EvmReader>,
        at: MarketContracts,
        deployment_block: Option<u64>,
    ) -> Result<Arc<Self>, ChainError> {
        let chain = reader.chain();
        if !reader.has_code(at.escrow, "latest").await? {
            return Err(ChainError::Config(format!(
                "there is no contract at {} on {chain}; check the ComputeEscrow address",
                at.escrow
            )));
        }
        let no_market = |error| match error {
            ChainError::Inconsistent(_) | ChainError::Reverted { .. } => {
                ChainError::Config(format!("the contract at {} is not a ComputeEscrow contract", at.escrow))
            }
            other => other,
        };
        let registry = reader.view(at.escrow, abi::registryCall {}).await.map_err(no_market)?;
        let token = reader.view(at.escrow, abi::tokenCall {}).await.map_err(no_market)?;
        if registry != at.registry || token != reader.token {
            return Err(ChainError::Config(format!(
                "the ComputeEscrow at {} belongs to the registry {registry} and the token {token}; set these",
                at.escrow
            )));
        }
        let vault_implementation = reader.view(at.escrow, abi::vaultImplementationCall {}).await.map_err(no_market)?;
        let deployment_block = match deployment_block {
            Some(block) => block,
            // The registry's constructor argument says that it was first.
            None => reader.find_deployment(at.registry).await?,
        };
        let span = LogSpan::new(reader.log_span.most());
        let contracts = [at.registry, at.escrow];
        Ok(Arc::new(Self { reader, contracts, vault_implementation, deployment_block, span }))
    }

    const fn registry_address(&self) -> EvmAddress {
        self.contracts[0]
    }

    pub(super) const fn escrow_address(&self) -> EvmAddress {
        self.contracts[1]
    }

    fn source(&self) -> Source<'_, MarketEvent> {
        Source { contracts: &self.contracts, decode: decode_market_event, span: &self.span }
    }

    /// Receiver and call data of a verb.
    pub(super) fn encode(&self, verb: &MarketAction) -> Result<(EvmAddress, Bytes), ChainError> {
        let at = MarketContracts { registry: self.registry_address(), escrow: self.escrow_address() };
        call::encode(verb, at, self.reader.token)
    }
}

/// Where the deterministic deployment puts the marketplace on `chain`; `None` for chains without USDC of Circle's known to us.
#[must_use]
pub fn published_market(chain: Chain) -> Option<MarketContracts> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        compute_escrow: EvmAddress,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Market {
        provider_registry: EvmAddress,
        deployments: std::collections::BTreeMap<String, Entry>,
    }
    #[derive(Deserialize)]
    struct File {
        market: Market,
    }
    // Committed and generated, so a failure here would fail every test; no chain is then known.
    static FILE: LazyLock<Option<File>> =
        LazyLock::new(|| serde_json::from_str(include_str!("../../../../contracts/abi/deployment.json")).ok());

    let market = &FILE.as_ref()?.market;
    let escrow = market.deployments.get(&chain.evm_chain_id()?.to_string())?.compute_escrow;
    Some(MarketContracts { registry: market.provider_registry, escrow })
}
