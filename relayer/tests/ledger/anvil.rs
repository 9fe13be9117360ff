//! The same ledger and settlement over a real node and the real contract.

use std::sync::Arc;
use std::time::Duration;

use compute_futures_chain::evm::local::{LocalChain, LocalChainConfig};
use compute_futures_chain::{Action, ChainReader, ChainWriter, EventKind};
use compute_futures_protocol::{AccountId, B256, Chain, DepositTerms, Domain, ReceiptTree, SpendCeiling, Terms, Usdc};
use compute_futures_relayer::ledger::{Ledger, LedgerConfig, OperatorIdentity, SignedCeiling};
use compute_futures_relayer::settlement::{Purpose, Settlement, SettlementConfig, SettlementError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Empty, Kind, SOON, UNLIMITED, charge_request, hold_request, quick, trusting, usdc};

/// Development keys.
const OPERATOR: usize = 1;
const OWNER: usize = 2;

struct World {
    chain: LocalChain,
    reader: Arc<dyn ChainReader>,
    ledger: Ledger,
    identity: OperatorIdentity,
    settlement: Settlement,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _database: Empty,
}

impl World {
    async fn new(kind: Kind, config: SettlementConfig) -> Option<Self> {
        let database = Empty::of(kind).await?;
        let chain = LocalChain::start_with(LocalChainConfig { slots_in_an_epoch: 8, ..LocalChainConfig::default() })
            .await
            .expect("anvil starts: run `npm ci` first");
        let reader: Arc<dyn ChainReader> = chain.reader().await.unwrap();
        let writer = chain.writer(OPERATOR).await.unwrap();
        let terms = Terms {
            refund_delay: 3600,
            minimum_deposit: usdc(1_000_000),
            rate_card_hash: B256::repeat_byte(1),
            tiers: Terms::default_tiers(),
        };
        writer.execute(&Action::SetTerms { terms }).await.unwrap();
        let index = reader.operator_index_of(writer.sender()).await.unwrap().unwrap();
        let identity = OperatorIdentity {
            chain: Chain::Base,
            domain: Domain::evm(chain.chain_id, chain.contract),
            operator_index: index,
            signer: Arc::new(chain.signer(OPERATOR).unwrap()),
        };
        let ledger_config = LedgerConfig { url: database.url.clone(), ..trusting() };
        let ledger = Ledger::open(&ledger_config, identity.clone()).await.unwrap();
        let stop = CancellationToken::new();
        let (settlement, task) =
            Settlement::start(ledger.clone(), reader.clone(), Arc::new(writer), config, stop.clone()).await.unwrap();
        Some(Self { chain, reader, ledger, identity, settlement, stop, task, _database: database })
    }

