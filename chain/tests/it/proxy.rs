//! A provider with moods, between us and the node.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use url::Url;

/// What to do with a request.
pub(crate) enum Mood {
    Forward,
    /// A JSON-RPC error.
    Refuse(i64, &'static str),
    /// An HTTP status without anything in it.
    Status(u16),
    /// Never answers.
    Hang,
    /// Changes the node's result.
    Change(fn(&mut Value)),
    /// Not JSON.
    Garbage,
}

type Rule = dyn Fn(&str, &Value) -> Mood + Send + Sync;

#[derive(Clone)]
struct Shared {
    upstream: Url,
    rule: Arc<Rule>,
    seen: Arc<Mutex<Vec<String>>>,
    client: reqwest::Client,
}

pub(crate) struct Proxy {
    pub(crate) url: Url,
    shared: Shared,
}

impl Proxy {
    /// `rule` sees method and parameters of each request.
    pub(crate) async fn start(upstream: &Url, rule: impl Fn(&str, &Value) -> Mood + Send + Sync + 'static) -> Self {
        let shared = Shared {
            upstream: upstream.clone(),
            rule: Arc::new(rule),
            seen: Arc::default(),
            client: reqwest::Client::new(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().route("/", post(answer)).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// How many requests for `method` came; "" counts all.
    pub(crate) fn seen(&self, method: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|seen| method.is_empty() || *seen == method).count()
    }
}

async fn answer(State(shared): State<Shared>, body: String) -> Response {
    let request: Value = serde_json::from_str(&body).unwrap();
    let method = request["method"].as_str().unwrap().to_owned();
    let mood = (shared.rule)(&method, &request["params"]);
    shared.seen.lock().unwrap().push(method);
    let change: fn(&mut Value) = match mood {
        Mood::Forward => |_| (),
        Mood::Change(change) => change,
        Mood::Refuse(code, message) => {
            let error = json!({"code": code, "message": message});
            return axum::Json(json!({"jsonrpc": "2.0", "id": request["id"], "error": error})).into_response();
        }
        Mood::Status(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Mood::Hang => std::future::pending().await,
        Mood::Garbage => return "<html>maintenance</html>".into_response(),
    };
    let response = shared.client.post(shared.upstream.clone()).json(&request).send().await.unwrap();
    let mut response: Value = response.json().await.unwrap();
    if let Some(result) = response.get_mut("result") {
        change(result);
    }
    axum::Json(response).into_response()
}

/// Blocks that an `eth_getLogs` request asks for.
pub(crate) fn blocks_asked(params: &Value) -> u64 {
    let number = |key: &str| {
        let text = params[0][key].as_str().unwrap();
        u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
    };
    number("toBlock") - number("fromBlock") + 1
}
