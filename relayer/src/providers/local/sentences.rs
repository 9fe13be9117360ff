//! Sentences and words of any language, by Unicode's own rules (UAX #29).

use unicode_segmentation::UnicodeSegmentation;

/// Sentences shorter than this many tokens lean on the next one ("Dr.", "No. 5", a bare list number).
const TOO_SHORT: usize = 3;

/// The tokens of a text: words, numbers and punctuation marks; every ideograph is one. Never more than its bytes.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_word_bound_indices().filter(|(_, token)| !token.chars().all(char::is_whitespace))
}

/// How many tokens a text has.
pub(super) fn count_tokens(text: &str) -> usize {
    tokens(text).count()
}

/// The words of a text in lower case, without punctuation.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    text.unicode_words().map(str::to_lowercase)
}

/// The first `limit` tokens of a text.
pub(super) fn first_tokens(text: &str, limit: usize) -> &str {
    tokens(text).nth(limit).map_or(text, |(end, _)| &text[..end]).trim_end()
}

/// The sentences of a text, trimmed, in order. Lines end sentences too: headings and list items have no full stop.
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    for line in text.lines() {
        // Neighbours are joined by position, so that what was between them stays.
        let mut start = None;
        for (at, piece) in line.split_sentence_bound_indices() {
            let from = *start.get_or_insert(at);
            let end = at + piece.len();
            if count_tokens(&line[from..end]) >= TOO_SHORT {
                sentences.push(line[from..end].trim());
                start = None;
            }
        }
        if let Some(from) = start {
            let rest = line[from..].trim();
            if !rest.is_empty() {
                sentences.push(rest);
            }
        }
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_sentences_of_several_scripts() {
        assert_eq!(
            split("One thing happened. Then another did! Did it?"),
            ["One thing happened.", "Then another did!", "Did it?"]
        );
        assert_eq!(split("今天天气很好。我们去公园吧！"), ["今天天气很好。", "我们去公园吧！"]);
        assert_eq!(
            split("Первое предложение здесь. Второе тоже здесь."),
            ["Первое предложение здесь.", "Второе тоже здесь."]
        );
        assert_eq!(
            split("A heading\n\n- first item here\n- second item here"),
            ["A heading", "- first item here", "- second item here"]
        );
        assert_eq!(split("Dr. Smith came home late."), ["Dr. Smith came home late."]);
        assert_eq!(split(" \n "), Vec::<&str>::new());
    }

    #[test]
    fn first_tokens_cuts_between_tokens() {
        assert_eq!(first_tokens("one two three", 2), "one two");
        assert_eq!(first_tokens("one two", 5), "one two");
        assert_eq!(first_tokens("一二三四", 2), "一二");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_handled_and_has_no_more_tokens_than_bytes(text in "\\PC{0,200}") {
            proptest::prop_assert!(count_tokens(&text) <= text.len());
            for sentence in split(&text) {
                proptest::prop_assert!(text.contains(sentence));
            }
            proptest::prop_assert!(count_tokens(first_tokens(&text, 3)) <= 3);
        }
    }
}
