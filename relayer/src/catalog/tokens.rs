//! Counting tokens without the model's tokenizer: bounds that hold for every tokenizer, so that a hold always covers the charge.
//!
//! Every tokenizer in use maps at least one byte of text to each token, so a text of `n` UTF-8 bytes has at most `n` tokens.
//! Chat templates add marks around each message and a preamble; [`PER_MESSAGE`] and [`PER_JOB`] leave room for them.

use compute_futures_protocol::Usage;
use serde_json::{Map, Value};

use crate::providers::{Answer, JobInput};

/// Room for the marks that a chat template puts around a message.
pub const PER_MESSAGE: u64 = 16;
/// Room for a template's preamble.
pub const PER_JOB: u64 = 64;

/// At most this many tokens are read for `job`, by any tokenizer.
#[must_use]
pub fn input_upper_bound(job: &JobInput) -> u64 {
    match job {
        JobInput::TextInference(job) => {
            PER_JOB + job.messages.iter().map(|message| message.content.len() as u64 + PER_MESSAGE).sum::<u64>()
        }
        JobInput::Embeddings(job) => job.input.iter().map(|text| text.len() as u64 + PER_MESSAGE).sum(),
        _ => 0,
    }
}

/// At most this many tokens were written, judging by what was received: the recount that a lying provider runs into.
#[must_use]
pub fn output_upper_bound(body: &Map<String, Value>) -> u64 {
    // The end-of-answer mark is a token without text.
    output_texts(body).map(|text| text.len() as u64 + 1).sum()
}

/// Usage as it can be counted here: images and characters exactly, tokens at four bytes each, rounded up, and as many seconds of
/// film as were asked for.
#[must_use]
pub fn estimate(job: &JobInput, answer: &Answer) -> Usage {
    let tokens = |bytes: usize| (bytes as u64).div_ceil(4);
    let none = Usage::default();
    match job {
        JobInput::TextInference(job) => {
            let input = job.messages.iter().map(|message| message.content.len()).sum();
            Usage::tokens(tokens(input), tokens(output_texts(&answer.body).map(str::len).sum()))
        }
        JobInput::Embeddings(job) => Usage::tokens(tokens(job.input.iter().map(String::len).sum()), 0),
        JobInput::ImageGeneration(_) => Usage { images: answer.artifacts.len() as u64, ..none },
        JobInput::VideoGeneration(job) => Usage { seconds: job.seconds.map_or(u64::MAX, u64::from), ..none },
        JobInput::TextToSpeech(job) => Usage { characters: job.input.chars().count() as u64, ..none },
        JobInput::DocumentParsing(_) => {
            let text = answer.body.get("text").and_then(Value::as_str).unwrap_or_default();
            Usage { characters: text.chars().count() as u64, ..none }
        }
        JobInput::SpeechToText(_) | JobInput::Gpu(_) => none,
    }
}

/// The texts of an answer: content and, where shown, reasoning.
fn output_texts(body: &Map<String, Value>) -> impl Iterator<Item = &str> {
    body.get("choices")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|choice| choice.get("message"))
        .flat_map(|message| [message.get("content"), message.get("reasoning_content")])
        .flatten()
        .filter_map(Value::as_str)
}
