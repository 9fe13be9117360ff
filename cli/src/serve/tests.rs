//! The provider as meters and strangers meet it: a chain that is asked at most once, and a server behind that behaves badly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_chain::ChainError;
use compute_futures_protocol::market::{ProviderCall, SessionId, SignedProviderCall};
use compute_futures_protocol::{B256, Chain, EvmAddress, Signer, SolanaAddress, keccak256};

use super::sessions::{Look, OpenSession};
use super::*;
use crate::market_args::UpstreamArg;

const PROVIDER: u32 = 7;
/// Sessions of the first escrow: open, over, somebody else's, metered by somebody else; the fifth is not there.
const OPEN: u32 = 1;
const OVER: u32 = 2;
const ELSEWHERE: u32 = 3;
const OTHER_METER: u32 = 4;
const NOWHERE: u32 = 5;
/// The chain does not answer.
const UNREADABLE: u32 = 6;

struct Chained {
    meter: Address,
    looks: Arc<AtomicU64>,
}

#[async_trait]
impl Look for Chained {
    async fn open_session(&self, id: SessionId) -> Result<Option<OpenSession>, ChainError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        let open = OpenSession { provider_id: PROVIDER, meter: self.meter, deadline: unix_now() + 60, ahead: 0 };
        Ok(Some(match id.sequence() {
            OPEN => open,
            // The clock of the chain is ahead.
            OVER => OpenSession { ahead: 61, ..open },
            ELSEWHERE => OpenSession { provider_id: PROVIDER + 1, ..open },
            OTHER_METER => OpenSession { meter: Address::repeat_byte(9), ..open },
            UNREADABLE => return Err(ChainError::Unavailable("no endpoint answers".into())),
            _ => return Ok(None),
        }))
    }
}

/// What the server behind was asked: whether it saw the order, and the body.
type Asked = Arc<Mutex<Vec<(Option<String>, Bytes)>>>;

/// A provider before a server that does what `answer` says.
struct World {
    base: String,
    domain: MarketDomain,
    meter: Signer,
    looks: Arc<AtomicU64>,
    asked: Asked,
}

