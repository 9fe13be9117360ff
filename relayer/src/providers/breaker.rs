//! Circuit breaker: a provider that keeps failing is left alone for a while, then asked once before it is trusted again.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// State of a breaker, for /ready and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Trusted.
    Closed,
    /// Left alone.
    Open,
    /// One request is trying it out.
    HalfOpen,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen,
}

/// Counts failures in a row.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: Mutex<State>,
    failures: u32,
    pause: Duration,
}

impl Breaker {
    /// Opens after `failures` in a row (at least one), for `pause`.
    pub(crate) fn new(failures: u32, pause: Duration) -> Self {
        Self { state: Mutex::new(State::Closed { failures: 0 }), failures: failures.max(1), pause }
    }

    /// Leave to try, or `None` while the provider is left alone. Whoever drops the leave without a verdict (a cancelled
    /// request) counts as a failure only when it was the one trial.
    pub(crate) fn enter(&self) -> Option<Leave<'_>> {
        let mut state = self.lock();
        match *state {
            State::Closed { .. } => Some(Leave { breaker: self, trial: false, done: false }),
            State::Open { until } if Instant::now() >= until => {
                *state = State::HalfOpen;
                Some(Leave { breaker: self, trial: true, done: false })
            }
            State::Open { .. } | State::HalfOpen => None,
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match *self.lock() {
            State::Closed { .. } => BreakerState::Closed,
            // Past its pause it would let a trial in: not an obstacle any more.
            State::Open { until } if Instant::now() >= until => BreakerState::HalfOpen,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen => BreakerState::HalfOpen,
        }
    }

    fn succeed(&self) {
        *self.lock() = State::Closed { failures: 0 };
    }

    fn fail(&self) {
        let mut state = self.lock();
        *state = match *state {
            State::Closed { failures } if failures + 1 < self.failures => State::Closed { failures: failures + 1 },
            _ => State::Open { until: Instant::now() + self.pause },
        };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; should it ever, the state is still a state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave to try the provider once.
#[must_use]
pub(crate) struct Leave<'a> {
    breaker: &'a Breaker,
    trial: bool,
    done: bool,
}

impl Leave<'_> {
    /// The provider is well.
    pub(crate) fn succeed(mut self) {
        self.done = true;
        self.breaker.succeed();
    }

    /// The provider failed.
    pub(crate) fn fail(mut self) {
        self.done = true;
        self.breaker.fail();
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.trial && !self.done {
            self.breaker.fail();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_closes_after_one_good_trial() {
        let breaker = Breaker::new(2, Duration::from_millis(300));
        breaker.enter().unwrap().fail();
        breaker.enter().unwrap().succeed();
        breaker.enter().unwrap().fail();
        assert_eq!(breaker.state(), BreakerState::Closed, "a success in between starts the count anew");
        breaker.enter().unwrap().fail();
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.enter().is_none());

        std::thread::sleep(Duration::from_millis(330));
        let trial = breaker.enter().unwrap();
        assert!(breaker.enter().is_none(), "one trial at a time");
        trial.succeed();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_failed_or_cancelled_trial_opens_it_again() {
        let breaker = Breaker::new(1, Duration::from_millis(300));
        breaker.enter().unwrap().fail();
        std::thread::sleep(Duration::from_millis(330));
        breaker.enter().unwrap().fail();
        assert!(breaker.enter().is_none());
        std::thread::sleep(Duration::from_millis(330));
        drop(breaker.enter().unwrap());
        assert!(breaker.enter().is_none(), "a trial that was cancelled must not leave the breaker half open for ever");
    }
}
