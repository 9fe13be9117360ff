//! One range of blocks, one transaction: rows, blocks, undo and progress together (shovel's rule: a restart is always safe).

use std::collections::{BTreeMap, HashMap};

use compute_futures_chain::{BlockRef, ChainEvent, EventMeta, Heads, market::MarketEvent};
use compute_futures_protocol::{AccountId, B256, Terms};

use super::Progress;
use crate::{
    error::{IndexerError, Result},
    failpoint::failpoint,
    market,
    project::{AccountRow, BLOCKS, Fold, OperatorRow, touched},
    store::{Bulk, Row, Store, Tx},
};

/// Blocks to write: everything after the progress up to and including `end`.
#[derive(Debug)]
pub struct Range {
    /// The last block.
    pub end: BlockRef,
    /// Every block of the range that can still be replaced; may be empty in settled history.
    pub blocks: Vec<BlockRef>,
    /// All events of the contract in the range, in order.
    pub events: Vec<ChainEvent>,
    /// The marketplace's; `None` when none is followed.
    pub market: Option<Vec<ChainEvent<MarketEvent>>>,
}

impl Range {
    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len() + self.market.as_ref().map_or(0, Vec::len)
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn metas(&self) -> impl Iterator<Item = &EventMeta> {
        let market = self.market.iter().flatten().map(|event| &event.meta);
        self.events.iter().map(|event| &event.meta).chain(market)
    }
}

/// What a commit did.
#[derive(Debug)]
pub struct Committed {
    /// Where the projection stands now.
    pub progress: Progress,
    /// Accounts that changed.
    pub accounts: Vec<AccountId>,
    /// How many discrepancies were found in the range.
    pub discrepancies: u64,
}

/// Writes a range that follows `progress`. Blocks up to `floor` are beyond replacement and leave no undo rows.
pub async fn commit(store: &Store, progress: &Progress, range: Range, heads: &Heads, floor: u64) -> Result<Committed> {
    let next = progress.advanced(&range.end, heads);
    let mut tx = store.begin().await?;
    progress.advance(&mut tx, &next).await?;

    let mut fold = load(&mut tx, &range.events, floor).await?;
    for event in &range.events {
        fold.apply(event)?;
    }
    let folded = fold.finish();
    for found in &folded.discrepancies {
        tracing::warn!(?found, "chain and model disagree");
    }
    for bulk in folded.bulks {
        tx.insert(bulk).await?;
    }
    let mut discrepancies = folded.discrepancies.len() as u64;
    if let Some(events) = &range.market {
        // Boxed: a large future inside a large one.
        let blocks = (progress.block_number, range.end.number);
        discrepancies += Box::pin(market::write(&mut tx, events, blocks, floor)).await?;
    }
    failpoint!("indexer::mid_range");
    tx.insert(blocks(&range)).await?;
    forget(&mut tx, floor).await?;
    failpoint!("indexer::before_commit");
    tx.commit().await?;
    failpoint!("indexer::after_commit");
    Ok(Committed { progress: next, accounts: folded.accounts, discrepancies })
}

/// The fold, with everything stored about the accounts and operators the events concern.
async fn load(tx: &mut Tx, events: &[ChainEvent], floor: u64) -> Result<Fold> {
    let touched = touched(events);
    let ids: Vec<i64> = touched.accounts.iter().map(|id| id.get().cast_signed()).collect();
    let accounts = tx.among("SELECT * FROM accounts WHERE id", &ids).await?;
    let accounts: HashMap<AccountId, AccountRow> =
        accounts.iter().map(|row| AccountRow::read(row).map(|a| (a.id, a))).collect::<Result<_>>()?;
    let indices: Vec<i64> = touched.operators.iter().map(|index| i64::from(*index)).collect();
    let operators = tx.among("SELECT * FROM operators WHERE id", &indices).await?;
    let operators: HashMap<u32, OperatorRow> =
        operators.iter().map(|row| OperatorRow::read(row).map(|o| (o.index, o))).collect::<Result<_>>()?;
    let terms = tx.among("SELECT * FROM terms WHERE operator_index", &indices).await?;
    let terms = terms.iter().map(read_terms).collect::<Result<_>>()?;
    Ok(Fold::new(accounts, operators, terms, floor))
}

/// A row of `terms`.
pub(crate) fn read_terms(row: &Row) -> Result<((u32, u32), Terms)> {
    let terms = Terms {
        refund_delay: row.u32("refund_delay")?,
        minimum_deposit: row.usdc("minimum_deposit")?,
        rate_card_hash: row.b256("rate_card_hash")?,
        tiers: serde_json::from_str(&row.text("tiers")?).map_err(|e| IndexerError::Corrupt(format!("tiers: {e}")))?,
    };
    Ok(((row.u32("operator_index")?, row.u32("version")?), terms))
}

fn blocks(range: &Range) -> Bulk {
    let mut known: BTreeMap<u64, (B256, u64, bool)> = BTreeMap::new();
    for block in range.blocks.iter().chain([&range.end]) {
        known.insert(block.number, (block.hash, block.timestamp, false));
    }
    for meta in range.metas() {
        known.insert(meta.block_number, (meta.block_hash, meta.block_timestamp, true));
    }
    let mut bulk = Bulk::new(&BLOCKS);
    for (number, (hash, timestamp, has_events)) in known {
        bulk.push([number.into(), hash.into(), timestamp.into(), has_events.into()]);
    }
    bulk
}

/// Drops what only a rollback below `floor` would need.
async fn forget(tx: &mut Tx, floor: u64) -> Result<()> {
    tx.execute("DELETE FROM undo WHERE block_number <= $1", &[floor.into()]).await?;
    tx.execute("DELETE FROM blocks WHERE number < $1 AND has_events = 0", &[floor.into()]).await?;
    market::forget(tx, floor).await
}
