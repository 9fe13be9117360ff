//! Hashed lexical embeddings: words, pairs of words and character n-grams, each added with a sign at a place that its hash
//! names (Weinberger et al., 2009). Texts that share vocabulary lie close together; meaning beyond vocabulary is not seen.
#![allow(clippy::float_arithmetic, reason = "coordinates of vectors, no money")]

use std::collections::BTreeMap;

use super::sentences;

/// Length of a vector when the client does not say.
pub(super) const DEFAULT_DIMENSIONS: u32 = 512;

/// Weight of a word, of a pair of neighbours, of an n-gram.
const WORD: f64 = 1.0;
const PAIR: f64 = 0.5;
const GRAM: f64 = 0.25;
/// Lengths of the n-grams, in characters.
const GRAMS: std::ops::RangeInclusive<usize> = 3..=4;

/// The embedding of `text`: `dimensions` numbers of length (L2) one. The same text gives the same vector on every machine.
pub(super) fn embed(text: &str, dimensions: usize) -> Vec<f32> {
    let mut features: BTreeMap<u64, (f64, u32)> = BTreeMap::new();
    let mut add = |kind: u8, parts: &[&str], weight: f64| {
        features.entry(hash(kind, parts)).or_insert((weight, 0)).1 += 1;
    };
    let words: Vec<String> = sentences::words(text).collect();
    for word in &words {
        add(b'w', &[word], WORD);
        // Ends are marked, so that a prefix differs from an infix.
        let marked: Vec<char> = std::iter::once('^').chain(word.chars()).chain(std::iter::once('$')).collect();
        for gram in GRAMS.flat_map(|length| marked.windows(length)) {
            add(b'g', &[&gram.iter().collect::<String>()], GRAM);
        }
    }
    for pair in words.windows(2) {
        add(b'p', &[&pair[0], &pair[1]], PAIR);
    }
    if words.is_empty() {
        // Punctuation, emoji: the tokens themselves.
        for (_, token) in sentences::tokens(text) {
            add(b't', &[token], WORD);
        }
    }

    let mut vector = vec![0.0_f64; dimensions];
    for (hash, (weight, times)) in features {
        let place = usize::try_from((hash >> 1) % dimensions as u64).unwrap_or_default();
        let sign = if hash & 1 == 0 { 1.0 } else { -1.0 };
        vector[place] += sign * weight * (1.0 + f64::from(times).ln());
    }
    let mut length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    if length == 0.0 {
        // Everything cancelled out, which few dimensions make possible: a unit vector all the same.
        vector[0] = 1.0;
        length = 1.0;
    }
    vector.into_iter().map(|value| (value / length) as f32).collect()
}

/// FNV-1a with a final mix: the same for ever, so that stored vectors stay comparable.
fn hash(kind: u8, parts: &[&str]) -> u64 {
    let bytes = std::iter::once(kind).chain(parts.iter().flat_map(|part| part.bytes().chain(std::iter::once(0))));
    let fnv =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53) ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likeness(a: &str, b: &str) -> f32 {
        embed(a, 512).iter().zip(embed(b, 512)).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn texts_about_the_same_are_closer() {
        let query = "refund of unused compute credit";
        let near = likeness(query, "How do I get unused credit refunded?");
        let far = likeness(query, "The weather in March is often mild.");
        assert!(near > far + 0.1, "{near} {far}");
        let chinese = likeness("买方应当按时付款", "买方没有付款");
        assert!(chinese > likeness("买方应当按时付款", "天气很好"), "{chinese}");
    }

    #[test]
    fn is_stable() {
        // A change of these figures makes every stored vector useless: it needs another model id.
        let vector = embed("compute futures", 8);
        assert_eq!(
            vector.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(" "),
            "0.2294 -0.1147 -0.1147 -0.8030 0.0000 0.2294 0.1147 0.4588"
        );
    }

    proptest::proptest! {
        #[test]
        fn is_a_unit_vector_for_any_text(text in "\\PC{0,100}", dimensions in 1_usize..4096) {
            let vector = embed(&text, dimensions);
            let length: f32 = vector.iter().map(|value| value * value).sum();
            proptest::prop_assert_eq!(vector.len(), dimensions);
            proptest::prop_assert!((length - 1.0).abs() < 1e-3, "{}", length);
        }
    }
}
