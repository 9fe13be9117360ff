//! The same ledger and settlement on Solana: a real RPC and the real program.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use compute_futures_chain::solana::SolanaWriter;
use compute_futures_chain::solana::local::SolanaLocal;
use compute_futures_chain::{
    Action, ChainError, ChainReader, ChainWriter, Fees, Lifetime, Progress, SignedTransaction, Sponsorship,
    TransactionOutcome,
};
use compute_futures_protocol::{
    AccountId, Address, B256, Bytes, Chain, DepositTerms, ReceiptTree, SpendCeiling, Terms, TransactionId, Usdc,
};
use compute_futures_relayer::ledger::{Ledger, LedgerConfig, OperatorIdentity, SignedCeiling};
use compute_futures_relayer::settlement::{Purpose, Settlement};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Empty, Kind, SOON, charge_request, hold_request, quick, trusting, usdc};

/// Development keys.
pub const OPERATOR: u8 = 1;
const OWNER: u8 = 2;

fn terms() -> Terms {
    Terms {
        refund_delay: 3600,
        minimum_deposit: usdc(1_000_000),
        rate_card_hash: B256::repeat_byte(1),
        tiers: Terms::default_tiers(),
    }
}

/// The first operator on a cluster, with its terms.
pub async fn operator_on(chain: &SolanaLocal, reader: &dyn ChainReader) -> (SolanaWriter, OperatorIdentity) {
    let writer = chain.writer(OPERATOR).await.unwrap();
    writer.execute(&Action::SetTerms { terms: terms() }).await.unwrap();
    let signer = Arc::new(chain.signer(OPERATOR));
    let identity = OperatorIdentity { chain: Chain::Solana, domain: reader.domain(), operator_index: 1, signer };
    (writer, identity)
}

