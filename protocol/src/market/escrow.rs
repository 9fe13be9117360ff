//! The money of one escrow and its sessions, as the chain holds it: the model that tests, relayer and indexer compare the chain with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MAX_SESSION_LIMIT;
use crate::{Address, Usdc};

/// No session holds money longer than this: 30 days (I-4).
pub const MAX_SESSION_SECONDS: u64 = 30 * 24 * 3600;

/// What an escrow holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EscrowState {
    /// Last second in which sessions may be open.
    pub expiry: u64,
    /// Most one session may reserve.
    pub session_limit: Usdc,
    /// Free for sessions and refunds.
    pub unreserved: Usdc,
    /// Held by open sessions.
    pub reserved: Usdc,
    /// Sequence of the newest session.
    pub session_count: u32,
    /// Emptied at expiry, for good.
    pub closed: bool,
}

/// What a session may cost, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionState {
    /// Most it may cost.
    pub limit: Usdc,
    /// Last second in which it can be closed.
    pub deadline: u64,
    /// What became of it.
    pub status: SessionStatus,
}

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Its limit is reserved.
    Open,
    /// Paid.
    Closed,
    /// Not closed in time.
    Lapsed,
}

/// What closing a session moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// Became the provider's earnings; at most the limit (I-10).
    pub cost: Usdc,
    /// Went back to the escrow; with the cost it is the limit.
    pub released: Usdc,
    /// Signed by the meter beyond the limit, and not paid.
    pub uncovered: Usdc,
}

/// A verb the contract would refuse; named as its errors are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[allow(missing_docs)]
pub enum EscrowError {
    #[error("fund it with something")]
    NothingToFund,
    #[error("the escrow has expired; create another one")]
    Expired,
    #[error("the escrow expires at {0}; it can be emptied from the next second on")]
    NotExpired(u64),
    #[error("the escrow was emptied")]
    EscrowClosed,
    #[error("an escrow holds at most {} USDC", Usdc::MAX)]
    BudgetOverflow,
    #[error("a session of this escrow is limited to between 0.000001 and {0} USDC")]
    InvalidLimit(Usdc),
    #[error("the deadline must lie between now and {0}")]
    InvalidDeadline(u64),
    #[error("only {0} USDC are unreserved; ask for less, or fund the escrow")]
    InsufficientUnreserved(Usdc),
    #[error("the escrow has opened all the sessions it can")]
    SessionsExhausted,
    #[error("the session is not open")]
    SessionNotOpen,
    #[error("the session's deadline was {0}")]
    DeadlinePassed(u64),
    #[error("the session's deadline is {0}; it lapses from the next second on")]
    DeadlineNotPassed(u64),
    #[error("nothing is unreserved")]
    NothingToRefund,
    #[error("the agent is not on the escrow's list")]
    NotAgent,
    #[error("the escrow is open to all and has no list")]
    InvalidAgent,
    #[error("the agent is on the list already, or not on it")]
    AgentUnchanged,
    #[error("the agent's next nonce is {0}")]
    InvalidNonce(u32),
}

impl EscrowState {
    /// A new escrow, holding nothing.
    #[must_use]
    pub const fn new(expiry: u64, session_limit: Usdc) -> Self {
        Self { expiry, session_limit, unreserved: Usdc::ZERO, reserved: Usdc::ZERO, session_count: 0, closed: false }
    }

    /// Everything in it.
    #[must_use]
    pub fn total(&self) -> Usdc {
        // Both together never exceed what `fund` let in.
        Usdc::from_micros(self.unreserved.micros() + self.reserved.micros())
    }

    /// Money comes in.
    ///
    /// # Errors
    /// When it is nothing, too late, or too much.
    pub fn fund(&mut self, amount: Usdc, now: u64) -> Result<(), EscrowError> {
        if amount.is_zero() {
            return Err(EscrowError::NothingToFund);
        }
        if now > self.expiry {
            return Err(EscrowError::Expired);
        }
        self.total().checked_add(amount).ok_or(EscrowError::BudgetOverflow)?;
        self.unreserved = self.unreserved.checked_add(amount).ok_or(EscrowError::BudgetOverflow)?;
        Ok(())
    }

    /// The last second a session opened at `now` may end.
    #[must_use]
    pub fn latest_deadline(&self, now: u64) -> u64 {
        self.expiry.min(now.saturating_add(MAX_SESSION_SECONDS))
    }

    /// Opens the next session: its limit is reserved. Who may is for [`AgentList`] to say.
    ///
    /// # Errors
    /// When limit or deadline are out of bounds, or less is unreserved.
    pub fn open(&mut self, limit: Usdc, deadline: u64, now: u64) -> Result<SessionState, EscrowError> {
        if limit.is_zero() || limit > self.session_limit || limit > MAX_SESSION_LIMIT {
            return Err(EscrowError::InvalidLimit(self.session_limit));
        }
        let latest = self.latest_deadline(now);
        if deadline < now || deadline > latest {
            return Err(EscrowError::InvalidDeadline(latest));
        }
        let unreserved =
            self.unreserved.checked_sub(limit).ok_or(EscrowError::InsufficientUnreserved(self.unreserved))?;
        self.session_count = self.session_count.checked_add(1).ok_or(EscrowError::SessionsExhausted)?;
        self.unreserved = unreserved;
        self.reserved = Usdc::from_micros(self.reserved.micros() + limit.micros());
        Ok(SessionState { limit, deadline, status: SessionStatus::Open })
    }

