//! The marketplace followed: the projection equals the model, whatever is replaced, interrupted, configured later or tampered with.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use compute_futures_chain::ChainReader;
use compute_futures_indexer::{
    IndexerError,
    follow::{Progress, Source, roll_back},
    market::{AgentRow, EscrowRow, MarketSolvency, ProviderRow, SessionRow},
    store::Store,
};
use compute_futures_protocol::{Chain, market::EscrowTerms};
use proptest::prelude::*;

use super::support::{
    CHAINS, catch_up, catch_up_both, count,
    databases::Databases,
    dump,
    fake::FakeChain,
    follower_of,
    market::{agents, content, source},
    on_both_chains,
    world::{Dice, somebody, usdc},
};

on_both_chains!(
    a_marketplace_configured_later_catches_up,
    a_dropped_escrow_disappears_with_its_session,
    a_missing_micro_in_the_vault_is_seen,
    another_marketplace_is_refused,
);

/// Row by row, the projection is the model.
pub async fn assert_matches(store: &Store, chain: &FakeChain) {
    let market = chain.market();
    let mut owed = 0;
    let rows = store.all("SELECT * FROM market_escrows ORDER BY id", &[]).await.unwrap();
    assert_eq!(rows.len(), market.escrows.len());
    for (row, escrow) in rows.iter().zip(&market.escrows) {
        let row = EscrowRow::read(row).unwrap();
        assert_eq!(
            (row.creator, row.meter, row.open_to_all, row.state),
            (escrow.creator, escrow.meter, escrow.open_to_all, escrow.state),
            "{}",
            row.id
        );
        assert_eq!(row.funded - row.spent - row.refunded, escrow.state.total().micros());
        owed += escrow.state.total().micros();
        let found = store
            .all("SELECT * FROM market_agents WHERE escrow_id = $1 ORDER BY agent", &[row.id.into()])
            .await
            .unwrap();
        for agent in found.iter().map(|row| AgentRow::read(row).unwrap()) {
            let model = escrow.agents.get(&agent.agent);
            assert_eq!((agent.allowed || row.open_to_all, agent.nonce), (model.allowed, model.nonce));
        }
        assert!(
            agents(chain.chain)
                .iter()
                .filter(|agent| escrow.agents.get(agent).nonce > 0)
                .all(|agent| { found.iter().any(|row| row.address("agent").unwrap() == *agent) })
        );
        let sessions = store
            .all("SELECT * FROM market_sessions WHERE escrow_id = $1 ORDER BY id", &[row.id.into()])
            .await
            .unwrap();
        assert_eq!(sessions.len(), escrow.sessions.len());
        let mut open = 0;
        for (row, session) in sessions.iter().zip(&escrow.sessions) {
            let row = SessionRow::read(row).unwrap();
            let status = escrow.state.status(&session.state);
            open += u64::from(row.ended_at.is_none());
            assert_eq!(
                (
                    row.agent,
                    row.provider_id,
                    row.meter,
                    row.state.limit,
                    row.state.deadline,
                    row.state.status,
                    row.cost
                ),
                (
                    session.agent,
                    session.provider,
                    session.meter,
                    session.state.limit,
                    session.state.deadline,
                    status,
                    session.cost
                ),
                "{:?}",
                row.id
            );
            assert_eq!(row.receipts_root, session.root);
        }
        assert_eq!(row.open_sessions, open);
    }
    let rows = store.all("SELECT * FROM market_providers ORDER BY id", &[]).await.unwrap();
    assert_eq!(rows.len(), market.providers.len());
    for (row, provider) in rows.iter().zip(&market.providers) {
        let row = ProviderRow::read(row).unwrap();
        let hash = (!provider.retired).then(|| provider.content.hash());
        assert_eq!(
            (row.owner, row.version, row.content_hash, row.earnings(), row.closed),
            (provider.owner, provider.version, hash, provider.earnings, provider.closings)
        );
        let open = store
            .first("SELECT COUNT(*) AS n FROM market_sessions WHERE status = 0 AND provider_id = $1", &[row.id.into()])
            .await
            .unwrap();
        assert_eq!(row.open_sessions, open.unwrap().u64("n").unwrap());
        owed += provider.earnings;
    }
    assert_eq!(owed, market.balance, "I-1");
    let found = store.all("SELECT code, detail FROM market_discrepancies", &[]).await.unwrap();
    let found: Vec<_> = found.iter().map(|r| (r.text("code").unwrap(), r.text("detail").unwrap())).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// As `following::random_life`, with a marketplace that some followers know only from a restart on.
pub async fn random_life(databases: &Databases, chain: Chain, seed: u64) {
    let mut dice = Dice(seed);
    let mut fake = FakeChain::on(chain, 12);
    fake.market_deployed = 1 + dice.roll(30);
    let before = fake.market_deployed - 1;
    let fake = Arc::new(fake);
    let both = source(&fake);
    let alone = Source::from(both.chain.clone());
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    fake.mine_random(&mut dice, before.max(1));
    for _ in 0..12 {
        let blocks = 1 + dice.roll(25);
        fake.trade_random(&mut dice, blocks);
        match dice.roll(5) {
            // Cut off anywhere: the future is dropped at one of its awaits, as an abort would.
            0 => {
                let patience = Duration::from_micros(dice.roll(20_000));
                drop(tokio::time::timeout(patience, catch_up_both(&store, &both)).await);
            }
            1 => {}
            2 => catch_up_both(&store, &alone).await,
            _ => catch_up_both(&store, &both).await,
        }
        if dice.roll(3) == 0 {
            // Nothing of the marketplace is older than its deployment.
            let depth = (1 + dice.roll(11)).min(fake.height() - before.max(1));
            fake.drop_blocks(depth);
            let blocks = depth + dice.roll(5);
            fake.trade_random(&mut dice, blocks);
        }
    }
    catch_up_both(&store, &both).await;
    assert_matches(&store, &fake).await;
    super::following::assert_matches(&store, &fake).await;

    let fresh = Store::open(&databases.fresh().await, 2).await.unwrap();
    catch_up_both(&fresh, &both).await;
    assert_eq!(dump(&store).await, dump(&fresh).await, "seed {seed}");
    store.close().await;
    fresh.close().await;
}

/// Rolled back to any block, the database is what it was when that block was the newest.
async fn rolled_back(databases: &Databases, chain: Chain, seed: u64) {
    let mut dice = Dice(seed);
    let fake = Arc::new(FakeChain::on(chain, 1_000));
    let both = source(&fake);
    let mut then = Vec::new();
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    for _ in 0..20 {
        fake.trade_random(&mut dice, 1);
        catch_up_both(&store, &both).await;
        then.push((fake.height(), dump(&store).await));
    }
    while let Some((height, expected)) = then.pop() {
        let progress = Progress::load(&store).await.unwrap().unwrap();
        roll_back(&store, &progress, height).await.unwrap();
        assert_eq!(dump(&store).await, expected, "seed {seed}, block {height}");
        // Now and then several at once.
        then.truncate(then.len().saturating_sub(usize::try_from(dice.roll(3)).unwrap()));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_life_with_reorgs_ends_where_the_model_and_a_fresh_projection_do(seed: u64) {
        for chain in CHAINS {
            runtime().block_on(random_life(&Databases::sqlite(), chain, seed));
        }
    }

    #[test]
    fn rolled_back_to_a_block_it_is_as_if_the_rest_had_never_been(seed: u64) {
        for chain in CHAINS {
            runtime().block_on(rolled_back(&Databases::sqlite(), chain, seed));
        }
    }
}

/// Terms that let everybody in [`agents`] spend.
pub fn terms(chain: Chain, expiry: u64) -> EscrowTerms {
    let creator = somebody(chain, 0x21);
    let agents = agents(chain).to_vec();
    EscrowTerms { creator, expiry, session_limit: usdc(5_000_000), meter: None, open_to_all: false, agents }
}

/// A provider, an escrow of 20 USDC, an open session.
pub fn open(fake: &FakeChain) {
    let chain = fake.chain;
    fake.trade(|now, market, events| {
        let provider = market.register(somebody(chain, 0x51), content(100), events);
        let escrow = market.create(&terms(chain, now + 1_000), 20_000_000, now, events);
        let [agent, ..] = agents(chain);
        market.open(escrow, agent, provider, somebody(chain, 0x41), 1_000_000, now + 500, false, now, events).unwrap();
    });
}

async fn a_marketplace_configured_later_catches_up(chain: Chain) {
    let databases = Databases::sqlite();
    let fake = Arc::new(FakeChain::on(chain, 12));
    fake.trade_random(&mut Dice(5), 90);
    let reader: Arc<dyn ChainReader> = fake.clone();
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    catch_up(&store, &reader).await;
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM market_events").await, 0);
    catch_up_both(&store, &source(&fake)).await;
    assert_matches(&store, &fake).await;
    // The newest blocks can still be taken back, though they were stored before.
    fake.drop_blocks(9);
    fake.trade_random(&mut Dice(6), 11);
    catch_up_both(&store, &source(&fake)).await;
    assert_matches(&store, &fake).await;
    assert!(count(&store, "SELECT reorgs AS n FROM progress").await >= 1);
}

async fn a_dropped_escrow_disappears_with_its_session(chain: Chain) {
    let databases = Databases::sqlite();
    let fake = Arc::new(FakeChain::on(chain, 12));
    fake.mine(|_, _| {});
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    open(&fake);
    catch_up_both(&store, &source(&fake)).await;
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM market_sessions").await, 1);
    assert!(count(&store, "SELECT COUNT(*) AS n FROM market_undo").await > 0);
    fake.drop_blocks(1);
    fake.mine(|_, _| {});
    catch_up_both(&store, &source(&fake)).await;
    for table in [
        "SELECT COUNT(*) AS n FROM market_providers",
        "SELECT COUNT(*) AS n FROM market_escrows",
        "SELECT COUNT(*) AS n FROM market_agents",
        "SELECT COUNT(*) AS n FROM market_sessions",
        "SELECT COUNT(*) AS n FROM market_events",
        "SELECT COUNT(*) AS n FROM market_contents",
    ] {
        assert_eq!(count(&store, table).await, 0, "{table}");
    }
    assert_matches(&store, &fake).await;
}

async fn a_missing_micro_in_the_vault_is_seen(chain: Chain) {
    let databases = Databases::sqlite();
    let fake = Arc::new(FakeChain::on(chain, 12));
    open(&fake);
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    let newest = async || {
        let mut follower = follower_of(&store, source(&fake)).await;
        follower.catch_up().await.unwrap();
        let mut tx = store.snapshot().await.unwrap();
        MarketSolvency::load(&mut tx).await.unwrap().unwrap()
    };
    let found = newest().await;
    assert!(found.solvent());
    assert_eq!((found.balance, found.unreserved, found.reserved), (20_000_000, 19_000_000, 1_000_000));
    // The contract's own books hold nothing here, so the micro is missing from the vault alone.
    fake.mine(|world, _| world.balance = 1);
    fake.missing_tokens.store(1, Ordering::Relaxed);
    assert!(!newest().await.solvent());
    let codes = "SELECT COUNT(*) AS n FROM market_discrepancies WHERE code = 'market_insolvent'";
    assert_eq!(count(&store, codes).await, 1);
}

async fn another_marketplace_is_refused(chain: Chain) {
    let databases = Databases::sqlite();
    let fake = Arc::new(FakeChain::on(chain, 12));
    fake.trade_random(&mut Dice(1), 3);
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    catch_up_both(&store, &source(&fake)).await;
    let mut other = FakeChain::on(chain, 12);
    other.market_deployed = 2;
    other.drop_blocks(0);
    let other = source(&Arc::new(other));
    let mixed = Source { chain: fake, market: other.market };
    let feed = compute_futures_indexer::follow::Feed::new(chain);
    let config = super::support::config();
    let refused = compute_futures_indexer::follow::Follower::new(store, mixed, config, feed).await.err();
    assert!(matches!(refused, Some(IndexerError::OtherDeployment(_))), "{refused:?}");
}