async fn listen(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

fn args(upstream: UpstreamArg) -> ServeArgs {
    ServeArgs {
        provider: PROVIDER,
        upstream,
        upstream_key_env: None,
        meters: Vec::new(),
        bind: "127.0.0.1:0".parse().unwrap(),
        rate_limit: None,
        max_body: 1_000,
        timeout: 1,
        with_parent: false,
    }
}

fn evm() -> (MarketDomain, Signer) {
    (MarketDomain::evm(8453, EvmAddress::repeat_byte(0xce)), Signer::from_bytes(&[4; 32]).unwrap())
}

fn solana() -> (MarketDomain, Signer) {
    let program = Address::Solana(SolanaAddress::new([0xce; 32]));
    (MarketDomain::new(Chain::Solana, program).unwrap(), Signer::ed25519(&[4; 32]))
}

impl World {
    async fn before(answer: fn() -> Response) -> Self {
        Self::with(evm(), 1_000, answer).await
    }

    async fn with((domain, meter): (MarketDomain, Signer), rate: u32, answer: fn() -> Response) -> Self {
        let asked = Asked::default();
        let seen = asked.clone();
        let behind = Router::new().fallback(async move |request: Request| {
            let order = request.headers().get("session-call").map(|_| "an order".to_owned());
            let body = to_bytes(request.into_body(), 10_000).await.unwrap();
            seen.lock().unwrap().push((order, body));
            answer()
        });
        let upstream = UpstreamArg::Url(format!("{}/v1", listen(behind).await).parse().unwrap());
        Self::of(Upstream::new(&args(upstream)).unwrap(), domain, meter, rate, asked).await
    }

    async fn of(upstream: Upstream, domain: MarketDomain, meter: Signer, rate: u32, asked: Asked) -> Self {
        let looks = Arc::new(AtomicU64::new(0));
        let serving = Serving {
            output: Output::new(true),
            provider_id: PROVIDER,
            domain,
            meters: vec![meter.address()],
            models: vec!["m".into()],
            max_body: 1_000,
            orders: Orders::default(),
            rate: RateLimiter::direct(Quota::per_minute(NonZeroU32::new(rate).unwrap())),
            sessions: Sessions::new(Box::new(Chained { meter: meter.address(), looks: looks.clone() })),
            upstream,
            alive: Mutex::default(),
        };
        let base = listen(router(Arc::new(serving))).await;
        Self { base, domain, meter, looks, asked }
    }

    fn call(&self, session: u32, body: &str) -> ProviderCall {
        ProviderCall {
            session_id: SessionId::new(1, session).unwrap(),
            provider_id: PROVIDER,
            execution_id: B256::from(rand::random::<[u8; 32]>()),
            body_hash: keccak256(body),
            issued_at: unix_now(),
        }
    }

    fn header(&self, call: &ProviderCall, by: &Signer) -> String {
        let signed = SignedProviderCall {
            network: self.domain.network(),
            contract: self.domain.contract(),
            call: call.clone(),
            signature: by.sign(call.digest(&self.domain)).to_vec().into(),
        };
        STANDARD.encode(serde_json::to_vec(&signed).unwrap())
    }

    async fn send(&self, header: Option<String>, body: &str) -> (u16, Value) {
        let mut request = reqwest::Client::new().post(format!("{}/v1/chat/completions", self.base));
        if let Some(header) = header {
            request = request.header(SignedProviderCall::HEADER, header);
        }
        let answer = request.body(body.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn order(&self, call: &ProviderCall, body: &str) -> (u16, Value) {
        self.send(Some(self.header(call, &self.meter)), body).await
    }

    /// An order on a session, and the code it is refused with.
    async fn refused(&self, call: &ProviderCall, body: &str) -> (u16, String) {
        let (status, answer) = self.order(call, body).await;
        assert!(answer["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
        (status, answer["error"]["code"].as_str().unwrap_or_default().to_owned())
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hello."}]}"#;

fn good() -> Response {
    Json(json!({ "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Yes." } }], "usage": {} }))
        .into_response()
}

#[tokio::test]
async fn an_order_is_carried_out_once_and_the_chain_asked_once() {
    for keys in [evm(), solana()] {
        let world = World::with(keys, 1_000, good).await;
        let call = world.call(OPEN, BODY);
        let (status, answer) = world.order(&call, BODY).await;
        assert_eq!((status, &answer["choices"][0]["message"]["content"]), (200, &json!("Yes.")), "{answer}");
        assert_eq!(world.refused(&call, BODY).await, (409, "execution_seen".into()));
        assert_eq!(world.order(&world.call(OPEN, BODY), BODY).await.0, 200);
        assert_eq!(world.looks.load(Ordering::SeqCst), 1, "an open session is remembered for a moment");
        let asked = world.asked.lock().unwrap();
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[0].1, BODY, "what was ordered is what is asked");
        assert_eq!(asked[0].0, None, "the order is between meter and provider");
    }
}

/// T-2: whoever is not the session's meter is served nothing.
#[tokio::test]
async fn strangers_are_served_nothing() {
    let world = World::before(good).await;
    let call = world.call(OPEN, BODY);
    let stranger = Signer::from_bytes(&[5; 32]).unwrap();
    let (_, without) = world.send(None, BODY).await;
    assert_eq!(without["error"]["code"], "session_call_required");
    for garbage in ["", "e30=", "%%%", &STANDARD.encode("x".repeat(5_000))] {
        let (status, answer) = world.send(Some(garbage.to_owned()), BODY).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("bad_session_call")), "{garbage}");
    }
    let (status, forged) = world.send(Some(world.header(&call, &stranger)), BODY).await;
    assert_eq!((status, &forged["error"]["code"]), (403, &json!("meter_not_accepted")));
    // What is changed on the way is no longer signed.
    let signed = world.header(&call, &world.meter);
    let mut changed: Value = serde_json::from_slice(&STANDARD.decode(signed).unwrap()).unwrap();
    changed["call"]["executionId"] = json!(B256::repeat_byte(1));
    let (_, answer) = world.send(Some(STANDARD.encode(changed.to_string())), BODY).await;
    assert_eq!(answer["error"]["code"], "meter_not_accepted");
    changed["contract"] = json!(EvmAddress::repeat_byte(1));
    let (_, answer) = world.send(Some(STANDARD.encode(changed.to_string())), BODY).await;
    assert_eq!(answer["error"]["code"], "other_market");
    let other = ProviderCall { provider_id: PROVIDER + 1, ..call.clone() };
    assert_eq!(world.refused(&other, BODY).await.1, "other_provider");
    for issued_at in [unix_now() - 62, unix_now() + 62] {
        let stale = ProviderCall { issued_at, ..call.clone() };
        assert_eq!(world.refused(&stale, BODY).await, (401, "stale_session_call".into()));
    }
    assert_eq!(world.refused(&call, &BODY.replace("Hello", "Goodbye")).await, (400, "other_body".into()));
    let long = "x".repeat(1_001);
    assert_eq!(world.refused(&world.call(OPEN, &long), &long).await, (413, "body_too_large".into()));
    assert_eq!((world.looks.load(Ordering::SeqCst), world.asked()), (0, 0), "they cost no look at the chain either");
    assert_eq!(world.order(&call, BODY).await.0, 200, "nothing of that used the order up");
}

#[tokio::test]
async fn a_session_must_be_open_and_ours() {
    let world = World::before(good).await;
    for (session, status, code) in [
        (OVER, 403, "session_over"),
        (ELSEWHERE, 403, "other_provider"),
        (OTHER_METER, 403, "not_its_meter"),
        (NOWHERE, 403, "session_not_open"),
        (UNREADABLE, 503, "chain_unavailable"),
    ] {
        assert_eq!(world.refused(&world.call(session, BODY), BODY).await, (status, code.into()), "{session}");
    }
    assert_eq!(world.asked(), 0);
    let before = world.looks.load(Ordering::SeqCst);
    world.order(&world.call(NOWHERE, BODY), BODY).await;
    assert_eq!(world.looks.load(Ordering::SeqCst), before + 1, "what is not open is looked up again");
}

#[tokio::test]
async fn no_more_than_the_published_rate_is_served() {
    let world = World::with(evm(), 2, good).await;
    for _ in 0..2 {
        assert_eq!(world.order(&world.call(OPEN, BODY), BODY).await.0, 200);
    }
    let third = world.call(OPEN, BODY);
    assert_eq!(world.refused(&third, BODY).await, (429, "rate_limited".into()));
    assert_eq!(world.asked(), 2);
    assert_eq!(world.refused(&third, BODY).await.1, "rate_limited", "and the order is not used up");
}

/// An order of which nothing came can be sent again, and what the server behind says stays there.
#[tokio::test]
async fn whoever_is_behind_may_behave_badly() {
    type Answer = fn() -> Response;
    let cases: [(Answer, u16, &str); 8] = [
        (|| (StatusCode::UNAUTHORIZED, "sk-secret").into_response(), 502, "upstream_unavailable"),
        (|| (StatusCode::INTERNAL_SERVER_ERROR, "sk-secret").into_response(), 502, "upstream_unavailable"),
        (|| (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response(), 502, "upstream_unavailable"),
        (|| (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "9")]).into_response(), 429, "upstream_busy"),
        (|| (StatusCode::BAD_REQUEST, "sk-secret").into_response(), 400, "upstream_refused"),
        (|| "<html>".into_response(), 502, "bad_upstream_answer"),
        (|| Json(json!({ "choices": "none" })).into_response(), 502, "bad_upstream_answer"),
        (|| vec![b' '; 2 * 1024 * 1024].into_response(), 502, "bad_upstream_answer"),
    ];
    for (answer, status, code) in cases {
        let world = World::before(answer).await;
        let call = world.call(OPEN, BODY);
        let (got, refusal) = world.order(&call, BODY).await;
        assert_eq!((got, &refusal["error"]["code"]), (status, &json!(code)), "{refusal}");
        assert!(!refusal.to_string().contains("sk-secret"), "{refusal}");
        assert_eq!(world.refused(&call, BODY).await.1, code, "it may be ordered again");
        assert_eq!(world.asked(), 2, "and no redirect was followed");
    }
    let nobody = UpstreamArg::Url("http://127.0.0.1:9/v1".parse().unwrap());
    let (domain, meter) = evm();
    let gone = World::of(Upstream::new(&args(nobody)).unwrap(), domain, meter, 10, Arc::default()).await;
    assert_eq!(gone.refused(&gone.call(OPEN, BODY), BODY).await, (502, "upstream_unavailable".into()));
    let health = reqwest::get(format!("{}/health", gone.base)).await.unwrap();
    assert_eq!(health.status(), 503);
}

