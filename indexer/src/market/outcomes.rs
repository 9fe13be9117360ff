//! What meters say became of requests and probes of each provider, hour by hour: what uptime is computed from.
//!
//! It is their word and not the chain's: each operator's is stored under its own index.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::tables::OUTCOMES;
use crate::{
    error::Result,
    follow::Feed,
    receipts::{DocumentClient, FetchError, now},
    store::{Bulk, Store},
};

/// Providers asked about in one round, of each operator: those longest ago first.
const ROUND: u64 = 64;
/// How far back to ask at first, in hours.
pub const HOURS: u64 = 30 * 24;

/// What a relayer answers.
#[derive(Debug, Deserialize)]
struct Answer {
    outcomes: Vec<Outcome>,
}

/// An hour of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    /// Hours since 1970.
    hour: u64,
    requests: u32,
    failures: u32,
    probes: u32,
    probe_failures: u32,
}

/// Asks the relayers of the operators that are configured.
pub(crate) struct OutcomePoller {
    pub(crate) store: Store,
    pub(crate) feed: Feed,
    pub(crate) every: Duration,
    /// By operator index.
    pub(crate) sources: Arc<BTreeMap<u32, DocumentClient>>,
}

impl OutcomePoller {
    /// Until told to stop. Every source by itself: one that hangs keeps no other waiting.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let sources = self.sources.iter().map(|(index, client)| self.serve(*index, client));
        shutdown.run_until_cancelled(futures::future::join_all(sources)).await;
    }

    async fn serve(&self, index: u32, client: &DocumentClient) {
        loop {
            if let Err(error) = self.round(index, client).await {
                tracing::warn!(%error, "outcomes wait for the database");
            }
            tokio::time::sleep(self.every).await;
        }
    }

    async fn round(&self, operator_index: u32, client: &DocumentClient) -> Result<()> {
        let due = self
            .store
            .all(
                "SELECT p.id, q.from_hour FROM market_providers p
                 LEFT JOIN market_polls q ON q.provider_id = p.id AND q.operator_index = $1
                 WHERE p.content_hash IS NOT NULL ORDER BY COALESCE(q.polled_at, 0), p.id LIMIT $2",
                &[operator_index.into(), ROUND.into()],
            )
            .await?;
        for row in due {
            let provider = row.u32("id")?;
            let to = now() / 3600;
            let known = row.opt_u64("from_hour")?;
            let from = known.unwrap_or(to.saturating_sub(HOURS)).min(to);
            let path = format!("market/providers/{provider}/outcomes");
            let answer = client.get::<Answer>(&path, &format!("&from={from}&to={to}")).await;
            let outcomes = match answer.map(|answer| sensible(answer.outcomes, from, to)) {
                Ok(Ok(outcomes)) => Some(outcomes),
                Ok(Err(reason)) => {
                    tracing::warn!(network = %self.feed.network(), operator_index, provider, reason, "outcomes not taken");
                    None
                }
                // A relayer without a marketplace, or one that does not call this provider.
                Err(FetchError::NotFound) => None,
                Err(error) => {
                    tracing::debug!(network = %self.feed.network(), operator_index, provider, %error, "no outcomes");
                    // Nothing answers: the others need not be tried now.
                    self.keep(operator_index, provider, None, from).await?;
                    return Ok(());
                }
            };
            let next = if outcomes.is_some() { to } else { from };
            self.keep(operator_index, provider, outcomes, next).await?;
        }
        Ok(())
    }

    /// The hour under way is asked for again.
    async fn keep(
        &self,
        operator_index: u32,
        provider: u32,
        outcomes: Option<BTreeMap<u64, Outcome>>,
        next: u64,
    ) -> Result<()> {
        let mut bulk = Bulk::new(&OUTCOMES);
        for (hour, outcome) in outcomes.unwrap_or_default() {
            bulk.push([
                operator_index.into(),
                provider.into(),
                hour.into(),
                outcome.requests.into(),
                outcome.failures.into(),
                outcome.probes.into(),
                outcome.probe_failures.into(),
            ]);
        }
        let mut tx = self.store.begin().await?;
        tx.insert(bulk).await?;
        tx.execute(
            "INSERT INTO market_polls (operator_index, provider_id, polled_at, from_hour) VALUES ($1, $2, $3, $4)
             ON CONFLICT (operator_index, provider_id) DO UPDATE SET polled_at = excluded.polled_at, from_hour = excluded.from_hour",
            &[operator_index.into(), provider.into(), now().into(), next.into()],
        )
        .await?;
        tx.commit().await
    }
}

/// An answer that can be counted: hours that were asked for, each once, with no more failures than attempts.
fn sensible(outcomes: Vec<Outcome>, from: u64, to: u64) -> Result<BTreeMap<u64, Outcome>, &'static str> {
    let mut hours = BTreeMap::new();
    for outcome in outcomes {
        if !(from..=to).contains(&outcome.hour) {
            return Err("an hour that was not asked for");
        }
        if outcome.failures > outcome.requests || outcome.probe_failures > outcome.probes {
            return Err("more failures than attempts");
        }
        match hours.entry(outcome.hour) {
            Entry::Vacant(place) => place.insert(outcome),
            Entry::Occupied(_) => return Err("an hour twice"),
        };
    }
    Ok(hours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_counted_is_not_taken() {
        let good = Outcome { hour: 5, requests: 3, failures: 1, probes: 60, probe_failures: 60 };
        assert_eq!(sensible(vec![good], 5, 6).map(|hours| hours.len()), Ok(1));
        for bad in [
            vec![good, good],
            vec![Outcome { hour: 7, ..good }],
            vec![Outcome { hour: 4, ..good }],
            vec![Outcome { failures: 4, ..good }],
            vec![Outcome { probe_failures: 61, ..good }],
        ] {
            assert!(sensible(bad.clone(), 5, 6).is_err(), "{bad:?}");
        }
    }
}
