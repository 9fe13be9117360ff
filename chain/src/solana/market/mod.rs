//! ProviderRegistry and ComputeEscrow on Solana: accounts, instructions and events of the programs are in
//! docs/adr/014-marketplace.md. [`SolanaMarket`] reads them, [`super::SolanaWriter::with_market`] posts to them.

mod event;
mod instruction;
mod plan;
mod program;
mod reader;
mod sessions;
mod state;

use std::fmt;
use std::sync::Arc;

use compute_futures_protocol::SolanaAddress;
use compute_futures_protocol::market::MarketDomain;
use serde::{Deserialize, Serialize};

use self::event::decode;
use self::program::Programs;
use super::SolanaReader;
use super::follow::Source;
use crate::market::MarketEvent;
use crate::{ChainError, ChainReader};

/// Ids of a deployment of the marketplace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketPrograms {
    /// The provider-registry program.
    pub registry: SolanaAddress,
    /// The compute-escrow program, built for that registry.
    pub escrow: SolanaAddress,
}

/// One deployment of the marketplace on the cluster of a reader.
pub struct SolanaMarket {
    reader: Arc<SolanaReader>,
    programs: Programs,
    domain: MarketDomain,
    deployment_slot: u64,
}

impl fmt::Debug for SolanaMarket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SolanaMarket")
            .field("reader", &self.reader)
            .field("programs", &self.programs)
            .finish_non_exhaustive()
    }
}

impl SolanaMarket {
    /// Checks that both programs are there; following starts at `deployment_slot`.
    ///
    /// # Errors
    /// [`ChainError::Config`] says which is missing; [`ChainError::Unavailable`] when no endpoint answers.
    pub async fn connect(
        reader: Arc<SolanaReader>,
        at: MarketPrograms,
        deployment_slot: u64,
    ) -> Result<Arc<Self>, ChainError> {
        let chain = reader.chain();
        for (program, name) in [(at.registry, "ProviderRegistry"), (at.escrow, "ComputeEscrow")] {
            if !reader.is_program(&program).await? {
                return Err(ChainError::Config(format!(
                    "there is no program at {program} on {chain}; check the {name} address"
                )));
            }
        }
        let domain =
            MarketDomain::new(chain, at.escrow.into()).map_err(|error| ChainError::Config(error.to_string()))?;
        let programs = Programs::new(at, reader.program.mint);
        Ok(Arc::new(Self { reader, programs, domain, deployment_slot }))
    }

    /// Both programs, followed together.
    fn source(&self) -> Source<MarketEvent> {
        let programs = vec![
            (self.programs.registry, self.programs.registry_events),
            (self.programs.escrow, self.programs.escrow_events),
        ];
        Source { programs, decode }
    }
}

/// A verb of the marketplace for a writer that was not told where it is.
pub(super) fn no_market() -> ChainError {
    ChainError::Config("no marketplace is named on this chain; name its ProviderRegistry and ComputeEscrow".into())
}
