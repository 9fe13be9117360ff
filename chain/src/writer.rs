//! Posting to a chain. Building, signing and broadcasting are separate steps, so that a caller can store the signed bytes first.

use async_trait::async_trait;
use compute_futures_protocol::{
    AccountId, Address, B256, Bytes, DepositAuthorization, DepositTerms, Terms, TransactionId, Usdc,
};
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
    /// Lets the contract take the caller's own USDC (EVM chains; user verbs, not the relayer).
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
    /// A deposit that its owner signed by EIP-3009 (EVM chains).
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
    /// A verb of `owner` that this key pays for (Solana): `transaction` is one that [`ChainWriter::sponsor`] offered, with the
    /// owner's signature in it.
    Sponsored {
        owner: Address,
        verb: Box<Action>,
        transaction: Bytes,
    },
    /// A plain USDC transfer (to a deposit address).
    Transfer {
        to: Address,
        amount: Usdc,
    },
    /// A verb of the marketplace; the writer must know its market.
    Market(crate::market::MarketAction),
    /// Fills a nonce gap: a zero-value transfer to the sender itself (EVM chains).
    Noop,
}

/// EIP-1559 fees in wei per gas (micro-lamports per compute unit on Solana).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Fees {
    pub max_fee: u128,
    pub max_priority_fee: u128,
}

impl Action {
    /// What is done: of a sponsored action its owner's verb.
    #[must_use]
    pub fn verb(&self) -> &Self {
        match self {
            Self::Sponsored { verb, .. } => verb.verb(),
            other => other,
        }
    }
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

/// What a transaction is signed for: its place on an EVM chain, a recent block on Solana.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// The sender's nonce.
    Nonce(u64),
    /// Solana.
    Blockhash {
        /// The recent block it names.
        hash: B256,
        /// The last block height at which it may be included.
        last_valid_block_height: u64,
    },
}

impl Lifetime {
    /// How long the transaction can be included.
    #[must_use]
    pub const fn validity(self) -> Validity {
        match self {
            Self::Nonce(nonce) => Validity::Nonce(nonce),
            Self::Blockhash { last_valid_block_height, .. } => Validity::UntilBlockHeight(last_valid_block_height),
        }
    }
}

/// How long a signed transaction can still be included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Validity {
    /// EVM chains: until any transaction of the sender with this nonce is mined. Another with the same nonce and higher fees
    /// replaces it; only one of them is ever mined.
    Nonce(u64),
    /// Solana: until the chain has passed this block height. Another may land beside it before that, so sign anew only
    /// afterwards, and only when no earlier one landed.
    UntilBlockHeight(u64),
}

impl Validity {
    /// Whether the transaction can be included no more, unless it was already.
    #[must_use]
    pub const fn is_over(self, progress: Progress) -> bool {
        match (self, progress) {
            (Self::Nonce(nonce), Progress::NextNonce(next)) => nonce < next,
            (Self::UntilBlockHeight(last), Progress::BlockHeight(height)) => last < height,
            (Self::Nonce(_), Progress::BlockHeight(_)) | (Self::UntilBlockHeight(_), Progress::NextNonce(_)) => false,
        }
    }

    /// The nonce, on an EVM chain.
    #[must_use]
    pub const fn nonce(self) -> Option<u64> {
        match self {
            Self::Nonce(nonce) => Some(nonce),
            Self::UntilBlockHeight(_) => None,
        }
    }
}

/// How far the chain got with what a sender's transactions live by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The next nonce the chain would take, by mined transactions alone: the floor for a counter of one's own.
    NextNonce(u64),
    /// Height of the newest finalized block.
    BlockHeight(u64),
}

/// Signed and not yet necessarily broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SignedTransaction {
    pub id: TransactionId,
    pub raw: Bytes,
    pub validity: Validity,
    pub fees: Fees,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TransactionOutcome {
    pub block_number: u64,
    pub block_hash: B256,
    pub succeeded: bool,
    /// Gas, or compute units on Solana.
    pub gas_used: u64,
    /// Wei per gas actually paid; on Solana the whole fee in lamports.
    pub effective_fee: u128,
}

/// What somebody presents as an [`Action::Sponsored`], read and checked as far as that goes without asking the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sponsorship {
    /// Names it: the hash of what is signed. The same message is never posted twice, whatever signatures come with it.
    pub message: B256,
    /// The transaction in its one spelling: our signature left empty.
    pub transaction: Bytes,
    /// What it may cost whoever pays: fee, and rent that is laid out (lamports).
    pub cost: u64,
}

