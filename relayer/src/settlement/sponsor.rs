//! Verbs of owners that the operator's key pays for: offered unsigned, taken back signed, posted once.
//!
//! Whoever asks may want our money, not the verb. So an offer promises nothing and is not remembered; what comes back is signed
//! only when it is, byte for byte, what would be offered for that verb, within a fee and within what a day may cost; and one
//! message is counted and posted once, however often it is presented (T-38).

use compute_futures_chain::Action;
use compute_futures_protocol::{Address, Bytes};
use sqlx::AnyConnection;

use super::{Purpose, Settlement, SettlementError, outbox, purpose};
use crate::ledger::sql::{Columns, bytes, int};
use crate::ledger::{LedgerError, now_ms};

/// The window of both limits.
const DAY_MS: u64 = 24 * 3600 * 1000;
/// How long rows are kept: longer than the window.
const KEPT_MS: u64 = 2 * DAY_MS;

/// What a day may cost. The window moves: it is the last 24 hours at any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SponsorLimits {
    /// Lamports in all, fees and rent. Deposits may use half of it: whoever wants to get out finds the other half.
    pub per_day: u64,
    /// Verbs of one owner.
    pub per_owner: u64,
}

/// What became of a signed verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is posted, now or before; see [`Settlement::wait`].
    Queued(Purpose),
    /// The owner had its share of this day.
    OwnerHadEnough,
    /// The day's budget is used up.
    BudgetUsedUp,
}

impl Settlement {
    /// A transaction of `owner` that we would pay for, to be signed. Nothing is kept.
    ///
    /// # Errors
    /// [`SettlementError::Chain`]: why it would be refused.
    pub async fn offer(&self, owner: Address, verb: &Action) -> Result<Bytes, SettlementError> {
        Ok(self.writer.sponsor(owner, verb).await?)
    }

    /// Takes back what `owner` signed, and posts it: once, whenever it is presented again.
    ///
    /// # Errors
    /// [`SettlementError::Chain`] when it is not what would be offered, or would not pass now.
    pub async fn sponsor(
        &self,
        owner: Address,
        verb: &Action,
        transaction: &[u8],
        limits: SponsorLimits,
    ) -> Result<Taken, SettlementError> {
        let presented = self.writer.sponsorship(owner, verb, transaction)?;
        let (purpose, message) = (Purpose::new("sponsored", presented.message), bytes(presented.message));
        let seen = {
            let mut connection = self.ledger.db.pool.acquire().await?;
            if is_known(&mut connection, &message).await? {
                return Ok(Taken::Queued(purpose));
            }
            within(&mut connection, owner, verb, presented.cost, limits).await?
        };
        if let Some(refused) = seen {
            return Ok(refused);
        }
        let action = Action::Sponsored { owner, verb: Box::new(verb.clone()), transaction: presented.transaction };
        // Byte for byte what we would offer, and it would pass: asked before it counts, so that only what we sign is counted.
        self.writer.estimate(&action).await?;
        let subject = purpose::subject_of(&action, || None);
        let mut attempts = 0;
        loop {
            let mut tx = self.ledger.db.begin_write().await?;
            let connection = tx.connection();
            if is_known(connection, &message).await? {
                return Ok(Taken::Queued(purpose));
            }
            // Others may have been taken meanwhile.
            if let Some(refused) = within(connection, owner, verb, presented.cost, limits).await? {
                return Ok(refused);
            }
            let stored = async {
                count(tx.connection(), owner, message.clone(), presented.cost).await?;
                outbox::enqueue(tx.connection(), &purpose, &action, &subject).await
            };
            let stored = match stored.await {
                Ok(()) => tx.commit().await,
                Err(error) => Err(error),
            };
            match stored {
                // Two relayers took the same place in the queue, or the same message: the next look tells.
                Err(LedgerError::Conflict { .. }) if attempts < 10 => attempts += 1,
                other => {
                    other?;
                    self.ledger.context.progress.wake.notify_one();
                    metrics::counter!("relayer_sponsored_total", "network" => self.ledger.network()).increment(1);
                    return Ok(Taken::Queued(purpose));
                }
            }
        }
    }
}

async fn is_known(connection: &mut AnyConnection, message: &[u8]) -> Result<bool, LedgerError> {
    let row = sqlx::query("SELECT 1 FROM sponsored WHERE message = $1")
        .bind(message.to_vec())
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// `None`: both limits leave room for it.
async fn within(
    connection: &mut AnyConnection,
    owner: Address,
    verb: &Action,
    cost: u64,
    limits: SponsorLimits,
) -> Result<Option<Taken>, LedgerError> {
    let since = int(now_ms().saturating_sub(DAY_MS));
    let row = sqlx::query("SELECT COUNT(*) FROM sponsored WHERE taken_ms > $1 AND owner = $2")
        .bind(since)
        .bind(owner.to_vec())
        .fetch_one(&mut *connection)
        .await?;
    if Columns::of(&row).int()? >= limits.per_owner {
        return Ok(Some(Taken::OwnerHadEnough));
    }
    let row = sqlx::query("SELECT CAST(COALESCE(SUM(cost), 0) AS BIGINT) FROM sponsored WHERE taken_ms > $1")
        .bind(since)
        .fetch_one(connection)
        .await?;
    let budget = match verb {
        Action::Deposit { .. } | Action::TopUp { .. } => limits.per_day / 2,
        _ => limits.per_day,
    };
    let used_up = Columns::of(&row).int()?.saturating_add(cost) > budget;
    Ok(used_up.then_some(Taken::BudgetUsedUp))
}

async fn count(connection: &mut AnyConnection, owner: Address, message: Vec<u8>, cost: u64) -> Result<(), LedgerError> {
    let now = now_ms();
    sqlx::query("INSERT INTO sponsored (message, owner, cost, taken_ms) VALUES ($1, $2, $3, $4)")
        .bind(message)
        .bind(owner.to_vec())
        .bind(int(cost))
        .bind(int(now))
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM sponsored WHERE taken_ms < $1")
        .bind(int(now.saturating_sub(KEPT_MS)))
        .execute(connection)
        .await?;
    Ok(())
}
