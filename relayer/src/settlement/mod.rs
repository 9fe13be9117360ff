//! Settlement: receipts become batches, batches and all other actions of the operator key reach the chain exactly once.
//!
//! ```text
//! open batch ─close→ closed ─seal→ sealed ─outbox→ posted ─event→ confirmed
//!                                     (at most one of these at a time, next to the open one)
//! ```
//! One relayer leads: it follows the chain, seals and posts. The others only serve; with PostgreSQL one of them takes over when
//! the leader stops. [`Settlement`] is the handle that everybody has: what it is asked to do goes through the outbox.
//!
//! See `docs/adr/005-outbox.md`.

mod config;
mod error;
mod leader;
pub(crate) mod outbox;
pub(crate) mod purpose;
mod reconcile;
mod refund;
mod runner;
pub(crate) mod seal;
mod sender;
mod sponsor;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use compute_futures_chain::{Action, ChainReader, ChainWriter, EventKind};
use compute_futures_protocol::{AccountId, Address, TransactionId, Usdc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use config::SettlementConfig;
pub use error::SettlementError;
pub use purpose::Purpose;
pub use refund::RefundDone;
pub use sponsor::{SponsorLimits, Taken};
pub use status::{BatchInFlight, SettlementStatus};

use crate::follow::request_flush;
use crate::ledger::sql::{Columns, int};
use crate::ledger::{Ledger, LedgerError};
use crate::market::Keeper;

/// Longest pause between two looks at the database while somebody waits.
const LOOK: Duration = Duration::from_millis(100);

/// The handle: enqueues chain actions, asks for batches, waits for confirmations. Cheap to clone.
#[derive(Clone)]
pub struct Settlement {
    ledger: Ledger,
    reader: Arc<dyn ChainReader>,
    /// For what is signed by others too; what is ours alone goes through the outbox.
    writer: Arc<dyn ChainWriter>,
    config: Arc<SettlementConfig>,
    leads: Arc<AtomicBool>,
}

impl std::fmt::Debug for Settlement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settlement").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// An action whose event was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirmed {
    /// The transaction that did it.
    pub transaction: TransactionId,
    /// What that transaction did to our operator, in order.
    pub events: Vec<EventKind>,
}

/// What a flush did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flushed {
    /// The batch that everything charged before the flush is in; `None` when nothing ever was.
    pub batch_number: Option<u64>,
    /// The transaction that posted it.
    pub transaction: Option<TransactionId>,
}

impl Settlement {
    /// Starts following and settling in the background until `shutdown` is cancelled; then the open batch is flushed, for at
    /// most `flush_seconds`, and the task ends.
    ///
    /// # Errors
    /// When ledger and chain contradict each other in a way that only a person can resolve: the key is not the operator's, or
    /// batches are on chain that this ledger did not make. A chain that does not answer is no error: it is retried.
    pub async fn start(
        ledger: Ledger,
        reader: Arc<dyn ChainReader>,
        writer: Arc<dyn ChainWriter>,
        config: SettlementConfig,
        shutdown: CancellationToken,
    ) -> Result<(Self, JoinHandle<()>), SettlementError> {
        Self::start_with(ledger, reader, writer, config, None, shutdown).await
    }

    /// The same, looking after a marketplace as well: `writer` must know it.
    ///
    /// # Errors
    /// As [`Settlement::start`]; and when the ledger belongs to another marketplace.
    pub async fn start_with(
        ledger: Ledger,
        reader: Arc<dyn ChainReader>,
        writer: Arc<dyn ChainWriter>,
        config: SettlementConfig,
        mut market: Option<Keeper>,
        shutdown: CancellationToken,
    ) -> Result<(Self, JoinHandle<()>), SettlementError> {
        if let Some(market) = &mut market {
            market.prepare(writer.max_session_rows()).await?;
        }
        let leads = Arc::<AtomicBool>::default();
        let settlement = Self {
            ledger: ledger.clone(),
            reader: Arc::clone(&reader),
            writer: Arc::clone(&writer),
            config: Arc::new(config.clone()),
            leads: Arc::clone(&leads),
        };
        match reconcile::check(&ledger, &*reader, &*writer).await {
            Err(SettlementError::Chain(error)) => {
                tracing::warn!(%error, "the chain does not answer; serving from credit, settlement follows later");
            }
            checked => checked?,
        }
        let task = tokio::spawn(
            runner::run(ledger.clone(), reader, writer, config, market, leads, shutdown)
                .instrument(tracing::info_span!("settlement", network = ledger.network())),
        );
        Ok((settlement, task))
    }

