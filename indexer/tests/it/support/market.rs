//! The marketplace as a model: verbs in, events and state out, driven by a seed; and its reader over the chain in memory.

use std::sync::Arc;

use async_trait::async_trait;
use compute_futures_chain::{
    ChainError, ChainEvent, EventRange,
    market::{
        EscrowOnChain, MarketAction, MarketEvent, MarketReader, ProviderOnChain, SessionOnChain, SessionRejection,
        UnsignedVerb,
    },
};
use compute_futures_indexer::follow::Source;
use compute_futures_protocol::{
    Address, B256, Chain, SolanaAddress, Usdc, keccak256,
    market::{
        AgentList, AgentState, EscrowState, EscrowTerms, MarketDomain, Model, ProviderContent, ProviderType,
        SessionCost, SessionId, SessionState, SessionStatus,
    },
};
use futures::{StreamExt, stream::BoxStream};

use super::{
    fake::FakeChain,
    world::{Dice, somebody, usdc},
};

/// What the fake chain's marketplace holds.
#[derive(Debug, Clone, Default)]
pub struct Market {
    pub providers: Vec<Provider>,
    pub escrows: Vec<Escrow>,
    /// Of the vault.
    pub balance: u64,
}

#[derive(Debug, Clone)]
pub struct Provider {
    pub owner: Address,
    pub version: u32,
    pub content: ProviderContent,
    pub retired: bool,
    pub earnings: u64,
    pub closings: u64,
}

#[derive(Debug, Clone)]
pub struct Escrow {
    pub creator: Address,
    pub meter: Option<Address>,
    pub open_to_all: bool,
    pub state: EscrowState,
    pub agents: AgentList,
    pub sessions: Vec<Session>,
}

#[derive(Debug, Clone)]
pub struct Session {
    pub agent: Address,
    pub provider: u32,
    pub meter: Address,
    pub state: SessionState,
    pub cost: Usdc,
    pub root: Option<B256>,
}

pub fn content(price: u64) -> ProviderContent {
    ProviderContent {
        endpoint: "https://inference.example/v1".into(),
        provider_type: ProviderType::SelfHosted,
        rate_limit: 60,
        minimum_charge: usdc(10),
        features: vec!["streaming".into()],
        models: vec![Model {
            name: "llama-3.3-70b".into(),
            input_price: usdc(price),
            output_price: usdc(3 * price),
            max_context: 131_072,
        }],
    }
}

/// Who may be whose agent.
pub fn agents(chain: Chain) -> [Address; 3] {
    [0x31, 0x32, 0x33].map(|byte| somebody(chain, byte))
}

impl Market {
    pub fn register(&mut self, owner: Address, content: ProviderContent, events: &mut Vec<MarketEvent>) -> u32 {
        let (provider_id, content_hash) = (u32::try_from(self.providers.len()).unwrap() + 1, content.hash());
        self.providers.push(Provider {
            owner,
            version: 1,
            content: content.clone(),
            retired: false,
            earnings: 0,
            closings: 0,
        });
        events.push(MarketEvent::ProviderRegistered {
            provider_id,
            owner,
            version: 1,
            content_hash,
            content: Some(content),
        });
        provider_id
    }

    pub fn update(&mut self, id: u32, content: ProviderContent, events: &mut Vec<MarketEvent>) {
        let provider = &mut self.providers[id as usize - 1];
        provider.version += 1;
        provider.content = content.clone();
        let (owner, version, content_hash) = (provider.owner, provider.version, content.hash());
        events.push(MarketEvent::ProviderUpdated {
            provider_id: id,
            owner,
            version,
            content_hash,
            content: Some(content),
        });
    }

    pub fn retire(&mut self, id: u32, events: &mut Vec<MarketEvent>) {
        let provider = &mut self.providers[id as usize - 1];
        provider.retired = true;
        events.push(MarketEvent::ProviderRetired { provider_id: id, owner: provider.owner, version: provider.version });
    }

    pub fn withdraw(&mut self, id: u32, amount: u64, events: &mut Vec<MarketEvent>) {
        let provider = &mut self.providers[id as usize - 1];
        provider.earnings -= amount;
        self.balance -= amount;
        events.push(MarketEvent::EarningsWithdrawn { provider_id: id, to: provider.owner, amount: usdc(amount) });
    }

