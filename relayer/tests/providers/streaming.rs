//! Chat piece by piece: server-sent events as they come, and as they break.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use compute_futures_relayer::catalog::Catalog;
use compute_futures_relayer::config::ProviderConfig;
use compute_futures_relayer::providers::{JobInput, JobKind, JobOutput, ProviderError, Usage};
use serde_json::{Value, json};

use crate::world::{config, providers, raw, server};

fn chat(catalog: &Catalog) -> JobInput {
    let body =
        json!({"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100, "stream": true});
    catalog.parse(JobKind::TextInference, &body).unwrap()
}

fn piece(text: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]}))
}

fn ending() -> String {
    let finish = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}});
    format!("data: {finish}\n\ndata: {usage}\n\ndata: [DONE]\n\n")
}

fn events(text: String) -> Response {
    ([(CONTENT_TYPE, "text/event-stream")], text).into_response()
}

/// What a stream gave: its pieces, whether it was complete, and what was produced.
async fn read(configs: &[ProviderConfig]) -> Result<(Vec<String>, bool, Option<JobOutput>), ProviderError> {
    let (catalog, providers) = providers(configs);
    let job = chat(&catalog);
    let mut stream = providers.stream(&job).await?;
    let mut pieces = Vec::new();
    while let Some(delta) = stream.next().await {
        pieces.push(delta.content + &delta.reasoning);
    }
    Ok((pieces, stream.is_complete(), stream.finish()))
}

#[tokio::test]
async fn pieces_come_in_order_and_the_last_one_says_what_was_used() {
    let (url, _) = server(|call| {
        let body = call.json();
        assert_eq!((&body["stream"], &body["stream_options"]), (&json!(true), &json!({"include_usage": true})));
        let role = json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]});
        let thought = json!({"choices": [{"index": 0, "delta": {"reasoning": "hm"}}]});
        events(format!(": hello\n\ndata: {role}\n\ndata: {thought}\r\n\r\n{}{}{}", piece("Grü"), piece("ße"), ending()))
    })
    .await;
    let (pieces, complete, output) = read(&[config("up", &url)]).await.unwrap();
    assert_eq!((pieces, complete), (vec!["hm".to_owned(), "Grü".into(), "ße".into()], true));
    let output = output.unwrap();
    let message = json!({"role": "assistant", "content": "Grüße", "reasoning_content": "hm"});
    assert_eq!(
        Value::from(output.body)["choices"],
        json!([{"index": 0, "message": message, "finish_reason": "length"}])
    );
    assert_eq!(output.usage, Usage::tokens(5, 2));
}

#[tokio::test]
async fn a_stream_that_breaks_yields_what_came_and_nobody_else_is_asked() {
    let whole = piece("one ") + &piece("two");
    let cut = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n{whole}");
    let url = raw(vec![cut.into_bytes()], Duration::ZERO).await;
    let (other, calls) = server(|_| events(piece("other") + &ending())).await;
    let (pieces, complete, output) = read(&[config("up", &url), config("other", &other)]).await.unwrap();
    assert_eq!((pieces.concat().as_str(), complete), ("one two", false));
    let output = output.unwrap();
    assert_eq!(Value::from(output.body)["choices"][0]["finish_reason"], "cut");
    assert_eq!(output.usage, Usage::tokens(2, 2), "counted here: four bytes a token");
    assert_eq!(calls.load(Ordering::SeqCst), 0);

    // The same for an end without [DONE], garbage, and an error in the middle.
    for tail in ["", "data: {garbage\n\n", "data: {\"error\": {\"message\": \"boom\"}}\n\n", "data: [1]\n\n"] {
        let text = piece("one") + tail;
        let (url, _) = server(move |_| events(text.clone())).await;
        let (pieces, complete, output) = read(&[config("up", &url)]).await.unwrap();
        assert_eq!((pieces.concat().as_str(), complete, output.is_some()), ("one", false, true), "{tail}");
    }
}

