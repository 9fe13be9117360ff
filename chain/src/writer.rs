//! Posting to a chain. Building, signing and broadcasting are separate steps, so that a caller can store the signed bytes first.

use alloy::primitives::{Address, B256, Bytes};
use async_trait::async_trait;
use compute_futures_protocol::{AccountId, DepositAuthorization, DepositTerms, Terms, Usdc};
use serde::{Deserialize, Serialize};

use crate::ChainError;

/// One row of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DebitRow {
    pub account: AccountId,
    pub list_amount: Usdc,
    pub discount_bps: u16,
}

/// What a transaction does. Serialisable: the outbox stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum Action {
    SetTerms {
        terms: Terms,
    },
    PostDebits {
        batch_number: u64,
        receipts_root: B256,
        receipt_count: u32,
        rows: Vec<DebitRow>,
    },
    CloseAccount {
        account: AccountId,
    },
    WithdrawEarnings {
        to: Address,
        amount: Usdc,
    },
    /// Caller's own USDC; approves first where needed (user verbs, not the relayer).
    Approve {
        amount: Usdc,
    },
    Deposit {
        operator_index: u32,
        owner: Address,
        amount: Usdc,
        ceiling: Usdc,
    },
    TopUp {
        account: AccountId,
        amount: Usdc,
        ceiling: Usdc,
    },
    DepositWithAuthorization {
        authorization: DepositAuthorization,
        signature: Bytes,
    },
    Sweep {
        terms: DepositTerms,
    },
    Recover {
        terms: DepositTerms,
        token: Address,
    },
    RaiseCeiling {
        account: AccountId,
        ceiling: Usdc,
    },
    RaiseCeilingWithSignature {
        account: AccountId,
        ceiling: Usdc,
        signature: Bytes,
    },
    SetDelegate {
        account: AccountId,
        delegate: Option<Address>,
    },
    RequestRefund {
        account: AccountId,
    },
    Refund {
        account: AccountId,
    },
    /// A plain USDC transfer (to a deposit address).
    Transfer {
        to: Address,
        amount: Usdc,
    },
    /// Fills a nonce gap: a zero-value transfer to the sender itself.
    Noop,
}

/// EIP-1559 fees in wei per gas (micro-lamports per compute unit on Solana).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Fees {
    pub max_fee: u128,
    pub max_priority_fee: u128,
}

impl Fees {
    /// Both fees raised by `percent`, at least the 10% that nodes ask for to replace a waiting transaction; rounded up.
    #[must_use]
    pub fn bump(self, percent: u32) -> Self {
        let percent = u128::from(percent.max(10));
        let raise = |fee: u128| fee.saturating_add(fee.saturating_mul(percent).div_ceil(100)).max(1);
        Self { max_fee: raise(self.max_fee), max_priority_fee: raise(self.max_priority_fee) }
    }

    /// The higher of each fee: a bump that also follows the market.
    #[must_use]
    pub fn at_least(self, other: Self) -> Self {
        Self {
            max_fee: self.max_fee.max(other.max_fee),
            max_priority_fee: self.max_priority_fee.max(other.max_priority_fee),
        }
    }
}

/// Signed and not yet necessarily broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SignedTransaction {
    pub hash: B256,
    pub raw: Bytes,
    pub nonce: u64,
    pub fees: Fees,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TransactionOutcome {
    pub block_number: u64,
    pub block_hash: B256,
    pub succeeded: bool,
    pub gas_used: u64,
    /// Wei per gas actually paid.
    pub effective_fee: u128,
}

/// Signs with one key and posts.
#[async_trait]
pub trait ChainWriter: Send + Sync + 'static {
    /// Address of the key.
    fn sender(&self) -> Address;
    /// The next nonce the chain would take (mined transactions only): the floor for SQL's own counter.
    async fn nonce_floor(&self) -> Result<u64, ChainError>;
    /// Fees that should be mined soon.
    async fn suggest_fees(&self) -> Result<Fees, ChainError>;
    /// `eth_call` + gas estimate; [`ChainError::Reverted`] names the contract's error.
    async fn estimate(&self, action: &Action) -> Result<u64, ChainError>;
    /// Signs; touches no network. `gas_limit` from [`ChainWriter::estimate`].
    fn sign(&self, action: &Action, nonce: u64, gas_limit: u64, fees: Fees) -> Result<SignedTransaction, ChainError>;
    /// Sends signed bytes. "Already known" and "already mined" are success: broadcasting twice is harmless.
    async fn broadcast(&self, transaction: &SignedTransaction) -> Result<(), ChainError>;
    /// `None` while pending or unknown.
    async fn outcome(&self, hash: B256) -> Result<Option<TransactionOutcome>, ChainError>;
    /// Estimate, sign with the next nonce, broadcast, wait. For a user's own verbs, not for the relayer.
    async fn execute(&self, action: &Action) -> Result<(B256, TransactionOutcome), ChainError>;
}

#[cfg(test)]
mod tests {
    use super::Fees;

    #[test]
    fn a_bump_is_never_below_what_nodes_ask_for() {
        let fees = Fees { max_fee: 101, max_priority_fee: 0 };
        assert_eq!(fees.bump(10), Fees { max_fee: 112, max_priority_fee: 1 });
        assert_eq!(fees.bump(3), fees.bump(10));
        assert_eq!(fees.bump(100).max_fee, 202);
        let market = Fees { max_fee: 50, max_priority_fee: 7 };
        assert_eq!(fees.at_least(market), Fees { max_fee: 101, max_priority_fee: 7 });
        let highest = Fees { max_fee: u128::MAX, max_priority_fee: u128::MAX };
        assert_eq!(highest.bump(10), highest);
    }
}
