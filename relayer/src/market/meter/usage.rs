//! What an execution is charged for: what the provider says it used, as far as it can be true (T-8).
//!
//! Nobody has more tokens than bytes ([`crate::catalog::tokens`]): a claim above that is false, whatever the tokenizer. A claim that
//! cannot be read is no claim. What is paid never exceeds what was asked for, so a hold always covers its charge.

use compute_futures_protocol::Usdc;
use compute_futures_protocol::market::ProviderContent;

/// What a provider says it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It says nothing.
    None,
    /// It says something that is no usage: negative, fractional, in part, not numbers.
    Unreadable,
    /// So many tokens.
    Tokens {
        /// Read.
        input: u64,
        /// Written.
        output: u64,
    },
}

/// What can be counted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Tokens that the input has at most.
    pub input_most: u64,
    /// Tokens that the input has, most likely.
    pub input_likely: u64,
    /// Tokens that the answer has at most.
    pub output_most: u64,
    /// Tokens that the answer has, most likely.
    pub output_likely: u64,
    /// Tokens of output that were asked for, at most.
    pub asked: u64,
}

/// What is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metered {
    /// Tokens read.
    pub input: u32,
    /// Tokens written.
    pub output: u32,
    /// Whether the claim could not be true: somebody should look.
    pub disputed: bool,
}

/// Compares claim and count; `tolerance` in percent is what an answer may exceed our bound by, for texts that are not shown to us.
#[must_use]
pub fn meter(claim: Claim, count: &Count, tolerance: u64) -> Metered {
    let (input, output) = match claim {
        Claim::Tokens { input, output } => (input, output),
        Claim::None | Claim::Unreadable => (count.input_likely, count.output_likely),
    };
    let bound = u128::from(count.output_most) * u128::from(tolerance.saturating_add(100)) / 100;
    let written_too_much = u128::from(output) > bound || output > count.asked;
    let believed = if u128::from(output) > bound { count.output_most } else { output };
    let small = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
    Metered {
        input: small(input.min(count.input_most)),
        output: small(believed.min(count.asked)),
        disputed: match claim {
            Claim::None => false,
            Claim::Unreadable => true,
            Claim::Tokens { .. } => input > count.input_most || written_too_much,
        },
    }
}

/// What that costs, never above the hold. The second: whether the hold had to cut it, which the request's own bounds exclude.
///
/// `None` when the content does not have the model.
#[must_use]
pub fn charge(content: &ProviderContent, model: &str, metered: Metered, hold: Usdc) -> Option<(Usdc, bool)> {
    content.model(model)?;
    let cost = content.cost(model, u64::from(metered.input), u64::from(metered.output));
    Some(cost.filter(|cost| *cost <= hold).map_or((hold, true), |cost| (cost, false)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use compute_futures_protocol::market::{Model, ProviderType};
    use proptest::prelude::*;

    use super::*;

    const COUNT: Count =
        Count { input_most: 400, input_likely: 100, output_most: 200, output_likely: 50, asked: 1_000 };

    fn metered(claim: Claim) -> (u32, u32, bool) {
        let metered = meter(claim, &COUNT, 10);
        (metered.input, metered.output, metered.disputed)
    }

    #[test]
    fn claims_are_believed_as_far_as_they_can_be_true() {
        let tokens = |input, output| Claim::Tokens { input, output };
        assert_eq!(metered(tokens(90, 60)), (90, 60, false));
        assert_eq!(metered(tokens(400, 200)), (400, 200, false));
        assert_eq!(metered(tokens(401, 1)), (400, 1, true));
        assert_eq!(metered(tokens(1, 220)), (1, 220, false), "within the tolerance");
        assert_eq!(metered(tokens(1, 221)), (1, 200, true));
        assert_eq!(metered(tokens(u64::MAX, u64::MAX)), (400, 200, true));
        assert_eq!(metered(tokens(0, 0)), (0, 0, false));
        assert_eq!(metered(Claim::None), (100, 50, false));
        assert_eq!(metered(Claim::Unreadable), (100, 50, true));
        // More was sent than was asked for: what was asked for is paid.
        let short = Count { asked: 40, ..COUNT };
        assert_eq!(meter(tokens(1, 60), &short, 10), Metered { input: 1, output: 40, disputed: true });
        assert_eq!(meter(Claim::None, &short, 10).output, 40);
    }

    proptest! {
        /// I-8: the hold is the cost of the most that may be metered, so nothing metered is above it.
        #[test]
        fn a_hold_covers_its_charge(claimed in any::<(u64, u64)>(), kind in 0u8..3, sizes in any::<[u32; 3]>(), prices in any::<[u32; 3]>(),
            tolerance in 0u64..1000)
        {
            let usdc = |micros: u32| Usdc::from_micros(u64::from(micros >> 12));
            let content = ProviderContent {
                endpoint: "https://p.example".into(), provider_type: ProviderType::Cloud, rate_limit: 1, minimum_charge: usdc(prices[0]),
                features: Vec::new(),
                models: vec![Model { name: "m".into(), input_price: usdc(prices[1]), output_price: usdc(prices[2]), max_context: 1 }],
            };
            let [input, output, asked] = sizes.map(|size| u64::from(size >> 8));
            let count = Count { input_most: input, input_likely: input / 4, output_most: output, output_likely: output / 4, asked };
            let claim = match kind {
                0 => Claim::None,
                1 => Claim::Unreadable,
                _ => Claim::Tokens { input: claimed.0 >> (claimed.1 % 64), output: claimed.1 >> (claimed.0 % 64) },
            };
            let metered = meter(claim, &count, tolerance);
            let hold = content.cost("m", input, asked).unwrap();
            let (cost, cut) = charge(&content, "m", metered, hold).unwrap();
            prop_assert!(!cut && cost <= hold);
            prop_assert_eq!(Some(cost), content.cost("m", u64::from(metered.input), u64::from(metered.output)));
            if let Claim::Tokens { input, output } = claim {
                prop_assert!(u64::from(metered.input) <= input && u64::from(metered.output) <= output, "never more than was claimed");
            }
            let lower = Usdc::from_micros(cost.micros() / 2);
            prop_assert_eq!(charge(&content, "m", metered, lower), Some((lower, lower < cost)));
        }
    }
}