/// Until the ledger knows an account of the owner.
pub async fn account_of(ledger: &Ledger, owner: Address) -> AccountId {
    for _ in 0..500 {
        if let Some(account) = ledger.accounts_of(owner).await.unwrap().last() {
            return account.id;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the deposit never reached the ledger");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_way_on_solana() {
    let Some(database) = Empty::of(Kind::Sqlite).await else { return };
    let chain = SolanaLocal::start(Duration::from_millis(50)).await.expect("Surfpool starts: run `npm ci` first");
    let reader: Arc<dyn ChainReader> = chain.reader().await.unwrap();
    let (writer, identity) = operator_on(&chain, &*reader).await;
    let ledger_config = LedgerConfig { url: database.url.clone(), ..trusting() };
    let ledger = Ledger::open(&ledger_config, identity.clone()).await.unwrap();
    let stop = CancellationToken::new();
    let (settlement, task) =
        Settlement::start(ledger.clone(), reader.clone(), Arc::new(writer), quick(), stop.clone()).await.unwrap();

    // A plain transfer to the deposit address, swept through the outbox.
    let (owner_key, owner) = (chain.signer(OWNER), chain.writer(OWNER).await.unwrap());
    chain.cheats().set_usdc(owner.sender(), usdc(50_000_000)).await.unwrap();
    let terms = DepositTerms { operator_index: 1, owner: owner.sender(), ceiling: usdc(100_000), fee: Usdc::ZERO };
    let address = reader.deposit_address(&terms).unwrap();
    owner.execute(&Action::Transfer { to: address, amount: usdc(50_000_000) }).await.unwrap();
    let purpose = Purpose::sweep(address, "first");
    settlement.submit(&purpose, Action::Sweep { terms }).await.unwrap();
    settlement.wait(&purpose, SOON).await.unwrap();
    let account = account_of(&ledger, owner.sender()).await;

    for nonce in 0..3 {
        let request = hold_request(account, nonce, 29_999);
        let job = request.job_id;
        ledger.hold(request).await.unwrap();
        ledger.charge(charge_request(job, 29_999)).await.unwrap();
    }
    let flushed = settlement.flush(SOON).await.unwrap();
    assert_eq!(flushed.batch_number, Some(1));
    // A ceiling by ed25519 signature is on chain before the batch that needs it.
    let ceiling = usdc(20_000_000);
    let signature = owner_key.sign(SpendCeiling { account_id: account, ceiling }.digest(&identity.domain));
    let mut request = hold_request(account, 100, 10_000_000);
    request.spend_ceiling = Some(SignedCeiling { ceiling, signature: signature.to_vec().into() });
    let job = request.job_id;
    ledger.hold(request).await.unwrap();
    ledger.charge(charge_request(job, 10_000_000)).await.unwrap();
    settlement.flush(SOON).await.unwrap();

    let view = ledger.account(account).await.unwrap().unwrap();
    let state = reader.account(account).await.unwrap().unwrap().state;
    assert_eq!((view.pending, view.charged, view.frozen), (Usdc::ZERO, state.charged, None));
    assert_eq!(state.charged, usdc(3 * 26_999 + 9_000_000), "a tenth off, the fraction carried");
    for number in 1..=2 {
        let document = ledger.batch_document(number).await.unwrap().unwrap();
        document.verify(&identity.domain, identity.signer.address()).unwrap();
        let hashes: Vec<B256> = document.receipts.iter().map(|signed| signed.receipt_hash).collect();
        let proof = ReceiptTree::new(&hashes).unwrap().proof(hashes[0]).unwrap();
        assert!(reader.verify_receipt(1, number, hashes[0], &proof).await.unwrap(), "I-7");
    }

    let done = settlement.flush_account_and_close(account).await.unwrap();
    assert_eq!(done.amount.micros() + state.charged.micros(), 50_000_000);
    assert_eq!(reader.token_balance(owner.sender(), None).await.unwrap(), done.amount);
    stop.cancel();
    task.await.unwrap();
}

/// Takes transactions and forgets the first ones, as a leader without room does.
pub struct Forgetful {
    pub inner: SolanaWriter,
    /// How many different transactions were signed.
    pub signed: Arc<AtomicUsize>,
}

#[async_trait]
impl ChainWriter for Forgetful {
    fn sender(&self) -> Address {
        self.inner.sender()
    }
    async fn progress(&self) -> Result<Progress, ChainError> {
        self.inner.progress().await
    }
    async fn lifetime(&self, progress: Progress) -> Result<Lifetime, ChainError> {
        self.inner.lifetime(progress).await
    }
    async fn suggest_fees(&self) -> Result<Fees, ChainError> {
        self.inner.suggest_fees().await
    }
    async fn fees_for(&self, action: &Action) -> Result<Fees, ChainError> {
        self.inner.fees_for(action).await
    }
    async fn sponsor(&self, owner: Address, verb: &Action) -> Result<Bytes, ChainError> {
        self.inner.sponsor(owner, verb).await
    }
    fn sponsorship(&self, owner: Address, verb: &Action, bytes: &[u8]) -> Result<Sponsorship, ChainError> {
        self.inner.sponsorship(owner, verb, bytes)
    }
    async fn estimate(&self, action: &Action) -> Result<u64, ChainError> {
        self.inner.estimate(action).await
    }
    fn sign(
        &self,
        action: &Action,
        lifetime: Lifetime,
        units: u64,
        fees: Fees,
    ) -> Result<SignedTransaction, ChainError> {
        self.signed.fetch_add(1, Ordering::SeqCst);
        self.inner.sign(action, lifetime, units, fees)
    }
    async fn broadcast(&self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        if self.signed.load(Ordering::SeqCst) > 1 { self.inner.broadcast(transaction).await } else { Ok(()) }
    }
    async fn outcome(&self, transaction: TransactionId) -> Result<Option<TransactionOutcome>, ChainError> {
        self.inner.outcome(transaction).await
    }
    async fn execute(&self, action: &Action) -> Result<(TransactionId, TransactionOutcome), ChainError> {
        self.inner.execute(action).await
    }
}

/// DESIGN §5: signed anew only when the blockhash has run out and no earlier one landed; then it lands once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blockhash_that_runs_out_is_signed_anew() {
    let Some(database) = Empty::of(Kind::Sqlite).await else { return };
    let chain = SolanaLocal::start(Duration::from_millis(20)).await.expect("Surfpool starts: run `npm ci` first");
    let reader: Arc<dyn ChainReader> = chain.reader().await.unwrap();
    let (inner, identity) = operator_on(&chain, &*reader).await;
    let ledger_config = LedgerConfig { url: database.url.clone(), ..trusting() };
    let ledger = Ledger::open(&ledger_config, identity).await.unwrap();
    let (stop, signed) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let writer = Arc::new(Forgetful { inner, signed: Arc::clone(&signed) });
    let config = compute_futures_relayer::settlement::SettlementConfig {
        follow: compute_futures_relayer::follow::FollowConfig { range: 100, window: 8 },
        ..quick()
    };
    let (settlement, task) =
        Settlement::start(ledger.clone(), reader.clone(), writer, config, stop.clone()).await.unwrap();
    let purpose = Purpose::new("terms", "again");
    let again = Terms { refund_delay: 7200, ..terms() };
    settlement.submit(&purpose, Action::SetTerms { terms: again }).await.unwrap();
    settlement.wait(&purpose, Duration::from_secs(60)).await.unwrap();
    assert_eq!(signed.load(Ordering::SeqCst), 2, "once, and once more after it ran out");
    assert_eq!(reader.operator(1).await.unwrap().unwrap().terms_version, 2, "and it landed once");
    stop.cancel();
    task.await.unwrap();
}
