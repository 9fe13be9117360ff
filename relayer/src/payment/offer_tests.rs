//! The wire formats against what stock clients read and send (relayer/tests/fixtures/x402, recorded with record.mjs and record.py).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use base64::Engine;
use compute_futures_protocol::{Address, B256, Chain, Domain, ExactPayment, TokenDomain, Usdc};
use serde_json::{Value, json};

use super::exact::Checked;
use super::offer::{Line, Offer, Resource, payment_required};
use super::report::{Answer, Asked};
use super::settings::{Asset, PaymentSettings};
use super::wire::{self, BASE64, PAYMENT_REQUIRED, PAYMENT_SIGNATURE, Payload, Presented, Version, X_PAYMENT};

const TARGET: &str = "/api/v1/compute-futures/balance?futuresId=CFE-00000043";

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/x402/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn settings() -> Arc<PaymentSettings> {
    let operator: Address = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC".parse().unwrap();
    Arc::new(PaymentSettings {
        chain: Chain::Base,
        domain: Domain::evm(8453, "0x5FbDB2315678afecb367f032d93F642f64180aa3".parse().unwrap()),
        token: Asset::Evm(TokenDomain::usdc(8453, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913".parse().unwrap())),
        operator_index: 1,
        operator,
        pay_to: operator,
        public_url: "http://127.0.0.1:4020".into(),
        max_timeout_seconds: 300,
        resolve_wait: PaymentSettings::RESOLVE_WAIT,
    })
}

fn resource() -> Resource<'static> {
    Resource { target: TARGET, request_hash: B256::repeat_byte(0x11) }
}

fn offer() -> Offer {
    priced(1000)
}

fn priced(micros: u64) -> Offer {
    Offer {
        description: "an account's balance",
        lines: vec![Line::gate(Usdc::from_micros(micros), &settings())],
        transfers: false,
    }
}

fn headers(name: HeaderName, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
}

fn present(name: HeaderName, document: &Value) -> Presented {
    let value = BASE64.encode(document.to_string());
    wire::presented(&headers(name, &value)).unwrap().unwrap()
}

fn refusal(name: HeaderName, value: &str) -> crate::error::ApiError {
    wire::presented(&headers(name, value)).unwrap_err()
}

async fn body(response: axum::response::Response) -> Value {
    serde_json::from_slice(&axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
}

/// The document of a recorded header.
fn document(recorded: &Value, version: &str, header: &str) -> Value {
    let value = recorded[version][header].as_str().unwrap();
    serde_json::from_slice(&BASE64.decode(value).unwrap()).unwrap()
}

#[tokio::test]
async fn a_402_is_what_stock_clients_were_recorded_with() {
    let (offer, expected) = (offer(), fixture("offer.json"));
    let asked = Asked { resource: resource(), offer: &offer };
    let error = payment_required(
        "payment_required",
        "an account's balance costs 0.001 USDC",
        "pay one of the entries of `accepts` with an x402 client and send the request again",
    );
    let response = asked.refuse(error);
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    let header = response.headers()[PAYMENT_REQUIRED].as_bytes().to_vec();
    let required: Value = serde_json::from_slice(&BASE64.decode(header).unwrap()).unwrap();
    assert_eq!(required, expected["v2"]);
    assert_eq!(body(response).await, expected["v1"]);
}

#[test]
fn stock_clients_pay_exact_although_an_unknown_scheme_is_offered_too() {
    let (settings, offer) = (settings(), offer());
    let asked = Asked { resource: resource(), offer: &offer };
    for (file, versions) in [("javascript.json", &["v1", "v2"][..]), ("python.json", &["v1", "v2"][..])] {
        let recorded = fixture(file);
        let payer: Address = recorded["payer"].as_str().unwrap().parse().unwrap();
        for version in versions {
            let (name, text) =
                if *version == "v1" { (X_PAYMENT, "x-payment") } else { (PAYMENT_SIGNATURE, "payment-signature") };
            let value = recorded[*version][text].as_str().unwrap();
            let presented = wire::presented(&headers(name, value)).unwrap().unwrap();
            assert_eq!(presented.scheme(), "exact", "{file} {version}");
            let line = offer.line(&presented).unwrap();
            line.check(resource(), &presented).unwrap();
            let Payload::Exact(payload) = &presented.payload else { panic!("{file} {version}") };
            let payment = payload.on(&settings, line.exact.pay_to).unwrap();
            assert_eq!(payment.verify(), Ok(payer), "{file} {version}");
            let checked = Checked::new(asked, line, &presented, payload).unwrap();
            let ExactPayment::Evm(payment) = &checked.payment else { panic!("{file} {version}") };
            let now = u64::try_from(payment.valid_before).unwrap() - 100;
            checked.check_time(now).unwrap();
            assert_eq!(checked.check_time(now + 200).unwrap_err().code, "expired");
        }
    }
}

#[test]
fn only_the_offer_of_now_is_accepted() {
    let recorded = fixture("javascript.json");
    let good = document(&recorded, "v2", "payment-signature");
    let check = |document: &Value, offer: &Offer| {
        let presented = present(PAYMENT_SIGNATURE, document);
        offer
            .line(&presented)
            .and_then(|line| line.check(resource(), &presented))
            .map_err(|error| (error.code, error.error))
    };
    check(&good, &offer()).unwrap();
    let changes = [
        ("/accepted/amount", json!("1001"), "amount"),
        ("/accepted/amount", json!("01000"), "amount"),
        ("/accepted/network", json!("eip155:84532"), "network"),
        ("/accepted/asset", json!("0x0000000000000000000000000000000000000001"), "asset"),
        ("/accepted/payTo", json!("0x0000000000000000000000000000000000000001"), "payTo"),
        ("/accepted/maxTimeoutSeconds", json!(301), "maxTimeoutSeconds"),
        ("/accepted/extra/name", json!("USDC"), "extra"),
        ("/accepted/extra/version", json!(2), "extra"),
        ("/accepted/extra/assetTransferMethod", json!("permit2"), "extra"),
    ];
    for (pointer, value, field) in changes {
        let mut bad = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[name] = value;
        let (code, error) = check(&bad, &offer()).unwrap_err();
        assert_eq!(code, "terms_changed", "{pointer}");
        assert!(error.contains(&format!("`{field}`")), "{pointer}: {error}");
    }
    // The price went up since: what the client accepted does not bind us.
    assert_eq!(check(&good, &priced(2000)).unwrap_err().0, "terms_changed");
}

#[test]
fn what_was_signed_must_fit_the_offer_too() {
    let (offer, recorded) = (offer(), fixture("javascript.json"));
    let asked = Asked { resource: resource(), offer: &offer };
    for (field, value) in
        [("value", json!("999")), ("value", json!("1001")), ("to", json!("0x0000000000000000000000000000000000000001"))]
    {
        let mut bad = document(&recorded, "v2", "payment-signature");
        bad["payload"]["authorization"][field] = value;
        let presented = present(PAYMENT_SIGNATURE, &bad);
        let Payload::Exact(payload) = &presented.payload else { panic!() };
        let checked = Checked::new(asked, &offer.lines[0], &presented, payload);
        assert_eq!(checked.unwrap_err().code, "payment_mismatch", "{field}");
    }
}

#[test]
fn nonsense_in_a_payment_header_is_a_clear_400() {
    let recorded = fixture("javascript.json");
    let good = document(&recorded, "v2", "payment-signature");
    let encode = |value: &Value| BASE64.encode(value.to_string());
    let changed = |pointer: &str, value: Value| {
        let mut bad = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[name] = value;
        encode(&bad)
    };
    let cases = [
        ("not base64", "!!!".to_owned()),
        ("empty", String::new()),
        ("not JSON", BASE64.encode("hello")),
        ("a list", encode(&json!([]))),
        ("wrong version", changed("/x402Version", json!(1))),
        ("no payload", changed("/payload", Value::Null)),
        ("a negative value", changed("/payload/authorization/value", json!("-1"))),
        ("a fraction", changed("/payload/authorization/value", json!("0.5"))),
        ("a number for a string", changed("/payload/authorization/value", json!(1000))),
        ("a huge value", changed("/payload/authorization/value", json!("9".repeat(80)))),
        ("a short nonce", changed("/payload/authorization/nonce", json!("0x01"))),
        ("odd hex", changed("/payload/signature", json!("0x123"))),
        ("too long", "A".repeat(wire::MAX_PAYMENT_HEADER + 4)),
    ];
    for (what, value) in cases {
        let error = refusal(PAYMENT_SIGNATURE, &value);
        assert_eq!((error.status, error.code), (StatusCode::BAD_REQUEST, "malformed_payment"), "{what}");
        assert!(!error.hint.is_empty() && error.error.len() < 300, "{what}: {}", error.error);
    }
    assert_eq!(refusal(PAYMENT_SIGNATURE, &changed("/accepted/scheme", json!("upto"))).code, "unsupported_scheme");
    for id in ["short", "has spaces in it, and commas", &"x".repeat(129)] {
        let value = changed("/extensions/payment-identifier/info", json!({ "required": false, "id": id }));
        assert_eq!(refusal(PAYMENT_SIGNATURE, &value).code, "invalid_payment_identifier");
    }
    let value = changed(
        "/extensions/payment-identifier/info",
        json!({ "required": false, "id": "pay_7d5d747be160e280504c099d984bcfe0" }),
    );
    let presented = wire::presented(&headers(PAYMENT_SIGNATURE, &value)).unwrap().unwrap();
    assert_eq!(presented.identifier.as_deref(), Some("pay_7d5d747be160e280504c099d984bcfe0"));
}

#[test]
fn a_credit_payment_reads_strictly() {
    let good = json!({
        "x402Version": 1, "scheme": "compute-futures", "network": "base",
        "payload": {
            "signature": format!("0x{}", "11".repeat(65)),
            "authorization": {
                "accountId": "4294967297", "requestHash": B256::repeat_byte(0x11), "nonce": B256::repeat_byte(0x22),
                "maxCharge": "30000", "validUntil": "1790000000"
            },
            "spendCeiling": { "ceiling": "50000000", "signature": "0x11" }
        }
    });
    let presented = present(X_PAYMENT, &good);
    assert_eq!((presented.scheme(), presented.version), ("compute-futures", Version::V1));
    offer().lines[0].check(resource(), &presented).unwrap();
    for (pointer, value) in [
        ("/payload/authorization/accountId", json!("0")),
        ("/payload/authorization/accountId", json!(4_294_967_297_u64)),
        ("/payload/authorization/maxCharge", json!("72057594037927936")),
        ("/payload/authorization/validUntil", json!("soon")),
        ("/payload/surprise", json!(1)),
        ("/payload/spendCeiling/ceiling", json!("-1")),
    ] {
        let mut bad = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[name] = value;
        assert_eq!(refusal(X_PAYMENT, &BASE64.encode(bad.to_string())).code, "malformed_payment", "{pointer}");
    }
    let mut foreign = good;
    foreign["network"] = json!("base-sepolia");
    let error = offer().line(&present(X_PAYMENT, &foreign)).unwrap_err();
    assert_eq!(error.code, "terms_changed");
}

#[tokio::test]
async fn answers_survive_the_ledger_byte_for_byte() {
    for (extra, text) in [("", "{}"), (r#"{"charged":"27000"}"#, "{\"a\":\"line\\nline\"}"), ("", "")] {
        let answer = Answer {
            status: StatusCode::OK,
            extra: bytes::Bytes::copy_from_slice(extra.as_bytes()),
            body: bytes::Bytes::copy_from_slice(text.as_bytes()),
        };
        assert_eq!(Answer::unpack(&answer.pack()), answer);
    }
    let answer = Answer { status: StatusCode::OK, extra: r#"{"charged":"27000"}"#.into(), body: "{}".into() };
    let response = answer.respond(Chain::Base, Version::V2, "0xabc", "0xdef");
    let report = &response.headers()["payment-response"];
    let report: Value = serde_json::from_slice(&BASE64.decode(report.as_bytes()).unwrap()).unwrap();
    assert_eq!(
        report,
        json!({ "success": true, "transaction": "0xabc", "network": "eip155:8453", "payer": "0xdef", "extra": { "charged": "27000" } })
    );
    assert_eq!(response.headers()["cache-control"], "private, no-store");
}
