//! Base, Solana, a relayer and an indexer on this machine. Base is anvil with chain id 8453 and Circle's USDC at its address,
//! Solana is Surfpool with USDC's mint at its address; relayer and indexer are child processes of this same binary, so that what
//! runs here is what runs in production.

mod chains;
mod child;
mod file;
mod services;
mod start;

use std::path::Path;

use compute_futures_protocol::{Chain, Usdc};
use serde_json::json;

use crate::args::DevnetArgs;
use crate::failure::Outcome;
use crate::output::{Output, facts};
use crate::shutdown;

pub use chains::Chains;
pub use child::{Child, Spec, guard, parent_gone};
pub use file::{DEFAULT_FILE, DevnetFile, EvmNet, SolanaNet};
pub use start::{Devnet, free_port};

/// What each funded key holds.
pub const FUNDS: Usdc = Usdc::from_micros(100_000_000_000);

/// `devnet` without flags.
#[must_use]
pub fn devnet_defaults() -> DevnetArgs {
    DevnetArgs {
        only: None,
        block_time: 1,
        slot_ms: 400,
        refund_delay: 86_400,
        rpc_port: 8545,
        relayer_port: 4020,
        indexer_port: 4021,
        dir: "target/devnet".into(),
        log: "info".into(),
    }
}

/// `devnet`: starts, says so, stays up until told to stop or until a part of it dies.
pub(crate) async fn command(args: DevnetArgs, file: &Path, output: Output) -> Outcome<()> {
    let stop = shutdown::token(false);
    output.progress("starting the chains, the relayer and the indexer …");
    let mut net = tokio::select! {
        net = Devnet::start(&args, file) => net?,
        () = stop.cancelled() => return Ok(()),
    };
    let described = net.file.clone();
    output.result(&json!(described), || {
        let mut rows = vec![("relayer", described.relayer.to_string()), ("indexer", described.indexer.to_string())];
        if let Some(evm) = &described.evm {
            rows.extend([
                ("Base", format!("{} (chain id {})", evm.rpc, evm.chain_id)),
                ("  USDC", evm.usdc.to_string()),
                ("  contract", evm.compute_futures.to_string()),
                ("  market", format!("{} (providers), {} (escrows)", evm.provider_registry, evm.compute_escrow)),
                ("  operator", format!("{} (index {})", evm.operator, evm.operator_index)),
            ]);
        }
        if let Some(solana) = &described.solana {
            rows.extend([
                ("Solana", solana.rpc.to_string()),
                ("  USDC", solana.usdc_mint.to_string()),
                ("  program", solana.program.to_string()),
                ("  market", format!("{} (providers), {} (escrows)", solana.provider_registry, solana.compute_escrow)),
                ("  operator", format!("{} (index {})", solana.operator, solana.operator_index)),
            ]);
        }
        let last = described.chains().first().map_or(0, |chain| described.funded_keys(*chain).len().saturating_sub(1));
        rows.extend([
            ("keys", format!("devnet:0 … devnet:{last}, each with {FUNDS} USDC and ETH or SOL for fees")),
            ("logs", described.dir.display().to_string()),
            ("written to", file.display().to_string()),
        ]);
        for chain in described.chains() {
            let network = if chain == Chain::Base { "" } else { "--network local-solana " };
            rows.push(("try", format!("compute-futures {network}--key devnet:0 deposit 50")));
        }
        format!("{}\n\nup; stop it with Ctrl-C", facts(rows))
    });
    let ended = tokio::select! {
        failure = net.ended() => Err(failure),
        () = stop.cancelled() => Ok(()),
    };
    output.progress("stopping …");
    net.stop().await;
    ended
}
