//! [`MarketReader`] over JSON-RPC.

use alloy::primitives::{B256, U256};
use alloy::sol_types::SolEvent;
use async_trait::async_trait;
use compute_futures_protocol::market::{
    AgentState, EscrowState, EscrowTerms, MarketDomain, ProviderContent, SessionCost, SessionId, SessionStatus,
};
use compute_futures_protocol::{Address, Chain, Usdc};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::json;

use super::super::bindings::{ComputeEscrow as escrow, ProviderRegistry as registry};
use super::super::evm;
use super::super::reader::{non_zero, usdc};
use super::EvmMarket;
use crate::market::{
    EscrowOnChain, MarketAction, MarketEvent, MarketReader, ProviderOnChain, SessionOnChain, SessionTerms, UnsignedVerb,
};
use crate::{ChainError, ChainEvent, ChainReader, EventRange};

/// An indexed number as a topic.
fn topic(number: u64) -> B256 {
    U256::from(number).into()
}

impl EvmMarket {
    async fn published(&self, id: u32, wanted: B256) -> Result<Option<ProviderContent>, ChainError> {
        let signatures = [registry::ProviderRegistered::SIGNATURE_HASH, registry::ProviderUpdated::SIGNATURE_HASH];
        let topics = json!([signatures, topic(id.into())]);
        let is_wanted = |event: &MarketEvent| match event {
            MarketEvent::ProviderRegistered { content_hash, .. }
            | MarketEvent::ProviderUpdated { content_hash, .. } => *content_hash == wanted,
            _ => false,
        };
        let found = self.reader.find_back(self.source(), &topics, self.deployment_block, is_wanted).await?;
        Ok(found.into_iter().last().and_then(|event| match event.kind {
            MarketEvent::ProviderRegistered { content, content_hash, .. }
            | MarketEvent::ProviderUpdated { content, content_hash, .. } => content.filter(|_| content_hash == wanted),
            _ => None,
        }))
    }
}

#[async_trait]
impl MarketReader for EvmMarket {
    fn chain(&self) -> Chain {
        self.reader.chain()
    }

    fn domain(&self) -> MarketDomain {
        MarketDomain::evm(self.reader.chain_id, self.escrow_address())
    }

    fn registry(&self) -> Address {
        self.registry_address().into()
    }

    fn escrow_contract(&self) -> Address {
        self.escrow_address().into()
    }

    fn vault(&self) -> Address {
        self.escrow_address().into()
    }

    fn deployment_block(&self) -> u64 {
        self.deployment_block
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<ChainEvent<MarketEvent>>, ChainError> {
        self.reader.events_in(self.source(), from, to).await
    }

    fn events_stream(
        &self,
        from: u64,
        to: u64,
        concurrency: usize,
    ) -> BoxStream<'_, Result<EventRange<MarketEvent>, ChainError>> {
        self.reader.stream_events(self.source(), from, to, concurrency).boxed()
    }

    async fn provider(&self, id: u32) -> Result<Option<ProviderOnChain>, ChainError> {
        let found = self.reader.view(self.registry_address(), registry::providerCall { providerId: id }).await?;
        Ok(non_zero(found.owner).map(|owner| ProviderOnChain {
            id,
            owner,
            version: found.version,
            content_hash: (!found.retired).then_some(found.contentHash),
        }))
    }

    async fn provider_content(&self, id: u32) -> Result<Option<ProviderContent>, ChainError> {
        let Some(provider) = self.provider(id).await? else { return Ok(None) };
        let Some(hash) = provider.content_hash else { return Ok(None) };
        self.published(id, hash).await
    }

