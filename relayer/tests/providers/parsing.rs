//! Parsing of every kind of job, and prices of what was parsed.

use compute_futures_protocol::Usdc;
use compute_futures_relayer::catalog::Catalog;
use compute_futures_relayer::config::{ModelConfig, ProviderConfig};
use compute_futures_relayer::providers::{JobInput, JobKind, JobOutput, Usage};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::world::{config, model, providers, with_models};

fn catalog() -> std::sync::Arc<Catalog> {
    providers(&[config("up", "https://up.example/v1")]).0
}

#[test]
fn every_kind_is_read() {
    let catalog = catalog();
    for (kind, body) in [
        (
            JobKind::ImageGeneration,
            json!({"model": "image", "prompt": "a lake", "n": 4, "size": "512x2048", "response_format": "b64_json"}),
        ),
        (JobKind::VideoGeneration, json!({"model": "film", "prompt": "waves", "duration": 60, "aspect_ratio": "16:9"})),
        (
            JobKind::TextToSpeech,
            json!({"model": "voice", "text": "hi", "voice": "af_bella", "format": "mp3", "speed": 0.25}),
        ),
        (JobKind::SpeechToText, json!({"model": "ear", "audio": "data:audio/mpeg;base64,SUQz", "language": "en-GB"})),
        (JobKind::SpeechToText, json!({"model": "ear", "audio_url": "https://example.com/a.mp3"})),
        (JobKind::DocumentParsing, json!({"model": "paper", "url": "https://example.com/a.pdf"})),
        (JobKind::DocumentParsing, json!({"model": "paper", "document": "aGVsbG8"})),
        (JobKind::Gpu, json!({"model": "owner/model", "input": {}})),
        (JobKind::Gpu, json!({"model": format!("stability-ai/sdxl:{}", "0".repeat(64)), "input": {"prompt": "x"}})),
    ] {
        let job = catalog.parse(kind, &body).unwrap_or_else(|error| panic!("{kind} {body}: {error}"));
        assert_eq!(job.kind(), kind);
        let stored: JobInput = serde_json::from_str(&serde_json::to_string(&job).unwrap()).unwrap();
        assert_eq!(stored, job, "survives storage");
        assert!(catalog.max_price(&job).is_ok());
    }
}

#[test]
fn what_is_wrong_is_refused_with_a_hint() {
    let catalog = catalog();
    let big = "x".repeat(5000);
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    for (kind, body) in [
        (JobKind::ImageGeneration, json!({"model": "image"})),
        (JobKind::ImageGeneration, json!({"model": "image", "prompt": " "})),
        (JobKind::ImageGeneration, json!({"model": "image", "prompt": big})),
        (JobKind::ImageGeneration, json!({"model": "image", "prompt": "x", "n": 5})),
        (JobKind::ImageGeneration, json!({"model": "image", "prompt": "x", "n": 1.5})),
        (JobKind::ImageGeneration, json!({"model": "image", "prompt": "x", "size": "9x9"})),
        (JobKind::ImageGeneration, json!({"model": "image", "prompt": "x", "size": "+512x512"})),
        (JobKind::ImageGeneration, json!({"model": "image", "prompt": "x", "size": "512x512x512"})),
        (JobKind::ImageGeneration, json!({"model": "image", "prompt": "x", "negative": "y"})),
        (JobKind::ImageGeneration, json!({"model": "film", "prompt": "x"})),
        (JobKind::VideoGeneration, json!({"model": "film", "prompt": "x", "seconds": 61})),
        (JobKind::VideoGeneration, json!({"model": "film", "prompt": "x", "aspect_ratio": "7:5"})),
        (JobKind::TextToSpeech, json!({"model": "voice", "input": "x", "voice": "--help me"})),
        (JobKind::TextToSpeech, json!({"model": "voice", "input": "x", "speed": 5})),
        (JobKind::TextToSpeech, json!({"model": "voice", "input": "x", "response_format": "exe"})),
        (JobKind::SpeechToText, json!({"model": "ear"})),
        (JobKind::SpeechToText, json!({"model": "ear", "audio": "%%%"})),
        (JobKind::SpeechToText, json!({"model": "ear", "audio": ""})),
        (JobKind::SpeechToText, json!({"model": "ear", "audio": "data:text/html;base64,PGh0bWw+"})),
        (JobKind::SpeechToText, json!({"model": "ear", "audio": "SUQz", "audio_url": "https://example.com/a"})),
        (JobKind::SpeechToText, json!({"model": "ear", "audio_url": "http://example.com/a"})),
        (JobKind::SpeechToText, json!({"model": "ear", "audio_url": "https://me:secret@example.com/a"})),
        (JobKind::DocumentParsing, json!({"model": "paper", "text": "a", "url": "https://example.com"})),
        (JobKind::DocumentParsing, json!({"model": "paper", "document": "iVBORw0KGgo="})),
        (JobKind::Gpu, json!({"model": "owner/model"})),
        (JobKind::Gpu, json!({"input": {}})),
        (JobKind::Gpu, json!({"model": "owner/model", "input": []})),
        (JobKind::Gpu, json!({"model": "owner/model", "input": {"a": deep}})),
        (JobKind::Gpu, json!({"model": "owner/model", "input": {"a": "x".repeat(300_000)}})),
        (JobKind::Gpu, json!({"model": "../account", "input": {}})),
        (JobKind::Gpu, json!({"model": "owner/model/more", "input": {}})),
        (JobKind::Gpu, json!({"model": "owner/model:main", "input": {}})),
        (JobKind::Gpu, json!({"model": "owner/model?x=1", "input": {}})),
    ] {
        let error = catalog
            .parse(kind, &body)
            .expect_err(&format!("{kind} {}", body.to_string().chars().take(200).collect::<String>()));
        assert!(error.status.is_client_error() && !error.hint.is_empty(), "{kind} {error}");
    }
}

