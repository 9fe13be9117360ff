//! How far the projection has come: read at the start, moved in the transaction of the rows it speaks for.

use compute_futures_chain::{BlockRef, ChainReader, Finality, Heads};
use compute_futures_protocol::B256;

use crate::{
    error::{IndexerError, Result},
    store::{Row, Store, Tx},
};

/// The newest block whose events are stored, and how far the chain had settled then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Number of the newest stored block.
    pub block_number: u64,
    /// Its hash.
    pub block_hash: B256,
    /// Its time, in seconds.
    pub block_time: u64,
    /// Newest block of the chain when this was written.
    pub latest: u64,
    /// Newest safe block.
    pub safe: u64,
    /// Newest finalized block; never moves back.
    pub finalized: u64,
    /// How many times blocks were rolled back.
    pub reorgs: u64,
}

const SELECT: &str =
    "SELECT block_number, block_hash, block_time, latest, safe, finalized, reorgs FROM progress WHERE id = 1";

impl Progress {
    /// The stored progress; `None` before the first start.
    pub async fn load(store: &Store) -> Result<Option<Self>> {
        store.first(SELECT, &[]).await?.as_ref().map(Self::read).transpose()
    }

    /// The stored progress as this transaction sees it.
    pub async fn load_in(tx: &mut Tx) -> Result<Option<Self>> {
        tx.first(SELECT, &[]).await?.as_ref().map(Self::read).transpose()
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            block_number: row.u64("block_number")?,
            block_hash: row.b256("block_hash")?,
            block_time: row.u64("block_time")?,
            latest: row.u64("latest")?,
            safe: row.u64("safe")?,
            finalized: row.u64("finalized")?,
            reorgs: row.u64("reorgs")?,
        })
    }

    /// The progress after `block`, with what the chain says of itself now.
    #[must_use]
    pub fn advanced(&self, block: &BlockRef, heads: &Heads) -> Self {
        Self {
            block_number: block.number,
            block_hash: block.hash,
            block_time: block.timestamp,
            latest: heads.latest.number,
            safe: heads.safe.max(self.finalized),
            finalized: heads.finalized.max(self.finalized),
            reorgs: self.reorgs,
        }
    }

    /// How certain a stored block is.
    #[must_use]
    pub fn finality_of(&self, block: u64) -> Finality {
        match block {
            b if b <= self.finalized => Finality::Finalized,
            b if b <= self.safe => Finality::Safe,
            _ => Finality::Latest,
        }
    }

    /// Moves the stored progress from `self` to `next`, or fails when it is not there any more: then another process follows
    /// into the same database, and nothing of this transaction may stay.
    pub(super) async fn advance(&self, tx: &mut Tx, next: &Self) -> Result<()> {
        let moved = tx
            .execute(
                "UPDATE progress SET block_number = $1, block_hash = $2, block_time = $3, latest = $4, safe = $5, finalized = $6, reorgs = $7
                 WHERE id = 1 AND block_number = $8 AND block_hash = $9",
                &[
                    next.block_number.into(),
                    next.block_hash.into(),
                    next.block_time.into(),
                    next.latest.into(),
                    next.safe.into(),
                    next.finalized.into(),
                    next.reorgs.into(),
                    self.block_number.into(),
                    self.block_hash.into(),
                ],
            )
            .await?;
        if moved == 1 { Ok(()) } else { Err(IndexerError::CursorMoved) }
    }
}

/// Binds an empty database to the deployment, or checks that it is bound to this one; answers where to go on.
pub async fn bind(store: &Store, reader: &dyn ChainReader) -> Result<Progress> {
    let deployed = reader.deployment_block();
    let missing = || {
        IndexerError::Config(format!(
            "deployment_block of {}: the chain has no block {deployed}; write the block the contract was deployed in, and check the RPC URLs",
            reader.chain()
        ))
    };
    let block = reader.block(deployed).await?.ok_or_else(missing)?;
    let mut tx = store.begin().await?;
    let row = tx
        .first("SELECT chain, contract, token, deployment_block, deployment_hash FROM deployment WHERE id = 1", &[])
        .await?;
    if let Some(row) = row {
        let same = [
            ("chain", row.text("chain")? == reader.chain().caip2()),
            ("contract", row.address("contract")? == reader.contract()),
            ("token", row.address("token")? == reader.token()),
            ("deployment block", row.u64("deployment_block")? == deployed),
            ("hash of the deployment block", row.b256("deployment_hash")? == block.hash),
        ];
        if let Some((what, _)) = same.iter().find(|(_, same)| !same) {
            return Err(IndexerError::OtherDeployment(format!("the {what} differs")));
        }
        return Progress::load_in(&mut tx).await?.ok_or_else(|| IndexerError::Corrupt("no progress".into()));
    }
    // Nothing of the contract can be older than its deployment; block 0 holds no transactions. The block before is named, not
    // read: nodes that keep nothing older than the deployment will do.
    let start = match deployed.checked_sub(1) {
        None => block,
        Some(before) => BlockRef { number: before, hash: block.parent_hash, ..block },
    };
    tx.execute(
        "INSERT INTO deployment (id, chain, contract, token, deployment_block, deployment_hash) VALUES (1, $1, $2, $3, $4, $5)",
        &[reader.chain().caip2().into(), reader.contract().into(), reader.token().into(), deployed.into(), block.hash.into()],
    )
    .await?;
    tx.execute(
        "INSERT INTO progress (id, block_number, block_hash, block_time, latest, safe, finalized, reorgs) VALUES (1, $1, $2, $3, $1, 0, 0, 0)",
        &[start.number.into(), start.hash.into(), start.timestamp.into()],
    )
    .await?;
    tx.execute(
        "INSERT INTO blocks (number, hash, timestamp, has_events) VALUES ($1, $2, $3, 0)",
        &[start.number.into(), start.hash.into(), start.timestamp.into()],
    )
    .await?;
    let progress = Progress::load_in(&mut tx).await?.ok_or_else(|| IndexerError::Corrupt("no progress".into()))?;
    tx.commit().await?;
    Ok(progress)
}
