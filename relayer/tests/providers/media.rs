//! Pictures, speech and transcription over OpenAI's API, and the faults that any upstream can have.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::response::IntoResponse;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use compute_futures_relayer::catalog::Catalog;
use compute_futures_relayer::config::ProviderConfig;
use compute_futures_relayer::providers::{JobInput, JobKind, JobOutput, ProviderError, Usage};
use serde_json::{Value, json};

use crate::world::{PATIENCE, config, ok, providers, raw, server};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";
const WAV: &[u8] = b"RIFF\x00\x00\x00\x00WAVEfmt ";

async fn run(configs: &[ProviderConfig], kind: JobKind, body: Value) -> Result<JobOutput, ProviderError> {
    let (catalog, providers) = providers(configs);
    providers.run(&parse(&catalog, kind, &body), PATIENCE).await
}

fn parse(catalog: &Catalog, kind: JobKind, body: &Value) -> JobInput {
    catalog.parse(kind, body).unwrap()
}

fn image() -> Value {
    json!({"model": "image", "prompt": "a lake", "n": 2, "size": "1024x768", "seed": 7})
}

#[tokio::test]
async fn pictures_come_as_bytes() {
    let (url, _) = server(|call| {
        assert_eq!(call.path, "images/generations");
        let body = call.json();
        assert_eq!((&body["n"], &body["size"], &body["seed"]), (&json!(2), &json!("1024x768"), &json!(7)));
        let picture = STANDARD.encode(PNG);
        ok(json!({"created": 1, "data": [{"b64_json": picture}, {"b64_json": picture}]}))
    })
    .await;
    let mut output = run(&[config("up", &url)], JobKind::ImageGeneration, image()).await.unwrap();
    assert_eq!(output.usage, Usage { images: 2, ..Usage::default() });
    let files = output.place(|number, _| json!(format!("https://r/{number}")));
    assert!(files.iter().all(|file| file.blob.bytes == PNG && file.blob.content_type == "image/png"));
    assert_eq!(Value::from(output.body)["data"][1]["url"], "https://r/1");
}

#[tokio::test]
async fn pictures_at_an_address_are_fetched_without_the_key_from_other_hosts() {
    let (files, fetched) = server(|call| {
        assert!(!call.headers.contains_key("authorization"), "the key stays at home");
        PNG.into_response()
    })
    .await;
    let (url, _) = server(move |_| ok(json!({"data": [{"url": format!("{files}/a.png")}]}))).await;
    let keyed = ProviderConfig { api_key_env: "PATH".into(), ..config("up", &url) };
    let output = run(std::slice::from_ref(&keyed), JobKind::ImageGeneration, image()).await.unwrap();
    assert_eq!((output.artifacts.len(), output.usage.images, fetched.load(Ordering::SeqCst)), (1, 1, 1));

    // What an upstream on the public internet says about addresses inside is not followed.
    for inside in ["http://127.0.0.1:1/a.png", "file:///etc/passwd", "nonsense"] {
        let (url, _) = server(move |_| ok(json!({"data": [{"url": inside}]}))).await;
        let result = run(&[config("up", &url)], JobKind::ImageGeneration, image()).await;
        assert!(matches!(result, Err(ProviderError::BadAnswer { .. } | ProviderError::Unavailable { .. })), "{inside}");
    }
}

#[tokio::test]
async fn pictures_that_are_none_are_refused() {
    for data in [
        json!([]),
        json!([{}]),
        json!([{"b64_json": "%%%"}]),
        json!([{"b64_json": STANDARD.encode("<html>")}]),
        json!([{"b64_json": STANDARD.encode(PNG)}, {}, {}]),
        json!("x"),
    ] {
        let shown = data.to_string();
        let (url, _) = server(move |_| ok(json!({"data": data}))).await;
        let result = run(&[config("up", &url)], JobKind::ImageGeneration, image()).await;
        assert!(matches!(result, Err(ProviderError::BadAnswer { .. })), "{shown}: {result:?}");
    }
}

