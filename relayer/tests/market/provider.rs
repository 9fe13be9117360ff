//! A provider that speaks the real wire: it checks the meter's order as a provider should, and then does as it is told.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use compute_futures_protocol::market::{MarketDomain, SignedProviderCall};
use compute_futures_protocol::{Address, B256, keccak256, signer_among};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// What it does with the next calls.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Answers, with usage as a tokenizer would count it.
    Good,
    /// Answers, with this for `usage`; null: without.
    Usage(Value),
    /// Answers once it is told to.
    Waits,
    /// Answers with a status and a page.
    Page(u16, &'static str),
    /// Has no room for so many seconds.
    Busy(&'static str),
    /// Sends somewhere else.
    Redirect(String),
    /// An answer without end.
    Endless,
    /// One byte now and then, for ever.
    Drips,
    /// Promises an answer and hangs up in the middle.
    Dies,
    /// 200 and no answer that anybody could use.
    Nonsense(Value),
}

pub struct Provider {
    pub url: String,
    script: Arc<Script>,
}

struct Script {
    meter: Address,
    domain: MarketDomain,
    behaviour: Mutex<Behaviour>,
    seen: Mutex<HashSet<B256>>,
    calls: Mutex<Vec<(SignedProviderCall, Value)>>,
    probes: Mutex<usize>,
    go: Notify,
}

/// What the good answer says.
pub const ANSWER: &str = "It is a contract about a boat, with three parties and one boat.";

impl Provider {
    pub async fn start(meter: Address, domain: MarketDomain) -> Self {
        let script = Arc::new(Script {
            meter,
            domain,
            behaviour: Mutex::new(Behaviour::Good),
            seen: Mutex::default(),
            calls: Mutex::default(),
            probes: Mutex::default(),
            go: Notify::new(),
        });
        let app = Router::new()
            .route("/v1/chat/completions", post(chat))
            .route("/v1/models", get(models))
            .with_state(Arc::clone(&script));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, script }
    }

    pub fn does(&self, behaviour: Behaviour) {
        *self.script.behaviour.lock().unwrap() = behaviour;
    }

    /// Lets one call that waits go on.
    pub fn go(&self) {
        self.script.go.notify_one();
    }

    /// The orders that it took, and their bodies.
    pub fn calls(&self) -> Vec<(SignedProviderCall, Value)> {
        self.script.calls.lock().unwrap().clone()
    }

    pub fn probes(&self) -> usize {
        *self.script.probes.lock().unwrap()
    }
}

/// What a provider has to refuse, except for what only the chain knows.
fn refuse(
    script: &Script,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<SignedProviderCall, (StatusCode, &'static str)> {
    let bad = |why| (StatusCode::FORBIDDEN, why);
    let header = headers.get(SignedProviderCall::HEADER).ok_or_else(|| bad("no order"))?;
    let document = STANDARD.decode(header.as_bytes()).map_err(|_| bad("no base64"))?;
    let order: SignedProviderCall = serde_json::from_slice(&document).map_err(|_| bad("no order in it"))?;
    let digest = order.call.digest(&script.domain);
    if signer_among(digest, &order.signature, &[script.meter]).is_err() {
        return Err(bad("not the meter's"));
    }
    if order.network != script.domain.network() || order.contract != script.domain.contract() {
        return Err(bad("another marketplace"));
    }
    if order.call.body_hash != keccak256(body) {
        return Err(bad("another body"));
    }
    if crate::serving::now().abs_diff(order.call.issued_at) > SignedProviderCall::CLOCK_SKEW {
        return Err(bad("not of now"));
    }
    if headers.contains_key(header::AUTHORIZATION) || headers.contains_key("payment-signature") {
        return Err(bad("what is not for me"));
    }
    if !script.seen.lock().unwrap().insert(order.call.execution_id) {
        return Err((StatusCode::CONFLICT, "seen before"));
    }
    Ok(order)
}

async fn chat(State(script): State<Arc<Script>>, headers: HeaderMap, body: Bytes) -> Response {
    let order = match refuse(&script, &headers, &body) {
        Ok(order) => order,
        Err(refusal) => return refusal.into_response(),
    };
    let asked: Value = serde_json::from_slice(&body).unwrap();
    script.calls.lock().unwrap().push((order, asked.clone()));
    let behaviour = script.behaviour.lock().unwrap().clone();
    let answer = |usage: Value| {
        let mut answer = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "model": asked["model"],
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": ANSWER }, "finish_reason": "stop" }],
        });
        if !usage.is_null() {
            answer["usage"] = usage;
        }
        Json(answer).into_response()
    };
    let usage = json!({ "prompt_tokens": 21, "completion_tokens": 16, "total_tokens": 37 });
    match behaviour {
        Behaviour::Good => answer(usage),
        Behaviour::Usage(usage) => answer(usage),
        Behaviour::Waits => {
            script.go.notified().await;
            answer(usage)
        }
        Behaviour::Page(status, page) => (StatusCode::from_u16(status).unwrap(), page).into_response(),
        Behaviour::Busy(seconds) => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds)]).into_response(),
        Behaviour::Redirect(to) => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, HeaderValue::from_str(&to).unwrap())]).into_response()
        }
        Behaviour::Endless => {
            let piece = Bytes::from(vec![b' '; 64 * 1024]);
            Body::from_stream(stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()))).into_response()
        }
        Behaviour::Drips => Body::from_stream(stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        }))
        .into_response(),
        Behaviour::Dies => {
            let begun =
                stream::once(async { Ok(Bytes::from_static(b"{\"choices\": [{\"message\": {\"content\": \"It is")) });
            let broken = stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::Error::other("gone"))
            });
            Body::from_stream(begun.chain(broken)).into_response()
        }
        Behaviour::Nonsense(body) => Json(body).into_response(),
    }
}

async fn models(State(script): State<Arc<Script>>) -> Response {
    *script.probes.lock().unwrap() += 1;
    let behaviour = script.behaviour.lock().unwrap().clone();
    match behaviour {
        Behaviour::Page(status, page) => (StatusCode::from_u16(status).unwrap(), page).into_response(),
        _ => Json(json!({ "object": "list", "data": [{ "id": "m" }] })).into_response(),
    }
}
