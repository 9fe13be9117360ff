//! Receipts of closed sessions, published by their meters: fetched in the background, verified against the root on chain, priced by
//! the content the session was opened at (I-7, I-11).

mod document;
mod keep;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use compute_futures_protocol::market::{MarketDomain, SessionId};
use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

pub use document::{PublishedReceipt, Refused, SessionDocument, verify};

use super::SessionRow;
use crate::{
    config::ReceiptsConfig,
    error::Result,
    follow::Feed,
    receipts::{DocumentClient, DocumentState, FetchError, LONGEST_PAUSE, now},
    store::Store,
};

/// How often to look for documents that are due.
const LOOK: Duration = Duration::from_secs(1);

/// A document worth asking for now.
#[derive(Debug, Clone)]
struct Due {
    position: u64,
    attempts: u64,
    session: SessionRow,
}

/// Asks the relayers of the operators that are configured, for sessions whose meter is one of them.
pub(crate) struct SessionFetcher {
    pub(crate) store: Store,
    pub(crate) feed: Feed,
    pub(crate) config: ReceiptsConfig,
    pub(crate) domain: MarketDomain,
    /// By operator index.
    pub(crate) sources: Arc<BTreeMap<u32, DocumentClient>>,
}

impl SessionFetcher {
    /// Until told to stop. Every source by itself: one that hangs keeps no other waiting.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let sources = self.sources.iter().map(|(index, client)| self.serve(*index, client, &shutdown));
        futures::future::join_all(sources).await;
    }

    async fn serve(&self, index: u32, client: &DocumentClient, shutdown: &CancellationToken) {
        loop {
            if let Err(error) = self.round(index, client, shutdown).await {
                tracing::warn!(%error, "receipts of sessions wait for the database");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
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
                            tracing::warn!(%error, session = %due.session.id, "receipts of a session not kept");
                        }
                    }
                })
                .await;
        }
    }

    async fn attempt(&self, client: &DocumentClient, due: &Due) -> Result<()> {
        let (state, reason) = match fetch(client, due.session.id).await {
            // A relayer without a marketplace, or one that has not got there yet.
            Err(error @ FetchError::NotFound) => (DocumentState::Pending, error.to_string()),
            Err(error) => {
                tracing::warn!(session = %due.session.id, %error, "receipts of a session cannot be had");
                (DocumentState::Pending, error.to_string())
            }
            Ok(document) => {
                let (domain, session) = (self.domain, due.session.clone());
                // Thousands of signatures take a while: not on a thread that serves others.
                let verified = tokio::task::spawn_blocking(move || verify(document, &session, &domain)).await;
                match verified {
                    Ok(Ok(receipts)) => {
                        self.count("verified");
                        let discrepancies = keep::verified(&self.store, due, &receipts).await?;
                        self.feed.count("indexer_discrepancies_total", discrepancies);
                        return Ok(());
                    }
                    Ok(Err(refused)) => {
                        tracing::warn!(session = %due.session.id, %refused, "receipts of a session do not hold");
                        (DocumentState::Refused, refused.to_string())
                    }
                    Err(stopped) => (DocumentState::Pending, format!("verification stopped: {stopped}")),
                }
            }
        };
        self.count(state.name());
        let pause = (self.config.retry_seconds << due.attempts.min(12)).min(LONGEST_PAUSE);
        keep::failed(&self.store, due, state, &reason, now() + pause).await
    }

    fn count(&self, outcome: &'static str) {
        let network = self.feed.network().caip2();
        metrics::counter!("indexer_session_documents_total", "network" => network, "outcome" => outcome).increment(1);
    }
}

/// The document of a session, unverified.
async fn fetch(client: &DocumentClient, session: SessionId) -> Result<SessionDocument, FetchError> {
    client.get(&format!("market/sessions/{session}/receipts"), "").await
}
