//! Shapes of bodies, for OpenAPI and the catalogue. Fields are named as they are sent.
#![allow(missing_docs, reason = "the documentation of each field is its schema's description")]

mod health;
pub mod jobs;

pub use health::{Check, Health, NetworkHealth, NetworkReady, Ready};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// An error: what happened, a name for programs, and what to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Error {
    /// What happened.
    pub error: String,
    /// Stable name for programs.
    #[schema(example = "invalid_request")]
    pub code: String,
    /// What to do about it.
    pub hint: String,
    /// Figures that a program needs to react, e.g. `ceilingNeeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Value>,
}

/// An error as OpenAI's clients read it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAiError {
    /// `message` (with what to do), `type`, `code`, `param`.
    #[schema(value_type = Object)]
    pub error: Value,
}

/// A JSON object; its fields explain themselves.
#[derive(Debug, Serialize, ToSchema)]
#[schema(value_type = Object)]
pub struct Opaque(pub Value);

/// A message of a conversation.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ChatMessage {
    /// `system`, `developer`, `user` or `assistant`.
    #[schema(example = "user")]
    pub role: String,
    /// A text, or a list of text parts.
    #[schema(value_type = String, example = "Summarize this contract: …")]
    pub content: Value,
}

/// A chat job, as OpenAI writes it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TextRequest {
    /// `auto` (default) or an id of /api/v1/compute/models.
    #[schema(example = "auto")]
    pub model: Option<String>,
    /// The conversation, oldest first.
    pub messages: Vec<ChatMessage>,
    /// Most tokens in the answer; the quote depends on it where a model is metered.
    #[schema(minimum = 1)]
    pub max_tokens: Option<u32>,
    #[schema(minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    pub seed: Option<i64>,
    /// Up to four texts that end the answer.
    pub stop: Option<Vec<String>>,
    /// Server-sent events: chunks as OpenAI writes them, then `event: receipt`, then `data: [DONE]`.
    pub stream: Option<bool>,
}

/// An embeddings job, as OpenAI writes it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct EmbeddingsRequest {
    /// `auto` (default) or an id of /api/v1/compute/models.
    #[schema(example = "auto")]
    pub model: Option<String>,
    /// One text or several.
    #[schema(value_type = Vec<String>)]
    pub input: Value,
    /// Length of each vector, where the model can choose.
    #[schema(minimum = 1, maximum = 4096)]
    pub dimensions: Option<u32>,
    /// `float` (default): lists of numbers. At `/v1/embeddings` also `base64`: the bytes of little-endian 32-bit floats.
    #[schema(example = "float")]
    pub encoding_format: Option<String>,
}

/// Tokens that a job used.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageShape {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_tokens: u64,
}

/// Answer of a chat job.
#[derive(Debug, Serialize, ToSchema)]
pub struct TextAnswer {
    /// Who did the work.
    pub provider: String,
    /// The model that did it.
    pub model: String,
    /// As OpenAI writes them.
    pub choices: Vec<Value>,
    pub usage: UsageShape,
    /// Price in USDC, for people.
    #[schema(example = "0.03")]
    pub price_usdc: String,
    #[serde(rename = "priceMicroUsdc")]
    #[schema(example = "30000")]
    pub price_micro_usdc: String,
}

/// Answer of an embeddings job.
#[derive(Debug, Serialize, ToSchema)]
pub struct EmbeddingsAnswer {
    /// Who did the work.
    pub provider: String,
    /// The model that did it.
    pub model: String,
    /// One vector a text, in order, as OpenAI writes them: `embedding` is a list of numbers, or base64 where that was asked for.
    pub data: Vec<Value>,
    pub usage: UsageShape,
    /// Price in USDC, for people.
    #[schema(example = "0.005")]
    pub price_usdc: String,
    #[serde(rename = "priceMicroUsdc")]
    #[schema(example = "5000")]
    pub price_micro_usdc: String,
}

/// Opens an account, or adds to one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DepositRequest {
    /// Address that owns the account.
    #[schema(example = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8")]
    pub depositor: String,
    /// Amount in USDC.
    #[schema(example = "50")]
    pub amount: String,
    /// Most that may ever be charged, in USDC. Left out: all that is deposited.
    pub ceiling: Option<String>,
    /// Pays the amount by signature instead of by transfer; then only the price of the call is asked for.
    pub deposit_authorization: Option<DepositAuthorizationShape>,
}

