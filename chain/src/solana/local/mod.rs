//! A cluster of one's own, for demonstrations and tests: Surfpool with USDC at its address on mainnet and the program's fixture.
//! Clients made for Solana's mainnet work on it without any override.
//!
//! Nothing here belongs into production: keys are derived from public text, and anyone who reaches the port can mint. It listens
//! on 127.0.0.1 only. Behind the cargo feature `local`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use compute_futures_protocol::solana::TOKEN_PROGRAM;
use compute_futures_protocol::{Address, Chain, Signer, SolanaAddress, Usdc};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use url::Url;

use super::{MarketPrograms, SolanaConfig, SolanaMarket, SolanaReader, SolanaWriter, solana, usdc_mint};
use crate::ChainError;
use crate::transport::{Head, Rpc};

/// Id of the program's fixture; its key is public (docs/adr/010-solana.md).
pub const PROGRAM: SolanaAddress = SolanaAddress::from_str_const("5jnhrJfXCuMBJvXDa8HKtCY4wMpjVXRXvoVHaPzzQq3g");
/// Ids of the marketplace's fixtures; their keys are public (docs/adr/014-marketplace.md).
pub const MARKET: MarketPrograms = MarketPrograms {
    registry: SolanaAddress::from_str_const("8Aj6GNmCi6jUmd8qecLKhmmiWUB8Xso6Zoyxyz9m5tJp"),
    escrow: SolanaAddress::from_str_const("CC8zD27zrKy3zpCYybJXJY1zK6KViuyEqyoW67265hmC"),
};
/// The program, built by `make programs`.
const FIXTURE: &[u8] = include_bytes!("../../../../programs/fixtures/compute_futures.so");
const REGISTRY_FIXTURE: &[u8] = include_bytes!("../../../../programs/fixtures/provider_registry.so");
const ESCROW_FIXTURE: &[u8] = include_bytes!("../../../../programs/fixtures/compute_escrow.so");
const SCRIPT: &str = include_str!("surfnet.mjs");
/// How many development keys there are.
const KEYS: u8 = 10;
/// 1,000 SOL.
const LAMPORTS: u64 = 1_000_000_000_000;
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running local cluster; dropping it ends the process.
#[derive(Debug)]
pub struct SolanaLocal {
    /// Where it listens.
    pub rpc_url: Url,
    /// Its WebSocket.
    pub ws_url: Url,
    /// Slot in which the program was placed.
    pub deployment_slot: u64,
    cheats: SolanaCheats,
    child: Child,
}

#[derive(Deserialize)]
struct Listening {
    rpc: Url,
    ws: Url,
}

/// The seed of the `index`-th development key: sha256 of a public text. Never use them elsewhere.
#[must_use]
pub fn dev_seed(index: u8) -> [u8; 32] {
    Sha256::digest(format!("compute-futures development key {index}")).into()
}

impl SolanaLocal {
    /// Starts one with a slot this often, the program and USDC in place and every development key funded with SOL.
    ///
    /// # Errors
    /// [`ChainError::Config`] when Surfpool is not found or does not start.
    pub async fn start(slot_time: Duration) -> Result<Self, ChainError> {
        let trouble = |what: String| ChainError::Config(format!("Surfpool does not start: {what}"));
        let mut child = Command::new("node")
            .args(["--input-type=module", "-e", SCRIPT, "--"])
            .arg(find_surfpool()?)
            .arg(slot_time.as_millis().max(1).to_string())
            // Its end is the end of the child, also when this process is killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| trouble(format!("{error}; Node.js 20 or later is needed")))?;
        let mut lines = BufReader::new(child.stdout.take().ok_or_else(|| trouble("no output".into()))?).lines();
        let found = tokio::time::timeout(START_TIMEOUT, async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(listening) = serde_json::from_str::<Listening>(&line) {
                    return Some(listening);
                }
            }
            None
        });
        let listening = found.await.ok().flatten().ok_or_else(|| trouble("it said nothing".into()))?;
        // The pipe must be read for as long as it lives: it would block on a full one.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let cheats = SolanaCheats::attach(&listening.rpc)?;
        cheats.place_fixtures().await?;
        let deployment_slot = cheats.deployment_slot().await?;
        let local = Self { rpc_url: listening.rpc, ws_url: listening.ws, deployment_slot, cheats, child };
        for index in 0..KEYS {
            local.cheats.set_lamports(local.signer(index).address(), LAMPORTS).await?;
        }
        Ok(local)
    }

    /// The `index`-th development key.
    #[must_use]
    pub fn signer(&self, index: u8) -> Signer {
        Signer::ed25519(&dev_seed(index))
    }

    /// Settings to read it with.
    #[must_use]
    pub fn config(&self) -> SolanaConfig {
        let mut config = SolanaConfig::new(Chain::Solana, vec![self.rpc_url.clone()], PROGRAM);
        config.deployment_slot = self.deployment_slot;
        config
    }

    /// A reader of its own.
    ///
    /// # Errors
    /// As [`SolanaReader::connect`].
    pub async fn reader(&self) -> Result<Arc<SolanaReader>, ChainError> {
        SolanaReader::connect(self.config()).await
    }

    /// The marketplace, with a reader of its own.
    ///
    /// # Errors
    /// As [`SolanaMarket::connect`].
    pub async fn market(&self) -> Result<Arc<SolanaMarket>, ChainError> {
        SolanaMarket::connect(self.reader().await?, MARKET, self.deployment_slot).await
    }

    /// A writer with the `index`-th development key and a reader of its own.
    ///
    /// # Errors
    /// As [`SolanaReader::connect`].
    pub async fn writer(&self, index: u8) -> Result<SolanaWriter, ChainError> {
        SolanaWriter::new(self.reader().await?, self.signer(index))
    }

    /// What it can do and a real cluster cannot.
    #[must_use]
    pub const fn cheats(&self) -> &SolanaCheats {
        &self.cheats
    }

    /// Process id of Surfpool.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}

