//! How many blocks to ask for at once: grows slowly while it goes well, halves when a provider refuses.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Blocks asked for at first.
const START: u64 = 64;
/// Answers around this size keep decoding, memory and prefetching in balance.
const COMFORTABLE_EVENTS: usize = 8_192;
/// Steps from nothing to the configured maximum.
const STEPS: u64 = 64;
/// Full ranges served before a refused size is tried again: limits are lifted, and busy stretches of the chain end.
const FORGET_AFTER: u32 = 64;

/// A range of blocks, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Span {
    const fn blocks(self) -> u64 {
        (self.to - self.from).saturating_add(1)
    }

    /// Two halves, or `None` for a single block.
    pub(super) const fn halves(self) -> Option<(Self, Self)> {
        if self.from == self.to {
            return None;
        }
        let middle = self.from + (self.to - self.from) / 2;
        Some((Self { from: self.from, to: middle }, Self { from: middle + 1, to: self.to }))
    }
}

/// The working size, shared by all who read through one reader: additive increase, multiplicative decrease, and a memory of
/// what was refused, so that a provider with a fixed limit is not asked for too much again and again.
#[derive(Debug)]
pub(crate) struct LogSpan {
    most: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    blocks: u64,
    /// The smallest size that was refused; above `most` when none was, or long ago.
    refused: u64,
    served_since: u32,
}

impl LogSpan {
    pub(crate) fn new(most: u64) -> Self {
        let most = most.max(1);
        let state = State { blocks: START.min(most), refused: most.saturating_add(1), served_since: 0 };
        Self { most, state: Mutex::new(state) }
    }

    /// The configured maximum.
    pub(crate) const fn most(&self) -> u64 {
        self.most
    }

    /// The next range to ask for within `from..=to`; `None` when nothing is left.
    pub(super) fn next(&self, from: u64, to: u64) -> Option<Span> {
        if from > to {
            return None;
        }
        let blocks = self.state().blocks;
        Some(Span { from, to: to.min(from.saturating_add(blocks - 1)) })
    }

    /// A range was answered with this many events.
    pub(super) fn served(&self, span: Span, events: usize) {
        let mut state = self.state();
        if events > COMFORTABLE_EVENTS {
            // Not a refusal, so no haste: towards the size that would have been comfortable.
            let comfortable = span.blocks().saturating_mul(COMFORTABLE_EVENTS as u64) / events as u64;
            state.blocks = state.blocks.min(comfortable.max(1));
        } else if span.blocks() >= state.blocks && events < COMFORTABLE_EVENTS / 2 {
            // Only an answer of full size says that more would do.
            state.served_since = state.served_since.saturating_add(1);
            if state.served_since >= FORGET_AFTER {
                state.refused = self.most.saturating_add(1);
            }
            let room = (state.refused - 1).saturating_sub(state.blocks);
            // Close enough to a limit is enough; the maximum of the configuration is none.
            if room > state.blocks / 8 || state.refused > self.most {
                state.blocks += room.div_ceil(2).min((self.most / STEPS).max(1));
            }
        }
    }

    /// A range was refused as too large.
    pub(super) fn refused(&self, span: Span) {
        let mut state = self.state();
        state.refused = state.refused.min(span.blocks());
        state.blocks = state.blocks.min(span.blocks() / 2).max(1);
        state.served_since = 0;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn size(span: &LogSpan) -> u64 {
        span.next(0, u64::MAX).unwrap().blocks()
    }

    #[test]
    fn grows_by_steps_and_halves_on_refusal() {
        let span = LogSpan::new(6_400);
        assert_eq!(size(&span), 64);
        for expected in [164, 264, 364] {
            span.served(span.next(0, u64::MAX).unwrap(), 0);
            assert_eq!(size(&span), expected);
        }
        span.refused(span.next(0, u64::MAX).unwrap());
        assert_eq!(size(&span), 182);
        for _ in 0..63 {
            span.served(span.next(0, u64::MAX).unwrap(), 0);
            assert!(size(&span) < 364, "what was refused is not asked for again soon");
        }
        for _ in 0..200 {
            span.served(span.next(0, u64::MAX).unwrap(), 0);
        }
        assert!(size(&span) > 5_700, "later it is, close to the maximum");
    }

    #[test]
    fn settles_just_below_a_fixed_limit() {
        let span = LogSpan::new(10_000);
        let mut refusals = 0;
        for _ in 0..500 {
            let asked = span.next(0, u64::MAX).unwrap();
            if asked.blocks() > 10 {
                refusals += 1;
                span.refused(asked);
            } else {
                span.served(asked, 3);
            }
        }
        assert!(refusals < 50, "{refusals} of 500 requests refused");
    }

    #[test]
    fn a_short_range_proves_nothing_about_a_longer_one() {
        let span = LogSpan::new(1_000);
        span.served(Span { from: 1, to: 3 }, 0);
        assert_eq!(size(&span), 64);
    }

    #[test]
    fn many_events_shrink_towards_a_comfortable_answer() {
        let span = LogSpan::new(1_000);
        span.served(Span { from: 0, to: 63 }, COMFORTABLE_EVENTS * 4);
        assert_eq!(size(&span), 16);
        span.served(Span { from: 0, to: 15 }, COMFORTABLE_EVENTS);
        assert_eq!(size(&span), 16, "comfortable: stays");
    }

    #[test]
    fn late_refusals_of_ranges_in_flight_do_not_halve_again() {
        let span = LogSpan::new(1_000);
        let in_flight = span.next(0, u64::MAX).unwrap();
        for _ in 0..4 {
            span.refused(in_flight);
        }
        assert_eq!(size(&span), 32);
    }

    proptest! {
        #[test]
        fn spans_cover_a_range_without_gap_or_overlap(from in 0_u64..1_000, length in 0_u64..500, most in 1_u64..300, refusals in 0..9) {
            let sizes = LogSpan::new(most);
            for _ in 0..refusals {
                sizes.refused(sizes.next(0, u64::MAX).unwrap());
            }
            let to = from + length;
            let mut next = from;
            while let Some(span) = sizes.next(next, to) {
                prop_assert_eq!(span.from, next);
                prop_assert!(span.to >= span.from && span.to <= to && span.blocks() <= most);
                if let Some((first, second)) = span.halves() {
                    prop_assert_eq!((first.from, first.to + 1, second.to), (span.from, second.from, span.to));
                }
                sizes.served(span, 0);
                next = span.to + 1;
            }
            prop_assert_eq!(next, to + 1);
        }
    }
}
