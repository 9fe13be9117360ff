//! What goes into the ledger and what comes out.

use std::sync::Arc;

use bytes::Bytes;
use compute_futures_protocol::{
    AccountId, Address, Authorization, B256, Chain, Domain, RateCard, SignedReceipt, Signer, TransactionId, Usdc,
};
use serde::{Deserialize, Serialize};

/// Whose ledger this is: one operator, on one chain, with the key that signs its receipts.
#[derive(Clone)]
pub struct OperatorIdentity {
    /// Chain of the contract.
    pub chain: Chain,
    /// EIP-712 domain of the contract.
    pub domain: Domain,
    /// The operator's index in the contract.
    pub operator_index: u32,
    /// The operator's key; signs receipts.
    pub signer: Arc<Signer>,
}

impl std::fmt::Debug for OperatorIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperatorIdentity")
            .field("chain", &self.chain)
            .field("operator_index", &self.operator_index)
            .finish()
    }
}

/// The key under which an account's job runs at most once: the nonce of its authorisation.
pub type IdempotencyKey = B256;

/// Reserves credit for a job, before any provider is called (I-8).
#[derive(Debug, Clone)]
pub struct HoldRequest {
    /// Who pays.
    pub account: AccountId,
    /// The job; see [`crate::ledger::new_job_id`].
    pub job_id: B256,
    /// Unique per account.
    pub key: IdempotencyKey,
    /// Binds the key to one request.
    pub request_hash: B256,
    /// Most the job can cost before discount.
    pub max_list: Usdc,
    /// Signed bound on the net charge.
    pub max_charge: Option<Usdc>,
    /// What the payer signed; published with the receipt.
    pub authorization: Authorization,
    /// A ceiling signed by owner or delegate and already verified, when one came with the job.
    pub spend_ceiling: Option<SignedCeiling>,
    /// Kind of job, e.g. `text-inference`.
    pub kind: String,
    /// Model asked for.
    pub model: String,
}

/// A verified `SpendCeiling`; relayed on chain before the batch that needs it (I-2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCeiling {
    /// Cumulative cap on what the account may be charged.
    pub ceiling: Usdc,
    /// Signature of owner or delegate (EIP-1271 owners: any length).
    pub signature: Bytes,
}

/// What became of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldOutcome {
    /// Credit is reserved: run the job.
    Held {
        /// Reserved, net of discount.
        hold: Usdc,
        /// The account's discount.
        discount_bps: u16,
    },
    /// The same key and request were answered before; this is the answer.
    Replay(StoredAnswer),
    /// The same key and request run right now.
    InProgress,
    /// The key was used for another request.
    KeyReused,
}

/// Charges a job that ran. The answer is stored in the same transaction as the receipt.
#[derive(Clone)]
pub struct ChargeRequest {
    /// What to charge for.
    pub facts: ChargeFacts,
    /// Writes the final answer once the receipt exists. Pure: it may run more than once.
    pub render: Render,
}

impl std::fmt::Debug for ChargeRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.facts.fmt(f)
    }
}

/// The stored part of a [`ChargeRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChargeFacts {
    /// The job that was held.
    pub job_id: B256,
    /// Price before discount; its net never exceeds the hold.
    pub list_amount: Usdc,
    /// Hash of what was answered.
    pub output_hash: B256,
    /// Metered usage, for history.
    pub usage: serde_json::Value,
    /// Model that answered, when it is not the one asked for (`auto`).
    pub model: Option<String>,
}

/// Turns the billing of a job into the answer to store and send.
pub type Render = Arc<dyn Fn(&Billing) -> StoredAnswer + Send + Sync>;

/// Turns a stored template and the billing (if a job was charged) into the final answer. Takes the template so that a payment
/// that was settled just before a crash can still be answered after it.
pub type RenderSettled = Arc<dyn Fn(&StoredAnswer, Option<&Billing>) -> StoredAnswer + Send + Sync>;

/// A charge, as the answer shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Billing {
    /// The operator's signed receipt.
    pub receipt: SignedReceipt,
    /// Net of discount.
    pub charged: Usdc,
    /// Price before discount.
    pub list_amount: Usdc,
    /// Discount applied.
    pub discount_bps: u16,
    /// Credit less everything charged, here and on chain.
    pub balance_remaining: Usdc,
}

/// A charge that is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Charged {
    /// The operator's signed receipt.
    pub receipt: SignedReceipt,
    /// Net of discount.
    pub charged: Usdc,
    /// Credit less everything charged, here and on chain.
    pub balance_remaining: Usdc,
    /// The answer as stored: every retry gets these bytes.
    pub answer: StoredAnswer,
}

/// An answer, as first sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: Bytes,
}

