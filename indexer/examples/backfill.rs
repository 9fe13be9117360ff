//! Measures backfill: fills a local chain with debits, then follows it from its first block into an empty database.
//!
//! ```text
//! cargo run --release -p compute-futures-indexer --example backfill -- --events 50000 --blocks 500 --database sqlite
//! ```
//! Prints one JSON object. `--serve` fills the chain, prints where it listens, and stays until interrupted, so that another
//! indexer can be measured on the same chain; `--rpc`, `--contract`, `--deployment-block` measure on a chain served that way.
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
    Action, ChainReader, ChainWriter, DebitRow, Fees, Lifetime,
    evm::{
        EvmConfig, EvmReader,
        local::{LocalChain, USDC},
    },
};
use compute_futures_indexer::{
    Config,
    follow::{Feed, Follower},
    store::Store,
};
use compute_futures_protocol::{AccountId, B256, Chain, EvmAddress, Terms, Usdc, keccak256};
use databases::Databases;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Arguments {
    /// Events of debits to index.
    #[arg(long, default_value_t = 50_000)]
    events: u64,
    /// Blocks they are spread over.
    #[arg(long, default_value_t = 500)]
    blocks: u64,
    /// `sqlite`, `postgres` (a cluster of its own), or a database URL.
    #[arg(long, default_value = "sqlite")]
    database: String,
    /// How many times to index the same chain, each into an empty database.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Blocks to measure the time from block to balance with.
    #[arg(long, default_value_t = 0)]
    live: u32,
    /// Fill the chain and serve it.
    #[arg(long)]
    serve: bool,
    /// Measure on a chain that is there already.
    #[arg(long, requires_all = ["contract", "deployment_block"])]
    rpc: Option<url::Url>,
    /// Its contract.
    #[arg(long)]
    contract: Option<EvmAddress>,
    /// Block its contract was deployed in.
    #[arg(long)]
    deployment_block: Option<u64>,
}

/// Gas of a row, and of a batch without rows, generously.
const GAS: (u64, u64) = (20_000, 300_000);
const FEES: Fees = Fees { max_fee: 100_000_000_000, max_priority_fee: 1 };

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let local = if arguments.rpc.is_none() { Some(LocalChain::start().await.expect("anvil starts")) } else { None };
    if let Some(local) = &local {
        let started = Instant::now();
        fill(local, &arguments).await;
        eprintln!("chain filled in {:.1?}", started.elapsed());
        if arguments.serve {
            let place = json!({"rpc": local.rpc_url, "contract": local.contract, "usdc": local.usdc, "deploymentBlock": local.deployment_block});
            println!("{place}");
            tokio::signal::ctrl_c().await.unwrap();
            return;
        }
    }
    let evm = match (&local, arguments.rpc.clone()) {
        (Some(local), _) => local.config(),
        (None, Some(rpc)) => {
            let mut evm = EvmConfig::new(Chain::Base, vec![rpc], arguments.contract.unwrap(), USDC);
            evm.deployment_block = arguments.deployment_block;
            evm
        }
        (None, None) => unreachable!("either a local chain or --rpc"),
    };
    let databases = match arguments.database.as_str() {
        "sqlite" => Some(Databases::sqlite()),
        "postgres" => Some(Databases::postgres().expect("PostgreSQL is installed")),
        _ => None,
    };
    let mut rounds = Vec::new();
    let mut events = 0;
    for _ in 0..arguments.rounds {
        let url = match &databases {
            Some(databases) => databases.fresh().await,
            None => arguments.database.clone(),
        };
        let (seconds, count) = backfill(&evm, &url).await;
        events = count;
        eprintln!("{count} events in {seconds:.3} s: {:.0} events/s", per_second(count, seconds));
        rounds.push(seconds);
    }
    rounds.sort_by(f64::total_cmp);
    let median = rounds[rounds.len() / 2];
    let mut report = json!({
        "database": arguments.database.split(':').next(),
        "events": events,
        "blocks": arguments.blocks,
        "secondsMedian": median,
        "secondsBest": rounds[0],
        "eventsPerSecondMedian": per_second(events, median).round(),
        "eventsPerSecondBest": per_second(events, rounds[0]).round(),
    });
    if let (Some(local), true) = (&local, arguments.live > 0) {
        let url = databases.as_ref().expect("--live needs a database of its own").fresh().await;
        report["blockToBalance"] = live(local, &evm, &url, arguments.live).await;
    }
    println!("{report}");
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(events: u64, seconds: f64) -> f64 {
    events as f64 / seconds
}

async fn follower(evm: &EvmConfig, url: &str, feed: Feed) -> (Follower, Store) {
    let reader: Arc<dyn ChainReader> = EvmReader::connect(evm.clone()).await.unwrap();
    let store = Store::open(url, 4).await.unwrap();
    let mut config = Config::default();
    config.follow.poll_interval_ms = 20;
    (Follower::new(store.clone(), reader, config, feed).await.unwrap(), store)
}

