//! Which provider serves a request best: pure, in integers, the same for the same figures.
//!
//! A provider has to fit first: it has the model, the request fits its context, and what is offered pays for its least charge and at
//! least one token. Among those that fit, healthy ones come before unknown ones and these before unhealthy ones; within each the
//! lower [`Ranked::score`] wins: price in micro-USDC, latency in milliseconds and downtime in basis points, each times its weight.

use std::cmp::Reverse;

use compute_futures_protocol::Usdc;
use compute_futures_protocol::market::{Model, ProviderContent, execution_cost};

use super::outcomes::{Health, Standing};

/// Latency that a provider is believed to have before anybody has measured it, in milliseconds.
const UNKNOWN_LATENCY: u64 = 2_000;
/// Share of time that a provider is believed to be up before anybody has looked, in basis points.
const UNKNOWN_UPTIME: u64 = 9_500;
/// Basis points in a whole.
const WHOLE: u64 = 10_000;

/// A provider, or a session with one, that could serve.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The caller's own name for it; it also breaks ties, the lower first.
    pub id: u64,
    /// The prices that count: those of the session, or of now.
    pub content: &'a ProviderContent,
    /// Whether its endpoint may be called at all.
    pub callable: bool,
    /// What was seen of it.
    pub health: Health,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wants<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Tokens that the input has, most likely: what the context has to hold.
    pub input_likely: u64,
    /// Tokens that the input has at most, by any tokenizer: what the price is computed with.
    pub input_most: u64,
    /// Most tokens of output that are of use.
    pub output: u64,
    /// Most that may be paid; `None`: whatever it costs.
    pub max_cost: Option<Usdc>,
}

/// What a micro-USDC, a millisecond and a basis point of downtime weigh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// For each micro-USDC that the request may cost.
    pub price: u64,
    /// For each millisecond that answers take on average.
    pub latency: u64,
    /// For each basis point of the last 30 days that it was down.
    pub uptime: u64,
}

/// How a request fits a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Tokens of output to ask for: as many as are of use, fit the context and are paid for.
    pub output: u64,
    /// Most that the execution costs then.
    pub cost: Usdc,
}

/// Why a request does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// It does not have the model.
    NoModel,
    /// The input leaves no room in the model's context of so many tokens.
    TooLong(u32),
    /// Not even one token is paid for; this much would.
    TooDear(Usdc),
    /// No amount that a session can hold pays for it.
    Unpayable,
}

/// A candidate that fits, with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranked {
    /// [`Candidate::id`].
    pub id: u64,
    /// How.
    pub fit: Fit,
    /// Lower is better, among those of one standing.
    pub score: u128,
}

