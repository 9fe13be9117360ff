//! What a signature says about a request and its answer: hashes of the bytes themselves.

use alloy_primitives::{B256, Keccak256, keccak256};
use serde::Serialize;

/// keccak256(METHOD ‖ " " ‖ path-with-query ‖ "\n" ‖ body bytes). The method is written in capitals; the path is taken as
/// sent, with its query, without scheme and host.
#[must_use]
pub fn request_hash(method: &str, path_and_query: &str, body: &[u8]) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(method.to_ascii_uppercase());
    hasher.update(b" ");
    hasher.update(path_and_query);
    hasher.update(b"\n");
    hasher.update(body);
    hasher.finalize()
}

/// A value that JSON cannot express (a map with non-string keys, a number that is not finite).
#[derive(Debug, thiserror::Error)]
#[error("the value has no canonical JSON form: {0}")]
pub struct CanonicalJsonError(String);

/// Canonical JSON (RFC 8785): sorted keys, no white space, one spelling per value. Numbers are written as JavaScript writes
/// them, so integers beyond 2^53 lose digits: whatever can be that large travels as a string.
///
/// # Errors
/// When the value cannot be written as JSON.
pub fn canonical_json<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalJsonError> {
    serde_json_canonicalizer::to_vec(value).map_err(|error| CanonicalJsonError(error.to_string()))
}

/// keccak256 of the canonical JSON of `value`. A [`serde_json::Value`] always has one.
#[must_use]
pub fn canonical_json_hash(value: &serde_json::Value) -> B256 {
    // A `Value` has string keys and finite numbers only, which is all that can go wrong.
    keccak256(canonical_json(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_part_of_a_request_counts() {
        let hash = request_hash("POST", "/a?b=c", b"body");
        assert_eq!(hash, keccak256("POST /a?b=c\nbody"));
        for other in [
            request_hash("PUT", "/a?b=c", b"body"),
            request_hash("POST", "/a?b=d", b"body"),
            request_hash("POST", "/a", b"body"),
            request_hash("POST", "/a?b=c", b"Body"),
            request_hash("POST", "/a?b=c", b""),
        ] {
            assert_ne!(hash, other);
        }
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        assert_eq!(canonical_json_hash(&json!({"b": 1, "a": 2})), keccak256(r#"{"a":2,"b":1}"#));
        assert_ne!(canonical_json_hash(&json!({"a": 2})), canonical_json_hash(&json!({"a": "2"})));
    }

    #[test]
    fn what_json_cannot_say_is_an_error() {
        let map = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert!(canonical_json(&map).is_err());
    }

    proptest! {
        #[test]
        fn every_json_value_has_a_canonical_form(text in ".{0,40}", number: f64, integer: u64, key in ".{0,8}") {
            let value = json!({ key: [text, number, integer, null, { "x": integer }] });
            let canonical = canonical_json(&value).unwrap();
            let again: serde_json::Value = serde_json::from_slice(&canonical).unwrap();
            prop_assert_eq!(canonical_json(&again).unwrap(), canonical);
        }
    }
}
