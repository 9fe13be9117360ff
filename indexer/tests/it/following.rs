//! Following: the projection equals the world, whatever is replaced, interrupted or tampered with.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use compute_futures_chain::{ChainEvent, ChainReader, EventKind};
use compute_futures_indexer::{
    IndexerError,
    follow::{Feed, Follower, Range, bind, commit, roll_back},
    project::{AccountRow, OperatorRow},
    solvency::Solvency,
    store::Store,
};
use compute_futures_protocol::{Chain, Usdc};
use proptest::prelude::*;

use super::support::{
    CHAINS, catch_up, config, count,
    databases::Databases,
    dump,
    fake::FakeChain,
    follower, on_both_chains,
    world::{Dice, somebody, terms, usdc},
};

on_both_chains!(
    interruption_at_any_point_loses_and_doubles_nothing,
    a_dropped_deposit_disappears_with_its_account,
    a_reorg_beyond_what_is_kept_is_refused_not_papered_over,
    insolvency_is_seen_and_stored,
    an_answer_out_of_order_or_twice_writes_nothing,
    slots_that_vanish_are_taken_back,
);

/// The projection of `chain`'s newest block equals its world, row by row.
pub async fn assert_matches(store: &Store, chain: &FakeChain) {
    let world = chain.world();
    let rows = store.all("SELECT * FROM accounts ORDER BY id", &[]).await.unwrap();
    assert_eq!(rows.len(), world.accounts.len());
    for (row, (id, account)) in rows.iter().zip(&world.accounts) {
        let row = AccountRow::read(row).unwrap();
        assert_eq!(
            (row.id, row.owner, row.delegate, row.terms_version, row.refundable_at, row.closed),
            (*id, account.owner, account.delegate, account.terms_version, account.refundable_at, account.closed)
        );
        // What is left of a closed account's remainder is nobody's: the contract stops writing it.
        let mut state = row.state;
        if account.closed {
            state.remainder = account.state.remainder;
        }
        assert_eq!(state, account.state, "{id}");
    }
    let rows = store.all("SELECT * FROM operators ORDER BY id", &[]).await.unwrap();
    assert_eq!(rows.len(), world.operators.len());
    let mut owed = 0;
    for (row, operator) in rows.iter().zip(&world.operators) {
        let row = OperatorRow::read(row).unwrap();
        assert_eq!(
            (row.operator, row.terms_version as usize, row.last_sequence, row.last_batch, row.earnings, row.unspent),
            (
                operator.address,
                operator.terms.len(),
                operator.last_sequence,
                operator.last_batch,
                operator.earnings,
                world.unspent(row.index)
            )
        );
        let open = world.accounts.iter().filter(|(id, a)| id.operator_index() == row.index && !a.closed).count();
        assert_eq!(row.open_accounts, open as u64);
        owed += row.earnings + row.unspent;
    }
    assert_eq!(owed, world.balance, "I-1");
    let found = store.all("SELECT code, detail FROM discrepancies", &[]).await.unwrap();
    let found: Vec<String> =
        found.iter().map(|r| format!("{}: {}", r.text("code").unwrap(), r.text("detail").unwrap())).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// One random life of a chain: blocks come, some are replaced, the follower looks now and then and is sometimes interrupted.
/// At the end its database equals one that saw only the final chain.
pub async fn random_life(databases: &Databases, chain: Chain, seed: u64) {
    let mut dice = Dice(seed);
    let fake = Arc::new(FakeChain::on(chain, 12));
    let reader: Arc<dyn ChainReader> = fake.clone();
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    fake.mine_random(&mut dice, 2);
    for _ in 0..12 {
        let blocks = 1 + dice.roll(25);
        fake.mine_random(&mut dice, blocks);
        match dice.roll(4) {
            // Cut off anywhere: the future is dropped at one of its awaits, as an abort would.
            0 => drop(tokio::time::timeout(Duration::from_micros(dice.roll(20_000)), catch_up(&store, &reader)).await),
            1 => {}
            _ => catch_up(&store, &reader).await,
        }
        if dice.roll(3) == 0 {
            // At most as deep as is not final, and the follower may have seen none, some or all of it.
            let depth = (1 + dice.roll(11)).min(fake.height() - 1);
            fake.drop_blocks(depth);
            let blocks = depth + dice.roll(5);
            fake.mine_random(&mut dice, blocks);
        }
    }
    catch_up(&store, &reader).await;
    assert_matches(&store, &fake).await;

    let fresh = Store::open(&databases.fresh().await, 2).await.unwrap();
    catch_up(&fresh, &reader).await;
    assert_eq!(dump(&store).await, dump(&fresh).await, "seed {seed}");
    store.close().await;
    fresh.close().await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_life_with_reorgs_ends_where_a_fresh_projection_does(seed: u64) {
        for chain in CHAINS {
            runtime().block_on(random_life(&Databases::sqlite(), chain, seed));
        }
    }
}

/// The end of a commit is the only moment that counts: interrupted at every await in turn, each restart goes on from there.
async fn interruption_at_any_point_loses_and_doubles_nothing(chain: Chain) {
    let databases = Databases::sqlite();
    let fake = Arc::new(FakeChain::on(chain, 12));
    let reader: Arc<dyn ChainReader> = fake.clone();
    fake.mine_random(&mut Dice(7), 120);
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    let mut interruptions = 0;
    loop {
        let mut polls = 0;
        let limit = 1 + interruptions * 3;
        let mut follower = follower(&store, &reader).await;
        let mut run = Box::pin(follower.catch_up());
        // Lets the future make `limit` steps, then drops it.
        let outcome = std::future::poll_fn(|context| {
            polls += 1;
            if polls > limit {
                return std::task::Poll::Ready(None);
            }
            run.as_mut().poll(context).map(Some)
        })
        .await;
        if let Some(outcome) = outcome {
            outcome.unwrap();
            break;
        }
        interruptions += 1;
    }
    assert!(interruptions > 5, "only {interruptions} interruptions");
    assert_matches(&store, &fake).await;
    let fresh = Store::open(&databases.fresh().await, 2).await.unwrap();
    catch_up(&fresh, &reader).await;
    assert_eq!(dump(&store).await, dump(&fresh).await);
}

async fn a_dropped_deposit_disappears_with_its_account(chain: Chain) {
    let databases = Databases::sqlite();
    let fake = Arc::new(FakeChain::on(chain, 12));
    let reader: Arc<dyn ChainReader> = fake.clone();
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    let owner = somebody(chain, 1);
    fake.mine(|world, events| {
        world.set_terms(owner, terms(3600), events);
    });
    catch_up(&store, &reader).await;
    fake.mine(|world, events| {
        world.open(1, owner, usdc(20_000_000), Usdc::MAX, events);
    });
    catch_up(&store, &reader).await;
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM accounts").await, 1);
    assert!(count(&store, "SELECT COUNT(*) AS n FROM undo").await > 0);
    fake.drop_blocks(1);
    fake.mine(|_, _| {});
    catch_up(&store, &reader).await;
    for table in [
        "SELECT COUNT(*) AS n FROM accounts",
        "SELECT COUNT(*) AS n FROM deposits",
        "SELECT COUNT(*) AS n FROM ceilings",
    ] {
        assert_eq!(count(&store, table).await, 0, "{table}");
    }
    assert_matches(&store, &fake).await;
    assert_eq!(count(&store, "SELECT reorgs AS n FROM progress").await, 1);
}

async fn a_reorg_beyond_what_is_kept_is_refused_not_papered_over(chain: Chain) {
    let fake = Arc::new(FakeChain::on(chain, 12));
    let reader: Arc<dyn ChainReader> = fake.clone();
    let databases = Databases::sqlite();
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    fake.mine_random(&mut Dice(3), 80);
    catch_up(&store, &reader).await;
    let before = dump(&store).await;
    fake.drop_blocks(40);
    fake.mine_random(&mut Dice(4), 41);
    let outcome = follower(&store, &reader).await.catch_up().await;
    assert!(matches!(outcome, Err(IndexerError::DeepReorg { .. })), "{outcome:?}");
    assert_eq!(dump(&store).await, before);
}

/// An RPC that gives events twice or out of order is not believed: nothing is written until it answers sensibly.
async fn an_answer_out_of_order_or_twice_writes_nothing(chain: Chain) {
    type Distortion = fn(&mut Vec<ChainEvent>);
    let twice: Distortion = |events| {
        if let Some(last) = events.last().cloned() {
            events.push(last);
        }
    };
    let distortions: [Distortion; 2] = [twice, |events| events.reverse()];
    let databases = Databases::sqlite();
    for (number, distortion) in distortions.into_iter().enumerate() {
        let fake = Arc::new(FakeChain::on(chain, 12));
        let reader: Arc<dyn ChainReader> = fake.clone();
        let store = Store::open(&databases.fresh().await, 2).await.unwrap();
        fake.mine_random(&mut Dice(31), 40);
        catch_up(&store, &reader).await;
        let before = dump(&store).await;
        let owner = somebody(chain, 7);
        fake.mine(|world, events| {
            world.open(1, owner, usdc(20_000_000), Usdc::MAX, events);
        });
        *fake.distort.lock().unwrap() = Some(Box::new(distortion));
        let outcome = follower(&store, &reader).await.catch_up().await;
        assert!(matches!(outcome, Err(IndexerError::Chain(_))), "{number}: {outcome:?}");
        assert_eq!(dump(&store).await, before, "{number}");
        *fake.distort.lock().unwrap() = None;
        catch_up(&store, &reader).await;
        assert_matches(&store, &fake).await;
    }
}

/// Slots with our transactions vanish, and what comes instead has other blocks, or none, in them.
async fn slots_that_vanish_are_taken_back(chain: Chain) {
    let databases = Databases::sqlite();
    for seed in 0..6 {
        let fake = Arc::new(FakeChain::on(chain, 12));
        let reader: Arc<dyn ChainReader> = fake.clone();
        let store = Store::open(&databases.fresh().await, 2).await.unwrap();
        fake.mine_random(&mut Dice(seed), 30);
        catch_up(&store, &reader).await;
        fake.drop_blocks(5);
        for _ in 0..seed {
            fake.skip();
        }
        fake.mine_random(&mut Dice(seed + 100), 3);
        catch_up(&store, &reader).await;
        assert_matches(&store, &fake).await;
        assert!(count(&store, "SELECT reorgs AS n FROM progress").await >= 1);
        let fresh = Store::open(&databases.fresh().await, 2).await.unwrap();
        catch_up(&fresh, &reader).await;
        assert_eq!(dump(&store).await, dump(&fresh).await, "seed {seed}");
    }
}

#[tokio::test]
async fn undo_and_empty_blocks_are_forgotten_once_final() {
    let fake = Arc::new(FakeChain::new(12));
    let chain: Arc<dyn ChainReader> = fake.clone();
    let databases = Databases::sqlite();
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    for round in 0..10 {
        fake.mine_random(&mut Dice(round), 20);
        catch_up(&store, &chain).await;
    }
    // extra_window = 8: final minus 8 is beyond replacement.
    let floor = fake.height() - 12 - 8;
    assert!(count(&store, "SELECT MIN(block_number) AS n FROM undo").await > floor);
    assert!(count(&store, "SELECT MIN(number) AS n FROM blocks WHERE has_events = 0").await >= floor);
}

#[tokio::test]
async fn another_deployment_is_refused() {
    let databases = Databases::sqlite();
    let url = databases.fresh().await;
    let store = Store::open(&url, 2).await.unwrap();
    let first = Arc::new(FakeChain::new(12));
    first.mine_random(&mut Dice(1), 3);
    let first: Arc<dyn ChainReader> = first;
    catch_up(&store, &first).await;
    let second = Arc::new(FakeChain::new(12));
    second.mine(|_, _| {});
    second.drop_blocks(1);
    second.mine(|_, _| {});
    let second: Arc<dyn ChainReader> = second;
    let refused = Follower::new(store.clone(), second, config(), Feed::new(Chain::Base)).await.err();
    assert!(matches!(refused, Some(IndexerError::OtherDeployment(_))), "{refused:?}");
}

/// Two processes on one database: whoever loses the race starts again from the winner's cursor, and nothing is doubled.
pub async fn two_followers(databases: &Databases) {
    let fake = Arc::new(FakeChain::new(12));
    let chain: Arc<dyn ChainReader> = fake.clone();
    let mut dice = Dice(11);
    fake.mine_random(&mut dice, 60);
    let url = databases.fresh().await;
    let store = Store::open(&url, 2).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let store = Store::open(&url, 2).await.unwrap();
        tasks.push(tokio::spawn(follower(&store, &chain).await.run(stop.clone())));
    }
    for _ in 0..10 {
        fake.mine_random(&mut dice, 5);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while count(&store, "SELECT block_number AS n FROM progress").await < fake.height() {
        assert!(tokio::time::Instant::now() < deadline, "not caught up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    for task in tasks {
        task.await.unwrap();
    }
    assert_matches(&store, &fake).await;
}

#[tokio::test]
async fn two_followers_share_a_database() {
    two_followers(&Databases::sqlite()).await;
}

#[tokio::test]
async fn an_rpc_that_is_down_is_waited_for() {
    let fake = Arc::new(FakeChain::new(12));
    let chain: Arc<dyn ChainReader> = fake.clone();
    fake.mine_random(&mut Dice(5), 30);
    let databases = Databases::sqlite();
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    let feed = Feed::new(Chain::Base);
    let follower = Follower::new(store.clone(), chain, config(), feed.clone()).await.unwrap();
    fake.down.store(true, Ordering::Relaxed);
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(follower.run(stop.clone()));
    let mut status = feed.watch();
    status.wait_for(|status| status.failure.is_some()).await.unwrap();
    fake.down.store(false, Ordering::Relaxed);
    let healthy = status.wait_for(|status| status.in_sync && status.failure.is_none());
    tokio::time::timeout(Duration::from_secs(10), healthy).await.unwrap().unwrap();
    stop.cancel();
    task.await.unwrap();
    assert_matches(&store, &fake).await;
}

async fn insolvency_is_seen_and_stored(chain: Chain) {
    let fake = Arc::new(FakeChain::on(chain, 12));
    let reader: Arc<dyn ChainReader> = fake.clone();
    fake.mine_random(&mut Dice(9), 40);
    let databases = Databases::sqlite();
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    catch_up(&store, &reader).await;
    let found = Solvency::load(&store).await.unwrap().unwrap();
    assert!(found.solvent() && found.balance == fake.world().balance, "{found:?}");
    fake.missing_tokens.store(1, Ordering::Relaxed);
    catch_up(&store, &reader).await;
    assert!(!Solvency::load(&store).await.unwrap().unwrap().solvent());
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM discrepancies WHERE code = 'insolvent'").await, 1);
}

/// Each lie of the chain leaves the discrepancy that names it.
#[tokio::test]
async fn what_contradicts_the_model_is_stored() {
    type Lie = (&'static str, fn(&mut EventKind));
    let lies: [Lie; 8] = [
        ("charge", |kind| {
            if let EventKind::Debited { charged, .. } = kind {
                *charged = usdc(charged.micros() + 1);
            }
        }),
        ("discount_below_floor", |kind| {
            if let EventKind::Debited { discount_bps, .. } = kind {
                *discount_bps = 0;
            }
        }),
        ("batch_number", |kind| {
            if let EventKind::BatchPosted { batch_number, .. } = kind {
                *batch_number += 1;
            }
        }),
        ("batch_sum", |kind| {
            if let EventKind::BatchPosted { charged, .. } = kind {
                *charged = usdc(charged.micros() + 1);
            }
        }),
        ("batch_rows", |kind| {
            if let EventKind::BatchPosted { row_count, .. } = kind {
                *row_count += 1;
            }
        }),
        ("deposit", |kind| {
            if let EventKind::Deposited { credit, .. } = kind {
                *credit = usdc(credit.micros() + 1);
            }
        }),
        ("refund", |kind| {
            if let EventKind::Refunded { amount, .. } = kind {
                *amount = usdc(amount.micros() + 1);
            }
        }),
        ("ceiling_signer", |kind| {
            if let EventKind::CeilingRaised { signer, .. } = kind {
                *signer = compute_futures_protocol::Address::repeat_byte(0x66);
            }
        }),
    ];
    let databases = Databases::sqlite();
    for (code, lie) in lies {
        let fake = Arc::new(FakeChain::new(12));
        let chain: Arc<dyn ChainReader> = fake.clone();
        let owner = compute_futures_protocol::Address::repeat_byte(1);
        let mut account = None;
        fake.mine(|world, events| {
            world.set_terms(owner, terms(3600), events);
            account = Some(world.open(1, owner, usdc(20_000_000), Usdc::MAX, events));
        });
        fake.mine(|world, events| {
            let id = account.unwrap();
            world.post(1, &[(id.get(), usdc(30_001), 500)], compute_futures_protocol::B256::repeat_byte(1), 1, events);
            world.close(id, true, events);
        });
        fake.tamper(|event| lie(&mut event.kind));
        let store = Store::open(&databases.fresh().await, 2).await.unwrap();
        catch_up(&store, &chain).await;
        let codes = store.all("SELECT code FROM discrepancies", &[]).await.unwrap();
        let codes: Vec<String> = codes.iter().map(|row| row.text("code").unwrap()).collect();
        assert!(codes.iter().any(|found| found == code), "{code} not among {codes:?}");
    }
}

/// Whoever holds an old cursor cannot write, even where no row would collide.
#[tokio::test]
async fn a_stale_cursor_writes_nothing() {
    let fake = Arc::new(FakeChain::new(12));
    fake.mine(|_, _| {});
    let databases = Databases::sqlite();
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    let progress = bind(&store, &*fake).await.unwrap();
    let heads = fake.heads().await.unwrap();
    let range = || Range { end: heads.latest, blocks: vec![heads.latest], events: Vec::new(), market: None };
    let first = commit(&store, &progress, range(), &heads, 0).await.unwrap();
    let second = commit(&store, &progress, range(), &heads, 0).await;
    assert!(matches!(second, Err(IndexerError::CursorMoved)), "{second:?}");
    let back = roll_back(&store, &progress, 0).await;
    assert!(matches!(back, Err(IndexerError::CursorMoved)), "{back:?}");
    assert_eq!(count(&store, "SELECT block_number AS n FROM progress").await, first.progress.block_number);
}
