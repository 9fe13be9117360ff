//! What an event says about an account. Pure: the same events in the same order give the same account.

use compute_futures_chain::{ChainEvent, EventKind};
use compute_futures_protocol::{AccountId, Address, Usdc};

use crate::ledger::account::Account;

/// Name under which an event is stored: its tag in JSON.
pub(crate) const fn name_of(event: &EventKind) -> &'static str {
    match event {
        EventKind::TermsSet { .. } => "termsSet",
        EventKind::AccountOpened { .. } => "accountOpened",
        EventKind::Deposited { .. } => "deposited",
        EventKind::Swept { .. } => "swept",
        EventKind::Recovered { .. } => "recovered",
        EventKind::CeilingRaised { .. } => "ceilingRaised",
        EventKind::DelegateSet { .. } => "delegateSet",
        EventKind::BatchPosted { .. } => "batchPosted",
        EventKind::Debited { .. } => "debited",
        EventKind::DebitShortfall { .. } => "debitShortfall",
        EventKind::ForeignDebit { .. } => "foreignDebit",
        EventKind::RefundRequested { .. } => "refundRequested",
        EventKind::Refunded { .. } => "refunded",
        EventKind::EarningsWithdrawn { .. } => "earningsWithdrawn",
    }
}

/// An account before its first event.
pub(crate) fn unopened(id: AccountId) -> Account {
    Account {
        id,
        owner: Address::ZERO,
        delegate: None,
        terms_version: 0,
        opened_at: 0,
        credit: Usdc::ZERO,
        unconfirmed: Usdc::ZERO,
        chain_charged: Usdc::ZERO,
        chain_ceiling: Usdc::ZERO,
        chain_remainder: 0,
        discount_bps: 0,
        refundable_at: 0,
        closed: false,
        held: Usdc::ZERO,
        held_in_memory: Usdc::ZERO,
        total_charged: Usdc::ZERO,
        settled: Usdc::ZERO,
        written_off: Usdc::ZERO,
        total_list: Usdc::ZERO,
        remainder: 0,
        signed_ceiling: Usdc::ZERO,
        sequence: 0,
        row_batch: 0,
        row_bps: 0,
        closing: false,
        void: false,
        frozen: None,
    }
}

/// Forgets what the chain said, and keeps what happened here: the start of a projection after a reorg.
pub(crate) fn forget_chain(account: &mut Account) {
    // The owner stays: whether the id comes back to the same one decides what becomes of old receipts.
    account.delegate = None;
    account.credit = Usdc::ZERO;
    account.unconfirmed = Usdc::ZERO;
    account.chain_charged = Usdc::ZERO;
    account.chain_ceiling = Usdc::ZERO;
    account.chain_remainder = 0;
    account.discount_bps = 0;
    account.refundable_at = 0;
    account.closed = false;
}

/// Applies one event.
pub(crate) fn apply(account: &mut Account, event: &ChainEvent) {
    match &event.kind {
        EventKind::AccountOpened { owner, terms_version, .. } => {
            if account.owner != Address::ZERO && account.owner != *owner && account.sequence > 0 {
                give_to_another(account);
            }
            account.owner = *owner;
            account.terms_version = *terms_version;
            account.opened_at = event.meta.block_timestamp;
        }
        EventKind::Deposited { credit, discount_bps, .. } => {
            account.credit = *credit;
            // The best rate earned counts at once, whatever the floor still is (ADR 002).
            account.discount_bps = *discount_bps;
        }
        EventKind::CeilingRaised { ceiling, .. } => account.chain_ceiling = *ceiling,
        EventKind::DelegateSet { delegate, .. } => account.delegate = *delegate,
        EventKind::Debited { total_charged, remainder, .. } => {
            account.chain_charged = *total_charged;
            account.chain_remainder = *remainder;
        }
        // On a clamp the remainder becomes zero: the fraction belongs to the shortfall.
        EventKind::DebitShortfall { .. } => account.chain_remainder = 0,
        EventKind::RefundRequested { refundable_at, .. } => account.refundable_at = *refundable_at,
        EventKind::Refunded { .. } => {
            account.closed = true;
            account.closing = false;
            account.credit = account.chain_charged;
        }
        EventKind::Swept { .. }
        | EventKind::TermsSet { .. }
        | EventKind::Recovered { .. }
        | EventKind::BatchPosted { .. }
        | EventKind::ForeignDebit { .. }
        | EventKind::EarningsWithdrawn { .. } => {}
    }
}

/// A reorg took the account's opening away, and the id went to somebody else. What the first owner authorised must not be
/// charged to the second: the old receipts are written off, and the new owner gets its money back.
fn give_to_another(account: &mut Account) {
    account.void = true;
    account.settled = account.total_charged;
    account.write_off();
    account.signed_ceiling = Usdc::ZERO;
    account.closing = true;
    account.frozen = Some("a reorg gave this account to another owner; it is being closed and paid out".into());
}
