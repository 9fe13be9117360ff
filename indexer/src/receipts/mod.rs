//! Published receipts: fetched in the background, verified against the posted root, kept with what is wrong when they are not (I-7).

mod document;
mod fetch;
mod keep;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use compute_futures_protocol::{Address, B256, Chain, Domain};
use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

pub use document::{Refused, verify};
pub use fetch::{DocumentClient, FetchError};
pub use keep::{document, signed_receipt};

use crate::{
    config::{OperatorSource, ReceiptsConfig},
    error::Result,
    follow::Feed,
    store::Store,
};

/// Longest pause between two attempts at a document, in seconds.
pub(crate) const LONGEST_PAUSE: u64 = 3600;
/// How often to look for documents that are due when nothing new is posted.
const LOOK: Duration = Duration::from_secs(1);

/// What became of a batch's document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentState {
    /// Not fetched yet.
    Pending,
    /// Fetched; everything holds.
    Verified,
    /// Fetched; something does not hold.
    Refused,
}

impl DocumentState {
    /// From a row.
    #[must_use]
    pub fn from_u64(value: u64) -> Self {
        match value {
            1 => Self::Verified,
            2 => Self::Refused,
            _ => Self::Pending,
        }
    }

    /// As answers write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Verified => "verified",
            Self::Refused => "refused",
        }
    }
}

/// A document worth asking for now.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) position: u64,
    pub(crate) operator_index: u32,
    pub(crate) batch_number: u64,
    pub(crate) attempts: u64,
    pub(crate) root: B256,
    pub(crate) operator: Address,
}

/// Fetches what is due, for every operator whose address is configured.
pub struct Fetcher {
    store: Store,
    feed: Feed,
    config: ReceiptsConfig,
    domain: Domain,
    sources: BTreeMap<u32, DocumentClient>,
}

impl Fetcher {
    /// One client a source, each with its own guard.
    pub fn new(
        store: Store,
        feed: Feed,
        config: &ReceiptsConfig,
        operators: &BTreeMap<String, OperatorSource>,
        domain: Domain,
    ) -> Result<Self> {
        let sources = clients(config, operators, feed.network())?;
        Ok(Self { store, feed, config: config.clone(), domain, sources })
    }

    /// Until told to stop. Every source by itself: one that hangs keeps no other waiting.
    pub async fn run(self, shutdown: CancellationToken) {
        let sources = self.sources.iter().map(|(index, client)| self.serve(*index, client, &shutdown));
        futures::future::join_all(sources).await;
    }

    async fn serve(&self, index: u32, client: &DocumentClient, shutdown: &CancellationToken) {
        let mut changes = self.feed.subscribe();
        loop {
            if let Err(error) = self.round(index, client, shutdown).await {
                tracing::warn!(%error, "receipts wait for the database");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
                // A new batch is a change of some account. However many queued up meanwhile, one look is enough.
                _ = changes.recv() => changes = changes.resubscribe(),
            }
        }
    }

    /// Everything of a source that is due now, `concurrency` at once.
    async fn round(&self, index: u32, client: &DocumentClient, shutdown: &CancellationToken) -> Result<()> {
        loop {
            let due = keep::due(&self.store, index, now()).await?;
            if due.is_empty() || shutdown.is_cancelled() {
                return Ok(());
            }
            stream::iter(due)
                .for_each_concurrent(self.config.concurrency, |due| async move {
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        outcome = self.attempt(client, &due) => if let Err(error) = outcome {
                            tracing::warn!(%error, batch = due.batch_number, "receipts not kept");
                        }
                    }
                })
                .await;
        }
    }

    async fn attempt(&self, client: &DocumentClient, due: &Due) -> Result<()> {
        let (state, reason) = match client.fetch(due.operator_index, due.batch_number).await {
            Err(error) => (DocumentState::Pending, error.to_string()),
            Ok(document) => {
                let (domain, root, operator) = (self.domain, due.root, due.operator);
                // A thousand signatures take tens of milliseconds: not on a thread that serves others.
                let (index, number) = (due.operator_index, due.batch_number);
                let verified = tokio::task::spawn_blocking(move || {
                    verify(&document, index, number, root, &domain, operator).map(|()| document)
                })
                .await;
                match verified {
                    Ok(Ok(document)) => {
                        self.count("verified");
                        let discrepancies = keep::verified(&self.store, due, &document).await?;
                        self.feed.count("indexer_discrepancies_total", discrepancies);
                        return Ok(());
                    }
                    Ok(Err(refused)) => (DocumentState::Refused, refused.to_string()),
                    Err(stopped) => (DocumentState::Pending, format!("verification stopped: {stopped}")),
                }
            }
        };
        self.count(state.name());
        tracing::warn!(operator = due.operator_index, batch = due.batch_number, reason, "receipts not verified");
        let pause = (self.config.retry_seconds << due.attempts.min(12)).min(LONGEST_PAUSE);
        keep::failed(&self.store, due, state, &reason, now() + pause).await
    }

    fn count(&self, outcome: &'static str) {
        let network = self.feed.network().caip2();
        metrics::counter!("indexer_documents_total", "network" => network, "outcome" => outcome).increment(1);
    }
}

/// One client a source, by operator index.
pub(crate) fn clients(
    config: &ReceiptsConfig,
    operators: &BTreeMap<String, OperatorSource>,
    network: Chain,
) -> Result<BTreeMap<u32, DocumentClient>> {
    let source = |(index, source): (&String, &OperatorSource)| {
        // Checked by `Config::validate`; 0 is nobody's index.
        let index = index.parse().unwrap_or_default();
        let timeout = Duration::from_secs(config.timeout_seconds);
        DocumentClient::new(source, network, timeout, config.max_bytes).map(|client| (index, client))
    };
    operators.iter().map(source).collect()
}

/// Unix seconds.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
