//! Measures the indexer on Solana: batches posted through the real program on a local Surfpool, followed over its JSON-RPC from
//! the deployment slot into an empty database, and the time from a confirmed batch to the balance.
//!
//! ```text
//! cargo run --release -p compute-futures-indexer --example backfill_solana -- --events 4000 --database sqlite --live 30
//! ```
//! Prints one JSON object. Each transaction is asked for by itself (`getTransaction`), as there is no call for many: what is
//! measured is indexer and RPC node together, on one machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::float_arithmetic, missing_docs)]

#[path = "../tests/it/support/databases.rs"]
#[allow(dead_code, unreachable_pub)]
mod databases;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use compute_futures_chain::{
    Action, ChainReader, ChainWriter, DebitRow, Fees, Progress,
    solana::{SolanaWriter, local::SolanaLocal},
};
use compute_futures_indexer::{
    Config,
    follow::{Feed, Follower},
    store::Store,
};
use compute_futures_protocol::{AccountId, B256, Chain, Terms, Usdc, keccak256};
use databases::Databases;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Arguments {
    /// Events to index, deposits and batches included.
    #[arg(long, default_value_t = 4_000)]
    events: u64,
    /// Rows of a batch, each of another account.
    #[arg(long, default_value_t = 20)]
    rows: u32,
    /// Milliseconds of a slot.
    #[arg(long, default_value_t = 20)]
    slot_ms: u64,
    /// `sqlite`, `postgres` (a cluster of its own), or a database URL (one round then).
    #[arg(long, default_value = "sqlite")]
    database: String,
    /// How many times to index the same chain, each into an empty database.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Batches to measure the time from block to balance with.
    #[arg(long, default_value_t = 0)]
    live: u32,
}

/// How often the follower looks, and how often the cluster is asked whether a transaction is confirmed.
const POLL: Duration = Duration::from_millis(20);
const LOOK: Duration = Duration::from_millis(2);

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let local = SolanaLocal::start(Duration::from_millis(arguments.slot_ms)).await.expect("Surfpool starts");
    let writer = local.writer(0).await.unwrap();
    let reader: Arc<dyn ChainReader> = local.reader().await.unwrap();
    let started = Instant::now();
    let batches = fill(&local, &writer, &*reader, &arguments).await;
    eprintln!("{batches} batches posted in {:.1?}", started.elapsed());

    let databases = match arguments.database.as_str() {
        "sqlite" => Some(Databases::sqlite()),
        "postgres" => Some(Databases::postgres().expect("PostgreSQL is installed")),
        _ => None,
    };
    let fresh = async || match &databases {
        Some(databases) => databases.fresh().await,
        None => arguments.database.clone(),
    };
    let (mut rounds, mut events, mut slots) = (Vec::new(), 0, 0);
    for _ in 0..if databases.is_some() { arguments.rounds } else { 1 } {
        let (seconds, count, end) = backfill(&local, &fresh().await).await;
        eprintln!("{count} events in {seconds:.3} s: {:.0} events/s", per_second(count, seconds));
        (events, slots) = (count, end - local.deployment_slot);
        rounds.push(seconds);
    }
    rounds.sort_by(f64::total_cmp);
    let median = rounds[rounds.len() / 2];
    let mut report = json!({
        "database": arguments.database.split(':').next(),
        "rpc": "Surfpool, same machine",
        "events": events,
        "batches": batches,
        "rowsPerBatch": arguments.rows,
        "slots": slots,
        "secondsMedian": median,
        "eventsPerSecondMedian": per_second(events, median).round(),
        "eventsPerSecondBest": per_second(events, rounds[0]).round(),
    });
    if arguments.live > 0 {
        assert!(databases.is_some(), "--live needs a database of its own: sqlite or postgres");
        report["blockToBalance"] = live(&local, &writer, &arguments, batches, &fresh().await).await;
    }
    println!("{report}");
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(events: u64, seconds: f64) -> f64 {
    events as f64 / seconds
}

/// A batch over all accounts, with amounts that leave remainders.
fn debits(batch_number: u64, rows: u32) -> Action {
    let row = |n: u32| DebitRow {
        account: AccountId::new(1, n + 1).unwrap(),
        list_amount: Usdc::from_micros(1_000 + (batch_number * 31 + u64::from(n) * 7) % 5_000),
        discount_bps: 1_500,
    };
    let receipts_root = keccak256(batch_number.to_be_bytes());
    Action::PostDebits { batch_number, receipts_root, receipt_count: 1_000, rows: (0..rows).map(row).collect() }
}

