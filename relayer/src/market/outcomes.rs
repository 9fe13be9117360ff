//! What the meter saw of each provider: calls and probes by the hour, and what follows from them.
//!
//! Recorded in the transaction that ends a call, so that every call counts once. A call that failed for the caller's own fault, or that
//! the provider was too busy for, is a request without a failure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sqlx::AnyConnection;
use utoipa::ToSchema;

use super::Market;
use crate::ledger::db::Db;
use crate::ledger::sql::{Columns, int};
use crate::ledger::{LedgerError, now_ms};

/// How far back uptime and average latency look, in hours.
const WINDOW_HOURS: u64 = 30 * 24;
/// How far back the 95th percentile looks, and at how many calls at most.
const PERCENTILE_MS: u64 = 24 * 3600 * 1000;
const PERCENTILE_CALLS: i64 = 20_000;
/// As many failures in a row are no accident.
const UNHEALTHY: u64 = 2;
/// How long the figures are believed without asking the database again.
const FRESH: Duration = Duration::from_secs(2);
/// Milliseconds in an hour.
const HOUR_MS: u64 = 3_600_000;

/// Whether a provider is believed to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It failed twice in a row.
    Unhealthy,
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// It answered, or failed only once since.
    Healthy,
}

/// What was seen of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Now.
    pub standing: Standing,
    /// Of the last 30 days, in basis points: requests and probes that did not fail.
    pub uptime_bps: Option<u64>,
    /// Of the answers of the last 30 days.
    pub average_latency_ms: Option<u64>,
    /// Of the answers of the last day: 95 in 100 were not slower.
    pub p95_latency_ms: Option<u64>,
    /// Calls of the last 30 days.
    pub requests: u64,
    /// When it answered last, in unix milliseconds.
    pub last_seen_ms: Option<u64>,
}

impl Health {
    /// Uptime in percent with two decimals, rounded down: `99.87`.
    #[must_use]
    pub fn uptime_percent(&self) -> Option<String> {
        self.uptime_bps.map(|bps| format!("{}.{:02}", bps / 100, bps % 100))
    }
}

/// Health of every provider that anything is known of.
pub type HealthByProvider = Arc<HashMap<u32, Health>>;

/// One hour of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcomes {
    /// Hours since 1970.
    pub hour: u64,
    /// Calls.
    pub requests: u64,
    /// Of these, ended by the provider's fault.
    pub failures: u64,
    /// Times that it was looked at.
    pub probes: u64,
    /// Of these, without a good answer.
    pub probe_failures: u64,
}

/// One thing that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A call was answered within so many milliseconds.
    Answered(u64),
    /// A call was refused for a fault that is not the provider's, or because it is busy.
    Refused,
    /// A call failed there.
    Failed,
    /// A probe was answered.
    ProbeAnswered,
    /// A probe was not.
    ProbeFailed,
}

/// Counts what was seen of a provider, within a transaction.
pub(super) async fn record(
    connection: &mut AnyConnection,
    provider: u32,
    now: u64,
    seen: Seen,
) -> Result<(), LedgerError> {
    let [requests, failures, probes, probe_failures] = match seen {
        Seen::Answered(_) | Seen::Refused => [1, 0, 0, 0],
        Seen::Failed => [1, 1, 0, 0],
        Seen::ProbeAnswered => [0, 0, 1, 0],
        Seen::ProbeFailed => [0, 0, 1, 1_i64],
    };
    let (answers, latency) = if let Seen::Answered(ms) = seen { (1_i64, ms) } else { (0, 0) };
    sqlx::query(
        "INSERT INTO market_outcomes (provider, hour, requests, failures, probes, probe_failures, answers, latency_sum_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (provider, hour) DO UPDATE SET \
         requests = market_outcomes.requests + excluded.requests, failures = market_outcomes.failures + excluded.failures, \
         probes = market_outcomes.probes + excluded.probes, \
         probe_failures = market_outcomes.probe_failures + excluded.probe_failures, \
         answers = market_outcomes.answers + excluded.answers, \
         latency_sum_ms = market_outcomes.latency_sum_ms + excluded.latency_sum_ms",
    )
    .bind(i64::from(provider))
    .bind(int(now / HOUR_MS))
    .bind(requests)
    .bind(failures)
    .bind(probes)
    .bind(probe_failures)
    .bind(answers)
    .bind(int(latency))
    .execute(&mut *connection)
    .await?;
    let text = match seen {
        // It says that it lives.
        Seen::Answered(_) | Seen::ProbeAnswered | Seen::Refused => {
            "INSERT INTO market_health (provider, probe_due_ms, failures_in_a_row, last_seen_ms) VALUES ($1, 0, 0, $2) \
             ON CONFLICT (provider) DO UPDATE SET failures_in_a_row = 0, last_seen_ms = excluded.last_seen_ms"
        }
        Seen::Failed | Seen::ProbeFailed => {
            "INSERT INTO market_health (provider, probe_due_ms, failures_in_a_row, last_failure_ms) VALUES ($1, 0, 1, $2) \
             ON CONFLICT (provider) DO UPDATE SET failures_in_a_row = market_health.failures_in_a_row + 1, \
             last_failure_ms = excluded.last_failure_ms"
        }
    };
    sqlx::query(text).bind(i64::from(provider)).bind(int(now)).execute(connection).await?;
    Ok(())
}

/// The figures of a moment ago.
#[derive(Clone)]
pub(super) struct Cached(moka::future::Cache<(), HealthByProvider>);

impl Cached {
    pub(super) fn new() -> Self {
        Self(moka::future::Cache::builder().max_capacity(1).time_to_live(FRESH).build())
    }
}

