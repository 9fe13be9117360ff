//! Replicate tells when a prediction has ended: in its own wire format, signed as it signs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, Uri};
use axum::{Json, Router};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use compute_futures_protocol::{JobKind, Usdc};
use compute_futures_relayer::config::{Config, ModelConfig, ProviderConfig, ProviderKind, RouteConfig};
use compute_futures_relayer::providers::Replicate;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tower::ServiceExt as _;

use crate::world::{Call, Setup, World, now};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TARGET: &str = "/api/v1/providers/rep/webhook";
const ID: &str = "gm3qorzdhgbfurvjtvhg6dckhu";

#[derive(Default)]
struct Upstream {
    done: AtomicBool,
    looks: AtomicUsize,
    created: std::sync::Mutex<Vec<Value>>,
}

fn prediction(status: &str) -> Value {
    let output = if status == "succeeded" { json!(["a text"]) } else { Value::Null };
    json!({
        "id": ID, "model": "owner/model", "version": "hidden", "input": {}, "logs": "", "output": output, "error": null,
        "status": status, "created_at": "2026-01-01T00:00:00Z", "urls": {}, "metrics": { "predict_time": 1.0 },
    })
}

async fn replicate(State(upstream): State<Arc<Upstream>>, method: Method, uri: Uri, body: bytes::Bytes) -> Json<Value> {
    if method == Method::POST && uri.path().ends_with("/predictions") {
        upstream.created.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        return Json(prediction("starting"));
    }
    upstream.looks.fetch_add(1, Ordering::SeqCst);
    Json(prediction(if upstream.done.load(Ordering::SeqCst) { "succeeded" } else { "processing" }))
}

async fn start() -> (World, Arc<Upstream>) {
    let upstream = Arc::new(Upstream::default());
    let app = Router::new().fallback(replicate).with_state(Arc::clone(&upstream));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let provider = ProviderConfig {
        name: "rep".into(),
        kind: ProviderKind::Replicate,
        base_url,
        allow_insecure: true,
        webhook_url: format!("https://relayer.test{TARGET}"),
        ..ProviderConfig::default()
    };
    let replicate = Replicate::with_webhook_secret(&provider, Some(SECRET)).unwrap();
    let change = Arc::new(move |config: &mut Config| {
        // What stands in its place knows the secret.
        config.providers.push(ProviderConfig { webhook_url: String::new(), ..provider.clone() });
        config.models = vec![ModelConfig {
            id: "any-gpu".into(),
            kind: JobKind::Gpu,
            per_call: Usdc::from_micros(60_000),
            routes: vec![RouteConfig { provider: "rep".into(), model: "*".into(), ..RouteConfig::default() }],
            ..ModelConfig::default()
        }];
        config.jobs.wait_seconds = 0;
    });
    (World::with(Setup { change, providers: vec![Arc::new(replicate)] }).await, upstream)
}

/// A webhook as Replicate signs it.
fn signed(body: &str, time: u64) -> [(&'static str, String); 3] {
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("msg_1.{time}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    [("webhook-id", "msg_1".into()), ("webhook-timestamp", time.to_string()), ("webhook-signature", signature)]
}

async fn tell(world: &World, target: &str, headers: &[(&'static str, String)], body: &str) -> (u16, Value) {
    let mut request = Request::post(target).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let response = world.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn call() -> Call {
    Call::post("/api/v1/gpu/run", &json!({ "model": "owner/model", "input": { "prompt": "x" } }))
}

async fn begun(world: &World, upstream: &Upstream) -> (Call, (&'static str, String)) {
    let account = world.account(50_000_000).await;
    let call = call();
    let payment = world.credit(&call, account, &world.owner).await;
    world.send(&call, Some(payment.clone())).await.expect(202, "");
    // Looked at now and then with growing pauses, as without any webhook: wait until a pause is some seconds long.
    while upstream.looks.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (call, payment)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_is_looked_at_as_soon_as_its_provider_tells_of_it() {
    let (world, upstream) = start().await;
    let (call, payment) = begun(&world, &upstream).await;
    let created = upstream.created.lock().unwrap()[0].clone();
    assert_eq!(created["webhook"], format!("https://relayer.test{TARGET}"));
    assert_eq!(created["webhook_events_filter"], json!(["completed"]));

    upstream.done.store(true, Ordering::SeqCst);
    let (looks, started) = (upstream.looks.load(Ordering::SeqCst), Instant::now());
    // What the webhook says came out is not what counts: that is asked.
    let mut lie = prediction("succeeded");
    lie["output"] = json!(["another text"]);
    let body = lie.to_string();
    assert_eq!(tell(&world, TARGET, &signed(&body, now()), &body).await.0, 200);
    let reply = loop {
        let reply = world.send(&call, Some(payment.clone())).await;
        if reply.status != 202 {
            break reply.expect(200, "");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(started.elapsed() < Duration::from_secs(2), "the next look was some seconds away");
    assert_eq!((&reply.body["output"], upstream.looks.load(Ordering::SeqCst)), (&json!(["a text"]), looks + 1));
    // Told again, and of what nobody waits for: no fault of the provider's.
    assert_eq!(tell(&world, TARGET, &signed(&body, now()), &body).await.0, 200);
    let other = json!({ "id": "unknown" }).to_string();
    assert_eq!(tell(&world, TARGET, &signed(&other, now()), &other).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_provider_did_not_sign_is_refused_and_wakes_nobody() {
    let (world, upstream) = start().await;
    begun(&world, &upstream).await;
    let looks = upstream.looks.load(Ordering::SeqCst);
    let body = prediction("succeeded").to_string();
    let good = signed(&body, now());
    let without = |name: &str| good.iter().filter(|(header, _)| *header != name).cloned().collect::<Vec<_>>();
    let odd = json!({ "id": "../../account" }).to_string();
    let foreign = |at: u64| signed("{}", at);
    for (target, headers, body, status, code) in [
        (TARGET, vec![], body.as_str(), 400, "invalid_webhook"),
        (TARGET, without("webhook-signature"), &body, 400, "invalid_webhook"),
        (TARGET, without("webhook-timestamp"), &body, 400, "invalid_webhook"),
        (TARGET, foreign(now()).to_vec(), &body, 403, "webhook_not_believed"),
        (TARGET, signed(&body, now() - 400).to_vec(), &body, 403, "webhook_not_believed"),
        (TARGET, good.to_vec(), "{}", 403, "webhook_not_believed"),
        (TARGET, signed("not json", now()).to_vec(), "not json", 400, "invalid_webhook"),
        (TARGET, signed("{}", now()).to_vec(), "{}", 400, "invalid_webhook"),
        (TARGET, signed(&odd, now()).to_vec(), &odd, 400, "invalid_webhook"),
        ("/api/v1/providers/local/webhook", good.to_vec(), &body, 404, "webhook_not_expected"),
        ("/api/v1/providers/nobody/webhook", good.to_vec(), &body, 404, "webhook_not_expected"),
        ("/api/v1/providers/%ff/webhook", good.to_vec(), &body, 404, "webhook_not_expected"),
    ] {
        let (answered, said) = tell(&world, target, &headers, body).await;
        assert_eq!((answered, said["code"].as_str()), (status, Some(code)), "{target} {headers:?} {body}: {said}");
        assert!(said["hint"].is_string());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(upstream.looks.load(Ordering::SeqCst), looks);
    world.send(&Call::get(TARGET), None).await.expect(405, "method_not_allowed");
}
