//! Runs the items of durable jobs and ends the jobs. Any number of relayers share the work: whoever claims an item has it for the
//! time of its lease, renews it while a provider works, and loses it by dying.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use compute_futures_protocol::Usdc;
use futures::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::finish::Finisher;
use super::types::{Claimed, ItemOutcome, Reason};
use super::{Queue, rows};
use crate::catalog::Catalog;
use crate::config::JobsConfig;
use crate::error::{ApiError, ApiResult};
use crate::http::App;
use crate::jobs::artifacts::Artifacts;
use crate::jobs::webhook::Webhooks;
use crate::ledger::{Engine, LedgerError, now_ms};
use crate::network::Network;
use crate::providers::{JobInput, JobOutput, Progress, Providers, Ticket};

/// Starts that may fail before an item fails, when another try may help.
const STARTS: u64 = 3;
/// What the last look at a running prediction needs before the deadline.
const LAST_LOOK_MS: u64 = 1_500;
/// Starts that may end with their relayer before an item fails: it may be what ends them.
const LOST_STARTS: u64 = 5;
/// Longest pause between two looks at a prediction.
const LONGEST_PAUSE_MS: u64 = 15_000;
/// Jobs finished in one round.
const FINISHED_AT_ONCE: u32 = 16;

/// Works on the queue.
#[derive(Clone)]
pub struct Worker {
    queue: Queue,
    catalog: Arc<Catalog>,
    providers: Arc<Providers>,
    artifacts: Artifacts,
    finisher: Finisher,
    webhooks: Webhooks,
    config: JobsConfig,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl Worker {
    /// Works on the queue of a network.
    ///
    /// # Errors
    /// When TLS for webhooks cannot be set up.
    pub fn of(app: &App, network: &Network) -> reqwest::Result<Self> {
        Ok(Self {
            queue: network.gate.queue().clone(),
            catalog: Arc::clone(&app.catalog),
            providers: Arc::clone(&app.providers),
            artifacts: network.artifacts.clone(),
            finisher: Finisher::new(network.gate.clone(), Arc::clone(&app.catalog)),
            webhooks: Webhooks::new(network.ledger.clone(), &app.config.jobs)?,
            config: app.config.jobs.clone(),
        })
    }

    /// Works until `stop`. What is not done then is done after the next start, or by another relayer.
    pub async fn run(self, stop: CancellationToken) {
        if let Err(error) = self.take_over().await {
            tracing::warn!(%error, "leases of before could not be ended; they run out by themselves");
        }
        let turns = Arc::new(Semaphore::new(self.config.concurrency.max(1)));
        let mut tasks = JoinSet::new();
        let mut rounds = 0_u64;
        loop {
            if let Err(error) = self.round(&turns, &mut tasks).await {
                tracing::warn!(%error, "the queue could not be looked at; trying again");
            }
            if rounds.is_multiple_of(240) {
                self.forget().await;
            }
            rounds += 1;
            while tasks.try_join_next().is_some() {}
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.queue.signals.work.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(self.config.poll_ms.max(10))) => {}
            }
        }
        tasks.shutdown().await;
    }

    /// On SQLite nobody else is there: what a process of before had claimed is free at once.
    async fn take_over(&self) -> Result<(), LedgerError> {
        let db = &self.queue.ledger().db;
        if db.engine != Engine::Sqlite {
            return Ok(());
        }
        let mut tx = db.begin_write().await?;
        sqlx::query("UPDATE queue_items SET lease = 0, leased_until_ms = 0 WHERE state = 'open'")
            .execute(tx.connection())
            .await?;
        sqlx::query("UPDATE queue SET finish_ms = 0 WHERE state = 'open'").execute(tx.connection()).await?;
        tx.commit().await
    }

    async fn round(&self, turns: &Arc<Semaphore>, tasks: &mut JoinSet<()>) -> Result<(), LedgerError> {
        let db = &self.queue.ledger().db;
        if rows::is_idle(db).await? {
            return Ok(());
        }
        let free = u32::try_from(turns.available_permits()).unwrap_or(u32::MAX);
        if free > 0 {
            for item in rows::claim(db, free, self.lease_ms()).await? {
                let Ok(turn) = Arc::clone(turns).try_acquire_owned() else { break };
                let worker = self.clone();
                tasks.spawn(async move {
                    let _turn = turn;
                    worker.work(item).await;
                });
            }
        }
        for job in rows::claim_finished(db, FINISHED_AT_ONCE, self.lease_ms()).await? {
            let worker = self.clone();
            tasks.spawn(async move { worker.finish(job).await });
        }
        for due in self.webhooks.due(FINISHED_AT_ONCE).await? {
            let webhooks = self.webhooks.clone();
            tasks.spawn(async move { webhooks.deliver(due).await });
        }
        Ok(())
    }

    async fn finish(&self, job: compute_futures_protocol::B256) {
        match self.finisher.finish(&self.queue, job).boxed().await {
            Ok(true) => {
                self.queue.signals.finished.notify_waiters();
                // Its webhook.
                self.queue.signals.work.notify_one();
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%job, %error, "a job could not be finished; trying again"),
        }
    }

    async fn work(&self, item: Claimed) {
        let (job, position) = (item.job, item.position);
        if let Err(error) = self.try_work(item).boxed().await {
            tracing::warn!(%job, position, %error, "an item could not be recorded; trying again when its lease is over");
        }
        self.queue.signals.work.notify_one();
    }

    async fn try_work(&self, item: Claimed) -> Result<(), LedgerError> {
        if item.lost_starts() >= LOST_STARTS {
            tracing::error!(job = %item.job, position = item.position, "an item was started too often without an end; it fails");
            return self.record(&item, Step::Failed { error: lost() }).await;
        }
        let left = Duration::from_millis(item.deadline_ms.saturating_sub(now_ms()));
        let advanced = if left.is_zero() {
            None
        } else {
            let mut advance = self.advance(&item).boxed();
            let until = tokio::time::Instant::now() + left;
            let mut renewals = tokio::time::interval(Duration::from_millis((self.lease_ms() / 3).max(10)));
            renewals.tick().await;
            loop {
                tokio::select! {
                    step = &mut advance => break Some(step),
                    () = tokio::time::sleep_until(until) => break None,
                    _ = renewals.tick() => {
                        if !rows::renew(&self.queue.ledger().db, &item, self.lease_ms()).await? {
                            return Ok(());
                        }
                    }
                }
            }
        };
        crate::failpoint!("queue::after_provider");
        self.record(&item, advanced.unwrap_or(Step::TimedOut)).await
    }

    async fn record(&self, item: &Claimed, step: Step) -> Result<(), LedgerError> {
        let db = &self.queue.ledger().db;
        let outcome = match step {
            Step::Running { handle, pause_ms } => {
                let due_ms = last_look(now_ms() + pause_ms, item.deadline_ms);
                return rows::put_back(db, item, Some(&handle), item.failures, due_ms).await;
            }
            Step::Again { error } if item.handle.is_some() || item.failures + 1 < STARTS => {
                let pause = 1000_u64.saturating_mul(1 << item.failures.min(5)).min(LONGEST_PAUSE_MS);
                tracing::info!(job = %item.job, position = item.position, code = error.code, "an item is tried again");
                let due_ms = last_look(now_ms() + pause, item.deadline_ms);
                return rows::put_back(db, item, item.handle.as_deref(), item.failures + 1, due_ms).await;
            }
            Step::Again { error } | Step::Failed { error } => ItemOutcome::Failed(Reason::from(&error)),
            Step::TimedOut => {
                self.cancel(item).await;
                ItemOutcome::Failed(Reason::from(&too_slow()))
            }
            Step::Done { output, list_amount } => ItemOutcome::Done { output, list_amount },
        };
        let kind = item.input.kind().name();
        let ended = if matches!(outcome, ItemOutcome::Done { .. }) { "done" } else { "failed" };
        metrics::counter!("relayer_queue_items_total", "kind" => kind, "outcome" => ended).increment(1);
        rows::end(db, item, &outcome).await?;
        crate::failpoint!("queue::after_item");
        Ok(())
    }

    async fn cancel(&self, item: &Claimed) {
        let Some(ticket) = item.handle.as_deref().and_then(|handle| serde_json::from_str::<Ticket>(handle).ok()) else {
            return;
        };
        if let Err(error) = self.providers.cancel(&ticket).boxed().await {
            tracing::warn!(job = %item.job, %error, "a prediction that took too long could not be stopped at its provider");
        }
    }

    /// One provider call: a start, or a look.
    async fn advance(&self, item: &Claimed) -> Step {
        let progress = match item.handle.as_deref().map(serde_json::from_str::<Ticket>) {
            Some(Ok(ticket)) => self.providers.poll(&item.input, &ticket).boxed().await,
            Some(Err(error)) => return Step::Failed { error: ApiError::internal(error) },
            None => self.providers.start(&item.input).boxed().await,
        };
        match progress {
            Ok(Progress::Done(output)) => match self.accept(&item.input, output).await {
                Ok((output, list_amount)) => Step::Done { output: Box::new(output), list_amount },
                // Only storing can fail in a way that a second look helps.
                Err(error) if error.status.is_server_error() && error.status != StatusCode::BAD_GATEWAY => {
                    Step::Again { error }
                }
                Err(error) => Step::Failed { error },
            },
            Ok(Progress::Pending(ticket)) => match serde_json::to_string(&ticket) {
                Ok(handle) => Step::Running { handle, pause_ms: pause_ms(ticket.poll_after_ms, item.looks) },
                Err(error) => Step::Failed { error: ApiError::internal(error) },
            },
            Err(error) if error.is_final() => Step::Failed { error: error.into() },
            Err(error) => Step::Again { error: error.into() },
        }
    }

    async fn accept(&self, input: &JobInput, mut output: JobOutput) -> ApiResult<(JobOutput, Usdc)> {
        let list_amount = self.catalog.price(input, &output)?;
        self.artifacts.keep(&mut output).boxed().await?;
        Ok((output, list_amount))
    }

    async fn forget(&self) {
        let before = now_ms().saturating_sub(self.config.keep_days.saturating_mul(86_400_000));
        let forgotten = async {
            self.queue.forget(before).await?;
            self.artifacts.forget().await
        };
        if let Err(error) = forgotten.await {
            tracing::warn!(%error, "old jobs could not be removed; retrying later");
        }
    }

    const fn lease_ms(&self) -> u64 {
        self.config.lease_seconds.saturating_mul(1000)
    }
}

