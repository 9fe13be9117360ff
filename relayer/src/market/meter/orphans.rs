//! Calls of processes that stopped: their holds go back to their sessions. Their providers may have answered; nobody pays what no
//! receipt says.

use compute_futures_protocol::{B256, Usdc};

use super::{Hold, NewCall, calls};
use crate::ledger::sql::{Columns, int};
use crate::ledger::{LedgerError, now_ms};
use crate::market::Market;
use crate::market::sessions::{lock, session_id};

/// What a call may take longer than its provider's deadline, in milliseconds: failing over, and waiting for the database.
const PATIENCE_MS: u64 = 600_000;

impl Market {
    /// Releases what calls hold that nobody works on any more. Returns how many they were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_orphans(&self) -> Result<usize, LedgerError> {
        let too_old = now_ms().saturating_sub(self.settings.provider_timeout_seconds * 1000 + PATIENCE_MS);
        let rows = sqlx::query(
            "SELECT execution_id, session, provider, agent, nonce, request_hash, model, held, attempt FROM market_calls \
             WHERE state = 'open' AND (created_ms < $1 OR NOT EXISTS \
             (SELECT 1 FROM leases WHERE leases.id = market_calls.lease AND leases.expires_ms >= $2)) ORDER BY execution_id",
        )
        .bind(int(too_old))
        .bind(int(now_ms()))
        .fetch_all(&self.ledger.db.pool)
        .await?;
        for row in &rows {
            let mut columns = Columns::of(row);
            let call = NewCall {
                execution_id: columns.hash()?,
                session: session_id(columns.int()?)?,
                provider: u32::try_from(columns.int()?).unwrap_or_default(),
                agent: columns.address()?,
                nonce: columns.hash()?,
                order: B256::ZERO,
                request_hash: columns.hash()?,
                model: columns.text()?,
                hold: Usdc::from_micros(columns.int()?),
            };
            let hold = Hold { call, attempt: columns.int()? };
            tracing::warn!(execution = %hold.call.execution_id, session = %hold.call.session, "releasing the hold of a call that nobody works on");
            let mut tx = self.ledger.db.begin_write().await?;
            lock(tx.connection(), hold.call.session).await?;
            calls::end_failed(tx.connection(), &hold, "abandoned").await?;
            tx.commit().await?;
        }
        Ok(rows.len())
    }
}
