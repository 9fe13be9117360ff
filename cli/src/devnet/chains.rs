//! The chains of a devnet: anvil and Surfpool, with USDC, ComputeFutures and funded keys.

use std::path::{Path, PathBuf};
use std::time::Duration;

use compute_futures_chain::evm::local::{LocalChain, LocalChainConfig};
use compute_futures_chain::solana::local::{MARKET, PROGRAM, SolanaLocal, dev_seed};
use compute_futures_chain::solana::usdc_mint;
use compute_futures_protocol::{Address, Chain, Signer, SolanaAddress, TransactionId};

use super::{EvmNet, FUNDS, SolanaNet};
use crate::args::{DevnetArgs, Only};
use crate::failure::{Failure, Outcome};

/// Which of the development keys belong to whom, on either chain; the ones before are for agents.
pub(super) const OPERATOR_KEY: usize = 8;
pub(super) const FACILITATOR_KEY: usize = 9;

/// The chains that run here.
#[derive(Debug)]
pub struct Chains {
    /// Base, with its cheat codes.
    pub base: Option<LocalChain>,
    /// Solana, with its cheat codes.
    pub solana: Option<SolanaLocal>,
}

impl Chains {
    /// Starts them with everything on them, at once.
    pub(super) async fn start(args: &DevnetArgs, dir: &Path, binary: &Path) -> Outcome<Self> {
        let base = async {
            if args.only == Some(Only::Solana) {
                return Ok(None);
            }
            start_base(args, dir, binary).await.map(Some)
        };
        let solana = async {
            if args.only == Some(Only::Base) {
                return Ok(None);
            }
            start_solana(args).await.map(Some)
        };
        let (base, solana) = tokio::try_join!(base, solana)?;
        Ok(Self { base, solana })
    }

    /// Which they are, Base first.
    #[must_use]
    pub fn all(&self) -> Vec<Chain> {
        let base = self.base.iter().map(|_| Chain::Base);
        base.chain(self.solana.iter().map(|_| Chain::Solana)).collect()
    }

    /// What the devnet says about its Base, with the operator's index.
    pub(super) async fn describe_base(&self) -> Outcome<Option<EvmNet>> {
        let Some(chain) = &self.base else { return Ok(None) };
        let operator = chain.signer(OPERATOR_KEY)?.address();
        let reader = chain.reader().await?;
        Ok(Some(EvmNet {
            rpc: chain.rpc_url.clone(),
            chain_id: chain.chain_id,
            usdc: chain.usdc,
            compute_futures: chain.contract,
            deployment_block: chain.deployment_block,
            provider_registry: chain.market.registry,
            compute_escrow: chain.market.escrow,
            market_block: chain.market_block,
            operator,
            operator_index: index_of(&*reader, operator).await?,
            funded_keys: chain.keys[..OPERATOR_KEY].to_vec(),
        }))
    }

    /// What the devnet says about its Solana, with the operator's index.
    pub(super) async fn describe_solana(&self) -> Outcome<Option<SolanaNet>> {
        let Some(chain) = &self.solana else { return Ok(None) };
        let operator = signer(OPERATOR_KEY).address();
        let reader = chain.reader().await?;
        Ok(Some(SolanaNet {
            rpc: chain.rpc_url.clone(),
            ws: chain.ws_url.clone(),
            usdc_mint: usdc_mint(Chain::Solana).unwrap_or_default(),
            program: PROGRAM,
            deployment_slot: chain.deployment_slot,
            provider_registry: MARKET.registry,
            compute_escrow: MARKET.escrow,
            operator,
            operator_index: index_of(&*reader, operator).await?,
            // 64 bytes in base58, as wallets export them; a transaction's name is written the same way.
            funded_keys: (0..OPERATOR_KEY).map(|key| TransactionId::Solana(keypair(key)).to_string()).collect(),
        }))
    }
}

async fn index_of(reader: &dyn compute_futures_chain::ChainReader, operator: Address) -> Outcome<u32> {
    let index = reader.operator_index_of(operator).await?;
    index.ok_or_else(|| {
        Failure::broken(format!("the relayer is ready, but its operator is not registered on {}", reader.chain()))
    })
}

/// A development key of Solana.
fn signer(index: usize) -> Signer {
    Signer::ed25519(&dev_seed(u8::try_from(index).unwrap_or(u8::MAX)))
}

/// A development key of Solana with its public key behind it, which makes it a keypair.
pub(super) fn keypair(index: usize) -> [u8; 64] {
    let public = signer(index).address().solana().map_or([0; 32], |SolanaAddress(bytes)| bytes);
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&dev_seed(u8::try_from(index).unwrap_or(u8::MAX)));
    bytes[32..].copy_from_slice(&public);
    bytes
}

async fn start_base(args: &DevnetArgs, dir: &Path, binary: &Path) -> Outcome<LocalChain> {
    let config = LocalChainConfig {
        port: args.rpc_port,
        anvil: Some(leashed_anvil(dir, binary)?),
        ..LocalChainConfig::default()
    };
    let chain = LocalChain::start_with(config).await?;
    for (index, _) in chain.keys.iter().enumerate().take(FACILITATOR_KEY) {
        chain.mint(chain.signer(index)?.address(), FUNDS).await?;
    }
    chain.set_interval_mining(Duration::from_secs(args.block_time)).await?;
    Ok(chain)
}

/// Surfpool needs no leash: it ends when the pipe from this process closes.
async fn start_solana(args: &DevnetArgs) -> Outcome<SolanaLocal> {
    let chain = SolanaLocal::start(Duration::from_millis(args.slot_ms)).await.map_err(|error| {
        Failure::new("no_solana", error.to_string(), "npm ci brings Surfpool; --only base does without Solana")
    })?;
    for index in 0..FACILITATOR_KEY {
        chain.cheats().set_usdc(signer(index).address(), FUNDS).await?;
    }
    Ok(chain)
}

/// A launcher that makes anvil die with us, also when we are killed.
fn leashed_anvil(dir: &Path, binary: &Path) -> Outcome<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let anvil = compute_futures_chain::evm::local::find_anvil()?;
    let launcher = dir.join("anvil.sh");
    let failed = |error| Failure::file(&launcher, &error);
    let script = format!("#!/bin/sh\nexec {} guard -- {} \"$@\"\n", quoted(binary), quoted(&anvil));
    std::fs::write(&launcher, script).map_err(failed)?;
    std::fs::set_permissions(&launcher, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    Ok(launcher)
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
