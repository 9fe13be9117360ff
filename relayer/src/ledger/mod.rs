//! The ledger: holds, charges, receipts and payments, durable before anybody is answered.
//!
//! - **hold → charge or release**, as in double-entry systems (I-8). A charge, its receipt, its place in a batch and the stored
//!   answer are one transaction.
//! - available = min(confirmed credit, ceiling) − charged on chain − charged here − held (I-2).
//! - Every write goes through one writer that commits in groups ([`writer`]); SQLite and PostgreSQL run the same SQL.
//! - What the chain says about an account is written by [`crate::follow`], what is posted by [`crate::settlement`].
//!
//! See `docs/adr/004-ledger.md`.

pub(crate) mod account;
mod command;
mod config;
pub(crate) mod db;
pub(crate) mod dialect;
mod disk;
mod documents;
mod error;
mod gate;
mod group;
mod history;
mod holds;
mod leases;
mod payments;
mod rate_cards;
pub(crate) mod receipts;
mod room;
mod running;
pub(crate) mod sql;
mod types;
mod views;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::B256;
use compute_futures_protocol::{AccountId, Address, BatchDocument, Terms, Usdc};
use rand::RngCore as _;
use tokio::sync::{Notify, mpsc, oneshot};

pub use command::Settled;
pub use config::LedgerConfig;
pub use dialect::Engine;
pub use error::LedgerError;
pub use gate::{NamedPayment, Serving, WatchedAddress};
pub use types::{
    AccountView, Billing, ChargeFacts, ChargeRequest, Charged, HistoryEntry, HistoryKind, HoldOutcome, HoldRequest,
    IdempotencyKey, NewPayment, OperatorIdentity, PaymentOutcome, Render, RenderSettled, SignedCeiling, StoredAnswer,
    UnresolvedPayment,
};

use command::{Command, Queued, Reply};
use db::Db;

/// One operator's ledger. Cheap to clone; all clones share one writer.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) db: Db,
    pub(crate) context: Arc<Context>,
    queue: mpsc::Sender<Queued>,
}

/// What every part of the ledger needs to know.
pub(crate) struct Context {
    pub(crate) identity: OperatorIdentity,
    pub(crate) config: LedgerConfig,
    /// Our row in `leases`: holds of a process that died are told apart by it.
    pub(crate) lease: u64,
    pub(crate) progress: Progress,
    /// Holds without a row.
    pub(crate) running: running::Running,
    /// Terms by version, as followed; for the names of tiers.
    pub(crate) terms: std::sync::RwLock<std::collections::HashMap<u32, Terms>>,
    /// Rate cards by hash, as they were offered.
    pub(crate) cards: rate_cards::Cards,
}

/// What the batcher and the risk limits watch without asking the database.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Set by settlement when too much waits to be posted.
    behind: AtomicBool,
    batch: AtomicU64,
    receipts: AtomicU64,
    rows: AtomicU64,
    /// Set when a hold was refused because the open batch has no row left for it.
    pub(crate) full: AtomicBool,
    /// Set when the disk failed: nothing is decided any more until a restart.
    disk_failed: AtomicBool,
    /// Woken when the open batch reaches a limit.
    pub(crate) wake: Notify,
}

/// Rows after which no new holds are taken until the batch is closed: a batch must fit into one transaction.
const MOST_ROWS: u64 = 1200;

impl Progress {
    /// What the open batch is; number 0 when that has to be looked up.
    pub(crate) fn record(&self, batch: u64, receipts: u64, rows: u64) {
        self.batch.store(batch, Ordering::Relaxed);
        self.receipts.store(receipts, Ordering::Relaxed);
        self.rows.store(rows, Ordering::Relaxed);
    }