/// Cheat codes of a local cluster, reached by its URL: also one that another process started.
#[derive(Clone)]
pub struct SolanaCheats {
    rpc: Rpc,
}

impl std::fmt::Debug for SolanaCheats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SolanaCheats")
    }
}

impl SolanaCheats {
    /// Cheat codes of the cluster at `url`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn attach(url: &Url) -> Result<Self, ChainError> {
        Ok(Self { rpc: Rpc::new(std::slice::from_ref(url), Duration::from_secs(30), 0, Head::Solana)? })
    }

    /// Sets the USDC in a wallet's associated token account, creating it out of nothing.
    ///
    /// # Errors
    /// When the node does not do it.
    pub async fn set_usdc(&self, owner: Address, amount: Usdc) -> Result<(), ChainError> {
        let params = json!([solana(owner)?, usdc_mint(Chain::Solana), {"amount": amount.micros()}, TOKEN_PROGRAM]);
        self.cheat("surfnet_setTokenAccount", params).await
    }

    /// Sets what an address has for fees and rent.
    ///
    /// # Errors
    /// When the node does not do it.
    pub async fn set_lamports(&self, of: Address, lamports: u64) -> Result<(), ChainError> {
        self.cheat("surfnet_setAccount", json!([solana(of)?, {"lamports": lamports}])).await
    }

    /// Moves the clock, and the slots with it.
    ///
    /// # Errors
    /// When the node does not do it.
    pub async fn advance_time(&self, by: Duration) -> Result<(), ChainError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let target = u64::try_from((now + by).as_millis()).unwrap_or(u64::MAX);
        self.cheat("surfnet_timeTravel", json!([{"absoluteTimestamp": target}])).await
    }

    /// Whether slots go on.
    ///
    /// # Errors
    /// When the node does not do it.
    pub async fn set_clock(&self, running: bool) -> Result<(), ChainError> {
        self.cheat(if running { "surfnet_resumeClock" } else { "surfnet_pauseClock" }, json!([])).await
    }

    /// The present slot, once the two below it have blocks as well: nobody keeps the very first ones, and the second does not
    /// name the first as its parent.
    async fn deployment_slot(&self) -> Result<u64, ChainError> {
        loop {
            let slot: u64 = self.rpc.call("getSlot", json!([{"commitment": "confirmed"}])).await?;
            let range = json!([slot.saturating_sub(2), slot, {"commitment": "confirmed"}]);
            let blocks: Vec<u64> = self.rpc.call("getBlocks", range).await?;
            if blocks.len() == 3 {
                return Ok(slot);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn place_fixtures(&self) -> Result<(), ChainError> {
        let fixtures = [(PROGRAM, FIXTURE), (MARKET.registry, REGISTRY_FIXTURE), (MARKET.escrow, ESCROW_FIXTURE)];
        for (program, fixture) in fixtures {
            self.cheat("surfnet_writeProgram", json!([program, alloy::hex::encode(fixture), 0])).await?;
        }
        // No mint authority, a large supply, 6 decimals, initialised, no freeze authority.
        let mut mint = [0; 82];
        mint[36..44].copy_from_slice(&u64::MAX.to_le_bytes());
        mint[44..46].copy_from_slice(&[6, 1]);
        let account = json!({
            "lamports": LAMPORTS, "owner": TOKEN_PROGRAM, "data": alloy::hex::encode(mint), "executable": false,
        });
        self.cheat("surfnet_setAccount", json!([usdc_mint(Chain::Solana), account])).await
    }

    async fn cheat(&self, method: &'static str, params: Value) -> Result<(), ChainError> {
        let _: IgnoredAny = self.rpc.call(method, params).await?;
        Ok(())
    }
}

/// Where Surfpool's native module is: `$SURFPOOL`, then `node_modules` of this folder or one above.
///
/// # Errors
/// [`ChainError::Config`] says how to get it.
pub fn find_surfpool() -> Result<PathBuf, ChainError> {
    let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let name = if os == "linux" { format!("surfpool-linux-{arch}-gnu") } else { format!("surfpool-{os}-{arch}") };
    if let Some(path) = std::env::var_os("SURFPOOL").map(PathBuf::from) {
        return if path.exists() {
            Ok(path)
        } else {
            Err(ChainError::Config(format!("$SURFPOOL is {}, which is not there", path.display())))
        };
    }
    let here = std::env::current_dir().unwrap_or_default();
    here.ancestors()
        .map(|folder| folder.join(Path::new("node_modules/@solana")).join(&name))
        .find(|candidate| candidate.is_dir())
        .ok_or_else(|| {
            ChainError::Config(
                "Surfpool is not there; run `npm ci` in the repository, or set SURFPOOL to the folder of its native module"
                    .into(),
            )
        })
}
