//! Replicate's wire format: predictions that end at once, later, badly, or never.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use axum::response::IntoResponse;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use compute_futures_relayer::config::{ModelConfig, ProviderConfig, ProviderKind, RouteConfig};
use compute_futures_relayer::providers::{JobKind, JobOutput, Progress, ProviderError, Replicate, Ticket, Usage};
use serde_json::{Value, json};

use crate::world::{Call, PATIENCE, config, model, ok, providers, server, with_models};

fn replicate(url: &str) -> ProviderConfig {
    ProviderConfig { kind: ProviderKind::Replicate, ..config("replicate", url) }
}

fn prediction(status: &str, output: Value) -> Value {
    json!({"id": "abc123", "status": status, "output": output, "error": "secret of the upstream", "metrics": {"predict_time": 2.5}})
}

fn gpu() -> Value {
    json!({"model": "owner/model", "input": {"prompt": "a lake", "n": 3}})
}

async fn run(url: &str, kind: JobKind, body: Value) -> Result<JobOutput, ProviderError> {
    let (catalog, providers) = providers(&[replicate(url)]);
    let job = catalog.parse(kind, &body).unwrap();
    providers.run(&job, PATIENCE).await
}

#[tokio::test]
async fn any_model_runs_with_its_own_input_and_its_files_are_fetched() {
    let (url, _) = server(|call: Call| {
        let host = call.headers["host"].to_str().unwrap().to_owned();
        match call.path.as_str() {
            "predictions" => {
                let body = call.json();
                assert_eq!(body, json!({"version": "owner/model", "input": {"prompt": "a lake", "n": 3}}));
                assert!(call.headers["prefer"].to_str().unwrap().starts_with("wait"));
                assert_eq!(call.headers["cancel-after"], "60s", "no longer than the model's price covers");
                let file = format!("http://{host}/v1/files/a");
                (
                    StatusCode::CREATED,
                    axum::Json(prediction(
                        "succeeded",
                        json!({"a/b": [file, "text", "https://elsewhere.example/x"], "n": 1}),
                    )),
                )
                    .into_response()
            }
            "files/a" => b"\x89PNG\r\n\x1a\n".into_response(),
            other => panic!("{other}"),
        }
    })
    .await;
    let mut output = run(&url, JobKind::Gpu, gpu()).await.unwrap();
    assert_eq!(output.usage, Usage { seconds: 3, ..Usage::default() });
    let files = output.place(|_, artifact| json!(artifact.at));
    assert_eq!((files.len(), files[0].blob.content_type.as_str()), (1, "image/png"));
    let expected = json!({"a/b": ["/output/a~1b/0", "text", "https://elsewhere.example/x"], "n": 1});
    assert_eq!(Value::from(output.body)["output"], expected, "only Replicate's own files are fetched");
}

/// T-17: a model's author could else read, with the operator's key, what Replicate keeps for other customers.
#[tokio::test]
async fn what_a_model_puts_out_reads_nothing_with_the_operators_key() {
    for anywhere in [false, true] {
        let (url, calls) = server(move |call: Call| {
            let host = call.headers["host"].to_str().unwrap().to_owned();
            let keyed = call.headers.contains_key("authorization");
            match call.path.as_str() {
                "predictions" if call.method == Method::POST => {
                    assert!(keyed);
                    ok(prediction("succeeded", json!([format!("http://{host}/v1/predictions")])))
                }
                _ => {
                    assert!(anywhere && !keyed, "{} {}", call.method, call.path);
                    ok(json!({"results": []}))
                }
            }
        })
        .await;
        // Any variable that is set: what counts is whether a key is sent.
        let config = ProviderConfig { files_anywhere: anywhere, api_key_env: "PATH".into(), ..replicate(&url) };
        let (catalog, providers) = providers(&[config]);
        let output = providers.run(&catalog.parse(JobKind::Gpu, &gpu()).unwrap(), PATIENCE).await.unwrap();
        let fetched = u32::from(anywhere);
        assert_eq!((output.artifacts.len(), calls.load(Ordering::SeqCst)), (fetched as usize, 1 + fetched));
        if !anywhere {
            let text = Value::from(output.body)["output"][0].as_str().unwrap().to_owned();
            assert!(text.ends_with("/v1/predictions"), "it stays the text that it is: {text}");
        }
    }
}

