//! Scheme `exact`: taken once, answered once, whatever gets lost.

use compute_futures_protocol::B256;
use std::sync::atomic::Ordering;
use std::time::Duration;

use compute_futures_relayer::payment::recover;
use serde_json::{Value, json};

use crate::world::{Call, Settling, World, balance, decode, encode, job, key, usdc};

fn nonce(payment: &(&str, String)) -> (compute_futures_protocol::Address, compute_futures_protocol::B256) {
    let document = decode(&payment.1.parse().unwrap());
    let authorization = &document["payload"]["authorization"];
    (
        authorization["from"].as_str().unwrap().parse().unwrap(),
        authorization["nonce"].as_str().unwrap().parse().unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_paid_once_and_answered_again_byte_for_byte() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let (call, stranger) = (balance(account), key(9));
    let payment = world.exact(&call, &stranger).await;
    let first = world.send(&call, Some(payment.clone())).await.expect(200, "");
    assert_eq!(first.body["balance"]["balanceRemaining"], "50 USDC");
    assert_eq!(first.body["balance"]["tier"], "scale");
    assert_eq!(first.report()["success"], true);
    assert_eq!(first.report()["payer"], stranger.address().to_string());
    assert_eq!(first.report()["transaction"].as_str().unwrap().len(), 66);

    let again = world.send(&call, Some(payment.clone())).await.expect(200, "");
    assert_eq!(again.bytes, first.bytes);
    assert_eq!(again.report(), first.report());
    assert_eq!(world.settlements(), 1);

    let other = balance(world.account(10_000_000).await);
    world.send(&other, Some(payment)).await.expect(409, "payment_reused");
    assert_eq!(world.settlements(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_v1_client_gets_v1_headers() {
    let world = World::new().await;
    let call = balance(world.account(50_000_000).await);
    let mut document = world.exact_document(&call, &key(9), 300).await;
    document["x402Version"] = json!(1);
    document["scheme"] = json!("exact");
    document["network"] = json!("base");
    document.as_object_mut().unwrap().remove("accepted");
    let reply = world.send(&call, Some(("x-payment", encode(&document)))).await.expect(200, "");
    let report = decode(&reply.headers["x-payment-response"]);
    assert_eq!((&report["success"], &report["network"]), (&json!(true), &json!("base")));
    assert!(!reply.headers.contains_key("payment-response"));
}

#[tokio::test(flavor = "multi_thread")]
async fn execute_charges_the_job_to_the_account_of_owner_or_delegate_only() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    let payment = world.exact(&call, &key(9)).await;
    world.send(&call, Some(payment)).await.expect(403, "not_account_spender");
    assert_eq!((world.settlements(), world.jobs()), (0, 0));

    let payment = world.exact(&call, &world.owner).await;
    let reply = world.send(&call, Some(payment.clone())).await.expect(200, "");
    let billing = &reply.body["billing"];
    assert_eq!(billing["charged"], "$0.027");
    assert_eq!(billing["chargedMicroUsdc"], "27000");
    assert_eq!(billing["balanceRemaining"], "$49.973 USDC");
    assert_eq!(reply.body["compute"]["choices"][0]["message"]["content"], "42 \u{20ac}");
    // The receipt covers the bytes of `compute` as sent, is signed by the operator, and names this very payment.
    let text = String::from_utf8(reply.bytes.clone()).unwrap();
    let compute = text.split("\"compute\":").nth(1).unwrap().split(",\"futuresId\"").next().unwrap();
    let receipt: compute_futures_protocol::SignedReceipt =
        serde_json::from_value(reply.body["receipt"].clone()).unwrap();
    assert_eq!(receipt.receipt.output_hash, compute_futures_protocol::keccak256(compute));
    assert_eq!(receipt.receipt.request_hash, call.hash());
    let settings = world.gate.settings();
    receipt.verify(&settings.domain, settings.operator).unwrap();
    let owner = world.owner.address();
    assert_eq!(receipt.authorization.authorizer(&settings.domain, &[owner]), Ok(owner));

    let again = world.send(&call, Some(payment)).await.expect(200, "");
    assert_eq!((again.bytes, world.jobs(), world.settlements()), (reply.bytes, 1, 1));
    assert_eq!(world.view(account).await.pending, usdc(27_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_costs_nothing_and_frees_the_payment() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    let payment = world.exact(&call, &world.owner).await;
    *world.script.provider_fails.lock().unwrap() = true;
    world.send(&call, Some(payment.clone())).await.expect(504, "provider_timeout");
    let view = world.view(account).await;
    assert_eq!((world.settlements(), view.held, view.pending), (0, usdc(0), usdc(0)));
    *world.script.provider_fails.lock().unwrap() = false;
    world.send(&call, Some(payment)).await.expect(200, "");
    assert_eq!(world.settlements(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_on_a_refused_settlement() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    let payment = world.exact(&call, &world.owner).await;
    world.settling(Settling::Refuses);
    let reply = world.send(&call, Some(payment.clone())).await.expect(402, "settlement_refused");
    assert_eq!(reply.report()["success"], false);
    assert_eq!(reply.report()["errorReason"], "insufficient_funds");
    assert_eq!(reply.report()["transaction"], "");
    // The refusal carries the offer too, so that the client can pay again.
    assert!(reply.headers.contains_key("payment-required"));
    assert!(reply.body["accepts"].is_array() && reply.body.get("compute").is_none());
    let view = world.view(account).await;
    assert_eq!((view.held, view.pending), (usdc(0), usdc(0)));
    // With funds the same payment works.
    world.settling(Settling::Works);
    world.send(&call, Some(payment)).await.expect(200, "");
    assert_eq!(world.view(account).await.pending, usdc(27_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_settlement_answer_is_found_on_chain() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    let payment = world.exact(&call, &world.owner).await;
    world.settling(Settling::LosesAnswer);
    let reply = world.send(&call, Some(payment.clone())).await.expect(200, "");
    assert_eq!(reply.report()["transaction"].as_str().unwrap().len(), 66);
    assert_eq!((world.settlements(), world.jobs()), (1, 1));
    let again = world.send(&call, Some(payment)).await.expect(200, "");
    assert_eq!((again.bytes, world.settlements(), world.jobs()), (reply.bytes, 1, 1));
    assert_eq!(world.view(account).await.pending, usdc(27_000));
}

/// The work was done, the facilitator is gone: 503, then a restart; the retry is answered without a second job or charge.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_settlement_survives_a_restart() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    let payment = world.exact(&call, &world.owner).await;
    world.settling(Settling::Fails);
    let reply = world.send(&call, Some(payment.clone())).await.expect(503, "settlement_unknown");
    assert_eq!((reply.report()["success"].clone(), world.jobs()), (json!(false), 1));
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!(world.view(account).await.held, usdc(27_000));

    let world = world.restart().await;
    // It went through after all, unseen.
    world.chain.nonces.lock().unwrap().insert(nonce(&payment), Some(B256::repeat_byte(0x99).into()));
    let reply = world.send(&call, Some(payment)).await.expect(200, "");
    assert_eq!(reply.body["billing"]["charged"], "$0.027");
    assert!(reply.report()["transaction"].as_str().unwrap().starts_with("0x9999"));
    let view = world.view(account).await;
    assert_eq!((view.held, view.pending, world.jobs(), world.settlements()), (usdc(0), usdc(27_000), 0, 0));
}

/// Nobody comes back: the background brings the payment to its end.
#[tokio::test(flavor = "multi_thread")]
async fn unresolved_payments_are_resolved_without_the_client() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    let payment = world.exact(&call, &world.owner).await;
    world.settling(Settling::Fails);
    world.send(&call, Some(payment.clone())).await.expect(503, "settlement_unknown");
    assert_eq!(recover::resolve_all(&world.gate).await.unwrap(), 0);
    world.settling(Settling::Works);
    assert_eq!(recover::resolve_all(&world.gate).await.unwrap(), 1);
    let view = world.view(account).await;
    assert_eq!((view.held, view.pending, world.jobs()), (usdc(0), usdc(27_000), 1));
    world.send(&call, Some(payment)).await.expect(200, "");
}

/// The payer cancels the authorisation while the job runs: the nonce is used up, but no money moved (I-8).
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_authorisation_is_no_payment() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    for mode in [Settling::Refuses, Settling::Fails] {
        let payment = world.exact(&call, &world.owner).await;
        *world.script.provider_waits.lock().unwrap() = true;
        world.settling(mode);
        let (reply, ()) = tokio::join!(world.send(&call, Some(payment.clone())), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            world.chain.nonces.lock().unwrap().insert(nonce(&payment), None);
            *world.script.provider_waits.lock().unwrap() = false;
            world.script.go.notify_waiters();
        });
        let reply = reply.expect(402, "settlement_refused");
        assert_eq!(reply.report()["success"], false);
        let view = world.view(account).await;
        assert_eq!((view.held, view.pending), (usdc(0), usdc(0)));
    }
}

/// Somebody else submits the very same transfer first: it paid us, so it is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_front_run_payment_is_a_payment() {
    let world = World::new().await;
    let call = balance(world.account(50_000_000).await);
    let payment = world.exact(&call, &key(9)).await;
    // The facilitator is asked to verify before the transfer is seen.
    let (reply, ()) = tokio::join!(
        async {
            world.settling(Settling::Refuses);
            world.send(&call, Some(payment.clone())).await
        },
        async {
            while world.script.verified.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            world.chain.nonces.lock().unwrap().insert(nonce(&payment), Some(B256::repeat_byte(0x55).into()));
        }
    );
    let report = reply.expect(200, "").report();
    assert!(report["transaction"].as_str().unwrap().starts_with("0x5555"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_payment_twice_at_once_runs_once() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    let payment = world.exact(&call, &world.owner).await;
    *world.script.provider_waits.lock().unwrap() = true;
    let (first, second, ()) = tokio::join!(
        world.send(&call, Some(payment.clone())),
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            world.send(&call, Some(payment.clone())).await
        },
        async {
            tokio::time::sleep(Duration::from_millis(600)).await;
            *world.script.provider_waits.lock().unwrap() = false;
            world.script.go.notify_waiters();
        }
    );
    assert_eq!(first.expect(200, "").bytes, second.expect(200, "").bytes);
    assert_eq!((world.jobs(), world.settlements()), (1, 1));
}

/// A client that hangs up in the middle finds its answer when it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_changes_nothing() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    let payment = world.exact(&call, &world.owner).await;
    *world.script.provider_waits.lock().unwrap() = true;
    let cut = tokio::time::timeout(Duration::from_millis(300), world.send(&call, Some(payment.clone()))).await;
    assert!(cut.is_err());
    *world.script.provider_waits.lock().unwrap() = false;
    world.script.go.notify_waiters();
    world.send(&call, Some(payment)).await.expect(200, "");
    assert_eq!((world.jobs(), world.settlements()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_identifier_is_one_request() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let (call, id) = (job(account), "pay_7d5d747be160e280504c099d984bcfe0");
    let named = async |call: &Call| {
        let mut document = world.exact_document(call, &world.owner, 300).await;
        document["extensions"] = json!({ "payment-identifier": { "info": { "required": false, "id": id } } });
        ("payment-signature", encode(&document))
    };
    let first = world.send(&call, Some(named(&call).await)).await.expect(200, "");
    // A fresh payment under the same name is not taken: the answer is there.
    let again = world.send(&call, Some(named(&call).await)).await.expect(200, "");
    assert_eq!((again.bytes, world.jobs(), world.settlements()), (first.bytes, 1, 1));
    let other = balance(account);
    world.send(&other, Some(named(&other).await)).await.expect(409, "payment_reused");
    // The name belongs to its payer: somebody else may use the same.
    let mut document = world.exact_document(&other, &key(9), 300).await;
    document["extensions"] = json!({ "payment-identifier": { "info": { "id": id } } });
    world.send(&other, Some(("payment-signature", encode(&document)))).await.expect(200, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_whose_payment_came_to_nothing_is_free() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let call = job(account);
    let named = async || {
        let mut document = world.exact_document(&call, &world.owner, 300).await;
        document["extensions"] = json!({ "payment-identifier": { "info": { "id": "0123456789abcdef" } } });
        ("payment-signature", encode(&document))
    };
    world.settling(Settling::Refuses);
    world.send(&call, Some(named().await)).await.expect(402, "settlement_refused");
    world.settling(Settling::Works);
    world.send(&call, Some(named().await)).await.expect(200, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_about_to_expire_is_not_taken() {
    let world = World::new().await;
    let call = balance(world.account(50_000_000).await);
    for valid in [0, 10, 29] {
        let document = world.exact_document(&call, &key(9), valid).await;
        world.send(&call, Some(("payment-signature", encode(&document)))).await.expect(402, "expired");
    }
    assert_eq!(world.settlements(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_are_for_the_owner_and_end_on_chain() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let payment = world.exact(&job(account), &world.owner).await;
    world.send(&job(account), Some(payment)).await.expect(200, "");
    let id = account.futures_id(compute_futures_protocol::Chain::Base).to_string();
    let path = "/api/v1/compute-futures/refund";
    let call = Call::post(path, &json!({ "futuresId": id }));
    let payment = world.exact(&call, &key(9)).await;
    world.send(&call, Some(payment)).await.expect(403, "not_account_owner");
    let lie = Call::post(path, &json!({ "futuresId": id, "caller": key(9).address() }));
    let payment = world.exact(&lie, &world.owner).await;
    world.send(&lie, Some(payment)).await.expect(403, "caller_mismatch");
    let settled = world.settlements();

    let payment = world.exact(&call, &world.owner).await;
    let reply = world.send(&call, Some(payment.clone())).await.expect(200, "");
    let refund = &reply.body["refund"];
    assert_eq!(refund["refundAmount"], "49.973 USDC");
    assert_eq!(refund["refundAmountMicroUsdc"], "49973000");
    assert_eq!(refund["jobsExecuted"], 1);
    let again = world.send(&call, Some(payment)).await.expect(200, "");
    assert_eq!((again.bytes, world.settlements()), (reply.bytes, settled + 1));
    // The account is closed: another refund is refused before anything is taken, a job as well.
    let payment = world.exact(&call, &world.owner).await;
    world.send(&call, Some(payment)).await.expect(409, "account_closed");
    let payment = world.exact(&job(account), &world.owner).await;
    world.send(&job(account), Some(payment)).await.expect(409, "account_closed");
    assert_eq!(world.settlements(), settled + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_private_and_readable_by_browsers() {
    let world = World::new().await;
    let call = balance(world.account(50_000_000).await);
    let reply = world.send(&call, None).await.expect(402, "payment_required");
    assert_eq!(reply.headers["cache-control"], "private, no-store");
    assert_eq!(reply.body["x402Version"], 1);
    assert_eq!((&reply.body["amount"], reply.body["recipient"].is_string()), (&Value::from("0.001"), true));
}