/// What came of one call.
enum Step {
    Done { output: Box<JobOutput>, list_amount: Usdc },
    Running { handle: String, pause_ms: u64 },
    Again { error: ApiError },
    Failed { error: ApiError },
    TimedOut,
}

/// The provider's wish, growing with every look.
fn pause_ms(wish: u64, looks: u64) -> u64 {
    let first = wish.max(50);
    // Half as long again after each look.
    let grown = (0..looks.min(12)).fold(first, |pause, _| pause + pause / 2);
    grown.min(LONGEST_PAUSE_MS.max(first))
}

/// A look that would come after the deadline comes just before it: the provider may have finished by then.
fn last_look(due_ms: u64, deadline_ms: u64) -> u64 {
    let last = deadline_ms.saturating_sub(LAST_LOOK_MS);
    if due_ms > last && now_ms() < last { last } else { due_ms }
}

fn too_slow() -> ApiError {
    ApiError::new(
        StatusCode::GATEWAY_TIMEOUT,
        "job_timeout",
        "the job was not done in time",
        "nothing was charged; choose another model, or pay from credit: a payment per call must settle before it expires, on Solana within a minute",
    )
}

fn lost() -> ApiError {
    ApiError::new(
        StatusCode::BAD_GATEWAY,
        "job_interrupted",
        "the job was interrupted each time it was started",
        "nothing was charged; send it again, or ask for something else",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let pauses: Vec<u64> = (0..12).map(|looks| pause_ms(1000, looks)).collect();
        assert_eq!(pauses[..3], [1000, 1500, 2250]);
        assert_eq!(pauses[11], LONGEST_PAUSE_MS);
        assert_eq!(pause_ms(0, 0), 50, "never a busy loop");
    }
}
