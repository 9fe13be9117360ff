//! Against a fake upstream in this process that is down, slow, lying, garbled, huge, or elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{Json, Router, extract::State, http::HeaderMap as Headers, response::IntoResponse, routing::post};

use super::*;
use crate::{
    catalog::Catalog,
    config::{Config, ModelConfig, ProviderKind, RouteConfig},
    providers::{JobKind, Providers},
};

const PATIENCE: Duration = Duration::from_secs(20);

type Reply = Arc<dyn Fn(u32, &Headers, &Value) -> axum::response::Response + Send + Sync>;

/// Starts an upstream that answers with `reply(call number from 0, headers, body)`; returns its base URL and call counter.
async fn upstream(
    reply: impl Fn(u32, &Headers, &Value) -> axum::response::Response + Send + Sync + 'static,
) -> (String, Arc<AtomicU32>) {
    async fn answer(
        State((reply, calls)): State<(Reply, Arc<AtomicU32>)>,
        headers: Headers,
        Json(body): Json<Value>,
    ) -> axum::response::Response {
        if body["messages"][0]["content"] == "slow" {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        reply(calls.fetch_add(1, Ordering::SeqCst), &headers, &body)
    }
    let calls = Arc::new(AtomicU32::new(0));
    let reply: Reply = Arc::new(reply);
    let app = Router::new()
        .route("/v1/chat/completions", post(answer))
        .route("/v1/embeddings", post(answer))
        .with_state((reply, calls.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, calls)
}

fn config(name: &str, base_url: &str) -> ProviderConfig {
    ProviderConfig {
        name: name.into(),
        kind: ProviderKind::OpenAi,
        base_url: base_url.into(),
        allow_insecure: true,
        timeout_seconds: 10,
        retries: 2,
        response_limit_bytes: 4096,
        breaker_failures: 2,
        ..ProviderConfig::default()
    }
}

fn model(id: &str, kind: JobKind, providers: &[&str]) -> ModelConfig {
    ModelConfig {
        id: id.into(),
        kind,
        routes: providers
            .iter()
            .map(|provider| RouteConfig {
                provider: (*provider).into(),
                model: "theirs".into(),
                ..RouteConfig::default()
            })
            .collect(),
        per_1k_output: Usdc::from_micros(1_000_000),
        ..ModelConfig::default()
    }
}

use compute_futures_protocol::Usdc;

fn providers(configs: &[ProviderConfig]) -> (Arc<Catalog>, Providers) {
    let names: Vec<&str> = configs.iter().map(|config| config.name.as_str()).collect();
    let models = [model("chat", JobKind::TextInference, &names), model("vec", JobKind::Embeddings, &names)];
    let catalog = Arc::new(Catalog::new(&models, BTreeMap::new(), &Config::default().limits, 1).unwrap());
    (catalog.clone(), Providers::from_config(configs, catalog).unwrap())
}

fn chat(catalog: &Catalog, content: &str) -> JobInput {
    catalog.parse(JobKind::TextInference, &json!({"model": "chat", "messages": [{"role": "user", "content": content}], "max_tokens": 100, "temperature": 0.5})).unwrap()
}

fn good(content: &str) -> Value {
    json!({"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": content, "secret": "s"}, "finish_reason": "stop"}],
           "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
}

async fn outcome(
    reply: impl Fn(u32, &Headers, &Value) -> axum::response::Response + Send + Sync + 'static,
) -> (Result<crate::providers::JobOutput, ProviderError>, u32) {
    let (url, calls) = upstream(reply).await;
    let (catalog, providers) = providers(&[config("up", &url)]);
    let result = providers.run(&chat(&catalog, "hello"), PATIENCE).await;
    (result, calls.load(Ordering::SeqCst))
}

#[tokio::test]
async fn passes_on_what_was_asked_and_only_what_was_understood() {
    let (result, calls) = outcome(|_, _, body| {
        assert_eq!(body["model"], "theirs");
        assert_eq!(
            (&body["max_tokens"], &body["temperature"], &body["stream"]),
            (&json!(100), &json!(0.5), &json!(false))
        );
        Json(good("hi there")).into_response()
    })
    .await;
    let output = result.unwrap();
    assert_eq!(calls, 1);
    assert_eq!(
        Value::from(output.body),
        json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi there"}, "finish_reason": "stop"}]})
    );
    assert_eq!((output.provider.as_str(), output.model.as_str(), output.usage), ("up", "chat", Usage::tokens(5, 2)));
}

#[tokio::test]
async fn garbage_in_every_form_is_a_bad_answer() {
    for body in [
        "not json at all",
        "[1, 2]",
        "{}",
        r#"{"choices": []}"#,
        r#"{"choices": {}}"#,
        r#"{"choices": [{"message": null}]}"#,
        r#"{"choices": [{"message": {"content": 7}}]}"#,
        r#"{"choices": [{"message": {"content": ""}}]}"#,
        "",
    ] {
        let (result, calls) = outcome(move |_, _, _| body.into_response()).await;
        assert!(matches!(result, Err(ProviderError::BadAnswer { .. })), "{body}: {result:?}");
        assert_eq!(calls, 1, "an answer that came is never asked for again");
    }
}

#[tokio::test]
async fn huge_and_redirected_answers_are_refused() {
    let (result, _) = outcome(|_, _, _| Json(good(&"x".repeat(10_000))).into_response()).await;
    assert!(
        matches!(&result, Err(ProviderError::BadAnswer { reason, .. }) if reason.contains("larger than")),
        "{result:?}"
    );
    let (elsewhere, calls) = upstream(|_, _, _| Json(good("stolen")).into_response()).await;
    let (result, _) = outcome(move |_, _, _| {
        axum::response::Redirect::temporary(&format!("{elsewhere}/chat/completions")).into_response()
    })
    .await;
    assert!(
        matches!(&result, Err(ProviderError::BadAnswer { reason, .. }) if reason.contains("redirect")),
        "{result:?}"
    );
    assert_eq!(calls.load(Ordering::SeqCst), 0, "prompt and key went nowhere else");
}

#[tokio::test]
async fn passing_failures_are_tried_again_and_final_ones_are_not() {
    let (result, calls) = outcome(|call, _, _| {
        if call < 2 { StatusCode::TOO_MANY_REQUESTS.into_response() } else { Json(good("ok")).into_response() }
    })
    .await;
    assert!(result.is_ok() && calls == 3, "{result:?} after {calls} calls");
    let (result, calls) = outcome(|_, _, _| StatusCode::UNPROCESSABLE_ENTITY.into_response()).await;
    assert_eq!((result.unwrap_err(), calls), (ProviderError::Refused { provider: "up".into(), status: 422 }, 1));
    let (result, calls) = outcome(|_, _, _| StatusCode::UNAUTHORIZED.into_response()).await;
    assert!(matches!(result, Err(ProviderError::Unavailable { .. })) && calls == 1);
}

#[tokio::test]
async fn slow_answers_end_in_time_and_are_not_asked_for_twice() {
    let (url, _) = upstream(|_, _, _| Json(good("late")).into_response()).await;
    let (catalog, providers) = providers(&[ProviderConfig { timeout_seconds: 1, ..config("up", &url) }]);
    let started = std::time::Instant::now();
    assert!(matches!(providers.run(&chat(&catalog, "slow"), PATIENCE).await, Err(ProviderError::Timeout { .. })));
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn the_next_provider_takes_over_and_the_broken_one_is_left_alone() {
    let (good_url, calls) = upstream(|_, _, _| Json(good("ok")).into_response()).await;
    // A port that nobody listens on.
    let (catalog, providers) =
        providers(&[ProviderConfig { retries: 0, ..config("down", "http://127.0.0.1:9/v1") }, config("up", &good_url)]);
    for _ in 0..4 {
        assert_eq!(providers.run(&chat(&catalog, "hello"), PATIENCE).await.unwrap().provider, "up");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    let health = serde_json::to_value(providers.health()).unwrap();
    assert_eq!(health, json!([{"name": "down", "breaker": "open"}, {"name": "up", "breaker": "closed"}]));
}

#[tokio::test]
async fn a_provider_that_lies_about_usage_never_makes_us_charge_above_the_quote() {
    let lie = |usage: Value| {
        move |_: u32, _: &Headers, _: &Value| {
            Json(json!({"choices": [{"message": {"content": "four"}}], "usage": usage})).into_response()
        }
    };
    for usage in [
        json!({"prompt_tokens": u64::MAX, "completion_tokens": u64::MAX}),
        json!({"prompt_tokens": 1, "completion_tokens": 90}),
    ] {
        let (result, _) = outcome(lie(usage)).await;
        // "four" has 4 bytes and an end mark: 5 tokens at most, although 100 were allowed.
        assert_eq!(result.unwrap().usage.output_tokens, 5);
    }
    for usage in [json!(null), json!("many"), json!({"prompt_tokens": -1, "completion_tokens": 1.5})] {
        let (result, _) = outcome(lie(usage)).await;
        assert_eq!(result.unwrap().usage, Usage::tokens(2, 1), "counted here when the provider is silent");
    }
}

#[tokio::test]
async fn embeddings_come_in_order_and_whole() {
    let answer = |data: Value| {
        let (data, usage) = (data, json!({"prompt_tokens": 3}));
        move |_: u32, _: &Headers, _: &Value| Json(json!({"data": data, "usage": usage})).into_response()
    };
    let run = async |data: Value| {
        let (url, _) = upstream(answer(data)).await;
        let (catalog, providers) = providers(&[config("up", &url)]);
        let job = catalog.parse(JobKind::Embeddings, &json!({"model": "vec", "input": ["a", "b"]})).unwrap();
        providers.run(&job, PATIENCE).await
    };
    let output = run(json!([{"index": 1, "embedding": [2.5]}, {"index": 0, "embedding": [1.5]}])).await.unwrap();
    assert_eq!(output.body["data"][0], json!({"object": "embedding", "index": 0, "embedding": [1.5]}));
    assert_eq!(output.usage, Usage::tokens(3, 0));
    for data in [
        json!([{"index": 0, "embedding": [1.5]}]),
        json!([{"index": 0, "embedding": [1.5]}, {"index": 0, "embedding": [1.5]}]),
        json!([{"index": 0, "embedding": [1.5]}, {"index": 7, "embedding": [1.5]}]),
        json!([{"index": 0, "embedding": [1.5]}, {"index": 1, "embedding": [1.5, 2.5]}]),
        json!([{"index": 0, "embedding": []}, {"index": 1, "embedding": []}]),
        json!([{"index": 0, "embedding": "AAAA"}, {"index": 1, "embedding": ["x"]}]),
    ] {
        let result = run(data.clone()).await;
        assert!(matches!(result, Err(ProviderError::BadAnswer { .. })), "{data}: {result:?}");
    }
}

#[tokio::test]
async fn the_key_is_sent_and_never_printed() {
    // PATH is always set: its value stands in for a key.
    let (url, _) = upstream(|_, headers, _| {
        let sent = headers["authorization"].to_str().unwrap();
        assert_eq!(sent, format!("Bearer {}", std::env::var("PATH").unwrap()));
        assert_eq!(headers["x-title"], "relayer");
        Json(good("ok")).into_response()
    })
    .await;
    let config = ProviderConfig {
        api_key_env: "PATH".into(),
        headers: BTreeMap::from([("X-Title".into(), "relayer".into())]),
        ..config("up", &url)
    };
    let provider = OpenAi::from_config(&config).unwrap();
    let (catalog, _) = providers(std::slice::from_ref(&config));
    assert!(provider.run(&Route::new("up", "theirs"), &chat(&catalog, "hello")).await.is_ok());
    assert!(!format!("{provider:?}").contains(&std::env::var("PATH").unwrap()));
}

#[test]
fn base_urls_must_be_https_or_this_machine_on_purpose() {
    for (url, allow_insecure, ok) in [
        ("https://api.example/v1", false, true),
        ("http://api.example/v1", true, false),
        ("http://127.0.0.1:1/v1", false, false),
        ("http://127.0.0.1:1/v1", true, true),
        ("http://[::1]:1/v1", true, true),
        ("http://127.0.0.1.example/v1", true, false),
        ("ftp://127.0.0.1/v1", true, false),
        ("nonsense", true, false),
        ("https://user:password@api.example/v1", false, false),
    ] {
        let result = OpenAi::from_config(&ProviderConfig { allow_insecure, ..config("p", url) });
        assert_eq!(result.is_ok(), ok, "{url}: {result:?}");
    }
    let error = OpenAi::from_config(&ProviderConfig {
        api_key_env: "COMPUTE_FUTURES_NO_SUCH_KEY".into(),
        ..config("p", "https://a.example")
    })
    .unwrap_err();
    assert!(error.to_string().contains("COMPUTE_FUTURES_NO_SUCH_KEY is not set"), "{error}");
}
