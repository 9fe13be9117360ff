//! [`MarketReader`] over Solana's JSON-RPC.

use async_trait::async_trait;
use compute_futures_protocol::market::{
    AgentState, EscrowTerms, MarketDomain, ProviderContent, SessionCost, SessionId, SessionStatus,
};
use compute_futures_protocol::{Address, B256, Chain, SolanaAddress, Usdc, verify};
use futures::stream::BoxStream;

use super::super::instruction::compute_budget;
use super::super::message::{Instruction, compile};
use super::super::plan::Roles;
use super::super::solana;
use super::super::writer::with_headroom;
use super::SolanaMarket;
use super::state::{self, Escrow, Provider, Session};
use crate::market::{
    EscrowOnChain, MarketAction, MarketEvent, MarketReader, ProviderOnChain, SessionOnChain, SessionTerms, UnsignedVerb,
};
use crate::{ChainError, ChainEvent, ChainReader, EventRange};

impl SolanaMarket {
    /// An account of compute-escrow, decoded.
    pub(super) async fn escrow_state<T>(
        &self,
        address: &SolanaAddress,
        decode: impl FnOnce(&[u8]) -> Option<T> + Send,
    ) -> Result<Option<T>, ChainError> {
        self.reader.state_of(address, &self.programs.escrow, decode).await
    }

    /// An account of provider-registry, decoded.
    pub(super) async fn registry_state<T>(
        &self,
        address: &SolanaAddress,
        decode: impl FnOnce(&[u8]) -> Option<T> + Send,
    ) -> Result<Option<T>, ChainError> {
        self.reader.state_of(address, &self.programs.registry, decode).await
    }

    pub(super) async fn provider_state(&self, id: u32) -> Result<Option<Provider>, ChainError> {
        self.registry_state(&self.programs.provider(id), Provider::decode).await
    }

    pub(super) async fn found_escrow(&self, id: u32) -> Result<Option<Escrow>, ChainError> {
        self.escrow_state(&self.programs.escrow(id), Escrow::decode).await
    }

    pub(super) async fn session_state(&self, id: SessionId) -> Result<Option<Session>, ChainError> {
        self.escrow_state(&self.programs.session(id), Session::decode).await
    }

    /// A session whose account is gone, from its events.
    async fn past_session(&self, id: SessionId) -> Result<Option<SessionOnChain>, ChainError> {
        let (mut terms, mut root) = (None, None);
        for event in self.history_of(id).await? {
            match event.kind {
                MarketEvent::SessionOpened { provider_id, provider_version, meter, limit, deadline, .. } => {
                    terms = Some(SessionTerms { provider_id, provider_version, meter, limit, deadline });
                }
                MarketEvent::SessionClosed { receipts_root, .. } => root = Some(receipts_root),
                _ => {}
            }
        }
        // Lapsed, with an event or, when its escrow was emptied before, without one.
        let status = if root.is_some() { SessionStatus::Closed } else { SessionStatus::Lapsed };
        Ok(terms.map(|terms| SessionOnChain { id, status, terms: Some(terms), receipts_root: root }))
    }
}

#[async_trait]
impl MarketReader for SolanaMarket {
    fn chain(&self) -> Chain {
        self.reader.chain()
    }

    fn domain(&self) -> MarketDomain {
        self.domain
    }

    fn registry(&self) -> Address {
        self.programs.registry.into()
    }

    fn escrow_contract(&self) -> Address {
        self.programs.escrow.into()
    }

    fn vault(&self) -> Address {
        self.programs.vault_authority.into()
    }

    fn deployment_block(&self) -> u64 {
        self.deployment_slot
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<ChainEvent<MarketEvent>>, ChainError> {
        self.reader.events_in(&self.source(), from, to).await
    }

    fn events_stream(
        &self,
        from: u64,
        to: u64,
        concurrency: usize,
    ) -> BoxStream<'_, Result<EventRange<MarketEvent>, ChainError>> {
        self.reader.stream_events(self.source(), from, to, concurrency)
    }

    async fn provider(&self, id: u32) -> Result<Option<ProviderOnChain>, ChainError> {
        Ok(self.provider_state(id).await?.map(|provider| ProviderOnChain {
            id,
            owner: provider.owner.into(),
            version: provider.version,
            content_hash: (!provider.retired).then_some(provider.content_hash),
        }))
    }

