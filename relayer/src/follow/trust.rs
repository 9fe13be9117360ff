//! Which deposits may be spent already (T-15): small ones at once, large ones when safe or finalized.

use compute_futures_protocol::Usdc;

/// A deposit that is not finalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fresh {
    pub(crate) block: u64,
    pub(crate) amount: Usdc,
}

/// Σ deposits that may not be spent yet. Sums count, not single deposits: many small ones in one fresh block are as risky as one
/// large one. `deposits` in order of blocks.
pub(crate) fn unconfirmed(deposits: &[Fresh], safe: u64, finalized: u64, trust_latest: Usdc, trust_safe: Usdc) -> Usdc {
    let (mut not_safe, mut not_final, mut locked) = (0_u64, 0_u64, 0_u64);
    for deposit in deposits.iter().filter(|deposit| deposit.block > finalized) {
        let amount = deposit.amount.micros();
        not_final += amount;
        let mut usable = not_final <= trust_safe.micros();
        if deposit.block > safe {
            not_safe += amount;
            usable &= not_safe <= trust_latest.micros();
        }
        if !usable {
            locked += amount;
        }
    }
    Usdc::from_micros(locked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(deposits: &[(u64, u64)], safe: u64, finalized: u64) -> u64 {
        let deposits: Vec<_> = deposits
            .iter()
            .map(|(block, amount)| Fresh { block: *block, amount: Usdc::from_micros(*amount) })
            .collect();
        unconfirmed(&deposits, safe, finalized, Usdc::from_micros(100), Usdc::from_micros(1000)).micros()
    }

    #[test]
    fn small_deposits_count_at_once() {
        assert_eq!(locked(&[(10, 100)], 5, 1), 0);
    }

    #[test]
    fn larger_ones_wait_for_safe() {
        assert_eq!(locked(&[(10, 101)], 9, 1), 101);
        assert_eq!(locked(&[(10, 101)], 10, 1), 0);
    }

    #[test]
    fn the_largest_wait_for_finalized() {
        assert_eq!(locked(&[(10, 1001)], 10, 9), 1001);
        assert_eq!(locked(&[(10, 1001)], 10, 10), 0);
    }

    #[test]
    fn many_small_ones_are_one_large_one() {
        assert_eq!(locked(&[(10, 60), (11, 60)], 9, 1), 60);
        assert_eq!(locked(&[(10, 60), (11, 60)], 10, 1), 0);
        assert_eq!(locked(&[(10, 600), (11, 600)], 11, 1), 600);
    }

    #[test]
    fn finalized_deposits_do_not_count_against_the_limits() {
        assert_eq!(locked(&[(1, 5000), (10, 100)], 9, 1), 0);
    }
}
