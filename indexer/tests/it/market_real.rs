//! The marketplace of real nodes: the projection equals what contracts and programs answer, reorgs included.

use std::{sync::Arc, time::Duration};

use compute_futures_chain::{
    Action, ChainWriter,
    evm::{EvmWriter, local::LocalChain},
    market::{MarketAction, SignedCost},
    solana::{SolanaWriter, local::SolanaLocal},
};
use compute_futures_indexer::{
    follow::Source,
    market::{AgentRow, EscrowRow, MarketSolvency, ProviderRow, SessionRow},
    store::Store,
};
use compute_futures_protocol::{
    Address, B256, Chain, Signer,
    market::{EscrowTerms, SessionCost, SessionId, SessionRequest},
};

use super::support::{catch_up_both, count, databases::Databases, market::content, on_both_chains, world::usdc};

on_both_chains!(the_projection_equals_the_marketplace);

const CREATOR: usize = 0;
const AGENT: usize = 1;
const SIGNER: usize = 2;
const PROVIDER: usize = 3;
const METER: usize = 4;

enum Local {
    Evm(LocalChain),
    Solana(SolanaLocal),
}

/// A local chain, and people with money.
struct Stage {
    local: Local,
    source: Source,
    people: Vec<(Signer, Box<dyn ChainWriter>)>,
}

impl Stage {
    async fn start(chain: Chain) -> Self {
        let funds = usdc(1_000_000_000);
        let mut people: Vec<(Signer, Box<dyn ChainWriter>)> = Vec::new();
        if chain.evm_chain_id().is_some() {
            let local = LocalChain::start().await.unwrap();
            let (reader, market) = (local.reader().await.unwrap(), local.market().await.unwrap());
            for index in 0..5 {
                let key = local.signer(index).unwrap();
                local.mint(key.address(), funds).await.unwrap();
                let writer = EvmWriter::new(reader.clone(), key.clone()).unwrap().with_market(market.clone());
                people.push((key, Box::new(writer)));
            }
            return Self { local: Local::Evm(local), source: Source { chain: reader, market: Some(market) }, people };
        }
        let local = SolanaLocal::start(Duration::from_millis(50)).await.expect("Surfpool starts: run `npm ci` first");
        let (reader, market) = (local.reader().await.unwrap(), local.market().await.unwrap());
        for index in 0..5 {
            let key = local.signer(index);
            local.cheats().set_usdc(key.address(), funds).await.unwrap();
            let writer = SolanaWriter::new(reader.clone(), key.clone()).unwrap().with_market(market.clone());
            people.push((key, Box::new(writer)));
        }
        Self { local: Local::Solana(local), source: Source { chain: reader, market: Some(market) }, people }
    }

    fn address(&self, person: usize) -> Address {
        self.people[person].0.address()
    }

    async fn now(&self) -> u64 {
        self.source.chain.heads().await.unwrap().latest.timestamp
    }

    async fn advance(&self, by: Duration) {
        match &self.local {
            Local::Evm(local) => local.advance_time(by).await.unwrap(),
            Local::Solana(local) => local.cheats().advance_time(by).await.unwrap(),
        }
    }

    async fn post(&self, person: usize, verb: MarketAction) {
        let (_, outcome) = self.people[person].1.execute(&Action::Market(verb)).await.unwrap();
        assert!(outcome.succeeded);
    }

    fn signed(&self, session: SessionId, cost: u64, receipts: u32) -> SignedCost {
        let receipts_root = if receipts == 0 { B256::ZERO } else { B256::repeat_byte(9) };
        let cost = SessionCost {
            session_id: session,
            provider_id: 1,
            cost: usdc(cost),
            receipt_count: receipts,
            receipts_root,
        };
        let domain = self.source.market.as_ref().unwrap().domain();
        let signature = self.people[METER].0.sign(cost.digest(&domain)).to_vec().into();
        SignedCost { cost, signature }
    }

