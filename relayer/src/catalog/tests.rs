#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::config::{Config, RouteConfig};

fn metered(id: &str, input: u64, output: u64) -> ModelConfig {
    ModelConfig {
        id: id.into(),
        routes: vec![RouteConfig { provider: "local".into(), ..RouteConfig::default() }],
        per_1k_input: Usdc::from_micros(input),
        per_1k_output: Usdc::from_micros(output),
        auto: true,
        ..ModelConfig::default()
    }
}

fn catalog(extra: Vec<ModelConfig>) -> Catalog {
    let config = Config::default();
    let models: Vec<_> = config.models.into_iter().chain(extra).collect();
    Catalog::new(&models, BTreeMap::new(), &config.limits, 1).unwrap()
}

fn text(catalog: &Catalog, body: serde_json::Value) -> ApiResult<JobInput> {
    catalog.parse(JobKind::TextInference, &body)
}

#[test]
fn defaults_cost_what_the_seeds_say() {
    let catalog = catalog(vec![]);
    let job = text(
        &catalog,
        json!({"messages": [{"role": "user", "content": "Summarize this contract: ..."}], "model": "auto"}),
    )
    .unwrap();
    assert_eq!(catalog.max_price(&job).unwrap(), Usdc::parse("0.03").unwrap());
    let job = catalog.parse(JobKind::Embeddings, &json!({"input": "a text"})).unwrap();
    assert_eq!(catalog.max_price(&job).unwrap(), Usdc::parse("0.005").unwrap());
}

#[test]
fn auto_is_quoted_at_the_dearest_model_that_may_run() {
    let catalog = catalog(vec![metered("big/model", 1_000, 1_000_000)]);
    let job = text(&catalog, json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 1000})).unwrap();
    // 85 tokens at most are read (5 bytes, one message, one preamble), 1,000 written.
    assert_eq!(catalog.max_price(&job).unwrap(), Usdc::from_micros(85 + 1_000_000));
    // The cheap one ran: its price is charged.
    let output = JobOutput {
        provider: "local".into(),
        model: "local/extractive-summary".into(),
        body: Map::new(),
        usage: Usage::default(),
        artifacts: vec![],
    };
    assert_eq!(catalog.price(&job, &output).unwrap(), Usdc::parse("0.03").unwrap());
}

#[test]
fn an_account_keeps_the_prices_it_was_opened_under() {
    let (then, now) = (catalog(vec![metered("m", 10, 100)]), catalog(vec![metered("m", 5, 900)]));
    let job = text(&now, json!({"messages": [{"role": "user", "content": "hello"}], "model": "m"})).unwrap();
    let usage = Usage::tokens(10, 100);
    let output = JobOutput { provider: "p".into(), model: "m".into(), body: Map::new(), usage, artifacts: vec![] };
    let price = |card| now.price_under(&job, &output, card).unwrap().micros();
    assert_eq!(price(None), 1 + 90);
    assert_eq!(price(Some(then.rate_card())), 1 + 10, "the lower of both cards for this job");
    let dear = catalog(vec![metered("m", 1_000_000, 1_000_000)]);
    assert_eq!(price(Some(dear.rate_card())), 1 + 90, "today is cheaper");
    let other = catalog(vec![]);
    assert_eq!(price(Some(other.rate_card())), 1 + 90, "a model that came later costs what it costs");
}

#[test]
fn the_hash_follows_every_price() {
    let a = catalog(vec![metered("m", 1, 1)]);
    let b = catalog(vec![metered("m", 1, 2)]);
    assert_ne!(a.rate_card_hash(), b.rate_card_hash());
    assert_eq!(a.rate_card_hash(), compute_futures_protocol::keccak256(a.rate_card_canonical()));
}

