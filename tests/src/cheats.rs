//! What a local chain lets a test do and no real one does.

use std::time::Duration;

use compute_futures_chain::evm::local::Cheats as EvmCheats;
use compute_futures_chain::solana::local::SolanaCheats;
use compute_futures_cli::devnet::DevnetFile;
use compute_futures_protocol::{Address, Chain};

/// Cheat codes of one chain.
#[derive(Debug, Clone)]
pub enum Cheats {
    /// Anvil's.
    Evm(EvmCheats),
    /// Surfpool's.
    Solana(SolanaCheats),
}

impl Cheats {
    pub(crate) fn on(file: &DevnetFile, chain: Chain) -> Self {
        if chain == Chain::Base {
            let net = file.evm.as_ref().expect("the devnet has Base");
            return Self::Evm(EvmCheats::attach(&net.rpc).expect("a client"));
        }
        let net = file.solana.as_ref().expect("the devnet has Solana");
        Self::Solana(SolanaCheats::attach(&net.rpc).expect("a client"))
    }

    /// Gives a wallet plenty for fees: an ether, or ten SOL.
    pub async fn fuel(&self, of: Address) {
        match self {
            Self::Evm(cheats) => cheats.set_ether(of, 1_000_000_000_000_000_000).await,
            Self::Solana(cheats) => cheats.set_lamports(of, 10_000_000_000).await,
        }
        .expect("the wallet is funded");
    }

    /// Moves the chain's clock; from then on it is ahead of everybody else's.
    pub async fn advance_time(&self, by: Duration) {
        match self {
            Self::Evm(cheats) => match cheats.advance_time(by).await {
                Ok(()) => cheats.mine(1).await,
                error => error,
            },
            Self::Solana(cheats) => cheats.advance_time(by).await,
        }
        .expect("time passes");
    }
}
