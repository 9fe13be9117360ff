//! What a refusal says about the payment that came with the request: certain that nothing was charged, or not.

use compute_futures_x402::code_of;
use reqwest::StatusCode;
use serde_json::Value;

/// Refusals of the request, in words of the relayer, that leave open what becomes of its payment.
const OPEN: [&str; 3] = ["in_progress", "answer_expired", "artifact_expired"];

/// Failures of the relayer that it answers before anything is held, or after it let go of what was.
const NOTHING_HELD: [&str; 11] = [
    "busy",
    "overloaded",
    "network_unavailable",
    "model_unavailable",
    "settlement_behind",
    "provider_unavailable",
    "provider_timeout",
    "provider_bad_answer",
    "provider_job_failed",
    "job_failed",
    "output_too_large",
];

/// Whether this answer proves that its own delivery of the payment is not charged and will not be. Only the relayer can say so, by a code
/// of its own: a gateway before it gives up (502, 504) while the work goes on and is charged.
pub(crate) fn nothing_charged(status: StatusCode, body: &Value) -> bool {
    match code_of(body) {
        None | Some("") => false,
        Some(code) if status.is_client_error() => !OPEN.contains(&code),
        Some(code) => status.is_server_error() && NOTHING_HELD.contains(&code),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn says(status: u16, body: &Value) -> bool {
        nothing_charged(StatusCode::from_u16(status).unwrap(), body)
    }

    #[test]
    fn only_the_relayer_can_say_that_nothing_was_charged() {
        for (status, code) in [
            (400, "invalid_request"),
            (402, "insufficient_credit"),
            (409, "account_closed"),
            (422, "provider_refused"),
            (429, "too_many_requests"),
            (502, "provider_bad_answer"),
            (502, "job_failed"),
            (503, "settlement_behind"),
            (504, "provider_timeout"),
        ] {
            assert!(says(status, &json!({ "error": "no", "code": code, "hint": "ask" })), "{code}");
            assert!(
                says(status, &json!({ "error": { "message": "no: ask", "code": code } })),
                "{code} as OpenAI has it"
            );
        }
        for (status, code) in [
            (409, "in_progress"),
            (410, "answer_expired"),
            (410, "artifact_expired"),
            (500, "internal"),
            (503, "ledger_unavailable"),
            (503, "settlement_unknown"),
            (503, "chain_unavailable"),
            (504, "timeout"),
            (302, "provider_timeout"),
        ] {
            assert!(!says(status, &json!({ "error": "no", "code": code, "hint": "ask" })), "{code}");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(!says(status, &Value::Null), "an HTML {status} of a gateway");
            assert!(!says(status, &json!({ "error": { "message": "gone", "code": "" } })), "{status} without a code");
            assert!(!says(status, &json!({ "code": status })), "{status} with a code that is none of ours");
        }
    }
}
