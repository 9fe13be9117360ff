//! The rate card that an account was opened under: served for good, and never charged above.

use compute_futures_protocol::{RateCard, keccak256};
use compute_futures_relayer::test_util::fake_chain::rate_card;
use serde_json::{Value, json};

use crate::cloud::{Cloud, Predictions, world};
use crate::world::{Call, Reply, World, usdc};

const MODEL: &str = "local/extractive-summary";

fn text() -> Value {
    json!({ "type": "text-inference", "model": MODEL, "messages": [{ "role": "user", "content": "x" }] })
}

async fn charged(world: &World, account: compute_futures_protocol::AccountId, call: &Call) -> Value {
    let payment = world.credit(call, account, &world.owner).await;
    let reply = world.send(call, Some(payment)).await.expect(200, "");
    reply.report()["extra"]["charged"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_of_now_and_of_before_are_served_by_their_hash() {
    let world = world(&Cloud::new(), |_| ()).await;
    let then = world.ledger.keep_rate_card(&rate_card()).await.unwrap();
    let catalogue = world.send(&Call::get("/.well-known/x402.json"), None).await.expect(200, "");
    let now = catalogue.body["terms"]["rateCardHash"].as_str().unwrap().to_owned();
    assert_eq!(catalogue.body["terms"]["rateCardUrl"], format!("http://relayer.test/api/v1/rate-cards/{now}"));
    assert_ne!(now, then.to_string());
    for hash in [now, then.to_string()] {
        let reply = world.send(&Call::get(format!("/api/v1/rate-cards/{hash}")), None).await.expect(200, "");
        assert_eq!(keccak256(&reply.bytes).to_string(), hash, "whoever reads it need not believe us");
        let card: RateCard = serde_json::from_slice(&reply.bytes).unwrap();
        assert!(card.model(MODEL).is_some());
        assert_eq!(reply.headers["content-type"], "application/json");
        assert!(reply.headers["cache-control"].to_str().unwrap().contains("immutable"));
    }
    let never = format!("/api/v1/rate-cards/0x{}", "0".repeat(64));
    world.send(&Call::get(never), None).await.expect(404, "unknown_rate_card");
    for wrong in ["0x12", "%ff", &"0".repeat(64), &format!("0X{}", "0".repeat(64))] {
        world.send(&Call::get(format!("/api/v1/rate-cards/{wrong}")), None).await.expect(400, "invalid_hash");
    }
}

/// 0.03 today and 0.01 on the card, films 0.5 and 0.1; a tenth off for the tier.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_cheaper_days_is_charged_their_prices_for_every_kind_of_work_and_after_a_restart() {
    let cloud = Cloud::new();
    let world = world(&cloud, |config| config.jobs.wait_seconds = 0).await;
    world.ledger.keep_rate_card(&rate_card()).await.unwrap();
    let account = world.account(50_000_000).await;
    let single = Call::post("/api/v1/compute/text-inference", &{
        let mut body = text();
        body.as_object_mut().unwrap().remove("type");
        body
    });
    assert_eq!(world.offer(&single, "compute-futures").await["amount"], "30000", "the quote is of today");
    assert_eq!(charged(&world, account, &single).await, "9000");
    let by_name = crate::world::job(account);
    let payment = world.credit(&by_name, account, &world.owner).await;
    let reply = world.send(&by_name, Some(payment)).await.expect(200, "");
    assert_eq!(reply.body["billing"]["chargedMicroUsdc"], "9000");

    // A model that came later, beside one of the card: 0.01 + 0.005, less a tenth for the batch.
    let jobs = json!({ "jobs": [text(), { "type": "embeddings", "input": ["a"] }] });
    let batch = Call::post("/api/v1/compute/batch", &jobs);
    let payment = world.credit(&batch, account, &world.owner).await;
    let reply = until_ended(&world, &batch, &payment).await;
    assert_eq!(reply.report()["extra"]["charged"], "12150");
    assert_eq!(reply.body["jobs"][0]["listPriceMicroUsdc"], "10000", "what is shown is what is charged");

    cloud.predictions(Predictions::Hang);
    let film = Call::post("/api/v1/compute/video-generation", &json!({ "prompt": "a boat" }));
    let paid = world.credit(&film, account, &world.owner).await;
    world.send(&film, Some(paid.clone())).await.expect(202, "");
    cloud.looked_at().await;
    let world = world.restart().await;
    cloud.predictions(Predictions::Succeed);
    let reply = until_ended(&world, &film, &paid).await;
    assert_eq!(reply.report()["extra"]["charged"], "90000", "the card is read from the ledger");
    assert_eq!(charged(&world, account, &single).await, "9000");
    let view = world.view(account).await;
    // A relayer that stops settles: what came before may be on chain already.
    let total = view.charged.checked_add(view.pending);
    assert_eq!((total, view.held), (Some(usdc(9_000 + 9_000 + 12_150 + 90_000 + 9_000)), usdc(0)));
}

async fn until_ended(world: &World, call: &Call, payment: &(&'static str, String)) -> Reply {
    for _ in 0..200 {
        let reply = world.send(call, Some(payment.clone())).await;
        if reply.status != 202 {
            return reply.expect(200, "");
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the job does not end");
}
