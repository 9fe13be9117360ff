//! How a provider does, by the hour or by the day.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tokio::sync::SemaphorePermit;
use utoipa::{IntoParams, ToSchema};

use super::super::{
    Api,
    answer::{self, Amount, AsOf},
    error::{ApiError, ApiResult, ErrorBody},
    input::{At, Params},
};
use super::providers;
use crate::{
    error::Result,
    market::{
        HOURS,
        metrics::{self, Measured},
    },
    receipts::now,
    store::Tx,
};

/// Most intervals in one answer.
const MOST: u64 = 1_000;

/// What a provider did. Formulas: docs/indexer-api.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Performance {
    /// Executions with a verified receipt, by the time they were issued.
    pub requests: u64,
    /// Tokens they read.
    pub input_tokens: u64,
    /// Tokens they wrote.
    pub output_tokens: u64,
    /// Costs of the sessions closed on chain, by the time of the block.
    pub earnings: Amount,
    /// Sessions closed on chain.
    pub closed_sessions: u64,
    /// From request to whole answer, in milliseconds, rounded down; null without receipts.
    pub average_latency_ms: Option<u64>,
    /// What 95 of 100 executions did not exceed; exact, null without receipts.
    pub p95_latency_ms: Option<u64>,
    /// Percent with two decimals, rounded down, by the word of its meters; null when nothing was tried.
    #[schema(example = "99.87")]
    pub uptime: Option<String>,
    /// What the uptime is computed from.
    pub outcomes: OutcomeCounts,
}

/// What meters counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct OutcomeCounts {
    /// Requests sent to the provider.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Probes.
    pub probes: u64,
    /// Those that failed.
    pub probe_failures: u64,
}

impl From<&Measured> for Performance {
    fn from(measured: &Measured) -> Self {
        let outcomes = measured.outcomes;
        Self {
            requests: measured.requests,
            input_tokens: measured.input_tokens,
            output_tokens: measured.output_tokens,
            earnings: measured.earnings.into(),
            closed_sessions: measured.closings,
            average_latency_ms: measured.average_latency_ms(),
            p95_latency_ms: measured.p95_latency_ms,
            uptime: outcomes.uptime(),
            outcomes: OutcomeCounts {
                requests: outcomes.requests,
                failures: outcomes.failures,
                probes: outcomes.probes,
                probe_failures: outcomes.probe_failures,
            },
        }
    }
}

/// A provider over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Series {
    /// Which.
    pub provider_id: u32,
    /// `hour` or `day` (of UTC).
    #[schema(example = "hour")]
    pub interval: &'static str,
    /// Begin of the first interval, RFC 3339.
    pub from: Option<String>,
    /// End of the last one, exclusive.
    pub to: Option<String>,
    /// All of it.
    pub total: Performance,
    /// Oldest first; intervals in which nothing happened are left out.
    pub items: Vec<Interval>,
    /// Which block this answer speaks of.
    pub as_of: AsOf,
}

/// One hour or day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Interval {
    /// Its begin, RFC 3339.
    pub start: Option<String>,
    /// What was measured in it.
    #[serde(flatten)]
    pub measured: Performance,
}

/// A place among those who read many rows, before a connection is taken.
pub(super) async fn place(api: &Api) -> ApiResult<SemaphorePermit<'_>> {
    api.heavy
        .acquire()
        .await
        .map_err(|_| ApiError::unavailable("shutting_down", "the indexer is shutting down", "try again in a moment"))
}

/// The last 30 days of a provider.
pub(super) async fn recent(tx: &mut Tx, provider: u32) -> Result<Performance> {
    let to = now() + 1;
    let from = (to / 3600).saturating_sub(HOURS) * 3600;
    Ok((&metrics::total(tx, provider, from, to).await?).into())
}

/// `?interval=&from=&to=&network=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct MetricsParams {
    /// `hour` or `day` (default), of UTC.
    pub interval: Option<String>,
    /// Unix seconds; 48 hours or 30 days before `to` unless given. Rounded down to the interval.
    pub from: Option<u64>,
    /// Unix seconds; now unless given. Rounded up to the interval.
    pub to: Option<u64>,
    /// CAIP-2 name of the network; needed where several are followed.
    pub network: Option<String>,
}

/// What a provider did, hour by hour or day by day: at most 1,000 intervals at once.
#[utoipa::path(get, path = "/api/v1/market/providers/{provider}/metrics", tag = "market", params(("provider" = u32, Path), MetricsParams),
    responses((status = 200, body = Series), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn get(
    State(api): State<Api>,
    At(provider): At<String>,
    Params(params): Params<MetricsParams>,
) -> ApiResult<Json<Series>> {
    let id = super::number("provider", &provider)?;
    let (interval, step, usual) = match params.interval.as_deref() {
        None | Some("day") => ("day", 86_400, 30),
        Some("hour") => ("hour", 3_600, 48),
        Some(_) => return Err(ApiError::bad_request("invalid_interval", "no such interval", "pass hour or day")),
    };
    let (from, to) = range(params.from, params.to, step, usual)?;
    let _place = place(&api).await?;
    let (mut tx, now) = super::open(api.market(params.network.as_deref())?).await?;
    providers::known(&mut tx, id).await?;
    let total = (&metrics::total(&mut tx, id, from, to).await?).into();
    let items = metrics::series(&mut tx, id, step, from, to).await?;
    let items = items
        .iter()
        .map(|(number, measured)| Interval { start: answer::rfc3339(number * step), measured: measured.into() })
        .collect();
    let (from, to) = (answer::rfc3339(from), answer::rfc3339(to));
    Ok(Json(Series { provider_id: id, interval, from, to, total, items, as_of: (&now).into() }))
}

/// Whole intervals around what was asked for.
fn range(from: Option<u64>, to: Option<u64>, step: u64, usual: u64) -> ApiResult<(u64, u64)> {
    let refuse = |error: String, hint: &str| Err(ApiError::bad_request("invalid_range", error, hint));
    let latest = compute_futures_protocol::market::MAX_TIME - step;
    let to = to.unwrap_or_else(now);
    if to > latest || from.is_some_and(|from| from > latest) {
        return refuse("a time is beyond what a chain can hold".into(), "pass Unix seconds, e.g. from=1790000000");
    }
    if from.is_some_and(|from| from >= to) {
        return refuse("nothing lies between from and to".into(), "pass from before to, both in Unix seconds");
    }
    let to = to.next_multiple_of(step);
    let from = from.map_or(to.saturating_sub(usual * step), |from| from / step * step);
    let intervals = to.saturating_sub(from) / step;
    if intervals == 0 || intervals > MOST {
        let hint = "pass from before to, both in Unix seconds, at most 1,000 intervals apart";
        return refuse(format!("{intervals} intervals lie between from and to"), hint);
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges_are_whole_intervals_and_bounded() {
        assert_eq!(range(Some(7_201), Some(7_202), 3_600, 48).unwrap(), (7_200, 10_800));
        assert_eq!(range(None, Some(720_000), 3_600, 48).unwrap(), (720_000 - 48 * 3_600, 720_000));
        assert_eq!(range(None, Some(10), 3_600, 48).unwrap(), (0, 3_600));
        for (from, to) in [
            (Some(9), Some(5_000_000)),
            (Some(5), Some(0)),
            (Some(u64::MAX), None),
            (None, Some(u64::MAX)),
            (Some(9), Some(5)),
            (Some(0), Some(0)),
        ] {
            assert!(range(from, to, 3_600, 48).is_err(), "{from:?} {to:?}");
        }
    }
}