/// One operator, an account a row, and batches one after another; answers how many.
async fn fill(local: &SolanaLocal, writer: &SolanaWriter, reader: &dyn ChainReader, arguments: &Arguments) -> u64 {
    let terms = Terms {
        refund_delay: 3600,
        minimum_deposit: Usdc::from_micros(1_000_000),
        rate_card_hash: B256::repeat_byte(1),
        tiers: Terms::default_tiers(),
    };
    writer.execute(&Action::SetTerms { terms }).await.unwrap();
    assert_eq!(reader.operator_index_of(writer.sender()).await.unwrap(), Some(1));
    let amount = Usdc::from_micros(1_000_000_000);
    local.cheats().set_usdc(writer.sender(), Usdc::from_micros(1_000_000_000_000)).await.unwrap();
    for _ in 0..arguments.rows {
        let deposit = Action::Deposit { operator_index: 1, owner: writer.sender(), amount, ceiling: Usdc::MAX };
        writer.execute(&deposit).await.unwrap();
    }
    // A deposit that opens an account is three events, terms are one, a batch is one more than its rows.
    let rows = u64::from(arguments.rows);
    let batches = arguments.events.saturating_sub(3 * rows + 1).div_ceil(rows + 1).max(1);
    for number in 1..=batches {
        writer.execute(&debits(number, arguments.rows)).await.unwrap();
    }
    batches
}

async fn follower(local: &SolanaLocal, url: &str, feed: Feed) -> (Follower, Store) {
    // A reader of its own: nothing is remembered from an earlier round.
    let reader: Arc<dyn ChainReader> = local.reader().await.unwrap();
    let store = Store::open(url, 4).await.unwrap();
    let mut config = Config::default();
    config.follow.poll_interval_ms = u64::try_from(POLL.as_millis()).unwrap();
    (Follower::new(store.clone(), reader, config, feed).await.unwrap(), store)
}

/// Seconds from an empty database to the newest slot, the events stored, and that slot.
async fn backfill(local: &SolanaLocal, url: &str) -> (f64, u64, u64) {
    let feed = Feed::new(Chain::Solana);
    let (mut follower, store) = follower(local, url, feed.clone()).await;
    let started = Instant::now();
    follower.catch_up().await.unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let wrong = store.first("SELECT COUNT(*) AS n FROM discrepancies", &[]).await.unwrap().unwrap().u64("n").unwrap();
    assert_eq!(wrong, 0, "the projection must agree with the model");
    store.close().await;
    let status = feed.status();
    (seconds, status.events, status.progress.unwrap().block_number)
}

/// Milliseconds from a batch that the cluster calls confirmed to its balances in the database, and from sending it on.
async fn live(local: &SolanaLocal, writer: &SolanaWriter, arguments: &Arguments, posted: u64, url: &str) -> Value {
    let feed = Feed::new(Chain::Solana);
    let (follower, store) = follower(local, url, feed.clone()).await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(follower.run(stop.clone()));
    feed.watch().wait_for(|status| status.in_sync).await.unwrap();
    let (mut from_block, mut from_sending) = (Vec::new(), Vec::new());
    for number in 0..arguments.live {
        let action = debits(posted + 1 + u64::from(number), arguments.rows);
        let units = writer.estimate(&action).await.unwrap();
        let lifetime = writer.lifetime(Progress::BlockHeight(0)).await.unwrap();
        let signed = writer.sign(&action, lifetime, units * 12 / 10, Fees { max_fee: 1, max_priority_fee: 1 }).unwrap();
        let sent = Instant::now();
        writer.broadcast(&signed).await.unwrap();
        let confirmed = async {
            loop {
                if let Some(outcome) = writer.outcome(signed.id).await.unwrap() {
                    assert!(outcome.succeeded, "batch {number} failed");
                    return outcome.block_number;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let slot = confirmed.await;
        let seen = Instant::now();
        let there = |status: &compute_futures_indexer::follow::FollowStatus| {
            status.progress.is_some_and(|progress| progress.block_number >= slot)
        };
        feed.watch().wait_for(there).await.unwrap();
        from_block.push(seen.elapsed());
        from_sending.push(sent.elapsed());
    }
    stop.cancel();
    task.await.unwrap();
    store.close().await;
    let at = |times: &mut Vec<Duration>, percent: usize| {
        times.sort();
        times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0
    };
    json!({
        "rowsPerBatch": arguments.rows, "pollMs": POLL.as_millis() as u64, "slotMs": arguments.slot_ms,
        "p50Ms": at(&mut from_block, 50), "p99Ms": at(&mut from_block, 99),
        "sentP50Ms": at(&mut from_sending, 50), "sentP99Ms": at(&mut from_sending, 99),
    })
}
