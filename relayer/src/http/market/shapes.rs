//! Shapes of bodies and answers. Amounts are strings of micro-USDC, ids of providers and escrows numbers, those of sessions strings.
#![allow(missing_docs, reason = "the documentation of each field is its schema's description")]

use compute_futures_protocol::market::{
    EscrowTerms, FundingAuthorization, OpenSession, ProviderContent, SessionCost, SessionId, SessionReceipt,
};
use compute_futures_protocol::{Address, B256, Bytes, Usdc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::market::outcomes::Standing;

/// How a provider does, as this relayer measured it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderHealth {
    /// Whether it is believed to answer.
    #[schema(example = "healthy")]
    pub status: Standing,
    /// Percent of calls and probes of the last 30 days that it answered.
    #[schema(example = "99.87")]
    pub uptime: Option<String>,
    pub average_latency_ms: Option<u64>,
    pub p95_latency_ms: Option<u64>,
    /// Calls that the figures are of.
    pub requests: u64,
    /// When it last answered, unix seconds.
    pub last_seen: Option<u64>,
}

/// A provider of the registry.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// CAIP-2 name of the network.
    #[schema(example = "eip155:8453")]
    pub network: &'static str,
    #[schema(example = 1)]
    pub provider_id: u32,
    #[schema(value_type = String)]
    pub owner: Address,
    /// Counts its changes.
    pub version: u32,
    /// What sessions name.
    #[schema(value_type = String)]
    pub content_hash: B256,
    /// Endpoint, type, rate limit, minimum charge, features and models with their prices per 1,000 tokens; null when it is no text.
    #[schema(value_type = Object)]
    pub content: Option<ProviderContent>,
    pub health: ProviderHealth,
    /// Whether this relayer can call it.
    pub callable: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Providers, one page.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderList {
    pub providers: Vec<Provider>,
    /// `cursor` of the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// A session that this relayer meters.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MarketSession {
    pub network: &'static str,
    #[schema(value_type = String, example = "4294967297")]
    pub session_id: SessionId,
    pub escrow_id: u32,
    #[schema(value_type = String)]
    pub agent: Address,
    pub provider_id: u32,
    #[schema(value_type = String)]
    pub content_hash: B256,
    /// Who signs its cost: this relayer.
    #[schema(value_type = String)]
    pub meter: Address,
    /// Most it may cost, in micro-USDC.
    #[schema(value_type = String, example = "5000000")]
    pub limit: Usdc,
    /// Last second in which it can be closed. It takes no calls some minutes before.
    #[schema(example = "1801728000")]
    pub deadline: String,
    /// `open`, `closing` (takes no more calls), `closed`, `lapsed`, or `gone` (a reorg took it away).
    #[schema(example = "open")]
    pub status: &'static str,
    /// Sum of its receipts.
    #[schema(value_type = String)]
    pub cost: Usdc,
    /// Held by calls in flight.
    #[schema(value_type = String)]
    pub held: Usdc,
    /// What further calls may cost.
    #[schema(value_type = String)]
    pub available: Usdc,
    pub receipt_count: u32,
    /// Root of its receipts, once its cost is signed.
    #[schema(value_type = Option<String>)]
    pub receipts_root: Option<B256>,
    /// The transaction that opened (in the answer to an opening), closed or lapsed it.
    pub transaction: Option<String>,
}

/// What is asked for when a session is to be opened.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuoteRequest {
    /// CAIP-2 name, where several networks are served.
    pub network: Option<String>,
    pub escrow_id: u32,
    pub agent: String,
    /// Left out: the cheapest that serves `model`.
    pub provider_id: Option<u32>,
    /// A model that the provider must have.
    pub model: Option<String>,
    /// Tokens of an answer, for the estimate.
    pub max_tokens: Option<u32>,
    /// Most the session may cost, in micro-USDC.
    #[schema(value_type = String, example = "5000000")]
    pub limit: Value,
    /// How long it may stay open; an hour when left out.
    pub seconds: Option<u64>,
}

