//! The contract in memory: the same verbs, events and money rules (they come from `protocol`), with blocks, a mempool and
//! reorgs. For state-machine tests; end-to-end tests use a real node.

mod contract;
mod node;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use compute_futures_chain::{
    AccountOnChain, Action, BlockRef, ChainError, ChainEvent, EventKind, EventMeta, SignedTransaction,
    TransactionOutcome,
};
use compute_futures_protocol::{
    AccountId, AccountState, Address, B256, DiscountFloor, EvmAddress, JobKind, ModelRate, RateCard, Terms,
    TransactionId, Usdc, keccak256,
};

use self::contract::execute;

/// Index of the only operator.
pub const OPERATOR: u32 = 1;
/// Address of the contract.
pub const CONTRACT: EvmAddress = EvmAddress::repeat_byte(0xcf);
/// Seconds between two blocks.
const BLOCK_SECONDS: u64 = 2;

/// The rate card that the operator's terms name.
#[must_use]
pub fn rate_card() -> RateCard {
    let model = ModelRate {
        per_call: Usdc::from_micros(10_000),
        ..ModelRate::of("local/extractive-summary", JobKind::TextInference)
    };
    let film = ModelRate { per_call: Usdc::from_micros(100_000), ..ModelRate::of("film", JobKind::VideoGeneration) };
    RateCard { version: 1, operator: None, models: vec![model, film], gates: BTreeMap::new() }
}

/// State of the contract after a block.
#[derive(Debug, Clone, Default)]
struct State {
    accounts: BTreeMap<AccountId, AccountOnChain>,
    roots: BTreeMap<u64, B256>,
    earnings: u64,
    nonce: u64,
    outcomes: BTreeMap<TransactionId, TransactionOutcome>,
}

#[derive(Debug, Clone)]
struct Block {
    block: BlockRef,
    events: Vec<ChainEvent>,
    state: State,
}

#[derive(Debug, Default)]
struct Inner {
    blocks: Vec<Block>,
    mempool: BTreeMap<u64, (SignedTransaction, Action)>,
    /// Makes replaced blocks differ from the ones they replace.
    fork: u64,
    safe: Option<u64>,
    finalized: Option<u64>,
    transactions: u64,
}

/// A chain with one operator.
#[derive(Debug)]
pub struct FakeChain {
    operator: Address,
    terms: Terms,
    inner: Mutex<Inner>,
    down: AtomicBool,
    /// Broadcasts are taken and forgotten.
    swallow: AtomicBool,
    /// Every broadcast is mined at once.
    automine: AtomicBool,
    /// Batches cannot be estimated.
    batches_stuck: AtomicBool,
}

impl FakeChain {
    /// A chain with the operator registered under the default tiers.
    #[must_use]
    pub fn new(operator: Address) -> Self {
        let terms = Terms {
            refund_delay: 3600,
            minimum_deposit: Usdc::from_micros(1),
            rate_card_hash: rate_card().hash().unwrap_or_default(),
            tiers: Terms::default_tiers(),
        };
        let chain = Self {
            operator,
            terms: terms.clone(),
            inner: Mutex::default(),
            down: AtomicBool::new(false),
            swallow: AtomicBool::new(false),
            automine: AtomicBool::new(true),
            batches_stuck: AtomicBool::new(false),
        };
        chain.user(vec![EventKind::TermsSet { operator_index: OPERATOR, operator, terms_version: 1, terms }], |_| {});
        chain
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn up(&self) -> Result<(), ChainError> {
        if self.down.load(Ordering::SeqCst) { Err(ChainError::Unavailable("switched off".into())) } else { Ok(()) }
    }

    /// Switches the node off or on.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Whether the node fails whenever it is asked about a batch.
    pub fn set_batches_stuck(&self, stuck: bool) {
        self.batches_stuck.store(stuck, Ordering::SeqCst);
    }

    /// Whether broadcasts are taken and never seen again.
    pub fn set_swallow(&self, swallow: bool) {
        self.swallow.store(swallow, Ordering::SeqCst);
    }

    /// Whether every broadcast is mined at once.
    pub fn set_automine(&self, automine: bool) {
        self.automine.store(automine, Ordering::SeqCst);
    }

    /// Fixes how far the chain counts as safe and finalized; without it every block is.
    pub fn set_finality(&self, safe: u64, finalized: u64) {
        let mut inner = self.inner();
        inner.safe = Some(safe);
        inner.finalized = Some(finalized);
    }

    /// Number of the newest block.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.inner().blocks.len() as u64 - 1
    }

