//! The chain in memory, with a token's nonces and contract wallets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use compute_futures_chain::{AccountOnChain, BlockRef, ChainError, ChainEvent, ChainReader, Heads, OperatorOnChain};
use compute_futures_protocol::{AccountId, Address, B256, Chain, DepositTerms, Domain, Terms, TransactionId, Usdc};
use compute_futures_relayer::test_util::fake_chain::FakeChain;

/// The token's EIP-3009 nonces: used in a transaction, or cancelled (`None`).
type Nonces = HashMap<(Address, B256), Option<TransactionId>>;

/// The chain in memory, with a token and contract wallets.
pub struct TokenChain {
    pub inner: Arc<FakeChain>,
    pub nonces: Mutex<Nonces>,
    /// Contract wallets accept exactly these bytes.
    pub wallets: Mutex<HashMap<Address, Vec<u8>>>,
    /// How often a signature was taken to the chain.
    pub asked: AtomicUsize,
}

#[async_trait]
impl ChainReader for TokenChain {
    fn chain(&self) -> Chain {
        self.inner.chain()
    }
    fn domain(&self) -> Domain {
        self.inner.domain()
    }
    fn contract(&self) -> Address {
        self.inner.contract()
    }
    fn token(&self) -> Address {
        self.inner.token()
    }
    fn deployment_block(&self) -> u64 {
        0
    }
    async fn heads(&self) -> Result<Heads, ChainError> {
        self.inner.heads().await
    }
    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.inner.block(number).await
    }
    async fn events(&self, from: u64, to: u64) -> Result<Vec<ChainEvent>, ChainError> {
        self.inner.events(from, to).await
    }
    async fn account(&self, id: AccountId) -> Result<Option<AccountOnChain>, ChainError> {
        self.inner.account(id).await
    }
    async fn operator(&self, index: u32) -> Result<Option<OperatorOnChain>, ChainError> {
        self.inner.operator(index).await
    }
    async fn operator_index_of(&self, operator: Address) -> Result<Option<u32>, ChainError> {
        self.inner.operator_index_of(operator).await
    }
    async fn terms(&self, index: u32, version: u32) -> Result<Option<Terms>, ChainError> {
        self.inner.terms(index, version).await
    }
    fn deposit_address(&self, terms: &DepositTerms) -> Result<Address, ChainError> {
        self.inner.deposit_address(terms)
    }
    async fn account_of_deposit_address(&self, address: Address) -> Result<Option<AccountId>, ChainError> {
        self.inner.account_of_deposit_address(address).await
    }
    async fn token_balance(&self, holder: Address, block: Option<u64>) -> Result<Usdc, ChainError> {
        self.inner.token_balance(holder, block).await
    }
    async fn payment_used(&self, authorizer: Address, nonce: B256) -> Result<bool, ChainError> {
        Ok(self.nonces.lock().unwrap().contains_key(&(authorizer, nonce)))
    }
    async fn payment_transaction(
        &self,
        authorizer: Address,
        nonce: B256,
        _: u64,
    ) -> Result<Option<TransactionId>, ChainError> {
        Ok(self.nonces.lock().unwrap().get(&(authorizer, nonce)).copied().flatten())
    }
    async fn is_valid_signature(&self, signer: Address, digest: B256, signature: &[u8]) -> Result<bool, ChainError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(accepted) = self.wallets.lock().unwrap().get(&signer) {
            return Ok(accepted == signature);
        }
        Ok(compute_futures_protocol::recover(digest, signature).is_ok_and(|found| found == signer))
    }
    async fn verify_receipt(&self, index: u32, batch: u64, hash: B256, proof: &[B256]) -> Result<bool, ChainError> {
        self.inner.verify_receipt(index, batch, hash, proof).await
    }
    async fn batch_root(&self, index: u32, batch: u64) -> Result<Option<B256>, ChainError> {
        self.inner.batch_root(index, batch).await
    }
}
