//! Scheme `compute-futures`: signatures spend credit, once each, within what was signed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;

use compute_futures_protocol::{B256, Chain};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::world::{Call, Setup, World, authorization, balance, encode, job, key, now, usdc};

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_pays_for_one_request() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    let payment = world.credit(&call, account, &world.owner).await;
    let first = world.send(&call, Some(payment.clone())).await.expect(200, "");
    assert_eq!(first.body["billing"]["charged"], "$0.027");
    assert_eq!(first.body["billing"]["balanceRemaining"], "$49.973 USDC");
    let report = first.report();
    assert_eq!((&report["success"], &report["transaction"]), (&json!(true), &json!("")));
    assert_eq!(report["extra"]["charged"], "27000");
    assert_eq!(report["extra"]["receiptHash"], first.body["receipt"]["receiptHash"]);
    assert_eq!(report["extra"]["batchNumber"], "1");

    let again = world.send(&call, Some(payment.clone())).await.expect(200, "");
    assert_eq!((&again.bytes, again.report()), (&first.bytes, report));
    assert_eq!((world.jobs(), world.settlements()), (1, 0));
    assert_eq!(world.view(account).await.pending, usdc(27_000));
    // No chain call on the way: an ordinary wallet's signature says all.
    assert_eq!(world.chain.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn v1_names_no_accepted_terms_and_works_the_same() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    let mut document = world.credit_document(&call, &authorization(&call, account), &world.owner).await;
    document["x402Version"] = json!(1);
    document["scheme"] = json!("compute-futures");
    document["network"] = json!("base");
    document.as_object_mut().unwrap().remove("accepted");
    let reply = world.send(&call, Some(("x-payment", encode(&document)))).await.expect(200, "");
    let report = crate::world::decode(&reply.headers["x-payment-response"]);
    assert_eq!((&report["network"], &report["extra"]["charged"]), (&json!("base"), &json!("27000")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_nonce_for_another_request_is_refused() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let (call, other) = (job(account), balance(account));
    let mut signed = authorization(&call, account);
    let payment = world.credit_document(&call, &signed, &world.owner).await;
    world.send(&call, Some(("payment-signature", encode(&payment)))).await.expect(200, "");
    signed.request_hash = other.hash();
    let payment = world.credit_document(&other, &signed, &world.owner).await;
    world.send(&other, Some(("payment-signature", encode(&payment)))).await.expect(409, "nonce_reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_hold_is_refused_by_name() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    let good = authorization(&call, account);
    let send = async |document: Value| world.send(&call, Some(("payment-signature", encode(&document)))).await;
    let signed = async |change: &dyn Fn(&mut compute_futures_protocol::JobAuthorization)| {
        let mut authorization = good.clone();
        change(&mut authorization);
        world.credit_document(&call, &authorization, &world.owner).await
    };

    send(signed(&|a| a.valid_until = now() - 1).await).await.expect(402, "expired");
    send(signed(&|a| a.valid_until = now() + 90_000).await).await.expect(402, "validity_too_long");
    send(signed(&|a| a.request_hash = B256::repeat_byte(3)).await).await.expect(402, "request_hash_mismatch");
    send(signed(&|a| a.max_charge = usdc(26_999)).await).await.expect(402, "max_charge_too_low");
    let unknown = compute_futures_protocol::AccountId::new(1, 99).unwrap();
    send(signed(&|a| a.account_id = unknown).await).await.expect(402, "unknown_account");
    let foreign = compute_futures_protocol::AccountId::new(2, 1).unwrap();
    send(signed(&|a| a.account_id = foreign).await).await.expect(402, "unknown_account");

    let by_stranger = world.credit_document(&call, &good, &key(9)).await;
    send(by_stranger).await.expect(403, "not_account_spender");
    // A signed field that was changed afterwards is somebody else's signature.
    let mut tampered = world.credit_document(&call, &good, &world.owner).await;
    tampered["payload"]["authorization"]["maxCharge"] = json!("2000000");
    send(tampered).await.expect(403, "not_account_spender");
    let mut garbage = world.credit_document(&call, &good, &world.owner).await;
    garbage["payload"]["signature"] = json!("0x1234");
    send(garbage).await.expect(402, "invalid_signature");
    // Another price or another body was accepted.
    let mut cheaper = world.credit_document(&call, &good, &world.owner).await;
    cheaper["accepted"]["amount"] = json!("1");
    send(cheaper).await.expect(402, "terms_changed");
    assert_eq!((world.jobs(), world.view(account).await.held), (0, usdc(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_can_only_pay_for_itself() {
    let world = World::new().await;
    let (mine, other) = (world.account(50_000_000).await, world.account(50_000_000).await);
    let call = job(other);
    let payment = world.credit(&call, mine, &world.owner).await;
    world.send(&call, Some(payment)).await.expect(403, "account_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_and_ceiling_bound_what_is_spent() {
    let world = World::new().await;
    let poor = world.account(20_000).await;
    let payment = world.credit(&job(poor), poor, &world.owner).await;
    let reply = world.send(&job(poor), Some(payment)).await.expect(402, "insufficient_credit");
    assert_eq!((&reply.body["extra"]["available"], &reply.body["extra"]["needed"]), (&json!("20000"), &json!("30000")));
    assert!(reply.body["accepts"].is_array(), "a 402 always carries the offer");

    let capped = world.chain.inner.open(world.owner.address(), 50_000_000, 10_000);
    world.follow().await;
    let call = job(capped);
    let payment = world.credit(&call, capped, &world.owner).await;
    let reply = world.send(&call, Some(payment)).await.expect(402, "ceiling_too_low");
    assert_eq!(reply.body["extra"]["ceilingNeeded"], "27000");
    // A ceiling signed by somebody else is none.
    let mut document = world.credit_document(&call, &authorization(&call, capped), &world.owner).await;
    document["payload"]["spendCeiling"] = world.signed_ceiling(capped, 30_000, &key(9));
    world.send(&call, Some(("payment-signature", encode(&document)))).await.expect(402, "invalid_signature");
    document["payload"]["spendCeiling"] = world.signed_ceiling(capped, 30_000, &world.owner);
    world.send(&call, Some(("payment-signature", encode(&document)))).await.expect(200, "");
    assert_eq!(world.view(capped).await.ceiling, usdc(30_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn contract_wallets_sign_through_the_chain_and_are_asked_once() {
    let world = World::new().await;
    let wallet = compute_futures_protocol::Address::repeat_byte(0xaa);
    let account = world.chain.inner.open(wallet, 50_000_000, crate::world::UNLIMITED);
    world.follow().await;
    world.chain.wallets.lock().unwrap().insert(wallet, vec![0xab; 130]);
    let call = job(account);
    let mut document = world.credit_document(&call, &authorization(&call, account), &key(9)).await;
    document["payload"]["signature"] = json!(format!("0x{}", "ab".repeat(130)));
    let reply = world.send(&call, Some(("payment-signature", encode(&document)))).await.expect(200, "");
    assert_eq!(reply.report()["payer"], wallet.to_string());
    let asked = world.chain.asked.load(Ordering::SeqCst);
    world.send(&call, Some(("payment-signature", encode(&document)))).await.expect(200, "");
    assert_eq!((asked, world.chain.asked.load(Ordering::SeqCst)), (1, 1));
    document["payload"]["signature"] = json!(format!("0x{}", "cd".repeat(130)));
    world.send(&call, Some(("payment-signature", encode(&document)))).await.expect(402, "invalid_signature");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_frees_its_nonce() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    let payment = world.credit(&call, account, &world.owner).await;
    *world.script.provider_fails.lock().unwrap() = true;
    world.send(&call, Some(payment.clone())).await.expect(504, "provider_timeout");
    assert_eq!(world.view(account).await.held, usdc(0));
    *world.script.provider_fails.lock().unwrap() = false;
    world.send(&call, Some(payment)).await.expect(200, "");
    assert_eq!(world.view(account).await.pending, usdc(27_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_never_spend_more_than_there_is() {
    let world = World::new().await;
    // Ten jobs fit: 300,000 at 30,000 each.
    let account = world.account(300_000).await;
    let call = job(account);
    let mut payments = Vec::new();
    for _ in 0..25 {
        payments.push(world.credit(&call, account, &world.owner).await);
    }
    let replies = futures::future::join_all(payments.into_iter().map(|payment| world.send(&call, Some(payment)))).await;
    let served = replies.iter().filter(|reply| reply.status.is_success()).count();
    assert_eq!(served, 10);
    let codes: Vec<&str> =
        replies.iter().filter(|reply| !reply.status.is_success()).map(|reply| reply.code()).collect();
    assert!(codes.iter().all(|code| *code == "insufficient_credit"), "{codes:?}");
    let view = world.view(account).await;
    assert_eq!((view.pending, view.held, view.available), (usdc(300_000), usdc(0), usdc(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_direct_jobs_can_be_paid_from_credit_with_a_receipt() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let direct = Call::post("/api/v1/compute/embeddings", &json!({ "model": "auto", "input": ["one", "two"] }));
    let pricing = Call::get("/api/v1/compute-futures/pricing");
    let history = Call::get(format!("/api/v1/compute-futures/history?futuresId={}", account.futures_id(Chain::Base)));
    for (call, charged) in [(direct, "4500"), (balance(account), "900"), (pricing, "900"), (history.clone(), "1800")] {
        let payment = world.credit(&call, account, &world.owner).await;
        let reply = world.send(&call, Some(payment)).await.expect(200, "");
        let extra = &reply.report()["extra"];
        assert_eq!(extra["charged"], charged, "{}", call.target);
        // The receipt covers the whole body, as sent.
        let receipt: compute_futures_protocol::SignedReceipt =
            serde_json::from_value(extra["receipt"].clone()).unwrap();
        assert_eq!(receipt.receipt.output_hash, compute_futures_protocol::keccak256(&reply.bytes), "{}", call.target);
    }
    let payment = world.exact(&history, &world.owner).await;
    let reply = world.send(&history, Some(payment)).await.expect(200, "");
    let kinds: Vec<&str> =
        reply.body["history"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "charge").count(), 4, "{}", reply.body);
    let payment = world.exact(&history, &key(9)).await;
    world.send(&history, Some(payment)).await.expect(403, "not_account_spender");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_refunds_by_signature_and_a_delegate_does_not() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = Call::post(
        "/api/v1/compute-futures/refund",
        &json!({ "futuresId": account.futures_id(Chain::Base).to_string() }),
    );
    let payment = world.credit(&call, account, &world.delegate).await;
    world.send(&call, Some(payment)).await.expect(403, "not_account_spender");
    let payment = world.credit(&call, account, &world.owner).await;
    let reply = world.send(&call, Some(payment.clone())).await.expect(200, "");
    // 50 less the gate price at 10% off.
    assert_eq!(reply.body["refund"]["refundAmount"], "49.991 USDC");
    let again = world.send(&call, Some(payment)).await.expect(200, "");
    assert_eq!((&again.bytes, again.report()), (&reply.bytes, reply.report()));
    assert!(world.view(account).await.closed);
}

/// T-29: only a payment that was read and holds is not counted among an address's requests without payment.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_unless_their_payment_was_proven() {
    let change = Arc::new(|config: &mut compute_futures_relayer::config::Config| {
        config.server.trust_forwarded_for = true;
        config.server.free_requests_per_second = 1;
        config.server.free_requests_burst = 3;
    });
    let world = World::with(Setup { change, providers: Vec::new() }).await;
    let account = world.account(50_000_000).await;
    let ask = async |call: &Call, payment: &(&'static str, String), address: &str| {
        let request = Request::builder().method(call.method).uri(&call.target).header("x-forwarded-for", address);
        let request = request.header("content-type", "application/json").header(payment.0, &payment.1);
        let response = world.router.clone().oneshot(request.body(Body::from(call.body.clone())).unwrap()).await;
        response.unwrap().status().as_u16()
    };
    let call = balance(account);
    let (credit, exact) = (world.credit(&call, account, &world.owner).await, world.exact(&call, &key(9)).await);
    for payment in [&credit, &exact] {
        for _ in 0..10 {
            assert_eq!(ask(&call, payment, "10.0.0.1").await, 200);
        }
    }
    // Refused before anybody looked at the payment.
    let junk = ("payment-signature", "x".to_owned());
    let nobody = Call::post("/api/v1/compute/image-generation", &json!({ "prompt": "a lake" }));
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(ask(&nobody, &junk, "10.0.0.2").await);
    }
    assert_eq!(answers, [503, 503, 503, 503, 429, 429]);
    // Somebody's nonce with another request.
    let other = Call::get("/api/v1/compute-futures/pricing");
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(ask(&other, &exact, "10.0.0.3").await);
    }
    assert_eq!(answers.last(), Some(&429), "{answers:?}");
}