/// Spendable credit of an account, what is left of it, and how it got there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// The account.
    pub id: AccountId,
    /// May do everything.
    pub owner: Address,
    /// May sign spending.
    pub delegate: Option<Address>,
    /// Deposited, less refunded; on chain.
    pub credit: Usdc,
    /// Charged on chain.
    pub charged: Usdc,
    /// Charged here, not yet confirmed on chain.
    pub pending: Usdc,
    /// Reserved by running jobs.
    pub held: Usdc,
    /// Deposits that still wait for confirmations.
    pub unconfirmed: Usdc,
    /// Highest ceiling known: on chain, or signed and not yet relayed.
    pub ceiling: Usdc,
    /// Discount of new charges.
    pub discount_bps: u16,
    /// `none`, `builder`, `scale`, `enterprise`; by discount.
    pub tier: &'static str,
    /// Spendable now.
    pub available: Usdc,
    /// Credit − charged − pending.
    pub balance_remaining: Usdc,
    /// Receipts so far.
    pub jobs: u64,
    /// Σ list amounts.
    pub total_list: Usdc,
    /// Σ charges here.
    pub total_charged: Usdc,
    /// Σ (list amount − charge).
    pub total_saved: Usdc,
    /// Written off because the chain could not cover it (I-6).
    pub written_off: Usdc,
    /// When `refund` pays (unix seconds), once requested.
    pub refundable_at: Option<u64>,
    /// The operator is closing it: the consent path of a refund.
    pub closing: bool,
    /// Closed and paid out.
    pub closed: bool,
    /// Why new jobs are refused although nothing above says so.
    pub frozen: Option<String>,
    /// Terms the account was opened under.
    pub terms_version: u32,
    /// The rate card of those terms, where it was kept here: no price rises above it.
    pub rate_card: Option<Arc<RateCard>>,
    /// Block time of the opening, unix seconds.
    pub opened_at: u64,
}

/// One line of an account's history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    /// Pass as `before` to read on from here.
    pub cursor: u64,
    /// Unix seconds.
    pub at: u64,
    /// What happened.
    pub kind: HistoryKind,
}

/// What happened to an account.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum HistoryKind {
    /// Credit came in.
    Deposit { amount: Usdc, transaction: TransactionId },
    /// A job, or a paid read.
    Charge {
        job_id: B256,
        kind: String,
        model: String,
        /// Units used, as JSON.
        usage: serde_json::Value,
        list_amount: Usdc,
        discount_bps: u16,
        charged: Usdc,
        sequence: u64,
        receipt_hash: B256,
        batch_number: u64,
        /// The transaction that posted the batch, once confirmed.
        transaction: Option<TransactionId>,
    },
    /// The ceiling rose on chain.
    Ceiling { ceiling: Usdc, transaction: TransactionId },
    /// Part of a debit was not covered on chain.
    Shortfall { uncovered: Usdc, batch_number: u64, transaction: TransactionId },
    /// The owner asked for a refund.
    RefundRequested { refundable_at: u64, transaction: TransactionId },
    /// Everything unspent went back to the owner.
    Refund { amount: Usdc, transaction: TransactionId },
}

/// An x402 payment as the gate hands it in. The same `id` is never settled twice.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPayment {
    /// Identity of the payment, e.g. keccak256 of network, asset, payer and EIP-3009 nonce. Never signature bytes.
    pub id: B256,
    /// Binds the payment to one request.
    pub request_hash: B256,
    /// x402 scheme.
    pub scheme: String,
    /// CAIP-2 network.
    pub network: String,
    /// Who pays.
    pub payer: String,
    /// What is paid.
    pub amount: Usdc,
    /// What of it is the price of the call; the rest becomes the payer's own credit.
    pub price: Usdc,
    /// What is needed to settle or look it up again: payload and requirements.
    pub details: serde_json::Value,
}

/// What to do with a payment.
#[derive(Debug, Clone, PartialEq)]
pub enum PaymentOutcome {
    /// First seen: do the work.
    New,
    /// Answered before; this is the answer, and the settlement transaction.
    Replay {
        /// As first sent.
        answer: StoredAnswer,
        /// Settlement transaction.
        transaction: String,
    },
    /// The work is done and the answer stored, but whether the payment settled is not known (a lost answer, a crash).
    /// Ask the chain, then call `payment_settled` or `payment_failed`.
    Unresolved(Box<UnresolvedPayment>),
    /// The same request runs right now.
    InProgress,
    /// The payment was used for another request.
    KeyReused,
}

/// A payment whose work is done and whose settlement is not known.
#[derive(Debug, Clone, PartialEq)]
pub struct UnresolvedPayment {
    /// The payment.
    pub payment: NewPayment,
    /// The answer as stored by `payment_ready`, before billing is filled in.
    pub template: StoredAnswer,
    /// The job to charge with it, if any.
    pub charge: Option<ChargeFacts>,
    /// Unix milliseconds at which it became ready.
    pub ready_at: u64,
}
