//! Webhooks: signed by the operator, delivered until taken, and never to inside addresses.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::{Router, routing::post};
use bytes::Bytes;
use compute_futures_protocol::{keccak256, recover};
use serde_json::{Value, json};

use crate::cloud::{Cloud, Predictions, world};
use crate::world::{Call, now};

type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

async fn receiver(status: StatusCode) -> (String, Seen) {
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let app = Router::new().route(
        "/hook",
        post(move |headers: HeaderMap, body: Bytes| {
            kept.lock().unwrap().push((headers, body));
            async move { status }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, seen)
}

async fn first(seen: &Seen) -> (HeaderMap, Bytes) {
    for _ in 0..300 {
        if let Some(found) = seen.lock().unwrap().first() {
            return found.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no webhook came");
}

/// What a receiver does: nothing of ours but the address of the operator.
fn signer_of(headers: &HeaderMap, body: &[u8]) -> String {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let timestamp = text("x-compute-futures-timestamp");
    assert!(timestamp.parse::<u64>().unwrap().abs_diff(now()) < 30);
    let message = format!("compute-futures webhook\n{timestamp}\n{}", keccak256(body));
    let digest = keccak256(format!("\x19Ethereum Signed Message:\n{}{message}", message.len()));
    let signature = hex::decode(text("x-compute-futures-signature").trim_start_matches("0x")).unwrap();
    recover(digest, &signature).unwrap().to_string().to_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_job_is_told_and_signed() {
    let (url, seen) = receiver(StatusCode::OK).await;
    let cloud = Cloud::new();
    let world = world(&cloud, |_| ()).await;
    let account = world.account(50_000_000).await;
    let operator = world.gate.settings().operator.to_string().to_lowercase();
    for (predictions, kind) in [(Predictions::Succeed, "job.completed"), (Predictions::Fail, "job.failed")] {
        cloud.predictions(predictions);
        let body = json!({ "prompt": format!("{kind}"), "webhookUrl": url });
        let call = Call::post("/api/v1/compute/video-generation", &body);
        let payment = world.credit(&call, account, &world.owner).await;
        let reply = world.send(&call, Some(payment)).await;
        let (headers, body) = first(&seen).await;
        seen.lock().unwrap().clear();
        assert_eq!(signer_of(&headers, &body), operator);
        assert_eq!(headers["x-compute-futures-operator"].to_str().unwrap().to_lowercase(), operator);
        let told: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(told["type"], kind);
        match predictions {
            Predictions::Succeed => assert_eq!(told["result"], reply.body),
            _ => assert_eq!(
                (&told["jobId"], told["error"]["code"].as_str()),
                (&reply.body["extra"]["jobId"], Some("provider_job_failed"))
            ),
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(seen.lock().unwrap().is_empty(), "a webhook that was taken does not come again");
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_addresses_are_refused_before_any_payment() {
    let world = world(&Cloud::new(), |config| config.jobs.webhooks_anywhere = false).await;
    for url in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://169.254.169.254/x",
        "https://[::1]/",
        "https://a:b@example.com/",
        "x",
    ] {
        let body = json!({ "prompt": "x", "webhookUrl": url });
        let call = Call::post("/api/v1/compute/video-generation", &body);
        world.send(&call, None).await.expect(400, "invalid_webhook");
    }
    let body = json!({ "prompt": "x", "webhookUrl": "https://example.com/hook" });
    let call = Call::post("/api/v1/compute/video-generation", &body);
    assert_eq!(world.send(&call, None).await.status, StatusCode::PAYMENT_REQUIRED);
}
