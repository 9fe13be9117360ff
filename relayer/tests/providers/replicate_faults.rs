//! Replicate's wire format with faults: patience asked for, answers without end, broken or dripping, and figures that cannot be.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use compute_futures_relayer::config::{ProviderConfig, ProviderKind};
use compute_futures_relayer::providers::{JobKind, JobOutput, ProviderError};
use serde_json::{Value, json};

use crate::world::{Call, PATIENCE, config, ok, providers, raw, server};

fn replicate(url: &str) -> ProviderConfig {
    ProviderConfig { kind: ProviderKind::Replicate, timeout_seconds: 2, ..config("replicate", url) }
}

fn prediction(output: &Value, seconds: &Value) -> Value {
    json!({ "id": "abc123", "status": "succeeded", "output": output, "metrics": { "predict_time": seconds } })
}

async fn run(config: ProviderConfig) -> Result<JobOutput, ProviderError> {
    let (catalog, providers) = providers(&[config]);
    let body = json!({ "model": "owner/model", "input": { "prompt": "a lake" } });
    let job = catalog.parse(JobKind::Gpu, &body).unwrap();
    providers.run(&job, PATIENCE).await
}

fn reason(result: Result<JobOutput, ProviderError>) -> String {
    match result {
        Err(ProviderError::BadAnswer { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Pieces without end, as far as anybody can tell.
fn megabytes(count: usize) -> Body {
    let piece = axum::body::Bytes::from(vec![b' '; 1024 * 1024]);
    Body::from_stream(futures::stream::iter((0..count).map(move |_| Ok::<_, std::io::Error>(piece.clone()))))
}

#[tokio::test]
async fn patience_is_given_within_reason() {
    let reply = |seconds: &'static str| {
        move |call: Call| match call.number {
            0 => (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds)]).into_response(),
            _ => ok(prediction(&json!(["text"]), &json!(1))),
        }
    };
    let (url, calls) = server(reply("1")).await;
    let started = Instant::now();
    run(replicate(&url)).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1) && calls.load(Ordering::SeqCst) == 2);
    let (url, calls) = server(reply("86400")).await;
    assert!(matches!(run(replicate(&url)).await, Err(ProviderError::Unavailable { .. })));
    assert_eq!(calls.load(Ordering::SeqCst), 1, "a day is too long");
}

#[tokio::test]
async fn two_hundred_megabytes_are_not_read_as_a_prediction_or_as_its_file() {
    let (url, _) = server(|_| ([(CONTENT_TYPE, "application/json")], megabytes(200)).into_response()).await;
    assert!(reason(run(replicate(&url)).await).contains("larger than"));
    let (url, _) = server(|call: Call| -> Response {
        if call.method == Method::POST {
            let host = call.headers["host"].to_str().unwrap().to_owned();
            return ok(prediction(&json!([format!("http://{host}/v1/files/a")]), &json!(1)));
        }
        ([(CONTENT_TYPE, "video/mp4")], megabytes(200)).into_response()
    })
    .await;
    let small = ProviderConfig { file_limit_bytes: 1024 * 1024, timeout_seconds: 10, ..replicate(&url) };
    assert!(reason(run(small).await).contains("larger than"));
}

#[tokio::test]
async fn what_drips_or_breaks_off_ends_in_time() {
    let drip = |text: &str| text.bytes().map(|byte| vec![byte]).collect::<Vec<_>>();
    let head = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n{\"id\": \"abc";
    let started = Instant::now();
    let url = raw(drip(head), Duration::from_millis(60)).await;
    assert!(matches!(run(replicate(&url)).await, Err(ProviderError::Timeout { .. })));
    assert!(started.elapsed() < Duration::from_secs(6));
    let url = raw(vec![head.as_bytes().to_vec()], Duration::ZERO).await;
    assert!(reason(run(replicate(&url)).await).contains("broke off"));
    // The prediction is fine; its file drips.
    let file = "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 4000\r\n\r\n\u{89}PNG";
    let files = raw(drip(file), Duration::from_millis(60)).await;
    let address = format!("{files}/files/a");
    let (url, _) = server(move |_| ok(prediction(&json!([address.clone()]), &json!(1)))).await;
    let started = Instant::now();
    // A file of another host is not Replicate's and is not fetched: its address is the output.
    run(replicate(&url)).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(6));
}

/// The model is charged for 60 seconds at most.
#[tokio::test]
async fn figures_that_cannot_be_charge_nobody_more_than_the_quote() {
    for (claim, most) in [
        (json!(1e18), 60),
        (json!(u64::MAX), 60),
        (json!(-5), 60),
        (json!("5"), 60),
        (json!(null), 60),
        (json!({}), 60),
        (json!(2.2), 3),
    ] {
        let stated = claim.clone();
        let (url, _) = server(move |_| ok(prediction(&json!(["text"]), &stated))).await;
        let output = run(replicate(&url)).await.unwrap();
        assert!(output.usage.seconds <= most, "{claim}: {:?}", output.usage);
    }
}

#[tokio::test]
async fn a_start_that_fails_there_delivers_nothing() {
    for (status, attempts) in [
        (StatusCode::SERVICE_UNAVAILABLE, 2),
        (StatusCode::TOO_MANY_REQUESTS, 2),
        // It may be at work all the same: asked again it would be at work twice, at the operator's expense.
        (StatusCode::INTERNAL_SERVER_ERROR, 1),
        (StatusCode::BAD_GATEWAY, 1),
        (StatusCode::GATEWAY_TIMEOUT, 1),
    ] {
        let (url, calls) = server(move |_| status.into_response()).await;
        let error = run(ProviderConfig { retries: 1, ..replicate(&url) }).await.unwrap_err();
        assert!(matches!(error, ProviderError::Unavailable { .. }), "{error}");
        assert_eq!(calls.load(Ordering::SeqCst), attempts, "{status}");
    }
    for status in [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::BAD_REQUEST] {
        let (url, calls) = server(move |_| status.into_response()).await;
        let error = run(replicate(&url)).await.unwrap_err();
        assert!(matches!(error, ProviderError::Refused { .. }), "{error}");
        assert_eq!(calls.load(Ordering::SeqCst), 1, "about the request: another attempt would be refused too");
    }
}
