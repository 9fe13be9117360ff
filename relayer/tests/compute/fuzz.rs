//! Whatever comes in headers and bodies: an answer below 500 that says what is wrong, and never a panic.

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestCaseError, TestRunner};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::anything::{header, mutated, text, value};
use crate::cloud::{Cloud, world};
use crate::world::{Call, World, key};

/// Requests made of parts that parsers look for.
#[derive(Debug, Clone)]
struct Made {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

async fn answer(world: &World, made: Made) -> Result<(), TestCaseError> {
    let mut request = Request::builder().method(made.method).uri(made.target.as_str());
    for (name, value) in &made.headers {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request = request.header(*name, value);
        }
    }
    let Ok(request) = request.body(Body::from(made.body.clone())) else { return Ok(()) };
    let response = world.router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8_lossy(&bytes);
    prop_assert!(parts.status.as_u16() < 500, "{} for {made:?}: {text}", parts.status);
    if parts.status.is_client_error() {
        let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        prop_assert!(said["error"].is_string() || said["error"].is_object(), "{made:?}: {text}");
        for secret in ["sqlx", "SELECT ", "panicked"] {
            prop_assert!(!text.contains(secret), "{text}");
        }
    }
    Ok(())
}

/// Runs a property over a world; both live on one runtime.
fn holds(cases: u32, strategy: impl Fn(&World) -> BoxedStrategy<Made>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let world = runtime.block_on(world(&Cloud::new(), |_| ()));
    let mut runner = TestRunner::new(Runs { cases, failure_persistence: None, ..Runs::default() });
    runner.run(&strategy(&world), |made| runtime.block_on(answer(&world, made))).unwrap();
}

