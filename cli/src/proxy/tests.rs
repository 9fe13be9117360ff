//! The proxy as clients of OpenAI's API meet it, before a relayer that streams, lies, and is slow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::{
    Authorization, Domain, EvmAddress, Receipt, SignedReceipt, Signer, Usdc, canonical_json_hash, keccak256,
    request_hash,
};
use compute_futures_x402::decode_header;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;

use super::*;

/// A relayer that keeps what it is sent.
#[derive(Clone)]
struct Edge {
    seen: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    /// Streams other text than it attests.
    lies: bool,
    /// Between the pieces of a stream.
    pause: Duration,
    /// Refuses payments below this.
    least: Usdc,
    /// What the first payments are answered.
    instead: Arc<Mutex<Vec<(u16, &'static str)>>>,
    /// How long the first payment is worked on before its answer begins.
    slow: Arc<Mutex<Duration>>,
}

fn domain() -> Domain {
    Domain::evm(8453, EvmAddress::repeat_byte(0xcf))
}

fn signer(seed: u8) -> Signer {
    Signer::from_bytes(&[seed; 32]).unwrap()
}

impl Edge {
    fn honest() -> Self {
        Self {
            seen: Arc::default(),
            lies: false,
            pause: Duration::ZERO,
            least: Usdc::ZERO,
            instead: Arc::default(),
            slow: Arc::default(),
        }
    }

    fn answering(instead: &[(u16, &'static str)]) -> Self {
        Self { instead: Arc::new(Mutex::new(instead.to_vec())), ..Self::honest() }
    }

    /// Nonces of the payments, in their order.
    fn nonces(&self) -> Vec<Value> {
        self.payments().iter().map(|payment| payment["authorization"]["nonce"].clone()).collect()
    }

    fn payments(&self) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(_, payment)| payment.is_object()).map(|(_, payment)| payment["payload"].clone()).collect()
    }
}

async fn edge(State(edge): State<Edge>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if uri.path() == "/v1/models" {
        return Json(json!({ "object": "list", "data": [] })).into_response();
    }
    let hash = request_hash(method.as_str(), uri.path_and_query().unwrap().as_str(), &body);
    let payment = headers.get("payment-signature").and_then(|header| decode_header(header.as_bytes()));
    edge.seen.lock().unwrap().push((headers, payment.clone().unwrap_or_default()));
    let Some(payment) = payment else {
        let entry = json!({
            "scheme": "compute-futures", "network": "eip155:8453", "amount": "30000", "asset": "USDC",
            "payTo": domain().contract(), "extra": { "operatorIndex": 1, "requestHash": hash },
        });
        let offer = STANDARD.encode(json!({ "x402Version": 2, "accepts": [entry] }).to_string());
        return (StatusCode::PAYMENT_REQUIRED, [("payment-required", offer)], "{}").into_response();
    };
    let slow = std::mem::take(&mut *edge.slow.lock().unwrap());
    tokio::time::sleep(slow).await;
    let instead = Some(edge.instead.lock().unwrap()).filter(|list| !list.is_empty()).map(|mut list| list.remove(0));
    if let Some((status, body)) = instead {
        return (StatusCode::from_u16(status).unwrap(), body).into_response();
    }
    let authorization = JobAuthorization::deserialize(&payment["payload"]["authorization"]).unwrap();
    if authorization.max_charge < edge.least {
        let refusal = json!({ "error": "too low", "code": "max_charge_too_low", "hint": "sign more" });
        return (StatusCode::PAYMENT_REQUIRED, Json(refusal)).into_response();
    }
    let answer = json!({ "choices": [{ "message": { "content": "One. Two." } }] });
    let stream = body.windows(8).any(|window| window == b"\"stream\"");
    let receipt = Receipt {
        account_id: authorization.account_id,
        batch_number: 1,
        sequence: 1,
        job_id: authorization.nonce,
        authorization_hash: authorization.digest(&domain()),
        request_hash: hash,
        output_hash: if stream { canonical_json_hash(&answer) } else { keccak256(answer.to_string()) },
        list_amount: Usdc::from_micros(30_000),
        discount_bps: 1_000,
        charged: Usdc::from_micros(27_000),
        issued_at: 1,
    };
    let signature = Deserialize::deserialize(&payment["payload"]["signature"]).unwrap();
    let signed =
        SignedReceipt::sign(receipt, Authorization::ComputeFutures { authorization, signature }, &domain(), &signer(9));
    if !stream {
        let report = STANDARD.encode(json!({ "success": true, "extra": { "receipt": signed } }).to_string());
        let body = if edge.lies { "{}".to_owned() } else { answer.to_string() };
        return (
            [(header::CONTENT_TYPE, "application/json".to_owned()), ("payment-response".parse().unwrap(), report)],
            body,
        )
            .into_response();
    }
    let chunk = |text: &str| format!("data: {}\n\n", json!({ "choices": [{ "delta": { "content": text } }] }));
    let last = json!({ "choices": [{ "delta": {} }], "answer": answer, "payment": { "receipt": signed } });
    let second = chunk(if edge.lies { "Three." } else { "Two." });
    let events = [chunk("One. "), second, format!("event: receipt\ndata: {last}\n\n"), "data: [DONE]\n\n".to_owned()];
    let pause = edge.pause;
    let events = futures::stream::iter(events).then(move |event| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::convert::Infallible>(event)
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

/// A proxy before an edge; `limit` in micro-USDC.
struct World {
    proxy: Arc<Proxy>,
    base: String,
    http: reqwest::Client,
}

impl World {
    async fn start(relayer: &Edge, limit: u64, max: Option<u64>) -> Self {
        let listen = async |app: Router| {
            let listener = local::bind(0).await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, app).await });
            format!("http://{address}")
        };
        let upstream = listen(Router::new().fallback(edge).with_state(relayer.clone())).await;
        let proxy = Arc::new(Proxy {
            output: Output::new(true),
            guard: Guard::new().unwrap(),
            relayer: Relayer::new(upstream.parse().unwrap()),
            payer: CreditPayer {
                signer: signer(1),
                account: "4294967297".parse().unwrap(),
                domain: domain(),
                operator: signer(9).address(),
            },
            limits: Limits { max_charge: max.map(Usdc::from_micros), raise_ceiling_to: None },
            budget: Budget::new(Usdc::from_micros(limit)),
            unanswered: Mutex::default(),
        });
        let base = listen(router(Arc::clone(&proxy))).await;
        Self { proxy, base, http: reqwest::Client::new() }
    }

    fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.proxy.guard.key).body(body.to_string())
    }

    async fn chat(&self, stream: bool) -> reqwest::Response {
        let body = if stream { json!({ "stream": true }) } else { json!({ "model": "auto" }) };
        self.post("/v1/chat/completions", &body).send().await.unwrap()
    }

    /// As the official clients do when they got no answer, or a 5xx.
    async fn again(&self) -> reqwest::Response {
        let request = self.post("/v1/chat/completions", &json!({ "model": "auto" }));
        request.header("x-stainless-retry-count", "1").send().await.unwrap()
    }

    /// Waits until a payment is known to have no answer.
    async fn unanswered(&self) {
        for _ in 0..100 {
            if !self.proxy.unanswered.lock().unwrap().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody noticed");
    }

    /// Spent so far, and what is left.
    fn budget(&self) -> (u64, u64) {
        (self.proxy.budget.spent().micros(), self.proxy.budget.left().micros())
    }
}

async fn error_of(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert!(body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    (status, body["error"]["code"].clone())
}

#[tokio::test]
async fn pays_with_the_key_that_it_keeps() {
    let edge = Edge::honest();
    let world = World::start(&edge, 100_000, None).await;
    let answer = world.chat(false).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "One. Two.");
    assert_eq!(world.budget(), (27_000, 73_000));
    let text = world.chat(true).await.text().await.unwrap();
    assert!(text.starts_with("data: ") && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(world.budget(), (54_000, 46_000));
    assert_eq!(edge.payments().len(), 2);
    for (headers, _) in edge.seen.lock().unwrap().iter() {
        assert!(!headers.contains_key(header::AUTHORIZATION), "the proxy's key is nobody else's business");
    }
    let models = world.http.get(format!("{}/v1/models", world.base)).bearer_auth(&world.proxy.guard.key);
    assert_eq!(models.send().await.unwrap().json::<Value>().await.unwrap()["object"], "list");
}

#[tokio::test]
async fn streams_pass_piece_by_piece() {
    let edge = Edge { pause: Duration::from_millis(400), ..Edge::honest() };
    let world = World::start(&edge, 100_000, None).await;
    let mut stream = world.chat(true).await.bytes_stream();
    let first = tokio::time::timeout(Duration::from_millis(1_200), stream.next()).await.expect("not at the end only");
    assert!(first.unwrap().unwrap().starts_with(b"data: "));
    assert_eq!(world.budget(), (0, 70_000), "what may still be charged is set aside");
}

#[tokio::test]
async fn what_was_not_paid_for_does_not_end_properly() {
    for stream in [false, true] {
        let world = World::start(&Edge { lies: true, ..Edge::honest() }, 100_000, None).await;
        let body = if stream { json!({ "stream": true }) } else { json!({}) };
        let whole = async { world.post("/v1/chat/completions", &body).send().await?.bytes().await };
        whole.await.expect_err("an answer whose receipt does not hold is cut");
        assert_eq!(world.budget(), (30_000, 70_000), "its charge is unknown: all that was signed counts");
    }
}

#[tokio::test]
async fn a_session_spends_no_more_than_its_limit() {
    let edge = Edge { least: Usdc::from_micros(27_000), ..Edge::honest() };
    let world = World::start(&edge, 60_000, None).await;
    for _ in 0..2 {
        assert_eq!(world.chat(false).await.status(), StatusCode::OK);
    }
    // 6,000 are left: they were offered, and are not enough.
    assert_eq!(error_of(world.chat(false).await).await, (402, json!("session_limit")));
    assert_eq!(edge.payments()[2]["authorization"]["maxCharge"], "6000");
    assert_eq!(world.budget(), (54_000, 6_000), "a refusal costs nothing");
    let spent = World::start(&edge, 0, None).await;
    assert_eq!(error_of(spent.chat(false).await).await, (402, json!("session_limit")));
    assert_eq!(edge.payments().len(), 3, "with nothing left nothing is signed");
    let bounded = World::start(&edge, 60_000, Some(20_000)).await;
    assert_eq!(error_of(bounded.chat(false).await).await, (402, json!("too_expensive")));
    assert_eq!(bounded.budget(), (0, 60_000));
}

#[tokio::test]
async fn a_retry_of_a_client_that_got_no_answer_is_paid_with_the_same_signature() {
    let edge = Edge { pause: Duration::from_millis(200), ..Edge::honest() };
    let world = World::start(&edge, 100_000, None).await;
    let mut cut = world.chat(true).await.bytes_stream();
    cut.next().await.unwrap().unwrap();
    drop(cut);
    world.unanswered().await;
    let again = world.post("/v1/chat/completions", &json!({ "stream": true })).header("x-stainless-retry-count", "1");
    again.send().await.unwrap().text().await.unwrap();
    let other = world.chat(true).await.text().await;
    other.unwrap();
    let nonces = edge.nonces();
    assert_eq!(nonces[0], nonces[1], "the same payment, so the same answer");
    assert_ne!(nonces[1], nonces[2], "a new request is a new payment");
    assert_eq!(world.budget(), (54_000, 46_000));
}

#[tokio::test]
async fn a_client_that_hangs_up_before_its_answer_begins_pays_once() {
    let edge = Edge { slow: Arc::new(Mutex::new(Duration::from_secs(600))), ..Edge::honest() };
    let world = World::start(&edge, 100_000, None).await;
    tokio::time::timeout(Duration::from_millis(500), world.chat(false)).await.expect_err("it has no patience");
    world.unanswered().await;
    assert_eq!(world.budget(), (0, 70_000));
    assert_eq!(world.again().await.status(), StatusCode::OK);
    let nonces = edge.nonces();
    assert_eq!((nonces.len(), &nonces[0]), (2, &nonces[1]));
    assert_eq!(world.budget(), (27_000, 73_000));
}

#[tokio::test]
async fn what_a_gateway_gave_up_stays_set_aside_and_is_never_paid_for_twice() {
    for given_up in [
        (504, "<html>504 Gateway Time-out</html>"),
        (500, r#"{ "error": { "message": "oh: retry", "code": "internal" } }"#),
        (504, r#"{ "error": { "message": "slow: retry", "code": "timeout" } }"#),
    ] {
        let edge = Edge::answering(&[given_up]);
        let world = World::start(&edge, 60_000, None).await;
        assert_eq!(world.chat(false).await.status().as_u16(), given_up.0);
        assert_eq!(world.budget(), (0, 30_000), "{given_up:?}: the job may go on and be charged");
        // Somebody else's request: the limit holds for both.
        assert_eq!(world.chat(true).await.status(), StatusCode::OK);
        assert_eq!(world.again().await.status(), StatusCode::OK);
        let nonces = edge.nonces();
        assert_eq!((nonces.len(), &nonces[0]), (3, &nonces[2]), "{given_up:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_second_delivery_says_nothing_of_the_first() {
    let slower = (429, r#"{ "error": { "message": "slower: wait", "code": "too_many_requests" } }"#);
    let first = World::start(&Edge::answering(&[slower]), 100_000, None).await;
    assert_eq!(error_of(first.chat(false).await).await, (429, json!("too_many_requests")));
    assert_eq!(first.budget(), (0, 100_000), "it was turned away");

    // Within one request, and when the client itself tries again.
    let edge = Edge::answering(&[(503, "<html>503</html>"), slower, slower]);
    let world = World::start(&edge, 100_000, None).await;
    assert_eq!(world.chat(false).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(world.budget(), (0, 70_000));
    assert_eq!(world.again().await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(world.budget(), (0, 70_000));
    assert_eq!(world.again().await.status(), StatusCode::OK);
    assert_eq!(world.budget(), (27_000, 73_000));
    let nonces = edge.nonces();
    assert!(nonces.len() == 4 && nonces.iter().all(|nonce| *nonce == nonces[0]), "{nonces:?}");
}

#[tokio::test]
async fn strangers_get_nothing() {
    let edge = Edge::honest();
    let world = World::start(&edge, 100_000, None).await;
    let url = format!("{}/v1/chat/completions", world.base);
    let keyless = world.http.post(&url).body("{}").send().await.unwrap();
    assert_eq!(error_of(keyless).await, (401, json!("invalid_api_key")));
    let page = world.post("/v1/chat/completions", &json!({})).header(header::ORIGIN, "https://evil.example");
    assert_eq!(error_of(page.send().await.unwrap()).await, (403, json!("not_local")));
    let rebound = world.post("/v1/chat/completions", &json!({})).header(header::HOST, "evil.example");
    assert_eq!(error_of(rebound.send().await.unwrap()).await, (403, json!("not_local")));
    assert_eq!(error_of(world.post("/elsewhere", &json!({})).send().await.unwrap()).await, (404, json!("not_found")));
    assert!(edge.seen.lock().unwrap().is_empty());
}
