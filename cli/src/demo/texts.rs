//! What the demo's jobs work on: public-domain texts, cut so that every job is another one.

const TEXTS: [&str; 4] = [
    include_str!("../../assets/smith.txt"),
    include_str!("../../assets/darwin.txt"),
    include_str!("../../assets/madison.txt"),
    include_str!("../../assets/lovelace.txt"),
];

/// The paragraphs of all texts.
fn paragraphs() -> Vec<&'static str> {
    TEXTS.iter().flat_map(|text| text.split("\n\n")).map(str::trim).filter(|text| !text.is_empty()).collect()
}

/// Text of the `number`-th job: two to four consecutive paragraphs, another choice for each number.
#[must_use]
pub(crate) fn excerpt(number: usize) -> String {
    let paragraphs = paragraphs();
    let (start, length) = (number % paragraphs.len(), 2 + (number / paragraphs.len()) % 3);
    let chosen: Vec<&str> = paragraphs.iter().copied().cycle().skip(start).take(length).collect();
    format!("Summarise for reader {number}:\n\n{}", chosen.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_has_a_text_of_its_own() {
        let texts: std::collections::HashSet<String> = (0..200).map(excerpt).collect();
        assert_eq!(texts.len(), 200);
        assert!(texts.iter().all(|text| text.len() > 300));
    }
}
