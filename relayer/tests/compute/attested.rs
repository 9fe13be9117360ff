//! Answers whose body is not the JSON that the receipt covers: packed vectors, audio, plain text.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use compute_futures_protocol::{SignedReceipt, keccak256};
use serde_json::{Value, json};

use crate::cloud::{Cloud, FILE, world};
use crate::world::{Call, Reply, World, key};

const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

fn receipt(world: &World, reply: &Reply) -> SignedReceipt {
    let signed: SignedReceipt = serde_json::from_value(reply.report()["extra"]["receipt"].clone()).unwrap();
    let settings = world.gate.settings();
    signed.verify(&settings.domain, settings.operator).unwrap();
    signed
}

/// What the official Node client does with every answer, whether its caller asked for base64 or not.
fn decoded(embedding: &Value) -> Vec<f32> {
    let bytes = STANDARD.decode(embedding.as_str().unwrap()).unwrap();
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_packed_when_that_is_asked_for_and_the_receipt_covers_what_is_sent() {
    let world = world(&Cloud::new(), |_| ()).await;
    let account = world.account(50_000_000).await;
    for (format, packed) in [(Some("base64"), true), (Some("float"), false), (None, false)] {
        let call = Call::post("/v1/embeddings", &json!({ "input": "a", "encoding_format": format }));
        let payment = world.credit(&call, account, &world.owner).await;
        let reply = world.send(&call, Some(payment)).await.expect(200, "");
        let embedding = &reply.body["data"][0]["embedding"];
        if packed {
            assert_eq!(decoded(embedding), [0.5, -0.25]);
        } else {
            assert_eq!(*embedding, json!([0.5, -0.25]));
        }
        assert_eq!(receipt(&world, &reply).receipt.output_hash, keccak256(&reply.bytes));
    }
    let call = Call::post("/v1/embeddings", &json!({ "input": "a", "encoding_format": "base85" }));
    assert_eq!(world.send(&call, None).await.status, 400);
    let ours = Call::post("/api/v1/compute/embeddings", &json!({ "input": "a", "encoding_format": "base64" }));
    assert_eq!(world.send(&ours, None).await.status, 400, "our own endpoint writes lists");
}

/// `extra.answer`: what the receipt covers, which names the bytes that were sent.
fn attested(world: &World, reply: &Reply, at: &str) {
    let report = reply.report();
    let answer = report["extra"]["answer"].as_str().unwrap();
    assert_eq!(receipt(world, reply).receipt.output_hash, keccak256(answer));
    let named: Value = serde_json::from_str(answer).unwrap();
    assert_eq!(named.pointer(at).unwrap(), &json!(keccak256(&reply.bytes)), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_is_sent_as_audio_and_its_answer_in_the_header() {
    let world = world(&Cloud::new(), |_| ()).await;
    let account = world.account(50_000_000).await;
    let call = Call::post("/v1/audio/speech", &json!({ "model": "auto", "input": "Hello.", "voice": "alloy" }));
    let payment = world.credit(&call, account, &world.owner).await;
    let reply = world.send(&call, Some(payment.clone())).await;
    assert_eq!((reply.status.as_u16(), reply.bytes.as_slice()), (200, FILE));
    assert_eq!(reply.headers["content-type"], "audio/mpeg");
    attested(&world, &reply, "/audio/hash");
    let again = world.send(&call, Some(payment)).await;
    assert_eq!(
        (&again.bytes, again.report()["extra"]["answer"].clone()),
        (&reply.bytes, reply.report()["extra"]["answer"].clone())
    );
    // Whoever paid per call is told the same, without a receipt of ours.
    let payment = world.exact(&call, &key(9)).await;
    let reply = world.send(&call, Some(payment)).await;
    let report = reply.report();
    let answer: Value = serde_json::from_str(report["extra"]["answer"].as_str().unwrap()).unwrap();
    assert_eq!(answer["audio"]["hash"], json!(keccak256(&reply.bytes)));
}

/// A text of any length: it would not fit into a header, so the header names it.
#[tokio::test(flavor = "multi_thread")]
async fn a_transcription_as_plain_text_is_named_by_its_hash() {
    let world = world(&Cloud::new(), |_| ()).await;
    let account = world.account(50_000_000).await;
    let wav = STANDARD.decode(WAV).unwrap();
    for (format, plain) in [("text", true), ("json", false)] {
        let part = |name: &str, extra: &str| {
            format!("--xyz\r\ncontent-disposition: form-data; name=\"{name}\"{extra}\r\n\r\n")
        };
        let mut body = part("response_format", "").into_bytes();
        body.extend_from_slice(format.as_bytes());
        body.extend_from_slice(format!("\r\n{}", part("file", "; filename=\"a.wav\"")).as_bytes());
        body.extend_from_slice(&wav);
        body.extend_from_slice(b"\r\n--xyz--\r\n");
        let call = Call { method: "POST", target: "/v1/audio/transcriptions".into(), body };
        let reply = form(&world, &call, None).await;
        let accepted = crate::world::decode(&reply.headers["payment-required"])["accepts"][1].clone();
        let authorization = crate::world::authorization(&call, account);
        let signature = world.owner.sign(authorization.digest(&world.gate.settings().domain));
        let payload = json!({ "signature": format!("0x{}", hex::encode(signature)), "authorization": authorization });
        let payment = json!({ "x402Version": 2, "accepted": accepted, "payload": payload });
        let payment = crate::world::encode(&payment);
        let reply = form(&world, &call, Some(&payment)).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        if plain {
            assert_eq!(
                (reply.headers["content-type"].to_str().unwrap(), reply.bytes.as_slice()),
                ("text/plain; charset=utf-8", b"what was said".as_slice())
            );
            attested(&world, &reply, "/text/hash");
        } else {
            assert_eq!(reply.body["text"], "what was said");
            assert_eq!(receipt(&world, &reply).receipt.output_hash, keccak256(&reply.bytes));
        }
        let again = form(&world, &call, Some(&payment)).await;
        assert_eq!(again.bytes, reply.bytes);
    }
}

async fn form(world: &World, call: &Call, payment: Option<&str>) -> Reply {
    use tower::ServiceExt as _;
    let mut request =
        axum::http::Request::post(&call.target).header("content-type", "multipart/form-data; boundary=xyz");
    if let Some(payment) = payment {
        request = request.header("payment-signature", payment);
    }
    let response =
        world.router.clone().oneshot(request.body(axum::body::Body::from(call.body.clone())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Reply { status: parts.status, headers: parts.headers, body, bytes }
}
