//! The outbox: every chain action of the operator key, with all transactions ever signed for it.
//!
//! An action is stored before it is signed, a signed transaction before it is broadcast, and only an event confirms it. So at
//! every moment a restart finds either nothing, or all it needs to go on without doing anything twice (I-5).

use std::collections::BTreeSet;

use compute_futures_chain::market::MarketEvent;
use compute_futures_chain::{Action, ChainEvent, Fees, SignedTransaction, Validity};
use compute_futures_protocol::{Bytes, TransactionId};
use sqlx::AnyConnection;

use super::purpose::{self, Purpose};
use crate::ledger::sql::{Columns, from_json, int, to_json};
use crate::ledger::{LedgerError, now_ms};

/// How far an action got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not signed.
    Queued,
    /// Signed; perhaps broadcast, perhaps mined.
    Sent,
    /// Its event was seen.
    Confirmed,
    /// The contract refuses it.
    Failed,
}

impl State {
    fn parse(name: &str) -> Result<Self, LedgerError> {
        Ok(match name {
            "queued" => Self::Queued,
            "sent" => Self::Sent,
            "confirmed" => Self::Confirmed,
            "failed" => Self::Failed,
            other => return Err(LedgerError::Corrupt(format!("an action in state {other:?}"))),
        })
    }
}

/// A row of `outbox`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) purpose: Purpose,
    pub(crate) action: Action,
    pub(crate) state: State,
    /// Of the newest transaction signed for it, while that one counts.
    pub(crate) validity: Option<Validity>,
    pub(crate) gas_limit: Option<u64>,
    pub(crate) confirmed_tx: Option<TransactionId>,
    pub(crate) error: Option<String>,
    /// Not before this (unix milliseconds): back-off after a refusal.
    pub(crate) retry_ms: u64,
}

/// A row of `outbox_attempts`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attempt {
    pub(crate) purpose: Purpose,
    pub(crate) transaction: SignedTransaction,
    pub(crate) signed_ms: u64,
    /// `None` until we know that a node took it.
    pub(crate) broadcast_ms: Option<u64>,
}

macro_rules! columns {
    () => {
        "purpose, action_json, state, nonce, valid_until, gas_limit, confirmed_tx, error, retry_ms"
    };
}

fn read(row: &sqlx::any::AnyRow) -> Result<Entry, LedgerError> {
    let mut columns = Columns::of(row);
    Ok(Entry {
        purpose: Purpose::stored(columns.text()?),
        action: columns.json()?,
        state: State::parse(&columns.text()?)?,
        validity: validity(&mut columns)?,
        gas_limit: columns.optional_int()?,
        confirmed_tx: columns.optional_transaction()?,
        error: columns.optional_text()?,
        retry_ms: columns.int()?,
    })
}

fn validity(columns: &mut Columns<'_>) -> Result<Option<Validity>, LedgerError> {
    let (nonce, height) = (columns.optional_int()?, columns.optional_int()?);
    Ok(nonce.map(Validity::Nonce).or(height.map(Validity::UntilBlockHeight)))
}

/// Stores an action unless its purpose is there already. One that failed before is queued again.
pub(crate) async fn enqueue(
    connection: &mut AnyConnection,
    purpose: &Purpose,
    action: &Action,
    subject: &str,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO outbox (purpose, position, action_json, state, subject, retry_ms, created_ms) \
         SELECT $1, (SELECT COALESCE(MAX(position), 0) + 1 FROM outbox), $2, 'queued', $3, 0, $4 \
         WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE purpose = $1)",
    )
    .bind(purpose.as_str().to_owned())
    .bind(to_json(action)?)
    .bind(subject.to_owned())
    .bind(int(now_ms()))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE outbox SET state = 'queued', nonce = NULL, valid_until = NULL, error = NULL, retry_ms = 0 \
         WHERE purpose = $1 AND state = 'failed'",
    )
    .bind(purpose.as_str().to_owned())
    .execute(connection)
    .await?;
    Ok(())
}