/// Signs with one key and posts.
#[async_trait]
pub trait ChainWriter: Send + Sync + 'static {
    /// Address of the key.
    fn sender(&self) -> Address;
    /// How far the chain is: tells which of the sender's transactions can be included no more.
    async fn progress(&self) -> Result<Progress, ChainError>;
    /// The lifetime of a transaction signed now. On an EVM chain the next nonce of `progress`, without asking again; whoever
    /// has transactions under way counts on from there.
    async fn lifetime(&self, progress: Progress) -> Result<Lifetime, ChainError>;
    /// Fees that should be mined soon.
    async fn suggest_fees(&self) -> Result<Fees, ChainError>;
    /// Fees for this action, after it was estimated: on Solana they depend on the accounts that it writes.
    async fn fees_for(&self, action: &Action) -> Result<Fees, ChainError> {
        let _ = action;
        self.suggest_fees().await
    }
    /// Rows of different accounts that one batch can hold.
    fn max_rows(&self) -> u64 {
        u64::MAX
    }
    /// Sessions that one batch can close or lapse whatever escrows and providers they are of ([`crate::market::MarketAction`]).
    fn max_session_rows(&self) -> u64 {
        u64::MAX
    }
    /// A transaction of `owner` that this key pays fee and rent of, for `owner` to sign ([`ChainWriter::countersign`]) and to be
    /// posted as [`Action::Sponsored`]. It must be on chain within a minute.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] on EVM chains, where owners sign authorisations instead, and for actions that nobody sponsors.
    async fn sponsor(&self, owner: Address, verb: &Action) -> Result<Bytes, ChainError> {
        let _ = (owner, verb);
        Err(ChainError::Rejected("there are no sponsored transactions on this chain; sign an authorisation".into()))
    }
    /// Signs, as the owner, what somebody else offered to pay for; only when it does `verb` and nothing else.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] when it is anything else.
    async fn countersign(&self, verb: &Action, transaction: &[u8]) -> Result<Bytes, ChainError> {
        let _ = (verb, transaction);
        Err(ChainError::Rejected("there are no sponsored transactions on this chain; sign an authorisation".into()))
    }
    /// Reads a transaction that this key is to pay for. That it does `verb` and nothing else, and would pass now, is what
    /// [`ChainWriter::estimate`] of the [`Action::Sponsored`] finds out.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] when it cannot be read, is not signed by `owner`, is not for this key to pay, or offers a higher
    /// fee than this key ever does.
    fn sponsorship(&self, owner: Address, verb: &Action, transaction: &[u8]) -> Result<Sponsorship, ChainError> {
        let _ = (owner, verb, transaction);
        Err(ChainError::Rejected("there are no sponsored transactions on this chain; sign an authorisation".into()))
    }
    /// Runs the action without sending it and estimates its gas (on Solana: compute units); [`ChainError::Reverted`] names the
    /// contract's error.
    async fn estimate(&self, action: &Action) -> Result<u64, ChainError>;
    /// Signs; touches no network. `gas_limit` from [`ChainWriter::estimate`].
    fn sign(
        &self,
        action: &Action,
        lifetime: Lifetime,
        gas_limit: u64,
        fees: Fees,
    ) -> Result<SignedTransaction, ChainError>;
    /// Sends signed bytes. "Already known" and "already mined" are success: broadcasting twice is harmless.
    async fn broadcast(&self, transaction: &SignedTransaction) -> Result<(), ChainError>;
    /// `None` while pending or unknown.
    async fn outcome(&self, transaction: TransactionId) -> Result<Option<TransactionOutcome>, ChainError>;
    /// Estimate, sign, broadcast, wait. For a user's own verbs, not for the relayer.
    async fn execute(&self, action: &Action) -> Result<(TransactionId, TransactionOutcome), ChainError>;
}

#[cfg(test)]
mod tests {
    use super::{B256, Fees, Lifetime, Progress};

    #[test]
    fn a_lifetime_ends_when_the_chain_has_passed_it() {
        let nonce = Lifetime::Nonce(7).validity();
        assert!(!nonce.is_over(Progress::NextNonce(7)) && nonce.is_over(Progress::NextNonce(8)));
        let blockhash = Lifetime::Blockhash { hash: B256::ZERO, last_valid_block_height: 7 }.validity();
        assert!(!blockhash.is_over(Progress::BlockHeight(7)) && blockhash.is_over(Progress::BlockHeight(8)));
        assert!(!nonce.is_over(Progress::BlockHeight(8)) && !blockhash.is_over(Progress::NextNonce(8)));
    }

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