    /// A provider, and an escrow of 100 USDC.
    async fn begin(&self) {
        self.post(PROVIDER, MarketAction::Register { content: content(100) }).await;
        self.post(PROVIDER, MarketAction::Update { provider_id: 1, content: content(200) }).await;
        let terms = EscrowTerms {
            creator: self.address(CREATOR),
            expiry: self.now().await + 7_200,
            session_limit: usdc(10_000_000),
            meter: Some(self.address(METER)),
            open_to_all: false,
            agents: vec![self.address(AGENT)],
        };
        self.post(CREATOR, MarketAction::Create { terms, amount: usdc(100_000_000) }).await;
        self.post(METER, MarketAction::Fund { escrow_id: 1, amount: usdc(5_000_000) }).await;
        self.post(CREATOR, MarketAction::AddAgent { escrow_id: 1, agent: self.address(SIGNER) }).await;
    }

    fn request(&self, deadline: u64) -> SessionRequest {
        SessionRequest {
            escrow_id: 1,
            provider_id: 1,
            content_hash: content(200).hash(),
            meter: self.address(METER),
            limit: usdc(10_000_000),
            deadline,
        }
    }

    async fn open(&self, deadline: u64) {
        self.post(AGENT, MarketAction::OpenSession { request: self.request(deadline) }).await;
    }

    /// Brought by the meter for an agent that only signed.
    async fn open_signed(&self, deadline: u64) {
        let open = self.request(deadline).by(self.address(SIGNER), 0);
        let domain = self.source.market.as_ref().unwrap().domain();
        let signature = self.people[SIGNER].0.sign(open.digest(&domain)).to_vec().into();
        self.post(METER, MarketAction::OpenSessionWithSignature { open, signature }).await;
    }

