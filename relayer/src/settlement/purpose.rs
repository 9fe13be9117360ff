//! Why an action is sent. The same purpose is never sent twice.

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_chain::{Action, EventKind};
use compute_futures_protocol::market::SessionId;
use compute_futures_protocol::{AccountId, Address, B256, Usdc};

/// Idempotency key of a chain action.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Purpose(String);

impl Purpose {
    /// A purpose of another kind than those below; `kind` keeps them apart.
    #[must_use]
    pub fn new(kind: &str, key: impl std::fmt::Display) -> Self {
        Self(format!("{kind}:{key}"))
    }

    /// Posting a batch.
    #[must_use]
    pub fn batch(number: u64) -> Self {
        Self::new("batch", number)
    }

    /// Relaying a signed ceiling.
    #[must_use]
    pub fn ceiling(account: AccountId, ceiling: Usdc) -> Self {
        Self::new("ceiling", format_args!("{account}:{}", ceiling.micros()))
    }

    /// Closing an account: the consent path of a refund.
    #[must_use]
    pub fn close(account: AccountId) -> Self {
        Self::new("close", account)
    }

    /// Sweeping a deposit address after a certain payment (its transaction hash, or any key of it).
    #[must_use]
    pub fn sweep(address: Address, payment: impl std::fmt::Display) -> Self {
        Self::new("sweep", format_args!("{address}:{payment}"))
    }

    /// Relaying a gasless deposit; `nonce` is the EIP-3009 nonce.
    #[must_use]
    pub fn deposit(owner: Address, nonce: B256) -> Self {
        Self::new("deposit", format_args!("{owner}:{nonce}"))
    }

    /// Withdrawing earnings; `request` makes it unique.
    #[must_use]
    pub fn withdraw(request: impl std::fmt::Display) -> Self {
        Self::new("withdraw", request)
    }

    /// Filling a nonce gap.
    pub(crate) fn fill(nonce: u64) -> Self {
        Self::new("fill", nonce)
    }

    /// As stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What confirms an action whoever sent it: an action that somebody else's transaction already did is done.
pub(crate) fn subject_of(action: &Action, deposit_address: impl FnOnce() -> Option<Address>) -> String {
    match action.verb() {
        Action::PostDebits { batch_number, .. } => format!("batch:{batch_number}"),
        Action::CloseAccount { account } | Action::Refund { account } => format!("close:{account}"),
        Action::RaiseCeiling { account, .. } | Action::RaiseCeilingWithSignature { account, .. } => {
            format!("ceiling:{account}")
        }
        Action::Market(MarketAction::CloseSession { close }) => of_session(close.cost.session_id),
        Action::Market(MarketAction::LapseSession { session }) => of_session(*session),
        Action::Market(MarketAction::Expire { escrow_id }) => of_escrow(*escrow_id),
        Action::Sweep { .. } => deposit_address().map_or_else(String::new, |address| format!("sweep:{address}")),
        _ => String::new(),
    }
}

fn of_session(session: SessionId) -> String {
    format!("market-session:{session}")
}

fn of_escrow(escrow_id: u32) -> String {
    format!("market-expired:{escrow_id}")
}

/// The subject that one of the marketplace's events confirms: whoever closed, lapsed or emptied it, it is done. Batches are confirmed by
/// their transaction, for they have rows of many sessions.
pub(crate) fn subject_of_market(event: &MarketEvent) -> Option<String> {
    match event {
        MarketEvent::SessionClosed { session, .. } | MarketEvent::SessionLapsed { session, .. } => {
            Some(of_session(*session))
        }
        MarketEvent::EscrowExpired { escrow_id, .. } => Some(of_escrow(*escrow_id)),
        _ => None,
    }
}

/// The subject that an event confirms.
pub(crate) fn subject_of_event(event: &EventKind) -> Option<String> {
    match event {
        EventKind::BatchPosted { batch_number, .. } => Some(format!("batch:{batch_number}")),
        EventKind::Refunded { account, .. } => Some(format!("close:{account}")),
        EventKind::CeilingRaised { account, .. } => Some(format!("ceiling:{account}")),
        EventKind::Swept { deposit_address, .. } => Some(format!("sweep:{deposit_address}")),
        _ => None,
    }
}

/// Whether the event does all that the action wants: a ceiling may have been raised by less.
pub(crate) fn satisfies(event: &EventKind, action: &Action) -> bool {
    match (event, action.verb()) {
        (
            EventKind::CeilingRaised { ceiling: raised, .. },
            Action::RaiseCeiling { ceiling, .. } | Action::RaiseCeilingWithSignature { ceiling, .. },
        ) => raised >= ceiling,
        _ => true,
    }
}

/// Whether a mined transaction of this action leaves no event to wait for.
pub(crate) const fn has_no_event(action: &Action) -> bool {
    matches!(
        action,
        Action::Noop
            | Action::Approve { .. }
            | Action::Transfer { .. }
            | Action::Recover { .. }
            | Action::Market(MarketAction::Approve { .. } | MarketAction::OpenDepositAddress { .. })
    )
}
