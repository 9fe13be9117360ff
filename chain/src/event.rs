//! Contract events in the words of the domain, the same for every chain.

use compute_futures_protocol::{AccountId, Address, B256, Terms, TransactionId, Usdc};
use serde::{Deserialize, Serialize};

/// Where an event stands. `(block_number, log_index)` orders events; `(block_hash, log_index)` identifies one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EventMeta {
    pub block_number: u64,
    pub block_hash: B256,
    pub block_timestamp: u64,
    pub transaction: TransactionId,
    pub log_index: u64,
}

/// One contract event: of ComputeFutures, or of the marketplace ([`crate::market::MarketEvent`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ChainEvent<K = EventKind> {
    pub meta: EventMeta,
    pub kind: K,
}

/// Every event of a range of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRange<K = EventKind> {
    /// First block.
    pub from: u64,
    /// Last block.
    pub to: u64,
    /// In chain order.
    pub events: Vec<ChainEvent<K>>,
}

/// The contract's events (see `IComputeFutures` for units and meaning).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum EventKind {
    TermsSet {
        operator_index: u32,
        operator: Address,
        terms_version: u32,
        terms: Terms,
    },
    AccountOpened {
        account: AccountId,
        owner: Address,
        operator_index: u32,
        terms_version: u32,
    },
    Deposited {
        account: AccountId,
        payer: Address,
        amount: Usdc,
        credit: Usdc,
        discount_bps: u16,
        previous_discount_bps: u16,
        discount_from_batch: u64,
    },
    Swept {
        account: AccountId,
        deposit_address: Address,
        amount: Usdc,
        fee: Usdc,
    },
    Recovered {
        deposit_address: Address,
        owner: Address,
        token: Address,
        amount: String,
    },
    CeilingRaised {
        account: AccountId,
        signer: Address,
        ceiling: Usdc,
    },
    DelegateSet {
        account: AccountId,
        delegate: Option<Address>,
    },
    BatchPosted {
        operator_index: u32,
        batch_number: u64,
        receipts_root: B256,
        receipt_count: u32,
        row_count: u32,
        charged: Usdc,
    },
    Debited {
        account: AccountId,
        batch_number: u64,
        list_amount: Usdc,
        discount_bps: u16,
        charged: Usdc,
        total_charged: Usdc,
        remainder: u16,
    },
    DebitShortfall {
        account: AccountId,
        batch_number: u64,
        list_amount: Usdc,
        uncovered: Usdc,
    },
    /// A row for an account of another operator, or (a `DebitShortfall` on chain) for a number no account can have: nothing was
    /// charged. Rows are whatever the operator wrote, so this must never stop a reader.
    ForeignDebit {
        operator_index: u32,
        batch_number: u64,
        #[serde(with = "compute_futures_protocol::serde_util::u64_string")]
        account: u64,
        list_amount: Usdc,
    },
    RefundRequested {
        account: AccountId,
        owner: Address,
        refundable_at: u64,
    },
    Refunded {
        account: AccountId,
        owner: Address,
        amount: Usdc,
        by_operator: bool,
    },
    EarningsWithdrawn {
        operator_index: u32,
        to: Address,
        amount: Usdc,
    },
}

impl EventKind {
    /// The account that the event changes, if it changes one. A [`EventKind::ForeignDebit`] changes nothing about the account
    /// it names.
    #[must_use]
    pub const fn account(&self) -> Option<AccountId> {
        match self {
            Self::AccountOpened { account, .. }
            | Self::Deposited { account, .. }
            | Self::Swept { account, .. }
            | Self::CeilingRaised { account, .. }
            | Self::DelegateSet { account, .. }
            | Self::Debited { account, .. }
            | Self::DebitShortfall { account, .. }
            | Self::RefundRequested { account, .. }
            | Self::Refunded { account, .. } => Some(*account),
            Self::TermsSet { .. }
            | Self::Recovered { .. }
            | Self::BatchPosted { .. }
            | Self::ForeignDebit { .. }
            | Self::EarningsWithdrawn { .. } => None,
        }
    }

    /// The operator that the event concerns, itself or by one of its accounts. Money recovered from a deposit address was
    /// nobody's credit yet.
    #[must_use]
    pub fn operator_index(&self) -> Option<u32> {
        match self {
            Self::TermsSet { operator_index, .. }
            | Self::BatchPosted { operator_index, .. }
            | Self::ForeignDebit { operator_index, .. }
            | Self::EarningsWithdrawn { operator_index, .. } => Some(*operator_index),
            of_account => of_account.account().map(AccountId::operator_index),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_event_concerns_its_account_and_that_accounts_operator() {
        let account = AccountId::new(3, 1).unwrap();
        let set = EventKind::DelegateSet { account, delegate: None };
        assert_eq!((set.account(), set.operator_index()), (Some(account), Some(3)));
        // Whatever an operator writes into a row, it does not touch another operator's account.
        let foreign = EventKind::ForeignDebit {
            operator_index: 7,
            batch_number: 1,
            account: account.get(),
            list_amount: Usdc::ZERO,
        };
        assert_eq!((foreign.account(), foreign.operator_index()), (None, Some(7)));
        let (address, amount) = (Address::ZERO, String::new());
        let recovered = EventKind::Recovered { deposit_address: address, owner: address, token: address, amount };
        assert_eq!((recovered.account(), recovered.operator_index()), (None, None));
    }
}