    pub fn create(&mut self, terms: &EscrowTerms, amount: u64, now: u64, events: &mut Vec<MarketEvent>) -> u32 {
        let EscrowTerms { creator, expiry, session_limit, meter, open_to_all, ref agents } = *terms;
        let escrow_id = u32::try_from(self.escrows.len()).unwrap() + 1;
        self.escrows.push(Escrow {
            creator,
            meter,
            open_to_all,
            state: EscrowState::new(expiry, session_limit),
            agents: AgentList::new(open_to_all, agents.iter().copied()),
            sessions: Vec::new(),
        });
        events.push(MarketEvent::EscrowCreated { escrow_id, creator, expiry, session_limit, meter, open_to_all });
        events.extend(agents.iter().map(|agent| MarketEvent::AgentAdded { escrow_id, agent: *agent }));
        self.fund(escrow_id, creator, amount, now, events);
        escrow_id
    }

    pub fn escrow(&mut self, id: u32) -> &mut Escrow {
        &mut self.escrows[id as usize - 1]
    }

    pub fn fund(&mut self, id: u32, payer: Address, amount: u64, now: u64, events: &mut Vec<MarketEvent>) {
        let escrow = self.escrow(id);
        if escrow.state.fund(usdc(amount), now).is_ok() {
            let unreserved = escrow.state.unreserved;
            self.balance += amount;
            events.push(MarketEvent::EscrowFunded { escrow_id: id, payer, amount: usdc(amount), unreserved });
        }
    }

    /// `None` when the contract would refuse.
    #[allow(clippy::too_many_arguments)]
    pub fn open(
        &mut self,
        id: u32,
        agent: Address,
        provider_id: u32,
        meter: Address,
        limit: u64,
        deadline: u64,
        by_signature: bool,
        now: u64,
        events: &mut Vec<MarketEvent>,
    ) -> Option<SessionId> {
        let provider = self.providers.get(provider_id as usize - 1).filter(|provider| !provider.retired)?;
        let (provider_version, content_hash) = (provider.version, provider.content.hash());
        let escrow = self.escrow(id);
        escrow.agents.check(&agent).ok()?;
        let limit = usdc(limit);
        let state = escrow.state.open(limit, deadline, now).ok()?;
        if by_signature {
            escrow.agents.opened_by_signature(agent);
        }
        let session = SessionId::new(id, escrow.state.session_count).unwrap();
        escrow.sessions.push(Session { agent, provider: provider_id, meter, state, cost: Usdc::ZERO, root: None });
        events.push(MarketEvent::SessionOpened {
            session,
            agent,
            provider_id,
            provider_version,
            content_hash,
            meter,
            limit,
            deadline,
            by_signature,
        });
        Some(session)
    }

    pub fn close(
        &mut self,
        id: SessionId,
        signed: u64,
        (receipt_count, receipts_root): (u32, B256),
        now: u64,
        events: &mut Vec<MarketEvent>,
    ) {
        let escrow = &mut self.escrows[id.escrow() as usize - 1];
        let session = &mut escrow.sessions[id.sequence() as usize - 1];
        let live = escrow.state.status(&session.state) == SessionStatus::Open;
        let closing = live.then(|| escrow.state.close(&mut session.state, usdc(signed), now).ok()).flatten();
        let Some(closing) = closing else {
            // In a batch it is reported, whoever's it is.
            let reason = SessionRejection::NotOpen;
            events.push(MarketEvent::SessionRejected { session: id.get(), caller: None, reason });
            return;
        };
        (session.cost, session.root) = (closing.cost, Some(receipts_root));
        let provider = &mut self.providers[session.provider as usize - 1];
        provider.earnings += closing.cost.micros();
        provider.closings += 1;
        let (provider_id, cost, number) = (session.provider, closing.cost, Some(provider.closings));
        events.push(MarketEvent::SessionClosed {
            session: id,
            provider_id,
            cost,
            receipt_count,
            receipts_root,
            number,
        });
        if !closing.uncovered.is_zero() {
            events.push(MarketEvent::SessionShortfall { session: id, uncovered: closing.uncovered });
        }
    }

