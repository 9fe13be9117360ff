//! The x402 extension `offer-receipt`: what is offered and what was paid, signed by the operator.

use alloy::primitives::U256;
use alloy::sol_types::{SolStruct as _, eip712_domain};
use compute_futures_protocol::{Address, recover};
use serde_json::{Value, json};

use crate::cloud::{Cloud, world};
use crate::world::{Call, World, decode, encode, key, now};

alloy::sol! {
    struct Offer {
        uint256 version; string resourceUrl; string scheme; string network; string asset; string payTo; string amount; uint256 validUntil;
    }
    struct Receipt {
        uint256 version; string network; string resourceUrl; string payer; uint256 issuedAt; string transaction;
    }
}

fn signer(digest: compute_futures_protocol::B256, artifact: &Value) -> Address {
    assert_eq!(artifact["format"], "eip712");
    let signature = hex::decode(artifact["signature"].as_str().unwrap().trim_start_matches("0x")).unwrap();
    recover(digest, &signature).unwrap().into()
}

fn text(payload: &Value, name: &str) -> String {
    payload[name].as_str().unwrap().to_owned()
}

fn signer_of_offer(artifact: &Value) -> Address {
    let payload = &artifact["payload"];
    let offer = Offer {
        version: U256::from(1),
        resourceUrl: text(payload, "resourceUrl"),
        scheme: text(payload, "scheme"),
        network: text(payload, "network"),
        asset: text(payload, "asset"),
        payTo: text(payload, "payTo"),
        amount: text(payload, "amount"),
        validUntil: U256::from(payload["validUntil"].as_u64().unwrap()),
    };
    signer(offer.eip712_signing_hash(&eip712_domain! { name: "x402 offer", version: "1", chain_id: 1, }), artifact)
}

fn signer_of_receipt(artifact: &Value) -> Address {
    let payload = &artifact["payload"];
    let receipt = Receipt {
        version: U256::from(1),
        network: text(payload, "network"),
        resourceUrl: text(payload, "resourceUrl"),
        payer: text(payload, "payer"),
        issuedAt: U256::from(payload["issuedAt"].as_u64().unwrap()),
        transaction: text(payload, "transaction"),
    };
    signer(receipt.eip712_signing_hash(&eip712_domain! { name: "x402 receipt", version: "1", chain_id: 1, }), artifact)
}

fn image() -> Call {
    Call::post("/api/v1/compute/image-generation?x=1", &json!({ "prompt": "a lake" }))
}

async fn required(world: &World, call: &Call) -> Value {
    let reply = world.send(call, None).await;
    let header = &reply.headers["payment-required"];
    assert!(header.len() < 12 * 1024, "clients bound what they read of a head: {}", header.len());
    decode(header)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_offer_is_signed_as_it_stands() {
    let world = world(&Cloud::new(), |_| ()).await;
    let required = required(&world, &image()).await;
    let declared = &required["extensions"]["offer-receipt"];
    let offers = declared["info"]["offers"].as_array().unwrap();
    assert_eq!(offers.len(), required["accepts"].as_array().unwrap().len());
    assert!(declared["schema"].is_object());
    for (index, offer) in offers.iter().enumerate() {
        let (payload, accepted) = (&offer["payload"], &required["accepts"][index]);
        assert_eq!(offer["acceptIndex"], json!(index));
        for field in ["scheme", "network", "asset", "payTo", "amount"] {
            assert_eq!(payload[field], accepted[field], "{field}");
        }
        assert_eq!(payload["resourceUrl"], "http://relayer.test/api/v1/compute/image-generation?x=1");
        let until = payload["validUntil"].as_u64().unwrap();
        assert!(until > now() && until <= now() + accepted["maxTimeoutSeconds"].as_u64().unwrap());
        assert_eq!(signer_of_offer(offer), world.gate.settings().operator);
        let mut other = offer.clone();
        other["payload"]["amount"] = json!("1");
        assert_ne!(signer_of_offer(&other), world.gate.settings().operator);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_paid_has_a_receipt_that_any_x402_client_reads() {
    let world = world(&Cloud::new(), |_| ()).await;
    let call = image();
    let payment = world.exact(&call, &key(9)).await;
    let reply = world.send(&call, Some(payment)).await.expect(200, "");
    let receipt = &reply.report()["extensions"]["offer-receipt"]["info"]["receipt"];
    assert_eq!(signer_of_receipt(receipt), world.gate.settings().operator);
    let payload = &receipt["payload"];
    assert_eq!(payload["payer"], key(9).address().to_string());
    assert_eq!(payload["transaction"], reply.report()["transaction"]);
    assert_eq!((payload["network"].as_str(), payload["version"].as_u64()), (Some("eip155:8453"), Some(1)));
    assert_eq!(payload["resourceUrl"], "http://relayer.test/api/v1/compute/image-generation?x=1");
    assert!(now() - payload["issuedAt"].as_u64().unwrap() < 5);
}

/// Credit has a receipt of its own, which says more; this one comes to clients that repeat the extension.
#[tokio::test(flavor = "multi_thread")]
async fn credit_gets_this_receipt_too_where_the_client_repeats_the_extension() {
    let world = world(&Cloud::new(), |_| ()).await;
    let account = world.account(50_000_000).await;
    let call = image();
    for repeats in [false, true] {
        let authorization = crate::world::authorization(&call, account);
        let mut document = world.credit_document(&call, &authorization, &world.owner).await;
        if repeats {
            document["extensions"] = required(&world, &call).await["extensions"].clone();
        }
        let payment = encode(&document);
        let reply = world.send(&call, Some(("payment-signature", payment))).await.expect(200, "");
        let receipt = &reply.report()["extensions"]["offer-receipt"]["info"]["receipt"];
        assert_eq!(receipt.is_object(), repeats);
        assert!(reply.report()["extra"]["receipt"].is_object());
        if repeats {
            assert_eq!(signer_of_receipt(receipt), world.gate.settings().operator);
            assert_eq!(receipt["payload"]["transaction"], "");
        }
    }
}

/// Nothing is confirmed that was not done.
#[tokio::test(flavor = "multi_thread")]
async fn no_receipt_without_an_answer() {
    let cloud = Cloud::new();
    let world = world(&cloud, |config| config.jobs.wait_seconds = 0).await;
    cloud.predictions(crate::cloud::Predictions::Hang);
    let film = Call::post("/api/v1/compute/video-generation", &json!({ "prompt": "a boat" }));
    let document = world.exact_document(&film, &key(9), 1900).await;
    let reply = world.send(&film, Some(("payment-signature", encode(&document)))).await.expect(202, "");
    assert!(reply.report()["extensions"].get("offer-receipt").is_none());
    let call = image();
    world.settling(crate::world::Settling::Refuses);
    let payment = world.exact(&call, &key(9)).await;
    let reply = world.send(&call, Some(payment)).await;
    assert_eq!((reply.status.as_u16(), reply.report()["success"].clone()), (402, json!(false)));
    assert!(reply.report()["extensions"].get("offer-receipt").is_none());
}
