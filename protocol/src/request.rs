//! What a signature says about a request and its answer: hashes of the bytes themselves.

use alloy_primitives::{B256, Keccak256, keccak256};
use serde::Serialize;
use serde_json::Value;

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

/// The same of a value that is JSON already. What both forms write alike is written at once: object keys of ASCII are sorted by
/// bytes as by UTF-16, and integers below 2^53 have one spelling.
///
/// # Errors
/// Never: a `Value` has string keys and finite numbers only.
pub fn canonical_value(value: &Value) -> Result<Vec<u8>, CanonicalJsonError> {
    if is_plain(value) {
        return serde_json::to_vec(value).map_err(|error| CanonicalJsonError(error.to_string()));
    }
    canonical_json(value)
}

fn is_plain(value: &Value) -> bool {
    const EXACT: u64 = 1 << 53;
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => {
            number.as_u64().or_else(|| Some(number.as_i64()?.unsigned_abs())).is_some_and(|number| number < EXACT)
        }
        Value::Array(values) => values.iter().all(is_plain),
        Value::Object(fields) => {
            fields.keys().is_sorted() && fields.iter().all(|(key, value)| key.is_ascii() && is_plain(value))
        }
    }
}

/// keccak256 of the canonical JSON of `value`. A [`serde_json::Value`] always has one.
#[must_use]
pub fn canonical_json_hash(value: &Value) -> B256 {
    // A `Value` has string keys and finite numbers only, which is all that can go wrong.
    keccak256(canonical_value(value).unwrap_or_default())
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

    /// Any JSON, with what the two forms might write differently: keys beyond ASCII, large numbers, fractions, control characters.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (0..1_u64 << 54).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            "[\\x00-\\x7f]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map("[a-cA-C\\x00-\\x7f]{0,4}|\\PC{0,3}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_written_at_once_is_written_alike(value in any_json()) {
            prop_assert_eq!(canonical_value(&value).unwrap(), canonical_json(&value).unwrap());
        }
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