/// One action.
pub(crate) async fn load(connection: &mut AnyConnection, purpose: &Purpose) -> Result<Option<Entry>, LedgerError> {
    let row = sqlx::query(concat!("SELECT ", columns!(), " FROM outbox WHERE purpose = $1"))
        .bind(purpose.as_str().to_owned())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

/// Actions that are signed and not confirmed, in the order they were signed.
pub(crate) async fn sent(connection: &mut AnyConnection) -> Result<Vec<Entry>, LedgerError> {
    let rows =
        sqlx::query(concat!("SELECT ", columns!(), " FROM outbox WHERE state = 'sent' ORDER BY nonce, position"))
            .fetch_all(connection)
            .await?;
    rows.iter().map(read).collect()
}

/// Actions that are not signed, in the order they came.
pub(crate) async fn queued(connection: &mut AnyConnection) -> Result<Vec<Entry>, LedgerError> {
    let rows = sqlx::query(concat!("SELECT ", columns!(), " FROM outbox WHERE state = 'queued' ORDER BY position"))
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

/// How many actions are not confirmed.
pub(crate) async fn pending(connection: &mut AnyConnection) -> Result<u64, LedgerError> {
    let row =
        sqlx::query("SELECT COUNT(*) FROM outbox WHERE state IN ('queued', 'sent')").fetch_one(connection).await?;
    Columns::of(&row).int()
}

macro_rules! attempt_columns {
    () => {
        "purpose, hash, nonce, valid_until, raw, max_fee, max_priority_fee, signed_ms, broadcast_ms"
    };
}

fn read_attempt(row: &sqlx::any::AnyRow) -> Result<Attempt, LedgerError> {
    let mut columns = Columns::of(row);
    let purpose = Purpose::stored(columns.text()?);
    let id = columns.transaction()?;
    let validity = validity(&mut columns)?
        .ok_or_else(|| LedgerError::Corrupt(format!("transaction {id} with neither nonce nor block height")))?;
    let raw = Bytes::from(columns.bytes()?.into_owned());
    let mut fee = || {
        let text = columns.text()?;
        text.parse::<u128>().map_err(|_| LedgerError::Corrupt(format!("{text:?} where a fee belongs")))
    };
    let fees = Fees { max_fee: fee()?, max_priority_fee: fee()? };
    Ok(Attempt {
        purpose,
        transaction: SignedTransaction { id, raw, validity, fees },
        signed_ms: columns.int()?,
        broadcast_ms: columns.optional_int()?,
    })
}

/// Transactions signed for an action, oldest first.
pub(crate) async fn attempts(connection: &mut AnyConnection, purpose: &Purpose) -> Result<Vec<Attempt>, LedgerError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        attempt_columns!(),
        " FROM outbox_attempts WHERE purpose = $1 ORDER BY nonce, signed_ms"
    ))
    .bind(purpose.as_str().to_owned())
    .fetch_all(connection)
    .await?;
    rows.iter().map(read_attempt).collect()
}

/// Transactions at or above a nonce, whatever became of their actions; by nonce, newest last.
pub(crate) async fn attempts_from(connection: &mut AnyConnection, nonce: u64) -> Result<Vec<Attempt>, LedgerError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        attempt_columns!(),
        " FROM outbox_attempts WHERE nonce >= $1 ORDER BY nonce, signed_ms"
    ))
    .bind(int(nonce))
    .fetch_all(connection)
    .await?;
    rows.iter().map(read_attempt).collect()
}

/// The nonce of the next transaction: `floor`, or above every one that was ever given.
pub(crate) async fn next_nonce(connection: &mut AnyConnection, floor: u64) -> Result<u64, LedgerError> {
    let row = sqlx::query("SELECT MAX(nonce) FROM outbox_attempts").fetch_one(connection).await?;
    Ok(Columns::of(&row).optional_int()?.map_or(floor, |last| floor.max(last + 1)))
}