#[tokio::test]
async fn fields_get_the_models_own_names() {
    let (url, _) = server(|call: Call| {
        if call.path == "files/a" {
            return b"\x89PNG\r\n\x1a\n".into_response();
        }
        let expected = json!({"prompt": "a lake", "num_outputs": 2, "aspect_ratio": "4:3", "output_format": "png"});
        assert_eq!(call.json()["input"], expected);
        let host = call.headers["host"].to_str().unwrap().to_owned();
        let file = format!("http://{host}/v1/files/a");
        ok(prediction("succeeded", json!([file, file])))
    })
    .await;
    let route = RouteConfig {
        provider: "replicate".into(),
        model: "flux".into(),
        rename: [("n", "num_outputs"), ("width", ""), ("height", ""), ("seed", "")]
            .map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned()))
            .into(),
        input: [("output_format".to_owned(), json!("png"))].into(),
    };
    let flux = ModelConfig { routes: vec![route], ..model("flux", JobKind::ImageGeneration, &[]) };
    let (catalog, providers) = with_models(&[replicate(&url)], &[flux]);
    let body = json!({"model": "flux", "prompt": "a lake", "n": 2, "width": 1024, "height": 768, "seed": 1});
    let output = providers.run(&catalog.parse(JobKind::ImageGeneration, &body).unwrap(), PATIENCE).await.unwrap();
    assert_eq!((output.artifacts.len(), output.usage.images), (2, 2));
    assert_eq!(output.artifacts[1].at, "/data/1/url");
}

