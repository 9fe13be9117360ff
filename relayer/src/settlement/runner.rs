//! The background task: follow, batch, refund, send; one thing after the other, so that they never disagree.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use compute_futures_chain::{ChainReader, ChainWriter};
use tokio_util::sync::CancellationToken;

use super::leader::Leadership;
use super::sender::Sender;
use super::{SettlementConfig, SettlementError, reconcile, refund, seal, status};
use crate::follow::{Follower, Step};
use crate::ledger::{Ledger, now_ms};
use crate::market::Keeper;

/// Longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Most ranges of blocks taken before the rest gets its turn.
const RANGES: usize = 64;

/// Everything a round needs.
struct Runner {
    ledger: Ledger,
    reader: Arc<dyn ChainReader>,
    follower: Follower,
    sender: Sender,
    config: SettlementConfig,
    market: Option<Keeper>,
    /// Whether ledger and chain were found to agree since the start.
    reconciled: bool,
}

/// Runs until `shutdown`, then flushes.
pub(crate) async fn run(
    ledger: Ledger,
    reader: Arc<dyn ChainReader>,
    writer: Arc<dyn ChainWriter>,
    mut config: SettlementConfig,
    market: Option<Keeper>,
    leads: Arc<AtomicBool>,
    shutdown: CancellationToken,
) {
    config.max_rows = config.max_rows.min(rows_to_close_at(writer.max_rows()));
    let mut leadership = Leadership::new(ledger.clone(), leads);
    let mut runner = Runner {
        ledger: ledger.clone(),
        reader: Arc::clone(&reader),
        follower: Follower::new(ledger.clone(), Arc::clone(&reader), config.follow.clone()),
        sender: Sender {
            ledger: ledger.clone(),
            reader,
            writer,
            config: config.clone(),
            lost: tokio::sync::Mutex::default(),
        },
        config: config.clone(),
        market,
        reconciled: false,
    };
    let mut failures = 0_u32;
    while !shutdown.is_cancelled() {
        failures = match runner.turn(&mut leadership).await {
            Ok(()) => 0,
            Err(error) => {
                report(&ledger, &error, failures);
                failures.saturating_add(1)
            }
        };
        let pause = pause(Duration::from_millis(config.poll_ms.max(5)), failures);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = ledger.context.progress.wake.notified() => {}
            () = shutdown.cancelled() => {}
        }
    }
    runner.last_batch(&mut leadership).await;
    leadership.release().await;
}

fn pause(poll: Duration, failures: u32) -> Duration {
    if failures == 0 { poll } else { poll.saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE).max(poll) }
}

fn report(ledger: &Ledger, error: &SettlementError, failures: u32) {
    metrics::counter!("relayer_settlement_errors_total", "network" => ledger.network()).increment(1);
    match error {
        SettlementError::Follow(crate::follow::FollowError::UnknownBatch { .. }) => {
            tracing::error!(%error, "settlement stands still")
        }
        _ if failures < 3 => tracing::warn!(%error, "settlement could not go on; retrying"),
        _ => tracing::error!(%error, failures, "settlement still cannot go on; retrying"),
    }
}

impl Runner {
    /// One look at everything. Only the leader acts; all watch the limits.
    async fn turn(&mut self, leadership: &mut Leadership) -> Result<(), SettlementError> {
        self.watch().await?;
        if !leadership.held().await? {
            return Ok(());
        }
        self.act(None).await
    }

    async fn act(&mut self, force: Option<&str>) -> Result<(), SettlementError> {
        if !self.reconciled {
            // The follower first: with it, batches confirmed while we were away are known.
            reconcile::check(&self.ledger, &*self.reader, &*self.sender.writer).await?;
            self.reconciled = true;
        }
        self.follow().await?;
        refund::round(&self.ledger).await?;
        self.batch(force).await?;
        // No new closings before a stop: it would wait for them.
        self.market(force.is_none()).await;
        self.sender.round().await
    }

    /// Whatever is wrong with the marketplace, charges go on to the chain.
    async fn market(&mut self, close: bool) {
        let Some(market) = &mut self.market else { return };
        if let Err(error) = market.round(close).await {
            metrics::counter!("relayer_market_errors_total", "network" => self.ledger.network()).increment(1);
            tracing::warn!(%error, "the marketplace could not be looked after; retrying");
        }
    }

    async fn follow(&self) -> Result<(), SettlementError> {
        for _ in 0..RANGES {
            match self.follower.step().await? {
                Step::Idle | Step::Advanced { caught_up: true, .. } => return Ok(()),
                Step::Advanced { .. } | Step::RolledBack { .. } => {}
            }
        }
        Ok(())
    }

    /// Closes and seals the open batch when it is due and nothing is under way.
    async fn batch(&self, force: Option<&str>) -> Result<(), SettlementError> {
        let (open, under_way) = {
            let mut connection = self.ledger.db.pool.acquire().await?;
            (seal::open(&mut connection).await?, seal::under_way(&mut connection).await?)
        };
        match under_way {
            // A crash came between closing and sealing.
            Some((number, false)) => Ok(seal::seal(&self.ledger, number).await?),
            Some((_, true)) => Ok(()),
            None => {
                if open.receipts == 0 {
                    return Ok(());
                }
                let requested = status::flush_requested(&self.ledger, open.number).await?;
                let full = self.ledger.context.progress.full.swap(false, Ordering::Relaxed).then(|| "full".to_owned());
                let Some(reason) =
                    force.map(str::to_owned).or(requested).or_else(|| due(&self.config, &open, now_ms())).or(full)
                else {
                    return Ok(());
                };
                tracing::info!(batch = open.number, receipts = open.receipts, reason, "closing the batch");
                seal::close(&self.ledger, open.number).await?;
                Ok(seal::seal(&self.ledger, open.number).await?)
            }
        }
    }

