//! Credit reserved by jobs in flight: the rows of `holds`.

use alloy::primitives::B256;
use compute_futures_protocol::{AccountId, Authorization, Usdc};

use super::LedgerError;
use super::dialect::Engine;
use super::sql::{Columns, Rows, Session, Source, from_json};

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
    /// Not a column: what `authorization` is the JSON of, where it is at hand.
    pub(crate) signed: Option<Authorization>,
    /// Not a column: whether it is one of [`super::running::Running`], and has no row.
    pub(crate) in_memory: bool,
}

impl Hold {
    /// What the payer signed.
    pub(crate) fn signed(&self) -> Result<Authorization, LedgerError> {
        self.signed.clone().map_or_else(|| from_json(&self.authorization), Ok)
    }
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
pub(crate) async fn lock(session: &mut impl Session, jobs: &[B256]) -> Result<Vec<Hold>, LedgerError> {
    let statement = match session.engine() {
        Engine::Sqlite => &LOAD,
        Engine::Postgres => &LOCK,
    };
    let rows = statement.fetch(session, jobs, |job| [job.into()]).await?;
    rows.iter().map(read).collect()
}

fn read<'r>(row: impl Into<Source<'r>>) -> Result<Hold, LedgerError> {
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
        signed: None,
        in_memory: false,
    })
}

/// Stores new holds.
pub(crate) async fn insert(session: &mut impl Session, holds: &[&Hold]) -> Result<(), LedgerError> {
    INSERT
        .insert(session, holds, |hold| {
            [
                (&hold.job_id).into(),
                hold.account.get().into(),
                (&hold.key).into(),
                (&hold.request_hash).into(),
                hold.amount.into(),
                hold.max_list.into(),
                hold.discount_bps.into(),
                hold.lease.into(),
                (&hold.kind).into(),
                (&hold.model).into(),
                (&hold.authorization_hash).into(),
                (&hold.authorization).into(),
                hold.held_at_ms.into(),
            ]
        })
        .await
}

/// Removes holds that became charges or were released.
pub(crate) async fn delete(session: &mut impl Session, jobs: &[B256]) -> Result<(), LedgerError> {
    DELETE.update(session, jobs, |job| [job.into()]).await?;
    Ok(())
}
