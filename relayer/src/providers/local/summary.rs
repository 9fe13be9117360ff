//! Extractive summary: the sentences nearest to the centre of the text, early ones favoured, repetitions avoided.
#![allow(clippy::float_arithmetic, reason = "scores of sentences, no money")]

use std::collections::{BTreeMap, BTreeSet};

use super::sentences;

/// What a sentence gains by standing first; the n-th gains 1/n of it.
const POSITION: f64 = 0.25;
/// What a sentence loses by saying what is already in the summary.
const REPETITION: f64 = 0.5;
/// Most sentences in a summary.
const MOST_SENTENCES: usize = 12;
/// Longest instruction before the text, in tokens.
const INSTRUCTION: usize = 10;
/// Sentences that compete; of a longer text the first ones.
const COMPETING: usize = 5_000;

/// A summary within a number of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub text: String,
    /// Whether the limit cut a sentence short.
    pub cut: bool,
}

/// Weight by word, in the order of words: sums come out the same every time.
type Vector = BTreeMap<u32, f64>;

/// Summarises `text` in at most `max_tokens` tokens (see [`sentences::tokens`]). The same text gives the same summary.
pub(super) fn summarize(text: &str, max_tokens: usize) -> Summary {
    let content = sentences::split(without_instruction(text));
    let content = &content[..content.len().min(COMPETING)];
    let chosen = choose(content, max_tokens);
    if let (true, Some(first)) = (chosen.is_empty(), content.first()) {
        // Not one whole sentence fits.
        return Summary { text: sentences::first_tokens(first, max_tokens).to_owned(), cut: true };
    }
    Summary { text: chosen.into_iter().map(|at| content[at]).collect::<Vec<_>>().join(" "), cut: false }
}

/// Leaves out "Summarize this contract:": a few words before a colon, at the start, are an instruction and no content.
fn without_instruction(text: &str) -> &str {
    match text.split_once([':', '：']) {
        Some((words, rest))
            if !rest.trim().is_empty()
                && !words.contains('\n')
                && (2..=INSTRUCTION).contains(&sentences::count_tokens(words)) =>
        {
            rest
        }
        _ => text,
    }
}

/// Indices of the chosen sentences, in text order.
fn choose(content: &[&str], max_tokens: usize) -> BTreeSet<usize> {
    let vectors = vectors(content);
    let mut centre = Vector::new();
    for vector in &vectors {
        for (word, weight) in vector {
            *centre.entry(*word).or_default() += weight;
        }
    }
    let scores: Vec<f64> =
        vectors.iter().enumerate().map(|(at, vector)| cosine(vector, &centre) + POSITION / (at + 1) as f64).collect();
    let lengths: Vec<usize> = content.iter().map(|sentence| sentences::count_tokens(sentence)).collect();
    let wanted = content.len().isqrt().clamp(1, MOST_SENTENCES);

    let mut chosen = BTreeSet::new();
    let mut repeated = vec![0.0_f64; content.len()];
    let mut left = max_tokens;
    while chosen.len() < wanted {
        let best = (0..content.len())
            .filter(|at| !chosen.contains(at) && lengths[*at] <= left)
            .map(|at| (at, scores[at] - REPETITION * repeated[at]))
            // The earlier of two equals.
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        let Some((best, _)) = best else { break };
        chosen.insert(best);
        left -= lengths[best];
        for (at, repeated) in repeated.iter_mut().enumerate() {
            *repeated = repeated.max(cosine(&vectors[at], &vectors[best]));
        }
    }
    chosen
}

/// TF-ISF vectors: a word counts by its frequency in the sentence (dampened) and by how few sentences have it.
fn vectors(content: &[&str]) -> Vec<Vector> {
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let counts: Vec<BTreeMap<u32, u32>> = content
        .iter()
        .map(|sentence| {
            let mut count = BTreeMap::new();
            for word in sentences::words(sentence) {
                let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                *count.entry(*numbers.entry(word).or_insert(next)).or_insert(0) += 1;
            }
            count
        })
        .collect();
    let mut spread: BTreeMap<u32, u32> = BTreeMap::new();
    for word in counts.iter().flat_map(BTreeMap::keys) {
        *spread.entry(*word).or_insert(0) += 1;
    }
    let sentences = content.len() as f64;
    counts
        .into_iter()
        .map(|count| {
            count
                .into_iter()
                .map(|(word, times)| {
                    let rarity = (1.0 + sentences / f64::from(spread.get(&word).copied().unwrap_or(1))).ln();
                    (word, (1.0 + f64::from(times).ln()) * rarity)
                })
                .collect()
        })
        .collect()
}

fn cosine(a: &Vector, b: &Vector) -> f64 {
    let norm = |vector: &Vector| vector.values().map(|weight| weight * weight).sum::<f64>().sqrt();
    let product: f64 = a.iter().filter_map(|(word, weight)| b.get(word).map(|other| weight * other)).sum();
    let norms = norm(a) * norm(b);
    if norms > 0.0 { product / norms } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Summarize this contract: The supplier delivers solar panels to the buyer every month. \
        The buyer pays the supplier within thirty days of each delivery. Lunch was pleasant. \
        If the buyer pays late, the supplier may stop the delivery of solar panels. \
        The weather in March is often mild. Both the buyer and the supplier may end the contract with ninety days of notice.";

    #[test]
    fn keeps_what_the_text_is_about() {
        let summary = summarize(TEXT, 200);
        assert!(!summary.cut);
        assert!(summary.text.contains("supplier"), "{}", summary.text);
        assert!(
            !summary.text.contains("Lunch") && !summary.text.contains("weather") && !summary.text.contains("Summarize"),
            "{}",
            summary.text
        );
        assert_eq!(summary, summarize(TEXT, 200));
    }

    #[test]
    fn does_not_say_a_thing_twice() {
        let text = "The cat sat on the mat today. The cat sat on the mat today. Dogs bark loudly at night in the yard. Rain fell on the hills all day.";
        let summary = summarize(text, 200).text;
        assert_eq!(summary.matches("The cat sat").count(), 1, "{summary}");
    }

    #[test]
    fn honours_the_limit_and_any_language() {
        let cut = summarize("A single sentence that is rather long for the limit given here.", 4);
        assert_eq!(cut, Summary { text: "A single sentence that".into(), cut: true });
        assert_eq!(
            summarize("请总结：买方应当按时付款。卖方应当按时交货。", 9),
            Summary { text: "买方应当按时付款。".into(), cut: false }
        );
    }

    proptest::proptest! {
        #[test]
        fn never_more_tokens_than_allowed_and_never_nothing(text in "\\PC{0,400}", limit in 1_usize..60) {
            let summary = summarize(&text, limit);
            proptest::prop_assert!(sentences::count_tokens(&summary.text) <= limit);
            proptest::prop_assert_eq!(summary.text.is_empty(), text.trim().is_empty());
        }
    }
}
