//! A limit on what one session may spend: an agent that goes wrong stops there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use compute_futures_protocol::Usdc;

use super::ClientError;

/// What a session may spend in all, and what it has. Shared by everything that signs in it.
#[derive(Debug)]
pub struct Budget {
    limit: Usdc,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Charged for sure, or signed for with an outcome that nobody knows.
    spent: Usdc,
    /// Signed for, outcome to come.
    held: Usdc,
}

impl Budget {
    /// A session that may spend `limit`.
    #[must_use]
    pub fn new(limit: Usdc) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    /// What it may spend in all.
    #[must_use]
    pub fn limit(&self) -> Usdc {
        self.limit
    }

    /// What it has spent: charges, and signatures whose outcome is unknown in full.
    #[must_use]
    pub fn spent(&self) -> Usdc {
        self.state().spent
    }

    /// What can still be signed for.
    #[must_use]
    pub fn left(&self) -> Usdc {
        let State { spent, held } = *self.state();
        spent.checked_add(held).and_then(|used| self.limit.checked_sub(used)).unwrap_or(Usdc::ZERO)
    }

    /// Sets aside up to `most` for one signature: less when less is left. Before anything is signed.
    ///
    /// # Errors
    /// [`ClientError::SessionLimit`] when nothing is left.
    pub fn hold(self: &Arc<Self>, most: Usdc) -> Result<Hold, ClientError> {
        let mut state = self.state();
        let left = state.spent.checked_add(state.held).and_then(|used| self.limit.checked_sub(used));
        let amount = left.unwrap_or(Usdc::ZERO).min(most);
        if amount.is_zero() && !most.is_zero() {
            return Err(ClientError::SessionLimit { limit: self.limit, needed: most });
        }
        state.held = state.held.checked_add(amount).unwrap_or(Usdc::MAX);
        Ok(Hold { budget: Arc::clone(self), amount, open: true })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Set aside for one signature. Dropped without a word it counts as spent: a signature that is out may still be charged.
#[derive(Debug)]
pub struct Hold {
    budget: Arc<Budget>,
    amount: Usdc,
    open: bool,
}

impl Hold {
    /// The most that may be signed for.
    #[must_use]
    pub fn amount(&self) -> Usdc {
        self.amount
    }

    /// It was charged.
    pub fn settle(mut self, charged: Usdc) {
        self.close(charged);
    }

    /// Nothing was charged, and nothing will be.
    pub fn release(mut self) {
        self.close(Usdc::ZERO);
    }

    fn close(&mut self, spent: Usdc) {
        if std::mem::replace(&mut self.open, false) {
            let mut state = self.budget.state();
            state.held = state.held.checked_sub(self.amount).unwrap_or(Usdc::ZERO);
            state.spent = state.spent.checked_add(spent).unwrap_or(Usdc::MAX);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.close(self.amount);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn usdc(text: &str) -> Usdc {
        text.parse().unwrap()
    }

    #[test]
    fn nothing_is_signed_for_beyond_the_limit() {
        let budget = Budget::new(usdc("1"));
        let first = budget.hold(usdc("0.7")).unwrap();
        let second = budget.hold(usdc("0.7")).unwrap();
        assert_eq!((first.amount(), second.amount(), budget.left()), (usdc("0.7"), usdc("0.3"), Usdc::ZERO));
        assert!(matches!(budget.hold(usdc("0.1")), Err(ClientError::SessionLimit { .. })));
        first.settle(usdc("0.6"));
        assert_eq!((budget.spent(), budget.left()), (usdc("0.6"), usdc("0.1")));
        second.release();
        assert_eq!((budget.spent(), budget.left()), (usdc("0.6"), usdc("0.4")));
    }

    #[test]
    fn an_unknown_outcome_counts_in_full() {
        let budget = Budget::new(usdc("1"));
        drop(budget.hold(usdc("0.4")).unwrap());
        assert_eq!((budget.spent(), budget.left()), (usdc("0.4"), usdc("0.6")));
    }
}
