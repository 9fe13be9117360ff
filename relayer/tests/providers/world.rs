//! A fake upstream in this process, and providers that lead to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap as Headers, Method, Uri};
use axum::response::Response;
use axum::{Json, Router};
use compute_futures_protocol::Usdc;
use compute_futures_relayer::catalog::Catalog;
use compute_futures_relayer::config::{Config, ModelConfig, ProviderConfig, ProviderKind, RouteConfig};
use compute_futures_relayer::providers::{JobKind, Providers};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// How long tests wait for a job.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What came in.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// From 0.
    pub(crate) number: u32,
    pub(crate) method: Method,
    /// Path under `/v1/`.
    pub(crate) path: String,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

type Reply = Arc<dyn Fn(Call) -> Response + Send + Sync>;

/// An upstream that answers every path with `reply`; its base URL and call counter.
pub(crate) async fn server(reply: impl Fn(Call) -> Response + Send + Sync + 'static) -> (String, Arc<AtomicU32>) {
    async fn answer(
        State((reply, calls)): State<(Reply, Arc<AtomicU32>)>,
        method: Method,
        uri: Uri,
        headers: Headers,
        body: Bytes,
    ) -> Response {
        let path = uri.path().trim_start_matches("/v1/").to_owned();
        let number = calls.fetch_add(1, Ordering::SeqCst);
        let call = Call { number, method, path, headers, body };
        if call.json()["messages"][0]["content"] == "slow" {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        reply(call)
    }
    let calls = Arc::new(AtomicU32::new(0));
    let reply: Reply = Arc::new(reply);
    let app = Router::new()
        .fallback(answer)
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state((reply, Arc::clone(&calls)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, calls)
}

/// The same for JSON: `reply(call number from 0, headers, body)`.
pub(crate) async fn upstream(
    reply: impl Fn(u32, &Headers, &Value) -> Response + Send + Sync + 'static,
) -> (String, Arc<AtomicU32>) {
    server(move |call| reply(call.number, &call.headers, &call.json())).await
}

/// A server that writes these bytes to everybody, with a pause before each piece, and hangs up.
pub(crate) async fn raw(pieces: Vec<Vec<u8>>, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let pieces = pieces.clone();
            tokio::spawn(async move {
                let mut request = [0_u8; 16 * 1024];
                let _ = socket.read(&mut request).await;
                for piece in pieces {
                    tokio::time::sleep(pause).await;
                    if socket.write_all(&piece).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// A JSON answer.
pub(crate) fn ok(body: Value) -> Response {
    axum::response::IntoResponse::into_response(Json(body))
}

pub(crate) fn config(name: &str, base_url: &str) -> ProviderConfig {
    ProviderConfig {
        name: name.into(),
        kind: ProviderKind::OpenAi,
        base_url: base_url.into(),
        allow_insecure: true,
        files_anywhere: true,
        timeout_seconds: 10,
        retries: 2,
        response_limit_bytes: 4096,
        breaker_failures: 2,
        ..ProviderConfig::default()
    }
}

/// A model of that kind, on these providers.
pub(crate) fn model(id: &str, kind: JobKind, providers: &[&str]) -> ModelConfig {
    let route = |provider: &&str| RouteConfig {
        provider: (*provider).into(),
        model: "theirs".into(),
        ..RouteConfig::default()
    };
    ModelConfig {
        id: id.into(),
        kind,
        routes: providers.iter().map(route).collect(),
        per_1k_output: Usdc::from_micros(1_000_000),
        max_seconds: 60,
        auto: true,
        ..ModelConfig::default()
    }
}

/// Providers with a model of every kind on all of them: `chat`, `vec`, `image`, `film`, `voice`, `ear`, `paper`, `any`.
pub(crate) fn providers(configs: &[ProviderConfig]) -> (Arc<Catalog>, Providers) {
    let names: Vec<&str> = configs.iter().map(|config| config.name.as_str()).collect();
    let mut models = vec![
        model("chat", JobKind::TextInference, &names),
        model("vec", JobKind::Embeddings, &names),
        model("image", JobKind::ImageGeneration, &names),
        model("film", JobKind::VideoGeneration, &names),
        model("voice", JobKind::TextToSpeech, &names),
        model("ear", JobKind::SpeechToText, &names),
        model("paper", JobKind::DocumentParsing, &names),
        model("any", JobKind::Gpu, &names),
    ];
    if let Some(any) = models.last_mut() {
        any.routes.iter_mut().for_each(|route| route.model = "*".into());
    }
    with_models(configs, &models)
}

pub(crate) fn with_models(configs: &[ProviderConfig], models: &[ModelConfig]) -> (Arc<Catalog>, Providers) {
    let catalog = Arc::new(Catalog::new(models, BTreeMap::new(), &Config::default().limits, 1).unwrap());
    (Arc::clone(&catalog), Providers::from_config(configs, catalog).unwrap())
}
