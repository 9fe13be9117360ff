//! Providers that lie, stall, send elsewhere or fall silent: nobody pays for it, nothing of ours is reached, and it is seen (T-8, T-17).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use compute_futures_relayer::market::outcomes::Standing;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::provider::Behaviour;
use crate::serving::{World, content, usdc};

/// A server of ours that no provider may make us ask.
async fn secret() -> (String, Arc<AtomicUsize>) {
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hits);
    let app = Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { r#"{"choices": [{"message": {"content": "secret"}}]}"# }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (format!("http://{address}/"), hits)
}

/// Whatever comes back that is no answer costs nothing, whatever it does to us ends in time, and none of it reaches the agent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_answer_costs_nothing() {
    let mut world = World::start_with(|config| config.market.provider_timeout_seconds = 2).await;
    let (secret, hits) = secret().await;
    let provider = world.provider().await;
    let prices = content(&provider.url, 1_000, 10_000);
    let id = world.register(&prices).await;
    let session = world.open(id, &prices, 1_000_000).await;
    let page = "<html>Traceback: password=hunter2</html>";
    let cases: Vec<(Behaviour, u16, &str)> = vec![
        (Behaviour::Redirect(secret.clone()), 502, "provider_bad_answer"),
        (Behaviour::Redirect("http://169.254.169.254/latest/meta-data".into()), 502, "provider_bad_answer"),
        (Behaviour::Redirect("/v1/chat/completions".into()), 502, "provider_bad_answer"),
        (Behaviour::Endless, 502, "provider_bad_answer"),
        (Behaviour::Drips, 504, "provider_timeout"),
        (Behaviour::Waits, 504, "provider_timeout"),
        (Behaviour::Dies, 502, "provider_bad_answer"),
        (Behaviour::Page(500, page), 503, "provider_unavailable"),
        (Behaviour::Page(200, page), 502, "provider_bad_answer"),
        (Behaviour::Page(204, ""), 502, "provider_bad_answer"),
        (Behaviour::Page(404, page), 502, "provider_bad_answer"),
        (Behaviour::Page(402, page), 502, "provider_bad_answer"),
        (Behaviour::Page(400, page), 422, "provider_refused"),
        (Behaviour::Busy("99999999"), 429, "provider_rate_limited"),
        (Behaviour::Busy("soon"), 429, "provider_rate_limited"),
        (Behaviour::Nonsense(json!({ "choices": [] })), 502, "provider_bad_answer"),
        (Behaviour::Nonsense(json!({ "choices": [{ "message": { "content": null } }] })), 502, "provider_bad_answer"),
        (Behaviour::Nonsense(json!("hello")), 502, "provider_bad_answer"),
    ];
    for (behaviour, status, code) in &cases {
        provider.does(behaviour.clone());
        let started = Instant::now();
        let reply = world.infer(&world.order(Some(session))).await.expect(*status, code);
        assert!(started.elapsed() < Duration::from_secs(6), "{behaviour:?} took {:?}", started.elapsed());
        assert!(!reply.body.to_string().contains("hunter2"), "no words of the provider's");
        if let Some(wait) = reply.headers.get("retry-after") {
            assert!(wait.to_str().unwrap().parse::<u32>().unwrap() <= 3_600);
        }
        assert!(world.adds_up(session).await.is_empty(), "{behaviour:?}");
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0, "nothing of ours was reached");
    assert_eq!(provider.calls().len(), cases.len(), "each order was asked once");
    world
        .until(async || world.books().health().await.unwrap().get(&id).is_some_and(|health| health.requests == 18))
        .await;
    // Refusing a request and being busy are no failures.
    let outcomes = world.get(&format!("/api/v1/market/providers/{id}/outcomes")).await.expect(200, "");
    let failures: u64 =
        outcomes.body["outcomes"].as_array().unwrap().iter().map(|hour| hour["failures"].as_u64().unwrap()).sum();
    assert_eq!(failures, 15);
    provider.does(Behaviour::Good);
    world.infer(&world.order(Some(session))).await.expect(200, "");
    assert_eq!(world.adds_up(session).await.len(), 1);
    world.stop().await;
}

