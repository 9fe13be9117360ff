//! How a provider does over time: from verified receipts, from closings on chain, and from what meters say of failures.
//!
//! Nothing is stored for it: every figure is computed from rows that are, when somebody asks.

use std::collections::BTreeMap;

use crate::{error::Result, store::Tx};

/// A provider in one interval. Tokens and requests are of verified receipts, by the time they were issued; amounts in micro-USDC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// Executions.
    pub requests: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Σ latencies in milliseconds.
    pub latency_sum_ms: u64,
    /// The latency that 95 of 100 executions did not exceed: the ⌈0.95 n⌉-th of n, in order.
    pub p95_latency_ms: Option<u64>,
    /// Costs of the sessions that were closed in it, by the time of the block.
    pub earnings: u64,
    /// Sessions that were closed in it.
    pub closings: u64,
    /// What meters counted.
    pub outcomes: Outcomes,
}

/// What meters counted, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Outcomes {
    pub requests: u64,
    pub failures: u64,
    pub probes: u64,
    pub probe_failures: u64,
}

impl Measured {
    /// Rounded down to a millisecond.
    #[must_use]
    pub fn average_latency_ms(&self) -> Option<u64> {
        self.latency_sum_ms.checked_div(self.requests)
    }
}

impl Outcomes {
    /// 100 · (requests − failures + probes − probe failures) / (requests + probes), in percent with two decimals, rounded down;
    /// `None` when nothing was tried.
    #[must_use]
    pub fn uptime(&self) -> Option<String> {
        let tried = u128::from(self.requests) + u128::from(self.probes);
        let failed = u128::from(self.failures) + u128::from(self.probe_failures);
        let hundredths = (10_000 * tried.saturating_sub(failed)).checked_div(tried)?;
        Some(format!("{}.{:02}", hundredths / 100, hundredths % 100))
    }
}

/// Seconds of an interval that holds everything.
pub const WHOLE: u64 = 1 << 40;

/// A provider's intervals of `step` seconds in `from..to` (Unix seconds) in which anything happened, by their number.
pub async fn series(tx: &mut Tx, provider: u32, step: u64, from: u64, to: u64) -> Result<BTreeMap<u64, Measured>> {
    let mut found: BTreeMap<u64, Measured> = BTreeMap::new();
    let arguments = [provider.into(), from.into(), to.into(), step.into()];
    let rows = tx
        .all(
            "WITH r AS (
               SELECT issued_at / $4 AS bucket, input_tokens, output_tokens, latency_ms,
                      ROW_NUMBER() OVER (PARTITION BY issued_at / $4 ORDER BY latency_ms) AS place,
                      COUNT(*) OVER (PARTITION BY issued_at / $4) AS n
               FROM market_receipts WHERE provider_id = $1 AND issued_at >= $2 AND issued_at < $3
             )
             SELECT bucket, COUNT(*) AS requests, CAST(SUM(input_tokens) AS BIGINT) AS input_tokens,
                    CAST(SUM(output_tokens) AS BIGINT) AS output_tokens, CAST(SUM(latency_ms) AS BIGINT) AS latency_sum,
                    MIN(CASE WHEN place * 100 >= n * 95 THEN latency_ms END) AS p95
             FROM r GROUP BY bucket",
            &arguments,
        )
        .await?;
    for row in rows {
        let measured = found.entry(row.u64("bucket")?).or_default();
        measured.requests = row.u64("requests")?;
        (measured.input_tokens, measured.output_tokens) = (row.u64("input_tokens")?, row.u64("output_tokens")?);
        (measured.latency_sum_ms, measured.p95_latency_ms) = (row.u64("latency_sum")?, row.opt_u64("p95")?);
    }
    let rows = tx
        .all(
            "WITH c AS (
               SELECT ended_time / $4 AS bucket, cost FROM market_sessions
               WHERE provider_id = $1 AND ended_time >= $2 AND ended_time < $3 AND status = 1
             )
             SELECT bucket, COUNT(*) AS closings, CAST(SUM(cost) AS BIGINT) AS earnings FROM c GROUP BY bucket",
            &arguments,
        )
        .await?;
    for row in rows {
        let measured = found.entry(row.u64("bucket")?).or_default();
        (measured.closings, measured.earnings) = (row.u64("closings")?, row.u64("earnings")?);
    }
    let rows = tx
        .all(
            "WITH o AS (
               SELECT hour * 3600 / $4 AS bucket, requests, failures, probes, probe_failures FROM market_outcomes
               WHERE provider_id = $1 AND hour * 3600 >= $2 AND hour * 3600 < $3
             )
             SELECT bucket, CAST(SUM(requests) AS BIGINT) AS requests, CAST(SUM(failures) AS BIGINT) AS failures,
                    CAST(SUM(probes) AS BIGINT) AS probes, CAST(SUM(probe_failures) AS BIGINT) AS probe_failures
             FROM o GROUP BY bucket",
            &arguments,
        )
        .await?;
    for row in rows {
        found.entry(row.u64("bucket")?).or_default().outcomes = Outcomes {
            requests: row.u64("requests")?,
            failures: row.u64("failures")?,
            probes: row.u64("probes")?,
            probe_failures: row.u64("probe_failures")?,
        };
    }
    Ok(found)
}

/// A provider in all of `from..to`.
pub async fn total(tx: &mut Tx, provider: u32, from: u64, to: u64) -> Result<Measured> {
    Ok(series(tx, provider, WHOLE, from, to.min(WHOLE)).await?.remove(&0).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_exact_and_never_flattering() {
        let uptime = |requests, failures, probes, probe_failures| {
            Outcomes { requests, failures, probes, probe_failures }.uptime()
        };
        assert_eq!(uptime(0, 0, 0, 0), None);
        assert_eq!(uptime(1, 0, 0, 0).as_deref(), Some("100.00"));
        assert_eq!(uptime(100_000, 1, 0, 0).as_deref(), Some("99.99"), "rounded down");
        assert_eq!(uptime(2, 1, 1, 0).as_deref(), Some("66.66"));
        assert_eq!(uptime(5, 5, 5, 5).as_deref(), Some("0.00"));
        assert_eq!(uptime(u64::MAX, 0, u64::MAX, u64::MAX).as_deref(), Some("50.00"));
    }
}
