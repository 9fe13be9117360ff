//! Credit reserved by jobs in flight: the rows of `holds`.

use alloy::primitives::B256;
use compute_futures_protocol::{AccountId, Usdc};
use sqlx::AnyConnection;

use super::LedgerError;
use super::dialect::Engine;
use super::sql::{Columns, Rows, bytes, int, micros};

/// A row of `holds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) job_id: B256,
    pub(crate) account: AccountId,
    pub(crate) key: B256,
    pub(crate) request_hash: B256,
    pub(crate) amount: Usdc,
    pub(crate) max_list: Usdc,
    pub(crate) discount_bps: u16,
    pub(crate) lease: u64,
    pub(crate) kind: String,
    pub(crate) model: String,
    pub(crate) authorization_hash: B256,
    pub(crate) authorization: String,
    pub(crate) held_at_ms: u64,
}

macro_rules! columns {
    () => {
        "job_id, account, idempotency_key, request_hash, amount, max_list, discount_bps, lease, kind, model, \
         authorization_hash, authorization_json, held_at_ms"
    };
}

static LOAD: Rows = Rows::list(concat!("SELECT ", columns!(), " FROM holds WHERE job_id IN "), "");
static LOCK: Rows =
    Rows::list(concat!("SELECT ", columns!(), " FROM holds WHERE job_id IN "), " ORDER BY job_id FOR UPDATE");
static INSERT: Rows = Rows::values(concat!("INSERT INTO holds (", columns!(), ") VALUES "), 13, "");
static DELETE: Rows = Rows::list("DELETE FROM holds WHERE job_id IN ", "");

/// Loads the holds of jobs and locks them until the transaction ends.
pub(crate) async fn lock(
    connection: &mut AnyConnection,
    engine: Engine,
    jobs: &[B256],
) -> Result<Vec<Hold>, LedgerError> {
    let statement = match engine {
        Engine::Sqlite => &LOAD,
        Engine::Postgres => &LOCK,
    };
    let rows = statement.fetch(connection, jobs, |query, job| query.bind(bytes(*job))).await?;
    rows.iter().map(read).collect()
}

fn read(row: &sqlx::any::AnyRow) -> Result<Hold, LedgerError> {
    let mut columns = Columns::of(row);
    Ok(Hold {
        job_id: columns.hash()?,
        account: columns.account()?,
        key: columns.hash()?,
        request_hash: columns.hash()?,
        amount: columns.usdc()?,
        max_list: columns.usdc()?,
        discount_bps: columns.small()?,
        lease: columns.int()?,
        kind: columns.text()?,
        model: columns.text()?,
        authorization_hash: columns.hash()?,
        authorization: columns.text()?,
        held_at_ms: columns.int()?,
    })
}

/// Stores new holds.
pub(crate) async fn insert(connection: &mut AnyConnection, holds: &[Hold]) -> Result<(), sqlx::Error> {
    INSERT
        .insert(connection, holds, |query, hold| {
            query
                .bind(bytes(hold.job_id))
                .bind(int(hold.account.get()))
                .bind(bytes(hold.key))
                .bind(bytes(hold.request_hash))
                .bind(micros(hold.amount))
                .bind(micros(hold.max_list))
                .bind(i64::from(hold.discount_bps))
                .bind(int(hold.lease))
                .bind(hold.kind.clone())
                .bind(hold.model.clone())
                .bind(bytes(hold.authorization_hash))
                .bind(hold.authorization.clone())
                .bind(int(hold.held_at_ms))
        })
        .await
}

/// Removes holds that became charges or were released.
pub(crate) async fn delete(connection: &mut AnyConnection, jobs: &[B256]) -> Result<(), sqlx::Error> {
    DELETE.update(connection, jobs, |query, job| query.bind(bytes(*job))).await?;
    Ok(())
}