    async fn provider_content(&self, id: u32) -> Result<Option<ProviderContent>, ChainError> {
        match self.provider_state(id).await?.filter(|provider| !provider.retired) {
            Some(provider) => self.published(id, provider.content_hash).await,
            None => Ok(None),
        }
    }

    async fn escrow(&self, id: u32) -> Result<Option<EscrowOnChain>, ChainError> {
        Ok(self.found_escrow(id).await?.map(|escrow| EscrowOnChain {
            id: escrow.id,
            creator: escrow.creator.into(),
            meter: escrow.meter.map(Address::Solana),
            open_to_all: escrow.open_to_all,
            state: escrow.state,
        }))
    }

    async fn escrow_count(&self) -> Result<u32, ChainError> {
        Ok(self.escrow_state(&self.programs.escrows, state::escrow_count).await?.unwrap_or_default())
    }

    /// From its account while that is there, then from its events.
    async fn session(&self, id: SessionId) -> Result<Option<SessionOnChain>, ChainError> {
        let Some(found) = self.session_state(id).await? else { return self.past_session(id).await };
        let emptied = self.found_escrow(id.escrow()).await?.is_none();
        Ok(Some(SessionOnChain {
            id: found.id,
            status: if emptied { SessionStatus::Lapsed } else { SessionStatus::Open },
            terms: Some(SessionTerms {
                provider_id: found.provider,
                provider_version: found.provider_version,
                meter: found.meter.into(),
                limit: found.limit,
                deadline: found.deadline,
            }),
            receipts_root: None,
        }))
    }

    async fn session_history(&self, id: SessionId) -> Result<Vec<ChainEvent<MarketEvent>>, ChainError> {
        self.history_of(id).await
    }

    async fn agent(&self, escrow_id: u32, agent: Address) -> Result<AgentState, ChainError> {
        let address = self.programs.agent(escrow_id, &solana(agent)?);
        let found = self.escrow_state(&address, state::agent).await?.unwrap_or_default();
        let to_all = self.found_escrow(escrow_id).await?.is_some_and(|escrow| escrow.open_to_all);
        Ok(AgentState { allowed: found.allowed || to_all, nonce: found.nonce })
    }

    async fn earnings(&self, provider_id: u32) -> Result<Usdc, ChainError> {
        let found = self.escrow_state(&self.programs.earnings(provider_id), state::earnings).await?;
        Ok(found.unwrap_or_default())
    }

    fn deposit_address(&self, terms: &EscrowTerms) -> Result<Address, ChainError> {
        for named in terms.agents.iter().chain(&terms.meter).chain([&terms.creator]) {
            solana(*named)?;
        }
        Ok(terms.solana_deposit_address(&self.programs.escrow).into())
    }

    async fn escrow_of_deposit_address(&self, address: Address) -> Result<Option<u32>, ChainError> {
        let Some(address) = address.solana() else { return Ok(None) };
        Ok(self.escrow_state(&address, state::fed_escrow).await?.flatten())
    }

    /// Run first, which tells the compute units. No price is offered for its place in a block: wallets add what is asked just then.
    async fn unsigned(&self, sender: Address, verb: &MarketAction) -> Result<UnsignedVerb, ChainError> {
        let me = solana(sender)?;
        let plan = self.plan(Roles { payer: me, actor: me }, verb).await?;
        let simulated = self.reader.simulate(&compile(me, &plan, B256::ZERO).unsigned()?).await?;
        let units = u32::try_from(with_headroom(simulated.units()?)).unwrap_or(u32::MAX);
        let [limit, _] = compute_budget(units, 0);
        let (blockhash, _) = self.reader.newest_blockhash().await?;
        let all: Vec<Instruction> = [limit].into_iter().chain(plan).collect();
        Ok(UnsignedVerb::Transaction(compile(me, &all, blockhash).unsigned()?.into()))
    }

    /// By the root that the session was closed with. The program itself would want a proof that the session is among all of its
    /// provider's, for which one has to know them all; its event says as much, and only the program can make one.
    async fn verify_receipt(&self, cost: &SessionCost, receipt_hash: B256, proof: &[B256]) -> Result<bool, ChainError> {
        let session = self.past_session(cost.session_id).await?;
        let root = session.and_then(|session| session.receipts_root);
        Ok(root.is_some_and(|root| verify(root, receipt_hash, proof)))
    }
}