/// An EIP-3009 `ReceiveWithAuthorization` whose nonce commits to the account's terms.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DepositAuthorizationShape {
    /// The open account to add to. Left out: a new one.
    pub account_id: Option<String>,
    /// Unix seconds.
    #[schema(example = "0")]
    pub valid_after: String,
    /// Unix seconds.
    #[schema(example = "1790000000")]
    pub valid_before: String,
    /// 32 bytes in hex, chosen by the signer.
    pub salt: String,
    /// 65 bytes in hex.
    pub signature: String,
}

/// An account: figures for people, and next to each the same in micro-USDC.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    #[schema(example = "CFE-00000087")]
    pub id: String,
    /// Number in the contract.
    #[schema(example = "4294967297")]
    pub account_id: String,
    #[schema(example = "eip155:8453")]
    pub network: String,
    pub depositor: String,
    pub delegate: Option<String>,
    /// `open`, `refunding`, `frozen` or `closed`.
    #[schema(example = "open")]
    pub status: String,
    #[schema(example = "scale")]
    pub tier: String,
    #[schema(example = "10% discount")]
    pub discount: String,
    #[schema(example = 1000)]
    pub discount_bps: u16,
    #[schema(example = "50 USDC")]
    pub balance_remaining: String,
    pub balance_remaining_micro_usdc: String,
    /// Spendable now: within confirmed deposits, ceiling and running jobs.
    pub available: String,
    pub available_micro_usdc: String,
    pub deposited: String,
    pub deposited_micro_usdc: String,
    pub unconfirmed_micro_usdc: String,
    pub held_micro_usdc: String,
    pub charged_on_chain_micro_usdc: String,
    pub charged_pending_micro_usdc: String,
    /// `null`: all that is deposited.
    pub ceiling_micro_usdc: Option<String>,
    pub jobs_executed: u64,
    pub total_charged: String,
    pub total_charged_micro_usdc: String,
    pub total_list_price_micro_usdc: String,
    pub total_saved: String,
    pub total_saved_micro_usdc: String,
    /// Unix seconds from which the owner can take the rest without anyone's help, once asked for.
    pub refundable_at: Option<u64>,
    pub terms_version: u32,
    pub opened_at: u64,
}

/// The account after a deposit.
#[derive(Debug, Serialize, ToSchema)]
pub struct DepositAnswer {
    #[serde(rename = "computeFuture")]
    pub compute_future: Account,
}

/// The account asked for, or every account of the owner asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct BalanceAnswer {
    /// The account; of several the newest that is open.
    pub balance: Option<Account>,
    /// Every account of the owner, when none was named.
    pub accounts: Option<Vec<Account>>,
}

/// Where plain transfers become credit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DepositAddressAnswer {
    pub deposit_address: String,
    #[schema(example = "eip155:8453")]
    pub network: String,
    /// USDC.
    pub asset: String,
    pub depositor: String,
    pub ceiling_micro_usdc: Option<String>,
    /// Taken from each sweep.
    pub fee: String,
    pub fee_micro_usdc: String,
    pub first_transfer_at_least: String,
    pub first_transfer_at_least_micro_usdc: String,
    /// Arrived, and not credit yet.
    pub waiting: String,
    pub waiting_micro_usdc: String,
    /// The account it feeds, once swept.
    pub futures_id: Option<String>,
    pub account_id: Option<String>,
    pub hint: String,
}

/// A page of history, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryAnswer {
    pub futures_id: String,
    pub account_id: String,
    /// Each with `type`: deposit, charge, ceiling, shortfall, refundRequested or refund.
    pub history: Vec<Value>,
    /// Pass as `before` for the next page; `null` at the end.
    pub next_before: Option<String>,
}

/// Tiers, prices and the rate card.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PricingAnswer {
    pub tiers: Vec<Value>,
    pub minimum_deposit: String,
    pub minimum_deposit_micro_usdc: String,
    pub bulk_discount: String,
    pub models: Vec<Value>,
    /// Stands in the operator's terms on-chain.
    pub rate_card_hash: String,
    pub gate_prices_micro_usdc: Value,
}

/// A job out of prepaid credit: the fields of the job's own endpoint, and these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecuteRequest {
    /// The account.
    #[schema(example = "CFE-00000087")]
    pub futures_id: String,
    /// A kind of job: `text-inference`, `embeddings`, `image-generation`, `video-generation`, `text-to-speech`, `speech-to-text`,
    /// `document-parsing`, `gpu`; or `batch`. The fields of that kind's own endpoint go beside it.
    #[serde(rename = "type")]
    #[schema(example = "text-inference")]
    pub kind: String,
    /// `auto` (default) or an id of /api/v1/compute/models.
    pub model: Option<String>,
    /// For `text-inference`.
    pub messages: Option<Vec<ChatMessage>>,
    /// For `embeddings` and `text-to-speech` texts, for `gpu` the model's own input.
    pub input: Option<Value>,
    /// For images and films.
    pub prompt: Option<String>,
    /// For `batch`.
    pub jobs: Option<Vec<Value>>,
}