    async fn escrow(&self, id: u32) -> Result<Option<EscrowOnChain>, ChainError> {
        let found = self.reader.view(self.escrow_address(), escrow::escrowCall { escrowId: id }).await?;
        Ok(non_zero(found.creator).map(|creator| EscrowOnChain {
            id,
            creator,
            meter: non_zero(found.meter),
            open_to_all: found.openToAll,
            state: EscrowState {
                expiry: found.expiry.to(),
                session_limit: Usdc::from_micros(found.sessionLimit.to()),
                unreserved: Usdc::from_micros(found.unreserved.to()),
                reserved: Usdc::from_micros(found.reserved.to()),
                session_count: found.sessionCount,
                closed: found.closed,
            },
        }))
    }

    async fn escrow_count(&self) -> Result<u32, ChainError> {
        self.reader.view(self.escrow_address(), escrow::escrowCountCall {}).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionOnChain>, ChainError> {
        let found = self.reader.view(self.escrow_address(), escrow::sessionCall { sessionId: id.get() }).await?;
        let status = match found.state {
            0 => return Ok(None),
            1 => SessionStatus::Open,
            2 => SessionStatus::Closed,
            3 => SessionStatus::Lapsed,
            other => return Err(ChainError::Inconsistent(format!("session {id} has the state {other}"))),
        };
        let closed = status == SessionStatus::Closed;
        let terms = SessionTerms {
            provider_id: found.providerId,
            provider_version: found.providerVersion,
            meter: found.meter.into(),
            limit: Usdc::from_micros(found.limit.to()),
            deadline: found.deadline.to(),
        };
        Ok(Some(SessionOnChain {
            id,
            status,
            terms: (!closed).then_some(terms),
            receipts_root: closed.then_some(found.receiptsRoot),
        }))
    }

    async fn session_history(&self, id: SessionId) -> Result<Vec<ChainEvent<MarketEvent>>, ChainError> {
        let topics = json!([null, topic(id.get())]);
        let opened = |event: &MarketEvent| matches!(event, MarketEvent::SessionOpened { .. });
        let mut found = self.reader.find_back(self.source(), &topics, self.deployment_block, opened).await?;
        found.retain(|event| event.kind.session() == Some(id));
        found.reverse();
        Ok(found)
    }

    async fn agent(&self, escrow_id: u32, agent: Address) -> Result<AgentState, ChainError> {
        let call = escrow::agentOfCall { escrowId: escrow_id, agent: evm(agent)? };
        let found = self.reader.view(self.escrow_address(), call).await?;
        Ok(AgentState { allowed: found.allowed, nonce: found.nonce })
    }

    async fn earnings(&self, provider_id: u32) -> Result<Usdc, ChainError> {
        let found = self.reader.view(self.escrow_address(), escrow::earningsCall { providerId: provider_id }).await?;
        usdc("earnings", U256::from(found))
    }

    fn deposit_address(&self, terms: &EscrowTerms) -> Result<Address, ChainError> {
        for named in terms.agents.iter().chain(&terms.meter).chain([&terms.creator]) {
            evm(*named)?;
        }
        Ok(terms.deposit_address(self.escrow_address(), self.vault_implementation).into())
    }

    async fn escrow_of_deposit_address(&self, address: Address) -> Result<Option<u32>, ChainError> {
        let Some(address) = address.evm() else { return Ok(None) };
        let call = escrow::escrowOfDepositAddressCall { depositAddress_: address };
        let id = self.reader.view(self.escrow_address(), call).await?;
        Ok(Some(id).filter(|id| *id != 0))
    }

    async fn unsigned(&self, _: Address, verb: &MarketAction) -> Result<UnsignedVerb, ChainError> {
        let (to, data) = self.encode(verb)?;
        Ok(UnsignedVerb::Call { to: to.into(), data })
    }

    async fn verify_receipt(&self, cost: &SessionCost, receipt_hash: B256, proof: &[B256]) -> Result<bool, ChainError> {
        let call = escrow::verifyReceiptCall {
            sessionId: cost.session_id.get(),
            receiptHash: receipt_hash,
            proof: proof.to_vec(),
        };
        self.reader.view(self.escrow_address(), call).await
    }
}
