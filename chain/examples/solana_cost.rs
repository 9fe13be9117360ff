//! Measures what settling costs on Solana: a thousand jobs over fifty accounts through the real program on a local Surfpool, next
//! to one x402 `exact` transfer per job on the same cluster.
//!
//! ```text
//! cargo run -p compute-futures-chain --example solana_cost
//! ```
//! Prints one JSON object. Compute units and base fees are what the cluster says of each transaction, so they do not depend on
//! the machine. Surfpool charges no priority fees: they are computed by Solana's rule, for the units that each transaction asks for
//! (not for those it uses), the batch as the relayer asks and the transfer as a stock client does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::float_arithmetic, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use compute_futures_chain::solana::{FeePayer, SolanaReader, SolanaWriter, local::SolanaLocal};
use compute_futures_chain::{Action, ChainWriter, DebitRow, Fees, Progress, TransactionOutcome};
use compute_futures_protocol::solana::SolanaTransaction;
use compute_futures_protocol::{AccountId, B256, Signer, Terms, TransactionId, Usdc};
use serde_json::{Value, json};

const ACCOUNTS: u32 = 50;
const JOBS: u64 = 1_000;
/// What one job costs.
const JOB: u64 = 30_000;
/// Transfers to take the median of.
const TRANSFERS: usize = 21;
/// Micro-lamports a compute unit: an idle cluster, and a busy one.
const PRICES: [u64; 2] = [0, 100_000];
/// As the relayer signs: over the estimate.
const MARGIN_PERCENT: u64 = 120;
/// What a stock client asks for in a transfer.
const TRANSFER_UNITS: u64 = 20_000;
/// Lamports a signature.
const SIGNATURE: u64 = 5_000;

struct Bench {
    local: SolanaLocal,
    reader: Arc<SolanaReader>,
    operator: SolanaWriter,
    batches: u64,
}

#[tokio::main]
async fn main() {
    let local = SolanaLocal::start(Duration::from_millis(50)).await.expect("Surfpool starts");
    let reader = local.reader().await.unwrap();
    let operator = SolanaWriter::new(Arc::clone(&reader), local.signer(0)).unwrap();
    let mut bench = Bench { local, reader, operator, batches: 0 };
    bench.accounts().await;

    // The table is made when the first batch needs it.
    let before = bench.lamports().await;
    let first = bench.debits(1..=ACCOUNTS);
    bench.operator.estimate(&first).await.unwrap();
    let table = before - bench.lamports().await;
    // Fifty accounts, the operator's, and the event authority, behind the header; 128 bytes on top are charged for any account.
    let rent = (128 + 56 + u64::from(ACCOUNTS + 2) * 32) * 6_960;
    let fees = table.checked_sub(rent).expect("the rent is part of what it costs");
    eprintln!("lookup table: {rent} lamports of rent, {fees} of fees");

    let plain = SolanaWriter::new(Arc::clone(&bench.reader), bench.local.signer(0)).unwrap().without_tables();
    let (mut by_table, mut in_parts, mut transfers) = (Vec::new(), Vec::new(), Vec::new());
    let exact = bench.transfers().await;
    for price in PRICES {
        let one = bench.post(None, vec![1..=ACCOUNTS], price).await;
        by_table.push(batch(price, &one));
        let three = bench.post(Some(&plain), vec![1..=20, 21..=40, 41..=50], price).await;
        in_parts.push(batch(price, &three));
        transfers.push(transfer(price, &exact));
    }
    let report = json!({
        "jobs": JOBS,
        "accounts": ACCOUNTS,
        "rpc": "Surfpool, the program as committed",
        "lookupTable": {
            "addresses": ACCOUNTS + 2,
            "rentLamports": rent,
            "feeLamports": fees,
            "feeLamportsPerJobOver1Batch": per_job(fees),
            "feeLamportsPerJobOver100Batches": per_job(fees) / 100.0,
            "rentLockedPerJobOver100Batches": per_job(rent) / 100.0,
        },
        "oneBatch": by_table,
        "withoutTable": in_parts,
        "exactPerJob": transfers,
    });
    println!("{report:#}");
}

/// A transaction that landed, and the compute units it had asked for.
struct Landed {
    outcome: TransactionOutcome,
    asked: u64,
}

impl Landed {
    fn priority(&self, price: u64) -> u64 {
        (price * self.asked).div_ceil(1_000_000)
    }

    /// What Surfpool took, which is for the signatures alone.
    fn base(&self, signatures: u64) -> u64 {
        let fee = u64::try_from(self.outcome.effective_fee).unwrap();
        assert_eq!(fee, signatures * SIGNATURE, "Surfpool charges priority fees by now: measure them");
        fee
    }
}

/// A figure of all jobs for one.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_job(all: u64) -> f64 {
    (all as f64 / JOBS as f64 * 1_000.0).round() / 1_000.0
}

