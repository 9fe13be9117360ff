//! Where settlement stands, for `/ready`, metrics and `compute-futures operator status`.

use compute_futures_protocol::{TransactionId, Usdc};

use super::{SettlementError, outbox, seal};
use crate::follow::{Cursor, cursor};
use crate::ledger::sql::{Columns, int};
use crate::ledger::{Ledger, LedgerError, now_ms};

/// A batch that is sealed and not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchInFlight {
    /// Its number.
    pub number: u64,
    /// Whether rows and root are fixed.
    pub sealed: bool,
    /// Transactions signed for it, oldest first.
    pub transactions: Vec<TransactionId>,
    /// What the contract last said against it.
    pub error: Option<String>,
}

/// Where settlement stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlementStatus {
    /// Newest block whose events are in the ledger.
    pub followed: Option<Cursor>,
    /// Newest batch seen on chain.
    pub last_confirmed_batch: Option<u64>,
    /// The batch that takes receipts now.
    pub open_batch: u64,
    /// Receipts in it.
    pub open_receipts: u64,
    /// Net value in it.
    pub open_value: Usdc,
    /// The batch on its way.
    pub in_flight: Option<BatchInFlight>,
    /// Actions not confirmed.
    pub outbox_pending: u64,
    /// Charged and not confirmed on chain, net.
    pub unposted: Usdc,
    /// Age of the oldest receipt that is not confirmed, in seconds.
    pub oldest_unposted_seconds: u64,
    /// Accounts that take no jobs because chain and ledger differ.
    pub frozen_accounts: u64,
}

pub(crate) async fn read(ledger: &Ledger) -> Result<SettlementStatus, SettlementError> {
    let followed = cursor(ledger).await?;
    let (unposted, oldest_unposted_seconds) = unposted(ledger).await?;
    let mut connection = ledger.db.pool.acquire().await?;
    let open = seal::open(&mut connection).await?;
    let in_flight = match seal::under_way(&mut connection).await? {
        None => None,
        Some((number, sealed)) => {
            let purpose = super::Purpose::batch(number);
            let attempts = outbox::attempts(&mut connection, &purpose).await?;
            let entry = outbox::load(&mut connection, &purpose).await?;
            Some(BatchInFlight {
                number,
                sealed,
                transactions: attempts.iter().map(|attempt| attempt.transaction.id).collect(),
                error: entry.and_then(|entry| entry.error),
            })
        }
    };
    let row =
        sqlx::query("SELECT MAX(number) FROM batches WHERE state = 'confirmed'").fetch_one(&mut *connection).await?;
    let last_confirmed_batch = Columns::of(&row).optional_int()?;
    let row = sqlx::query("SELECT COUNT(*) FROM accounts WHERE frozen IS NOT NULL").fetch_one(&mut *connection).await?;
    let frozen_accounts = Columns::of(&row).int()?;
    let outbox_pending = outbox::pending(&mut connection).await?;
    Ok(SettlementStatus {
        followed,
        last_confirmed_batch,
        open_batch: open.number,
        open_receipts: open.receipts,
        open_value: open.charged,
        in_flight,
        outbox_pending,
        unposted,
        oldest_unposted_seconds,
        frozen_accounts,
    })
}

/// Net value of receipts not confirmed on chain, and the age of the oldest in seconds.
pub(crate) async fn unposted(ledger: &Ledger) -> Result<(Usdc, u64), LedgerError> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(charged), 0) AS BIGINT), MIN(first_receipt_ms) FROM batches \
         WHERE state IN ('open', 'closed', 'sealed')",
    )
    .fetch_one(&ledger.db.pool)
    .await?;
    let mut columns = Columns::of(&row);
    let value = columns.usdc()?;
    let age = columns.optional_int()?.map_or(0, |first| now_ms().saturating_sub(first) / 1000);
    Ok((value, age))
}

/// Credit reserved by running jobs, of every relayer on this ledger.
pub(crate) async fn held(ledger: &Ledger) -> Result<Usdc, LedgerError> {
    let row =
        sqlx::query("SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM holds").fetch_one(&ledger.db.pool).await?;
    let in_memory = ledger.context.running.held_by_account().into_values().map(Usdc::micros).sum();
    Ok(Usdc::from_micros(Columns::of(&row).usdc()?.micros().saturating_add(in_memory)))
}

/// Why this batch was asked for, if it was.
pub(crate) async fn flush_requested(ledger: &Ledger, batch: u64) -> Result<Option<String>, LedgerError> {
    let row = sqlx::query("SELECT flush_reason FROM identity WHERE flush_batch = $1")
        .bind(int(batch))
        .fetch_optional(&ledger.db.pool)
        .await?;
    row.map(|row| Columns::of(&row).text()).transpose()
}
