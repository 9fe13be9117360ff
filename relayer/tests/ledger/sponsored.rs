//! What owners sign and the operator's key pays for: once, and within what a day may cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use compute_futures_chain::solana::SolanaWriter;
use compute_futures_chain::solana::local::SolanaLocal;
use compute_futures_chain::{Action, ChainError, ChainReader, ChainWriter};
use compute_futures_protocol::{Address, Bytes, Signer, Usdc};
use compute_futures_relayer::ledger::{Ledger, LedgerConfig};
use compute_futures_relayer::settlement::{Purpose, Settlement, SettlementError, SponsorLimits, Taken};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Empty, Kind, SOON, quick, trusting, usdc};
use crate::surfpool::{Forgetful, OPERATOR, account_of, operator_on};

/// Rent of one account, a few fees, and half of it for deposits.
const LIMITS: SponsorLimits = SponsorLimits { per_day: 5_000_000, per_owner: 4 };
const RENT: u64 = 2_449_920;

/// A wallet with USDC and no SOL.
struct Poor {
    writer: SolanaWriter,
    limits: SponsorLimits,
}

impl Poor {
    async fn new(chain: &SolanaLocal, seed: u8) -> Self {
        let key = Signer::ed25519(&[seed; 32]);
        chain.cheats().set_usdc(key.address(), usdc(100_000_000)).await.unwrap();
        Self { writer: SolanaWriter::new(chain.reader().await.unwrap(), key).unwrap(), limits: LIMITS }
    }

    fn address(&self) -> Address {
        self.writer.sender()
    }

    fn deposit(&self) -> Action {
        Action::Deposit { operator_index: 1, owner: self.address(), amount: usdc(10_000_000), ceiling: Usdc::MAX }
    }

    /// What is offered, signed.
    async fn signed(&self, settlement: &Settlement, verb: &Action) -> Bytes {
        let offer = settlement.offer(self.address(), verb).await.unwrap();
        self.writer.countersign(verb, &offer).await.unwrap()
    }

    async fn take(&self, settlement: &Settlement, verb: &Action, signed: &[u8]) -> Taken {
        settlement.sponsor(self.address(), verb, signed, self.limits).await.unwrap()
    }

