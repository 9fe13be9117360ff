//! Which cluster, which program, through which RPC endpoints.

use std::fmt;
use std::time::Duration;

use compute_futures_protocol::{Chain, SolanaAddress};
use url::Url;

use super::usdc_mint;
use crate::ChainError;

/// Where the program is and how to reach it. `Debug` shows hosts only: RPC URLs often carry an API key.
#[derive(Clone)]
pub struct SolanaConfig {
    /// The cluster: it decides the USDC mint and what signatures are for.
    pub chain: Chain,
    /// RPC endpoints, best first. The others take over while the first ones fail.
    pub rpc_urls: Vec<Url>,
    /// The ComputeFutures program.
    pub program: SolanaAddress,
    /// Slot of the deployment: following starts here.
    pub deployment_slot: u64,
    /// How long one request may take before the next endpoint is tried.
    pub request_timeout: Duration,
    /// An endpoint this many slots behind the best one is passed over.
    pub max_head_lag: u64,
}

impl SolanaConfig {
    /// Defaults for everything but the program.
    #[must_use]
    pub const fn new(chain: Chain, rpc_urls: Vec<Url>, program: SolanaAddress) -> Self {
        Self {
            chain,
            rpc_urls,
            program,
            deployment_slot: 0,
            request_timeout: Duration::from_secs(10),
            // About 20 seconds.
            max_head_lag: 50,
        }
    }

    /// Checks what can be checked without a network; answers the USDC mint.
    pub(super) fn validate(&self) -> Result<SolanaAddress, ChainError> {
        let mint = usdc_mint(self.chain).ok_or_else(|| {
            ChainError::Config(format!(
                "{} is not a Solana cluster; use {} or {}",
                self.chain,
                Chain::Solana,
                Chain::SolanaDevnet
            ))
        })?;
        if self.rpc_urls.is_empty() {
            return Err(ChainError::Config("no RPC URL; set at least one".into()));
        }
        if self.rpc_urls.iter().any(|url| !matches!(url.scheme(), "http" | "https")) {
            return Err(ChainError::Config("an RPC URL is neither http nor https".into()));
        }
        Ok(mint)
    }
}

impl fmt::Debug for SolanaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.rpc_urls.iter().map(|url| url.host_str().unwrap_or("?")).collect();
        f.debug_struct("SolanaConfig")
            .field("chain", &self.chain)
            .field("rpc_hosts", &hosts)
            .field("program", &self.program)
            .field("deployment_slot", &self.deployment_slot)
            .finish_non_exhaustive()
    }
}