    /// Every stored row is what the chain answers now, nothing contradicts the rules, and the vault holds what it owes exactly.
    async fn assert_matches(&self, store: &Store) {
        catch_up_both(store, &self.source).await;
        let market = self.source.market.as_ref().unwrap();
        for row in store.all("SELECT * FROM market_escrows", &[]).await.unwrap() {
            let row = EscrowRow::read(&row).unwrap();
            // Solana deletes an escrow that was emptied.
            match market.escrow(row.id).await.unwrap() {
                Some(there) => assert_eq!(
                    (row.creator, row.meter, row.open_to_all, row.state),
                    (there.creator, there.meter, there.open_to_all, there.state)
                ),
                None => assert!(row.state.closed && matches!(self.local, Local::Solana(_))),
            }
        }
        for row in store.all("SELECT * FROM market_agents", &[]).await.unwrap() {
            let row = AgentRow::read(&row).unwrap();
            let there = market.agent(row.escrow_id, row.agent).await.unwrap();
            assert_eq!((row.allowed, row.nonce), (there.allowed, there.nonce));
        }
        for row in store.all("SELECT * FROM market_sessions", &[]).await.unwrap() {
            let row = SessionRow::read(&row).unwrap();
            let there = market.session(row.id).await.unwrap().unwrap();
            assert_eq!(row.state.status, there.status, "{:?}", row.id);
            // EVM chains keep 31 bytes of the root.
            assert_eq!(
                row.receipts_root.map(|root| root[..31].to_vec()),
                there.receipts_root.map(|root| root[..31].to_vec())
            );
        }
        for row in store.all("SELECT * FROM market_providers", &[]).await.unwrap() {
            let row = ProviderRow::read(&row).unwrap();
            let there = market.provider(row.id).await.unwrap().unwrap();
            assert_eq!((row.owner, row.version, row.content_hash), (there.owner, there.version, there.content_hash));
            assert_eq!(row.earnings(), market.earnings(row.id).await.unwrap().micros());
        }
        let mut tx = store.snapshot().await.unwrap();
        let solvency = MarketSolvency::load(&mut tx).await.unwrap().unwrap();
        assert_eq!(solvency.balance, solvency.unreserved + solvency.reserved + solvency.earnings, "{solvency:?}");
        let found = store.all("SELECT code, detail FROM market_discrepancies", &[]).await.unwrap();
        let found: Vec<_> = found.iter().map(|row| (row.text("code").unwrap(), row.text("detail").unwrap())).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

async fn open_store(databases: &Databases) -> Store {
    Store::open(&databases.fresh().await, 2).await.unwrap()
}

fn session(sequence: u32) -> SessionId {
    SessionId::new(1, sequence).unwrap()
}

async fn the_projection_equals_the_marketplace(chain: Chain) {
    let databases = Databases::sqlite();
    let stage = Stage::start(chain).await;
    let store = open_store(&databases).await;
    stage.begin().await;
    stage.assert_matches(&store).await;

    let deadline = stage.now().await + 600;
    for _ in 0..3 {
        stage.open(deadline).await;
    }
    stage.open_signed(deadline).await;
    stage.post(CREATOR, MarketAction::RemoveAgent { escrow_id: 1, agent: stage.address(SIGNER) }).await;
    stage.assert_matches(&store).await;
    assert_eq!(count(&store, "SELECT reserved AS n FROM market_escrows").await, 40_000_000);

    // One alone; in a batch one beyond its limit, and one that is over.
    let first = stage.signed(session(1), 4_000_000, 2);
    stage.post(METER, MarketAction::CloseSession { close: first.clone() }).await;
    let closes = vec![stage.signed(session(2), 12_000_000, 5), first];
    stage.post(METER, MarketAction::CloseSessions { closes }).await;
    stage.assert_matches(&store).await;
    assert_eq!(count(&store, "SELECT uncovered AS n FROM market_sessions WHERE uncovered > 0").await, 2_000_000);
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM market_events WHERE kind = 'sessionRejected'").await, 1);
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM market_documents").await, 2);

    stage.advance(Duration::from_secs(700)).await;
    stage.post(AGENT, MarketAction::LapseSession { session: session(3) }).await;
    stage.post(CREATOR, MarketAction::Refund { escrow_id: 1, amount: usdc(1_000_000) }).await;
    let withdraw = MarketAction::Withdraw { provider_id: 1, to: stage.address(PROVIDER), amount: usdc(3) };
    stage.post(PROVIDER, withdraw).await;
    stage.post(PROVIDER, MarketAction::Retire { provider_id: 1 }).await;
    stage.assert_matches(&store).await;

    // The fourth is still open when everything goes home.
    stage.advance(Duration::from_secs(8_000)).await;
    stage.post(METER, MarketAction::Expire { escrow_id: 1 }).await;
    stage.assert_matches(&store).await;
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM market_sessions WHERE status = 2").await, 2);
    assert_eq!(count(&store, "SELECT refunded AS n FROM market_escrows").await, 91_000_000);

    // Whoever comes later sees the same.
    let late = open_store(&databases).await;
    catch_up_both(&late, &Source::from(Arc::clone(&stage.source.chain))).await;
    stage.assert_matches(&late).await;
    let events = "SELECT COUNT(*) AS n FROM market_events";
    assert_eq!(count(&late, events).await, count(&store, events).await);
}

#[tokio::test]
async fn a_reorg_takes_a_session_and_its_closing_back() {
    let databases = Databases::sqlite();
    let stage = Stage::start(Chain::Base).await;
    let Local::Evm(local) = &stage.local else { return };
    let store = open_store(&databases).await;
    stage.begin().await;
    stage.assert_matches(&store).await;
    stage.open(stage.now().await + 600).await;
    stage.post(METER, MarketAction::CloseSession { close: stage.signed(session(1), 7, 1) }).await;
    stage.assert_matches(&store).await;
    assert_eq!(count(&store, "SELECT earned AS n FROM market_providers").await, 7);

    local.reorg(1).await.unwrap();
    stage.assert_matches(&store).await;
    assert_eq!(count(&store, "SELECT earned AS n FROM market_providers").await, 0);
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM market_documents").await, 0);
    local.reorg(2).await.unwrap();
    stage.assert_matches(&store).await;
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM market_sessions").await, 0);
    // The same numbers again, another way.
    stage.open(stage.now().await + 900).await;
    stage.post(METER, MarketAction::CloseSession { close: stage.signed(session(1), 9, 2) }).await;
    stage.assert_matches(&store).await;
    assert_eq!(count(&store, "SELECT earned AS n FROM market_providers").await, 9);
    assert!(count(&store, "SELECT reorgs AS n FROM progress").await >= 2);
}
