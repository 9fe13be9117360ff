//! What the queue holds.

use compute_futures_protocol::{AccountId, Address, B256, Usdc};
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::providers::{JobInput, JobOutput};

/// Where the money for a job is, until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Funding {
    /// The account whose credit is held under the job's id.
    pub charges: Option<AccountId>,
    /// The x402 payment, verified and not settled, that settles when the job is done.
    pub payment: Option<B256>,
}

/// What decides the form of a job's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Kind of job as history names it: a job kind, or `batch`.
    pub kind: String,
    /// Model asked for; empty for a batch.
    pub model: String,
    /// Whether the answer lists its items.
    pub batch: bool,
    /// Futures id, for answers in the shape of `execute`.
    pub futures_id: Option<String>,
    /// What a plain payment pays; from credit the metered price counts.
    pub quote: Usdc,
    /// Where to tell that it ended.
    pub webhook: Option<String>,
    /// Most that is held for it, before any discount: prices that rose since then change nothing.
    #[serde(default)]
    pub max_list: Option<Usdc>,
}

/// A job as it comes in.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id; the credit is held under it.
    pub id: B256,
    /// What the identical request finds it by.
    pub key: B256,
    /// The account whose nonce the key is; `None`: the key is a payment.
    pub account: Option<AccountId>,
    /// The request.
    pub request_hash: B256,
    /// The wallet that paid or signed.
    pub payer: Address,
    /// Its money.
    pub funding: Funding,
    /// Form of the answer.
    pub spec: Spec,
    /// What to run.
    pub items: Vec<JobInput>,
    /// When it must have ended, unix milliseconds.
    pub deadline_ms: u64,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Items run, or what they cost is being taken.
    Open,
    /// Charged and answered.
    Done,
    /// It came to nothing and cost nothing.
    Failed,
}

/// An item's end.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemOutcome {
    /// It ran; the list price is that of the model that ran it.
    Done {
        /// What came out.
        output: Box<JobOutput>,
        /// Price before any discount.
        list_amount: Usdc,
    },
    /// It failed.
    Failed(Reason),
}

/// Why something failed, as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What happened.
    pub error: String,
    /// Name for programs.
    pub code: String,
    /// What to do about it.
    pub hint: String,
}

impl From<&ApiError> for Reason {
    fn from(error: &ApiError) -> Self {
        Self { error: error.error.clone(), code: error.code.to_owned(), hint: error.hint.clone() }
    }
}

/// Where an item stands.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemState {
    /// Not ended; whether a prediction runs at a provider.
    Open {
        /// A provider works on it.
        running: bool,
    },
    /// Ended.
    Ended(ItemOutcome),
}

/// An item as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// From 0.
    pub position: u64,
    /// What to run.
    pub input: JobInput,
    /// Where it stands.
    pub state: ItemState,
}

/// A job as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredJob {
    /// Its id.
    pub id: B256,
    /// The request.
    pub request_hash: B256,
    /// The wallet that paid or signed.
    pub payer: Address,
    /// Its money.
    pub funding: Funding,
    /// Form of the answer.
    pub spec: Spec,
    /// Where it stands.
    pub state: JobState,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// Unix milliseconds.
    pub finished_ms: Option<u64>,
    /// The final answer, packed as the gate stores answers.
    pub answer: Option<bytes::Bytes>,
    /// Why it failed.
    pub error: Option<Reason>,
    /// Its items in order.
    pub items: Vec<Item>,
}

/// An item that a worker may work on for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The job.
    pub job: B256,
    /// Which item.
    pub position: u64,
    /// What to run.
    pub input: JobInput,
    /// The prediction that runs already.
    pub handle: Option<String>,
    /// How often it was taken before.
    pub looks: u64,
    /// Starts that failed.
    pub failures: u64,
    /// When the job must have ended, unix milliseconds.
    pub deadline_ms: u64,
    /// When it was due; later only when somebody asked for another look meanwhile.
    pub due_ms: u64,
    /// The worker's token.
    pub lease: u64,
}

impl Claimed {
    /// How often it was started without anything coming of it, not even a failure: whoever had it did not live to say so.
    #[must_use]
    pub const fn lost_starts(&self) -> u64 {
        match self.handle {
            Some(_) => 0,
            None => self.looks.saturating_sub(self.failures),
        }
    }
}