    /// Opens or closes the tap for new holds, and says how much waits.
    async fn watch(&self) -> Result<(), SettlementError> {
        let (value, age) = status::unposted(&self.ledger).await?;
        let behind = value > self.config.most_unposted || age > self.config.most_unposted_seconds;
        self.ledger.context.progress.set_behind(behind);
        {
            // Other relayers add to the open batch too.
            let mut connection = self.ledger.db.pool.acquire().await?;
            let open = seal::open(&mut connection).await?;
            self.ledger.context.progress.record(open.number, open.receipts, open.rows);
        }
        let held = status::held(&self.ledger).await?;
        metrics::gauge!("relayer_holds_micro_usdc", "network" => self.ledger.network())
            .set(crate::follow::approximate(held.micros()));
        metrics::gauge!("relayer_unposted_micro_usdc", "network" => self.ledger.network())
            .set(crate::follow::approximate(value.micros()));
        metrics::gauge!("relayer_unposted_seconds", "network" => self.ledger.network())
            .set(crate::follow::approximate(age));
        if behind {
            tracing::error!(unposted = %value, seconds = age, "settlement is behind: new holds are refused");
        }
        Ok(())
    }

    /// Before the end: everything charged goes on chain, as far as the time allows. What does not is posted after the restart.
    async fn last_batch(&mut self, leadership: &mut Leadership) {
        let until = Instant::now() + Duration::from_secs(self.config.flush_seconds);
        let poll = Duration::from_millis(self.config.poll_ms.clamp(5, 1000));
        loop {
            match self.finish(leadership).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "flushing before the stop"),
            }
            if Instant::now() >= until {
                tracing::warn!("stopping with charges that are not on chain yet; they are posted after the restart");
                return;
            }
            tokio::time::sleep(poll).await;
        }
    }

    /// Whether nothing is left to do (or another relayer does it).
    async fn finish(&mut self, leadership: &mut Leadership) -> Result<bool, SettlementError> {
        if !leadership.held().await? {
            return Ok(true);
        }
        self.act(Some("shutdown")).await?;
        let now = status::read(&self.ledger).await?;
        Ok(now.open_receipts == 0 && now.in_flight.is_none() && now.outbox_pending == 0)
    }
}

/// When to close a batch so that it still fits, as charges go on until it is closed: at 43 of Solana's 58.
const fn rows_to_close_at(most: u64) -> u64 {
    let rows = most - most / 10 * 3;
    if rows == 0 { 1 } else { rows }
}

/// Why the open batch should be posted now, if it should.
fn due(config: &SettlementConfig, open: &seal::OpenBatch, now: u64) -> Option<String> {
    let age = open.first_receipt_ms.map_or(0, |first| now.saturating_sub(first) / 1000);
    if open.receipts >= config.max_receipts {
        Some("count".into())
    } else if open.rows >= config.max_rows {
        Some("rows".into())
    } else if open.charged >= config.max_value {
        Some("value".into())
    } else if age >= config.max_age_seconds {
        Some("age".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use compute_futures_protocol::Usdc;

    use super::*;

    #[test]
    fn each_limit_makes_a_batch_due() {
        let config = SettlementConfig {
            max_receipts: 10,
            max_rows: 5,
            max_value: Usdc::from_micros(100),
            max_age_seconds: 60,
            ..SettlementConfig::default()
        };
        let open = seal::OpenBatch {
            number: 1,
            receipts: 9,
            rows: 4,
            charged: Usdc::from_micros(99),
            first_receipt_ms: Some(1_000),
        };
        let reason = |open: &seal::OpenBatch, now| due(&config, open, now);
        assert_eq!(reason(&open, 60_999), None);
        assert_eq!(reason(&open, 61_000).as_deref(), Some("age"));
        assert_eq!(reason(&seal::OpenBatch { receipts: 10, ..open }, 1_000).as_deref(), Some("count"));
        assert_eq!(reason(&seal::OpenBatch { rows: 5, ..open }, 1_000).as_deref(), Some("rows"));
        let value = seal::OpenBatch { charged: Usdc::from_micros(100), ..open };
        assert_eq!(reason(&value, 1_000).as_deref(), Some("value"));
    }

    #[test]
    fn a_batch_is_closed_before_it_is_full() {
        assert_eq!((rows_to_close_at(58), rows_to_close_at(20), rows_to_close_at(1)), (43, 14, 1));
        assert!(rows_to_close_at(u64::MAX) > 1_000_000);
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let poll = Duration::from_millis(100);
        assert_eq!(pause(poll, 0), poll);
        assert_eq!(pause(poll, 1), Duration::from_millis(200));
        assert_eq!(pause(poll, 50), Duration::from_millis(6400));
        assert_eq!(pause(Duration::from_secs(1), 50), LONGEST_PAUSE);
    }
}
