use compute_futures_protocol::{B256, ExactPayment, canonical_json, canonical_json_hash, request_hash};

use crate::{load, parse, rows, text};

#[test]
fn request_hashes() {
    for row in rows(&load("request.json"), "requests") {
        let hash = request_hash(text(row, "method"), text(row, "path"), text(row, "body").as_bytes());
        assert_eq!(hash, parse::<B256>(row, "hash"));
        let lower = request_hash(&text(row, "method").to_lowercase(), text(row, "path"), text(row, "body").as_bytes());
        assert_eq!(lower, hash);
    }
}

#[test]
fn canonical_json_is_javascripts() {
    for row in rows(&load("request.json"), "canonical") {
        let value: serde_json::Value = serde_json::from_str(text(row, "json")).unwrap();
        assert_eq!(String::from_utf8(canonical_json(&value).unwrap()).unwrap(), text(row, "canonical"));
        assert_eq!(canonical_json_hash(&value), parse::<B256>(row, "hash"));
    }
}

#[test]
fn exact_payment_hash() {
    let row = &load("request.json")["exactPayment"];
    let payment: ExactPayment = serde_json::from_str(text(row, "json")).unwrap();
    assert_eq!(payment.hash(), parse::<B256>(row, "hash"));
    // Spelled in another way, it is the same payment.
    let mut other: serde_json::Value = serde_json::from_str(text(row, "json")).unwrap();
    other["network"] = "base".into();
    other["from"] = payment.from().to_string().into();
    assert_eq!(serde_json::from_value::<ExactPayment>(other).unwrap().hash(), payment.hash());
}