/// What was done, what it cost, and the signed receipt.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecuteAnswer {
    /// `charged`, `chargedMicroUsdc`, `balanceRemaining` and more.
    pub billing: Value,
    /// The job's answer.
    pub compute: Value,
    /// The operator's signed receipt.
    pub receipt: Value,
}

/// Asks for what is left.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefundRequest {
    /// The account.
    #[schema(example = "CFE-00000087")]
    pub futures_id: String,
    /// The owner; must be the one who proves itself by the payment.
    pub caller: Option<String>,
}

/// What was paid back.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefundAnswer {
    /// `refundAmount`, `jobsExecuted`, `transaction` and more.
    pub refund: Value,
}

/// Asks what a job would cost: the job's own body, and its type.
#[derive(Debug, Deserialize, ToSchema)]
pub struct EstimateRequest {
    /// A kind of job, or `batch`. May be left out when the body holds `messages`, `input` or `jobs`.
    #[serde(rename = "type")]
    #[schema(example = "text-inference")]
    pub kind: Option<String>,
    /// `auto` (default) or an id of /api/v1/compute/models.
    pub model: Option<String>,
    /// For `text-inference`.
    pub messages: Option<Vec<ChatMessage>>,
    /// For `embeddings` and `text-to-speech` texts, for `gpu` the model's own input.
    pub input: Option<Value>,
    /// For images and films.
    pub prompt: Option<String>,
    /// For `batch`.
    pub jobs: Option<Vec<Value>>,
    pub max_tokens: Option<u32>,
}

/// What a job would cost at most.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Kind of job.
    #[serde(rename = "type")]
    pub kind: String,
    /// As asked for.
    pub model: String,
    /// Models that may run it, in order, each with its own price.
    pub candidates: Vec<Candidate>,
    /// The most it can cost before discount, for people. A payment per call pays this; from credit the metered price is charged.
    #[schema(example = "$0.03")]
    pub price: String,
    #[schema(example = "30000")]
    pub price_micro_usdc: String,
    /// The same at each tier of prepaid credit: what a hold reserves, rounded up to a micro-USDC.
    pub prepaid: Vec<PrepaidPrice>,
}

/// One model that may run the job; of a batch one entry a job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    pub model: String,
    /// Most tokens that can be counted for it.
    pub max_input_tokens: u64,
    pub max_output_tokens: u64,
    /// Most units of other kinds that can be counted for it.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_images: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max_seconds: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max_characters: u64,
    pub price_micro_usdc: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Price at one tier.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrepaidPrice {
    #[schema(example = "scale")]
    pub tier: String,
    #[schema(example = 1000)]
    pub discount_bps: u16,
    #[schema(example = "$0.027")]
    pub price: String,
    #[schema(example = "27000")]
    pub price_micro_usdc: String,
}

/// Models on offer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelList {
    pub models: Vec<ModelShape>,
    /// Hash of the rate card in the terms on-chain.
    pub rate_card_hash: String,
}

/// One model on offer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelShape {
    #[schema(example = "local/extractive-summary")]
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub description: String,
    /// Names of the providers that run it, in order.
    pub providers: Vec<String>,
    /// Further ids that mean it.
    pub aliases: Vec<String>,
    /// Whether a provider of it is configured here.
    pub configured: bool,
    /// Whether a provider of it would be asked now.
    pub available: bool,
    /// Whether `auto` may choose it.
    pub auto: bool,
    /// Price in USDC, for people.
    #[schema(example = "$0.03 a call")]
    pub price: String,
    pub per_call_micro_usdc: String,
    pub per_1k_input_tokens_micro_usdc: String,
    pub per_1k_output_tokens_micro_usdc: String,
    pub per_image_micro_usdc: String,
    pub per_second_micro_usdc: String,
    pub per_1k_characters_micro_usdc: String,
    pub context_length: u64,
    pub max_output_tokens: u64,
}

/// The receipts of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipts {
    pub operator_index: u32,
    #[schema(value_type = String)]
    pub batch_number: u64,
    /// Merkle root over the receipts' hashes, as posted on-chain.
    pub root: String,
    /// Each with hash, signature and what the depositor signed.
    pub receipts: Vec<Value>,
}
