//! The queue's SQL. Claims skip what others hold: `SKIP LOCKED` on PostgreSQL; SQLite has one writer at a time.

use compute_futures_protocol::{AccountId, B256, Usdc};
use rand::Rng as _;
use sqlx::AnyConnection;

use super::types::{Claimed, Funding, Item, ItemOutcome, ItemState, JobState, NewJob, Reason, StoredJob};
use crate::ledger::db::{Db, WriteTx};
use crate::ledger::dialect::Engine;
use crate::ledger::sql::{Columns, bytes, from_json, int, micros, to_json};
use crate::ledger::{LedgerError, now_ms};
use crate::providers::Ticket;

/// Most jobs at once whose payments settle when they are done: of all payers, and of one.
const MOST_UNPAID: u64 = 256;
const MOST_UNPAID_OF_ONE: u64 = 32;
/// Names the lock under which they are counted.
const UNPAID_LOCK: i64 = 0x6366_756e_7061_6964;
/// Stands for no account in the key of a job that an x402 payment names.
const NO_ACCOUNT: i64 = 0;

fn account_key(account: Option<AccountId>) -> i64 {
    account.map_or(NO_ACCOUNT, |account| int(account.get()))
}

pub(super) async fn insert(db: &Db, job: &NewJob) -> Result<(), LedgerError> {
    let now = now_ms();
    let mut tx = db.begin_write().await?;
    if job.funding.payment.is_some() {
        require_room(&mut tx, job).await?;
    }
    sqlx::query(
        "INSERT INTO queue (job_id, idempotency_key, account, request_hash, payer, charges, payment, spec_json, state, \
         created_ms, deadline_ms, finish_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9, $10, $11)",
    )
    .bind(bytes(job.id))
    .bind(bytes(job.key))
    .bind(account_key(job.account))
    .bind(bytes(job.request_hash))
    .bind(job.payer.to_vec())
    .bind(job.funding.charges.map(|account| int(account.get())))
    .bind(job.funding.payment.map(bytes))
    .bind(to_json(&job.spec)?)
    .bind(int(now))
    .bind(int(job.deadline_ms))
    .bind(int(now))
    .execute(tx.connection())
    .await?;
    for (position, input) in (0_i64..).zip(&job.items) {
        sqlx::query(
            "INSERT INTO queue_items (job_id, position, state, input_json, looks, failures, due_ms, lease, leased_until_ms, \
             list_amount) VALUES ($1, $2, 'open', $3, 0, 0, $4, 0, 0, 0)",
        )
        .bind(bytes(job.id))
        .bind(position)
        .bind(to_json(input)?)
        .bind(int(now))
        .execute(tx.connection())
        .await?;
    }
    tx.commit().await
}

/// A payment that settles after the work is only as good as its payer's wallet is then: what may run on such promises is bounded.
async fn require_room(tx: &mut WriteTx<'_>, job: &NewJob) -> Result<(), LedgerError> {
    if tx.engine == Engine::Postgres {
        // One at a time: two that count together would both find room.
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(UNPAID_LOCK).execute(tx.connection()).await?;
    }
    let row = sqlx::query(
        "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN payer = $1 THEN 1 ELSE 0 END), 0) AS BIGINT) FROM queue \
         WHERE state = 'open' AND payment IS NOT NULL",
    )
    .bind(job.payer.to_vec())
    .fetch_one(tx.connection())
    .await?;
    let mut columns = Columns::of(&row);
    let (all, of_payer): (u64, u64) = (columns.int()?, columns.int()?);
    if all >= MOST_UNPAID || of_payer >= MOST_UNPAID_OF_ONE { Err(LedgerError::TooManyUnpaid) } else { Ok(()) }
}

pub(super) async fn find(db: &Db, account: Option<AccountId>, key: B256) -> Result<Option<B256>, LedgerError> {
    let row = sqlx::query("SELECT job_id FROM queue WHERE idempotency_key = $1 AND account = $2 AND state <> 'failed'")
        .bind(bytes(key))
        .bind(account_key(account))
        .fetch_optional(&db.pool)
        .await?;
    row.map(|row| Columns::of(&row).hash()).transpose()
}