/// Stores a signed transaction before it is broadcast.
pub(crate) async fn store_attempt(
    connection: &mut AnyConnection,
    purpose: &Purpose,
    gas_limit: u64,
    transaction: &SignedTransaction,
) -> Result<(), LedgerError> {
    let (nonce, valid_until) = match transaction.validity {
        Validity::Nonce(nonce) => (Some(int(nonce)), None),
        Validity::UntilBlockHeight(height) => (None, Some(int(height))),
    };
    sqlx::query("UPDATE outbox SET state = 'sent', nonce = $2, valid_until = $3, gas_limit = $4, error = NULL WHERE purpose = $1")
        .bind(purpose.as_str().to_owned())
        .bind(nonce)
        .bind(valid_until)
        .bind(int(gas_limit))
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO outbox_attempts (hash, purpose, nonce, valid_until, raw, max_fee, max_priority_fee, signed_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(transaction.id.to_vec())
    .bind(purpose.as_str().to_owned())
    .bind(nonce)
    .bind(valid_until)
    .bind(transaction.raw.to_vec())
    .bind(transaction.fees.max_fee.to_string())
    .bind(transaction.fees.max_priority_fee.to_string())
    .bind(int(now_ms()))
    .execute(connection)
    .await?;
    Ok(())
}

/// A node took the transaction.
pub(crate) async fn mark_broadcast(
    connection: &mut AnyConnection,
    transaction: TransactionId,
) -> Result<(), LedgerError> {
    sqlx::query("UPDATE outbox_attempts SET broadcast_ms = $2 WHERE hash = $1")
        .bind(transaction.to_vec())
        .bind(int(now_ms()))
        .execute(connection)
        .await?;
    Ok(())
}

/// The contract refuses the action for good.
pub(crate) async fn fail(connection: &mut AnyConnection, purpose: &Purpose, reason: &str) -> Result<(), LedgerError> {
    sqlx::query("UPDATE outbox SET state = 'failed', error = $2 WHERE purpose = $1 AND state IN ('queued', 'sent')")
        .bind(purpose.as_str().to_owned())
        .bind(reason.chars().take(500).collect::<String>())
        .execute(connection)
        .await?;
    Ok(())
}

/// The action goes back to be signed anew, not before `retry_ms`.
pub(crate) async fn requeue(
    connection: &mut AnyConnection,
    purpose: &Purpose,
    reason: &str,
    retry_ms: u64,
) -> Result<(), LedgerError> {
    sqlx::query(
        "UPDATE outbox SET state = 'queued', nonce = NULL, valid_until = NULL, error = $2, retry_ms = $3 \
         WHERE purpose = $1 AND state IN ('queued', 'sent')",
    )
    .bind(purpose.as_str().to_owned())
    .bind(reason.chars().take(500).collect::<String>())
    .bind(int(retry_ms))
    .execute(connection)
    .await?;
    Ok(())
}

/// A mined transaction of an action that leaves no event.
pub(crate) async fn confirm_mined(
    connection: &mut AnyConnection,
    purpose: &Purpose,
    transaction: TransactionId,
    block: u64,
) -> Result<(), LedgerError> {
    set_confirmed(connection, purpose.as_str(), transaction, block).await
}

async fn set_confirmed(
    connection: &mut AnyConnection,
    purpose: &str,
    transaction: TransactionId,
    block: u64,
) -> Result<(), LedgerError> {
    sqlx::query(
        "UPDATE outbox SET state = 'confirmed', confirmed_tx = $2, confirmed_block = $3, error = NULL \
         WHERE purpose = $1 AND state <> 'confirmed'",
    )
    .bind(purpose.to_owned())
    .bind(transaction.to_vec())
    .bind(int(block))
    .execute(connection)
    .await?;
    Ok(())
}

/// Confirms the actions that these events belong to: by the transaction that caused them, or by what they did.
pub(crate) async fn confirm(connection: &mut AnyConnection, events: &[ChainEvent]) -> Result<(), LedgerError> {
    // A batch has many events in one transaction: look each transaction up once.
    let mut transactions: Vec<_> =
        events.iter().map(|event| (event.meta.transaction, event.meta.block_number)).collect();
    transactions.dedup();
    for (transaction, block) in transactions {
        let rows = sqlx::query("SELECT purpose FROM outbox_attempts WHERE hash = $1")
            .bind(transaction.to_vec())
            .fetch_all(&mut *connection)
            .await?;
        for row in &rows {
            let purpose = Columns::of(row).text()?;
            set_confirmed(connection, &purpose, transaction, block).await?;
        }
    }
    for event in events {
        let meta = &event.meta;
        let Some(subject) = purpose::subject_of_event(&event.kind) else { continue };
        let rows =
            sqlx::query("SELECT purpose, action_json FROM outbox WHERE subject = $1 AND state IN ('queued', 'sent')")
                .bind(subject)
                .fetch_all(&mut *connection)
                .await?;
        for row in &rows {
            let mut columns = Columns::of(row);
            let (purpose, action) = (columns.text()?, columns.text()?);
            if purpose::satisfies(&event.kind, &from_json(&action)?) {
                set_confirmed(connection, &purpose, meta.transaction, meta.block_number).await?;
            }
        }
    }
    Ok(())
}

/// Transactions signed for the marketplace's actions that are not confirmed.
pub(crate) async fn market_transactions(
    connection: &mut AnyConnection,
) -> Result<BTreeSet<TransactionId>, LedgerError> {
    let rows = sqlx::query(
        "SELECT hash FROM outbox_attempts WHERE purpose IN \
         (SELECT purpose FROM outbox WHERE purpose LIKE 'market-%' AND state <> 'confirmed')",
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Columns::of(row).transaction()).collect()
}

/// Confirms the marketplace's actions that these events belong to, as [`confirm`] does.
pub(crate) async fn confirm_market(
    connection: &mut AnyConnection,
    events: &[ChainEvent<MarketEvent>],
) -> Result<(), LedgerError> {
    let rows = sqlx::query(
        "SELECT purpose, subject FROM outbox WHERE purpose LIKE 'market-%' AND state <> 'confirmed' ORDER BY position",
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in &rows {
        let mut columns = Columns::of(row);
        let (purpose, subject) = (columns.text()?, columns.text()?);
        let attempts = attempts(connection, &Purpose::stored(purpose.clone())).await?;
        let is_it = |event: &&ChainEvent<MarketEvent>| {
            attempts.iter().any(|attempt| attempt.transaction.id == event.meta.transaction)
                || !subject.is_empty() && purpose::subject_of_market(&event.kind).as_deref() == Some(subject.as_str())
        };
        if let Some(event) = events.iter().find(is_it) {
            set_confirmed(connection, &purpose, event.meta.transaction, event.meta.block_number).await?;
        }
    }
    Ok(())
}

/// A reorg took the confirming blocks away. The same bytes are broadcast again at once. The marketplace's actions are confirmed by events
/// of their own, and only [`unconfirm_market`] takes that back.
pub(crate) async fn unconfirm(connection: &mut AnyConnection, above: i64) -> Result<(), LedgerError> {
    for statement in [
        "UPDATE outbox_attempts SET broadcast_ms = NULL WHERE purpose IN \
         (SELECT purpose FROM outbox WHERE state = 'confirmed' AND confirmed_block > $1 AND purpose NOT LIKE 'market-%')",
        "UPDATE outbox SET state = 'sent', confirmed_tx = NULL, confirmed_block = NULL \
         WHERE state = 'confirmed' AND confirmed_block > $1 AND purpose NOT LIKE 'market-%' \
         AND (nonce IS NOT NULL OR valid_until IS NOT NULL)",
        "UPDATE outbox SET state = 'queued', confirmed_tx = NULL, confirmed_block = NULL \
         WHERE state = 'confirmed' AND confirmed_block > $1 AND purpose NOT LIKE 'market-%'",
    ] {
        sqlx::query(statement).bind(above).execute(&mut *connection).await?;
    }
    Ok(())
}

/// As [`unconfirm`], of the marketplace's actions: they have a follower of their own, which may find that another block still stands.
pub(crate) async fn unconfirm_market(connection: &mut AnyConnection, above: i64) -> Result<(), LedgerError> {
    for statement in [
        "UPDATE outbox_attempts SET broadcast_ms = NULL WHERE purpose IN \
         (SELECT purpose FROM outbox WHERE state = 'confirmed' AND confirmed_block > $1 AND purpose LIKE 'market-%')",
        "UPDATE outbox SET state = 'sent', confirmed_tx = NULL, confirmed_block = NULL \
         WHERE state = 'confirmed' AND confirmed_block > $1 AND purpose LIKE 'market-%' \
         AND (nonce IS NOT NULL OR valid_until IS NOT NULL)",
        "UPDATE outbox SET state = 'queued', confirmed_tx = NULL, confirmed_block = NULL \
         WHERE state = 'confirmed' AND confirmed_block > $1 AND purpose LIKE 'market-%'",
    ] {
        sqlx::query(statement).bind(above).execute(&mut *connection).await?;
    }
    Ok(())
}
