//! Sessions and contents of the past: accounts of sessions are deleted, contents were never in one, but transactions that name an
//! account are kept.

use compute_futures_protocol::B256;
use compute_futures_protocol::SolanaAddress;
use compute_futures_protocol::market::{ProviderContent, SessionId};

use super::super::follow::{PAGE, Signature};
use super::SolanaMarket;
use crate::market::MarketEvent;
use crate::{ChainError, ChainEvent};

impl SolanaMarket {
    /// Events of transactions that name an account, newest first, until `enough` says so of one.
    async fn find_back(
        &self,
        address: SolanaAddress,
        enough: impl Fn(&MarketEvent) -> bool + Send,
    ) -> Result<Vec<ChainEvent<MarketEvent>>, ChainError> {
        let source = self.source();
        let mut pages = self.reader.pages(address, PAGE);
        let mut events = Vec::new();
        while let Some(page) = pages.more().await? {
            // A slot's transactions are told apart only together: their order is the block's.
            let mut rest: Vec<Signature> = page.into_iter().filter(|found| found.err.is_none()).collect();
            while let Some(slot) = rest.first().map(|found| found.slot) {
                let some: Vec<Signature> = rest.extract_if(.., |found| found.slot == slot).collect();
                let found = self.reader.events_of_slot(&source, slot, some).await?;
                for event in found.into_iter().rev() {
                    let last = enough(&event.kind);
                    events.push(event);
                    if last {
                        return Ok(events);
                    }
                }
            }
        }
        Ok(events)
    }

    /// What happened to a session, oldest first. Its account is named by its opening, its end, and by whoever likes to.
    pub(super) async fn history_of(&self, id: SessionId) -> Result<Vec<ChainEvent<MarketEvent>>, ChainError> {
        let opened =
            |event: &MarketEvent| matches!(event, MarketEvent::SessionOpened { session, .. } if *session == id);
        let mut found = self.find_back(self.programs.session(id), opened).await?;
        found.retain(|event| event.kind.session() == Some(id));
        found.reverse();
        Ok(found)
    }

    /// The content of this hash that a provider published.
    pub(super) async fn published(&self, id: u32, wanted: B256) -> Result<Option<ProviderContent>, ChainError> {
        let is_wanted = |event: &MarketEvent| match event {
            MarketEvent::ProviderRegistered { provider_id, content_hash, .. }
            | MarketEvent::ProviderUpdated { provider_id, content_hash, .. } => {
                (*provider_id, *content_hash) == (id, wanted)
            }
            _ => false,
        };
        let found = self.find_back(self.programs.provider(id), is_wanted).await?;
        Ok(found.into_iter().last().filter(|event| is_wanted(&event.kind)).and_then(|event| match event.kind {
            MarketEvent::ProviderRegistered { content, .. } | MarketEvent::ProviderUpdated { content, .. } => content,
            _ => None,
        }))
    }
}
