//! Checking an answer while it passes: nothing is kept but hashes, and what the receipt itself needs.

use alloy_primitives::Keccak256;
use compute_futures_protocol::{B256, JobAuthorization, SignedReceipt, canonical_json_hash, keccak256};
use serde::Deserialize;
use serde_json::Value;

use crate::{Credit, CreditError};

/// Most that one line of a stream may hold: its last event repeats the whole answer.
const LONGEST: usize = 32 * 1024 * 1024;

/// A paid answer on its way, piece by piece.
pub struct Passing {
    report: Option<Value>,
    form: Form,
}

enum Form {
    /// One body: its hash so far.
    Whole(Box<Hasher>),
    /// Server-sent events.
    Events(Box<Events>),
}

/// keccak256 of what was written so far.
#[derive(Default)]
struct Hasher(Keccak256);

#[derive(Default)]
struct Events {
    /// The line so far; let go when it is longer than any of ours.
    line: Vec<u8>,
    too_long: bool,
    /// Whether the event is the receipt's.
    is_receipt: bool,
    /// The text that was streamed.
    content: Hasher,
    last: Option<Last>,
}

/// The event `receipt`: the answer as a whole, and what was paid for it.
#[derive(Deserialize)]
struct Last {
    answer: Value,
    payment: Payment,
}

#[derive(Deserialize)]
struct Payment {
    receipt: SignedReceipt,
}

impl Passing {
    /// An answer with this `Content-Type` and this decoded `PAYMENT-RESPONSE`.
    #[must_use]
    pub fn new(content_type: &[u8], report: Option<Value>) -> Self {
        let events = content_type.starts_with(b"text/event-stream");
        let form = if events { Form::Events(Box::default()) } else { Form::Whole(Box::default()) };
        Self { report, form }
    }

    /// The next bytes as they came.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.form {
            Form::Whole(hash) => hash.0.update(bytes),
            Form::Events(events) => bytes.split_inclusive(|byte| *byte == b'\n').for_each(|piece| events.feed(piece)),
        }
    }

    /// All of it has passed: the receipt, if it holds for this very answer.
    ///
    /// # Errors
    /// [`CreditError::BadReceipt`] names what does not hold.
    pub fn finish(self, credit: &Credit, authorization: &JobAuthorization) -> Result<SignedReceipt, CreditError> {
        let missing = || CreditError::BadReceipt("the answer holds no receipt".into());
        match self.form {
            Form::Whole(hash) => {
                let report = self.report.ok_or_else(missing)?;
                let signed = crate::receipt_of(&Value::Null, Some(&report))?;
                credit.check_receipt(signed, authorization, attested(&report, hash.0.finalize())?)
            }
            Form::Events(mut events) => {
                let line = std::mem::take(&mut events.line);
                events.read(&line);
                let Last { answer, payment } = events.last.ok_or_else(missing)?;
                // Beside an answer that carries its own receipt, the receipt covers `compute` alone.
                let covered = answer.get("compute").unwrap_or(&answer);
                let text = covered.pointer("/choices/0/message/content").and_then(Value::as_str).unwrap_or_default();
                if keccak256(text) != events.content.0.finalize() {
                    return Err(CreditError::BadReceipt(
                        "it covers another text than the one that was streamed".into(),
                    ));
                }
                credit.check_receipt(payment.receipt, authorization, canonical_json_hash(covered))
            }
        }
    }
}

/// What a receipt in a header attests of a body with this hash: the body itself, or an answer in the header that names the body by its
/// hash, when the body is a file.
///
/// # Errors
/// [`CreditError::BadReceipt`] when the answer names another file.
pub(crate) fn attested(report: &Value, body: B256) -> Result<B256, CreditError> {
    let Some(answer) = report.pointer("/extra/answer").and_then(Value::as_str) else { return Ok(body) };
    let named = serde_json::from_str::<Value>(answer).unwrap_or_default();
    // Audio, or the plain text of a recording.
    let names = |pointer| named.pointer(pointer).and_then(Value::as_str).is_some_and(|hash| hash.parse() == Ok(body));
    if names("/audio/hash") || names("/text/hash") {
        return Ok(keccak256(answer));
    }
    Err(CreditError::BadReceipt("it covers another output than the one received".into()))
}

impl Events {
    fn feed(&mut self, piece: &[u8]) {
        self.line.extend_from_slice(piece);
        if piece.ends_with(b"\n") {
            let line = std::mem::take(&mut self.line);
            if !std::mem::take(&mut self.too_long) {
                self.read(&line);
            }
        } else if self.line.len() > LONGEST {
            self.too_long = true;
            self.line.clear();
        }
    }

    fn read(&mut self, line: &[u8]) {
        let line = line.trim_ascii_end();
        if let Some(event) = line.strip_prefix(b"event:") {
            self.is_receipt = event.trim_ascii() == b"receipt";
        } else if line.is_empty() {
            self.is_receipt = false;
        } else if let Some(data) = line.strip_prefix(b"data:") {
            if self.is_receipt {
                self.last = serde_json::from_slice(data).ok();
            } else if let Ok(chunk) = serde_json::from_slice::<Value>(data)
                && let Some(text) = chunk.pointer("/choices/0/delta/content").and_then(Value::as_str)
            {
                self.content.0.update(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_that_the_answer_in_the_header_names_is_covered_and_no_other() {
        let body = keccak256(b"the bytes that were sent");
        for field in ["audio", "text"] {
            let answer = json!({ field: { "hash": body, "url": "https://a.example" } }).to_string();
            let report = json!({ "extra": { "answer": answer } });
            assert_eq!(attested(&report, body).unwrap(), keccak256(&answer));
            attested(&report, keccak256(b"other bytes")).unwrap_err();
        }
        let nothing = json!({ "extra": { "answer": "{}" } });
        attested(&nothing, body).unwrap_err();
        assert_eq!(attested(&json!({ "extra": {} }), body).unwrap(), body, "the body itself");
    }
}