    pub fn lapse(&mut self, id: SessionId, now: u64, events: &mut Vec<MarketEvent>) {
        let escrow = &mut self.escrows[id.escrow() as usize - 1];
        let session = &mut escrow.sessions[id.sequence() as usize - 1];
        if let Ok(released) = escrow.state.lapse(&mut session.state, now) {
            events.push(MarketEvent::SessionLapsed { session: id, released });
        }
    }

    pub fn refund(&mut self, id: u32, amount: u64, events: &mut Vec<MarketEvent>) {
        let escrow = self.escrow(id);
        if let Ok(amount) = escrow.state.refund(usdc(amount)) {
            let (creator, unreserved) = (escrow.creator, escrow.state.unreserved);
            self.balance -= amount.micros();
            events.push(MarketEvent::EscrowRefunded { escrow_id: id, creator, amount, unreserved });
        }
    }

    pub fn expire(&mut self, id: u32, now: u64, events: &mut Vec<MarketEvent>) {
        let escrow = self.escrow(id);
        if let Ok(amount) = escrow.state.expire(now) {
            let creator = escrow.creator;
            self.balance -= amount.micros();
            events.push(MarketEvent::EscrowExpired { escrow_id: id, creator, amount });
        }
    }

    /// One verb, chosen by the dice; what the contract would refuse does nothing.
    pub fn act(&mut self, chain: Chain, dice: &mut Dice, now: u64, events: &mut Vec<MarketEvent>) {
        let who = |byte| somebody(chain, byte);
        if self.providers.is_empty() || (self.providers.len() < 6 && dice.roll(12) == 0) {
            let owner = who(0x50 + u8::try_from(self.providers.len()).unwrap());
            self.register(owner, content(1 + dice.roll(500)), events);
            return;
        }
        let all = agents(chain);
        if self.escrows.is_empty() || (self.escrows.len() < 24 && dice.roll(10) == 0) {
            let open_to_all = dice.roll(3) == 0;
            let meter = (open_to_all || dice.roll(2) == 0).then(|| who(0x40));
            let agents =
                if open_to_all { Vec::new() } else { all[..1 + usize::try_from(dice.roll(2)).unwrap()].to_vec() };
            let creator = who(0x20 + u8::try_from(dice.roll(3)).unwrap());
            let longest = *dice.pick(&[40, 600, 5_000]);
            let expiry = now + 1 + dice.roll(longest);
            let terms = EscrowTerms { creator, expiry, session_limit: usdc(5_000_000), meter, open_to_all, agents };
            self.create(&terms, 1 + dice.roll(40_000_000), now, events);
            return;
        }
        let provider = u32::try_from(dice.roll(self.providers.len() as u64)).unwrap() + 1;
        let id = u32::try_from(dice.roll(self.escrows.len() as u64)).unwrap() + 1;
        let agent = *dice.pick(&all);
        match dice.roll(24) {
            0 => self.fund(id, agent, 1 + dice.roll(9_000_000), now, events),
            1 => self.refund(id, 1 + dice.roll(9_000_000), events),
            2 | 3 => self.expire(id, now, events),
            4 if !self.providers[provider as usize - 1].retired => {
                self.update(provider, content(1 + dice.roll(500)), events)
            }
            5 if provider > 2 && !self.providers[provider as usize - 1].retired => self.retire(provider, events),
            6 => {
                let earnings = self.providers[provider as usize - 1].earnings;
                if earnings > 0 {
                    self.withdraw(provider, 1 + dice.roll(earnings), events);
                }
            }
            7 => {
                let escrow = self.escrow(id);
                if escrow.agents.remove(&agent).is_ok() {
                    events.push(MarketEvent::AgentRemoved { escrow_id: id, agent });
                } else if escrow.agents.add(agent).is_ok() {
                    events.push(MarketEvent::AgentAdded { escrow_id: id, agent });
                }
            }
            8..=15 => {
                let meter = self.escrow(id).meter.unwrap_or(who(0x41));
                let most = *dice.pick(&[300_000, 300_000, 4_000_000]);
                let (limit, deadline) = (1 + dice.roll(most), now + dice.roll(30));
                self.open(id, agent, provider, meter, limit, deadline, dice.roll(2) == 0, now, events);
            }
            chosen => {
                let count = self.escrow(id).sessions.len() as u64;
                if count == 0 {
                    return;
                }
                let session = SessionId::new(id, u32::try_from(dice.roll(count)).unwrap() + 1).unwrap();
                if chosen < 18 {
                    self.lapse(session, now, events);
                    return;
                }
                let receipts = u32::try_from(dice.roll(4)).unwrap();
                let root = if receipts == 0 { B256::ZERO } else { keccak256(dice.roll(u64::MAX).to_be_bytes()) };
                let cost = if receipts == 0 { 0 } else { dice.roll(1_000_000) };
                self.close(session, cost, (receipts, root), now, events);
            }
        }
    }
}

