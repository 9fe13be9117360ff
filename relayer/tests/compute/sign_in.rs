//! Sign-in instead of payment, for reads by whoever owns what is read.

use axum::body::Body;
use axum::http::Request;
use compute_futures_protocol::{Signer, keccak256};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::cloud::{Cloud, world};
use crate::world::{Call, World, balance, decode, encode, key};

/// The proof as a wallet makes it of the 402's own fields.
async fn proof(world: &World, call: &Call, wallet: &Signer, change: impl FnOnce(&mut Value)) -> String {
    let reply = world.send(call, None).await;
    let required = decode(&reply.headers["payment-required"]);
    let declared = &required["extensions"]["sign-in-with-x"];
    let mut fields = declared["info"].clone();
    fields["address"] = json!(wallet.address().to_string());
    fields["chainId"] = declared["supportedChains"][0]["chainId"].clone();
    fields["type"] = declared["supportedChains"][0]["type"].clone();
    let text = |name: &str| fields[name].as_str().unwrap().to_owned();
    let message = format!(
        "{} wants you to sign in with your Ethereum account:\n{}\n\n{}\n\nURI: {}\nVersion: 1\nChain ID: 8453\nNonce: {}\nIssued At: {}\n\
         Expiration Time: {}\nResources:\n- {}",
        text("domain"),
        text("address"),
        text("statement"),
        text("uri"),
        text("nonce"),
        text("issuedAt"),
        text("expirationTime"),
        fields["resources"][0].as_str().unwrap(),
    );
    let digest = keccak256(format!("\x19Ethereum Signed Message:\n{}{message}", message.len()));
    fields["signature"] = json!(format!("0x{}", hex::encode(wallet.sign(digest))));
    change(&mut fields);
    encode(&fields)
}

async fn read(world: &World, call: &Call, proof: &str) -> (u16, Value) {
    let request = Request::get(&call.target).header("sign-in-with-x", proof).body(Body::empty()).unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_read_what_is_theirs_without_paying() {
    let world = world(&Cloud::new(), |_| ()).await;
    let account = world.account(50_000_000).await;
    let id = account.futures_id(compute_futures_protocol::Chain::Base).to_string();
    let history = Call::get(format!("/api/v1/compute-futures/history?futuresId={id}"));
    for call in [balance(account), history] {
        let owner = proof(&world, &call, &world.owner, |_| ()).await;
        let (status, body) = read(&world, &call, &owner).await;
        assert_eq!(status, 200, "{body}");
        let (status, body) = read(&world, &call, &owner).await;
        assert_eq!((status, body["code"].as_str()), (401, Some("invalid_sign_in")), "a proof is taken once");
        let stranger = proof(&world, &call, &key(9), |_| ()).await;
        assert_eq!(read(&world, &call, &stranger).await.0, 403);
    }
    assert_eq!(world.view(account).await.pending, crate::world::usdc(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_holds_for_one_place_and_as_signed() {
    let world = world(&Cloud::new(), |_| ()).await;
    let account = world.account(50_000_000).await;
    let call = balance(account);
    let changes: [fn(&mut Value); 8] = [
        |fields| fields["domain"] = json!("evil.test"),
        |fields| fields["uri"] = json!("http://evil.test/api/v1/compute-futures/balance"),
        |fields| fields["uri"] = json!("http://relayer.test/api/v1/compute-futures/history"),
        |fields| fields["nonce"] = json!("0123456789abcdef"),
        |fields| fields["issuedAt"] = json!("2020-01-01T00:00:00Z"),
        |fields| fields["chainId"] = json!("eip155:1"),
        |fields| fields["address"] = json!(key(9).address().to_string()),
        |fields| fields["statement"] = json!("x\nNonce: y"),
    ];
    for change in changes {
        let proof = proof(&world, &call, &world.owner, change).await;
        let (status, body) = read(&world, &call, &proof).await;
        assert_eq!((status, body["code"].as_str()), (401, Some("invalid_sign_in")), "{body}");
    }
    for junk in ["", "e30=", "!!"] {
        assert_eq!(read(&world, &call, junk).await.0, 401);
    }
}
