//! Writes a range of blocks into the ledger: events, accounts, confirmed batches and actions, and the cursor, in one
//! transaction.

use std::collections::{BTreeMap, BTreeSet};

use compute_futures_chain::{BlockRef, ChainEvent, EventKind, Heads};
use compute_futures_protocol::AccountId;
use sqlx::AnyConnection;

use super::trust::{Fresh, unconfirmed};
use super::{FollowError, confirm, project, reorg, set_cursor};
use crate::ledger::account::{self, Account};
use crate::ledger::db::WriteTx;
use crate::ledger::sql::{Columns, Rows, int, to_json};
use crate::ledger::{Context, Ledger, LedgerError};
use crate::settlement::outbox;

static INSERT_EVENTS: Rows = Rows::values(
    "INSERT INTO chain_events (block_number, log_index, block_hash, block_timestamp, transaction_hash, account, kind, \
     event_json) VALUES ",
    8,
    "",
);

/// Takes events up to `block`.
pub(crate) async fn advance(
    ledger: &Ledger,
    block: &BlockRef,
    heads: &Heads,
    events: Vec<ChainEvent>,
    window: u64,
) -> Result<(), FollowError> {
    let mut tx = ledger.db.begin_write().await?;
    store_events(tx.connection(), &events).await?;

    let fresh = accounts_with_fresh_deposits(tx.connection()).await?;
    let mut ids: BTreeSet<AccountId> = events.iter().filter_map(|event| event.kind.account()).collect();
    ids.extend(fresh);
    ids.extend(confirm::accounts_of(tx.connection(), &events).await?);
    let mut accounts = lock(&mut tx, &ids).await?;

    let mut wants_flush = None;
    for event in &events {
        if let Some(id) = event.kind.account() {
            let account = accounts.entry(id).or_insert_with(|| project::unopened(id));
            let rate = account.discount_bps;
            project::apply(account, event);
            wants_flush = wants_flush.or(flush_reason(&event.kind, rate, account));
        }
        remember_terms(&ledger.context, &event.kind);
    }
    confirm::batches(tx.connection(), ledger.network(), &events, &mut accounts).await?;
    for account in accounts.values_mut() {
        trust(tx.connection(), &ledger.context, account, heads).await?;
        if account.overdrawn() {
            metrics::counter!("relayer_overdrawn_accounts_total", "network" => ledger.network()).increment(1);
            tracing::warn!(account = %account.id, "the account has spent more than it holds (a reorg took a deposit back)");
        }
        account::store_mirror(tx.connection(), account).await?;
    }
    outbox::confirm(tx.connection(), &events).await?;
    if let Some(reason) = wants_flush {
        request_flush(tx.connection(), reason).await?;
    }
    set_cursor(tx.connection(), block, heads).await?;
    reorg::forget_old(tx.connection(), heads, window).await?;
    tx.commit().await?;
    if events.iter().any(|event| matches!(event.kind, EventKind::BatchPosted { .. })) {
        crate::failpoint!("batch::after_confirm");
    }
    Ok(())
}

/// No new block, but older ones became safe or finalized: larger deposits may be spendable now.
pub(crate) async fn heads_moved(ledger: &Ledger, heads: &Heads) -> Result<(), FollowError> {
    let mut tx = ledger.db.begin_write().await?;
    let ids = accounts_with_fresh_deposits(tx.connection()).await?;
    for account in lock(&mut tx, &ids).await?.values_mut() {
        trust(tx.connection(), &ledger.context, account, heads).await?;
        account::store_mirror(tx.connection(), account).await?;
    }
    sqlx::query("UPDATE follow_cursor SET safe = $1, finalized = $2")
        .bind(int(heads.safe))
        .bind(int(heads.finalized))
        .execute(tx.connection())
        .await?;
    Ok(tx.commit().await?)
}

/// Locks accounts in the order everybody locks them.
pub(crate) async fn lock(
    tx: &mut WriteTx<'_>,
    ids: &BTreeSet<AccountId>,
) -> Result<BTreeMap<AccountId, Account>, LedgerError> {
    let ids: Vec<AccountId> = ids.iter().copied().collect();
    let accounts = account::lock(tx.connection(), &ids).await?;
    Ok(accounts.into_iter().map(|account| (account.id, account)).collect())
}

/// Accounts part of whose credit waits for confirmations.
async fn accounts_with_fresh_deposits(connection: &mut AnyConnection) -> Result<BTreeSet<AccountId>, LedgerError> {
    let rows = sqlx::query("SELECT id FROM accounts WHERE unconfirmed > 0").fetch_all(connection).await?;
    rows.iter().map(|row| Columns::of(row).account()).collect()
}

/// Sets how much of the credit waits for confirmations.
pub(crate) async fn trust(
    connection: &mut AnyConnection,
    context: &Context,
    account: &mut Account,
    heads: &Heads,
) -> Result<(), LedgerError> {
    let rows = sqlx::query(
        "SELECT block_number, event_json FROM chain_events WHERE account = $1 AND block_number > $2 AND kind = 'deposited' \
         ORDER BY block_number, log_index",
    )
    .bind(int(account.id.get()))
    .bind(int(heads.finalized))
    .fetch_all(connection)
    .await?;
    let mut fresh = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut columns = Columns::of(row);
        let block = columns.int()?;
        if let EventKind::Deposited { amount, .. } = columns.json()? {
            fresh.push(Fresh { block, amount });
        }
    }
    let config = &context.config;
    let locked = unconfirmed(&fresh, heads.safe, heads.finalized, config.trust_latest, config.trust_safe);
    account.unconfirmed = locked.min(account.credit);
    Ok(())
}

async fn store_events(connection: &mut AnyConnection, events: &[ChainEvent]) -> Result<(), LedgerError> {
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        rows.push((event, to_json(&event.kind)?));
    }
    INSERT_EVENTS
        .insert(connection, &rows, |(event, json)| {
            [
                event.meta.block_number.into(),
                event.meta.log_index.into(),
                (&event.meta.block_hash).into(),
                event.meta.block_timestamp.into(),
                (&event.meta.transaction).into(),
                event.kind.account().map(AccountId::get).into(),
                project::name_of(&event.kind).into(),
                json.into(),
            ]
        })
        .await
}

/// Whether what happened should not wait for the batcher's limits: a refund must not overtake debits, and a better rate should
/// reach the chain soon.
fn flush_reason(event: &EventKind, rate_before: u16, account: &Account) -> Option<&'static str> {
    match event {
        EventKind::RefundRequested { .. } => Some("refund requested"),
        EventKind::Deposited { .. } if rate_before > 0 && account.discount_bps > rate_before => Some("discount raised"),
        _ => None,
    }
}

/// Asks the batcher to close the open batch at its next look, if there is anything in it. The request names the batch, so it
/// is over when the batch is closed, and nothing ever has to take it back.
pub(crate) async fn request_flush(connection: &mut AnyConnection, reason: &str) -> Result<(), LedgerError> {
    sqlx::query(
        "UPDATE identity SET flush_reason = $1, flush_batch = (SELECT number FROM batches WHERE state = 'open') \
         WHERE EXISTS (SELECT 1 FROM batches WHERE state = 'open' AND receipts > 0 AND number > flush_batch)",
    )
    .bind(reason.to_owned())
    .execute(connection)
    .await?;
    Ok(())
}

fn remember_terms(context: &Context, event: &EventKind) {
    if let EventKind::TermsSet { terms_version, terms, .. } = event {
        let mut known = context.terms.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.insert(*terms_version, terms.clone());
    }
}
