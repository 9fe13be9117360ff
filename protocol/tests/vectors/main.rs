//! The vectors in `tests/vectors/*.json`, which forge checks as well.
//!
//! `discount.json` and `futures_id.json` are written from here (`UPDATE_VECTORS=1`); the others come from
//! `tests/vectors/generate.mjs`, that is from OpenZeppelin and viem, and are only checked.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod deposit;
mod discount;
mod futures_id;
mod market;
mod market_lives;
mod merkle;
mod request;
mod solana;
mod typed_data;

use std::path::PathBuf;
use std::str::FromStr;

use serde_json::Value;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name)
}

fn load(name: &str) -> Value {
    let text = std::fs::read_to_string(path(name)).expect("the vectors are committed");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

/// Compares with the committed file, or writes it when `UPDATE_VECTORS=1`.
fn check_or_write(name: &str, content: &Value) {
    let mut text = serde_json::to_string_pretty(content).unwrap();
    text.push('\n');
    if std::env::var("UPDATE_VECTORS").is_ok_and(|value| value == "1") {
        std::fs::write(path(name), text).unwrap();
    } else {
        let committed = std::fs::read_to_string(path(name)).expect("the vectors are committed");
        assert!(
            committed == text,
            "tests/vectors/{name} differs from what the crate computes; if the rule changed on purpose, run \
             UPDATE_VECTORS=1 cargo test -p compute-futures-protocol --test vectors"
        );
    }
}

/// The objects of an array, never none.
fn rows<'a>(content: &'a Value, key: &str) -> &'a [Value] {
    let rows = content[key].as_array().unwrap_or_else(|| panic!("{key} is an array"));
    assert!(!rows.is_empty(), "{key} has rows");
    rows
}

fn number(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap_or_else(|| panic!("{key} is a number"))
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_else(|| panic!("{key} is a string"))
}

fn parse<T: FromStr>(row: &Value, key: &str) -> T {
    text(row, key).parse().unwrap_or_else(|_| panic!("{key} reads {}", row[key]))
}

fn usdc(row: &Value, key: &str) -> compute_futures_protocol::Usdc {
    number(row, key).try_into().unwrap()
}
