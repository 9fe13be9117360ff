//! A refund with the operator's consent: stop, settle, close. Driven by the account's state alone, so it survives a crash.

use std::time::{Duration, Instant};

use compute_futures_chain::{Action, EventKind};
use compute_futures_protocol::{AccountId, TransactionId, Usdc};

use super::{LOOK, Purpose, Settlement, SettlementError, outbox};
use crate::follow::request_flush;
use crate::ledger::sql::{Columns, int};
use crate::ledger::{Ledger, LedgerError};

/// Accounts that are closing, and whose jobs have ended but for those that only memory knows.
const CLOSING: &str =
    "SELECT id, total_charged - settled, void FROM accounts WHERE closing = 1 AND closed = 0 AND held = 0";

/// A refund that is on chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundDone {
    /// What the owner got.
    pub amount: Usdc,
    /// The transaction that paid it.
    pub transaction: TransactionId,
    /// Receipts of the account.
    pub jobs_executed: u64,
}

/// Marks the account and waits for what the leader makes of it.
pub(crate) async fn run(settlement: &Settlement, account: AccountId) -> Result<RefundDone, SettlementError> {
    let ledger = &settlement.ledger;
    let view = ledger.account(account).await?.ok_or(LedgerError::UnknownAccount(account))?;
    if !view.closed {
        let mut tx = ledger.db.begin_write().await?;
        sqlx::query("UPDATE accounts SET closing = 1 WHERE id = $1 AND closed = 0")
            .bind(int(account.get()))
            .execute(tx.connection())
            .await?;
        tx.commit().await?;
        ledger.context.progress.wake.notify_one();
    }
    let until = Instant::now() + Duration::from_secs(settlement.config.refund_seconds);
    loop {
        if let Some(done) = refunded(ledger, account).await? {
            return Ok(done);
        }
        if Instant::now() >= until {
            let held = ledger.account(account).await?.map_or(Usdc::ZERO, |view| view.held);
            return Err(if held.is_zero() {
                SettlementError::Pending { what: format!("the refund of account {account}") }
            } else {
                SettlementError::JobsInFlight { account, jobs: held }
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn refunded(ledger: &Ledger, account: AccountId) -> Result<Option<RefundDone>, LedgerError> {
    let row = sqlx::query(
        "SELECT transaction_hash, event_json FROM chain_events WHERE account = $1 AND kind = 'refunded' \
         ORDER BY block_number DESC LIMIT 1",
    )
    .bind(int(account.get()))
    .fetch_optional(&ledger.db.pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let mut columns = Columns::of(&row);
    let transaction = columns.transaction()?;
    let EventKind::Refunded { amount, .. } = columns.json()? else { return Ok(None) };
    let jobs_executed = ledger.account(account).await?.map_or(0, |view| view.jobs);
    Ok(Some(RefundDone { amount, transaction, jobs_executed }))
}

/// The leader's part: accounts that are closing and whose jobs have ended are flushed, and closed once nothing is pending.
pub(crate) async fn round(ledger: &Ledger) -> Result<(), SettlementError> {
    if sqlx::query(CLOSING).fetch_all(&ledger.db.pool).await?.is_empty() {
        return Ok(());
    }
    // Asked again with the right to write: now no job ends, and what it charges is no more in memory than in a row.
    let mut tx = ledger.db.begin_write().await?;
    let rows = sqlx::query(CLOSING).fetch_all(tx.connection()).await?;
    for row in &rows {
        let mut columns = Columns::of(row);
        let (account, pending, void) = (columns.account()?, columns.int()?, columns.flag()?);
        if !ledger.context.running.held(account).is_zero() {
            continue;
        }
        if pending > 0 && !void {
            request_flush(tx.connection(), "refund").await?;
            continue;
        }
        // A refused attempt (the chain was not ready for it) is queued again.
        let action = Action::CloseAccount { account };
        outbox::enqueue(tx.connection(), &Purpose::close(account), &action, &format!("close:{account}")).await?;
    }
    Ok(tx.commit().await?)
}
