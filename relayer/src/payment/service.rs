//! What stands behind the gate: something that is paid for.

use std::sync::Arc;

use async_trait::async_trait;
use compute_futures_protocol::{AccountId, Address, B256, Chain, Usdc};

use super::answer::Template;
use crate::error::ApiResult;
use crate::ledger::AccountView;

/// Somebody who has proven who it is.
#[derive(Debug, Clone)]
pub struct Payer {
    /// The network that the payment is on.
    pub chain: Chain,
    /// The wallet that paid, or that signed for the account.
    pub address: Address,
    /// The account that pays, with scheme `compute-futures`.
    pub account: Option<Arc<AccountView>>,
}

/// Credit to hold although the gate was paid with `exact`: a job from prepaid credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The account.
    pub account: AccountId,
    /// Most the job can cost before discount.
    pub max_list: Usdc,
}

/// Work that was done.
#[derive(Debug)]
pub struct Done {
    /// What it costs from credit, before discount; at most what was offered.
    pub list_amount: Usdc,
    /// Hash of what is answered, for the receipt.
    pub output_hash: B256,
    /// Metered usage, for history.
    pub usage: serde_json::Value,
    /// The model that did it, when another than asked for.
    pub model: Option<String>,
    /// The answer, but for billing and receipt.
    pub answer: Template,
}

/// A paid request: parsed, checked and priced. The gate asks it who may, and lets it work once payment is certain.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Kind of job or read, as history and metrics name it.
    fn kind(&self) -> &str;

    /// Model asked for; empty for reads.
    fn model(&self) -> &str {
        ""
    }

    /// Whether this payer may have this, before anything is taken; and what to hold when the payment itself is not from
    /// credit.
    async fn authorise(&self, payer: &Payer) -> ApiResult<Option<Draw>>;

    /// Does it. Nothing is charged when this fails (I-8).
    async fn work(&self, payer: &Payer) -> ApiResult<Done>;
}