/// Seconds from an empty database to the newest block, and the events stored.
async fn backfill(evm: &EvmConfig, url: &str) -> (f64, u64) {
    let feed = Feed::new(Chain::Base);
    let (mut follower, store) = follower(evm, url, feed.clone()).await;
    let started = Instant::now();
    follower.catch_up().await.unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let wrong = store.first("SELECT COUNT(*) AS n FROM discrepancies", &[]).await.unwrap().unwrap().u64("n").unwrap();
    assert_eq!(wrong, 0, "the projection must agree with the model");
    store.close().await;
    (seconds, feed.status().events)
}

/// Milliseconds from a mined block to the balance in the database, following at the head.
async fn live(local: &LocalChain, evm: &EvmConfig, url: &str, blocks: u32) -> serde_json::Value {
    let feed = Feed::new(Chain::Base);
    let (follower, store) = follower(evm, url, feed.clone()).await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(follower.run(stop.clone()));
    let mut status = feed.watch();
    status.wait_for(|status| status.in_sync).await.unwrap();
    let writer = local.writer(0).await.unwrap();
    let operator = writer.reader_operator(local).await;
    let mut times = Vec::new();
    for number in 0..blocks {
        let batch = operator.1 + 1 + u64::from(number);
        let nonce = writer.nonce_floor().await.unwrap();
        let action = debits(operator.0, batch, 50, 50);
        let signed = writer.sign(&action, Lifetime::Nonce(nonce), gas(50), FEES).unwrap();
        let started = Instant::now();
        writer.broadcast(&signed).await.unwrap();
        let head = writer_height(local).await;
        status.wait_for(|status| status.progress.is_some_and(|progress| progress.block_number >= head)).await.unwrap();
        times.push(started.elapsed());
    }
    stop.cancel();
    task.await.unwrap();
    store.close().await;
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    json!({"rowsPerBlock": 50, "pollMs": 20, "p50Ms": at(50), "p99Ms": at(99)})
}

async fn writer_height(local: &LocalChain) -> u64 {
    local.reader().await.unwrap().heads().await.unwrap().latest.number
}

trait OperatorOf {
    async fn reader_operator(&self, local: &LocalChain) -> (u32, u64);
}

impl<W: ChainWriter> OperatorOf for W {
    async fn reader_operator(&self, local: &LocalChain) -> (u32, u64) {
        let reader = local.reader().await.unwrap();
        let index = reader.operator_index_of(self.sender()).await.unwrap().unwrap();
        (index, reader.operator(index).await.unwrap().unwrap().last_batch)
    }
}

fn gas(rows: u64) -> u64 {
    GAS.1 + GAS.0 * rows
}

/// A batch over the first `accounts` accounts, with amounts that leave remainders.
fn debits(operator: u32, batch_number: u64, rows: u64, accounts: u64) -> Action {
    let row = |n: u64| DebitRow {
        account: AccountId::new(operator, u32::try_from(n % accounts).unwrap() + 1).unwrap(),
        list_amount: Usdc::from_micros(1_000 + (batch_number * 31 + n * 7) % 5_000),
        discount_bps: 1_500,
    };
    let receipts_root = keccak256(batch_number.to_be_bytes());
    Action::PostDebits { batch_number, receipts_root, receipt_count: 1_000, rows: (0..rows).map(row).collect() }
}

/// One operator, as many accounts as a batch has rows (at most 200), and one batch a block.
async fn fill(local: &LocalChain, arguments: &Arguments) {
    let writer = local.writer(0).await.unwrap();
    let reader = local.reader().await.unwrap();
    let terms = Terms {
        refund_delay: 3600,
        minimum_deposit: Usdc::from_micros(1_000_000),
        rate_card_hash: B256::repeat_byte(1),
        tiers: Terms::default_tiers(),
    };
    writer.execute(&Action::SetTerms { terms }).await.unwrap();
    let operator = reader.operator_index_of(writer.sender()).await.unwrap().unwrap();
    // One of a block's events is the batch itself.
    let rows = arguments.events.div_ceil(arguments.blocks).saturating_sub(1).max(1);
    let accounts = rows.min(200);
    let deposit = Usdc::from_micros(1_000_000_000_000);
    local.mint(writer.sender(), Usdc::from_micros(deposit.micros() * (accounts + 1))).await.unwrap();
    writer.execute(&Action::Approve { amount: Usdc::MAX }).await.unwrap();

    let nonce = writer.nonce_floor().await.unwrap();
    let deposits = (0..accounts).map(|_| {
        let owner = writer.sender();
        (Action::Deposit { operator_index: operator, owner, amount: deposit, ceiling: Usdc::MAX }, 1_000_000)
    });
    let batches = (1..=arguments.blocks).map(|number| (debits(operator, number, rows, accounts), gas(rows)));
    // Signed in order, sent in order: every transaction is a block.
    stream::iter(deposits.chain(batches).zip(nonce..))
        .map(Ok::<_, compute_futures_chain::ChainError>)
        .try_for_each(|((action, gas), nonce)| {
            let signed = writer.sign(&action, Lifetime::Nonce(nonce), gas, FEES);
            let writer = &writer;
            async move { writer.broadcast(&signed?).await }
        })
        .await
        .unwrap();
    // Transactions are mined as they come; the last one may still be on its way.
    let last = arguments.blocks;
    while reader.operator(operator).await.unwrap().unwrap().last_batch < last {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
