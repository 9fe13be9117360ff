//! Every endpoint of a kind, per call and from credit, at the seeds' prices.

use serde_json::{Value, json};

use crate::cloud::{Cloud, world};
use crate::world::{Call, key, usdc};

const AUDIO: &str = "data:audio/wav;base64,UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

/// Path, body, price in micro-USDC, and where the answer has what was asked for.
fn kinds() -> Vec<(&'static str, Value, u64, &'static str)> {
    let messages = json!([{ "role": "user", "content": "Say it." }]);
    vec![
        ("/api/v1/compute/text-inference", json!({ "messages": messages }), 30_000, "/choices/0/message/content"),
        ("/api/v1/compute/image-generation", json!({ "prompt": "a lake" }), 30_000, "/data/0/url"),
        ("/api/v1/compute/video-generation", json!({ "prompt": "a boat" }), 500_000, "/output/0"),
        ("/api/v1/compute/text-to-speech", json!({ "input": "Hello." }), 30_000, "/audio/url"),
        ("/api/v1/compute/speech-to-text", json!({ "audio": AUDIO }), 20_000, "/text"),
        ("/api/v1/compute/embeddings", json!({ "input": ["a"] }), 5_000, "/data/0/embedding"),
        ("/api/v1/compute/document-parsing", json!({ "document": "data:text/plain;base64,aGVsbG8=" }), 2_000, "/text"),
        ("/api/v1/gpu/run", json!({ "model": "owner/model", "input": { "prompt": "x" } }), 60_000, "/output/0"),
        (
            "/run",
            json!({ "service": "llm-groq", "input": { "prompt": "Analyze this" } }),
            30_000,
            "/choices/0/message/content",
        ),
        ("/run", json!({ "service": "image", "input": { "prompt": "a lake" } }), 30_000, "/data/0/url"),
        ("/run", json!({ "service": "gpu", "input": { "model": "owner/model", "prompt": "x" } }), 60_000, "/output/0"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_paid_per_call_at_the_price_of_the_table() {
    let world = world(&Cloud::new(), |_| ()).await;
    for (settled, (path, body, price, at)) in kinds().into_iter().enumerate() {
        let call = Call::post(path, &body);
        let offer = world.offer(&call, "exact").await;
        assert_eq!(offer["amount"], price.to_string(), "{path}");
        let payment = world.exact(&call, &key(9)).await;
        let reply = world.send(&call, Some(payment.clone())).await.expect(200, "");
        assert!(reply.body.pointer(at).is_some_and(|found| !found.is_null()), "{path}: {}", reply.body);
        assert_eq!(reply.body["priceMicroUsdc"], price.to_string(), "{path}");
        assert_eq!((reply.report()["success"].clone(), world.settlements()), (json!(true), settled + 1), "{path}");
        let again = world.send(&call, Some(payment)).await.expect(200, "");
        assert_eq!((again.bytes, world.settlements()), (reply.bytes, settled + 1), "{path}: paid and done once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_paid_from_credit_with_a_receipt() {
    let world = world(&Cloud::new(), |_| ()).await;
    let account = world.account(50_000_000).await;
    let mut charged = 0;
    for (path, body, price, at) in kinds() {
        let call = Call::post(path, &body);
        let payment = world.credit(&call, account, &world.owner).await;
        let reply = world.send(&call, Some(payment.clone())).await.expect(200, "");
        assert!(reply.body.pointer(at).is_some_and(|found| !found.is_null()), "{path}: {}", reply.body);
        charged += price * 9 / 10;
        let extra = &reply.report()["extra"];
        assert_eq!(extra["charged"], (price * 9 / 10).to_string(), "{path}");
        let receipt: compute_futures_protocol::SignedReceipt =
            serde_json::from_value(extra["receipt"].clone()).unwrap();
        let settings = world.gate.settings();
        receipt.verify(&settings.domain, settings.operator).unwrap();
        assert_eq!(receipt.receipt.output_hash, compute_futures_protocol::keccak256(&reply.bytes), "{path}");
        let again = world.send(&call, Some(payment)).await.expect(200, "");
        assert_eq!(again.bytes, reply.bytes, "{path}");
    }
    let view = world.view(account).await;
    assert_eq!((view.pending, view.held), (usdc(charged), usdc(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn execute_takes_every_kind() {
    let world = world(&Cloud::new(), |_| ()).await;
    let account = world.account(50_000_000).await;
    let id = account.futures_id(compute_futures_protocol::Chain::Base).to_string();
    for (path, body, price, at) in kinds().into_iter().filter(|(path, ..)| *path != "/run") {
        let mut body = body;
        let kind = if path.ends_with("gpu/run") { "gpu" } else { path.rsplit('/').next().unwrap() };
        body["type"] = json!(kind);
        body["futuresId"] = json!(id);
        let call = Call::post(crate::world::EXECUTE, &body);
        let payment = world.credit(&call, account, &world.owner).await;
        let reply = world.send(&call, Some(payment)).await.expect(200, "");
        assert!(reply.body["compute"].pointer(at).is_some_and(|found| !found.is_null()), "{kind}: {}", reply.body);
        assert_eq!(reply.body["billing"]["chargedMicroUsdc"], (price * 9 / 10).to_string(), "{kind}");

        // The same with the gate price of `exact`, which proves who asks.
        let payment = world.exact(&call, &world.owner).await;
        let reply = world.send(&call, Some(payment)).await.expect(200, "");
        assert_eq!(reply.body["billing"]["chargedMicroUsdc"], (price * 9 / 10).to_string(), "{kind}");
        assert_eq!(reply.report()["transaction"].as_str().unwrap().len(), 66, "{kind}");
        let payment = world.exact(&call, &key(9)).await;
        world.send(&call, Some(payment)).await.expect(403, "not_account_spender");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_jobs_are_refused_before_any_payment() {
    let world = world(&Cloud::new(), |_| ()).await;
    let refused = [
        ("/api/v1/compute/image-generation", json!({}), 400),
        ("/api/v1/compute/video-generation", json!({ "prompt": "x", "webhookUrl": 7 }), 400),
        ("/api/v1/compute/image-generation", json!({ "prompt": "x", "webhookUrl": "https://example.com" }), 400),
        ("/api/v1/gpu/run", json!({ "model": "owner/model" }), 400),
        ("/run", json!({ "service": "telepathy", "input": {} }), 400),
        ("/run", json!({ "service": "llm" }), 400),
        ("/run", json!({ "service": "llm", "input": { "prompt": "x" }, "other": 1 }), 400),
        ("/api/v1/compute/batch", json!({ "jobs": [] }), 400),
    ];
    for (path, body, status) in refused {
        let reply = world.send(&Call::post(path, &body), None).await;
        assert_eq!(reply.status.as_u16(), status, "{path} {body}: {}", reply.body);
        assert!(reply.body["hint"].is_string(), "{path}: {}", reply.body);
    }
}

/// What can be sent to be done can be sent to be priced.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_beyond_the_ordinary_limit_is_estimated_like_the_job() {
    let world = world(&Cloud::new(), |_| ()).await;
    let document = format!("data:text/plain;base64,{}", "aGVs".repeat(1024 * 1024));
    let job = json!({ "type": "document-parsing", "document": document });
    let reply = world.send(&Call::post("/api/v1/compute/estimate", &job), None).await.expect(200, "");
    assert_eq!(reply.body["priceMicroUsdc"], "2000");
}
