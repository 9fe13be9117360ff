//! Documents of any shape, and good ones that are wrong in one place: what strangers put into headers and bodies.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

/// JSON of any shape, with names that matter here and there.
pub fn value() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
    .boxed()
}

pub fn name() -> BoxedStrategy<String> {
    let known = [
        "x402Version",
        "accepted",
        "payload",
        "extensions",
        "signature",
        "authorization",
        "accountId",
        "nonce",
        "maxCharge",
        "validUntil",
        "requestHash",
        "spendCeiling",
        "ceiling",
        "scheme",
        "network",
        "amount",
        "asset",
        "payTo",
        "extra",
        "from",
        "to",
        "value",
        "validAfter",
        "validBefore",
        "transaction",
        "payment-identifier",
        "info",
        "id",
        "required",
        "domain",
        "address",
        "uri",
        "version",
        "chainId",
        "type",
        "issuedAt",
        "expirationTime",
        "resources",
        "model",
        "messages",
        "input",
        "prompt",
        "jobs",
        "service",
        "text",
        "audio",
        "audio_url",
        "url",
        "document",
        "webhookUrl",
        "futuresId",
        "n",
        "size",
        "stream",
        "encoding_format",
        "offer-receipt",
        "escrowId",
        "sessionId",
        "providerId",
        "agent",
        "limit",
        "deadline",
        "meter",
        "contentHash",
        "open",
        "maxCost",
        "maxTokens",
        "terms",
        "creator",
        "expiry",
        "sessionLimit",
        "openToAll",
        "agents",
        "payer",
        "salt",
        "relay",
        "allowed",
        "seconds",
    ];
    prop_oneof![4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => ".{0,8}"].boxed()
}

pub fn text() -> BoxedStrategy<String> {
    let known = vec![
        "0x",
        "0x00",
        "eip155:8453",
        "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
        "base",
        "exact",
        "compute-futures",
        "compute-escrow",
        "4294967297",
        "auto",
        "any",
        "owner/model",
        "CFE-00000001",
        "18446744073709551616",
        "-1",
        "1e400",
        "https://127.0.0.1/x",
        "http://[::1]/",
        "data:audio/wav;base64,AAAA",
        "base64",
        "2026-01-01T00:00:00Z",
        "9999-99-99T99:99:99Z",
        "eip191",
        "ed25519",
        "text-inference",
        "gpu",
        "\u{0}",
        "\u{202e}",
    ];
    prop_oneof![
        3 => prop::sample::select(known).prop_map(str::to_owned),
        1 => prop::collection::vec(any::<u8>(), 0..70).prop_map(|bytes| format!("0x{}", hex::encode(bytes))),
        1 => prop::collection::vec(any::<u8>(), 0..70).prop_map(|bytes| STANDARD.encode(bytes)),
        1 => ".{0,40}",
    ]
    .boxed()
}

/// A header as it is made: base64 of JSON of any shape, nearly so, or bytes.
pub fn header(document: BoxedStrategy<Value>) -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        6 => document.clone().prop_map(|value| STANDARD.encode(value.to_string()).into_bytes()),
        1 => (document, any::<prop::sample::Index>()).prop_map(|(value, at)| {
            let mut bytes = STANDARD.encode(value.to_string()).into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = bytes[at].wrapping_add(1);
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => "[1-9A-HJ-NP-Za-km-z]{80,90}".prop_map(String::into_bytes),
    ]
    .boxed()
}

/// A document that is good but for one part of it.
pub fn mutated(good: Value) -> BoxedStrategy<Value> {
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        if let Value::Object(fields) = value {
            for (name, field) in fields {
                places(field, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
    }
    let mut found = Vec::new();
    places(&good, "", &mut found);
    (prop::sample::select(found), value(), any::<bool>())
        .prop_map(move |(at, other, remove)| {
            let mut document = good.clone();
            match at.rsplit_once('/') {
                Some((parent, last)) if remove => {
                    if let Some(Value::Object(fields)) = document.pointer_mut(parent) {
                        fields.remove(last);
                    }
                }
                _ => *document.pointer_mut(&at).unwrap() = other,
            }
            document
        })
        .boxed()
}
