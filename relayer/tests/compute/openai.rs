//! The shapes of OpenAI.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tower::ServiceExt as _;

use crate::cloud::{Cloud, FILE, world};
use crate::world::{Call, key};

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_in_the_shapes_of_openai() {
    let world = world(&Cloud::new(), |_| ()).await;
    let account = world.account(50_000_000).await;
    let messages = json!([{ "role": "user", "content": "Say it." }]);
    let cases = [
        (
            "/v1/chat/completions",
            json!({ "model": "metered", "messages": messages }),
            "object",
            json!("chat.completion"),
        ),
        (
            "/v1/embeddings",
            json!({ "model": "auto", "input": "a", "encoding_format": "base64" }),
            "object",
            json!("list"),
        ),
        (
            "/v1/images/generations",
            json!({ "prompt": "a lake", "response_format": "b64_json" }),
            "provider",
            json!("cloud"),
        ),
    ];
    for (path, body, field, value) in cases {
        let call = Call::post(path, &body);
        let payment = world.credit(&call, account, &world.owner).await;
        let reply = world.send(&call, Some(payment)).await.expect(200, "");
        assert_eq!(reply.body[field], value, "{path}: {}", reply.body);
        assert!(reply.report()["extra"]["receipt"].is_object(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_offers_are_in_their_shape_too() {
    let world = world(&Cloud::new(), |_| ()).await;
    let reply = world.send(&Call::post("/v1/chat/completions", &json!({ "messages": 7 })), None).await;
    assert_eq!((reply.status.as_u16(), reply.body["error"]["type"].as_str()), (400, Some("invalid_request_error")));
    assert!(reply.body["error"]["message"].as_str().unwrap().contains("messages"), "{}", reply.body);
    let call = Call::post("/v1/chat/completions", &json!({ "messages": [{ "role": "user", "content": "x" }] }));
    let reply = world.send(&call, None).await;
    assert_eq!((reply.status.as_u16(), reply.body["error"]["code"].as_str()), (402, Some("payment_required")));
    assert!(reply.body["accepts"].is_array() && reply.headers.contains_key("payment-required"));
    let models = world.send(&Call::get("/v1/models"), None).await.expect(200, "");
    let ids: Vec<_> =
        models.body["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"metered") && ids.contains(&"voice"), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_is_the_audio_itself() {
    let world = world(&Cloud::new(), |_| ()).await;
    let call =
        Call::post("/v1/audio/speech", &json!({ "model": "voice", "input": "Hello.", "response_format": "mp3" }));
    let payment = world.exact(&call, &key(9)).await;
    let reply = world.send(&call, Some(payment.clone())).await;
    assert_eq!((reply.status.as_u16(), reply.bytes.as_slice()), (200, FILE));
    assert_eq!(reply.headers["content-type"], "audio/mpeg");
    assert_eq!(reply.report()["success"], true);
    let again = world.send(&call, Some(payment)).await;
    assert_eq!((again.bytes, world.settlements()), (reply.bytes, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_comes_as_a_form() {
    let world = world(&Cloud::new(), |_| ()).await;
    let form = |format: &str| {
        let part =
            |head: &str, content: &str| format!("--xyz\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n");
        [
            part("name=\"model\"", "auto"),
            part("name=\"file\"; filename=\"talk.wav\"", "RIFF\u{1}\u{2}"),
            part("name=\"response_format\"", format),
            "--xyz--\r\n".to_owned(),
        ]
        .concat()
    };
    let send = async |body: String, payment: Option<(&'static str, String)>| {
        let mut request =
            Request::post("/v1/audio/transcriptions").header("content-type", "multipart/form-data; boundary=xyz");
        if let Some((name, value)) = payment {
            request = request.header(name, value);
        }
        let response = world.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, headers, String::from_utf8(bytes.to_vec()).unwrap())
    };
    for (format, expected) in [("json", "\"text\":\"what was said\""), ("text", "what was said")] {
        let (status, headers, _) = send(form(format), None).await;
        assert_eq!(status, 402);
        let required = crate::world::decode(&headers["payment-required"]);
        assert_eq!(required["accepts"][0]["amount"], "20000");
        let account = world.account(50_000_000).await;
        let call = Call { method: "POST", target: "/v1/audio/transcriptions".into(), body: form(format).into_bytes() };
        let signed = crate::world::authorization(&call, account);
        let signature = world.owner.sign(signed.digest(&world.gate.settings().domain));
        let document = json!({
            "x402Version": 2,
            "accepted": required["accepts"][1],
            "payload": { "signature": format!("0x{}", hex::encode(signature)), "authorization": signed },
        });
        let (status, _, text) = send(form(format), Some(("payment-signature", crate::world::encode(&document)))).await;
        assert_eq!(status, 200, "{text}");
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(send(form("srt"), None).await.0, 400);
    assert_eq!(send("--xyz\r\nbroken".into(), None).await.0, 400);
    assert_eq!(send("--xyz--\r\n".into(), None).await.0, 400);
}