#[tokio::test]
async fn before_the_first_piece_the_next_provider_takes_over() {
    for broken in [
        StatusCode::BAD_GATEWAY.into_response(),
        events(String::new()),
        events("data: [DONE]\n\n".into()),
        events("data: nonsense\n\n".into()),
        events(ending()),
    ]
    .map(|response| std::sync::Mutex::new(Some(response)))
    {
        let (first, _) =
            server(move |_| broken.lock().unwrap().take().unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response()))
                .await;
        let (second, _) = server(|_| events(piece("ok") + &ending())).await;
        let configs = [ProviderConfig { retries: 0, ..config("first", &first) }, config("second", &second)];
        let (pieces, complete, output) = read(&configs).await.unwrap();
        assert_eq!((pieces.concat().as_str(), complete, output.unwrap().provider.as_str()), ("ok", true, "second"));
    }
    let (empty, _) = server(|_| events(String::new())).await;
    assert!(matches!(read(&[config("up", &empty)]).await, Err(ProviderError::BadAnswer { .. })));
}

#[tokio::test]
async fn whoever_hangs_up_pays_for_what_was_produced() {
    let (url, _) = server(|_| events(piece("one ") + &piece("two ") + &piece("three") + &ending())).await;
    let (catalog, providers) = providers(&[config("up", &url)]);
    let job = chat(&catalog);
    let mut stream = providers.stream(&job).await.unwrap();
    stream.next().await.unwrap();
    let output = stream.finish().unwrap();
    assert_eq!(Value::from(output.body.clone())["choices"][0]["message"]["content"], "one ");
    // 1,000 tokens cost a dollar: 1 token is written.
    assert_eq!(catalog.price(&job, &output).unwrap().micros(), 1_000);
    // Nobody heard a word: nothing is charged.
    let stream = providers.stream(&job).await.unwrap();
    assert_eq!(stream.finish(), None);
}

#[tokio::test]
async fn lies_about_usage_and_endless_streams_are_bounded() {
    let (url, _) = server(|_| {
        let usage = json!({"choices": [], "usage": {"prompt_tokens": u64::MAX, "completion_tokens": 99}});
        events(format!("{}data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\ndata: {usage}\n\ndata: [DONE]\n\n", piece("four")))
    })
    .await;
    let (_, _, output) = read(&[config("up", &url)]).await.unwrap();
    assert_eq!(output.unwrap().usage.output_tokens, 5, "four bytes and an end mark");

    let (url, _) = server(|_| {
        let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(piece("xxxxxxxxxxxxxxxx")));
        ([(CONTENT_TYPE, "text/event-stream")], axum::body::Body::from_stream(endless)).into_response()
    })
    .await;
    let (_, complete, output) = read(&[config("up", &url)]).await.unwrap();
    assert!(!complete && output.is_some(), "cut at the size that is allowed");
    let (url, _) = server(|_| {
        let line = futures::stream::repeat_with(|| Ok::<_, std::io::Error>("data: no end "));
        ([(CONTENT_TYPE, "text/event-stream")], axum::body::Body::from_stream(line)).into_response()
    })
    .await;
    assert!(matches!(read(&[config("up", &url)]).await, Err(ProviderError::BadAnswer { .. })));
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_cut_in_time() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_vec();
    let mut pieces = vec![head, piece("one").into_bytes()];
    pieces.push(b"data: ".to_vec());
    // Seconds between pieces: the third comes after the patience is over.
    let url = raw(pieces, Duration::from_millis(900)).await;
    let started = Instant::now();
    let (pieces, complete, _) = read(&[ProviderConfig { timeout_seconds: 2, ..config("up", &url) }]).await.unwrap();
    assert_eq!((pieces.concat().as_str(), complete), ("one", false));
    assert!(started.elapsed() < Duration::from_secs(15));
}
