//! Boots, serves what is free, asks 402 for what is not, stops in order, and boots again on the same books.

use std::collections::BTreeSet;

use compute_futures_chain::ChainReader;
use compute_futures_protocol::Usdc;
use compute_futures_relayer::http::endpoints::{ENDPOINTS, Method as Verb, Price};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{AGENT, World};

fn text() -> Value {
    json!({"model": "auto", "messages": [{"role": "user", "content": "Summarize this contract: The buyer pays. The seller delivers."}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_what_is_free_and_asks_for_payment_for_the_rest() {
    let mut world = World::start(|_| {}).await;

    let ready = world.ready().await;
    let names: Vec<_> =
        ready["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ledger", "chain", "settlement", "providers"]);
    let leads = async || world.ready().await["leader"] == true;
    tokio::time::timeout(std::time::Duration::from_secs(10), async { while !leads().await {} }).await.unwrap();
    let health: Value = world.get("/health").await.json().await.unwrap();
    assert_eq!(health["status"], "ok");

    let models: Value = world.get("/api/v1/compute/models").await.json().await.unwrap();
    let ids: Vec<_> = models["models"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|model| model["available"] == true)
        .map(|model| (model["id"].as_str().unwrap(), model["price"].as_str().unwrap()))
        .collect();
    for local in [("local/extractive-summary", "$0.03 a call"), ("local/hashed-embeddings", "$0.005 a call")] {
        assert!(ids.contains(&local), "{ids:?}");
    }
    // Without any key, nothing else that is listed can run.
    assert!(ids.iter().all(|(id, _)| id.starts_with("local/")), "{ids:?}");
    assert!(models["models"].as_array().unwrap().len() > 20);

    let estimate: Value = world.post("/api/v1/compute/estimate", &text()).await.json().await.unwrap();
    assert_eq!((&estimate["price"], &estimate["prepaid"][1]["price"]), (&json!("$0.03"), &json!("$0.027")));

    // The quote of the 402 is the estimate.
    let response = world.post("/api/v1/compute/text-inference", &text()).await;
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    assert!(response.headers().contains_key("payment-required") && response.headers().contains_key("x-request-id"));
    let offer: Value = response.json().await.unwrap();
    let accepts: Vec<_> =
        offer["accepts"].as_array().unwrap().iter().map(|entry| entry["scheme"].as_str().unwrap()).collect();
    assert_eq!(accepts, ["exact", "compute-futures"]);
    assert!(offer.to_string().contains("\"30000\""), "{offer}");

    // On-chain stands the hash of what is published.
    let reader = world.chain.reader().await.unwrap();
    let terms = reader.terms(world.operator_index(), 1).await.unwrap().unwrap();
    assert_eq!(terms.rate_card_hash.to_string(), models["rateCardHash"].as_str().unwrap());

    let metrics = world.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("relayer_leader 1"), "with SQLite the one relayer leads: {metrics}");
    assert!(
        metrics.contains(
            "relayer_http_requests_total{method=\"POST\",route=\"/api/v1/compute/text-inference\",status=\"402\"} 1"
        ),
        "{metrics}"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_described_and_everything_described_is_a_route() {
    let mut world = World::start(|_| {}).await;
    let openapi: Value = world.get("/openapi.json").await.json().await.unwrap();
    let described: BTreeSet<(String, String)> = openapi["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())))
        .collect();
    let known: BTreeSet<(String, String)> =
        ENDPOINTS.iter().map(|endpoint| (endpoint.method.as_str().to_owned(), endpoint.path.to_owned())).collect();
    assert_eq!(described, known);

    let catalogue: Value = world.get("/.well-known/x402.json").await.json().await.unwrap();
    assert_eq!(catalogue["contracts"]["computeFutures"], world.chain.contract.to_string());
    assert_eq!(catalogue["operator"]["index"], world.operator_index());
    assert_eq!(catalogue["endpoints"].as_array().unwrap().len(), ENDPOINTS.len());

    // Before the first block was read, /ready says 503.
    world.ready().await;
    for endpoint in ENDPOINTS {
        let path = endpoint.path.replace("{operatorIndex}", "1").replace("{batchNumber}", "1");
        let method = Method::from_bytes(endpoint.method.as_str().as_bytes()).unwrap();
        let response = world.send(method, &path, "{}").await;
        let status = response.status();
        assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let body = response.text().await.unwrap();
        assert!(!body.contains("\"code\":\"not_found\""), "{path}: {body}");
        assert!(!status.is_server_error(), "{path}: {status} {body}");
        if endpoint.price != Price::Free {
            assert!(status.is_client_error(), "{path} was served without payment: {body}");
        }
        // The other verb is refused by name.
        let other = if endpoint.method == Verb::Get { Method::POST } else { Method::GET };
        let response = world.send(other, &path, "").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert!(response.headers().contains_key("allow"));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_a_clear_4xx_everywhere() {
    let mut world = World::start(|config| {
        config.server.body_limit_bytes = 64 * 1024;
        // The same for bodies with a file.
        config.limits.max_file_bytes = 1;
    })
    .await;
    let posts: Vec<&str> =
        ENDPOINTS.iter().filter(|endpoint| endpoint.method == Verb::Post).map(|endpoint| endpoint.path).collect();
    let bodies: [&[u8]; 7] = [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"{\"messages\":7,\"input\":7,\"amount\":-1,\"futuresId\":7,\"depositor\":[]}",
        b"\xff\xfe",
        b"{\"a\":{\"a\":{\"a\":1e999}}}",
    ];
    for path in posts {
        for body in bodies {
            check(world.send(Method::POST, path, body.to_vec()).await, path, StatusCode::BAD_REQUEST).await;
        }
        check(world.send(Method::POST, path, vec![b' '; 66 * 1024]).await, path, StatusCode::PAYLOAD_TOO_LARGE).await;
        // Without a length that gives it away.
        let chunks = futures::stream::iter((0..66).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024])));
        check(
            world.send(Method::POST, path, reqwest::Body::wrap_stream(chunks)).await,
            path,
            StatusCode::PAYLOAD_TOO_LARGE,
        )
        .await;
    }
    check(world.get("/api/v1/nothing").await, "/api/v1/nothing", StatusCode::NOT_FOUND).await;
    for (path, status) in
        [("x/1", 400), ("1/x", 400), ("1/-1", 400), ("99/1", 404), ("1/1", 404), ("1/99999999999999999999", 400)]
    {
        let status = StatusCode::from_u16(status).unwrap();
        check(world.get(&format!("/api/v1/receipts/{path}")).await, path, status).await;
    }
    let filler = "x".repeat(70 * 1024);
    let refused = world.client.get(format!("{}/health", world.url)).header("x-filler", filler).send().await;
    check(refused.unwrap(), "a large head", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).await;
    let filler = "x".repeat(1024 * 1024);
    let refused = world.client.get(format!("{}/health", world.url)).header("x-filler", filler).send().await;
    assert!(refused.is_err() || refused.unwrap().status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    world.stop().await;
}

/// `{error, code, hint}` with this status.
async fn check(response: reqwest::Response, what: &str, status: StatusCode) {
    let seen = response.status();
    let text = response.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{what}: {seen} is not JSON: {text}"));
    assert_eq!(seen, status, "{what}: {body}");
    // OpenAI's clients know another form.
    let (error, fields) = if what.starts_with("/v1/") {
        (&body["error"], ["message", "code", "type"])
    } else {
        (&body, ["error", "code", "hint"])
    };
    for field in fields {
        assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{what}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_may_pay_from_anywhere() {
    let mut world = World::start(|_| {}).await;
    let preflight = world
        .client
        .request(Method::OPTIONS, format!("{}/api/v1/compute/text-inference", world.url))
        .header("origin", "https://agent.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,payment-signature,x-payment")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.headers()["access-control-allow-origin"], "*");
    let allowed = preflight.headers()["access-control-allow-headers"].to_str().unwrap().to_lowercase();
    assert!(allowed.contains("payment-signature") && allowed.contains("x-payment"), "{allowed}");
    let offer = world
        .client
        .post(format!("{}/api/v1/compute/text-inference", world.url))
        .header("origin", "https://agent.example")
        .json(&text())
        .send()
        .await
        .unwrap();
    let exposed = offer.headers()["access-control-expose-headers"].to_str().unwrap().to_lowercase();
    assert!(exposed.contains("payment-required") && exposed.contains("payment-response"), "{exposed}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_is_heard_and_nobody_else() {
    let mut world = World::start(|_| {}).await;
    check(world.get("/admin/v1/status").await, "no token", StatusCode::UNAUTHORIZED).await;
    let ask = |token: String| world.client.get(format!("{}/admin/v1/status", world.url)).bearer_auth(token).send();
    check(ask("guess".into()).await.unwrap(), "wrong token", StatusCode::UNAUTHORIZED).await;
    let status: Value = ask(world.admin_token()).await.unwrap().json().await.unwrap();
    assert_eq!((&status["openReceipts"], &status["openBatch"]), (&json!(0), &json!("1")), "{status}");
    let flushed = world
        .client
        .post(format!("{}/admin/v1/flush", world.url))
        .bearer_auth(world.admin_token())
        .send()
        .await
        .unwrap();
    assert_eq!(flushed.json::<Value>().await.unwrap()["batchNumber"], Value::Null, "there is nothing to post");
    let body = json!({"amount": "1", "to": world.chain.signer(AGENT).unwrap().address()});
    let response = world
        .client
        .post(format!("{}/admin/v1/withdraw", world.url))
        .bearer_auth(world.admin_token())
        .json(&body)
        .send()
        .await
        .unwrap();
    check(response, "there are no earnings", StatusCode::CONFLICT).await;
    let nothing = json!({"amount": "0", "to": world.chain.signer(AGENT).unwrap().address()});
    let response = world
        .client
        .post(format!("{}/admin/v1/withdraw", world.url))
        .bearer_auth(world.admin_token())
        .json(&nothing)
        .send()
        .await
        .unwrap();
    check(response, "nothing to withdraw", StatusCode::BAD_REQUEST).await;
    let response = world.get("/admin/v1/flush").await;
    assert_eq!(response.headers()["allow"], "POST");
    check(response, "another verb", StatusCode::METHOD_NOT_ALLOWED).await;
    for path in ["/api/v1/receipts/1/+1", "/api/v1/receipts/+1/1"] {
        check(world.get(path).await, path, StatusCode::BAD_REQUEST).await;
    }
    world.stop().await;

    world.config.admin.token_file = String::new();
    world.boot().await;
    check(
        world.get("/admin/v1/status").await,
        "without a token file there is no such interface",
        StatusCode::NOT_FOUND,
    )
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_once_and_follows_its_settings() {
    let mut world = World::start(|config| config.server.metrics_bind = "127.0.0.1:0".into()).await;
    let reader = world.chain.reader().await.unwrap();
    let index = world.operator_index();
    assert_eq!(world.get("/metrics").await.status(), StatusCode::NOT_FOUND, "metrics have an address of their own");
    world.stop().await;

    world.boot().await;
    assert_eq!(world.operator_index(), index);
    assert_eq!(reader.operator(index).await.unwrap().unwrap().terms_version, 1, "the same terms are not set again");
    world.stop().await;

    // New prices, then the old ones again: each needs its own transaction.
    let old = world.config.models[0].per_call;
    for (version, price) in [(2, Usdc::from_micros(40_000)), (3, old)] {
        world.config.models[0].per_call = price;
        world.boot().await;
        let operator = reader.operator(index).await.unwrap().unwrap();
        assert_eq!(operator.terms_version, version);
        let terms = reader.terms(index, version).await.unwrap().unwrap();
        assert_eq!(terms, world.config.on_chain_terms().unwrap());
        world.stop().await;
    }

    world.config.models[0].per_call = Usdc::from_micros(50_000);
    world.config.terms.set_on_start = false;
    let refused =
        compute_futures_relayer::start(world.config.clone(), tokio_util::sync::CancellationToken::new()).await;
    assert!(refused.unwrap_err().to_string().contains("operator register"));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_work_are_refused_at_the_start() {
    let mut world = World::start(|_| {}).await;
    let token = tokio_util::sync::CancellationToken::new;
    let refused = async |change: &dyn Fn(&mut compute_futures_relayer::config::Config)| {
        let mut config = world.config.clone();
        change(&mut config);
        format!("{:#}", compute_futures_relayer::start(config, token()).await.unwrap_err())
    };
    let taken = world.url.trim_start_matches("http://").to_owned();
    assert!(refused(&|config| config.server.bind.clone_from(&taken)).await.contains("server.bind: cannot listen"));
    assert!(refused(&|config| config.base.contract = config.base.token).await.contains("base"));
    assert!(
        refused(&|config| config.base.operator_key = config.base.facilitator_key.clone()).await.contains("two keys")
    );
    let poor = refused(&|config| {
        config.base.operator_key = config.base.facilitator_key.clone();
        config.base.facilitator_url = "http://127.0.0.1:9".into();
        config.terms.set_on_start = false;
    });
    assert!(poor.await.contains("is not registered as an operator"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_chain_it_says_so_and_recovers() {
    let mut world = World::start(|config| config.base.request_timeout_ms = 500).await;
    world.ready().await;
    world.chain.pause().unwrap();
    let mut seen = Value::Null;
    for _ in 0..100 {
        let response = world.get("/ready").await;
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            seen = response.json().await.unwrap();
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let chain = seen["checks"].as_array().expect("not ready").iter().find(|check| check["name"] == "chain").unwrap();
    assert_eq!(chain["ok"], false, "{seen}");
    assert_eq!(world.get("/health").await.status(), StatusCode::OK, "the process lives all the same");
    world.chain.resume().unwrap();
    world.ready().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_a_chain_that_is_not_there_yet_and_can_be_stopped_meanwhile() {
    let mut world = World::start(|_| {}).await;
    world.stop().await;
    world.chain.stop().await.unwrap();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let starting = tokio::spawn(compute_futures_relayer::start(world.config.clone(), shutdown.clone()));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!starting.is_finished());
    shutdown.cancel();
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(5), starting).await.unwrap().unwrap();
    assert!(stopped.unwrap_err().to_string().contains("stopped while waiting"));

    let shutdown = tokio_util::sync::CancellationToken::new();
    let starting = tokio::spawn(compute_futures_relayer::start(world.config.clone(), shutdown.clone()));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    world.chain.start_again().await.unwrap();
    let running = tokio::time::timeout(std::time::Duration::from_secs(20), starting).await.unwrap().unwrap().unwrap();
    shutdown.cancel();
    running.finished().await.unwrap();
}