    /// Closes a session of this escrow at the cost its meter signed; beyond the limit it is cut (I-10).
    ///
    /// # Errors
    /// When the session is over, or its deadline has passed.
    pub fn close(&mut self, session: &mut SessionState, signed: Usdc, now: u64) -> Result<Closing, EscrowError> {
        if session.status != SessionStatus::Open {
            return Err(EscrowError::SessionNotOpen);
        }
        if now > session.deadline {
            return Err(EscrowError::DeadlinePassed(session.deadline));
        }
        let cost = signed.min(session.limit);
        let released = session.limit.saturating_sub(cost);
        self.release(session.limit, released);
        session.status = SessionStatus::Closed;
        Ok(Closing { cost, released, uncovered: signed.saturating_sub(cost) })
    }

    /// Gives the reservation of a session that nobody closed back to the escrow.
    ///
    /// # Errors
    /// When the session is over (also because the escrow was emptied), or its deadline has not passed.
    pub fn lapse(&mut self, session: &mut SessionState, now: u64) -> Result<Usdc, EscrowError> {
        if self.status(session) != SessionStatus::Open {
            return Err(EscrowError::SessionNotOpen);
        }
        if now <= session.deadline {
            return Err(EscrowError::DeadlineNotPassed(session.deadline));
        }
        self.release(session.limit, session.limit);
        session.status = SessionStatus::Lapsed;
        Ok(session.limit)
    }

    /// What became of a session, as the contract shows it: emptying an escrow ends its sessions without touching each.
    #[must_use]
    pub fn status(&self, session: &SessionState) -> SessionStatus {
        if self.closed && session.status == SessionStatus::Open { SessionStatus::Lapsed } else { session.status }
    }

    /// Pays the creator at most `amount` of what is unreserved (I-4).
    ///
    /// # Errors
    /// When that is nothing.
    pub fn refund(&mut self, amount: Usdc) -> Result<Usdc, EscrowError> {
        let paid = amount.min(self.unreserved);
        if paid.is_zero() {
            return Err(EscrowError::NothingToRefund);
        }
        self.unreserved = self.unreserved.saturating_sub(paid);
        Ok(paid)
    }

    /// Pays the creator everything, reservations too: every deadline has passed (I-4).
    ///
    /// # Errors
    /// When the escrow has not expired, or was emptied.
    pub fn expire(&mut self, now: u64) -> Result<Usdc, EscrowError> {
        if self.closed {
            return Err(EscrowError::EscrowClosed);
        }
        if now <= self.expiry {
            return Err(EscrowError::NotExpired(self.expiry));
        }
        let paid = self.total();
        (self.unreserved, self.reserved, self.closed) = (Usdc::ZERO, Usdc::ZERO, true);
        Ok(paid)
    }

    /// `limit` is no longer reserved, `released` of it free again.
    fn release(&mut self, limit: Usdc, released: Usdc) {
        self.reserved = self.reserved.saturating_sub(limit);
        self.unreserved = Usdc::from_micros(self.unreserved.micros() + released.micros());
    }
}

/// Who may open sessions of an escrow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentList {
    open_to_all: bool,
    agents: BTreeMap<Address, AgentState>,
}

/// One agent of an escrow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AgentState {
    /// On the list.
    pub allowed: bool,
    /// Signed openings so far; removal leaves it (I-5).
    pub nonce: u32,
}

impl AgentList {
    /// Of a new escrow.
    #[must_use]
    pub fn new(open_to_all: bool, agents: impl IntoIterator<Item = Address>) -> Self {
        let allowed = AgentState { allowed: true, nonce: 0 };
        Self { open_to_all, agents: agents.into_iter().map(|agent| (agent, allowed)).collect() }
    }

    /// An agent, as the contract shows it.
    #[must_use]
    pub fn get(&self, agent: &Address) -> AgentState {
        let state = self.agents.get(agent).copied().unwrap_or_default();
        AgentState { allowed: state.allowed || self.open_to_all, ..state }
    }

    /// Puts an agent on the list.
    ///
    /// # Errors
    /// When it is there, or there is no list.
    pub fn add(&mut self, agent: Address) -> Result<(), EscrowError> {
        if self.open_to_all {
            return Err(EscrowError::InvalidAgent);
        }
        let state = self.agents.entry(agent).or_default();
        if std::mem::replace(&mut state.allowed, true) { Err(EscrowError::AgentUnchanged) } else { Ok(()) }
    }

    /// Takes an agent off the list. Its nonce stays.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove(&mut self, agent: &Address) -> Result<(), EscrowError> {
        let state = self.agents.get_mut(agent).filter(|state| state.allowed).ok_or(EscrowError::AgentUnchanged)?;
        state.allowed = false;
        Ok(())
    }

    /// Whether it may open sessions.
    ///
    /// # Errors
    /// When it may not.
    pub fn check(&self, agent: &Address) -> Result<(), EscrowError> {
        if self.get(agent).allowed { Ok(()) } else { Err(EscrowError::NotAgent) }
    }

    /// Whether it may open a session by a signature with this nonce.
    ///
    /// # Errors
    /// When the nonce is not its next, or it may not open sessions.
    pub fn check_signed(&self, agent: &Address, nonce: u32) -> Result<(), EscrowError> {
        let next = self.get(agent).nonce;
        if nonce != next {
            return Err(EscrowError::InvalidNonce(next));
        }
        self.check(agent)
    }

    /// A signed opening of this agent went through: its signature is used (I-5).
    pub fn opened_by_signature(&mut self, agent: Address) {
        self.agents.entry(agent).or_default().nonce += 1;
    }
}

#[cfg(test)]
#[path = "escrow_tests.rs"]
mod tests;
