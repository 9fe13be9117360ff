//! Published receipts: verified ones are served with proofs, others are refused with the reason.

use std::{sync::Arc, time::Duration};

use compute_futures_chain::ChainReader;
use compute_futures_indexer::Config;
use compute_futures_protocol::{B256, BatchDocument, Chain};
use serde_json::{Value, json};

use super::support::{
    app::App,
    config_on,
    databases::Databases,
    on_both_chains,
    scenario::{Answer, Scenario, deaf, signer},
    section,
    world::{somebody, terms},
};

on_both_chains!(
    verified_receipts_are_served_with_proofs,
    a_replaced_batch_takes_its_receipts_along,
    what_does_not_hold_is_refused_with_the_reason,
    somebody_elses_signature_is_refused,
    what_cannot_be_fetched_is_tried_again,
    a_document_beyond_the_cap_is_not_read_to_the_end,
    a_source_that_hangs_keeps_no_other_waiting,
    receipts_that_do_not_come_to_the_debits_are_a_discrepancy,
);

async fn start(scenario: &Scenario, databases: &Databases, change: impl FnOnce(&mut Config)) -> App {
    let mut config = config_on(&[scenario.chain]);
    config.receipts.retry_seconds = 1;
    let network = section(&mut config, scenario.chain);
    network.database_url = databases.fresh().await;
    network.operators.insert("1".into(), scenario.source());
    change(&mut config);
    let reader: Arc<dyn ChainReader> = scenario.fake.clone();
    App::start(reader, config).await
}

const BATCH: &str = "/api/v1/operators/1/batches/1";

fn state(batch: &Value) -> &str {
    batch["receipts"]["state"].as_str().unwrap_or_default()
}

async fn verified_receipts_are_served_with_proofs(chain: Chain) {
    proofs(&Databases::sqlite(), chain).await;
}

pub async fn proofs(databases: &Databases, chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    let document = scenario.honest_batch();
    let app = start(&scenario, databases, |_| {}).await;
    app.until(BATCH, |batch| state(batch) == "verified").await;

    for published in &document.receipts {
        let answer = app.ok(&format!("/api/v1/receipts/{}", published.receipt_hash)).await;
        assert_eq!(answer["receipt"], serde_json::to_value(published).unwrap());
        assert_eq!(answer["proven"], true);
        let proof: Vec<B256> = serde_json::from_value(answer["proof"].clone()).unwrap();
        assert!(compute_futures_protocol::verify(document.root, published.receipt_hash, &proof));
        assert_eq!(answer["verify"]["operatorIndex"], 1);
        assert_eq!(answer["verify"]["batchNumber"], 1);
    }
    let page = app.ok(&format!("/api/v1/accounts/{}/receipts?limit=2", scenario.account)).await;
    assert_eq!(page["items"][0]["sequence"], "3");
    let rest = app
        .ok(&format!("/api/v1/accounts/{}/receipts?cursor={}", scenario.account, page["next"].as_str().unwrap()))
        .await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    assert_eq!(rest["items"][0]["sequence"], "1");

    // In the form in which the operator publishes them, so that an audit can be run against an indexer.
    let again: BatchDocument = serde_json::from_value(app.ok("/api/v1/receipts/1/1").await).unwrap();
    again.verify(&scenario.domain, scenario.operator.address()).unwrap();
    assert_eq!(again.root, document.root);
    let totals = app.ok("/api/v1/totals").await;
    assert_eq!((&totals["receipts"], &totals["receiptsVerified"]), (&json!(3), &json!(3)));
    assert_eq!(app.ok("/api/v1/discrepancies").await["items"], json!([]));
    app.stop().await;
}

