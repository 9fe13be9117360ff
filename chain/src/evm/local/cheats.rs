//! What a test chain can do and a real one cannot.

use std::fmt;
use std::time::Duration;

use alloy::primitives::{Address as EvmAddress, Bytes, U64, U256};
use alloy::sol_types::SolCall;
use compute_futures_protocol::{Address, Chain, Usdc};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use url::Url;

use super::genesis::{MINTER, USDC};
use crate::ChainError;
use crate::evm::bindings::IUsdc;
use crate::evm::blocks::quantity;
use crate::evm::{EvmConfig, evm};
use crate::transport::{Head, Rpc};

/// Cheat codes of a local chain, reached by its URL: also one that another process started.
#[derive(Clone)]
pub struct Cheats {
    rpc: Rpc,
}

impl fmt::Debug for Cheats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cheats")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mined {
    block_number: U64,
    status: U64,
}

impl Cheats {
    /// Cheat codes of the chain at `url`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn attach(url: &Url) -> Result<Self, ChainError> {
        let mut config = EvmConfig::new(Chain::Base, vec![url.clone()], EvmAddress::ZERO, USDC);
        // Mining many blocks takes its time.
        config.request_timeout = Duration::from_secs(120);
        Ok(Self { rpc: Rpc::new(&config.rpc_urls, config.request_timeout, config.max_head_lag, Head::Evm)? })
    }

    /// Gives an address USDC out of nothing.
    ///
    /// # Errors
    /// When the node does not do it.
    pub async fn mint(&self, to: Address, amount: Usdc) -> Result<(), ChainError> {
        let call = IUsdc::mintCall { to: evm(to)?, amount: U256::from(amount.micros()) };
        self.transact(MINTER, USDC, call.abi_encode().into()).await.map(drop)
    }

    /// Sets what an address has for gas, in wei.
    ///
    /// # Errors
    /// When the node does not do it.
    pub async fn set_ether(&self, of: Address, wei: u128) -> Result<(), ChainError> {
        self.cheat("anvil_setBalance", json!([evm(of)?, U256::from(wei)])).await
    }

    /// Puts code at an address: a contract wallet, for instance.
    ///
    /// # Errors
    /// When the node does not do it.
    pub async fn set_code(&self, at: Address, code: &Bytes) -> Result<(), ChainError> {
        self.cheat("anvil_setCode", json!([evm(at)?, code])).await
    }

    /// Mines empty blocks (and what waits in the pool).
    ///
    /// # Errors
    /// When the node does not do it.
    pub async fn mine(&self, blocks: u64) -> Result<(), ChainError> {
        self.cheat("anvil_mine", json!([quantity(blocks)])).await
    }

    /// Moves the clock and mines a block there.
    ///
    /// # Errors
    /// When the node does not do it.
    pub async fn advance_time(&self, by: Duration) -> Result<(), ChainError> {
        self.cheat("evm_increaseTime", json!([by.as_secs()])).await?;
        self.mine(1).await
    }

    /// Replaces the newest `depth` blocks by empty ones: their transactions are gone.
    ///
    /// # Errors
    /// When the node does not do it.
    pub async fn reorg(&self, depth: u64) -> Result<(), ChainError> {
        self.cheat("anvil_reorg", json!([depth, []])).await
    }

    /// A block this often (whole seconds, rounded up; zero stops it).
    ///
    /// # Errors
    /// When the node does not do it.
    pub async fn set_interval_mining(&self, every: Duration) -> Result<(), ChainError> {
        self.cheat("evm_setIntervalMining", json!([every.as_millis().div_ceil(1000)])).await
    }

    /// Whether each transaction gets a block at once.
    ///
    /// # Errors
    /// When the node does not do it.
    pub async fn set_automine(&self, on: bool) -> Result<(), ChainError> {
        self.cheat("evm_setAutomine", json!([on])).await
    }

    /// Forgets transactions that wait in the pool.
    ///
    /// # Errors
    /// When the node does not do it.
    pub async fn drop_waiting_transactions(&self) -> Result<(), ChainError> {
        self.cheat("anvil_dropAllTransactions", json!([])).await
    }

    /// Sends a transaction from any address, without its key, and sees that it is mined; answers the block.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] when it fails.
    pub async fn transact(&self, from: EvmAddress, to: EvmAddress, input: Bytes) -> Result<u64, ChainError> {
        self.cheat("anvil_impersonateAccount", json!([from])).await?;
        let transaction = json!({"from": from, "to": to, "input": input});
        let hash: alloy::primitives::B256 = self
            .rpc
            .call("eth_sendTransaction", [transaction])
            .await
            .map_err(|failure| crate::evm::revert::refusal(failure, &[]))?;
        for attempt in 0..200 {
            let receipt: Option<Mined> = self.rpc.call("eth_getTransactionReceipt", [hash]).await?;
            match receipt {
                Some(mined) if !mined.status.is_zero() => return Ok(mined.block_number.to()),
                Some(_) => {
                    return Err(ChainError::Reverted {
                        name: "Error".into(),
                        detail: format!("transaction {hash} failed"),
                    });
                }
                // A chain that mines each transaction needs a moment for it; any other is told to.
                None if attempt == 20 => self.mine(1).await?,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        Err(ChainError::Unavailable(format!("transaction {hash} is in no block")))
    }

    pub(super) async fn code(&self, at: EvmAddress) -> Result<Bytes, ChainError> {
        Ok(self.rpc.call("eth_getCode", (at, "latest")).await?)
    }

    pub(super) async fn dump(&self) -> Result<Bytes, ChainError> {
        // With the blocks and their logs.
        Ok(self.rpc.call("anvil_dumpState", [true]).await?)
    }

    async fn cheat(&self, method: &'static str, params: Value) -> Result<(), ChainError> {
        let _: IgnoredAny = self.rpc.call(method, params).await?;
        Ok(())
    }
}
