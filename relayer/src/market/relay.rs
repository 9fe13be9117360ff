//! Transactions that we bring on chain for others: openings, creations, fundings, sweeps, expiries.
//!
//! Each does only what somebody signed or the clock decided; what it can cost us is fees. So it must be about some money of theirs, and
//! there are so many an hour (T-38).

use std::time::Duration;

use compute_futures_chain::Action;
use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::TransactionId;
use compute_futures_protocol::market::{OpenSession, SessionId};

use super::Market;
use super::sessions::session_id;
use crate::ledger::sql::{Columns, int};
use crate::ledger::{LedgerError, now_ms};
use crate::settlement::{Purpose, SettlementError};

/// The window of both limits.
const HOUR_MS: u64 = 3_600_000;

/// What became of a transaction for somebody else.
#[derive(Debug, Clone, PartialEq)]
pub enum Relayed {
    /// It is on chain: the transaction, and what it did, in order.
    Done(TransactionId, Vec<MarketEvent>),
    /// Queued or sent; it goes on by itself.
    Pending,
    /// We brought enough in the last hour, for everybody or for this one.
    Enough,
}

impl Market {
    /// The purpose of bringing something of `whom` (an escrow or an address); `key` makes it happen once.
    #[must_use]
    pub fn relay_purpose(kind: &str, whom: impl std::fmt::Display, key: impl std::fmt::Display) -> Purpose {
        Purpose::new("market-relay", format_args!("{kind}:{whom}:{key}"))
    }

    /// Whether it was taken before, and did not fail: then only its end is waited for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_under_way(&self, purpose: &Purpose) -> Result<bool, LedgerError> {
        let row = sqlx::query("SELECT 1 FROM outbox WHERE purpose = $1 AND state <> 'failed'")
            .bind(purpose.as_str().to_owned())
            .fetch_optional(&self.ledger.db.pool)
            .await?;
        Ok(row.is_some())
    }

    /// How many with a purpose that begins so are on chain: makes the next one another.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn relayed_before(&self, kind: &str, whom: impl std::fmt::Display) -> Result<u64, LedgerError> {
        let row = sqlx::query("SELECT COUNT(*) FROM outbox WHERE purpose LIKE $1 AND state = 'confirmed'")
            .bind(format!("market-relay:{kind}:{whom}:%"))
            .fetch_one(&self.ledger.db.pool)
            .await?;
        Columns::of(&row).int()
    }

    /// Brings `verb` on chain, once per purpose, and waits for it. Ask [`Settlement::would_pass`](crate::settlement::Settlement::would_pass)
    /// before.
    ///
    /// # Errors
    /// [`SettlementError::Refused`] when the contract refuses it after all.
    pub async fn relay(
        &self,
        purpose: &Purpose,
        whom: &str,
        verb: MarketAction,
        patience: Duration,
    ) -> Result<Relayed, SettlementError> {
        if !self.is_under_way(purpose).await? {
            if self.had_enough(whom).await? {
                return Ok(Relayed::Enough);
            }
            self.settlement.submit(purpose, Action::Market(verb)).await?;
        }
        match self.settlement.wait(purpose, patience).await {
            Ok(done) => Ok(Relayed::Done(done.transaction, self.events_of(done.transaction).await?)),
            Err(SettlementError::Pending { .. }) => Ok(Relayed::Pending),
            Err(error) => Err(error),
        }
    }

    async fn had_enough(&self, whom: &str) -> Result<bool, LedgerError> {
        let since = int(now_ms().saturating_sub(HOUR_MS));
        for (pattern, most) in [
            ("market-relay:%".to_owned(), self.settings.relays_per_hour),
            (format!("market-relay:%:{whom}:%"), self.settings.relays_per_hour_each),
        ] {
            let row = sqlx::query("SELECT COUNT(*) FROM outbox WHERE created_ms > $1 AND purpose LIKE $2")
                .bind(since)
                .bind(pattern)
                .fetch_one(&self.ledger.db.pool)
                .await?;
            if Columns::of(&row).int()? >= most {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a transaction of ours did to the marketplace, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_of(&self, transaction: TransactionId) -> Result<Vec<MarketEvent>, LedgerError> {
        let rows = sqlx::query(
            "SELECT event_json FROM market_events WHERE transaction_hash = $1 ORDER BY block_number, log_index",
        )
        .bind(transaction.to_vec())
        .fetch_all(&self.ledger.db.pool)
        .await?;
        rows.iter().map(|row| Columns::of(row).json()).collect()
    }

    /// The session that was opened on these very terms, whoever brought them: the newest, when there are several.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn opened(&self, open: &OpenSession) -> Result<Option<SessionId>, LedgerError> {
        let row = sqlx::query(
            "SELECT id FROM market_sessions WHERE escrow = $1 AND agent = $2 AND provider = $3 AND content_hash = $4 \
             AND session_limit = $5 AND deadline = $6 AND chain_status <> 'gone' ORDER BY opened_block DESC, id DESC LIMIT 1",
        )
        .bind(i64::from(open.escrow_id))
        .bind(open.agent.to_vec())
        .bind(i64::from(open.provider_id))
        .bind(open.content_hash.to_vec())
        .bind(int(open.limit.micros()))
        .bind(int(open.deadline))
        .fetch_optional(&self.ledger.db.pool)
        .await?;
        row.map(|row| session_id(Columns::of(&row).int()?)).transpose()
    }

    /// No more calls on a session: it is closed when those in flight have ended. `false`: it was over already, or is not ours.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stop(&self, session: SessionId) -> Result<bool, LedgerError> {
        let mut tx = self.ledger.db.begin_write().await?;
        let changed = sqlx::query(
            "UPDATE market_sessions SET state = 'closing' WHERE id = $1 AND state = 'open' AND chain_status = 'open'",
        )
        .bind(int(session.get()))
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        Ok(changed.rows_affected() > 0)
    }
}