pub(super) async fn job(db: &Db, id: B256) -> Result<Option<StoredJob>, LedgerError> {
    let mut connection = db.pool.acquire().await?;
    let row = sqlx::query(
        "SELECT request_hash, payer, charges, payment, spec_json, state, created_ms, finished_ms, answer, error_json \
         FROM queue WHERE job_id = $1",
    )
    .bind(bytes(id))
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let mut columns = Columns::of(&row);
    Ok(Some(StoredJob {
        id,
        request_hash: columns.hash()?,
        payer: columns.address()?,
        funding: Funding {
            charges: columns
                .optional_int()?
                .map(|account| AccountId::try_from(account).map_err(|_| corrupt("an account id")))
                .transpose()?,
            payment: columns.optional_hash()?,
        },
        spec: columns.json()?,
        state: match columns.text()?.as_str() {
            "open" => JobState::Open,
            "done" => JobState::Done,
            "failed" => JobState::Failed,
            _ => return Err(corrupt("a job's state")),
        },
        created_ms: columns.int()?,
        finished_ms: columns.optional_int()?,
        answer: columns.optional_bytes()?.map(|answer| answer.into_owned().into()),
        error: columns.optional_text()?.map(|text| from_json(&text)).transpose()?,
        items: items(&mut connection, id).await?,
    }))
}

async fn items(connection: &mut AnyConnection, id: B256) -> Result<Vec<Item>, LedgerError> {
    let rows = sqlx::query(
        "SELECT position, state, input_json, handle_json, output_json, list_amount, error_json FROM queue_items \
         WHERE job_id = $1 ORDER BY position",
    )
    .bind(bytes(id))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            let (position, state) = (columns.int()?, columns.text()?);
            let input = columns.json()?;
            let running = columns.optional_text()?.is_some();
            let (output, list_amount, error) = (columns.optional_text()?, columns.usdc()?, columns.optional_text()?);
            let state = match (state.as_str(), output, error) {
                ("open", ..) => ItemState::Open { running },
                ("done", Some(output), _) => {
                    ItemState::Ended(ItemOutcome::Done { output: Box::new(from_json(&output)?), list_amount })
                }
                ("failed", _, Some(error)) => ItemState::Ended(ItemOutcome::Failed(from_json(&error)?)),
                _ => return Err(corrupt("an item's state")),
            };
            Ok(Item { position, input, state })
        })
        .collect()
}

/// Whether no job is open and no webhook is due: only read, so that an idle queue never waits for the database's one writer.
pub(super) async fn is_idle(db: &Db) -> Result<bool, LedgerError> {
    let open = sqlx::query("SELECT job_id FROM queue WHERE state = 'open' LIMIT 1").fetch_optional(&db.pool).await?;
    let due = sqlx::query("SELECT job_id FROM webhooks WHERE due_ms <= $1 LIMIT 1").bind(int(now_ms()));
    Ok(open.is_none() && due.fetch_optional(&db.pool).await?.is_none())
}

/// Takes items that are due and that nobody works on, for `lease_ms`. That they were taken is counted in the same transaction: whatever
/// becomes of this process.
pub(super) async fn claim(db: &Db, limit: u32, lease_ms: u64) -> Result<Vec<Claimed>, LedgerError> {
    let now = now_ms();
    let lease: u64 = rand::rng().random_range(1..1 << 62);
    let mut tx = db.begin_write().await?;
    let text = match tx.engine {
        Engine::Sqlite => {
            "SELECT i.job_id, i.position, i.input_json, i.handle_json, i.looks, i.failures, q.deadline_ms, i.due_ms \
             FROM queue_items i JOIN queue q ON q.job_id = i.job_id \
             WHERE i.state = 'open' AND q.state = 'open' AND i.due_ms <= $1 AND i.leased_until_ms <= $1 \
             ORDER BY i.due_ms LIMIT $2"
        }
        Engine::Postgres => {
            "SELECT i.job_id, i.position, i.input_json, i.handle_json, i.looks, i.failures, q.deadline_ms, i.due_ms \
             FROM queue_items i JOIN queue q ON q.job_id = i.job_id \
             WHERE i.state = 'open' AND q.state = 'open' AND i.due_ms <= $1 AND i.leased_until_ms <= $1 \
             ORDER BY i.due_ms LIMIT $2 FOR UPDATE OF i SKIP LOCKED"
        }
    };
    let rows = sqlx::query(text).bind(int(now)).bind(i64::from(limit)).fetch_all(tx.connection()).await?;
    let mut claimed = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut columns = Columns::of(row);
        let item = Claimed {
            job: columns.hash()?,
            position: columns.int()?,
            input: columns.json()?,
            handle: columns.optional_text()?,
            looks: columns.int()?,
            failures: columns.int()?,
            deadline_ms: columns.int()?,
            due_ms: columns.int()?,
            lease,
        };
        sqlx::query("UPDATE queue_items SET looks = looks + 1, lease = $1, leased_until_ms = $2 WHERE job_id = $3 AND position = $4")
            .bind(int(lease))
            .bind(int(now + lease_ms))
            .bind(bytes(item.job))
            .bind(int(item.position))
            .execute(tx.connection())
            .await?;
        claimed.push(item);
    }
    tx.commit().await?;
    Ok(claimed)
}

