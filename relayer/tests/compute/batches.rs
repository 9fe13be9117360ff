//! Batches: one payment, each job with its own end, only what succeeded charged to credit.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cloud::{Cloud, Predictions, world};
use crate::world::{Call, key, usdc};

const BATCH: &str = "/api/v1/compute/batch";

fn text(content: &str) -> Value {
    json!({ "type": "text-inference", "model": "metered", "messages": [{ "role": "user", "content": content }] })
}

fn image() -> Value {
    json!({ "type": "image-generation", "prompt": "a lake" })
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_succeeded_is_charged_to_credit() {
    let world = world(&Cloud::new(), |_| ()).await;
    let account = world.account(50_000_000).await;
    let jobs = json!([image(), text("REFUSE this"), { "type": "embeddings", "input": ["a"] }, text("count")]);
    let call = Call::post(BATCH, &json!({ "jobs": jobs }));
    let payment = world.credit(&call, account, &world.owner).await;
    let reply = world.send(&call, Some(payment.clone())).await.expect(200, "");
    let statuses: Vec<_> =
        reply.body["jobs"].as_array().unwrap().iter().map(|job| job["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["completed", "failed", "completed", "completed"]);
    assert_eq!((&reply.body["succeeded"], &reply.body["failed"]), (&json!(3), &json!(1)));
    assert_eq!(reply.body["jobs"][1]["error"]["code"], "provider_refused");
    // 0.03 + 0.005 + 2 tokens of 0.001, less a tenth for the batch, less a tenth for the tier.
    assert_eq!(reply.body["priceMicroUsdc"], "33300");
    assert_eq!(reply.report()["extra"]["charged"], "29970");
    let view = world.view(account).await;
    assert_eq!((view.pending, view.held), (usdc(29_970), usdc(0)));
    let again = world.send(&call, Some(payment)).await.expect(200, "");
    assert_eq!(again.bytes, reply.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_payment_pays_the_quote_and_not_less_than_the_call() {
    let world = world(&Cloud::new(), |_| ()).await;
    let small = Call::post(BATCH, &json!({ "jobs": [image()] }));
    assert_eq!(world.offer(&small, "exact").await["amount"], "50000");
    assert_eq!(world.offer(&small, "compute-futures").await["amount"], "27000");
    let large = Call::post(BATCH, &json!({ "jobs": vec![image(); 50] }));
    assert_eq!(world.offer(&large, "exact").await["amount"], "1350000");
    let estimate =
        world.send(&Call::post("/api/v1/compute/estimate", &json!({ "jobs": vec![image(); 50] })), None).await;
    assert_eq!(estimate.expect(200, "").body["priceMicroUsdc"], "1350000", "what is quoted is what is estimated");
    let payment = world.exact(&large, &key(9)).await;
    let reply = world.send(&large, Some(payment)).await.expect(200, "");
    assert_eq!((reply.body["succeeded"].clone(), world.settlements()), (json!(50), 1));
    assert_eq!(reply.body["priceMicroUsdc"], "1350000");
    world.send(&Call::post(BATCH, &json!({ "jobs": vec![image(); 51] })), None).await.expect(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_fail_nothing_is_paid() {
    let world = world(&Cloud::new(), |_| ()).await;
    let account = world.account(50_000_000).await;
    let call = Call::post(BATCH, &json!({ "jobs": [text("REFUSE"), text("REFUSE too")] }));
    let payment = world.exact(&call, &key(9)).await;
    let reply = world.send(&call, Some(payment)).await.expect(502, "job_failed");
    assert_eq!(reply.body["extra"]["reason"], "provider_refused");
    assert_eq!(world.settlements(), 0);
    let payment = world.credit(&call, account, &world.owner).await;
    world.send(&call, Some(payment)).await.expect(502, "job_failed");
    let view = world.view(account).await;
    assert_eq!((view.pending, view.held), (usdc(0), usdc(0)));
}

/// What a batch produced is shown once it is paid for: neither while it runs nor after its payment failed.
#[tokio::test(flavor = "multi_thread")]
async fn results_are_not_shown_before_they_are_paid() {
    let cloud = Cloud::new();
    cloud.predictions(Predictions::Hang);
    let world = world(&cloud, |config| config.jobs.wait_seconds = 0).await;
    let film = json!({ "type": "video-generation", "prompt": "a boat" });
    let call = Call::post(BATCH, &json!({ "jobs": [image(), film] }));
    let document = world.exact_document(&call, &key(9), 1900).await;
    let payment = ("payment-signature", crate::world::encode(&document));
    let id = world.send(&call, Some(payment.clone())).await.expect(202, "").body["jobId"].as_str().unwrap().to_owned();
    let status = Call::get(format!("/api/v1/compute/status/{id}"));
    let mut ended = false;
    for _ in 0..100 {
        let paid = world.exact(&status, &key(9)).await;
        let reply = world.send(&status, Some(paid)).await.expect(200, "");
        let first = &reply.body["jobs"][0];
        assert!(first.get("data").is_none() && first.get("result").is_none(), "{first}");
        assert_eq!(first["status"], if first["status"] == "pending" { "pending" } else { "processing" }, "{first}");
        if first["status"] == "processing" && cloud.runs.load(std::sync::atomic::Ordering::SeqCst) > 0 {
            ended = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(ended);
    // The payer's wallet is empty by then: the settlement is refused, and the results stay where they are.
    world.settling(crate::world::Settling::Refuses);
    let before = world.settlements();
    cloud.predictions(Predictions::Succeed);
    while world.settlements() == before {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The refusal is written down at once.
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.settling(crate::world::Settling::Works);
    let paid = world.exact(&status, &key(9)).await;
    let reply = world.send(&status, Some(paid)).await.expect(200, "");
    for job in reply.body["jobs"].as_array().unwrap() {
        assert_eq!((job["status"].as_str(), job.get("data")), (Some("failed"), None), "{job}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_a_film_goes_on_after_its_request() {
    let cloud = Cloud::new();
    cloud.predictions(Predictions::Hang);
    let world = world(&cloud, |config| config.jobs.wait_seconds = 0).await;
    let account = world.account(50_000_000).await;
    let id = account.futures_id(compute_futures_protocol::Chain::Base).to_string();
    let film = json!({ "type": "video-generation", "prompt": "a boat" });
    let body = json!({ "futuresId": id, "type": "batch", "jobs": [image(), film] });
    let call = Call::post(crate::world::EXECUTE, &body);
    let payment = world.credit(&call, account, &world.owner).await;
    let reply = world.send(&call, Some(payment.clone())).await.expect(202, "");
    let item = reply.body["jobs"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(world.view(account).await.held, usdc(429_300), "0.53 less a tenth, less a tenth");
    cloud.predictions(Predictions::Succeed);
    let done = loop {
        let reply = world.send(&call, Some(payment.clone())).await;
        if reply.status == 200 {
            break reply;
        }
        reply.expect(202, "");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(done.body["billing"]["chargedMicroUsdc"], "429300");
    assert_eq!(
        done.body["compute"]["jobs"][1]["output"][0].as_str().unwrap().split('/').next_back().unwrap().len(),
        66
    );
    let status = Call::get(format!("/api/v1/compute/status/{item}"));
    let payment = world.exact(&status, &world.owner).await;
    let reply = world.send(&status, Some(payment)).await.expect(200, "");
    assert_eq!((reply.body["status"].as_str(), reply.body["result"]["data"].is_array()), (Some("completed"), true));
}
