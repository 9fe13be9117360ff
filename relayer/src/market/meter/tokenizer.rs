//! Counting tokens, to hold a provider's claim against (T-60).
//!
//! A model's own tokenizer is as good as secret: providers name their models as they like. Two vocabularies that published models are
//! built on stand in for it: OpenAI's `cl100k_base`, whose merges Llama 3 took over, and Voyage 3's, which has a token for each
//! digit as Llama 2, Gemma and Qwen do. A text has as many tokens as the larger count says; what a model's own vocabulary makes of
//! it beyond that is what `market.usage_tolerance_percent` is for. Both take time linear in the text, whatever a stranger writes.

use bpe_openai::{cl100k_base, voyage3_base};

/// Marks around a message, and before the answer, in a chat template as the common ones have them.
const MARKS: u64 = 3;

/// Tokens of a text.
fn tokens(text: &str) -> u64 {
    cl100k_base().count(text).max(voyage3_base().count(text)) as u64
}

/// Tokens that a model reads for a conversation of these messages.
#[must_use]
pub fn read<'a>(messages: impl IntoIterator<Item = &'a str>) -> u64 {
    messages.into_iter().map(|text| MARKS + tokens(text)).sum::<u64>() + MARKS
}

/// Tokens that a model wrote for these texts: each ends with a token that has no text.
#[must_use]
pub fn written<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    texts.into_iter().map(|text| 1 + tokens(text)).sum()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn texts_have_the_tokens_that_published_vocabularies_give_them() {
        // As OpenAI's tiktoken counts them with cl100k_base: 4, 10.
        assert_eq!(tokens("Hello, world!"), 4);
        assert_eq!(tokens("The quick brown fox jumps over the lazy dog."), 10);
        assert_eq!(tokens("1234567890"), 10, "a token a digit, where the other vocabulary has one for three");
        assert_eq!(tokens(""), 0);
        assert_eq!(read(["Hello, world!", ""]), 3 + 4 + 3 + 3);
        assert_eq!(written(["Hello, world!"]), 5);
        assert_eq!((read([]), written([])), (3, 0));
    }

    /// A text made to be slow to count costs no more than another: an encoder that merges pairs one by one takes hours for this.
    #[test]
    fn no_text_is_slow_to_count() {
        tokens("loads the vocabularies");
        let started = Instant::now();
        for text in ["a", " ", "\u{0300}", "漢", "🏳️‍🌈", "0"] {
            assert!(tokens(&text.repeat(200_000 / text.len())) > 0);
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
}