/// Keeps an item for longer: its provider is still at work. `false`: it was lost to somebody else.
pub(super) async fn renew(db: &Db, item: &Claimed, lease_ms: u64) -> Result<bool, LedgerError> {
    let mut tx = db.begin_write().await?;
    let kept = sqlx::query(
        "UPDATE queue_items SET leased_until_ms = $1 WHERE job_id = $2 AND position = $3 AND lease = $4 AND state = 'open'",
    )
    .bind(int(now_ms() + lease_ms))
    .bind(bytes(item.job))
    .bind(int(item.position))
    .bind(int(item.lease))
    .execute(tx.connection())
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok(kept == 1)
}

/// Puts an item back until it is due again: at once when its provider told of it while it was looked at.
pub(super) async fn put_back(
    db: &Db,
    item: &Claimed,
    handle: Option<&str>,
    failures: u64,
    due_ms: u64,
) -> Result<(), LedgerError> {
    let mut tx = db.begin_write().await?;
    sqlx::query(
        "UPDATE queue_items SET handle_json = $1, failures = $2, \
         due_ms = CASE WHEN due_ms > $7 THEN due_ms ELSE $3 END, lease = 0, leased_until_ms = 0 \
         WHERE job_id = $4 AND position = $5 AND lease = $6 AND state = 'open'",
    )
    .bind(handle)
    .bind(int(failures))
    .bind(int(due_ms))
    .bind(bytes(item.job))
    .bind(int(item.position))
    .bind(int(item.lease))
    .bind(int(item.due_ms))
    .execute(tx.connection())
    .await?;
    tx.commit().await
}

/// Items that a provider works on under this id: found by what the ticket that was written down says. Returns how many are due now.
pub(super) async fn wake(db: &Db, provider: &str, upstream_id: &str) -> Result<u64, LedgerError> {
    // A first sieve; what counts is the ticket as it is read.
    let like = format!("%\"{upstream_id}\"%");
    let mut tx = db.begin_write().await?;
    let rows = sqlx::query(
        "SELECT job_id, position, handle_json, due_ms FROM queue_items WHERE state = 'open' AND handle_json LIKE $1",
    )
    .bind(like)
    .fetch_all(tx.connection())
    .await?;
    let mut woken = 0;
    for row in &rows {
        let mut columns = Columns::of(row);
        let (job, position, handle, due_ms): (_, u64, Ticket, u64) =
            (columns.hash()?, columns.int()?, columns.json()?, columns.int()?);
        if handle.provider != provider || handle.upstream_id != upstream_id {
            continue;
        }
        let due = now_ms().max(due_ms.saturating_add(1)).min(now_ms().saturating_add(1));
        sqlx::query("UPDATE queue_items SET due_ms = $1 WHERE job_id = $2 AND position = $3 AND state = 'open'")
            .bind(int(due))
            .bind(bytes(job))
            .bind(int(position))
            .execute(tx.connection())
            .await?;
        woken += 1;
    }
    tx.commit().await?;
    Ok(woken)
}

/// Writes an item's end. Returns whether it was ours to write.
pub(super) async fn end(db: &Db, item: &Claimed, outcome: &ItemOutcome) -> Result<bool, LedgerError> {
    let (state, output, list_amount, error) = match outcome {
        ItemOutcome::Done { output, list_amount } => ("done", Some(to_json(output)?), *list_amount, None),
        ItemOutcome::Failed(reason) => ("failed", None, Usdc::ZERO, Some(to_json(reason)?)),
    };
    let mut tx = db.begin_write().await?;
    let written = sqlx::query(
        "UPDATE queue_items SET state = $1, output_json = $2, list_amount = $3, error_json = $4, lease = 0 \
         WHERE job_id = $5 AND position = $6 AND lease = $7 AND state = 'open'",
    )
    .bind(state)
    .bind(output)
    .bind(micros(list_amount))
    .bind(error)
    .bind(bytes(item.job))
    .bind(int(item.position))
    .bind(int(item.lease))
    .execute(tx.connection())
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok(written == 1)
}

