//! Whatever comes in the marketplace's headers and bodies: an answer below 500 that says what is wrong, nothing that reaches the chain
//! unsigned, and books that add up.

use axum::http::HeaderValue;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use compute_futures_chain::market::MarketReader as _;
use compute_futures_protocol::market::SessionId;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestCaseError, TestRunner};
use serde_json::{Value, json};

use crate::anything::{header, mutated, value};
use crate::serving::{AGENT, CREATOR, INFERENCE, World, content, now};

/// A request of a stranger's.
#[derive(Debug, Clone)]
struct Made {
    path: String,
    header: Option<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Made {
    fn new(path: &str, body: &Value) -> Self {
        Self { path: path.to_owned(), header: None, body: body.to_string().into_bytes() }
    }
}

async fn answered(url: &str, client: &reqwest::Client, made: Made) -> Result<(), TestCaseError> {
    let mut request = client.post(format!("{url}{}", made.path)).header("content-type", "application/json");
    if let Some((name, value)) = &made.header
        && let Ok(value) = HeaderValue::from_bytes(value)
    {
        request = request.header(*name, value);
    }
    let response = request.body(made.body.clone()).send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    prop_assert!(status.as_u16() < 500, "{status} for {made:?}: {text}");
    if status.is_client_error() {
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        for field in ["error", "code", "hint"] {
            prop_assert!(said[field].as_str().is_some_and(|said| !said.is_empty()), "{made:?}: {text}");
        }
        for secret in ["sqlx", "SELECT ", "panicked"] {
            prop_assert!(!text.contains(secret), "{text}");
        }
    }
    Ok(())
}

/// A relayer with a provider, and a session of the agent's.
async fn world() -> (World, SessionId) {
    let world = World::start().await;
    let provider = world.provider().await;
    let prices = content(&provider.url, 1_000, 10_000);
    let id = world.register(&prices).await;
    let session = world.open(id, &prices, 5_000_000).await;
    (world, session)
}

/// Runs a property over a world. Afterwards the session's receipts add up, and nobody but the story itself opened or created anything.
fn holds(cases: u32, strategy: impl AsyncFn(&World, SessionId) -> BoxedStrategy<Made>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut world, session) = runtime.block_on(world());
    let strategy = runtime.block_on(strategy(&world, session));
    let client = reqwest::Client::new();
    let mut runner = TestRunner::new(Runs { cases, failure_persistence: None, ..Runs::default() });
    runner.run(&strategy, |made| runtime.block_on(answered(&world.url, &client, made))).unwrap();
    runtime.block_on(async {
        world.adds_up(session).await;
        assert_eq!(world.market.escrow_count().await.unwrap(), 1);
        world.stop().await;
    });
}

#[test]
fn headers_and_bodies_of_any_shape() {
    holds(400, async |_, session| {
        let paths: Vec<String> = [
            "inference",
            "sessions",
            "sessions/quote",
            &format!("sessions/{session}/close"),
            "escrows",
            "escrows/1/fund",
            "escrows/1/agents",
            "escrows/1/refund",
            "escrows/1/expire",
            "escrows/sweep",
            "nothing",
        ]
        .map(|path| format!("/api/v1/market/{path}"))
        .into();
        let body = prop_oneof![
            4 => value().prop_map(|value| value.to_string().into_bytes()),
            1 => prop::collection::vec(any::<u8>(), 0..300),
        ];
        let names = vec!["payment-signature", "x-payment", "sign-in-with-x", "payment-identifier"];
        let header = prop::option::of((prop::sample::select(names), header(value())));
        (prop::sample::select(paths), header, body).prop_map(|(path, header, body)| Made { path, header, body }).boxed()
    });
}

/// Orders that are good in all but one field.
#[test]
fn orders_that_are_nearly_good() {
    holds(300, async |world, session| {
        let order = world.order(Some(session));
        let header = order.header(world.accepted(), &world.domain());
        let document: Value = serde_json::from_slice(&STANDARD.decode(header).unwrap()).unwrap();
        let body = order.body.clone();
        let of_order = mutated(document.clone()).prop_map({
            let body = body.clone();
            move |document| (document, body.clone())
        });
        let of_body = mutated(body).prop_map(move |body| (document.clone(), body));
        prop_oneof![of_order, of_body]
            .prop_map(|(document, body)| Made {
                header: Some(("payment-signature", STANDARD.encode(document.to_string()).into_bytes())),
                ..Made::new(INFERENCE, &body)
            })
            .boxed()
    });
}

/// What creators and agents ask for, good in all but one field. Nothing of it is signed, so nothing of it happens.
#[test]
fn requests_that_are_nearly_good() {
    holds(400, async |world, session| {
        let (agent, creator) = (world.address(AGENT), world.address(CREATOR));
        let quote =
            json!({ "escrowId": world.escrow, "agent": agent, "model": "m", "limit": "2000000", "seconds": 6_000 });
        let quoted = reqwest::Client::new().post(format!("{}/api/v1/market/sessions/quote", world.url)).json(&quote);
        let quoted: Value = quoted.send().await.unwrap().json().await.unwrap();
        assert!(quoted["open"].is_object(), "{quoted}");
        let signature = format!("0x{}", "11".repeat(65));
        let terms = json!({
            "creator": creator, "expiry": (now() + 86_400).to_string(), "sessionLimit": "1000000", "meter": null, "openToAll": false,
            "agents": [agent],
        });
        let authorization = json!({ "amount": "1000000", "validAfter": "0", "validBefore": (now() + 600).to_string(),
            "salt": format!("0x{}", "22".repeat(32)) });
        let good = [
            ("sessions/quote", quote),
            ("sessions", json!({ "open": quoted["open"], "signature": signature })),
            (&format!("sessions/{session}/close"), json!({})),
            ("escrows", json!({ "terms": terms, "amount": "1000000" })),
            ("escrows", json!({ "terms": terms, "authorization": authorization, "signature": signature })),
            ("escrows/1/fund", json!({ "payer": creator, "amount": "1000000" })),
            ("escrows/1/fund", json!({ "payer": creator, "authorization": authorization, "signature": signature })),
            ("escrows/1/agents", json!({ "agent": agent, "allowed": true })),
            ("escrows/1/refund", json!({ "amount": "1" })),
            ("escrows/1/expire", json!({ "relay": true })),
            ("escrows/sweep", json!({ "terms": terms, "relay": true })),
        ];
        let nearly: Vec<BoxedStrategy<Made>> = good
            .into_iter()
            .map(|(path, body)| {
                let path = format!("/api/v1/market/{path}");
                mutated(body).prop_map(move |body| Made::new(&path, &body)).boxed()
            })
            .collect();
        prop::sample::select(nearly).prop_flat_map(|nearly| nearly).boxed()
    });
}