#[tokio::test]
async fn a_slow_server_behind_is_not_waited_for() {
    let (domain, meter) = evm();
    let behind = Router::new().fallback(async || {
        tokio::time::sleep(Duration::from_secs(3)).await;
        good()
    });
    let slow = UpstreamArg::Url(listen(behind).await.parse().unwrap());
    let world = World::of(Upstream::new(&args(slow)).unwrap(), domain, meter, 10, Arc::default()).await;
    assert_eq!(world.refused(&world.call(OPEN, BODY), BODY).await, (504, "upstream_timeout".into()));
}

#[tokio::test]
async fn requests_that_cannot_be_metered_are_refused_here() {
    let world = World::before(good).await;
    for (body, code) in
        [(r#"{"model":"m","stream":true,"messages":[]}"#, "stream_not_supported"), ("no JSON", "invalid_request")]
    {
        assert_eq!(world.refused(&world.call(OPEN, body), body).await, (400, code.into()));
    }
    assert_eq!(world.asked(), 0);
}

#[tokio::test]
async fn the_summariser_needs_no_server() {
    let (domain, meter) = evm();
    let world = World::of(Upstream::new(&args(UpstreamArg::Local)).unwrap(), domain, meter, 10, Arc::default()).await;
    let body = json!({
        "model": "m", "max_tokens": 64,
        "messages": [{ "role": "user", "content": "Rivers carry water to the sea. Rivers begin in mountains. I had lunch." }],
    })
    .to_string();
    let (status, answer) = world.order(&world.call(OPEN, &body), &body).await;
    assert_eq!(status, 200, "{answer}");
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.contains("Rivers"), "{answer}");
    let usage = &answer["usage"];
    assert!(usage["prompt_tokens"].as_u64().unwrap() > 10, "{usage}");
    assert!((1..=64).contains(&usage["completion_tokens"].as_u64().unwrap()), "{usage}");
    let bad = r#"{"model":"m"}"#;
    assert_eq!(world.refused(&world.call(OPEN, bad), bad).await, (400, "invalid_request".into()));
}

#[tokio::test]
async fn it_says_what_it_serves_and_that_it_lives() {
    let world = World::before(good).await;
    for path in ["/models", "/v1/models"] {
        let list: Value = reqwest::get(format!("{}{path}", world.base)).await.unwrap().json().await.unwrap();
        assert_eq!(list["data"][0]["id"], "m", "{list}");
    }
    let health: Value = reqwest::get(format!("{}/health", world.base)).await.unwrap().json().await.unwrap();
    assert_eq!((&health["status"], &health["providerId"]), (&json!("ok"), &json!(PROVIDER)));
    assert_eq!(world.asked(), 1, "the server behind is looked at once in a while");
    let nowhere = reqwest::get(format!("{}/v1/embeddings", world.base)).await.unwrap();
    assert_eq!(nowhere.status(), 404);
    let broken = World::before(|| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
    assert_eq!(reqwest::get(format!("{}/models", broken.base)).await.unwrap().status(), 503);
}
