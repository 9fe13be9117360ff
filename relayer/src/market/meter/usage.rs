//! What an execution is charged for: what the provider says it used, as far as it can be true (T-60).
//!
//! A claim is held against what a tokenizer counts ([`super::tokenizer`]), within a tolerance for the model's own vocabulary, and
//! against bounds that hold for every tokenizer: nobody has more tokens than bytes ([`crate::catalog::tokens`]). Beyond the first the
//! count is paid, and somebody should look. A claim that cannot be read is no claim. What is paid never exceeds what was asked for, so
//! a hold always covers its charge.

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
    /// Tokens read.
    pub input: Side,
    /// Tokens written.
    pub output: Side,
    /// Tokens of output that were asked for, at most.
    pub asked: u64,
}

/// What can be counted of what was read, or of what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// As a tokenizer counts.
    pub counted: u64,
    /// Tokens that a chat template may add to that.
    pub template: u64,
    /// No tokenizer has more.
    pub most: u64,
}

impl Side {
    /// The count itself.
    fn count(&self) -> u64 {
        self.counted.min(self.most)
    }

    /// The highest claim that is believed: `tolerance` in percent above the count, rounded down, and what a template may add.
    fn believed(&self, tolerance: u64) -> u64 {
        let tolerated = u128::from(self.counted) * u128::from(tolerance.saturating_add(100)) / 100;
        let bound = tolerated + u128::from(self.template);
        u64::try_from(bound).map_or(self.most, |bound| bound.min(self.most))
    }

    /// What is paid of a claim, and whether it is believed.
    fn judge(&self, claimed: u64, tolerance: u64) -> (u64, bool) {
        if claimed <= self.believed(tolerance) { (claimed, true) } else { (self.count(), false) }
    }
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

/// Compares claim and count; `tolerance` in percent is what a claim may exceed the count by.
#[must_use]
pub fn meter(claim: Claim, count: &Count, tolerance: u64) -> Metered {
    let ((input, input_true), (output, output_true)) = match claim {
        Claim::Tokens { input, output } => (count.input.judge(input, tolerance), count.output.judge(output, tolerance)),
        Claim::None => ((count.input.count(), true), (count.output.count(), true)),
        Claim::Unreadable => ((count.input.count(), false), (count.output.count(), false)),
    };
    let more_than_asked = matches!(claim, Claim::Tokens { output, .. } if output > count.asked);
    let small = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX);
    Metered {
        input: small(input),
        output: small(output.min(count.asked)),
        disputed: !input_true || !output_true || more_than_asked,
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

    const INPUT: Side = Side { counted: 100, template: 40, most: 400 };
    const OUTPUT: Side = Side { counted: 50, template: 0, most: 200 };
    const COUNT: Count = Count { input: INPUT, output: OUTPUT, asked: 1_000 };

    fn metered(claim: Claim) -> (u32, u32, bool) {
        let metered = meter(claim, &COUNT, 10);
        (metered.input, metered.output, metered.disputed)
    }

    #[test]
    fn claims_are_believed_as_far_as_they_can_be_true() {
        let tokens = |input, output| Claim::Tokens { input, output };
        assert_eq!(metered(tokens(90, 40)), (90, 40, false));
        assert_eq!(metered(tokens(150, 55)), (150, 55, false), "within tolerance and template");
        assert_eq!(metered(tokens(151, 1)), (100, 1, true), "the smaller is paid");
        assert_eq!(metered(tokens(1, 56)), (1, 50, true));
        assert_eq!(metered(tokens(u64::MAX, u64::MAX)), (100, 50, true));
        assert_eq!(metered(tokens(0, 0)), (0, 0, false));
        assert_eq!(metered(Claim::None), (100, 50, false));
        assert_eq!(metered(Claim::Unreadable), (100, 50, true));
        // More was sent than was asked for: what was asked for is paid.
        let short = Count { asked: 40, ..COUNT };
        assert_eq!(meter(tokens(1, 45), &short, 10), Metered { input: 1, output: 40, disputed: true });
        assert_eq!(meter(Claim::None, &short, 10), Metered { input: 100, output: 40, disputed: false });
        // No tolerance is above what every tokenizer keeps to.
        let few = Count { output: Side { most: 52, ..OUTPUT }, ..COUNT };
        assert_eq!(meter(tokens(1, 53), &few, u64::MAX), Metered { input: 1, output: 50, disputed: true });
        assert_eq!(meter(tokens(1, 52), &few, u64::MAX), Metered { input: 1, output: 52, disputed: false });
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
            let side = |most: u64| Side { counted: most.wrapping_mul(claimed.1 % 8) / 4, template: claimed.0 % 90, most };
            let count = Count { input: side(input), output: side(output), asked };
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
