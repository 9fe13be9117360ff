//! Who leads: follows the chain, seals and posts. SQLite's file lock has decided that already; on PostgreSQL it is whoever holds
//! an advisory lock, for as long as its connection lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::{Any, Row as _};

use crate::ledger::{Engine, Ledger, LedgerError};

/// First half of the lock's key, "cfut"; the second is the operator's index.
const LOCK_SPACE: i64 = 0x6366_7574;

/// Leadership, or the wish for it.
pub(crate) struct Leadership {
    ledger: Ledger,
    /// The connection that holds the lock.
    connection: Option<PoolConnection<Any>>,
    /// What was found last, for whoever asks.
    leads: Arc<AtomicBool>,
}

impl Leadership {
    pub(crate) fn new(ledger: Ledger, leads: Arc<AtomicBool>) -> Self {
        Self { ledger, connection: None, leads }
    }

    /// Whether this process leads now. Asks the database each time: a lock is lost with its connection.
    pub(crate) async fn held(&mut self) -> Result<bool, LedgerError> {
        let held = self.ask().await;
        self.tell(matches!(held, Ok(true)));
        held
    }

    fn tell(&self, leads: bool) {
        self.leads.store(leads, Ordering::Relaxed);
        metrics::gauge!("relayer_leader", "network" => self.ledger.network()).set(if leads { 1.0 } else { 0.0 });
    }

    async fn ask(&mut self) -> Result<bool, LedgerError> {
        if self.ledger.engine() == Engine::Sqlite {
            return Ok(true);
        }
        if let Some(connection) = &mut self.connection {
            if sqlx::query("SELECT 1").execute(&mut **connection).await.is_ok() {
                return Ok(true);
            }
            tracing::warn!("the connection that held the leader's lock broke");
            if let Some(connection) = self.connection.take() {
                drop(connection.detach());
            }
        }
        let mut connection = self.ledger.db.pool.acquire().await?;
        let key = (LOCK_SPACE << 32) | i64::from(self.ledger.identity().operator_index);
        let row = sqlx::query("SELECT pg_try_advisory_lock($1)").bind(key).fetch_one(&mut *connection).await?;
        if row.try_get::<bool, _>(0)? {
            tracing::info!("this relayer leads now: it follows the chain and posts batches");
            self.connection = Some(connection);
            return Ok(true);
        }
        Ok(false)
    }

    /// Lets another relayer lead.
    pub(crate) async fn release(&mut self) {
        self.tell(false);
        if let Some(connection) = self.connection.take() {
            // Closing the connection releases the lock; a pooled connection would keep it.
            let _ = sqlx::Connection::close(connection.detach()).await;
        }
    }
}
