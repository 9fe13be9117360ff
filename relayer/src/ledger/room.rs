//! Room in the open batch, where a batch must fit a transaction of few rows (Solana).
//!
//! A receipt names its batch, so a batch that has too many rows could never be posted, and nothing after it. Therefore a hold is
//! taken only while every account that holds credit now could still get its row.

use std::sync::atomic::Ordering;

use super::account::Account;
use super::dialect::Engine;
use super::group::OPEN_BATCH;
use super::sql::{Columns, Session};
use super::{Context, LedgerError};

const WAITING: &str = "SELECT COUNT(*) FROM accounts WHERE held > 0 AND (row_batch <> $1 OR row_bps <> discount_bps)";
/// Rows kept free for accounts whose discount rises while they hold credit: what they are charged from then on needs a row of its own.
const SLACK: u64 = 4;
/// On PostgreSQL nobody else gives the same row away until the transaction ends.
const OPEN_BATCH_LOCKED: &str = "SELECT number, receipts, debit_rows FROM batches WHERE state = 'open' FOR UPDATE";

/// What is left of a batch's rows, as one group of commands uses it up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    batch: u64,
    left: u64,
}

impl Room {
    /// The room left now; `None` when batches are not limited so.
    pub(super) async fn look(session: &mut impl Session, context: &Context) -> Result<Option<Self>, LedgerError> {
        let Some(most) = context.config.most_rows else { return Ok(None) };
        let open = match session.engine() {
            Engine::Sqlite => OPEN_BATCH,
            Engine::Postgres => OPEN_BATCH_LOCKED,
        };
        let rows = session.fetch(open, &[]).await?;
        let row = rows.first().ok_or_else(|| LedgerError::Corrupt("there is no open batch".into()))?;
        let mut columns = Columns::of(row);
        let (batch, _receipts, taken) = (columns.int()?, columns.int()?, columns.int()?);
        let rows = session.fetch(WAITING, &[batch.into()]).await?;
        let waiting = rows.first().map_or(Ok(0), |row| Columns::of(row).int())?;
        Ok(Some(Self {
            batch,
            left: most.saturating_sub(SLACK.min(most / 4)).saturating_sub(taken).saturating_sub(waiting),
        }))
    }

    /// Sets a row aside for an account that is about to hold credit, unless it has one.
    ///
    /// # Errors
    /// [`LedgerError::SettlementBehind`] when there is none left; the batch is closed as soon as the one before it is posted.
    pub(super) fn take(&mut self, account: &Account, context: &Context) -> Result<(), LedgerError> {
        if account.has_row_coming(self.batch) {
            return Ok(());
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                context.progress.full.store(true, Ordering::Relaxed);
                context.progress.wake.notify_one();
                Err(LedgerError::SettlementBehind)
            }
        }
    }
}