#[test]
fn what_is_not_served_is_refused_with_a_hint() {
    let catalog = catalog(vec![]);
    let messages = json!([{"role": "user", "content": "hi"}]);
    for (body, code) in [
        (json!([]), "invalid_request"),
        (json!({}), "invalid_request"),
        (json!({"messages": "hi"}), "invalid_request"),
        (json!({"messages": []}), "invalid_request"),
        (json!({"messages": [{"role": "king", "content": "hi"}]}), "invalid_request"),
        (json!({"messages": [{"role": "user", "content": 1}]}), "invalid_request"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}),
            "invalid_request",
        ),
        (json!({"messages": messages, "prompt": "hi"}), "invalid_request"),
        (json!({"messages": messages, "model": 7}), "invalid_request"),
        (json!({"messages": messages, "model": "none/such"}), "unknown_model"),
        (json!({"messages": messages, "model": "local/hashed-embeddings"}), "unknown_model"),
        (json!({"messages": messages, "max_tokens": 0}), "invalid_request"),
        (json!({"messages": messages, "max_tokens": -1}), "invalid_request"),
        (json!({"messages": messages, "max_tokens": 1.5}), "invalid_request"),
        (json!({"messages": messages, "max_tokens": 4_097}), "invalid_request"),
        (json!({"messages": messages, "temperature": 3}), "invalid_request"),
        (json!({"messages": messages, "stop": [1]}), "invalid_request"),
        (json!({"messages": messages, "stream": "yes"}), "invalid_request"),
        (json!({"messages": messages, "frobnicate": 1}), "unsupported_parameter"),
        (json!({"messages": messages, "n": 2}), "unsupported_parameter"),
        (json!({"messages": messages, "tools": [{}]}), "unsupported_parameter"),
    ] {
        let error = text(&catalog, body.clone()).expect_err(&body.to_string());
        assert_eq!(error.code, code, "{body}: {error}");
        assert!(error.status.is_client_error() && !error.hint.is_empty());
    }
    for body in [
        json!({"input": []}),
        json!({"input": [""]}),
        json!({"input": [1]}),
        json!({"input": "a", "dimensions": 0}),
        json!({"input": "a", "dimensions": 4097}),
    ] {
        assert!(catalog.parse(JobKind::Embeddings, &body).is_err(), "{body}");
    }
}

#[test]
fn openai_shapes_are_understood() {
    let catalog = catalog(vec![]);
    let job = text(
        &catalog,
        json!({"futuresId": "CFE-X", "type": "text-inference", "stream": false, "n": 1, "tools": null, "user": "me",
               "messages": [{"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
               "max_completion_tokens": 7, "stop": "x"}),
    )
    .unwrap();
    let JobInput::TextInference(job) = job else { panic!("a text job") };
    assert_eq!((job.messages[0].content.as_str(), job.max_tokens, job.stop.len()), ("a\nb", 7, 1));
    assert!(text(&catalog, json!({"prompt": "hi"})).is_ok());
}

proptest! {
    /// I-8: whatever a provider claims, the price stays under the quote that the hold reserved.
    #[test]
    fn the_price_never_exceeds_the_quote(
        rates in prop::collection::vec((0_u64..10_000_000, 0_u64..10_000_000), 1..4),
        content in "\\PC{1,80}",
        max_tokens in 1_u32..4096,
        input_tokens in any::<u64>(),
        output_tokens in any::<u64>(),
        pick in any::<prop::sample::Index>(),
        auto in any::<bool>(),
    ) {
        let extra: Vec<_> = rates.iter().enumerate().map(|(at, (input, output))| metered(&format!("m{at}"), *input, *output)).collect();
        let catalog = catalog(extra);
        let ran = format!("m{}", pick.index(rates.len()));
        let body = json!({"messages": [{"role": "user", "content": format!("x{content}")}], "max_tokens": max_tokens, "model": if auto { AUTO } else { &ran }});
        let job = text(&catalog, body).unwrap();
        let output = JobOutput { provider: "p".into(), model: ran, body: Map::new(), usage: Usage::tokens(input_tokens, output_tokens), artifacts: vec![] };
        prop_assert!(catalog.price(&job, &output).unwrap() <= catalog.max_price(&job).unwrap());
    }

    /// Bytes bound tokens for the finest tokenizer there can be, one token a byte, with marks around each message.
    #[test]
    fn the_input_bound_holds_for_one_token_a_byte(contents in prop::collection::vec("\\PC{1,40}", 1..6)) {
        let catalog = catalog(vec![]);
        let messages: Vec<_> = contents.iter().map(|content| json!({"role": "user", "content": format!("x{content}")})).collect();
        let job = text(&catalog, json!({"messages": messages})).unwrap();
        let bytes: usize = contents.iter().map(|content| content.len() + 1).sum();
        prop_assert!(tokens::input_upper_bound(&job) >= (bytes + 4 * contents.len()) as u64);
    }
}