async fn what_does_not_hold_is_refused_with_the_reason(chain: Chain) {
    let databases = Databases::sqlite();
    let mut scenario = Scenario::on(chain).await;
    let honest = scenario.honest_batch();
    let honest = serde_json::to_value(&honest).unwrap();
    type Spoil = (&'static str, fn(&mut Value));
    let spoils: [Spoil; 4] = [
        ("hash", |document| document["receipts"][0]["charged"] = json!("1")),
        ("root", |document| drop(document["receipts"].as_array_mut().unwrap().pop())),
        ("the chain has", |document| document["root"] = json!(B256::repeat_byte(1))),
        ("is of batch", |document| document["batchNumber"] = json!("2")),
    ];
    for (reason, spoil) in spoils {
        let mut document = honest.clone();
        spoil(&mut document);
        scenario.answer(1, Answer::Json(document));
        let app = start(&scenario, &databases, |_| {}).await;
        let batch = app.until(BATCH, |batch| state(batch) == "refused").await;
        let found = batch["receipts"]["reason"].as_str().unwrap();
        assert!(found.contains(reason), "{reason}: {found}");
        let listed = app.ok("/api/v1/discrepancies").await;
        assert_eq!(listed["items"][0]["code"], "receipts_refused");
        assert_eq!(app.get("/api/v1/receipts/1/1").await.0, 404);
        app.stop().await;
    }
}

async fn somebody_elses_signature_is_refused(chain: Chain) {
    let databases = Databases::sqlite();
    let mut scenario = Scenario::on(chain).await;
    scenario.operator = signer(chain, 0x33);
    scenario.honest_batch();
    let app = start(&scenario, &databases, |_| {}).await;
    let batch = app.until(BATCH, |batch| state(batch) == "refused").await;
    assert!(batch["receipts"]["reason"].as_str().unwrap().contains("by the operator"), "{batch}");
    app.stop().await;
}

async fn what_cannot_be_fetched_is_tried_again(chain: Chain) {
    let databases = Databases::sqlite();
    let mut scenario = Scenario::on(chain).await;
    let document = scenario.honest_batch();
    for (answer, reason) in [
        (Answer::Status(404), "404"),
        (Answer::Status(500), "status 500"),
        (Answer::Json(json!("nonsense")), "not one"),
        (Answer::Redirect(format!("http://localhost:{}/api/v1/receipts/1/1", scenario.address.port())), "another host"),
    ] {
        scenario.answer(1, answer);
        let app = start(&scenario, &databases, |_| {}).await;
        let batch = app.until(BATCH, |batch| batch["receipts"]["attempts"].as_u64() > Some(0)).await;
        assert_eq!(state(&batch), "pending");
        assert!(batch["receipts"]["reason"].as_str().unwrap().contains(reason), "{reason}: {batch}");
        scenario.publish(&document);
        let batch = app.until(BATCH, |batch| state(batch) == "verified").await;
        assert_eq!(batch["receipts"].get("reason"), None);
        app.stop().await;
    }
}

async fn a_document_beyond_the_cap_is_not_read_to_the_end(chain: Chain) {
    let databases = Databases::sqlite();
    let mut scenario = Scenario::on(chain).await;
    scenario.honest_batch();
    let app = start(&scenario, &databases, |config| config.receipts.max_bytes = 200).await;
    let batch = app.until(BATCH, |batch| batch["receipts"]["attempts"].as_u64() > Some(0)).await;
    assert!(batch["receipts"]["reason"].as_str().unwrap().contains("larger than 200"), "{batch}");
    app.stop().await;
}

async fn receipts_that_do_not_come_to_the_debits_are_a_discrepancy(chain: Chain) {
    let databases = Databases::sqlite();
    let mut scenario = Scenario::on(chain).await;
    let receipts = vec![scenario.job(40_000)];
    scenario.post_listed(receipts, 50_000);
    let app = start(&scenario, &databases, |_| {}).await;
    let found = app
        .until("/api/v1/discrepancies", |page| page["items"].as_array().is_some_and(|items| !items.is_empty()))
        .await;
    assert_eq!(found["items"][0]["code"], "receipts_sum");
    assert_eq!(found["items"][0]["accountId"], scenario.account.to_string());
    app.stop().await;
}

async fn a_replaced_batch_takes_its_receipts_along(chain: Chain) {
    replaced(&Databases::sqlite(), chain).await;
}

pub async fn replaced(databases: &Databases, chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    let document = scenario.honest_batch();
    let app = start(&scenario, databases, |_| {}).await;
    app.until(BATCH, |batch| state(batch) == "verified").await;
    scenario.fake.drop_blocks(1);
    scenario.fake.mine(|_, _| {});
    let path = format!("/api/v1/receipts/{}", document.receipts[0].receipt_hash);
    app.until(&path, |answer| answer["code"] == "unknown_receipt").await;
    assert_eq!(app.get(BATCH).await.0, 404);
    // Posted again, in another block: fetched and verified again.
    let account = scenario.account.get();
    let listed = document.receipts.iter().map(|signed| signed.receipt.list_amount.micros()).sum();
    scenario.fake.mine(|world, events| {
        world.post(1, &[(account, super::support::world::usdc(listed), 500)], document.root, 3, events);
    });
    app.until(BATCH, |batch| state(batch) == "verified").await;
    app.stop().await;
}

async fn a_source_that_hangs_keeps_no_other_waiting(chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    scenario.fake.mine(|world, events| {
        let second = world.set_terms(somebody(chain, 7), terms(3600), events);
        world.post(second, &[], B256::repeat_byte(1), 1, events);
    });
    let (deaf, source) = deaf().await;
    let databases = Databases::sqlite();
    let app = start(&scenario, &databases, |config| {
        config.receipts.timeout_seconds = 600;
        section(config, chain).operators.insert("2".into(), source);
    })
    .await;
    // Once it has been asked, it never answers.
    let (_connection, _) = tokio::time::timeout(Duration::from_secs(20), deaf.accept()).await.unwrap().unwrap();
    scenario.honest_batch();
    app.until(BATCH, |batch| state(batch) == "verified").await;
    app.stop().await;
}