/// What one call costs at the provider's prices.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallEstimate {
    pub model: String,
    /// For 1,000 input tokens.
    #[schema(value_type = String)]
    pub input_price: Usdc,
    /// For 1,000 output tokens.
    #[schema(value_type = String)]
    pub output_price: Usdc,
    #[schema(value_type = String)]
    pub minimum_charge: Usdc,
    /// Tokens of input and output that `cost` is for.
    pub input_tokens: u64,
    pub output_tokens: u64,
    #[schema(value_type = String)]
    pub cost: Usdc,
    /// How many such calls the session's limit pays for.
    pub calls: u64,
}

/// A session to be opened: sign it, then POST /api/v1/market/sessions.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quote {
    pub network: &'static str,
    /// What the agent signs.
    #[schema(value_type = Object)]
    pub open: OpenSession,
    /// The same for wallets (EIP-712); null on Solana.
    #[schema(value_type = Option<Object>)]
    pub typed_data: Option<Value>,
    /// The digest that is signed; on Solana by ed25519.
    #[schema(value_type = String)]
    pub digest: B256,
    pub provider: Provider,
    /// What a call costs; null when no model is named.
    pub estimate: Option<CallEstimate>,
}

/// A signed opening, to be brought on chain by the relayer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenRequest {
    pub network: Option<String>,
    /// As the quote has it.
    #[schema(value_type = Object)]
    pub open: OpenSession,
    /// The agent's.
    #[schema(value_type = String)]
    pub signature: Bytes,
}

/// Every receipt of a session (I-7).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionReceipts {
    pub network: &'static str,
    /// ComputeEscrow.
    #[schema(value_type = String)]
    pub contract: Address,
    #[schema(value_type = String)]
    pub session_id: SessionId,
    pub escrow_id: u32,
    #[schema(value_type = String)]
    pub agent: Address,
    pub provider_id: u32,
    #[schema(value_type = String)]
    pub content_hash: B256,
    #[schema(value_type = String)]
    pub meter: Address,
    pub status: &'static str,
    #[schema(value_type = String)]
    pub limit: Usdc,
    /// Sum of the receipts.
    #[schema(value_type = String)]
    pub cost: Usdc,
    pub receipt_count: u32,
    /// Merkle root over the digests, as it is, or will be, on chain; zero when there are none.
    #[schema(value_type = String)]
    pub receipts_root: B256,
    pub receipts: Vec<SignedReceipt>,
}

/// A receipt with its signature.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedReceipt {
    #[schema(value_type = Object)]
    pub receipt: SessionReceipt,
    /// Name of the model.
    pub model: String,
    /// What is signed, and a leaf of the tree.
    #[schema(value_type = String)]
    pub digest: B256,
    /// The meter's.
    #[schema(value_type = String)]
    pub signature: Bytes,
}

/// One receipt, and its proof once the session is closed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptProof {
    #[schema(value_type = Object)]
    pub receipt: SessionReceipt,
    pub model: String,
    #[schema(value_type = String)]
    pub digest: B256,
    #[schema(value_type = String)]
    pub signature: Bytes,
    /// Siblings from the leaf to the root; empty until the cost is signed.
    #[schema(value_type = Vec<String>)]
    pub proof: Vec<B256>,
    /// What the meter signed for the whole session; null until then.
    #[schema(value_type = Option<Object>)]
    pub cost: Option<SessionCost>,
    /// The transaction that closed the session.
    pub transaction: Option<String>,
}

/// A budget as the chain holds it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Escrow {
    pub network: &'static str,
    pub escrow_id: u32,
    #[schema(value_type = String)]
    pub creator: Address,
    /// The only meter its sessions may name; null: agents choose.
    #[schema(value_type = Option<String>)]
    pub meter: Option<Address>,
    pub open_to_all: bool,
    /// Unix seconds.
    pub expiry: String,
    /// Most one session may reserve.
    #[schema(value_type = String)]
    pub session_limit: Usdc,
    #[schema(value_type = String)]
    pub unreserved: Usdc,
    #[schema(value_type = String)]
    pub reserved: Usdc,
    pub session_count: u32,
    /// Emptied at expiry.
    pub closed: bool,
    /// The agent that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<EscrowAgent>,
}

