//! Inference providers that speak the wire formats of the real ones: one that keeps operators awake, and a cloud that does every kind of job.

mod cloud;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

pub use cloud::Cloud;

/// How the provider behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Behaviour {
    /// A proper answer.
    Honest,
    /// Answers 500.
    Down,
    /// Answers after longer than the relayer waits.
    Slow,
    /// Claims a thousand times the tokens it can have used.
    Lying,
    /// Not JSON.
    Garbage,
    /// JSON of another shape.
    WrongShape,
    /// Sends the caller elsewhere.
    Redirecting,
}

const ALL: [Behaviour; 7] = [
    Behaviour::Honest,
    Behaviour::Down,
    Behaviour::Slow,
    Behaviour::Lying,
    Behaviour::Garbage,
    Behaviour::WrongShape,
    Behaviour::Redirecting,
];

#[derive(Debug, Default)]
struct Shared {
    behaviour: AtomicU8,
    requests: AtomicU64,
}

/// A provider on a free port; it lives as long as the test.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Upstream {
    /// Starts it, honest.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let app = Router::new().route("/v1/chat/completions", post(chat)).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, shared }
    }

    /// From now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.behaviour.store(behaviour as u8, Ordering::SeqCst);
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Settings of a relayer whose only text model this provider serves, metered, with short patience.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let providers = format!(
            r#"[{{name="upstream",kind="openai",base_url="http://{}/v1",allow_insecure=true,timeout_seconds=2,retries=0,breaker_failures=1000}}]"#,
            self.address
        );
        let models = r#"[{id="upstream/chat",name="Chat",kind="text-inference",routes=[{provider="upstream"}],per_call="0.001",per_1k_input="0.01",per_1k_output="0.01",context_length=8192,max_output_tokens=64,auto=true}]"#;
        vec![
            ("COMPUTE_FUTURES_RELAYER__PROVIDERS".into(), providers),
            ("COMPUTE_FUTURES_RELAYER__MODELS".into(), models.into()),
        ]
    }
}

async fn chat(State(shared): State<Arc<Shared>>, Json(request): Json<Value>) -> Response {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let answer = |tokens: u64| {
        Json(json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": request["model"],
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": "A short answer." }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 10 * tokens, "completion_tokens": 4 * tokens, "total_tokens": 14 * tokens },
        }))
    };
    match ALL[usize::from(shared.behaviour.load(Ordering::SeqCst))] {
        Behaviour::Honest => answer(1).into_response(),
        Behaviour::Down => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Behaviour::Slow => {
            tokio::time::sleep(Duration::from_secs(6)).await;
            answer(1).into_response()
        }
        Behaviour::Lying => answer(1_000_000).into_response(),
        Behaviour::Garbage => "<html>502 Bad Gateway</html>".into_response(),
        Behaviour::WrongShape => Json(json!({ "choices": "none" })).into_response(),
        Behaviour::Redirecting => {
            (StatusCode::FOUND, [(header::LOCATION, "http://169.254.169.254/latest")]).into_response()
        }
    }
}
