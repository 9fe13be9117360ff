//! How many jobs a second the ledger takes: hold and charge each, durable, receipts signed.
//!
//! ```sh
//! cargo run --release -p compute-futures-relayer --features test-util --example ledger_throughput -- sqlite:/tmp/bench.db 64 10
//! ```
//! Arguments: database URL, jobs in flight, seconds, accounts. Prints one JSON object.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::float_arithmetic, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use compute_futures_chain::ChainReader;
use compute_futures_protocol::{
    AccountId, Address, Authorization, B256, Bytes, Chain, Domain, JobAuthorization, Signer, Usdc,
};
use compute_futures_relayer::follow::{FollowConfig, Follower, Step};
use compute_futures_relayer::ledger::{
    ChargeFacts, ChargeRequest, HoldRequest, Ledger, LedgerConfig, OperatorIdentity, StoredAnswer, new_job_id,
};
use compute_futures_relayer::test_util::fake_chain::{CONTRACT, FakeChain, OPERATOR};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |index: usize, default: &str| arguments.get(index).cloned().unwrap_or_else(|| default.into());
    let url = argument(1, "sqlite:/tmp/ledger-throughput.db");
    let in_flight: u64 = argument(2, "64").parse().unwrap();
    let seconds: u64 = argument(3, "10").parse().unwrap();
    let accounts: u64 = argument(4, "50").parse().unwrap();

    let signer = Arc::new(Signer::from_bytes(&[7; 32]).unwrap());
    let chain = Arc::new(FakeChain::new(signer.address()));
    let identity =
        OperatorIdentity { chain: Chain::Base, domain: Domain::evm(8453, CONTRACT), operator_index: OPERATOR, signer };
    let unlimited = Usdc::MAX;
    let config = LedgerConfig { url, trust_latest: unlimited, trust_safe: unlimited, ..LedgerConfig::default() };
    let ledger = Ledger::open(&config, identity).await.unwrap();
    let ids: Vec<AccountId> =
        (0..accounts).map(|_| chain.open(Address::repeat_byte(1), 1 << 50, Usdc::MAX.micros())).collect();
    let reader: Arc<dyn ChainReader> = chain;
    let follower = Follower::new(ledger.clone(), reader, FollowConfig::default());
    while !matches!(follower.step().await.unwrap(), Step::Idle | Step::Advanced { caught_up: true, .. }) {}

    let jobs = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(seconds);
    let begun = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|worker| {
            let (ledger, jobs, ids) = (ledger.clone(), Arc::clone(&jobs), ids.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut turn = worker;
                while Instant::now() < until {
                    let id = ids[usize::try_from(turn).unwrap() % ids.len()];
                    turn += 1;
                    let start = Instant::now();
                    job(&ledger, id).await;
                    latencies.push(start.elapsed());
                    jobs.fetch_add(1, Ordering::Relaxed);
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let elapsed = begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |permille: usize| latencies[(latencies.len() - 1) * permille / 1000].as_secs_f64() * 1000.0;
    let total = jobs.load(Ordering::Relaxed);
    println!(
        "{}",
        serde_json::json!({
            "inFlight": in_flight, "accounts": accounts, "jobs": total,
            "jobsPerSecond": (total as f64 / elapsed).round(),
            "p50Ms": at(500), "p99Ms": at(990), "maxMs": at(1000),
        })
    );
    ledger.close().await;
}

async fn job(ledger: &Ledger, account: AccountId) {
    let job_id = new_job_id();
    let nonce = B256::from(rand::random::<[u8; 32]>());
    let request_hash = B256::from(rand::random::<[u8; 32]>());
    ledger
        .hold(HoldRequest {
            account,
            job_id,
            key: nonce,
            request_hash,
            max_list: Usdc::from_micros(30_000),
            max_charge: None,
            authorization: Authorization::ComputeFutures {
                authorization: JobAuthorization {
                    account_id: account,
                    request_hash,
                    nonce,
                    max_charge: Usdc::from_micros(30_000),
                    valid_until: 4_000_000_000,
                },
                signature: Bytes::from(vec![7; 65]),
            },
            spend_ceiling: None,
            kind: "text-inference".into(),
            model: "auto".into(),
        })
        .await
        .unwrap();
    ledger
        .charge(ChargeRequest {
            facts: ChargeFacts {
                job_id,
                list_amount: Usdc::from_micros(30_000),
                output_hash: B256::from(rand::random::<[u8; 32]>()),
                usage: serde_json::json!({"totalTokens": 200}),
                model: None,
            },
            render: Arc::new(|billing| StoredAnswer {
                status: 200,
                body: format!(
                    "{{\"receiptHash\":\"{}\",\"text\":\"{}\"}}",
                    billing.receipt.receipt_hash,
                    "x".repeat(400)
                )
                .into(),
            }),
        })
        .await
        .unwrap();
}
