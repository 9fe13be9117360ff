//! From events to SQL: a range beside the contract's own in its transaction, or ranges of its own while it catches up with them.

use std::collections::BTreeMap;

use compute_futures_chain::{
    ChainEvent, EventRange,
    market::{MarketEvent, MarketReader},
};
use compute_futures_protocol::B256;
use futures::TryStreamExt;

use super::{AgentRow, EscrowRow, Fold, Known, ProviderRow, SessionRow, fold::Touched};
use crate::{
    error::{IndexerError, Result},
    follow::Progress,
    project::BLOCKS,
    store::{Bulk, Store, Tx},
};

/// Writes the events of the blocks after `from` up to `to`. Blocks up to `floor` are beyond replacement and leave no undo rows.
/// Answers how many findings there were.
///
/// # Errors
/// [`IndexerError::CursorMoved`] when what comes before them is not projected.
pub(crate) async fn write(
    tx: &mut Tx,
    events: &[ChainEvent<MarketEvent>],
    (from, to): (u64, u64),
    floor: u64,
) -> Result<u64> {
    let moved = tx
        .execute(
            "UPDATE market SET projected_to = CASE WHEN projected_to > $1 THEN projected_to ELSE $1 END
             WHERE id = 1 AND projected_to >= $2",
            &[to.into(), from.into()],
        )
        .await?;
    if moved != 1 {
        return Err(IndexerError::CursorMoved);
    }
    let mut fold = Fold::new(load(tx, events).await?, floor);
    for event in events {
        fold.apply(event)?;
    }
    let folded = fold.finish();
    for found in &folded.findings {
        tracing::warn!(?found, "marketplace and model disagree");
    }
    for bulk in folded.bulks {
        tx.insert(bulk).await?;
    }
    Ok(folded.findings.len() as u64)
}

/// Drops what only a rollback below `floor` would need.
pub(crate) async fn forget(tx: &mut Tx, floor: u64) -> Result<()> {
    tx.execute("DELETE FROM market_undo WHERE block_number <= $1", &[floor.into()]).await?;
    Ok(())
}

/// Projects the blocks that the contract's projection has and the marketplace's has not: all of them, when it was configured
/// later. Answers how many events and findings there were.
pub(crate) async fn catch_up(
    store: &Store,
    reader: &dyn MarketReader,
    progress: &Progress,
    floor: u64,
    prefetch: usize,
) -> Result<(u64, u64)> {
    let row = store.first("SELECT projected_to FROM market WHERE id = 1", &[]).await?;
    let projected_to = row.ok_or(IndexerError::CursorMoved)?.u64("projected_to")?;
    let (mut events, mut findings) = (0, 0);
    if projected_to >= progress.block_number {
        return Ok((events, findings));
    }
    tracing::info!(from = projected_to + 1, to = progress.block_number, "the marketplace catches up");
    let mut ranges = reader.events_stream(projected_to + 1, progress.block_number, prefetch);
    while let Some(range) = ranges.try_next().await? {
        events += range.events.len() as u64;
        findings += Box::pin(level(store, range, floor)).await?;
    }
    Ok((events, findings))
}

/// One such range, in a transaction of its own.
async fn level(store: &Store, range: EventRange<MarketEvent>, floor: u64) -> Result<u64> {
    let mut tx = store.begin().await?;
    let findings = write(&mut tx, &range.events, (range.from.saturating_sub(1), range.to), floor).await?;
    // The row of the marketplace is ours until the end: a rollback under way waits for it, and then takes these rows along.
    if Progress::load_in(&mut tx).await?.is_none_or(|progress| progress.block_number < range.to) {
        return Err(IndexerError::CursorMoved);
    }
    place(&mut tx, &range.events, floor).await?;
    tx.commit().await?;
    Ok(findings)
}

/// Writes the blocks of the events, which must be the ones that are stored.
///
/// # Errors
/// [`IndexerError::CursorMoved`] when one was replaced: the next look takes it back.
async fn place(tx: &mut Tx, events: &[ChainEvent<MarketEvent>], floor: u64) -> Result<()> {
    let blocks: BTreeMap<u64, (B256, u64)> = events
        .iter()
        .map(|event| (event.meta.block_number, (event.meta.block_hash, event.meta.block_timestamp)))
        .collect();
    let mut bulk = Bulk::new(&BLOCKS);
    for (number, (hash, timestamp)) in blocks {
        if number > floor {
            let stored = tx.first("SELECT hash FROM blocks WHERE number = $1", &[number.into()]).await?;
            if stored.map(|row| row.b256("hash")).transpose()?.is_some_and(|stored| stored != hash) {
                return Err(IndexerError::CursorMoved);
            }
        }
        bulk.push([number.into(), hash.into(), timestamp.into(), true.into()]);
    }
    tx.insert(bulk).await
}

/// Everything stored that the events concern.
async fn load(tx: &mut Tx, events: &[ChainEvent<MarketEvent>]) -> Result<Known> {
    let mut touched = Touched::by(events);
    let mut known = Known::default();
    let ids: Vec<i64> = touched.sessions.iter().map(|id| id.get().cast_signed()).collect();
    let emptied: Vec<i64> = touched.emptied.iter().map(|id| i64::from(*id)).collect();
    let mut rows = tx.among("SELECT * FROM market_sessions WHERE id", &ids).await?;
    rows.extend(tx.among("SELECT * FROM market_sessions WHERE status = 0 AND escrow_id", &emptied).await?);
    for row in &rows {
        let row = SessionRow::read(row)?;
        touched.providers.insert(row.provider_id);
        touched.agents.insert((row.id.escrow(), row.agent));
        known.sessions.insert(row.id, row);
    }
    let ids: Vec<i64> = touched.providers.iter().map(|id| i64::from(*id)).collect();
    for row in &tx.among("SELECT * FROM market_providers WHERE id", &ids).await? {
        let row = ProviderRow::read(row)?;
        known.providers.insert(row.id, row);
    }
    let ids: Vec<i64> = touched.escrows.iter().map(|id| i64::from(*id)).collect();
    for row in &tx.among("SELECT * FROM market_escrows WHERE id", &ids).await? {
        let row = EscrowRow::read(row)?;
        known.escrows.insert(row.id, row);
    }
    for (escrow, agent) in touched.agents {
        let arguments = [escrow.into(), agent.into()];
        let row = tx.first("SELECT * FROM market_agents WHERE escrow_id = $1 AND agent = $2", &arguments).await?;
        if let Some(row) = row.as_ref().map(AgentRow::read).transpose()? {
            known.agents.insert((escrow, agent), row);
        }
    }
    Ok(known)
}