/// Before any payment: no provider has a model of that name.
#[test]
fn what_stands_for_every_model_is_none_itself() {
    let catalog = catalog();
    for model in ["any", "flux", "gpu/", "/", "any:0"] {
        let error = catalog.parse(JobKind::Gpu, &json!({"model": model, "input": {}})).unwrap_err();
        assert_eq!((error.status.as_u16(), error.code), (400, "unknown_model"), "{model}");
        assert!(error.hint.contains("owner/model"), "{model}: {}", error.hint);
    }
    assert!(catalog.parse(JobKind::Gpu, &json!({"model": "owner/model", "input": {}})).is_ok());
}

#[test]
fn a_misspelt_parameter_is_named() {
    let error = catalog().parse(JobKind::ImageGeneration, &json!({"model": "image", "promt": "x"})).unwrap_err();
    assert_eq!((error.code, error.hint.as_str()), ("unsupported_parameter", "did you mean `prompt`?"));
}

/// Bodies made of the names and values that parsers look for.
fn bodies() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "model",
        "prompt",
        "input",
        "messages",
        "n",
        "size",
        "width",
        "seconds",
        "aspect_ratio",
        "text",
        "voice",
        "format",
        "speed",
        "audio",
        "audio_url",
        "document",
        "url",
        "content_type",
        "language",
        "max_tokens",
        "stream",
        "stop",
        "seed",
        "response_format",
        "dimensions",
        "temperature",
        "tools",
        "type",
        "x",
    ]);
    let word = prop::sample::select(vec![
        "auto",
        "chat",
        "image",
        "any",
        "a/b",
        "data:audio/wav;base64,UklGRg==",
        "data:,",
        "data:;base64,",
        "https://a.example/b",
        "https://[",
        "512x512",
        "x",
        "16:9",
        "url",
        "wav",
        "é\u{0}\u{202e}",
        "",
    ]);
    let leaf = prop_oneof![
        word.prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    let value = leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(
                prop::sample::select(vec!["role", "content", "type", "text", "a"]),
                inner,
                0..4
            )
            .prop_map(|map| Value::Object(map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    });
    prop::collection::btree_map(name, value, 0..8)
        .prop_map(|map| Value::Object(map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever a stranger sends: a job, or a 4xx with a hint; and every job has a price and survives storage.
    #[test]
    fn no_body_is_a_panic_or_our_fault(body in bodies(), kind in prop::sample::select(JobKind::ALL.to_vec())) {
        match catalog().parse(kind, &body) {
            Ok(job) => {
                prop_assert!(catalog().max_price(&job).is_ok());
                let stored: JobInput = serde_json::from_str(&serde_json::to_string(&job).unwrap()).unwrap();
                prop_assert_eq!(stored, job);
            }
            Err(error) => prop_assert!(error.status.is_client_error() && !error.hint.is_empty(), "{}", error),
        }
    }

    /// I-8 for every unit: whatever a provider claims, the charge stays under the quote.
    #[test]
    fn no_claim_exceeds_the_quote(
        per_call in 0_u64..1 << 32, per_image in 0_u64..1 << 32, per_second in 0_u64..1 << 32, per_1k in 0_u64..1 << 32,
        max_seconds in 1_u32..10_000, n in 1_u32..=4, seconds in 1_u32..=60,
        claim in any::<[u64; 5]>(),
    ) {
        let usd = Usdc::from_micros;
        let priced = |id: &str, kind| ModelConfig {
            per_call: usd(per_call), per_image: usd(per_image), per_second: usd(per_second), per_1k_characters: usd(per_1k),
            max_seconds: max_seconds.max(60), ..model(id, kind, &["up"])
        };
        let models = [
            priced("image", JobKind::ImageGeneration), priced("film", JobKind::VideoGeneration), priced("voice", JobKind::TextToSpeech),
            priced("ear", JobKind::SpeechToText), priced("paper", JobKind::DocumentParsing), priced("shortcut", JobKind::Gpu),
        ];
        let up = ProviderConfig { name: "up".into(), ..config("up", "https://up.example/v1") };
        let (catalog, _) = with_models(&[up], &models);
        for (kind, body) in [
            (JobKind::ImageGeneration, json!({"model": "image", "prompt": "x", "n": n})),
            (JobKind::VideoGeneration, json!({"model": "film", "prompt": "x", "seconds": seconds})),
            (JobKind::TextToSpeech, json!({"model": "voice", "input": "x"})),
            (JobKind::SpeechToText, json!({"model": "ear", "audio_url": "https://example.com/a"})),
            (JobKind::DocumentParsing, json!({"model": "paper", "text": "x"})),
            (JobKind::Gpu, json!({"model": "shortcut", "input": {}})),
        ] {
            let job = catalog.parse(kind, &body).unwrap();
            let [input_tokens, output_tokens, images, seconds, characters] = claim;
            let usage = Usage { input_tokens, output_tokens, images, seconds, characters };
            let output = JobOutput { provider: "up".into(), model: job.model().into(), body: Map::new(), usage, artifacts: vec![] };
            prop_assert!(catalog.price(&job, &output).unwrap() <= catalog.max_price(&job).unwrap());
        }
    }
}
