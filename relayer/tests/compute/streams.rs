//! Chat piece by piece: the hold is the maximum, the charge what was produced, the receipt the last event.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::cloud::{Cloud, world_of_words};
use crate::world::{Call, Settling, World, key, usdc};

fn chat(path: &str) -> Call {
    Call::post(
        path,
        &json!({ "model": "metered", "stream": true, "messages": [{ "role": "user", "content": "Count." }] }),
    )
}

const COMPUTE: &str = "/api/v1/compute/text-inference";
const OPENAI: &str = "/v1/chat/completions";

async fn open(world: &World, call: &Call, payment: &(&'static str, String)) -> Response {
    let request = Request::builder()
        .method(call.method)
        .uri(&call.target)
        .header("content-type", "application/json")
        .header(payment.0, &payment.1)
        .body(Body::from(call.body.clone()))
        .unwrap();
    world.router.clone().oneshot(request).await.unwrap()
}

/// Events as (name, data).
fn events(text: &str) -> Vec<(String, Value)> {
    text.split("\n\n")
        .filter(|event| !event.is_empty())
        .map(|event| {
            let field =
                |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
            let data = field("data: ");
            (field("event: "), serde_json::from_str(&data).unwrap_or(Value::String(data)))
        })
        .collect()
}

async fn whole(response: Response) -> (axum::http::HeaderMap, Vec<(String, Value)>) {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (parts.headers, events(std::str::from_utf8(&bytes).unwrap()))
}

fn text(events: &[(String, Value)]) -> String {
    events.iter().filter_map(|(_, data)| data["choices"][0]["delta"]["content"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_from_credit_charges_what_was_metered() {
    let world = world_of_words(&Cloud::new()).await;
    let account = world.account(50_000_000).await;
    for (path, nth) in [(COMPUTE, 1), (OPENAI, 2)] {
        let call = chat(path);
        let payment = world.credit(&call, account, &world.owner).await;
        let (_, all) = whole(open(&world, &call, &payment).await).await;
        assert_eq!(text(&all), (0..10).map(|at| format!("word{at} ")).collect::<String>());
        let end = &all[all.len() - 3..];
        assert_eq!(end[0].1["choices"][0]["finish_reason"], "stop");
        assert_eq!(end[0].1["usage"]["completion_tokens"], 10);
        assert_eq!(end[1].0, "receipt");
        assert_eq!(end[2].1, "[DONE]");
        // Ten tokens of a thousandth, at the tier's discount; the hold was for a hundred.
        let receipt: compute_futures_protocol::SignedReceipt =
            serde_json::from_value(end[1].1["payment"]["receipt"].clone()).unwrap();
        assert_eq!(receipt.receipt.charged, usdc(9_000));
        let answer = compute_futures_protocol::canonical_json(&end[1].1["answer"]).unwrap();
        assert_eq!(receipt.receipt.output_hash, compute_futures_protocol::keccak256(answer));
        let view = world.view(account).await;
        assert_eq!((view.pending, view.held), (usdc(9_000 * nth), usdc(0)));
        // The identical request: the same answer and receipt, no second charge.
        let (_, again) = whole(open(&world, &call, &payment).await).await;
        assert_eq!(text(&again), text(&all));
        assert_eq!(again[again.len() - 2].1["payment"], end[1].1["payment"]);
        assert_eq!(world.view(account).await.pending, usdc(9_000 * nth));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_pays_for_what_was_produced() {
    let cloud = Cloud::new();
    cloud.pieces.forget_permits(1000);
    cloud.pieces.add_permits(3);
    let world = world_of_words(&cloud).await;
    let account = world.account(50_000_000).await;
    let call = chat(COMPUTE);
    let payment = world.credit(&call, account, &world.owner).await;
    let response = open(&world, &call, &payment).await;
    let mut body = response.into_body().into_data_stream();
    let mut seen = String::new();
    while !seen.contains("word2") {
        seen += std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap();
    }
    // 0.1 for a hundred tokens, less a tenth.
    assert_eq!(world.view(account).await.held, usdc(90_000));
    drop(body);
    for _ in 0..200 {
        if world.view(account).await.held.is_zero() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let view = world.view(account).await;
    assert_eq!(view.held, usdc(0));
    assert!(view.pending > usdc(0) && view.pending < usdc(30_000), "{}", view.pending);
    assert_eq!(cloud.pieces_given.load(Ordering::SeqCst), 3, "the provider is not read on");
    // What was produced can be had again.
    let (_, again) = whole(open(&world, &call, &payment).await).await;
    assert_eq!(text(&again), "word0 word1 word2 ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_payment_settles_before_the_first_byte() {
    let cloud = Cloud::new();
    let world = world_of_words(&cloud).await;
    let call = chat(OPENAI);
    let payment = world.exact(&call, &key(9)).await;
    world.settling(Settling::Refuses);
    assert_eq!(open(&world, &call, &payment).await.status(), 402);
    world.settling(Settling::Works);
    let before = world.settlements();
    let (headers, all) = whole(open(&world, &call, &payment).await).await;
    let report = crate::world::decode(&headers["payment-response"]);
    assert_eq!((&report["success"], report["transaction"].as_str().unwrap().len()), (&json!(true), 66));
    assert_eq!(all[all.len() - 2].1["answer"]["priceMicroUsdc"], "100000");
    let (_, again) = whole(open(&world, &call, &payment).await).await;
    assert_eq!((text(&again), world.settlements()), (text(&all), before + 1));
}

/// The provider breaks off after the payment settled: the identical request is served again without another payment.
#[tokio::test(flavor = "multi_thread")]
async fn a_paid_stream_that_breaks_is_served_again() {
    let cloud = Cloud::new();
    *cloud.breaks.lock().unwrap() = true;
    let world = world_of_words(&cloud).await;
    let call = chat(COMPUTE);
    let payment = world.exact(&call, &key(9)).await;
    let (_, all) = whole(open(&world, &call, &payment).await).await;
    assert_eq!(all[all.len() - 3].1["choices"][0]["finish_reason"], "length");
    *cloud.breaks.lock().unwrap() = false;
    let (_, all) = whole(open(&world, &call, &payment).await).await;
    assert_eq!(all[all.len() - 3].1["choices"][0]["finish_reason"], "stop");
    assert_eq!((world.settlements(), cloud.runs.load(Ordering::SeqCst)), (1, 2));
}

/// One payment is one stream: not several at once, and not again and again because each breaks.
#[tokio::test(flavor = "multi_thread")]
async fn a_paid_stream_is_not_served_twice_at_once_nor_for_ever() {
    let cloud = Cloud::new();
    cloud.pieces.forget_permits(1000);
    cloud.pieces.add_permits(2);
    let world = world_of_words(&cloud).await;
    let call = chat(COMPUTE);
    let payment = world.exact(&call, &key(9)).await;
    let first = open(&world, &call, &payment).await;
    assert_eq!(first.status(), 200);
    let second = open(&world, &call, &payment).await;
    assert_eq!(second.status(), 409, "the first one streams");
    assert_eq!(cloud.runs.load(Ordering::SeqCst), 1, "no second work for one payment");
    cloud.pieces.add_permits(1000);
    whole(first).await;
    // It was served whole: the same again is its answer, kept.
    whole(open(&world, &call, &payment).await).await;
    assert_eq!((world.settlements(), cloud.runs.load(Ordering::SeqCst)), (1, 1));

    *cloud.breaks.lock().unwrap() = true;
    let payment = world.exact(&call, &key(9)).await;
    for _ in 0..4 {
        whole(open(&world, &call, &payment).await).await;
    }
    assert_eq!(open(&world, &call, &payment).await.status(), 410);
    assert_eq!((world.settlements(), cloud.runs.load(Ordering::SeqCst)), (2, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn execute_streams_with_a_signature() {
    let world = world_of_words(&Cloud::new()).await;
    let account = world.account(50_000_000).await;
    let id = account.futures_id(compute_futures_protocol::Chain::Base).to_string();
    let messages = json!([{ "role": "user", "content": "Count." }]);
    let body =
        json!({ "futuresId": id, "type": "text-inference", "model": "metered", "stream": true, "messages": messages });
    let call = Call::post(crate::world::EXECUTE, &body);
    let payment = world.credit(&call, account, &world.owner).await;
    let (_, all) = whole(open(&world, &call, &payment).await).await;
    assert_eq!(all[all.len() - 2].1["answer"]["billing"]["chargedMicroUsdc"], "9000");
    let payment = world.exact(&call, &world.owner).await;
    assert_eq!(open(&world, &call, &payment).await.status(), 400);
}