/// An agent of an escrow.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EscrowAgent {
    #[schema(value_type = String)]
    pub address: Address,
    /// Whether it may open sessions.
    pub allowed: bool,
    /// Of its next signed opening.
    pub nonce: u32,
}

/// A budget to be created: unsigned without, relayed with an authorisation and its signature.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateRequest {
    pub network: Option<String>,
    /// `{creator, expiry, sessionLimit, meter, openToAll, agents}`.
    #[schema(value_type = Object)]
    pub terms: EscrowTerms,
    /// Micro-USDC. Left out with `authorization`, which has it.
    #[schema(value_type = Option<String>, example = "100000000")]
    pub amount: Option<Value>,
    /// `{amount, validAfter, validBefore, salt}` as the first answer had it (EVM chains).
    #[schema(value_type = Option<Object>)]
    pub authorization: Option<FundingAuthorization>,
    /// The creator's, over `typedData`.
    #[schema(value_type = Option<String>)]
    pub signature: Option<Bytes>,
}

/// Money for an escrow, likewise.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FundRequest {
    pub network: Option<String>,
    /// Whose money it is.
    pub payer: String,
    #[schema(value_type = Option<String>, example = "50000000")]
    pub amount: Option<Value>,
    #[schema(value_type = Option<Object>)]
    pub authorization: Option<FundingAuthorization>,
    #[schema(value_type = Option<String>)]
    pub signature: Option<Bytes>,
}

/// An agent to be allowed or removed, by the creator.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentsRequest {
    pub network: Option<String>,
    pub agent: String,
    /// `true` adds it, `false` removes it.
    pub allowed: bool,
}

/// Unreserved money back to the creator.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EscrowRefundRequest {
    pub network: Option<String>,
    /// Micro-USDC; all that is unreserved when left out.
    #[schema(value_type = Option<String>)]
    pub amount: Option<Value>,
}

/// Emptying an escrow after its expiry.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpireRequest {
    pub network: Option<String>,
    /// Who sends it; needed on Solana, unless it is relayed.
    pub sender: Option<String>,
    /// The relayer brings it on chain.
    #[serde(default)]
    pub relay: bool,
}

/// Sweeping a deposit address into its escrow.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SweepRequest {
    pub network: Option<String>,
    /// The terms that the address commits to.
    #[schema(value_type = Object)]
    pub terms: EscrowTerms,
    pub sender: Option<String>,
    #[serde(default)]
    pub relay: bool,
}

/// A transaction for somebody else's wallet to sign and send.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnsignedTransaction {
    pub network: &'static str,
    /// On EVM chains `{to, data, value}`, on Solana a v0 transaction in base64, to be signed within a minute.
    #[schema(value_type = Object)]
    pub transaction: Value,
    /// Who signs it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub sender: Option<Address>,
    /// To be sent before, unless the contract may take the USDC already (EVM chains).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub approve: Option<Value>,
    /// Plain transfers of USDC to it do the same, once swept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub deposit_address: Option<Address>,
    /// Without gas: sign `typedData`, and send this request again with `authorization` and `signature` (EVM chains).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub authorization: Option<FundingAuthorization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub typed_data: Option<Value>,
}

/// What was brought on chain.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelayedTransaction {
    pub network: &'static str,
    /// `completed`, or `pending`: it goes on by itself, and the identical request shows the end.
    #[schema(example = "completed")]
    pub status: &'static str,
    pub escrow_id: Option<u32>,
    pub transaction: Option<String>,
    /// What moved, in micro-USDC.
    #[schema(value_type = Option<String>)]
    pub amount: Option<Usdc>,
}