#[tokio::test]
async fn speech_is_audio_or_an_error() {
    let say = || json!({"model": "voice", "input": "Grüße", "voice": "nova", "response_format": "wav", "speed": 1.5});
    let (url, _) = server(|call| {
        assert_eq!(call.path, "audio/speech");
        let body = call.json();
        assert_eq!(
            (&body["voice"], &body["response_format"], &body["speed"]),
            (&json!("nova"), &json!("wav"), &json!(1.5))
        );
        ([(CONTENT_TYPE, "audio/wav")], WAV).into_response()
    })
    .await;
    let output = run(&[config("up", &url)], JobKind::TextToSpeech, say()).await.unwrap();
    assert_eq!(output.usage, Usage { characters: 5, ..Usage::default() });
    assert_eq!(output.artifacts[0].blob.bytes, WAV);
    for (kind, body) in [("application/json", r#"{"error": "no"}"#), ("text/html", "<html>"), ("audio/wav", "")] {
        let (url, _) = server(move |_| ([(CONTENT_TYPE, kind)], body).into_response()).await;
        let result = run(&[config("up", &url)], JobKind::TextToSpeech, say()).await;
        assert!(matches!(result, Err(ProviderError::BadAnswer { .. })), "{kind}");
    }
}

#[tokio::test]
async fn recordings_travel_as_a_form() {
    let (url, _) = server(|call| {
        assert_eq!(call.path, "audio/transcriptions");
        let kind = call.headers[CONTENT_TYPE].to_str().unwrap();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        let text = String::from_utf8_lossy(&call.body).into_owned();
        assert!(text.starts_with(&format!("--{boundary}\r\n")) && text.ends_with(&format!("--{boundary}--\r\n")));
        assert!(text.contains("name=\"model\"\r\n\r\ntheirs\r\n") && text.contains("name=\"language\"\r\n\r\nde\r\n"));
        assert!(text.contains("filename=\"file.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF"), "{text}");
        ok(json!({"text": "hello", "language": "german", "duration": 6.01}))
    })
    .await;
    let audio = format!("data:audio/wav;base64,{}", STANDARD.encode(WAV));
    let body = json!({"model": "ear", "audio": audio, "language": "de"});
    let output = run(&[config("up", &url)], JobKind::SpeechToText, body.clone()).await.unwrap();
    assert_eq!(Value::from(output.body.clone())["text"], "hello");
    assert_eq!(output.usage.seconds, 7, "a begun second counts");

    let (url, _) = server(|_| ok(json!({"text": "hello", "duration": 1e9}))).await;
    let output = run(&[config("up", &url)], JobKind::SpeechToText, body).await.unwrap();
    assert_eq!(output.usage.seconds, 60, "never more than the quote");
}

#[tokio::test]
async fn recordings_at_an_address_are_fetched_under_guard() {
    let (files, _) = server(|_| WAV.into_response()).await;
    let (url, _) = server(|call| {
        assert!(String::from_utf8_lossy(&call.body).contains("RIFF"));
        ok(json!({"text": "hello"}))
    })
    .await;
    let (catalog, strangers) = providers(&[config("up", &url)]);
    // The parser takes https alone; a job that was stored is trusted no more than that.
    assert!(catalog.parse(JobKind::SpeechToText, &json!({"model": "ear", "audio_url": files})).is_err());
    let job = |address: &str| -> JobInput {
        serde_json::from_value(json!({"type": "speech-to-text", "model": "ear", "audio": {"url": address}})).unwrap()
    };
    assert!(strangers.run(&job(&files), PATIENCE).await.is_ok(), "this very machine, as the test allows");
    let gone = strangers.run(&job("http://127.0.0.1:9/"), PATIENCE).await.unwrap_err();
    assert!(matches!(gone, ProviderError::File { .. }) && gone.is_about_the_request(), "{gone}");

    let (_, guarded) = providers(&[ProviderConfig {
        // A provider on this machine opens no way to what else is there.
        files_anywhere: false,
        ..config("up", &url)
    }]);
    for inside in [
        "https://127.0.0.1/a.wav",
        "https://169.254.169.254/a",
        "https://[::1]/a",
        "https://localhost/a",
        "http://example.com/a",
    ] {
        let error = guarded.run(&job(inside), PATIENCE).await.unwrap_err();
        assert!(matches!(error, ProviderError::File { .. }), "{inside}: {error}");
    }
}

#[tokio::test]
async fn a_provider_that_asks_for_patience_gets_it() {
    let reply = |seconds: &'static str, status: StatusCode| {
        move |call: crate::world::Call| match call.number {
            0 => (status, [(RETRY_AFTER, seconds)]).into_response(),
            _ => ([(CONTENT_TYPE, "audio/wav")], WAV).into_response(),
        }
    };
    let say = || json!({"model": "voice", "input": "hi"});
    let (url, calls) = server(reply("1", StatusCode::TOO_MANY_REQUESTS)).await;
    let started = Instant::now();
    assert!(run(&[config("up", &url)], JobKind::TextToSpeech, say()).await.is_ok());
    assert!(started.elapsed() >= Duration::from_secs(1) && calls.load(Ordering::SeqCst) == 2);

    let (url, calls) = server(reply("3600", StatusCode::SERVICE_UNAVAILABLE)).await;
    let result = run(&[config("up", &url)], JobKind::TextToSpeech, say()).await;
    assert!(matches!(result, Err(ProviderError::Unavailable { .. })), "an hour is too long");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn two_hundred_megabytes_are_not_read() {
    let piece = axum::body::Bytes::from(vec![b' '; 1024 * 1024]);
    let (url, _) = server(move |_| {
        let piece = piece.clone();
        let pieces = futures::stream::iter((0..200).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
        ([(CONTENT_TYPE, "audio/wav")], Body::from_stream(pieces)).into_response()
    })
    .await;
    let small = ProviderConfig { file_limit_bytes: 1024 * 1024, ..config("up", &url) };
    let result =
        run(std::slice::from_ref(&small), JobKind::TextToSpeech, json!({"model": "voice", "input": "hi"})).await;
    assert!(
        matches!(&result, Err(ProviderError::BadAnswer { reason, .. }) if reason.contains("larger than")),
        "{result:?}"
    );
    let result = run(&[small], JobKind::Embeddings, json!({"model": "vec", "input": "hi"})).await;
    assert!(
        matches!(&result, Err(ProviderError::BadAnswer { reason, .. }) if reason.contains("larger than")),
        "{result:?}"
    );
}

#[tokio::test]
async fn slow_lorises_redirects_and_broken_answers_end_in_time() {
    let drip = |text: &str| text.bytes().map(|byte| vec![byte]).collect::<Vec<_>>();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n{\"data\": [";
    let body = || json!({"model": "vec", "input": "hi"});
    let started = Instant::now();
    let url = raw(drip(head), Duration::from_millis(50)).await;
    let impatient = |url: &str| ProviderConfig { timeout_seconds: 1, ..config("up", url) };
    let result = run(&[impatient(&url)], JobKind::Embeddings, body()).await;
    assert!(matches!(result, Err(ProviderError::Timeout { .. })), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(4));

    let url = raw(vec![head.as_bytes().to_vec()], Duration::ZERO).await;
    let result = run(&[config("up", &url)], JobKind::Embeddings, body()).await;
    assert!(
        matches!(&result, Err(ProviderError::BadAnswer { reason, .. }) if reason.contains("broke off")),
        "{result:?}"
    );

    let (inside, reached) = server(|_| ok(json!({}))).await;
    let (url, _) = server(move |_| (StatusCode::FOUND, [(LOCATION, inside.clone())]).into_response()).await;
    let result = run(&[config("up", &url)], JobKind::Embeddings, body()).await;
    assert!(
        matches!(&result, Err(ProviderError::BadAnswer { reason, .. }) if reason.contains("redirect")),
        "{result:?}"
    );
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}