#[tokio::test]
async fn a_long_job_is_kept_polled_and_survives_storage() {
    let (url, calls) = server(|call: Call| match (call.method, call.path.as_str()) {
        (Method::POST, "predictions") => ok(prediction("starting", Value::Null)),
        (Method::GET, "predictions/abc123") if call.number < 3 => ok(prediction("processing", Value::Null)),
        (Method::GET, "predictions/abc123") => ok(prediction("succeeded", json!(["one ", "two"]))),
        other => panic!("{other:?}"),
    })
    .await;
    let (catalog, providers) = providers(&[replicate(&url)]);
    let job = catalog.parse(JobKind::Gpu, &gpu()).unwrap();
    let Progress::Pending(ticket) = providers.start(&job).await.unwrap() else { panic!("it takes time") };
    let ticket: Ticket = serde_json::from_str(&serde_json::to_string(&ticket).unwrap()).unwrap();
    assert_eq!(
        (ticket.provider.as_str(), ticket.model.as_str(), ticket.upstream_id.as_str()),
        ("replicate", "any", "abc123")
    );
    for _ in 0..2 {
        assert!(matches!(providers.poll(&job, &ticket).await, Ok(Progress::Pending(_))));
    }
    let Progress::Done(output) = providers.poll(&job, &ticket).await.unwrap() else { panic!("it is done") };
    assert_eq!(Value::from(output.body)["output"], json!(["one ", "two"]));
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn failures_are_final_and_hiccups_are_not() {
    for (answer, is_final) in [
        (ok(prediction("failed", Value::Null)), true),
        (ok(prediction("canceled", Value::Null)), true),
        (ok(prediction("aborted", Value::Null)), true),
        (ok(prediction("succeeded", Value::Null)), true),
        (ok(json!({"status": "confused"})), true),
        (StatusCode::BAD_GATEWAY.into_response(), false),
        (StatusCode::TOO_MANY_REQUESTS.into_response(), false),
    ] {
        let answer = std::sync::Mutex::new(Some(answer));
        let (url, _) = server(move |_| answer.lock().unwrap().take().unwrap()).await;
        let (catalog, providers) = providers(&[ProviderConfig { retries: 0, ..replicate(&url) }]);
        let job = catalog.parse(JobKind::Gpu, &gpu()).unwrap();
        let ticket = Ticket {
            provider: "replicate".into(),
            model: "any".into(),
            upstream_id: "abc123".into(),
            poll_after_ms: 1,
        };
        let error = providers.poll(&job, &ticket).await.unwrap_err();
        assert_eq!(error.is_final(), is_final, "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    // A failed prediction at the start: another provider may do better, none is there.
    let (url, _) = server(|_| ok(prediction("failed", Value::Null))).await;
    assert!(matches!(run(&url, JobKind::Gpu, gpu()).await, Err(ProviderError::Failed { .. })));
    // No id to come back with, or one that would lead elsewhere.
    for id in [json!(null), json!(""), json!("../account"), json!("a/b")] {
        let shown = id.to_string();
        let (url, _) = server(move |_| ok(json!({"id": id, "status": "processing"}))).await;
        assert!(matches!(run(&url, JobKind::Gpu, gpu()).await, Err(ProviderError::BadAnswer { .. })), "{shown}");
    }
}

#[tokio::test]
async fn nobody_waits_for_ever_and_what_nobody_waits_for_is_cancelled() {
    let cancelled = std::sync::Arc::new(tokio::sync::Notify::new());
    let told = std::sync::Arc::clone(&cancelled);
    let (url, _) = server(move |call: Call| {
        if call.path == "predictions/abc123/cancel" {
            told.notify_one();
        }
        ok(prediction("processing", Value::Null))
    })
    .await;
    let (catalog, providers) = providers(&[replicate(&url)]);
    let job = catalog.parse(JobKind::Gpu, &gpu()).unwrap();
    let result = providers.run(&job, Duration::from_millis(300)).await;
    assert!(matches!(result, Err(ProviderError::Timeout { .. })), "{result:?}");
    tokio::time::timeout(PATIENCE, cancelled.notified()).await.unwrap();
    // The same when whoever asked is gone.
    assert!(tokio::time::timeout(Duration::from_millis(300), providers.run(&job, PATIENCE)).await.is_err());
    tokio::time::timeout(PATIENCE, cancelled.notified()).await.unwrap();
}

#[tokio::test]
async fn recordings_go_inline_or_are_uploaded_first() {
    let (url, _) = server(|call: Call| match call.path.as_str() {
        "files" => {
            assert!(call.body.len() > 300_000);
            ok(json!({"urls": {"get": "https://api.replicate.com/v1/files/x"}}))
        }
        _ => {
            let audio = call.json()["input"]["audio"].as_str().unwrap().to_owned();
            assert!(audio.starts_with("data:audio/wav;base64,") || audio == "https://api.replicate.com/v1/files/x");
            ok(prediction(
                "succeeded",
                json!({"transcription": " hello ", "detected_language": "english", "segments": [{"end": 3.2}]}),
            ))
        }
    })
    .await;
    for size in [100, 300_000] {
        let mut recording = b"RIFF\x00\x00\x00\x00WAVE".to_vec();
        recording.resize(size, 0);
        let body = json!({"model": "ear", "audio": STANDARD.encode(recording)});
        let output = run(&url, JobKind::SpeechToText, body).await.unwrap();
        let expected = json!({"text": "hello", "language": "english", "durationSeconds": 4});
        assert_eq!((Value::from(output.body), output.usage.seconds), (expected, 4));
    }
}

#[tokio::test]
async fn files_of_another_kind_number_or_place_are_refused() {
    for output in [
        json!("https://elsewhere.example/film.mp4"),
        json!("https://replicate.delivery.evil.example/film.mp4"),
        json!("https://evilreplicate.delivery/film.mp4"),
        json!("http://replicate.delivery/film.mp4"),
        json!(["a", "b"]),
        json!([]),
        json!(7),
        json!({"a": 1}),
    ] {
        let shown = output.to_string();
        let (url, _) = server(move |_| ok(prediction("succeeded", output.clone()))).await;
        let result = run(&url, JobKind::VideoGeneration, json!({"model": "film", "prompt": "waves"})).await;
        assert!(matches!(result, Err(ProviderError::BadAnswer { .. })), "{shown}: {result:?}");
    }
    let (url, _) = server(|call: Call| {
        let host = call.headers["host"].to_str().unwrap().to_owned();
        if call.path == "film" {
            "<html>".into_response()
        } else {
            ok(prediction("succeeded", json!(format!("http://{host}/v1/film"))))
        }
    })
    .await;
    let result = run(&url, JobKind::VideoGeneration, json!({"model": "film", "prompt": "waves"})).await;
    assert!(
        matches!(&result, Err(ProviderError::BadAnswer { reason, .. }) if reason.contains("another kind")),
        "{result:?}"
    );
}

#[test]
fn webhooks_need_a_secret() {
    let with = |config: ProviderConfig| Replicate::from_config(&config).map(|_| ()).map_err(|error| error.to_string());
    let base = || replicate("https://api.replicate.com/v1");
    assert!(with(base()).is_ok());
    let error = with(ProviderConfig { webhook_url: "https://r.example/hook".into(), ..base() }).unwrap_err();
    assert!(error.contains("webhook_secret_env"), "{error}");
    let error = with(ProviderConfig { webhook_secret_env: "PATH".into(), ..base() }).unwrap_err();
    assert!(error.contains("whsec_") && !error.contains(&std::env::var("PATH").unwrap()), "{error}");
    let error = with(ProviderConfig { webhook_secret_env: "COMPUTE_FUTURES_NO_SUCH".into(), ..base() }).unwrap_err();
    assert!(error.contains("not set"), "{error}");
}