/// The candidates that fit, best first.
#[must_use]
pub fn rank(candidates: &[Candidate<'_>], wants: &Wants<'_>, weights: &Weights) -> Vec<Ranked> {
    let mut ranked: Vec<(Reverse<Standing>, Ranked)> = candidates
        .iter()
        .filter(|candidate| candidate.callable)
        .filter_map(|candidate| {
            let fit = fit(candidate.content, wants).ok()?;
            let score = score(fit.cost, candidate.health, weights);
            Some((Reverse(candidate.health.standing), Ranked { id: candidate.id, fit, score }))
        })
        .collect();
    ranked.sort_by_key(|(standing, ranked)| (*standing, ranked.score, ranked.id));
    ranked.into_iter().map(|(_, ranked)| ranked).collect()
}

/// The best of the candidates that fit.
#[must_use]
pub fn choose(candidates: &[Candidate<'_>], wants: &Wants<'_>, weights: &Weights) -> Option<Ranked> {
    rank(candidates, wants, weights).into_iter().next()
}

/// How a request fits a provider, whatever its health.
///
/// # Errors
/// Says what is in the way.
pub fn fit(content: &ProviderContent, wants: &Wants<'_>) -> Result<Fit, Misfit> {
    let model = content.model(wants.model).ok_or(Misfit::NoModel)?;
    let room = u64::from(model.max_context).saturating_sub(wants.input_likely);
    if room == 0 || wants.output == 0 {
        return Err(Misfit::TooLong(model.max_context));
    }
    let cost = |output| content.cost(wants.model, wants.input_most, output);
    let least = cost(1).ok_or(Misfit::Unpayable)?;
    let mut output = wants.output.min(room);
    if let Some(budget) = wants.max_cost {
        let affordable = affordable(model, content.minimum_charge, wants.input_most, budget);
        output = output.min(affordable.filter(|tokens| *tokens > 0).ok_or(Misfit::TooDear(least))?);
    }
    Ok(Fit { output, cost: cost(output).ok_or(Misfit::Unpayable)? })
}

/// Most tokens of output for which an execution costs at most `budget`; `None` when not even its input is paid for.
fn affordable(model: &Model, minimum_charge: Usdc, input: u64, budget: Usdc) -> Option<u64> {
    let before = execution_cost(model.input_price, model.output_price, minimum_charge, input, 0)?;
    if before > budget {
        return None;
    }
    // Without the minimum charge: what the input alone is metered at.
    let metered = execution_cost(model.input_price, model.output_price, Usdc::ZERO, input, 0)?;
    // ⌈price × tokens / 1000⌉ ≤ rest is price × tokens ≤ 1000 × rest.
    let rest = u128::from(budget.saturating_sub(metered).micros()) * 1000;
    let tokens = rest.checked_div(u128::from(model.output_price.micros())).unwrap_or(u128::MAX);
    Some(u64::try_from(tokens).unwrap_or(u64::MAX))
}

fn score(cost: Usdc, health: Health, weights: &Weights) -> u128 {
    let uptime = health.uptime_bps.unwrap_or(UNKNOWN_UPTIME).min(WHOLE);
    let part = |weight: u64, figure: u64| u128::from(weight) * u128::from(figure);
    // Three products of 64-bit numbers fit 128 bits unless all of them are absurd.
    part(weights.price, cost.micros())
        .saturating_add(part(weights.latency, health.average_latency_ms.unwrap_or(UNKNOWN_LATENCY)))
        .saturating_add(part(weights.uptime, WHOLE - uptime))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use compute_futures_protocol::market::ProviderType;
    use proptest::prelude::*;

    use super::*;

    const WEIGHTS: Weights = Weights { price: 10, latency: 1, uptime: 10 };

    fn content(input_price: u64, output_price: u64, minimum: u64, max_context: u32) -> ProviderContent {
        let usdc = Usdc::from_micros;
        ProviderContent {
            endpoint: "https://provider.example/v1".into(),
            provider_type: ProviderType::Cloud,
            rate_limit: 60,
            minimum_charge: usdc(minimum),
            features: Vec::new(),
            models: vec![Model {
                name: "m".into(),
                input_price: usdc(input_price),
                output_price: usdc(output_price),
                max_context,
            }],
        }
    }

    fn wants(max_cost: Option<u64>) -> Wants<'static> {
        Wants {
            model: "m",
            input_likely: 100,
            input_most: 400,
            output: 1_000,
            max_cost: max_cost.map(Usdc::from_micros),
        }
    }

    fn healthy(latency: u64, uptime: u64) -> Health {
        Health {
            standing: Standing::Healthy,
            uptime_bps: Some(uptime),
            average_latency_ms: Some(latency),
            ..Health::default()
        }
    }

    #[test]
    fn what_does_not_fit_says_why() {
        let dear = content(1_000, 2_000, 50, 4_096);
        assert_eq!(fit(&dear, &Wants { model: "n", ..wants(None) }), Err(Misfit::NoModel));
        assert_eq!(fit(&content(1, 1, 1, 100), &wants(None)), Err(Misfit::TooLong(100)));
        // 400 micro-USDC of input, 2 a token.
        assert_eq!(fit(&dear, &wants(Some(399))), Err(Misfit::TooDear(Usdc::from_micros(402))));
        assert_eq!(fit(&dear, &wants(Some(401))), Err(Misfit::TooDear(Usdc::from_micros(402))));
        assert_eq!(fit(&dear, &wants(Some(402))), Ok(Fit { output: 1, cost: Usdc::from_micros(402) }));
        assert_eq!(fit(&dear, &wants(Some(2_400))), Ok(Fit { output: 1_000, cost: Usdc::from_micros(2_400) }));
        assert_eq!(fit(&dear, &wants(None)).unwrap().output, 1_000);
        let most = (1 << 48) - 1;
        assert_eq!(
            fit(&content(most, most, 0, 4_096), &Wants { input_most: 10_000, ..wants(None) }),
            Err(Misfit::Unpayable)
        );
        let minimum = content(1, 1, 500, 4_096);
        assert_eq!(fit(&minimum, &wants(Some(499))), Err(Misfit::TooDear(Usdc::from_micros(500))));
        assert_eq!(fit(&minimum, &wants(Some(500))), Ok(Fit { output: 1_000, cost: Usdc::from_micros(500) }));
        assert_eq!(fit(&content(0, 0, 0, 600), &wants(Some(0))), Ok(Fit { output: 500, cost: Usdc::ZERO }));
    }

    #[test]
    fn health_comes_first_then_the_score_then_the_number() {
        let (cheap, dear) = (content(1, 1, 1, 4_096), content(100, 100, 1, 4_096));
        let of = |id, content, health| Candidate { id, content, callable: true, health };
        let unhealthy = Health { standing: Standing::Unhealthy, ..healthy(1, 10_000) };
        let candidates = [
            of(1, &cheap, unhealthy),
            of(2, &cheap, Health::default()),
            of(3, &dear, healthy(100, 10_000)),
            of(4, &cheap, healthy(100, 10_000)),
            of(5, &cheap, healthy(100, 10_000)),
            of(6, &cheap, healthy(100, 9_000)),
            of(7, &cheap, healthy(90_000, 10_000)),
            Candidate { callable: false, ..of(0, &cheap, healthy(1, 10_000)) },
        ];
        let order: Vec<u64> = rank(&candidates, &wants(None), &WEIGHTS).iter().map(|ranked| ranked.id).collect();
        assert_eq!(order, [4, 5, 3, 6, 7, 2, 1]);
        let only_speed = Weights { price: 0, latency: 1, uptime: 0 };
        assert_eq!(choose(&candidates, &wants(None), &only_speed).unwrap().id, 3, "price counts for nothing then");
        assert_eq!(choose(&[], &wants(None), &WEIGHTS), None);
    }

    prop_compose! {
        fn any_content()(input in 0u64..5_000, output in 0u64..5_000, minimum in 0u64..5_000, context in 1u32..10_000)
            -> ProviderContent { content(input, output, minimum, context) }
    }

    proptest! {
        /// I-10: whatever fits costs at most what was allowed, and one token more would not have fitted.
        #[test]
        fn as_much_as_is_paid_for_and_no_more(content in any_content(), most in 0u64..20_000, wanted in 1u64..20_000,
            budget in 0u64..100_000)
        {
            let wants = Wants {
                model: "m", input_likely: most / 4, input_most: most, output: wanted,
                max_cost: Some(Usdc::from_micros(budget)),
            };
            let cost = |output| content.cost("m", most, output).unwrap().micros();
            let room = u64::from(content.models[0].max_context).saturating_sub(most / 4);
            match fit(&content, &wants) {
                Ok(fit) => {
                    prop_assert!(fit.output >= 1 && fit.output <= wanted.min(room));
                    prop_assert_eq!(fit.cost.micros(), cost(fit.output));
                    prop_assert!(fit.cost.micros() <= budget);
                    prop_assert!(fit.output == wanted.min(room) || cost(fit.output + 1) > budget);
                }
                Err(Misfit::TooLong(_)) => prop_assert_eq!(room, 0),
                Err(Misfit::TooDear(least)) => {
                    prop_assert!(least.micros() > budget);
                    prop_assert_eq!(least.micros(), cost(1));
                }
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }

        /// The order depends on the figures alone, and who is better in everything is never behind.
        #[test]
        fn the_order_is_a_function_of_the_figures(
            figures in proptest::collection::vec((any_content(), 0u64..10_000, 0u64..=10_000, 0u8..3), 1..12), seed in any::<u64>())
        {
            let candidates: Vec<Candidate<'_>> = figures.iter().zip(0..).map(|((content, latency, uptime, standing), id)| {
                let standing = [Standing::Unhealthy, Standing::Unknown, Standing::Healthy][usize::from(*standing)];
                Candidate { id, content, callable: true, health: Health { standing, ..healthy(*latency, *uptime) } }
            }).collect();
            let wants = wants(Some(3_000));
            let ranked = rank(&candidates, &wants, &WEIGHTS);
            let mut shuffled = candidates.clone();
            shuffled.rotate_left(usize::try_from(seed % candidates.len() as u64).unwrap());
            prop_assert_eq!(&rank(&shuffled, &wants, &WEIGHTS), &ranked);
            for pair in ranked.windows(2) {
                let [before, after] = [pair[0], pair[1]].map(|ranked| &candidates[usize::try_from(ranked.id).unwrap()]);
                let worse = before.health.standing <= after.health.standing
                    && pair[0].fit.cost > pair[1].fit.cost
                    && before.health.average_latency_ms > after.health.average_latency_ms
                    && before.health.uptime_bps < after.health.uptime_bps;
                prop_assert!(!worse, "{:?} before {:?}", pair[0], pair[1]);
            }
        }
    }
}