fn batch(price: u64, parts: &[Landed]) -> Value {
    let sum = |figure: &dyn Fn(&Landed) -> u64| parts.iter().map(figure).sum::<u64>();
    let (units, base) = (sum(&|part| part.outcome.gas_used), sum(&|part| part.base(1)));
    let priority = sum(&|part| part.priority(price));
    json!({
        "priceMicroLamports": price,
        "transactions": parts.len(),
        "computeUnits": units,
        "unitsAskedFor": sum(&|part| part.asked),
        "baseLamports": base,
        "priorityLamports": priority,
        "computeUnitsPerJob": per_job(units),
        "lamportsPerJob": per_job(base + priority),
    })
}

/// Of one transfer; the median of the units, which differ by what the accounts' addresses cost to check.
fn transfer(price: u64, transfers: &[Landed]) -> Value {
    let mut units: Vec<u64> = transfers.iter().map(|transfer| transfer.outcome.gas_used).collect();
    units.sort_unstable();
    let (base, priority) = (transfers[0].base(2), transfers[0].priority(price));
    json!({
        "priceMicroLamports": price,
        "computeUnits": units[units.len() / 2],
        "unitsAskedFor": TRANSFER_UNITS,
        "baseLamports": base,
        "priorityLamports": priority,
        "lamports": base + priority,
    })
}

impl Bench {
    async fn accounts(&self) {
        let terms = Terms {
            refund_delay: 3_600,
            minimum_deposit: Usdc::from_micros(1_000_000),
            rate_card_hash: B256::repeat_byte(1),
            tiers: Terms::default_tiers(),
        };
        self.operator.execute(&Action::SetTerms { terms }).await.unwrap();
        let owner = self.local.writer(1).await.unwrap();
        self.local.cheats().set_usdc(owner.sender(), Usdc::from_micros(1_000_000_000_000)).await.unwrap();
        let amount = Usdc::from_micros(100_000_000);
        for _ in 0..ACCOUNTS {
            let deposit = Action::Deposit { operator_index: 1, owner: owner.sender(), amount, ceiling: Usdc::MAX };
            owner.execute(&deposit).await.unwrap();
        }
    }

    async fn lamports(&self) -> u64 {
        self.reader.lamports(self.operator.sender()).await.unwrap()
    }

    /// The jobs of these accounts in one batch: twenty each.
    fn debits(&self, accounts: std::ops::RangeInclusive<u32>) -> Action {
        let jobs = JOBS / u64::from(ACCOUNTS);
        let row = |sequence| DebitRow {
            account: AccountId::new(1, sequence).unwrap(),
            list_amount: Usdc::from_micros(JOB * jobs),
            discount_bps: 1_000,
        };
        let rows: Vec<DebitRow> = accounts.map(row).collect();
        let receipt_count = u32::try_from(jobs * rows.len() as u64).unwrap();
        let receipts_root = B256::repeat_byte(7);
        Action::PostDebits { batch_number: self.batches + 1, receipts_root, receipt_count, rows }
    }

    async fn post(
        &mut self,
        writer: Option<&SolanaWriter>,
        parts: Vec<std::ops::RangeInclusive<u32>>,
        price: u64,
    ) -> Vec<Landed> {
        let mut outcomes = Vec::new();
        for part in parts {
            let (action, writer) = (self.debits(part), writer.unwrap_or(&self.operator));
            let units = writer.estimate(&action).await.unwrap() * MARGIN_PERCENT / 100;
            let lifetime = writer.lifetime(Progress::BlockHeight(0)).await.unwrap();
            let fees = Fees { max_fee: price.into(), max_priority_fee: price.into() };
            let signed = writer.sign(&action, lifetime, units, fees).unwrap();
            writer.broadcast(&signed).await.unwrap();
            outcomes.push(Landed { outcome: outcome(writer, signed.id).await, asked: units });
            self.batches += 1;
        }
        outcomes
    }

    /// Payments as stock clients sign them, completed and sent by a facilitator's key.
    async fn transfers(&self) -> Vec<Landed> {
        let (payer, fees) = (self.local.signer(1), self.local.signer(3));
        let pay_to = Signer::ed25519(&[9; 32]).address();
        self.local.cheats().set_usdc(pay_to, Usdc::from_micros(1)).await.unwrap();
        let facilitator = FeePayer::new(Arc::clone(&self.reader), fees.clone()).unwrap();
        let mut outcomes = Vec::new();
        for number in 0..TRANSFERS {
            // A memo as long as a stock client's: sixteen random bytes in hex.
            let (memo, amount) = (format!("{number:032x}"), Usdc::from_micros(JOB));
            let signed = self.reader.sign_payment(&payer, fees.address(), pay_to, amount, &memo).await.unwrap();
            let (id, raw) = facilitator.complete(SolanaTransaction::parse(&signed).unwrap()).unwrap();
            facilitator.send(&raw).await.unwrap();
            outcomes.push(Landed { outcome: outcome(&self.operator, id).await, asked: TRANSFER_UNITS });
        }
        outcomes
    }
}

async fn outcome(writer: &SolanaWriter, id: TransactionId) -> TransactionOutcome {
    loop {
        if let Some(outcome) = writer.outcome(id).await.unwrap() {
            assert!(outcome.succeeded, "{id} failed");
            return outcome;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
