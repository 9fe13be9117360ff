//! Jobs that outlive their request: durable in SQL, worked on by whichever relayer is free, charged exactly once (ADR 013).
//!
//! A request leaves its hold (or its signed payment) and its items here and gets a job id. [`worker`] runs items: a provider call,
//! or a prediction that is started once and looked at with growing pauses. When the last item ended, [`finish`] charges what
//! succeeded, or releases the hold. Every step is written before the next one; each may be repeated after a crash.

pub mod finish;
mod rows;
pub mod types;
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use compute_futures_protocol::{AccountId, B256};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ledger::{Ledger, LedgerError};
pub use types::{Claimed, Funding, Item, ItemOutcome, ItemState, JobState, NewJob, Spec, StoredJob};
pub use worker::Worker;

/// The queue of one ledger. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    ledger: Ledger,
    signals: Arc<Signals>,
}

#[derive(Default)]
struct Signals {
    /// Something to do appeared.
    work: Notify,
    /// A job ended.
    finished: Notify,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

impl Queue {
    /// The queue in this ledger's database.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, signals: Arc::default() }
    }

    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Takes a job in. From here on its hold and its payment are the queue's to end.
    ///
    /// # Errors
    /// When the database fails, an unfinished job of the same key exists, or too many run that are not paid for yet.
    pub async fn add(&self, job: &NewJob) -> Result<(), LedgerError> {
        rows::insert(&self.ledger.db, job).await?;
        self.signals.work.notify_one();
        Ok(())
    }

    /// A job with its items.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job(&self, id: B256) -> Result<Option<StoredJob>, LedgerError> {
        rows::job(&self.ledger.db, id).await
    }

    /// The job, not failed, that an identical request left: by account and nonce, or by payment (no account).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, account: Option<AccountId>, key: B256) -> Result<Option<StoredJob>, LedgerError> {
        match rows::find(&self.ledger.db, account, key).await? {
            Some(id) => self.job(id).await,
            None => Ok(None),
        }
    }

    /// Waits until a job has ended, at most `limit`; whatever it is then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wait(&self, id: B256, limit: Duration) -> Result<Option<StoredJob>, LedgerError> {
        let until = Instant::now() + limit;
        loop {
            // Registered before looking: an end in between is not missed.
            let ended = self.signals.finished.notified();
            let job = self.job(id).await?;
            if job.as_ref().is_none_or(|job| job.state != JobState::Open) || Instant::now() >= until {
                return Ok(job);
            }
            // Another relayer may be the one that ends it: looked for now and then too.
            let pause = (Instant::now() + Duration::from_millis(400)).min(until);
            let _ = tokio::time::timeout_at(pause, ended).await;
        }
    }

    /// A provider told that a job of its own has ended: whoever waits for it looks at once. Returns how many items that are; none is no
    /// fault, the answer may have come before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wake(&self, provider: &str, upstream_id: &str) -> Result<u64, LedgerError> {
        let woken = rows::wake(&self.ledger.db, provider, upstream_id).await?;
        if woken > 0 {
            self.signals.work.notify_one();
        }
        Ok(woken)
    }

    /// Forgets ended jobs after their time, and the artifacts that nobody keeps any more.
    pub(crate) async fn forget(&self, before_ms: u64) -> Result<(), LedgerError> {
        rows::forget(&self.ledger.db, before_ms).await
    }
}
