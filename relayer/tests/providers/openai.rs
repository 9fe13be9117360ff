//! Chat, embeddings and settings of the OpenAI adapter, against an upstream that is down, slow, lying, garbled, huge, or elsewhere.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap as Headers, StatusCode};
use axum::response::IntoResponse;
use compute_futures_relayer::catalog::{Catalog, Route};
use compute_futures_relayer::config::ProviderConfig;
use compute_futures_relayer::providers::{JobInput, JobKind, JobOutput, OpenAi, Provider, ProviderError, Usage};
use serde_json::{Value, json};

use crate::world::{PATIENCE, config, providers, upstream};

fn chat(catalog: &Catalog, content: &str) -> JobInput {
    catalog.parse(JobKind::TextInference, &json!({"model": "chat", "messages": [{"role": "user", "content": content}], "max_tokens": 100, "temperature": 0.5})).unwrap()
}

fn good(content: &str) -> Value {
    json!({"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": content, "secret": "s"}, "finish_reason": "stop"}],
           "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
}

async fn outcome(
    reply: impl Fn(u32, &Headers, &Value) -> axum::response::Response + Send + Sync + 'static,
) -> (Result<JobOutput, ProviderError>, u32) {
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
