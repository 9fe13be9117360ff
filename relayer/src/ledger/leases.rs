//! Which processes live, so that one restart never releases what another relayer holds for a running job.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::B256;
use rand::Rng as _;
use tokio::sync::{mpsc, oneshot};

use super::command::{Command, Queued};
use super::db::Db;
use super::dialect::Engine;
use super::sql::{Columns, int};
use super::{Context, LedgerConfig, LedgerError, now_ms};

/// Registers this process. On SQLite every other lease is over: the file's lock says that nobody else is there.
pub(crate) async fn begin(db: &Db, config: &LedgerConfig) -> Result<u64, LedgerError> {
    let lease: u64 = rand::rng().random_range(1..1 << 62);
    let mut tx = db.begin_write().await?;
    if db.engine == Engine::Sqlite {
        sqlx::query("DELETE FROM leases").execute(tx.connection()).await?;
    }
    sqlx::query("INSERT INTO leases (id, expires_ms) VALUES ($1, $2)")
        .bind(int(lease))
        .bind(int(now_ms() + config.lease_seconds * 1000))
        .execute(tx.connection())
        .await?;
    tx.commit().await?;
    Ok(lease)
}

/// Ends the lease: what this process still holds may be released at once.
pub(crate) async fn end(db: &Db, context: &Context) {
    let ended = async {
        let mut tx = db.begin_write().await?;
        sqlx::query("DELETE FROM leases WHERE id = $1").bind(int(context.lease)).execute(tx.connection()).await?;
        tx.commit().await
    };
    if let Err(error) = ended.await {
        tracing::warn!(%error, "the lease could not be ended; it runs out by itself");
    }
}

/// Renews the lease, releases orphans and forgets old answers, until the ledger is dropped.
pub(crate) async fn keep(db: Db, context: Arc<Context>, queue: mpsc::WeakSender<Queued>) {
    let period = Duration::from_millis((context.config.lease_seconds * 1000 / 6).clamp(50, 10_000));
    let mut ticks = 0_u64;
    loop {
        tokio::time::sleep(period).await;
        let Some(queue) = queue.upgrade() else { return };
        if db.pool.is_closed() {
            return;
        }
        if let Err(error) = round(&db, &context, &queue).await {
            tracing::warn!(%error, "the ledger's lease could not be renewed; retrying");
        }
        if ticks.is_multiple_of(360)
            && let Err(error) = forget_answers(&db, &context).await
        {
            tracing::warn!(%error, "old answers could not be removed; retrying later");
        }
        ticks += 1;
    }
}

async fn round(db: &Db, context: &Context, queue: &mpsc::Sender<Queued>) -> Result<(), LedgerError> {
    let mut tx = db.begin_write().await?;
    let expires = int(now_ms() + context.config.lease_seconds * 1000);
    sqlx::query("INSERT INTO leases (id, expires_ms) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET expires_ms = excluded.expires_ms")
        .bind(int(context.lease))
        .bind(expires)
        .execute(tx.connection())
        .await?;
    tx.commit().await?;
    for job in orphans(db, context).await? {
        tracing::warn!(%job, "releasing the hold of a job that nobody works on any more");
        metrics::counter!("relayer_orphaned_holds_total", "network" => context.identity.chain.caip2()).increment(1);
        let (reply, done) = oneshot::channel();
        if queue.send(Queued { command: Command::Release { job }, reply }).await.is_err() {
            return Ok(());
        }
        if let Ok(Err(error)) = done.await {
            return Err(error);
        }
    }
    Ok(())
}

/// Jobs whose process stopped, or that run for longer than any job may; also forgets payments such a process worked on.
/// Jobs attached to a payment that may have settled are left alone: the payment decides about them. So are durable jobs, and
/// their payments: the queue decides about those.
pub(crate) async fn orphans(db: &Db, context: &Context) -> Result<Vec<B256>, LedgerError> {
    let now = now_ms();
    let too_old = now.saturating_sub(context.config.hold_seconds * 1000);
    let mut tx = db.begin_write().await?;
    sqlx::query("DELETE FROM leases WHERE expires_ms < $1").bind(int(now)).execute(tx.connection()).await?;
    sqlx::query(
        "UPDATE payments SET state = 'failed', reason = 'the process that worked on it stopped' \
         WHERE state = 'working' AND (created_ms < $1 OR NOT EXISTS (SELECT 1 FROM leases WHERE leases.id = payments.lease)) \
         AND NOT EXISTS (SELECT 1 FROM queue WHERE queue.state = 'open' AND queue.payment = payments.id)",
    )
    .bind(int(too_old))
    .execute(tx.connection())
    .await?;
    let rows = sqlx::query(
        "SELECT job_id FROM holds WHERE (held_at_ms < $1 OR NOT EXISTS (SELECT 1 FROM leases WHERE leases.id = holds.lease)) \
         AND NOT EXISTS (SELECT 1 FROM payments WHERE payments.state = 'ready' AND payments.job_id = holds.job_id) \
         AND NOT EXISTS (SELECT 1 FROM queue WHERE queue.state = 'open' AND queue.job_id = holds.job_id) \
         ORDER BY job_id",
    )
    .bind(int(too_old))
    .fetch_all(tx.connection())
    .await?;
    tx.commit().await?;
    let mut orphans: Vec<B256> = rows.iter().map(|row| Columns::of(row).hash()).collect::<Result<_, _>>()?;
    orphans.extend(context.running.held_before(too_old));
    Ok(orphans)
}

/// Answers are kept for retries, not for good.
async fn forget_answers(db: &Db, context: &Context) -> Result<(), LedgerError> {
    let before = (now_ms() / 1000).saturating_sub(context.config.keep_answers_days * 86_400);
    let mut tx = db.begin_write().await?;
    sqlx::query(
        "UPDATE receipts SET answer = NULL WHERE answer IS NOT NULL AND batch_number IN \
         (SELECT number FROM batches WHERE state = 'confirmed' AND sealed_ms < $1)",
    )
    .bind(int(before * 1000))
    .execute(tx.connection())
    .await?;
    sqlx::query("UPDATE payments SET answer = NULL WHERE answer IS NOT NULL AND state = 'settled' AND ready_ms < $1")
        .bind(int(before * 1000))
        .execute(tx.connection())
        .await?;
    tx.commit().await
}