    /// The whole way.
    async fn done(&self, settlement: &Settlement, verb: &Action) -> (Purpose, Bytes) {
        let signed = self.signed(settlement, verb).await;
        let Taken::Queued(purpose) = self.take(settlement, verb, &signed).await else { panic!("not taken: {verb:?}") };
        settlement.wait(&purpose, SOON).await.unwrap();
        (purpose, signed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_has_a_budget_on_sqlite() {
    within_a_day_s_budget(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_has_a_budget_on_postgres() {
    within_a_day_s_budget(Kind::Postgres).await;
}

async fn within_a_day_s_budget(kind: Kind) {
    let Some(database) = Empty::of(kind).await else { return };
    let chain = SolanaLocal::start(Duration::from_millis(50)).await.expect("Surfpool starts: run `npm ci` first");
    let reader: Arc<dyn ChainReader> = chain.reader().await.unwrap();
    let (writer, identity) = operator_on(&chain, &*reader).await;
    let config = LedgerConfig { url: database.url.clone(), ..trusting() };
    let ledger = Ledger::open(&config, identity).await.unwrap();
    let stop = CancellationToken::new();
    let (settlement, task) =
        Settlement::start(ledger.clone(), reader.clone(), Arc::new(writer), quick(), stop.clone()).await.unwrap();
    let has = || async { chain.reader().await.unwrap().lamports(chain.signer(OPERATOR).address()).await.unwrap() };
    let (first, second) = (Poor::new(&chain, 71).await, Poor::new(&chain, 72).await);

    let before = has().await;
    let (purpose, signed) = first.done(&settlement, &first.deposit()).await;
    assert_eq!(before - has().await, RENT + 10_000);
    let account = account_of(&ledger, first.address()).await;
    // Presented again, also spelled otherwise: the same transaction, not counted again.
    let mut respelled = signed.to_vec();
    respelled[1..65].fill(9);
    for bytes in [&signed[..], &respelled] {
        assert_eq!(first.take(&settlement, &first.deposit(), bytes).await, Taken::Queued(purpose.clone()));
    }
    assert_eq!(before - has().await, RENT + 10_000);

    // What does not fit the verb, or would not pass, costs nothing and counts for nothing.
    let delegate = Action::SetDelegate { account, delegate: Some(second.address()) };
    let clear = Action::SetDelegate { account, delegate: None };
    let signed = first.signed(&settlement, &delegate).await;
    for _ in 0..LIMITS.per_owner {
        let refused = settlement.sponsor(first.address(), &clear, &signed, LIMITS).await;
        assert!(matches!(&refused, Err(SettlementError::Chain(ChainError::Reverted { .. }))), "{refused:?}");
        let refused = settlement.sponsor(second.address(), &delegate, &signed, LIMITS).await;
        assert!(matches!(&refused, Err(SettlementError::Chain(ChainError::Rejected(_)))), "{refused:?}");
    }
    assert_eq!(before - has().await, RENT + 10_000);

    first.done(&settlement, &delegate).await;
    let top_up = Action::TopUp { account, amount: usdc(1_000_000), ceiling: Usdc::ZERO };
    first.done(&settlement, &top_up).await;
    // Half of the budget is for deposits, and it is used up; for the way out there is enough.
    let late = second.signed(&settlement, &second.deposit()).await;
    assert_eq!(second.take(&settlement, &second.deposit(), &late).await, Taken::BudgetUsedUp);
    let out = Action::RequestRefund { account };
    first.done(&settlement, &out).await;
    let signed = first.signed(&settlement, &clear).await;
    assert_eq!(first.take(&settlement, &clear, &signed).await, Taken::OwnerHadEnough);
    assert_eq!(before - has().await, RENT + 4 * 10_000);
    assert!(reader.account(account).await.unwrap().unwrap().refundable_at.is_some());
    stop.cancel();
    task.await.unwrap();
}

/// Nobody can sign it anew but its owner: one that never landed is given up, and the next one is another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_runs_out_is_given_up_and_the_next_one_lands() {
    let Some(database) = Empty::of(Kind::Sqlite).await else { return };
    let chain = SolanaLocal::start(Duration::from_millis(20)).await.expect("Surfpool starts: run `npm ci` first");
    let reader: Arc<dyn ChainReader> = chain.reader().await.unwrap();
    let (inner, identity) = operator_on(&chain, &*reader).await;
    let config = LedgerConfig { url: database.url.clone(), ..trusting() };
    let ledger = Ledger::open(&config, identity).await.unwrap();
    let (stop, signed) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let writer = Arc::new(Forgetful { inner, signed: Arc::clone(&signed) });
    let settings = compute_futures_relayer::settlement::SettlementConfig {
        follow: compute_futures_relayer::follow::FollowConfig { range: 100, window: 8 },
        ..quick()
    };
    let (settlement, task) =
        Settlement::start(ledger.clone(), reader.clone(), writer, settings, stop.clone()).await.unwrap();
    let mut owner = Poor::new(&chain, 73).await;
    // What was taken counts, whatever became of it.
    owner.limits.per_day *= 2;
    let dropped = owner.signed(&settlement, &owner.deposit()).await;
    let Taken::Queued(purpose) = owner.take(&settlement, &owner.deposit(), &dropped).await else { panic!("not taken") };
    let given_up = settlement.wait(&purpose, Duration::from_secs(60)).await;
    assert!(matches!(&given_up, Err(SettlementError::Refused { .. })), "{given_up:?}");
    owner.done(&settlement, &owner.deposit()).await;
    assert_eq!(signed.load(Ordering::SeqCst), 2);
    assert_eq!(reader.token_balance(owner.address(), None).await.unwrap(), usdc(90_000_000), "deposited once");
    stop.cancel();
    task.await.unwrap();
}
