//! What a running devnet says about itself: `target/devnet.json`, there only while everything is ready.

use std::path::{Path, PathBuf};

use compute_futures_protocol::{Address, EvmAddress};
use serde::{Deserialize, Serialize};
use url::Url;

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
    /// The chain.
    pub evm: EvmNet,
    /// Where its state, logs and keys are.
    pub dir: PathBuf,
    /// File with the token of the relayer's admin interface.
    pub admin_token_file: PathBuf,
    /// Process id of the devnet.
    pub pid: u32,
}

/// The chain of a devnet.
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
    /// The operator.
    pub operator: Address,
    /// Its index.
    pub operator_index: u32,
    /// Private keys that hold ETH and USDC. They are public knowledge: never use them elsewhere.
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
