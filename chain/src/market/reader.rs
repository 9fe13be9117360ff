//! Reading the marketplace: state and events.

use async_trait::async_trait;
use compute_futures_protocol::market::{
    AgentState, EscrowState, EscrowTerms, MarketDomain, ProviderContent, SessionCost, SessionId, SessionStatus,
};
use compute_futures_protocol::{Address, B256, Bytes, Chain, Usdc};
use futures::stream::BoxStream;

use super::{MarketAction, MarketEvent};
use crate::{ChainError, ChainEvent, EventRange};

/// A provider as the registry holds it now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ProviderOnChain {
    pub id: u32,
    pub owner: Address,
    pub version: u32,
    /// What sessions are opened at; `None` once retired.
    pub content_hash: Option<B256>,
}

/// An escrow as the contract holds it now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct EscrowOnChain {
    pub id: u32,
    pub creator: Address,
    /// The only meter its sessions may name; `None`: agents choose.
    pub meter: Option<Address>,
    pub open_to_all: bool,
    pub state: EscrowState,
}

/// A session as the chain shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SessionOnChain {
    pub id: SessionId,
    pub status: SessionStatus,
    /// What it was opened at; `None` where a closed session keeps nothing of it (EVM chains).
    pub terms: Option<SessionTerms>,
    /// Of a closed session: the root of its receipts. EVM chains keep the first 31 bytes, then zero.
    pub receipts_root: Option<B256>,
}

/// What a session was opened at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SessionTerms {
    pub provider_id: u32,
    pub provider_version: u32,
    pub meter: Address,
    pub limit: Usdc,
    pub deadline: u64,
}

/// A verb as the wallet of its sender signs it: for keys that are elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnsignedVerb {
    /// A call on an EVM chain; no verb sends ether.
    Call {
        /// The contract.
        to: Address,
        /// Call data.
        data: Bytes,
    },
    /// A v0 transaction on Solana with the sender as fee payer and no signature in it. Its blockhash lives about a minute.
    Transaction(Bytes),
}

/// Reads one deployment of ProviderRegistry and ComputeEscrow. Heads and blocks are the [`crate::ChainReader`]'s it was made of; failover
/// and timeouts too.
#[async_trait]
pub trait MarketReader: Send + Sync + 'static {
    /// Which chain this is.
    fn chain(&self) -> Chain;
    /// ComputeEscrow, as signatures name it.
    fn domain(&self) -> MarketDomain;
    /// Address of ProviderRegistry (on Solana: the program).
    fn registry(&self) -> Address;
    /// Address of ComputeEscrow (on Solana: the program). USDC of escrows and earnings is the token balance of
    /// [`MarketReader::vault`].
    fn escrow_contract(&self) -> Address;
    /// Whose token balance holds the money.
    fn vault(&self) -> Address;
    /// The block both were deployed in (following starts here).
    fn deployment_block(&self) -> u64;
    /// Every event of both contracts in blocks `from..=to`, in order. `log_index` orders them within their block; on Solana it counts
    /// the marketplace's events alone.
    async fn events(&self, from: u64, to: u64) -> Result<Vec<ChainEvent<MarketEvent>>, ChainError>;
    /// All events of blocks `from..=to` as consecutive ranges in order, as [`crate::ChainReader::events_stream`].
    fn events_stream(
        &self,
        from: u64,
        to: u64,
        concurrency: usize,
    ) -> BoxStream<'_, Result<EventRange<MarketEvent>, ChainError>>;
    /// The provider, or `None` when there is none of this id.
    async fn provider(&self, id: u32) -> Result<Option<ProviderOnChain>, ChainError>;
    /// What a provider publishes now, from the event that said so: `None` when it is unknown, retired, or publishes no text.
    async fn provider_content(&self, id: u32) -> Result<Option<ProviderContent>, ChainError>;
    /// The escrow; `None` when there is none of this id (on Solana also once it was emptied).
    async fn escrow(&self, id: u32) -> Result<Option<EscrowOnChain>, ChainError>;
    /// Escrows have the ids 1 to this.
    async fn escrow_count(&self) -> Result<u32, ChainError>;
    /// The session; `None` when it was never opened.
    async fn session(&self, id: SessionId) -> Result<Option<SessionOnChain>, ChainError>;
    /// Everything that happened to a session, oldest first: for showing one. Followers have it from the events.
    async fn session_history(&self, id: SessionId) -> Result<Vec<ChainEvent<MarketEvent>>, ChainError>;
    /// Whether an agent may open sessions of an escrow, and the nonce of its next signed opening.
    async fn agent(&self, escrow_id: u32, agent: Address) -> Result<AgentState, ChainError>;
    /// What a provider has earned and not withdrawn.
    async fn earnings(&self, provider_id: u32) -> Result<Usdc, ChainError>;
    /// Address that turns plain transfers into a budget on these terms; computed locally.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] when the creator's address is of another chain.
    fn deposit_address(&self, terms: &EscrowTerms) -> Result<Address, ChainError>;
    /// The escrow a deposit address feeds, once swept.
    async fn escrow_of_deposit_address(&self, address: Address) -> Result<Option<u32>, ChainError>;
    /// A verb as its sender signs it.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] when the chain has no such verb; on Solana also [`ChainError::Reverted`] when it would be refused now.
    async fn unsigned(&self, sender: Address, verb: &MarketAction) -> Result<UnsignedVerb, ChainError>;
    /// Whether a receipt (its digest) is of the closed session that cost this (I-7).
    async fn verify_receipt(&self, cost: &SessionCost, receipt_hash: B256, proof: &[B256]) -> Result<bool, ChainError>;
}