    /// Called once per group that issued receipts.
    fn add(&self, receipts: u64, rows: u64) {
        self.receipts.fetch_add(receipts, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Number, receipts and rows of the open batch, as this process last saw it.
    pub(crate) fn open_batch(&self) -> (u64, u64, u64) {
        (self.batch.load(Ordering::Relaxed), self.receipts.load(Ordering::Relaxed), self.rows.load(Ordering::Relaxed))
    }

    /// Opens or closes the tap for new holds.
    pub(crate) fn set_behind(&self, behind: bool) {
        self.behind.store(behind, Ordering::Relaxed);
    }
}

impl Context {
    fn require_settlement_keeps_up(&self) -> Result<(), LedgerError> {
        let (_, _, rows) = self.progress.open_batch();
        if self.progress.behind.load(Ordering::Relaxed) || rows >= MOST_ROWS {
            return Err(LedgerError::SettlementBehind);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("engine", &self.db.engine).field("identity", &self.context.identity).finish()
    }
}

impl Ledger {
    /// Opens the database, brings its schema up to date, checks that it belongs to this operator, and releases what a process
    /// that died here before had held.
    ///
    /// # Errors
    /// When the database cannot be used as it is; the message says what to do.
    pub async fn open(config: &LedgerConfig, identity: OperatorIdentity) -> Result<Self, LedgerError> {
        Self::open_on(config, identity, |log| log).await
    }

    /// The same with a disk of the caller's, on SQLite.
    async fn open_on<L: disk::Log>(
        config: &LedgerConfig,
        identity: OperatorIdentity,
        log: impl FnOnce(std::fs::File) -> L,
    ) -> Result<Self, LedgerError> {
        let db = Db::open(config).await?;
        db::require_identity(&db, &identity).await?;
        let lease = leases::begin(&db, config).await?;
        let terms = views::known_terms(&db).await?;
        let context = Arc::new(Context {
            identity,
            config: config.clone(),
            lease,
            progress: Progress::default(),
            running: running::Running::default(),
            terms: std::sync::RwLock::new(terms),
            cards: rate_cards::Cards::default(),
        });
        let (queue, commands) = mpsc::channel(writer::QUEUE);
        writer::start(db.clone(), Arc::clone(&context), commands, log).await?;
        let ledger = Self { db, context, queue };
        let released = ledger.release_orphans().await?;
        if released > 0 {
            tracing::info!(released, "released the holds of jobs that a stopped process left behind");
        }
        tokio::spawn(leases::keep(ledger.db.clone(), Arc::clone(&ledger.context), ledger.queue.downgrade()));
        Ok(ledger)
    }

    /// Whose ledger this is.
    #[must_use]
    pub fn identity(&self) -> &OperatorIdentity {
        &self.context.identity
    }

    /// CAIP-2 name of the chain it is about: the label of its figures.
    pub(crate) fn network(&self) -> &'static str {
        self.context.identity.chain.caip2()
    }

    /// SQLite or PostgreSQL.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.db.engine
    }

    /// Whether the database answers; for `/ready`.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        if self.context.progress.disk_failed.load(Ordering::Acquire) {
            return Err(disk::broken());
        }
        sqlx::query("SELECT 1").execute(&self.db.pool).await?;
        Ok(())
    }

    /// The account as it stands now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account(&self, id: AccountId) -> Result<Option<AccountView>, LedgerError> {
        views::account(&self.db, &self.context, id).await
    }

    /// Accounts of an owner, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn accounts_of(&self, owner: Address) -> Result<Vec<AccountView>, LedgerError> {
        views::accounts_of(&self.db, &self.context, owner).await
    }

    /// History of an account, newest first; `before` is the `cursor` of the last entry already read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn history(
        &self,
        id: AccountId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, LedgerError> {
        history::read(&self.db, &self.context, id, before, limit).await
    }

    /// The receipts of a batch, in order of account and sequence; `None` while it still takes receipts (I-7).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn batch_document(&self, batch_number: u64) -> Result<Option<BatchDocument>, LedgerError> {
        documents::read(&self.db, &self.context, batch_number).await
    }

    /// Reserves credit for a job (I-8).
    ///
    /// # Errors
    /// A refusal, see [`LedgerError`]; nothing is reserved then.
    pub async fn hold(&self, request: HoldRequest) -> Result<HoldOutcome, LedgerError> {
        let authorization = sql::to_json(&request.authorization)?;
        let authorization_hash = request.authorization.hash(&self.context.identity.domain);
        match self.ask(Command::Hold { request: Box::new(request), authorization, authorization_hash }).await? {
            Reply::Hold(outcome) => Ok(outcome),
            other => Err(unexpected(&other)),
        }
    }

    /// Charges a job under its hold. Charging it again returns the first charge: once per `job_id`.
    ///
    /// # Errors
    /// [`LedgerError::UnknownJob`] when nothing is held for it, [`LedgerError::AboveHold`] when it would cost more than held.
    pub async fn charge(&self, request: ChargeRequest) -> Result<Charged, LedgerError> {
        match self.ask(Command::Charge(request)).await? {
            Reply::Charged(charged) => Ok(*charged),
            other => Err(unexpected(&other)),
        }
    }

    /// Releases the hold of a job that failed: it costs nothing, and its idempotency key is free again. Harmless when the job
    /// was charged or released before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release(&self, job_id: B256, reason: &str) -> Result<(), LedgerError> {
        tracing::debug!(%job_id, reason, "release");
        self.ask(Command::Release { job: job_id }).await.map(|_| ())
    }

    /// Something that outlives this process hangs on a job's hold from now on (a job in the queue, say): it is kept when the process
    /// stops, until its lease is over. What a payment is attached to is kept without asking.
    ///
    /// # Errors
    /// [`LedgerError::UnknownJob`] when nothing is held for it.
    pub async fn keep(&self, job_id: B256) -> Result<(), LedgerError> {
        self.ask(Command::Keep { job: job_id }).await.map(|_| ())
    }

    /// Registers an x402 payment before any work is done for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_payment(&self, payment: NewPayment) -> Result<PaymentOutcome, LedgerError> {
        match self.ask(Command::BeginPayment(Box::new(payment))).await? {
            Reply::Payment(outcome) => Ok(*outcome),
            other => Err(unexpected(&other)),
        }
    }

    /// The work for a payment is done: stores its answer (a template, when a job is to be charged with it), so that whatever
    /// happens during settlement the payer can still be served, once.
    ///
    /// # Errors
    /// When the payment is not being worked on, or the job holds nothing.
    pub async fn payment_ready(
        &self,
        id: B256,
        answer: &StoredAnswer,
        charge: Option<ChargeFacts>,
    ) -> Result<(), LedgerError> {
        self.ask(Command::PaymentReady { id, answer: answer.clone(), charge }).await?;
        crate::failpoint!("payment::after_ready");
        Ok(())
    }

    /// The payment settled: charges the attached job and stores the final answer in one transaction. `render` gets the template
    /// and the billing. Calling it again returns the same answer.
    ///
    /// # Errors
    /// When the payment is not ready.
    pub async fn payment_settled(
        &self,
        id: B256,
        transaction: &str,
        render: RenderSettled,
    ) -> Result<Settled, LedgerError> {
        crate::failpoint!("payment::after_settle");
        let command = Command::PaymentSettled { id, transaction: transaction.to_owned(), render };
        match self.ask(command).await? {
            Reply::Settled(settled) => Ok(*settled),
            other => Err(unexpected(&other)),
        }
    }

    /// The payment did not settle: nothing was served, the attached job's hold is released, and the payment may be tried again.
    ///
    /// # Errors
    /// When it settled before.
    pub async fn payment_failed(&self, id: B256, reason: &str) -> Result<(), LedgerError> {
        self.ask(Command::PaymentFailed { id, request_hash: None, reason: reason.to_owned() }).await.map(|_| ())
    }

    /// The same for one request: a payment that failed before and pays for another one now stays as it is.
    ///
    /// # Errors
    /// When it settled before.
    pub async fn payment_failed_for(&self, id: B256, request_hash: B256, reason: &str) -> Result<(), LedgerError> {
        let command = Command::PaymentFailed { id, request_hash: Some(request_hash), reason: reason.to_owned() };
        self.ask(command).await.map(|_| ())
    }

    /// Payments whose work is done and whose settlement is not known, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unresolved_payments(&self) -> Result<Vec<UnresolvedPayment>, LedgerError> {
        let ready = payments::ready(&mut *self.db.pool.acquire().await?).await?;
        if !ready.is_empty() {
            self.on_disk().await?;
        }
        ready.iter().map(payments::Payment::unresolved).collect()
    }

    /// Waits until what was read beside the writer is on disk, before anybody acts on it: on SQLite the writer may still wait for that.
    async fn on_disk(&self) -> Result<(), LedgerError> {
        match self.engine() {
            Engine::Sqlite => self.ask(Command::Sync).await.map(|_| ()),
            Engine::Postgres => Ok(()),
        }
    }

    /// Σ prices of calls paid for with `exact`. Those of deposits by transfer are fees of their sweeps, so the contract books them
    /// as earnings too; all others went to the gate's address.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn gate_revenue(&self) -> Result<Usdc, LedgerError> {
        payments::revenue(&mut *self.db.pool.acquire().await?).await
    }

    /// Releases the holds of processes that stopped, and forgets payments they were working on. Returns how many holds.
    /// Jobs of payments that may have settled stay held until the payment is resolved.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_orphans(&self) -> Result<usize, LedgerError> {
        let orphans = leases::orphans(&self.db, &self.context).await?;
        for job in &orphans {
            self.release(*job, "the process that ran the job stopped").await?;
        }
        Ok(orphans.len())
    }

    /// Ends the lease and closes the database. Commands in the queue are finished first.
    pub async fn close(&self) {
        leases::end(&self.db, &self.context).await;
        self.db.close().await;
    }

    async fn ask(&self, command: Command) -> Result<Reply, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let closed = |_| LedgerError::Unavailable("the ledger is closed".into());
        self.queue.send(Queued { command, reply }).await.map_err(|_| closed(()))?;
        answer.await.map_err(|_| closed(()))?
    }
}

fn unexpected(reply: &Reply) -> LedgerError {
    LedgerError::Corrupt(format!("the writer answered {reply:?} to another question"))
}

/// An id for a new job: 48 bits of time, then random. Ids that grow with time keep the ledger's index local.
#[must_use]
pub fn new_job_id() -> B256 {
    let mut id = [0; 32];
    rand::rng().fill_bytes(&mut id);
    id[..6].copy_from_slice(&now_ms().to_be_bytes()[2..]);
    B256::from(id)
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