    /// Stores an action to be sent, once per purpose: submitting the same purpose again changes nothing (an action that failed
    /// is tried again). Returns at once; see [`Settlement::wait`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn submit(&self, purpose: &Purpose, action: Action) -> Result<(), SettlementError> {
        let subject = purpose::subject_of(&action, || match &action {
            Action::Sweep { terms } => self.reader.deposit_address(terms).ok(),
            _ => None,
        });
        let mut attempts = 0;
        loop {
            let mut tx = self.ledger.db.begin_write().await?;
            let stored = match outbox::enqueue(tx.connection(), purpose, &action, &subject).await {
                Ok(()) => tx.commit().await,
                Err(error) => Err(error),
            };
            match stored {
                // Two relayers took the same place in the queue.
                Err(LedgerError::Conflict { .. }) if attempts < 10 => attempts += 1,
                other => {
                    self.ledger.context.progress.wake.notify_one();
                    return Ok(other?);
                }
            }
        }
    }

    /// Whether the contract would take an action of ours as things are: asked before something is done for others.
    ///
    /// # Errors
    /// [`SettlementError::Chain`]: why not, or that nobody knows.
    pub async fn would_pass(&self, action: &Action) -> Result<(), SettlementError> {
        self.writer.estimate(action).await?;
        Ok(())
    }

    /// Waits until the event of a submitted action was seen.
    ///
    /// # Errors
    /// [`SettlementError::Refused`] when the contract refuses it, [`SettlementError::Pending`] when `timeout` is over: the action
    /// goes on, and waiting again is harmless.
    pub async fn wait(&self, purpose: &Purpose, timeout: Duration) -> Result<Confirmed, SettlementError> {
        let until = Instant::now() + timeout;
        loop {
            let entry = {
                let mut connection = self.ledger.db.pool.acquire().await?;
                outbox::load(&mut connection, purpose).await?
            };
            match entry {
                Some(entry) if entry.state == outbox::State::Confirmed => {
                    let transaction = entry.confirmed_tx.unwrap_or_default();
                    return Ok(Confirmed { transaction, events: self.events_of(transaction).await? });
                }
                Some(entry) if entry.state == outbox::State::Failed => {
                    return Err(SettlementError::Refused {
                        purpose: purpose.clone(),
                        reason: entry.error.unwrap_or_default(),
                    });
                }
                Some(_) => {}
                None => return Err(SettlementError::Config(format!("{purpose} was never submitted"))),
            }
            if Instant::now() >= until {
                return Err(SettlementError::Pending { what: purpose.to_string() });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn events_of(&self, transaction: TransactionId) -> Result<Vec<EventKind>, LedgerError> {
        let rows = sqlx::query(
            "SELECT event_json FROM chain_events WHERE transaction_hash = $1 ORDER BY block_number, log_index",
        )
        .bind(transaction.to_vec())
        .fetch_all(&self.ledger.db.pool)
        .await?;
        rows.iter().map(|row| Columns::of(row).json()).collect()
    }

    /// Posts everything charged so far and waits until it is confirmed.
    ///
    /// # Errors
    /// [`SettlementError::Pending`] when `timeout` is over; the batch goes on.
    pub async fn flush(&self, timeout: Duration) -> Result<Flushed, SettlementError> {
        let until = Instant::now() + timeout;
        let newest = {
            let mut connection = self.ledger.db.pool.acquire().await?;
            let open = seal::open(&mut connection).await?;
            if open.receipts > 0 { open.number } else { open.number - 1 }
        };
        if newest == 0 {
            return Ok(Flushed { batch_number: None, transaction: None });
        }
        self.ask_for_batch("flush").await?;
        loop {
            let row = sqlx::query("SELECT confirmed_tx FROM batches WHERE number = $1 AND state = 'confirmed'")
                .bind(int(newest))
                .fetch_optional(&self.ledger.db.pool)
                .await?;
            if let Some(row) = row {
                let transaction = Columns::of(&row).optional_transaction()?;
                return Ok(Flushed { batch_number: Some(newest), transaction });
            }
            if Instant::now() >= until {
                return Err(SettlementError::Pending { what: format!("batch {newest}") });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn ask_for_batch(&self, reason: &str) -> Result<(), SettlementError> {
        let mut tx = self.ledger.db.begin_write().await?;
        request_flush(tx.connection(), reason).await?;
        tx.commit().await?;
        self.ledger.context.progress.wake.notify_one();
        Ok(())
    }

    /// The consent path of a refund (I-4): no new jobs, jobs in flight end, everything is posted, the account is closed and its
    /// owner gets everything unspent. Each step is durable: after an error or a crash the rest goes on by itself, and calling
    /// this again waits on.
    ///
    /// # Errors
    /// [`SettlementError::JobsInFlight`] or [`SettlementError::Pending`] when it takes longer than `refund_seconds`.
    pub async fn flush_account_and_close(&self, account: AccountId) -> Result<RefundDone, SettlementError> {
        refund::run(self, account).await
    }

    /// Takes earnings out of the contract. `request` is the idempotency key: the same one never withdraws twice.
    ///
    /// # Errors
    /// [`SettlementError::Refused`] when there is not that much, [`SettlementError::Pending`] when `timeout` is over.
    pub async fn withdraw(
        &self,
        to: Address,
        amount: Usdc,
        request: &str,
        timeout: Duration,
    ) -> Result<Confirmed, SettlementError> {
        let purpose = Purpose::withdraw(request);
        self.submit(&purpose, Action::WithdrawEarnings { to, amount }).await?;
        self.wait(&purpose, timeout).await
    }

    /// Whether this process leads: follows the chain, seals and posts. Several may share a ledger; one leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// Where settlement stands.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn status(&self) -> Result<SettlementStatus, SettlementError> {
        status::read(&self.ledger).await
    }

    /// Lets an account take jobs again after somebody looked at what was wrong with it. Its discount remainder is taken from the
    /// chain; refused while charges or holds are under way, because they continue the old one.
    ///
    /// # Errors
    /// When the account has pending charges or holds.
    pub async fn unfreeze(&self, account: AccountId) -> Result<(), SettlementError> {
        let mut tx = self.ledger.db.begin_write().await?;
        // With the right to write: no hold comes or goes.
        let running = !self.ledger.context.running.held(account).is_zero();
        let changed = sqlx::query(
            "UPDATE accounts SET frozen = NULL, remainder = chain_remainder \
             WHERE id = $1 AND $2 = 0 AND held = 0 AND settled = total_charged AND void = 0",
        )
        .bind(int(account.get()))
        .bind(i64::from(running))
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        if changed.rows_affected() == 0 {
            return Err(SettlementError::Config(format!(
                "account {account} is not known, or charges of it wait for the chain; flush first, then try again"
            )));
        }
        Ok(())
    }
}