/// Takes jobs whose items have all ended, so that one relayer finishes each; another one tries again after `lease_ms`.
pub(super) async fn claim_finished(db: &Db, limit: u32, lease_ms: u64) -> Result<Vec<B256>, LedgerError> {
    let now = now_ms();
    let mut tx = db.begin_write().await?;
    let text = match tx.engine {
        Engine::Sqlite => {
            "SELECT job_id FROM queue WHERE state = 'open' AND finish_ms <= $1 AND NOT EXISTS \
             (SELECT 1 FROM queue_items i WHERE i.job_id = queue.job_id AND i.state = 'open') \
             ORDER BY finish_ms LIMIT $2"
        }
        Engine::Postgres => {
            "SELECT job_id FROM queue WHERE state = 'open' AND finish_ms <= $1 AND NOT EXISTS \
             (SELECT 1 FROM queue_items i WHERE i.job_id = queue.job_id AND i.state = 'open') \
             ORDER BY finish_ms LIMIT $2 FOR UPDATE SKIP LOCKED"
        }
    };
    let rows = sqlx::query(text).bind(int(now)).bind(i64::from(limit)).fetch_all(tx.connection()).await?;
    let jobs = rows.iter().map(|row| Columns::of(row).hash()).collect::<Result<Vec<_>, _>>()?;
    for job in &jobs {
        sqlx::query("UPDATE queue SET finish_ms = $1 WHERE job_id = $2")
            .bind(int(now + lease_ms))
            .bind(bytes(*job))
            .execute(tx.connection())
            .await?;
    }
    tx.commit().await?;
    Ok(jobs)
}

/// When to try again to take what a job cost.
pub(super) async fn finish_later(db: &Db, job: B256, at_ms: u64) -> Result<(), LedgerError> {
    let mut tx = db.begin_write().await?;
    sqlx::query("UPDATE queue SET finish_ms = $1 WHERE job_id = $2 AND state = 'open'")
        .bind(int(at_ms))
        .bind(bytes(job))
        .execute(tx.connection())
        .await?;
    tx.commit().await
}

/// A job's end, with its webhook: one transaction.
pub(super) async fn finish(
    db: &Db,
    job: B256,
    ended: Result<&[u8], &Reason>,
    webhook: Option<(&str, &[u8])>,
) -> Result<(), LedgerError> {
    let now = int(now_ms());
    let (state, answer, error) = match ended {
        Ok(answer) => ("done", Some(answer.to_vec()), None),
        Err(reason) => ("failed", None, Some(to_json(reason)?)),
    };
    let mut tx = db.begin_write().await?;
    let changed = sqlx::query(
        "UPDATE queue SET state = $1, answer = $2, error_json = $3, finished_ms = $4 WHERE job_id = $5 AND state = 'open'",
    )
    .bind(state)
    .bind(answer)
    .bind(error)
    .bind(now)
    .bind(bytes(job))
    .execute(tx.connection())
    .await?
    .rows_affected();
    if let (1, Some((url, body))) = (changed, webhook) {
        sqlx::query("INSERT INTO webhooks (job_id, url, body, attempts, due_ms) VALUES ($1, $2, $3, 0, $4)")
            .bind(bytes(job))
            .bind(url)
            .bind(body.to_vec())
            .bind(now)
            .execute(tx.connection())
            .await?;
    }
    tx.commit().await
}

pub(super) async fn forget(db: &Db, before_ms: u64) -> Result<(), LedgerError> {
    let mut tx = db.begin_write().await?;
    sqlx::query("DELETE FROM queue_items WHERE job_id IN (SELECT job_id FROM queue WHERE finished_ms < $1)")
        .bind(int(before_ms))
        .execute(tx.connection())
        .await?;
    sqlx::query("DELETE FROM queue WHERE finished_ms < $1").bind(int(before_ms)).execute(tx.connection()).await?;
    tx.commit().await
}

fn corrupt(what: &str) -> LedgerError {
    LedgerError::Corrupt(format!("the queue holds {what} that cannot be"))
}