impl Market {
    /// Health of every provider that anything is known of, as of the last seconds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn health(&self) -> Result<HealthByProvider, LedgerError> {
        let Cached(cache) = &self.serving.health;
        let read = async { Ok(Arc::new(read(&self.ledger.db, now_ms()).await?)) };
        cache.try_get_with((), read).await.map_err(|error: Arc<LedgerError>| LedgerError::clone(&error))
    }

    /// What was seen of a provider in the hours `from..=to`, oldest first; hours in which nothing was seen are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn outcomes(&self, provider: u32, from: u64, to: u64) -> Result<Vec<Outcomes>, LedgerError> {
        let rows = sqlx::query(
            "SELECT hour, requests, failures, probes, probe_failures FROM market_outcomes \
             WHERE provider = $1 AND hour >= $2 AND hour <= $3 ORDER BY hour",
        )
        .bind(i64::from(provider))
        .bind(int(from))
        .bind(int(to))
        .fetch_all(&self.ledger.db.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row);
                Ok(Outcomes {
                    hour: columns.int()?,
                    requests: columns.int()?,
                    failures: columns.int()?,
                    probes: columns.int()?,
                    probe_failures: columns.int()?,
                })
            })
            .collect()
    }
}

async fn read(db: &Db, now: u64) -> Result<HashMap<u32, Health>, LedgerError> {
    let mut all: HashMap<u32, Health> = HashMap::new();
    let rows = sqlx::query(
        "SELECT provider, CAST(SUM(requests) AS BIGINT), CAST(SUM(failures) AS BIGINT), CAST(SUM(probes) AS BIGINT), \
         CAST(SUM(probe_failures) AS BIGINT), CAST(SUM(answers) AS BIGINT), CAST(SUM(latency_sum_ms) AS BIGINT) \
         FROM market_outcomes WHERE hour > $1 GROUP BY provider",
    )
    .bind(int((now / HOUR_MS).saturating_sub(WINDOW_HOURS)))
    .fetch_all(&db.pool)
    .await?;
    for row in &rows {
        let mut columns = Columns::of(row);
        let (provider, requests, failures) = (number(&mut columns)?, columns.int()?, columns.int()?);
        let (probes, probe_failures) = (columns.int()?, columns.int()?);
        let (answers, latency) = (columns.int()?, columns.int()?);
        let health = all.entry(provider).or_default();
        health.requests = requests;
        health.uptime_bps = uptime_bps(requests + probes, failures + probe_failures);
        health.average_latency_ms = latency.checked_div(answers);
    }
    let rows = sqlx::query("SELECT provider, failures_in_a_row, last_seen_ms, last_failure_ms FROM market_health")
        .fetch_all(&db.pool);
    for row in &rows.await? {
        let mut columns = Columns::of(row);
        let (provider, failures) = (number(&mut columns)?, columns.int()?);
        let (seen, failed) = (columns.optional_int()?, columns.optional_int()?);
        let health = all.entry(provider).or_default();
        health.last_seen_ms = seen;
        health.standing = match (seen, failed) {
            _ if failures >= UNHEALTHY => Standing::Unhealthy,
            (None, _) => Standing::Unknown,
            (Some(_), _) => Standing::Healthy,
        };
    }
    let rows = sqlx::query(
        "SELECT provider, latency_ms FROM market_calls WHERE state = 'done' AND latency_ms IS NOT NULL AND created_ms > $1 \
         ORDER BY created_ms DESC LIMIT $2",
    )
    .bind(int(now.saturating_sub(PERCENTILE_MS)))
    .bind(PERCENTILE_CALLS)
    .fetch_all(&db.pool)
    .await?;
    let mut latencies: HashMap<u32, Vec<u64>> = HashMap::new();
    for row in &rows {
        let mut columns = Columns::of(row);
        latencies.entry(number(&mut columns)?).or_default().push(columns.int()?);
    }
    for (provider, mut latencies) in latencies {
        all.entry(provider).or_default().p95_latency_ms = p95(&mut latencies);
    }
    Ok(all)
}

fn number(columns: &mut Columns<'_>) -> Result<u32, LedgerError> {
    u32::try_from(columns.int()?).map_err(|_| LedgerError::Corrupt("a provider's id that no provider has".into()))
}

/// Share of what did not fail, in basis points, rounded down.
fn uptime_bps(all: u64, failed: u64) -> Option<u64> {
    (all.saturating_sub(failed) * 10_000).checked_div(all)
}

/// The nearest-rank 95th percentile.
fn p95(latencies: &mut [u64]) -> Option<u64> {
    latencies.sort_unstable();
    let rank = (latencies.len() * 95).div_ceil(100);
    latencies.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_what_their_formulas_say() {
        assert_eq!(uptime_bps(0, 0), None);
        assert_eq!(uptime_bps(1_000, 3), Some(9_970));
        assert_eq!(uptime_bps(3, 1), Some(6_666));
        assert_eq!(uptime_bps(7, 7), Some(0));
        assert_eq!(p95(&mut []), None);
        assert_eq!(p95(&mut [7]), Some(7));
        assert_eq!(p95(&mut (1..=100).rev().collect::<Vec<_>>()), Some(95));
        assert_eq!(p95(&mut (1..=20).collect::<Vec<_>>()), Some(19));
        let health = |uptime_bps| Health { uptime_bps, ..Health::default() };
        assert_eq!(health(Some(9_987)).uptime_percent().as_deref(), Some("99.87"));
        assert_eq!(health(Some(10_000)).uptime_percent().as_deref(), Some("100.00"));
        assert_eq!(health(Some(5)).uptime_percent().as_deref(), Some("0.05"));
        assert_eq!(health(None).uptime_percent(), None);
    }
}