/// Claims that are not believed are not paid: what was counted is, at most what was asked for, at most the order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn false_usage_is_not_paid() {
    let mut world = World::start().await;
    let provider = world.provider().await;
    let prices = content(&provider.url, 1_000, 10_000);
    let id = world.register(&prices).await;
    let session = world.open(id, &prices, 1_000_000).await;
    let tokens = |input: Value, output: Value| json!({ "prompt_tokens": input, "completion_tokens": output });
    // What a tokenizer counts: 8 for the message with 6 for the marks around it, 15 for the answer with one for its end. Believed is a
    // quarter more, and for the input 80 for the template; beyond that the count is paid.
    let (read, written) = (14, 16);
    let huge = json!(1e30);
    for (usage, input, output, disputed) in [
        (tokens(json!(21), json!(16)), 21, 16, false),
        (tokens(json!(97), json!(20)), 97, 20, false),
        (tokens(json!(98), json!(16)), read, 16, true),
        (tokens(json!(21), json!(21)), 21, written, true),
        (tokens(json!(21), json!(100_000)), 21, written, true),
        (tokens(json!(u64::MAX), json!(u64::MAX)), read, written, true),
        (tokens(huge.clone(), huge), read, written, true),
        (tokens(json!(-5), json!(-7)), read, written, true),
        (tokens(json!(0), json!(0)), 0, 0, false),
        (tokens(json!("21"), json!(1.5)), read, written, true),
        (json!({ "prompt_tokens": 5 }), read, written, true),
        (json!([]), read, written, true),
        (Value::Null, read, written, false),
    ] {
        provider.does(Behaviour::Usage(usage.clone()));
        let before = cases(&world).await;
        let reply = world.infer(&world.order(Some(session))).await.expect(200, "");
        let said = &reply.body["usage"];
        assert_eq!((&said["promptTokens"], &said["completionTokens"]), (&json!(input), &json!(output)), "{usage}");
        let cost = prices.cost("m", input, output).unwrap();
        assert_eq!(reply.body["cost"]["amount"], json!(cost), "{usage}");
        assert_eq!(cases(&world).await - before, i64::from(disputed), "{usage}");
    }
    // Fewer tokens were asked for than came: what was asked for is paid.
    provider.does(Behaviour::Usage(tokens(json!(21), json!(60))));
    let mut short = world.order(Some(session));
    short.body["maxTokens"] = json!(5);
    short.max_cost = usdc(162);
    let reply = world.infer(&short).await.expect(200, "");
    assert_eq!((&reply.body["usage"]["completionTokens"], &reply.body["cost"]["amount"]), (&json!(5), &json!("71")));
    assert_eq!(world.adds_up(session).await.len(), 14);
    world.stop().await;
}

/// Claims that somebody should look at.
async fn cases(world: &World) -> i64 {
    use sqlx::{Connection as _, Row as _};
    let mut connection = sqlx::AnyConnection::connect(&world.config.base.ledger_url).await.unwrap();
    let row = sqlx::query("SELECT COUNT(*) FROM market_cases").fetch_one(&mut connection).await.unwrap();
    let count = row.get(0);
    connection.close().await.unwrap();
    count
}

/// Anyone may register any endpoint. Only public https addresses are called: not as they stand, and not by a name that leads inside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_inside_are_never_called() {
    let mut world = World::start_with(|config| {
        config.market.allow_loopback = false;
        config.market.probe_seconds = 1;
    })
    .await;
    let (secret, hits) = secret().await;
    let port = secret.trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let names_inside = format!("https://localhost:{port}/v1");
    for (endpoint, code) in [
        (secret.clone(), "provider_not_callable"),
        (format!("https://127.0.0.1:{port}/v1"), "provider_not_callable"),
        ("https://169.254.169.254/latest".to_owned(), "provider_not_callable"),
        ("https://[::1]/v1".to_owned(), "provider_not_callable"),
        ("https://user:pass@provider.example/v1".to_owned(), "provider_not_callable"),
        ("not a url".to_owned(), "provider_not_callable"),
        (names_inside, "provider_unavailable"),
    ] {
        let prices = content(&endpoint, 100, 300);
        let id = world.register(&prices).await;
        let session = world.open(id, &prices, 10_000).await;
        world.infer(&world.order(Some(session))).await.expect(503, code);
        assert!(world.adds_up(session).await.is_empty(), "{endpoint}");
    }
    // Nor when it is looked at.
    world
        .until(async || {
            let health = world.books().health().await.unwrap();
            (1..=7).all(|id| health.get(&id).is_some_and(|health| health.standing == Standing::Unhealthy))
        })
        .await;
    assert_eq!(hits.load(Ordering::SeqCst), 0, "nothing of ours was reached");
    world.stop().await;
}

/// Who answers is looked at; who does not comes last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_are_looked_at() {
    let mut world = World::start_with(|config| config.market.probe_seconds = 1).await;
    let (good, bad) = (world.provider().await, world.provider().await);
    bad.does(Behaviour::Page(500, "down"));
    let (dear, cheap) = (content(&good.url, 1_000, 10_000), content(&bad.url, 1, 1));
    let (good_id, bad_id) = (world.register(&dear).await, world.register(&cheap).await);
    world
        .until(async || {
            let health = world.books().health().await.unwrap();
            let standing = |id| health.get(&id).map(|health| health.standing);
            (standing(good_id), standing(bad_id)) == (Some(Standing::Healthy), Some(Standing::Unhealthy))
        })
        .await;
    assert!(good.probes() >= 1 && bad.probes() >= 2);
    world.open(bad_id, &cheap, 10_000).await;
    world.open(good_id, &dear, 10_000).await;
    assert_eq!(world.infer(&world.order(None)).await.expect(200, "").body["providerId"], good_id);
    assert!(bad.calls().is_empty(), "the healthy one is asked first, though it is dearer");
    let outcomes = world.get(&format!("/api/v1/market/providers/{bad_id}/outcomes")).await.expect(200, "");
    let hour = &outcomes.body["outcomes"][0];
    assert_eq!(hour["probes"], hour["probeFailures"]);
    world.stop().await;
}