fn targets() -> BoxedStrategy<(&'static str, String)> {
    let targets = vec![
        ("POST", "/api/v1/compute/text-inference"),
        ("POST", "/api/v1/compute/image-generation"),
        ("POST", "/api/v1/compute/video-generation"),
        ("POST", "/api/v1/compute/text-to-speech"),
        ("POST", "/api/v1/compute/speech-to-text"),
        ("POST", "/api/v1/compute/embeddings"),
        ("POST", "/api/v1/compute/document-parsing"),
        ("POST", "/api/v1/compute/batch"),
        ("POST", "/api/v1/compute/estimate"),
        ("POST", "/api/v1/gpu/run"),
        ("POST", "/run"),
        ("POST", "/api/v1/compute-futures/execute"),
        ("POST", "/api/v1/compute-futures/deposit"),
        ("POST", "/api/v1/compute-futures/refund"),
        ("GET", "/api/v1/compute-futures/history?limit=5"),
        ("GET", "/api/v1/compute-futures/balance?futuresId=CFE-00000001"),
        ("GET", "/api/v1/compute-futures/pricing"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/images/generations"),
        ("POST", "/v1/audio/speech"),
        ("POST", "/v1/audio/transcriptions"),
    ];
    prop::sample::select(targets).prop_map(|(method, target)| (method, target.to_owned())).boxed()
}

const HEADERS: [&str; 6] =
    ["payment-signature", "x-payment", "x-solana-tx", "sign-in-with-x", "payment-identifier", "idempotency-key"];

#[test]
fn headers_and_bodies_of_any_shape() {
    holds(600, |_| {
        let headers = prop::collection::vec((prop::sample::select(HEADERS.to_vec()), header(value())), 0..3);
        let body = prop_oneof![
            4 => value().prop_map(|value| value.to_string().into_bytes()),
            1 => prop::collection::vec(any::<u8>(), 0..300),
        ];
        (targets(), headers, body)
            .prop_map(|((method, target), headers, body)| Made { method, target, headers, body })
            .boxed()
    });
}

/// Payments that are good in all but one field: the parsers behind the first one are reached.
#[test]
fn payments_that_are_nearly_good() {
    let messages = json!([{ "role": "user", "content": "x" }]);
    let call = Call::post("/api/v1/compute/text-inference", &json!({ "messages": messages }));
    holds(500, move |world| {
        let account = tokio::runtime::Handle::try_current();
        assert!(account.is_err(), "the documents below are made on a runtime of their own");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (credit, exact) = runtime.block_on(async {
            let account = world.account(50_000_000).await;
            let authorization = crate::world::authorization(&call, account);
            let mut credit = world.credit_document(&call, &authorization, &world.owner).await;
            credit["payload"]["spendCeiling"] = world.signed_ceiling(account, 100_000_000, &world.owner);
            let mut exact = world.exact_document(&call, &key(9), 300).await;
            exact["extensions"] =
                json!({ "payment-identifier": { "info": { "required": false, "id": "a".repeat(20) } } });
            (credit, exact)
        });
        let v1 = json!({ "x402Version": 1, "scheme": "exact", "network": "base", "payload": exact["payload"] });
        let solana = json!({
            "x402Version": 2, "accepted": { "scheme": "exact", "network": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp" },
            "payload": { "transaction": "AQAAAA==" },
        });
        let call = call.clone();
        prop_oneof![
            3 => mutated(credit).prop_map(|value| ("payment-signature", value)),
            3 => mutated(exact).prop_map(|value| ("payment-signature", value)),
            1 => mutated(solana).prop_map(|value| ("payment-signature", value)),
            2 => mutated(v1).prop_map(|value| ("x-payment", value)),
        ]
        .prop_map(move |(name, document)| Made {
            method: "POST",
            target: call.target.clone(),
            headers: vec![(name, STANDARD.encode(document.to_string()).into_bytes())],
            body: call.body.clone(),
        })
        .boxed()
    });
}

/// Sign-in as a wallet writes it, but for one field.
#[test]
fn signatures_of_owners_that_are_nearly_good() {
    let good = json!({
        "domain": "relayer.test", "address": key(1).address().to_string(), "statement": "x", "uri": "http://relayer.test/",
        "version": "1", "chainId": "eip155:8453", "nonce": "abcdefgh12345678", "issuedAt": "2026-01-01T00:00:00Z",
        "expirationTime": "2036-01-01T00:00:00Z", "resources": ["http://relayer.test/"], "type": "eip191",
        "signature": format!("0x{}", "11".repeat(65)),
    });
    holds(200, |_| {
        let target = "/api/v1/compute-futures/history?limit=5".to_owned();
        mutated(good.clone())
            .prop_map(move |document| Made {
                method: "GET",
                target: target.clone(),
                headers: vec![("sign-in-with-x", STANDARD.encode(document.to_string()).into_bytes())],
                body: Vec::new(),
            })
            .boxed()
    });
}

/// Forms that are whole, cut, doubled, or of another boundary; webhooks with headers of any kind; paths of any bytes.
#[test]
fn forms_webhooks_and_paths() {
    holds(400, |_| {
        let part = (
            prop::sample::select(vec!["file", "model", "response_format", "language", "temperature", "x", ""]),
            "[ -~]{0,20}",
            prop::collection::vec(any::<u8>(), 0..60),
        )
            .prop_map(|(name, extra, content)| {
                let mut bytes =
                    format!("--xyz\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{extra}\"\r\n\r\n")
                        .into_bytes();
                bytes.extend(content);
                bytes.extend_from_slice(b"\r\n");
                bytes
            });
        let form = (prop::collection::vec(part, 0..4), any::<bool>(), any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(parts, closed, at, cut)| {
                let mut body = parts.concat();
                if closed {
                    body.extend_from_slice(b"--xyz--\r\n");
                }
                if cut && !body.is_empty() {
                    body.truncate(at.index(body.len()));
                }
                body
            });
        let kind = prop_oneof![
            5 => Just("multipart/form-data; boundary=xyz".to_owned()),
            1 => "multipart/form-data; boundary=.{0,10}",
            1 => "[ -~]{0,30}",
        ];
        let form = (form, kind).prop_map(|(body, kind)| Made {
            method: "POST",
            target: "/v1/audio/transcriptions".into(),
            headers: vec![("content-type", kind.into_bytes())],
            body,
        });
        let signed = (
            text(),
            text(),
            text(),
            value(),
            prop::sample::select(vec!["local", "cloud", "replicate", "%00", "%ff", "..%2f"]),
        )
            .prop_map(|(id, time, signature, body, provider)| Made {
                method: "POST",
                target: format!("/api/v1/providers/{provider}/webhook"),
                headers: vec![
                    ("webhook-id", id.into_bytes()),
                    ("webhook-timestamp", time.into_bytes()),
                    ("webhook-signature", format!("v1,{signature}").into_bytes()),
                ],
                body: body.to_string().into_bytes(),
            });
        let path = (
            prop::sample::select(vec![
                "/api/v1/rate-cards/",
                "/api/v1/artifacts/",
                "/api/v1/compute/status/",
                "/api/v1/gpu/status/",
                "/api/v1/receipts/1/",
                "/api/v1/compute-futures/deposit-address?depositor=",
            ]),
            "[0-9a-fx%.+-]{0,80}",
        )
            .prop_map(|(path, rest)| Made {
                method: "GET",
                target: format!("{path}{rest}"),
                headers: vec![],
                body: vec![],
            });
        prop_oneof![form, signed, path].boxed()
    });
}
