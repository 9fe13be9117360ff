//! What happens with providers and calls in the background: who answers is looked at now and then, calls of processes that stopped are
//! given up, old answers are forgotten.

use std::sync::Arc;
use std::time::Duration;

use compute_futures_protocol::market::ProviderContent;
use futures::{StreamExt as _, stream};
use rand::Rng as _;
use tokio_util::sync::CancellationToken;

use super::Market;
use super::outcomes::{self, Seen};
use super::provider_client::ProviderClient;
use super::routing::Weights;
use crate::config::MarketConfig;
use crate::ledger::sql::{Columns, int};
use crate::ledger::{LedgerError, now_ms};

/// Providers looked at in one round, and at once.
const ROUND: i64 = 100;
const AT_ONCE: usize = 16;
/// Rounds between two times that old rows are forgotten.
const FORGET_ROUNDS: u64 = 1_000;

/// What serving calls needs beside the books. One for each network.
pub struct Serving {
    /// Calls providers.
    pub client: ProviderClient,
    pub(super) health: outcomes::Cached,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Serving {
    /// As configured.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(settings: &MarketConfig) -> reqwest::Result<Arc<Self>> {
        let timeout = Duration::from_secs(settings.provider_timeout_seconds.max(1));
        let client = ProviderClient::new(settings.allow_loopback, timeout)?;
        Ok(Arc::new(Self { client, health: outcomes::Cached::new() }))
    }
}

/// Runs until told to stop.
pub async fn run(market: Market, stop: CancellationToken) {
    let period = Duration::from_millis((market.settings.probe_seconds * 1000 / 6).clamp(200, 5_000));
    for round in 0_u64.. {
        let work = async {
            let released = market.release_orphans().await?;
            if round.is_multiple_of(FORGET_ROUNDS) {
                market.forget_answers().await?;
            }
            market.probe().await?;
            Ok::<_, LedgerError>(released)
        };
        tokio::select! {
            done = work => if let Err(error) = done {
                tracing::warn!(network = market.chain().caip2(), %error, "providers could not be looked at; trying again");
            },
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = stop.cancelled() => return,
        }
    }
}

impl Market {
    /// How much price, latency and uptime count.
    #[must_use]
    pub fn weights(&self) -> Weights {
        let MarketConfig {
            route_weight_price: price, route_weight_latency: latency, route_weight_uptime: uptime, ..
        } = *self.settings;
        Weights { price, latency, uptime }
    }

    /// Looks at the providers whose turn it is, and records what was seen. Returns how many they were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn probe(&self) -> Result<usize, LedgerError> {
        let due = self.claim_probes().await?;
        let count = due.len();
        stream::iter(due)
            .for_each_concurrent(AT_ONCE, |(provider, content)| async move {
                let seen = match self.serving.client.probe(&content.endpoint).await {
                    Ok(()) => Seen::ProbeAnswered,
                    Err(error) => {
                        tracing::debug!(provider, %error, "a provider does not answer");
                        Seen::ProbeFailed
                    }
                };
                if let Err(error) = self.saw(provider, seen).await {
                    tracing::warn!(provider, %error, "what was seen of a provider could not be recorded");
                }
            })
            .await;
        Ok(count)
    }

    /// Takes the providers whose turn it is, so that of several relayers one looks.
    async fn claim_probes(&self) -> Result<Vec<(u32, ProviderContent)>, LedgerError> {
        let now = now_ms();
        let rows = sqlx::query(
            "SELECT p.id, p.content_json FROM market_providers p LEFT JOIN market_health h ON h.provider = p.id \
             WHERE p.retired = 0 AND p.content_json IS NOT NULL AND (h.provider IS NULL OR h.probe_due_ms <= $1) \
             ORDER BY COALESCE(h.probe_due_ms, 0), p.id LIMIT $2",
        )
        .bind(int(now))
        .bind(ROUND)
        .fetch_all(&self.ledger.db.pool)
        .await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut claimed = Vec::new();
        let mut tx = self.ledger.db.begin_write().await?;
        for row in &rows {
            let mut columns = Columns::of(row);
            let (id, content) = (columns.int()?, columns.json()?);
            let pause = self.settings.probe_seconds.max(1) * 1000;
            // A quarter more or less: providers must not see all meters at the same second.
            let next = now + pause * 3 / 4 + rand::rng().random_range(0..=pause / 2);
            let ours = sqlx::query(
                "INSERT INTO market_health (provider, probe_due_ms, failures_in_a_row) VALUES ($1, $2, 0) \
                 ON CONFLICT (provider) DO UPDATE SET probe_due_ms = excluded.probe_due_ms WHERE market_health.probe_due_ms <= $3",
            )
            .bind(int(id))
            .bind(int(next))
            .bind(int(now))
            .execute(tx.connection())
            .await?;
            if let (1, Ok(id)) = (ours.rows_affected(), u32::try_from(id)) {
                claimed.push((id, content));
            }
        }
        tx.commit().await?;
        Ok(claimed)
    }

    async fn saw(&self, provider: u32, seen: Seen) -> Result<(), LedgerError> {
        let mut tx = self.ledger.db.begin_write().await?;
        outcomes::record(tx.connection(), provider, now_ms(), seen).await?;
        tx.commit().await
    }

    /// Answers are kept for retries, not for good; receipts are.
    async fn forget_answers(&self) -> Result<(), LedgerError> {
        let before = now_ms().saturating_sub(self.ledger.context.config.keep_answers_days * 86_400_000);
        let mut tx = self.ledger.db.begin_write().await?;
        sqlx::query(
            "UPDATE market_calls SET answer = NULL WHERE state = 'done' AND answer IS NOT NULL AND created_ms < $1",
        )
        .bind(int(before))
        .execute(tx.connection())
        .await?;
        sqlx::query("DELETE FROM market_calls WHERE state = 'failed' AND created_ms < $1")
            .bind(int(before))
            .execute(tx.connection())
            .await?;
        tx.commit().await
    }
}
