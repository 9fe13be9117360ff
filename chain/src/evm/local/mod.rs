//! A chain of one's own, for demonstrations and tests: anvil with chain id 8453, Circle's USDC at its address on Base, and the
//! contract where the deterministic deployment puts it. Clients made for Base work on it without any override.
//!
//! Nothing here belongs into production: keys are published ones, and anyone who reaches the port can mint. It listens on
//! 127.0.0.1 only. Behind the cargo feature `local`.

mod cheats;
mod genesis;
mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address as EvmAddress;
use compute_futures_protocol::{Chain, Signer};
use url::Url;

use self::process::Anvil;
use super::{EvmConfig, EvmMarket, EvmReader, EvmWriter, MarketContracts};
use crate::ChainError;

pub use self::cheats::Cheats;
pub use self::genesis::USDC;
pub use self::process::find_anvil;

/// Anvil's ten development keys (mnemonic "test test … junk"), each with 10,000 ether.
pub const DEV_KEYS: [&str; 10] = [
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "0x92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "0x4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    "0xdbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
];

/// How to start a local chain.
#[derive(Debug, Clone)]
pub struct LocalChainConfig {
    /// Port on 127.0.0.1; zero takes a free one.
    pub port: u16,
    /// A block this often; `None` mines a block for each transaction.
    pub block_time: Option<Duration>,
    /// Blocks in an epoch: the newest block less one epoch is safe, less two is finalized.
    pub slots_in_an_epoch: u64,
    /// Keeps Ctrl-C from it, which a terminal sends to a whole process group: whoever started it ends it after everything else.
    pub own_process_group: bool,
    /// The anvil binary. When absent: `$ANVIL`, then `node_modules` from here upwards, then `PATH`.
    pub anvil: Option<PathBuf>,
}

impl Default for LocalChainConfig {
    fn default() -> Self {
        Self { port: 0, block_time: None, slots_in_an_epoch: 1, own_process_group: false, anvil: None }
    }
}

/// A running local chain; dropping it ends the process. [`Cheats`] are its methods too.
#[derive(Debug)]
pub struct LocalChain {
    /// Where it listens.
    pub rpc_url: Url,
    /// 8453, as Base.
    pub chain_id: u64,
    /// Circle's USDC.
    pub usdc: EvmAddress,
    /// The ComputeFutures contract.
    pub contract: EvmAddress,
    /// Block the contract was deployed in.
    pub deployment_block: u64,
    /// ProviderRegistry and ComputeEscrow.
    pub market: MarketContracts,
    /// Block the marketplace was deployed in.
    pub market_block: u64,
    /// Private keys in hex, see [`DEV_KEYS`].
    pub keys: Vec<String>,
    cheats: Cheats,
    anvil: Anvil,
    block_time: Option<Duration>,
}

impl std::ops::Deref for LocalChain {
    type Target = Cheats;

    fn deref(&self) -> &Cheats {
        &self.cheats
    }
}

impl LocalChain {
    /// Starts one that mines a block for each transaction.
    ///
    /// # Errors
    /// [`ChainError::Config`] when anvil is not found or does not start.
    pub async fn start() -> Result<Self, ChainError> {
        Self::start_with(LocalChainConfig::default()).await
    }

    /// Starts one.
    ///
    /// # Errors
    /// [`ChainError::Config`] when anvil is not found or does not start.
    pub async fn start_with(config: LocalChainConfig) -> Result<Self, ChainError> {
        let block_time = config.block_time;
        let anvil = Anvil::spawn(&config).await?;
        let rpc_url = anvil.url();
        let contract = genesis::contract_address();
        let cheats = Cheats::attach(&rpc_url)?;
        let market = genesis::market_contracts();
        let market_block = genesis::deploy_market(&cheats, market).await?;
        let deployment_block = genesis::deploy(&cheats, contract).await?;
        if let Some(block_time) = block_time {
            cheats.set_interval_mining(block_time).await?;
        }
        Ok(Self {
            rpc_url,
            chain_id: genesis::CHAIN_ID,
            usdc: USDC,
            contract,
            deployment_block,
            market,
            market_block,
            keys: DEV_KEYS.map(str::to_owned).to_vec(),
            cheats,
            anvil,
            block_time,
        })
    }

    /// Settings to read it with.
    #[must_use]
    pub fn config(&self) -> EvmConfig {
        let mut config = EvmConfig::new(Chain::Base, vec![self.rpc_url.clone()], self.contract, self.usdc);
        config.deployment_block = Some(self.deployment_block);
        config
    }

    /// A reader of its own.
    ///
    /// # Errors
    /// As [`EvmReader::connect`].
    pub async fn reader(&self) -> Result<Arc<EvmReader>, ChainError> {
        EvmReader::connect(self.config()).await
    }

    /// The marketplace, with a reader of its own.
    ///
    /// # Errors
    /// As [`EvmMarket::connect`].
    pub async fn market(&self) -> Result<Arc<EvmMarket>, ChainError> {
        EvmMarket::connect(self.reader().await?, self.market, Some(self.market_block)).await
    }

    /// The `index`-th development key.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn signer(&self, index: usize) -> Result<Signer, ChainError> {
        let key =
            self.keys.get(index).ok_or_else(|| ChainError::Config(format!("there is no development key {index}")))?;
        Signer::from_hex(key).map_err(|error| ChainError::Config(error.to_string()))
    }

    /// A writer with the `index`-th development key and a reader of its own.
    ///
    /// # Errors
    /// As [`EvmReader::connect`].
    pub async fn writer(&self, index: usize) -> Result<EvmWriter, ChainError> {
        EvmWriter::new(self.reader().await?, self.signer(index)?)
    }

    /// Process id of anvil.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.anvil.pid()
    }

    /// Freezes the node: connections are taken, nothing is answered.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&self) -> Result<(), ChainError> {
        self.anvil.pause()
    }

    /// Thaws it.
    ///
    /// # Errors
    /// When it is not running.
    pub fn resume(&self) -> Result<(), ChainError> {
        self.anvil.resume()
    }

    /// Ends the node and keeps its state: connections are refused until [`LocalChain::start_again`].
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&mut self) -> Result<(), ChainError> {
        self.anvil.keep(&self.cheats.dump().await?)?;
        self.anvil.stop().await
    }

    /// Starts a stopped node on the same port with the state it had; it mines as it was configured to.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> Result<(), ChainError> {
        self.anvil.start_again().await?;
        match self.block_time {
            Some(block_time) => self.cheats.set_interval_mining(block_time).await,
            None => Ok(()),
        }
    }
}
