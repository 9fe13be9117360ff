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

/// Canonical JSON (RFC 8785): sorted keys, no white space, one spelling per value.
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
