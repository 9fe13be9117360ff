//! The contract in memory: the same verbs, events and money rules (they come from `protocol`), with blocks, a mempool and
//! reorgs. For state-machine tests; end-to-end tests use a real node.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy::primitives::{Address, B256, Bytes, keccak256};
use async_trait::async_trait;
use compute_futures_chain::{
    AccountOnChain, Action, BlockRef, ChainError, ChainEvent, ChainReader, ChainWriter, EventKind, EventMeta, Fees,
    Heads, OperatorOnChain, SignedTransaction, TransactionOutcome,
};
use compute_futures_protocol::{AccountId, AccountState, Chain, DepositTerms, DiscountFloor, Terms, Usdc};

/// Index of the only operator.
pub const OPERATOR: u32 = 1;
/// Address of the contract.
pub const CONTRACT: Address = Address::repeat_byte(0xcf);
/// Seconds between two blocks.
const BLOCK_SECONDS: u64 = 2;

/// State of the contract after a block.
#[derive(Debug, Clone, Default)]
struct State {
    accounts: BTreeMap<AccountId, AccountOnChain>,
    roots: BTreeMap<u64, B256>,
    earnings: u64,
    nonce: u64,
    outcomes: BTreeMap<B256, TransactionOutcome>,
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
}

impl FakeChain {
    /// A chain with the operator registered under the default tiers.
    #[must_use]
    pub fn new(operator: Address) -> Self {
        let terms = Terms {
            refund_delay: 3600,
            minimum_deposit: Usdc::from_micros(1),
            rate_card_hash: B256::ZERO,
            tiers: Terms::default_tiers(),
        };
        let chain = Self {
            operator,
            terms: terms.clone(),
            inner: Mutex::default(),
            down: AtomicBool::new(false),
            swallow: AtomicBool::new(false),
            automine: AtomicBool::new(true),
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
        push_block(&mut inner, state, vec![(hash, events)]);
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
            state.outcomes.insert(transaction.hash, outcome);
            transactions.push((transaction.hash, done.unwrap_or_default()));
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

fn push_block(inner: &mut Inner, state: State, transactions: Vec<(B256, Vec<EventKind>)>) {
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

fn refuse<T>(name: &str) -> Result<T, ChainError> {
    Err(ChainError::Reverted { name: format!("ComputeFutures_{name}"), detail: String::new() })
}

/// What the contract does.
fn execute(state: &mut State, action: &Action) -> Result<Vec<EventKind>, ChainError> {
    match action {
        Action::Noop => Ok(Vec::new()),
        Action::PostDebits { batch_number, receipts_root, receipt_count, rows } => {
            let last = state.roots.keys().next_back().copied().unwrap_or(0);
            if *batch_number != last + 1 {
                return refuse("WrongBatchNumber");
            }
            let mut events = Vec::new();
            let mut total = 0;
            for row in rows {
                let Some(account) = state.accounts.get_mut(&row.account) else {
                    events.push(EventKind::DebitShortfall {
                        account: row.account,
                        batch_number: *batch_number,
                        list_amount: row.list_amount,
                        uncovered: row.list_amount,
                    });
                    continue;
                };
                let outcome = account.state.debit(row.list_amount, row.discount_bps, *batch_number);
                total += outcome.charged.micros();
                if !outcome.charged.is_zero() || outcome.uncovered.is_zero() {
                    events.push(EventKind::Debited {
                        account: row.account,
                        batch_number: *batch_number,
                        list_amount: row.list_amount,
                        discount_bps: outcome.discount_bps,
                        charged: outcome.charged,
                        total_charged: account.state.charged,
                        remainder: account.state.remainder,
                    });
                }
                if !outcome.uncovered.is_zero() {
                    events.push(EventKind::DebitShortfall {
                        account: row.account,
                        batch_number: *batch_number,
                        list_amount: row.list_amount,
                        uncovered: outcome.uncovered,
                    });
                }
            }
            state.roots.insert(*batch_number, *receipts_root);
            state.earnings += total;
            events.push(EventKind::BatchPosted {
                operator_index: OPERATOR,
                batch_number: *batch_number,
                receipts_root: *receipts_root,
                receipt_count: *receipt_count,
                row_count: u32::try_from(rows.len()).unwrap(),
                charged: Usdc::from_micros(total),
            });
            Ok(events)
        }
        Action::CloseAccount { account: id } => {
            let Some(account) = state.accounts.get_mut(id) else { return refuse("UnknownAccount") };
            if account.closed {
                return refuse("AccountClosed");
            }
            let amount = account.state.close();
            account.closed = true;
            Ok(vec![EventKind::Refunded { account: *id, owner: account.owner, amount, by_operator: true }])
        }
        Action::RaiseCeilingWithSignature { account: id, ceiling, .. } => {
            let Some(account) = state.accounts.get_mut(id) else { return refuse("UnknownAccount") };
            if account.closed {
                return refuse("AccountClosed");
            }
            if account.state.raise_ceiling(*ceiling).is_err() {
                return refuse("CeilingNotRaised");
            }
            Ok(vec![EventKind::CeilingRaised { account: *id, signer: account.owner, ceiling: *ceiling }])
        }
        Action::WithdrawEarnings { to, amount } => {
            let Some(left) = state.earnings.checked_sub(amount.micros()) else { return refuse("InsufficientEarnings") };
            state.earnings = left;
            Ok(vec![EventKind::EarningsWithdrawn { operator_index: OPERATOR, to: *to, amount: *amount }])
        }
        _ => refuse("NotModelled"),
    }
}

#[async_trait]
impl ChainReader for FakeChain {
    fn chain(&self) -> Chain {
        Chain::Base
    }

    fn contract(&self) -> Address {
        CONTRACT
    }

    fn token(&self) -> Address {
        Address::repeat_byte(0x5d)
    }

    fn deployment_block(&self) -> u64 {
        0
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        self.up()?;
        let inner = self.inner();
        let latest = inner.blocks.last().unwrap().block;
        let finalized = inner.finalized.unwrap_or(latest.number).min(latest.number);
        Ok(Heads { latest, safe: inner.safe.unwrap_or(latest.number).min(latest.number), finalized })
    }

    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.up()?;
        Ok(self.inner().blocks.get(usize::try_from(number).unwrap()).map(|block| block.block))
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<ChainEvent>, ChainError> {
        self.up()?;
        let inner = self.inner();
        let blocks = inner.blocks.iter().filter(|block| (from..=to).contains(&block.block.number));
        Ok(blocks.flat_map(|block| block.events.clone()).collect())
    }

    async fn account(&self, id: AccountId) -> Result<Option<AccountOnChain>, ChainError> {
        self.up()?;
        Ok(self.account_now(id))
    }

    async fn operator(&self, index: u32) -> Result<Option<OperatorOnChain>, ChainError> {
        self.up()?;
        Ok((index == OPERATOR).then(|| OperatorOnChain {
            index,
            operator: self.operator,
            terms_version: 1,
            last_sequence: 0,
            last_batch: self.last_batch(),
            earnings: Usdc::from_micros(self.earnings()),
        }))
    }

    async fn operator_index_of(&self, operator: Address) -> Result<Option<u32>, ChainError> {
        Ok((operator == self.operator).then_some(OPERATOR))
    }

    async fn terms(&self, _: u32, _: u32) -> Result<Option<Terms>, ChainError> {
        Ok(Some(self.terms.clone()))
    }

    fn deposit_address(&self, terms: &DepositTerms) -> Address {
        compute_futures_protocol::deposit_address(CONTRACT, CONTRACT, terms)
    }

    async fn account_of_deposit_address(&self, _: Address) -> Result<Option<AccountId>, ChainError> {
        Ok(None)
    }

    async fn token_balance(&self, _: Address, _: Option<u64>) -> Result<Usdc, ChainError> {
        Ok(Usdc::ZERO)
    }

    async fn authorization_used(&self, _: Address, _: B256) -> Result<bool, ChainError> {
        Ok(false)
    }

    async fn authorization_transaction(&self, _: Address, _: B256, _: u64) -> Result<Option<B256>, ChainError> {
        Ok(None)
    }

    async fn is_valid_signature(&self, _: Address, _: B256, _: &[u8]) -> Result<bool, ChainError> {
        Ok(true)
    }

    async fn verify_receipt(&self, _: u32, batch: u64, receipt: B256, proof: &[B256]) -> Result<bool, ChainError> {
        let root = self.batch_root(OPERATOR, batch).await?;
        Ok(root.is_some_and(|root| compute_futures_protocol::verify(root, receipt, proof)))
    }

    async fn batch_root(&self, _: u32, batch: u64) -> Result<Option<B256>, ChainError> {
        self.up()?;
        Ok(self.inner().blocks.last().and_then(|block| block.state.roots.get(&batch).copied()))
    }
}

#[async_trait]
impl ChainWriter for FakeChain {
    fn sender(&self) -> Address {
        self.operator
    }

    async fn nonce_floor(&self) -> Result<u64, ChainError> {
        self.up()?;
        Ok(self.nonce())
    }

    async fn suggest_fees(&self) -> Result<Fees, ChainError> {
        self.up()?;
        Ok(Fees { max_fee: 100, max_priority_fee: 10 })
    }

    async fn estimate(&self, action: &Action) -> Result<u64, ChainError> {
        self.up()?;
        let mut state = self.inner().blocks.last().unwrap().state.clone();
        execute(&mut state, action).map(|_| 100_000)
    }

    fn sign(&self, action: &Action, nonce: u64, gas_limit: u64, fees: Fees) -> Result<SignedTransaction, ChainError> {
        let raw = Bytes::from(serde_json::to_vec(&(action, nonce, gas_limit, fees)).unwrap());
        Ok(SignedTransaction { hash: keccak256(&raw), raw, nonce, fees })
    }

    async fn broadcast(&self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        self.up()?;
        if self.swallow.load(Ordering::SeqCst) {
            return Ok(());
        }
        {
            let mut inner = self.inner();
            let state = &inner.blocks.last().unwrap().state;
            if state.outcomes.contains_key(&transaction.hash) {
                return Ok(());
            }
            if transaction.nonce < state.nonce {
                return Err(ChainError::Rejected("nonce too low".into()));
            }
            if let Some((present, _)) = inner.mempool.get(&transaction.nonce)
                && present.hash != transaction.hash
                && transaction.fees.max_fee < present.fees.max_fee * 110 / 100
            {
                return Err(ChainError::Rejected("replacement transaction underpriced".into()));
            }
            let (action, ..): (Action, u64, u64, Fees) = serde_json::from_slice(&transaction.raw).unwrap();
            inner.mempool.insert(transaction.nonce, (transaction.clone(), action));
        }
        if self.automine.load(Ordering::SeqCst) {
            self.mine();
        }
        Ok(())
    }

    async fn outcome(&self, hash: B256) -> Result<Option<TransactionOutcome>, ChainError> {
        self.up()?;
        Ok(self.inner().blocks.last().and_then(|block| block.state.outcomes.get(&hash).cloned()))
    }

    async fn execute(&self, _: &Action) -> Result<(B256, TransactionOutcome), ChainError> {
        Err(ChainError::Config("the fake chain has no users' verbs; call its methods".into()))
    }
}