    /// The owner deposits; returns once the ledger knows.
    async fn deposit(&self, amount: u64, ceiling: u64) -> AccountId {
        let writer = self.chain.writer(OWNER).await.unwrap();
        let owner = writer.sender();
        self.chain.mint(owner, usdc(amount)).await.unwrap();
        writer.execute(&Action::Approve { amount: usdc(amount) }).await.unwrap();
        let action = Action::Deposit {
            operator_index: self.identity.operator_index,
            owner,
            amount: usdc(amount),
            ceiling: usdc(ceiling),
        };
        let before = self.ledger.accounts_of(owner).await.unwrap().len();
        writer.execute(&action).await.unwrap();
        for _ in 0..500 {
            let accounts = self.ledger.accounts_of(owner).await.unwrap();
            if accounts.len() > before {
                return accounts.last().unwrap().id;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the deposit never reached the ledger");
    }

    async fn run(&self, account: AccountId, nonce: u64, list: u64) {
        let request = hold_request(account, nonce, list);
        let job = request.job_id;
        self.ledger.hold(request).await.unwrap();
        self.ledger.charge(charge_request(job, list)).await.unwrap();
    }

    /// Chain, ledger and receipts agree to the last micro-USDC, and the contract verifies a receipt.
    async fn agrees(&self, account: AccountId) {
        let view = self.ledger.account(account).await.unwrap().unwrap();
        let state = self.reader.account(account).await.unwrap().unwrap().state;
        assert_eq!((view.pending, view.charged, view.frozen), (Usdc::ZERO, state.charged, None));
        let last = self.settlement.status().await.unwrap().last_confirmed_batch.unwrap();
        let mut receipts = 0;
        for number in 1..=last {
            let document = self.ledger.batch_document(number).await.unwrap().unwrap();
            document.verify(&self.identity.domain, self.identity.signer.address()).unwrap();
            let hashes: Vec<B256> = document.receipts.iter().map(|signed| signed.receipt_hash).collect();
            let proof = ReceiptTree::new(&hashes).unwrap().proof(hashes[0]).unwrap();
            let index = self.identity.operator_index;
            assert!(self.reader.verify_receipt(index, number, hashes[0], &proof).await.unwrap(), "I-7");
            receipts += document
                .receipts
                .iter()
                .filter(|signed| signed.receipt.account_id == account)
                .map(|signed| signed.receipt.charged.micros())
                .sum::<u64>();
        }
        assert_eq!(receipts, state.charged.micros(), "Σ receipts = on-chain charge");
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn the_whole_way(kind: Kind) {
    let Some(w) = World::new(kind, quick()).await else { return };
    let account = w.deposit(50_000_000, 1_000_000).await;
    for nonce in 0..30 {
        w.run(account, nonce, 29_999).await;
    }
    w.settlement.flush(SOON).await.unwrap();
    w.agrees(account).await;

    // 30 jobs of 26,999.1 leave too little under the ceiling; a signed one lifts it, and is on chain before the batch.
    let ceiling = usdc(20_000_000);
    let digest = SpendCeiling { account_id: account, ceiling }.digest(&w.identity.domain);
    let signature = w.chain.signer(OWNER).unwrap().sign(digest);
    let mut request = hold_request(account, 100, 10_000_000);
    request.spend_ceiling = Some(SignedCeiling { ceiling, signature: signature.to_vec().into() });
    let job = request.job_id;
    w.ledger.hold(request).await.unwrap();
    w.ledger.charge(charge_request(job, 10_000_000)).await.unwrap();
    w.settlement.flush(SOON).await.unwrap();
    w.agrees(account).await;

    let earned = w.reader.operator(w.identity.operator_index).await.unwrap().unwrap().earnings;
    let to = compute_futures_protocol::Address::repeat_byte(0x42);
    w.settlement.withdraw(to, earned, "all", SOON).await.unwrap();
    assert_eq!(w.reader.token_balance(to, None).await.unwrap(), earned);

    w.run(account, 101, 30_000).await;
    let done = w.settlement.flush_account_and_close(account).await.unwrap();
    assert_eq!(done.jobs_executed, 32);
    let charged = w.reader.account(account).await.unwrap().unwrap().state.charged;
    assert_eq!(done.amount.micros() + charged.micros(), 50_000_000);
    w.agrees(account).await;
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_way_on_sqlite() {
    the_whole_way(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_way_on_postgres() {
    the_whole_way(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_transfer_is_swept_once() {
    let w = World::new(Kind::Sqlite, quick()).await.unwrap();
    let owner = w.chain.signer(OWNER).unwrap().address();
    let terms =
        DepositTerms { operator_index: w.identity.operator_index, owner, ceiling: Usdc::MAX, fee: usdc(10_000) };
    let address = w.reader.deposit_address(&terms).unwrap();
    w.chain.mint(address, usdc(50_010_000)).await.unwrap();
    let purpose = Purpose::sweep(address, "payment one");
    w.settlement.submit(&purpose, Action::Sweep { terms }).await.unwrap();
    w.settlement.submit(&purpose, Action::Sweep { terms }).await.unwrap();
    let confirmed = w.settlement.wait(&purpose, SOON).await.unwrap();
    let swept = confirmed.events.iter().find_map(|event| match event {
        EventKind::Swept { account, amount, fee, .. } => Some((*account, *amount, *fee)),
        _ => None,
    });
    let (account, amount, fee) = swept.unwrap();
    assert_eq!((amount, fee), (usdc(50_000_000), usdc(10_000)));
    assert_eq!(w.ledger.account(account).await.unwrap().unwrap().available, usdc(50_000_000));

    // Nothing is left: another purpose is refused with the contract's words.
    let again = Purpose::sweep(address, "payment two");
    w.settlement.submit(&again, Action::Sweep { terms }).await.unwrap();
    let refused = w.settlement.wait(&again, SOON).await.unwrap_err();
    assert!(
        matches!(&refused, SettlementError::Refused { reason, .. } if reason.contains("NothingToSweep")),
        "{refused}"
    );
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorg_that_drops_a_batch_posts_it_again() {
    let w = World::new(Kind::Sqlite, quick()).await.unwrap();
    let account = w.deposit(50_000_000, UNLIMITED).await;
    w.chain.mine(3).await.unwrap();
    w.run(account, 1, 30_000).await;
    w.settlement.flush(SOON).await.unwrap();
    w.run(account, 2, 30_000).await;
    w.chain.reorg(2).await.unwrap();
    w.chain.mine(2).await.unwrap();
    w.settlement.flush(SOON).await.unwrap();
    w.agrees(account).await;
    assert_eq!(w.reader.account(account).await.unwrap().unwrap().state.charged, usdc(54_000));
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_delays_and_loses_nothing() {
    let mut w = World::new(Kind::Sqlite, quick()).await.unwrap();
    let account = w.deposit(50_000_000, UNLIMITED).await;
    w.run(account, 1, 30_000).await;
    w.chain.stop().await.unwrap();
    assert!(w.settlement.flush(Duration::from_millis(500)).await.is_err());
    w.run(account, 2, 30_000).await;
    w.chain.start_again().await.unwrap();
    w.settlement.flush(Duration::from_secs(40)).await.unwrap();
    w.agrees(account).await;
    w.stop().await;
}
