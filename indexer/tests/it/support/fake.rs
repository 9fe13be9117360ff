//! A chain in memory that can be mined, reorganised, broken and slowed down at will.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use alloy::primitives::address;
use async_trait::async_trait;
use compute_futures_chain::solana::usdc_mint;
use compute_futures_chain::{
    AccountOnChain, BlockRef, ChainError, ChainEvent, ChainReader, EventKind, EventMeta, Heads, OperatorOnChain,
    market::MarketEvent,
};
use compute_futures_protocol::{
    AccountId, Address, B256, Chain, DepositTerms, Domain, EvmAddress, SolanaAddress, Terms, TransactionId, Usdc,
    keccak256, signer_among,
};

use super::{
    market::{Market, escrow_contract},
    world::{Dice, World, somebody},
};

pub const CONTRACT: EvmAddress = address!("0x00000000000000000000000000000000000000c0");
pub const PROGRAM: SolanaAddress = SolanaAddress::from_str_const("5jnhrJfXCuMBJvXDa8HKtCY4wMpjVXRXvoVHaPzzQq3g");
pub const TOKEN: EvmAddress = address!("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
pub const GENESIS_TIME: u64 = 1_790_000_000;

#[derive(Clone)]
struct Block {
    header: BlockRef,
    events: Vec<ChainEvent>,
    market_events: Vec<ChainEvent<MarketEvent>>,
    market: Market,
    /// The state after it.
    world: World,
}

/// Changes an answer on its way out.
type Distort = Box<dyn Fn(&mut Vec<ChainEvent>) + Send>;

pub struct FakeChain {
    pub chain: Chain,
    /// What the RPC makes of an answer about events.
    pub distort: Mutex<Option<Distort>>,
    blocks: Mutex<Vec<Block>>,
    pub finalized_depth: u64,
    pub safe_depth: u64,
    pub down: AtomicBool,
    pub missing_tokens: AtomicU64,
    pub payments: Mutex<HashSet<(Address, B256)>>,
    /// Payments that only the chain's history knows of.
    pub old_payments: Mutex<HashSet<(Address, B256)>>,
    pub market_deployed: u64,
    salt: AtomicU64,
}

impl FakeChain {
    pub fn new(finalized_depth: u64) -> Self {
        Self::on(Chain::Base, finalized_depth)
    }

    pub fn on(chain: Chain, finalized_depth: u64) -> Self {
        let genesis = Block {
            header: header(0, B256::ZERO, 0),
            events: Vec::new(),
            market_events: Vec::new(),
            market: Market::default(),
            world: World::on(chain),
        };
        Self {
            chain,
            distort: Mutex::default(),
            blocks: Mutex::new(vec![genesis]),
            finalized_depth,
            safe_depth: finalized_depth / 2,
            down: AtomicBool::new(false),
            missing_tokens: AtomicU64::new(0),
            payments: Mutex::default(),
            old_payments: Mutex::default(),
            market_deployed: 1,
            salt: AtomicU64::new(0),
        }
    }

    /// Mines a block with what `act` does to the world.
    pub fn mine(&self, act: impl FnOnce(&mut World, &mut Vec<EventKind>)) -> u64 {
        self.mine_both(act, |_, _, _| {})
    }

    /// Mines a block with what `act` does to the marketplace; it is told the block's time.
    pub fn trade(&self, act: impl FnOnce(u64, &mut Market, &mut Vec<MarketEvent>)) -> u64 {
        self.mine_both(|_, _| {}, act)
    }

    fn mine_both(
        &self,
        act: impl FnOnce(&mut World, &mut Vec<EventKind>),
        trade: impl FnOnce(u64, &mut Market, &mut Vec<MarketEvent>),
    ) -> u64 {
        let mut blocks = self.blocks.lock().unwrap();
        let parent = blocks.last().unwrap();
        let mut world = parent.world.clone();
        let header = header(parent.header.number + 1, parent.header.hash, self.salt.fetch_add(1, Ordering::Relaxed));
        let mut market = parent.market.clone();
        let (mut kinds, mut traded) = (Vec::new(), Vec::new());
        act(&mut world, &mut kinds);
        trade(header.timestamp, &mut market, &mut traded);
        let meta = |index: usize| EventMeta {
            block_number: header.number,
            block_hash: header.hash,
            block_timestamp: header.timestamp,
            transaction: transaction(self.chain, header.hash, u8::try_from(index % 3).unwrap()),
            // Other contracts log too.
            log_index: index as u64 * 2 + 1,
        };
        // Solana counts the marketplace's events alone.
        let before = if self.chain.evm_chain_id().is_some() { kinds.len() } else { 0 };
        let event = |(index, kind)| ChainEvent { meta: meta(index + before), kind };
        let market_events = traded.into_iter().enumerate().map(event).collect();
        let event = |(index, kind)| ChainEvent { meta: meta(index), kind };
        let events = kinds.into_iter().enumerate().map(event).collect();
        blocks.push(Block { header, events, market_events, market, world });
        header.number
    }

    /// A slot without a block, as Solana has them: it stands for the block before it.
    pub fn skip(&self) {
        let mut blocks = self.blocks.lock().unwrap();
        let mut skipped = blocks.last().unwrap().clone();
        skipped.header.number += 1;
        skipped.header.parent_hash = skipped.header.hash;
        skipped.events.clear();
        skipped.market_events.clear();
        blocks.push(skipped);
    }

    /// Mines random blocks.
    pub fn mine_random(&self, dice: &mut Dice, blocks: u64) {
        for _ in 0..blocks {
            if self.chain.evm_chain_id().is_none() && dice.roll(4) == 0 {
                (0..=dice.roll(3)).for_each(|_| self.skip());
            }
            self.mine(|world, events| some(dice, world, events));
        }
    }

    /// As [`FakeChain::mine_random`], with what happens on the marketplace.
    pub fn trade_random(&self, dice: &mut Dice, blocks: u64) {
        for _ in 0..blocks {
            if self.chain.evm_chain_id().is_none() && dice.roll(4) == 0 {
                (0..=dice.roll(3)).for_each(|_| self.skip());
            }
            let mut second = Dice(dice.roll(u64::MAX));
            let trade = |now, market: &mut Market, events: &mut Vec<MarketEvent>| {
                for _ in 0..second.roll(6) {
                    market.act(self.chain, &mut second, now, events);
                }
            };
            self.mine_both(|world, events| some(dice, world, events), trade);
        }
    }

    pub fn market(&self) -> Market {
        self.blocks.lock().unwrap().last().unwrap().market.clone()
    }

    pub async fn market_events(&self, from: u64, to: u64) -> Result<Vec<ChainEvent<MarketEvent>>, ChainError> {
        self.up()?;
        tokio::task::yield_now().await;
        let blocks = self.blocks.lock().unwrap();
        let wanted = blocks.iter().filter(|block| (from..=to).contains(&block.header.number));
        Ok(wanted.flat_map(|block| block.market_events.iter().cloned()).collect())
    }

    /// Changes what the chain says happened on the marketplace, behind the model's back.
    pub fn tamper_market(&self, change: impl Fn(&mut ChainEvent<MarketEvent>)) {
        self.blocks.lock().unwrap().iter_mut().flat_map(|block| &mut block.market_events).for_each(change);
    }

    /// Takes the newest blocks away.
    pub fn drop_blocks(&self, depth: u64) {
        let mut blocks = self.blocks.lock().unwrap();
        let keep = blocks.len() - usize::try_from(depth).unwrap();
        blocks.truncate(keep.max(1));
    }

    pub fn height(&self) -> u64 {
        self.blocks.lock().unwrap().last().unwrap().header.number
    }

    pub fn world(&self) -> World {
        self.blocks.lock().unwrap().last().unwrap().world.clone()
    }

    /// Changes what the chain says happened, behind the model's back.
    pub fn tamper(&self, change: impl Fn(&mut ChainEvent)) {
        self.blocks.lock().unwrap().iter_mut().flat_map(|block| &mut block.events).for_each(change);
    }

    fn up(&self) -> Result<(), ChainError> {
        if self.down.load(Ordering::Relaxed) { Err(ChainError::Unavailable("down for a test".into())) } else { Ok(()) }
    }
}

/// Up to three verbs of the contract.
fn some(dice: &mut Dice, world: &mut World, events: &mut Vec<EventKind>) {
    let time = GENESIS_TIME + dice.roll(1000);
    for _ in 0..dice.roll(4) {
        world.act(dice, time, events);
    }
}

fn header(number: u64, parent_hash: B256, salt: u64) -> BlockRef {
    let hash = keccak256([parent_hash.as_slice(), &number.to_be_bytes(), &salt.to_be_bytes()].concat());
    BlockRef { number, hash, parent_hash, timestamp: GENESIS_TIME + number * 2 }
}

/// The `number`-th transaction of a block, in the form of the chain's.
fn transaction(chain: Chain, block: B256, number: u8) -> TransactionId {
    let hash = keccak256([block.as_slice(), &[number]].concat());
    match chain.evm_chain_id() {
        Some(_) => hash.into(),
        None => TransactionId::Solana([hash.0, hash.0].concat().try_into().unwrap()),
    }
}

#[async_trait]
impl ChainReader for FakeChain {
    fn chain(&self) -> Chain {
        self.chain
    }

    fn domain(&self) -> Domain {
        Domain::new(self.chain, self.contract()).unwrap()
    }

    fn contract(&self) -> Address {
        if self.chain.evm_chain_id().is_some() { CONTRACT.into() } else { PROGRAM.into() }
    }

    fn token(&self) -> Address {
        usdc_mint(self.chain).map_or(TOKEN.into(), Address::from)
    }

    fn deployment_block(&self) -> u64 {
        1
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        self.up()?;
        let latest = self.blocks.lock().unwrap().last().unwrap().header;
        let (safe, finalized) =
            (latest.number.saturating_sub(self.safe_depth), latest.number.saturating_sub(self.finalized_depth));
        Ok(Heads { latest, safe, finalized })
    }

    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.up()?;
        tokio::task::yield_now().await;
        Ok(self.blocks.lock().unwrap().get(usize::try_from(number).unwrap()).map(|block| block.header))
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<ChainEvent>, ChainError> {
        self.up()?;
        tokio::task::yield_now().await;
        let blocks = self.blocks.lock().unwrap();
        let wanted = blocks.iter().filter(|block| (from..=to).contains(&block.header.number));
        let mut events = wanted.flat_map(|block| block.events.iter().cloned()).collect();
        if let Some(distort) = &*self.distort.lock().unwrap() {
            distort(&mut events);
        }
        Ok(events)
    }

    async fn account(&self, id: AccountId) -> Result<Option<AccountOnChain>, ChainError> {
        self.up()?;
        // Solana deletes closed accounts.
        let deleted = |closed: bool| closed && self.chain.evm_chain_id().is_none();
        let world = self.world();
        Ok(world.accounts.get(&id).filter(|account| !deleted(account.closed)).map(|account| AccountOnChain {
            id,
            owner: account.owner,
            delegate: account.delegate,
            state: account.state,
            refundable_at: account.refundable_at,
            terms_version: account.terms_version,
            closed: account.closed,
        }))
    }

    async fn operator(&self, index: u32) -> Result<Option<OperatorOnChain>, ChainError> {
        Ok(self.world().operators.get(index as usize - 1).map(|operator| OperatorOnChain {
            index,
            operator: operator.address,
            terms_version: u32::try_from(operator.terms.len()).unwrap(),
            last_sequence: operator.last_sequence,
            last_batch: operator.last_batch,
            earnings: Usdc::from_micros(operator.earnings),
        }))
    }

    async fn operator_index_of(&self, operator: Address) -> Result<Option<u32>, ChainError> {
        let position = self.world().operators.iter().position(|o| o.address == operator);
        Ok(position.map(|position| u32::try_from(position).unwrap() + 1))
    }

    async fn terms(&self, operator_index: u32, version: u32) -> Result<Option<Terms>, ChainError> {
        Ok(self
            .world()
            .operators
            .get(operator_index as usize - 1)
            .and_then(|o| o.terms.get(version as usize - 1).cloned()))
    }

    fn deposit_address(&self, _: &DepositTerms) -> Result<Address, ChainError> {
        Ok(somebody(self.chain, 0xdd))
    }

    async fn account_of_deposit_address(&self, _: Address) -> Result<Option<AccountId>, ChainError> {
        Ok(None)
    }

    async fn token_balance(&self, holder: Address, block: Option<u64>) -> Result<Usdc, ChainError> {
        self.up()?;
        let number = block.unwrap_or_else(|| self.height());
        let blocks = self.blocks.lock().unwrap();
        let block = blocks
            .get(usize::try_from(number).unwrap())
            .ok_or_else(|| ChainError::Inconsistent("no such block".into()))?;
        if holder == escrow_contract(self.chain) {
            return Ok(Usdc::from_micros(block.market.balance - self.missing_tokens.load(Ordering::Relaxed)));
        }
        Ok(Usdc::from_micros(block.world.balance - self.missing_tokens.load(Ordering::Relaxed)))
    }

    async fn payment_used(&self, authorizer: Address, nonce: B256) -> Result<bool, ChainError> {
        Ok(self.payments.lock().unwrap().contains(&(authorizer, nonce)))
    }

    async fn payment_transaction(
        &self,
        payer: Address,
        nonce: B256,
        seconds_back: u64,
    ) -> Result<Option<TransactionId>, ChainError> {
        let known = self.old_payments.lock().unwrap().contains(&(payer, nonce));
        Ok((known && seconds_back > 300).then(|| transaction(self.chain, nonce, 0)))
    }

    async fn is_valid_signature(&self, signer: Address, digest: B256, signature: &[u8]) -> Result<bool, ChainError> {
        Ok(signer_among(digest, signature, &[signer]).is_ok())
    }

    async fn verify_receipt(&self, _: u32, _: u64, _: B256, _: &[B256]) -> Result<bool, ChainError> {
        Ok(false)
    }

    async fn batch_root(&self, _: u32, _: u64) -> Result<Option<B256>, ChainError> {
        Ok(None)
    }
}
