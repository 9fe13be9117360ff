//! Which marketplace a database follows, and how far.

use compute_futures_chain::market::MarketReader;
use compute_futures_protocol::Address;

use crate::{
    error::{IndexerError, Result},
    store::{Store, Tx},
};

/// Where a marketplace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarketAt {
    /// ProviderRegistry; on Solana the program.
    pub registry: Address,
    /// ComputeEscrow; on Solana the program.
    pub escrow: Address,
    /// The block the first of the two was deployed in.
    pub deployment_block: u64,
}

/// The marketplace of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployment {
    /// Which.
    pub at: MarketAt,
    /// Its events up to this block are projected. Behind the newest stored block: it was configured later, and catches up.
    pub projected_to: u64,
}

impl Deployment {
    /// The stored one; `None` when none was ever followed.
    pub async fn load(tx: &mut Tx) -> Result<Option<Self>> {
        let row =
            tx.first("SELECT registry, escrow, deployment_block, projected_to FROM market WHERE id = 1", &[]).await?;
        row.map(|row| {
            Ok(Self {
                at: MarketAt {
                    registry: row.address("registry")?,
                    escrow: row.address("escrow")?,
                    deployment_block: row.u64("deployment_block")?,
                },
                projected_to: row.u64("projected_to")?,
            })
        })
        .transpose()
    }
}

/// Binds a database that follows no marketplace yet to this one, or checks that it is bound to it.
///
/// # Errors
/// [`IndexerError::OtherDeployment`] when it follows another one.
pub async fn bind(store: &Store, reader: &dyn MarketReader) -> Result<()> {
    let (registry, escrow, deployed) = (reader.registry(), reader.escrow_contract(), reader.deployment_block());
    let mut tx = store.begin().await?;
    tx.execute(
        "INSERT INTO market (id, registry, escrow, deployment_block, projected_to) VALUES (1, $1, $2, $3, $4)
         ON CONFLICT (id) DO NOTHING",
        &[registry.into(), escrow.into(), deployed.into(), deployed.saturating_sub(1).into()],
    )
    .await?;
    let bound = Deployment::load(&mut tx).await?.map(|bound| bound.at);
    if bound != Some(MarketAt { registry, escrow, deployment_block: deployed }) {
        return Err(IndexerError::OtherDeployment("the marketplace differs".into()));
    }
    tx.commit().await
}