/// The marketplace of a chain in memory.
pub struct FakeMarket(pub Arc<FakeChain>);

/// Chain and marketplace.
pub fn source(fake: &Arc<FakeChain>) -> Source {
    Source { chain: fake.clone(), market: Some(Arc::new(FakeMarket(fake.clone()))) }
}

/// Addresses in the form of the chain's.
pub fn registry(chain: Chain) -> Address {
    at(chain, 0xc1)
}

pub fn escrow_contract(chain: Chain) -> Address {
    at(chain, 0xc2)
}

fn at(chain: Chain, byte: u8) -> Address {
    match chain.evm_chain_id() {
        Some(_) => Address::repeat_byte(byte),
        None => SolanaAddress([byte; 32]).into(),
    }
}

/// What nobody asks of this chain.
fn unasked<T>() -> Result<T, ChainError> {
    Err(ChainError::Unavailable("not part of the chain in memory".into()))
}

#[async_trait]
impl MarketReader for FakeMarket {
    fn chain(&self) -> Chain {
        self.0.chain
    }

    fn domain(&self) -> MarketDomain {
        MarketDomain::new(self.0.chain, self.escrow_contract()).unwrap()
    }

    fn registry(&self) -> Address {
        registry(self.0.chain)
    }

    fn escrow_contract(&self) -> Address {
        escrow_contract(self.0.chain)
    }

    fn vault(&self) -> Address {
        escrow_contract(self.0.chain)
    }

    fn deployment_block(&self) -> u64 {
        self.0.market_deployed
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<ChainEvent<MarketEvent>>, ChainError> {
        self.0.market_events(from, to).await
    }

    fn events_stream(
        &self,
        from: u64,
        to: u64,
        _: usize,
    ) -> BoxStream<'_, Result<EventRange<MarketEvent>, ChainError>> {
        futures::stream::iter((from..=to).step_by(7))
            .then(move |from| async move {
                let to = to.min(from + 6);
                Ok(EventRange { from, to, events: self.events(from, to).await? })
            })
            .boxed()
    }

    async fn provider(&self, _: u32) -> Result<Option<ProviderOnChain>, ChainError> {
        unasked()
    }

    async fn provider_content(&self, _: u32) -> Result<Option<ProviderContent>, ChainError> {
        unasked()
    }

    async fn escrow(&self, _: u32) -> Result<Option<EscrowOnChain>, ChainError> {
        unasked()
    }

    async fn escrow_count(&self) -> Result<u32, ChainError> {
        unasked()
    }

    async fn session(&self, _: SessionId) -> Result<Option<SessionOnChain>, ChainError> {
        unasked()
    }

    async fn session_history(&self, _: SessionId) -> Result<Vec<ChainEvent<MarketEvent>>, ChainError> {
        unasked()
    }

    async fn agent(&self, _: u32, _: Address) -> Result<AgentState, ChainError> {
        unasked()
    }

    async fn earnings(&self, _: u32) -> Result<Usdc, ChainError> {
        unasked()
    }

    fn deposit_address(&self, _: &EscrowTerms) -> Result<Address, ChainError> {
        unasked()
    }

    async fn escrow_of_deposit_address(&self, _: Address) -> Result<Option<u32>, ChainError> {
        unasked()
    }

    async fn unsigned(&self, _: Address, _: &MarketAction) -> Result<UnsignedVerb, ChainError> {
        unasked()
    }

    async fn verify_receipt(&self, _: &SessionCost, _: B256, _: &[B256]) -> Result<bool, ChainError> {
        unasked()
    }
}
