//! Jobs that outlive their request, and the relayer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::cloud::{Cloud, Predictions, world};
use crate::world::{Call, Reply, Settling, World, key, usdc};

fn film() -> Call {
    Call::post("/api/v1/compute/video-generation", &json!({ "prompt": "a paper boat" }))
}

async fn until_ended(world: &World, call: &Call, payment: &(&'static str, String)) -> Reply {
    for _ in 0..200 {
        let reply = world.send(call, Some(payment.clone())).await;
        if reply.status != 202 {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the job does not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_from_credit_survives_a_restart_and_is_charged_once() {
    let cloud = Cloud::new();
    cloud.predictions(Predictions::Hang);
    let world = world(&cloud, |config| config.jobs.wait_seconds = 0).await;
    let account = world.account(50_000_000).await;
    let call = film();
    let payment = world.credit(&call, account, &world.owner).await;
    let accepted = world.send(&call, Some(payment.clone())).await.expect(202, "");
    let id = accepted.body["jobId"].as_str().unwrap().to_owned();
    assert_eq!(accepted.body["prediction_id"], id);
    assert_eq!(accepted.body["poll_url"], format!("http://relayer.test/api/v1/compute/status/{id}"));
    cloud.looked_at().await;
    // The identical request is the same job.
    let again = world.send(&call, Some(payment.clone())).await.expect(202, "");
    assert_eq!(again.body["jobId"], id);

    let world = world.restart().await;
    let view = world.view(account).await;
    assert_eq!(
        (view.held, view.pending),
        (usdc(450_000), usdc(0)),
        "no restart releases the hold of a job that goes on"
    );
    cloud.predictions(Predictions::Succeed);
    let done = until_ended(&world, &call, &payment).await.expect(200, "");
    assert_eq!((done.body["jobId"].as_str(), cloud.starts()), (Some(id.as_str()), 1), "started once");
    let view = world.view(account).await;
    assert_eq!((view.held, view.pending), (usdc(0), usdc(450_000)));
    assert_eq!(done.report()["extra"]["charged"], "450000");

    // Its status, for whoever paid.
    let status = Call::get(format!("/api/v1/compute/status/{id}"));
    assert_eq!(world.offer(&status, "exact").await["amount"], "1000");
    let stranger = world.exact(&status, &key(9)).await;
    world.send(&status, Some(stranger)).await.expect(403, "not_job_owner");
    let payment = world.credit(&status, account, &world.owner).await;
    let reply = world.send(&status, Some(payment)).await.expect(200, "");
    assert_eq!(reply.body["status"], "completed");
    assert_eq!(reply.body["result"]["output"], done.body["output"]);
    assert_eq!(reply.body["receipt"]["receiptHash"], done.report()["extra"]["receiptHash"]);
    let gpu = Call::get(format!("/api/v1/gpu/status/{id}"));
    assert_eq!(world.offer(&gpu, "exact").await["amount"], "5000");
}

/// A payment that settles after the work is only a promise: what runs on promises of one wallet is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_has_only_so_many_jobs_that_are_not_paid_yet() {
    let cloud = Cloud::new();
    cloud.predictions(Predictions::Hang);
    let world = world(&cloud, |config| config.jobs.wait_seconds = 0).await;
    for number in 0..34 {
        let call = Call::post("/api/v1/compute/video-generation", &json!({ "prompt": format!("boat {number}") }));
        let document = world.exact_document(&call, &key(9), 1900).await;
        let reply = world.send(&call, Some(("payment-signature", crate::world::encode(&document)))).await;
        if number < 32 {
            reply.expect(202, "")
        } else {
            reply.expect(429, "too_many_unpaid_jobs")
        };
    }
    // Another wallet's, and credit, are another matter.
    let call = film();
    let document = world.exact_document(&call, &key(8), 1900).await;
    world.send(&call, Some(("payment-signature", crate::world::encode(&document)))).await.expect(202, "");
    let account = world.account(50_000_000).await;
    let payment = world.credit(&call, account, &world.owner).await;
    world.send(&call, Some(payment)).await.expect(202, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_payment_settles_when_the_film_is_done() {
    let cloud = Cloud::new();
    cloud.predictions(Predictions::Hang);
    let world = world(&cloud, |config| config.jobs.wait_seconds = 0).await;
    let call = film();
    let offer = world.offer(&call, "exact").await;
    assert!(offer["maxTimeoutSeconds"].as_u64().unwrap() > 1800, "the payment must outlive the job");
    let document = world.exact_document(&call, &key(9), 1900).await;
    let payment = ("payment-signature", crate::world::encode(&document));
    world.send(&call, Some(payment.clone())).await.expect(202, "");
    cloud.looked_at().await;
    assert_eq!(world.settlements(), 0, "nothing is taken before the work is done");

    let world = world.restart().await;
    cloud.predictions(Predictions::Succeed);
    let done = until_ended(&world, &call, &payment).await.expect(200, "");
    assert_eq!((world.settlements(), cloud.starts()), (1, 1));
    assert_eq!(done.report()["transaction"].as_str().unwrap().len(), 66);
    assert_eq!(done.body["priceMicroUsdc"], "500000");
    let again = world.send(&call, Some(payment)).await.expect(200, "");
    assert_eq!((again.bytes, world.settlements()), (done.bytes, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_that_fails_costs_nothing_and_can_be_asked_for_again() {
    let cloud = Cloud::new();
    cloud.predictions(Predictions::Fail);
    let world = world(&cloud, |_| ()).await;
    let account = world.account(50_000_000).await;
    let call = film();
    let credit = world.credit(&call, account, &world.owner).await;
    let exact = world.exact(&call, &key(9)).await;
    for payment in [&credit, &exact] {
        let reply = until_ended(&world, &call, payment).await.expect(502, "job_failed");
        assert!(reply.body["error"].as_str().unwrap().contains("out of memory"), "{}", reply.body);
    }
    let view = world.view(account).await;
    assert_eq!((view.held, view.pending, world.settlements()), (usdc(0), usdc(0), 0));
    cloud.predictions(Predictions::Succeed);
    for payment in [credit, exact] {
        until_ended(&world, &call, &payment).await.expect(200, "");
    }
    let view = world.view(account).await;
    assert_eq!((view.held, view.pending, world.settlements()), (usdc(0), usdc(450_000), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_that_takes_too_long_is_cancelled_and_released() {
    let cloud = Cloud::new();
    cloud.predictions(Predictions::Hang);
    let world = world(&cloud, |config| {
        config.jobs.timeout_seconds = 1;
        config.jobs.wait_seconds = 5;
    })
    .await;
    let account = world.account(50_000_000).await;
    let call = film();
    let payment = world.credit(&call, account, &world.owner).await;
    let reply = world.send(&call, Some(payment)).await.expect(502, "job_failed");
    assert_eq!(reply.body["extra"]["reason"], "job_timeout");
    assert_eq!(cloud.cancelled.lock().unwrap().len(), 1);
    let view = world.view(account).await;
    assert_eq!((view.held, view.pending), (usdc(0), usdc(0)));
    let status = Call::get(format!("/api/v1/compute/status/{}", reply.body["extra"]["jobId"].as_str().unwrap()));
    let payment = world.credit(&status, account, &world.owner).await;
    let reply = world.send(&status, Some(payment)).await.expect(200, "");
    assert_eq!(
        (reply.body["status"].as_str(), reply.body["error"]["code"].as_str()),
        (Some("failed"), Some("job_timeout"))
    );
}

/// The work is done, and the wallet is empty by then: nothing is shown and nothing is owed.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_shown_when_the_payment_does_not_settle() {
    let cloud = Cloud::new();
    let world = world(&cloud, |_| ()).await;
    let call = film();
    let payment = world.exact(&call, &key(9)).await;
    world.settling(Settling::Refuses);
    let reply = world.send(&call, Some(payment)).await.expect(502, "job_failed");
    assert_eq!(reply.body["extra"]["reason"], "settlement_refused");
    assert!(reply.body.get("output").is_none());
    let id = reply.body["extra"]["jobId"].as_str().unwrap();
    let status = Call::get(format!("/api/v1/compute/status/{id}"));
    world.settling(Settling::Works);
    let payment = world.exact(&status, &key(9)).await;
    let reply = world.send(&status, Some(payment)).await.expect(200, "");
    assert_eq!(reply.body["status"], "failed");
    assert!(reply.body.get("result").is_none(), "{}", reply.body);
}

/// The settlement's answer is lost, the relayer dies, and the chain has the payment: served once it is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_settlement_of_a_job_is_found_after_a_restart() {
    let cloud = Cloud::new();
    let world = world(&cloud, |config| config.jobs.wait_seconds = 0).await;
    let call = film();
    world.settling(Settling::Fails);
    let payment = world.exact(&call, &key(9)).await;
    world.send(&call, Some(payment.clone())).await.expect(202, "");
    while world.script.settlements.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let world = world.restart().await;
    let done = until_ended(&world, &call, &payment).await.expect(200, "");
    assert_eq!((world.settlements(), cloud.starts()), (1, 1));
    assert_eq!(done.report()["success"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_jobs_and_broken_ids_are_refused_free_of_charge() {
    let world = world(&Cloud::new(), |_| ()).await;
    let zero = "0".repeat(64);
    for (id, status, code) in [
        (format!("0x{zero}"), 404, "unknown_job"),
        (format!("0x{zero}.3"), 404, "unknown_job"),
        (zero, 400, "invalid_job_id"),
        ("0x12".into(), 400, "invalid_job_id"),
        ("p-1".into(), 400, "invalid_job_id"),
    ] {
        world.send(&Call::get(format!("/api/v1/compute/status/{id}")), None).await.expect(status, code);
    }
}

/// T-19, T-23: what ends the relayer each time it is started is not started for ever, and costs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_no_relayer_survives_fails_and_is_released() {
    let cloud = Cloud::new();
    let mut world = world(&cloud, |config| config.jobs.wait_seconds = 0).await;
    let account = world.account(50_000_000).await;
    let hangs =
        json!({ "type": "text-inference", "model": "metered", "messages": [{ "role": "user", "content": "HANG" }] });
    let call = Call::post("/api/v1/compute/batch", &json!({ "jobs": [hangs] }));
    let payment = world.credit(&call, account, &world.owner).await;
    let accepted = world.send(&call, Some(payment)).await.expect(202, "");
    let status = Call::get(format!("/api/v1/compute/status/{}", accepted.body["jobId"].as_str().unwrap()));
    for starts in 1..=5 {
        while cloud.runs.load(Ordering::SeqCst) < starts {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world = world.restart().await;
    }
    // Asked for by its id: the identical request would start it anew.
    let ended = loop {
        let payment = world.credit(&status, account, &world.owner).await;
        let reply = world.send(&status, Some(payment)).await.expect(200, "");
        if reply.body["status"] != "pending" && reply.body["status"] != "processing" {
            break reply.body;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("job_interrupted")), "{ended}");
    assert_eq!(cloud.runs.load(Ordering::SeqCst), 5);
    assert_eq!(world.view(account).await.held, usdc(0));
}