    /// Transactions waiting to be mined.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner().mempool.len()
    }

    /// Mined nonces of the operator.
    #[must_use]
    pub fn nonce(&self) -> u64 {
        self.inner().blocks.last().map_or(0, |block| block.state.nonce)
    }

    /// The newest batch.
    #[must_use]
    pub fn last_batch(&self) -> u64 {
        self.inner().blocks.last().and_then(|block| block.state.roots.keys().next_back().copied()).unwrap_or(0)
    }

    /// An account as it is now.
    #[must_use]
    pub fn account_now(&self, id: AccountId) -> Option<AccountOnChain> {
        self.inner().blocks.last().and_then(|block| block.state.accounts.get(&id).cloned())
    }

    /// What the operator earned.
    #[must_use]
    pub fn earnings(&self) -> u64 {
        self.inner().blocks.last().map_or(0, |block| block.state.earnings)
    }

    /// Opens an account in a new block.
    pub fn open(&self, owner: Address, amount: u64, ceiling: u64) -> AccountId {
        let sequence = self.inner().blocks.last().map_or(0, |block| block.state.accounts.len()) + 1;
        let id = AccountId::new(OPERATOR, u32::try_from(sequence).unwrap()).unwrap();
        let (amount, ceiling) = (Usdc::from_micros(amount), Usdc::from_micros(ceiling));
        let state = AccountState::open(amount, ceiling, &self.terms).unwrap();
        let account =
            AccountOnChain { id, owner, delegate: None, state, refundable_at: None, terms_version: 1, closed: false };
        let mut events = vec![
            EventKind::AccountOpened { account: id, owner, operator_index: OPERATOR, terms_version: 1 },
            deposited(id, owner, amount, &state.discount, state.credit),
        ];
        if !ceiling.is_zero() {
            events.push(EventKind::CeilingRaised { account: id, signer: owner, ceiling });
        }
        self.user(events, move |state| {
            state.accounts.insert(id, account);
        });
        id
    }

    /// Tops an account up in a new block.
    pub fn top_up(&self, id: AccountId, amount: u64) {
        let amount = Usdc::from_micros(amount);
        let last_batch = self.last_batch();
        let mut account = self.account_now(id).unwrap();
        if account.closed {
            return;
        }
        account.state.deposit(amount, &self.terms, last_batch).unwrap();
        let event = deposited(id, account.owner, amount, &account.state.discount, account.state.credit);
        self.user(vec![event], move |state| {
            state.accounts.insert(id, account);
        });
    }

    /// Raises a ceiling in a new block.
    pub fn raise_ceiling(&self, id: AccountId, ceiling: u64) {
        let ceiling = Usdc::from_micros(ceiling);
        let mut account = self.account_now(id).unwrap();
        if account.closed || account.state.raise_ceiling(ceiling).is_err() {
            return;
        }
        let event = EventKind::CeilingRaised { account: id, signer: account.owner, ceiling };
        self.user(vec![event], move |state| {
            state.accounts.insert(id, account);
        });
    }

    /// The owner asks for a refund.
    pub fn request_refund(&self, id: AccountId) {
        let mut account = self.account_now(id).unwrap();
        let at = self.inner().blocks.last().map_or(0, |block| block.block.timestamp) + 3600;
        if account.closed || account.refundable_at.is_some() {
            return;
        }
        account.refundable_at = Some(at);
        let event = EventKind::RefundRequested { account: id, owner: account.owner, refundable_at: at };
        self.user(vec![event], move |state| {
            state.accounts.insert(id, account);
        });
    }

    /// The owner takes everything unspent, whatever the delay.
    pub fn refund(&self, id: AccountId) {
        let mut account = self.account_now(id).unwrap();
        if account.closed {
            return;
        }
        let amount = account.state.close();
        account.closed = true;
        let event = EventKind::Refunded { account: id, owner: account.owner, amount, by_operator: false };
        self.user(vec![event], move |state| {
            state.accounts.insert(id, account);
        });
    }

    /// A transaction of somebody who is not the operator, in a block of its own.
    fn user(&self, events: Vec<EventKind>, change: impl FnOnce(&mut State)) {
        let mut inner = self.inner();
        let mut state = inner.blocks.last().map(|block| block.state.clone()).unwrap_or_default();
        change(&mut state);
        inner.transactions += 1;
        let hash = keccak256(format!("user {}", inner.transactions));
        push_block(&mut inner, state, vec![(hash.into(), events)]);
    }

    /// Mines what waits, in order of nonces, as one block.
    pub fn mine(&self) {
        let mut inner = self.inner();
        let mut state = inner.blocks.last().map(|block| block.state.clone()).unwrap_or_default();
        let number = inner.blocks.len() as u64;
        let mut transactions = Vec::new();
        while let Some((transaction, action)) = inner.mempool.remove(&state.nonce) {
            state.nonce += 1;
            let done = execute(&mut state, &action);
            let outcome = TransactionOutcome {
                block_number: number,
                block_hash: B256::ZERO,
                succeeded: done.is_ok(),
                gas_used: 21_000,
                effective_fee: transaction.fees.max_fee,
            };
            state.outcomes.insert(transaction.id, outcome);
            transactions.push((transaction.id, done.unwrap_or_default()));
        }
        push_block(&mut inner, state, transactions);
    }

    /// Replaces the newest `depth` blocks by as many empty ones and one more. Their transactions are gone, also from the mempool.
    pub fn reorg(&self, depth: u64) {
        let mut inner = self.inner();
        let keep = inner.blocks.len().saturating_sub(usize::try_from(depth).unwrap()).max(1);
        let replaced = inner.blocks.len() - keep;
        inner.blocks.truncate(keep);
        inner.mempool.clear();
        inner.fork += 1;
        let state = inner.blocks.last().map(|block| block.state.clone()).unwrap_or_default();
        for _ in 0..=replaced {
            push_block(&mut inner, state.clone(), Vec::new());
        }
    }
}

fn deposited(id: AccountId, payer: Address, amount: Usdc, discount: &DiscountFloor, credit: Usdc) -> EventKind {
    EventKind::Deposited {
        account: id,
        payer,
        amount,
        credit,
        discount_bps: discount.discount_bps,
        previous_discount_bps: discount.previous_discount_bps,
        discount_from_batch: discount.discount_from_batch,
    }
}

fn push_block(inner: &mut Inner, state: State, transactions: Vec<(TransactionId, Vec<EventKind>)>) {
    let number = inner.blocks.len() as u64;
    let parent_hash = inner.blocks.last().map_or(B256::ZERO, |block| block.block.hash);
    let hash = keccak256(format!("{parent_hash}{number}{}", inner.fork));
    let timestamp = 1_700_000_000 + number * BLOCK_SECONDS;
    let mut events = Vec::new();
    for (transaction, kinds) in transactions {
        for kind in kinds {
            let meta = EventMeta {
                block_number: number,
                block_hash: hash,
                block_timestamp: timestamp,
                transaction,
                log_index: events.len() as u64,
            };
            events.push(ChainEvent { meta, kind });
        }
    }
    inner.blocks.push(Block { block: BlockRef { number, hash, parent_hash, timestamp }, events, state });
}
