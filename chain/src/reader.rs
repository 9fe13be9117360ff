//! Reading a chain: state, heads, events.

use async_trait::async_trait;
use compute_futures_protocol::{
    AccountId, AccountState, Address, B256, Chain, DepositTerms, Domain, Terms, TransactionId, Usdc,
};
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::solana::PaidTransaction;
use crate::{ChainError, ChainEvent, EventRange};

/// A block and its place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BlockRef {
    pub number: u64,
    pub hash: B256,
    pub parent_hash: B256,
    pub timestamp: u64,
}

/// The newest block and how far the chain has settled. `finalized ≤ safe ≤ latest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Heads {
    pub latest: BlockRef,
    pub safe: u64,
    pub finalized: u64,
}

/// How certain a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Finality {
    Latest,
    Safe,
    Finalized,
}

/// An account as the contract holds it now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AccountOnChain {
    pub id: AccountId,
    pub owner: Address,
    pub delegate: Option<Address>,
    pub state: AccountState,
    pub refundable_at: Option<u64>,
    pub terms_version: u32,
    pub closed: bool,
}

/// An operator as the contract holds it now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct OperatorOnChain {
    pub index: u32,
    pub operator: Address,
    pub terms_version: u32,
    pub last_sequence: u32,
    pub last_batch: u64,
    pub earnings: Usdc,
}

/// Reads one deployment of the contract on one chain. Cheap to clone behind an `Arc`; every call has a timeout and fails over
/// between the configured RPC URLs.
#[async_trait]
pub trait ChainReader: Send + Sync + 'static {
    /// Which chain this is.
    fn chain(&self) -> Chain;
    /// The deployment, as signatures name it.
    fn domain(&self) -> Domain;
    /// Address of the ComputeFutures contract (on Solana: the program).
    fn contract(&self) -> Address;
    /// Address of the USDC contract (on Solana: the mint).
    fn token(&self) -> Address;
    /// The block the contract was deployed in (following starts here).
    fn deployment_block(&self) -> u64;
    /// Newest, safe and finalized block.
    async fn heads(&self) -> Result<Heads, ChainError>;
    /// A block by number; `None` when the chain has not got that far.
    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError>;
    /// Every event of the contract in blocks `from..=to`, in order. Splits the range by itself when a provider limits it.
    async fn events(&self, from: u64, to: u64) -> Result<Vec<ChainEvent>, ChainError>;
    /// All events of blocks `from..=to` as consecutive ranges in order, of a size that suits the provider, with up to
    /// `concurrency` ranges fetched ahead: for backfills.
    ///
    /// After an error, start again behind the last range it gave. Near the newest block the chain may be reorganised between two
    /// ranges: compare block hashes there.
    fn events_stream(&self, from: u64, to: u64, concurrency: usize) -> BoxStream<'_, Result<EventRange, ChainError>> {
        const BLOCKS: usize = 1_000;
        futures::stream::iter((from..=to).step_by(BLOCKS))
            .map(move |from| async move {
                let to = to.min(from.saturating_add(BLOCKS as u64 - 1));
                let events = self.events(from, to).await?;
                Ok(EventRange { from, to, events })
            })
            .buffered(concurrency.max(1))
            .boxed()
    }
    /// The account, or `None` when it does not exist.
    async fn account(&self, id: AccountId) -> Result<Option<AccountOnChain>, ChainError>;
    /// The operator, or `None` when it never registered.
    async fn operator(&self, index: u32) -> Result<Option<OperatorOnChain>, ChainError>;
    /// Index of a registered operator's address.
    async fn operator_index_of(&self, operator: Address) -> Result<Option<u32>, ChainError>;
    /// Terms of an operator at a version.
    async fn terms(&self, operator_index: u32, version: u32) -> Result<Option<Terms>, ChainError>;
    /// Address that turns plain transfers into credit; computed locally, checked against the contract in tests.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] when the owner's address is of another chain: nobody could take back what arrives there.
    fn deposit_address(&self, terms: &DepositTerms) -> Result<Address, ChainError>;
    /// The account a deposit address feeds, once swept.
    async fn account_of_deposit_address(&self, address: Address) -> Result<Option<AccountId>, ChainError>;
    /// USDC balance of any address (base units), at the latest block or at `block`.
    async fn token_balance(&self, holder: Address, block: Option<u64>) -> Result<Usdc, ChainError>;
    /// Whether a payment that `payer` signed can move money no more, because it did or was cancelled. `nonce` is that of its
    /// EIP-3009 authorisation.
    async fn payment_used(&self, payer: Address, nonce: B256) -> Result<bool, ChainError>;
    /// The transaction in which a payment that `payer` signed moved money, in the last `seconds_back` seconds. `None` when no
    /// money moved: the nonce is unused, or it was cancelled, which [`ChainReader::payment_used`] does not tell apart.
    async fn payment_transaction(
        &self,
        payer: Address,
        nonce: B256,
        seconds_back: u64,
    ) -> Result<Option<TransactionId>, ChainError>;
    /// Height of the newest finalized block. A transaction that is valid until a lower one
    /// ([`crate::Validity::UntilBlockHeight`]) can be included no more.
    async fn block_height(&self) -> Result<u64, ChainError> {
        Ok(self.heads().await?.finalized)
    }
    /// The last block height at which any transaction that was signed until now can be included; `None` where transactions are not
    /// valid by height.
    async fn last_block_height(&self) -> Result<Option<u64>, ChainError> {
        Ok(None)
    }
    /// Who paid whom in a transaction, and keccak256 of its message. `None` while it is in no confirmed block, and on EVM chains,
    /// where nobody needs it.
    async fn transfers_in(&self, id: TransactionId) -> Result<Option<(PaidTransaction, B256)>, ChainError> {
        let _ = id;
        Ok(None)
    }
    /// Whether `signature` over `digest` is `signer`'s (ECDSA, or EIP-1271 when it has code; ed25519 on Solana).
    async fn is_valid_signature(&self, signer: Address, digest: B256, signature: &[u8]) -> Result<bool, ChainError>;
    /// `verifyReceipt` of the contract.
    async fn verify_receipt(
        &self,
        operator_index: u32,
        batch_number: u64,
        receipt_hash: B256,
        proof: &[B256],
    ) -> Result<bool, ChainError>;
    /// Root stored for a batch; `None` when not posted.
    async fn batch_root(&self, operator_index: u32, batch_number: u64) -> Result<Option<B256>, ChainError>;
}
