//! What a running devnet says about itself: `target/devnet.json`, there only while everything is ready.

use std::path::{Path, PathBuf};

use compute_futures_chain::evm::{EvmConfig, MarketContracts};
use compute_futures_chain::solana::{MarketPrograms, SolanaConfig};
use compute_futures_protocol::{Address, Chain, EvmAddress, SolanaAddress};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::chain::{Deployment, MarketAt, name_of};
use crate::failure::{Failure, Outcome};

/// Where the devnet writes it and everybody looks for it.
pub const DEFAULT_FILE: &str = "target/devnet.json";

/// A running devnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DevnetFile {
    /// The relayer.
    #[serde(serialize_with = "bare")]
    pub relayer: Url,
    /// The indexer.
    #[serde(serialize_with = "bare")]
    pub indexer: Url,
    /// Its Base, unless it was started without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evm: Option<EvmNet>,
    /// Its Solana, unless it was started without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solana: Option<SolanaNet>,
    /// Where its state, logs and keys are.
    pub dir: PathBuf,
    /// File with the token of the relayer's admin interface.
    pub admin_token_file: PathBuf,
    /// Process id of the devnet.
    pub pid: u32,
}

/// The Base of a devnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvmNet {
    /// RPC URL.
    #[serde(serialize_with = "bare")]
    pub rpc: Url,
    /// 8453, as Base.
    pub chain_id: u64,
    /// Circle's USDC, at its address on Base.
    pub usdc: EvmAddress,
    /// The contract.
    pub compute_futures: EvmAddress,
    /// Block of its deployment.
    pub deployment_block: u64,
    /// The registry of the marketplace.
    pub provider_registry: EvmAddress,
    /// The escrows of the marketplace.
    pub compute_escrow: EvmAddress,
    /// Block of their deployment.
    pub market_block: u64,
    /// The operator.
    pub operator: Address,
    /// Its index.
    pub operator_index: u32,
    /// Private keys that hold ETH and USDC. They are public knowledge: never use them elsewhere.
    pub funded_keys: Vec<String>,
}

/// The Solana of a devnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SolanaNet {
    /// RPC URL.
    #[serde(serialize_with = "bare")]
    pub rpc: Url,
    /// Its WebSocket.
    #[serde(serialize_with = "bare")]
    pub ws: Url,
    /// The mint of USDC, at its address on mainnet.
    pub usdc_mint: SolanaAddress,
    /// The program.
    pub program: SolanaAddress,
    /// Slot of its deployment, and of the marketplace's.
    pub deployment_slot: u64,
    /// The program with the marketplace's registry.
    pub provider_registry: SolanaAddress,
    /// The program with the marketplace's escrows.
    pub compute_escrow: SolanaAddress,
    /// The operator.
    pub operator: Address,
    /// Its index.
    pub operator_index: u32,
    /// Keypairs in base58 that hold SOL and USDC. They are public knowledge: never use them elsewhere.
    pub funded_keys: Vec<String>,
}

/// Without the trailing slash, so that a path can be appended.
fn bare<S: serde::Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(url.as_str().trim_end_matches('/'))
}

impl DevnetFile {
    /// Reads it.
    ///
    /// # Errors
    /// When no devnet has written it.
    pub fn read(path: &Path) -> Outcome<Self> {
        let hint = "start one with `compute-futures devnet` in another terminal, or name a network: --network base --relayer URL";
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::new("no_devnet", format!("no devnet is running here ({}: {error})", path.display()), hint)
        })?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::new("no_devnet", format!("{} cannot be read: {error}", path.display()), hint))
    }

    /// The deployment on `chain`.
    ///
    /// # Errors
    /// When the devnet was started without that chain.
    pub fn deployment(&self, chain: Chain) -> Outcome<Deployment> {
        let missing = || {
            Failure::new(
                "not_in_this_devnet",
                format!("this devnet has no {}", name_of(chain)),
                "start it without --only, or choose its other network: --network local | local-solana",
            )
        };
        if chain.evm_chain_id().is_some() {
            let evm = self.evm.as_ref().ok_or_else(missing)?;
            let mut config = EvmConfig::new(Chain::Base, vec![evm.rpc.clone()], evm.compute_futures, evm.usdc);
            config.deployment_block = Some(evm.deployment_block);
            return Ok(Deployment::Evm(config));
        }
        let solana = self.solana.as_ref().ok_or_else(missing)?;
        let mut config = SolanaConfig::new(Chain::Solana, vec![solana.rpc.clone()], solana.program);
        config.deployment_slot = solana.deployment_slot;
        Ok(Deployment::Solana(config))
    }

    /// The marketplace on `chain`.
    #[must_use]
    pub fn market(&self, chain: Chain) -> Option<MarketAt> {
        if chain.evm_chain_id().is_some() {
            let evm = self.evm.as_ref()?;
            let contracts = MarketContracts { registry: evm.provider_registry, escrow: evm.compute_escrow };
            return Some(MarketAt::Evm(contracts, Some(evm.market_block)));
        }
        let solana = self.solana.as_ref()?;
        let programs = MarketPrograms { registry: solana.provider_registry, escrow: solana.compute_escrow };
        Some(MarketAt::Solana(programs, solana.deployment_slot))
    }

    /// The funded keys on `chain`; none when the devnet was started without it.
    #[must_use]
    pub fn funded_keys(&self, chain: Chain) -> &[String] {
        let keys = if chain.evm_chain_id().is_some() {
            self.evm.as_ref().map(|evm| &evm.funded_keys)
        } else {
            self.solana.as_ref().map(|solana| &solana.funded_keys)
        };
        keys.map(Vec::as_slice).unwrap_or_default()
    }

    /// The operator on `chain` and its index.
    #[must_use]
    pub fn operator(&self, chain: Chain) -> Option<(Address, u32)> {
        if chain.evm_chain_id().is_some() {
            return self.evm.as_ref().map(|evm| (evm.operator, evm.operator_index));
        }
        self.solana.as_ref().map(|solana| (solana.operator, solana.operator_index))
    }

    /// The chains it has, Base first.
    #[must_use]
    pub fn chains(&self) -> Vec<Chain> {
        let base = self.evm.iter().map(|_| Chain::Base);
        base.chain(self.solana.iter().map(|_| Chain::Solana)).collect()
    }

    /// Writes it whole or not at all: a reader never sees half of it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, path: &Path) -> Outcome<()> {
        let failed = |error| Failure::file(path, &error);
        let text = serde_json::to_string_pretty(self).map_err(|error| Failure::broken(error.to_string()))?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let partial = path.with_extension(format!("json.{}", std::process::id()));
        std::fs::write(&partial, text + "\n").map_err(failed)?;
        std::fs::rename(&partial, path).map_err(failed)
    }
}
