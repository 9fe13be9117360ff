//! The chain as the relayer sees it: a node to read from and to send to.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use compute_futures_chain::{
    AccountOnChain, Action, BlockRef, ChainError, ChainEvent, ChainReader, ChainWriter, Fees, Heads, Lifetime,
    OperatorOnChain, Progress, SignedTransaction, TransactionOutcome,
};
use compute_futures_protocol::{
    AccountId, Address, B256, Bytes, Chain, DepositTerms, Domain, Terms, TransactionId, Usdc, keccak256,
};

use super::contract::execute;
use super::{CONTRACT, FakeChain, OPERATOR};

#[async_trait]
impl ChainReader for FakeChain {
    fn chain(&self) -> Chain {
        Chain::Base
    }

    fn domain(&self) -> Domain {
        Domain::evm(8453, CONTRACT)
    }

    fn contract(&self) -> Address {
        CONTRACT.into()
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

    fn deposit_address(&self, terms: &DepositTerms) -> Result<Address, ChainError> {
        Ok(compute_futures_protocol::deposit_address(CONTRACT, CONTRACT, terms).into())
    }

    async fn account_of_deposit_address(&self, _: Address) -> Result<Option<AccountId>, ChainError> {
        Ok(None)
    }

    async fn token_balance(&self, _: Address, _: Option<u64>) -> Result<Usdc, ChainError> {
        Ok(Usdc::ZERO)
    }

    async fn payment_used(&self, _: Address, _: B256) -> Result<bool, ChainError> {
        Ok(false)
    }

    async fn payment_transaction(&self, _: Address, _: B256, _: u64) -> Result<Option<TransactionId>, ChainError> {
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

    async fn progress(&self) -> Result<Progress, ChainError> {
        self.up()?;
        Ok(Progress::NextNonce(self.nonce()))
    }

    async fn lifetime(&self, progress: Progress) -> Result<Lifetime, ChainError> {
        match progress {
            Progress::NextNonce(next) => Ok(Lifetime::Nonce(next)),
            Progress::BlockHeight(_) => Err(ChainError::Config("this chain has nonces".into())),
        }
    }

    async fn suggest_fees(&self) -> Result<Fees, ChainError> {
        self.up()?;
        Ok(Fees { max_fee: 100, max_priority_fee: 10 })
    }

    async fn estimate(&self, action: &Action) -> Result<u64, ChainError> {
        self.up()?;
        if matches!(action, Action::PostDebits { .. }) && self.batches_stuck.load(Ordering::SeqCst) {
            return Err(ChainError::Unavailable("batches are stuck".into()));
        }
        let mut state = self.inner().blocks.last().unwrap().state.clone();
        execute(&mut state, action).map(|_| 100_000)
    }

    fn sign(
        &self,
        action: &Action,
        lifetime: Lifetime,
        gas_limit: u64,
        fees: Fees,
    ) -> Result<SignedTransaction, ChainError> {
        let validity = lifetime.validity();
        let raw = Bytes::from(serde_json::to_vec(&(action, validity.nonce(), gas_limit, fees)).unwrap());
        Ok(SignedTransaction { id: keccak256(&raw).into(), raw, validity, fees })
    }

    async fn broadcast(&self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        self.up()?;
        if self.swallow.load(Ordering::SeqCst) {
            return Ok(());
        }
        {
            let mut inner = self.inner();
            let state = &inner.blocks.last().unwrap().state;
            if state.outcomes.contains_key(&transaction.id) {
                return Ok(());
            }
            let nonce = transaction.validity.nonce().unwrap();
            if nonce < state.nonce {
                return Err(ChainError::Rejected("nonce too low".into()));
            }
            if let Some((present, _)) = inner.mempool.get(&nonce)
                && present.id != transaction.id
                && transaction.fees.max_fee < present.fees.max_fee * 110 / 100
            {
                return Err(ChainError::Rejected("replacement transaction underpriced".into()));
            }
            let (action, ..): (Action, Option<u64>, u64, Fees) = serde_json::from_slice(&transaction.raw).unwrap();
            inner.mempool.insert(nonce, (transaction.clone(), action));
        }
        if self.automine.load(Ordering::SeqCst) {
            self.mine();
        }
        Ok(())
    }

    async fn outcome(&self, transaction: TransactionId) -> Result<Option<TransactionOutcome>, ChainError> {
        self.up()?;
        Ok(self.inner().blocks.last().and_then(|block| block.state.outcomes.get(&transaction).cloned()))
    }

    async fn execute(&self, _: &Action) -> Result<(TransactionId, TransactionOutcome), ChainError> {
        Err(ChainError::Config("the fake chain has no users' verbs; call its methods".into()))
    }
}
