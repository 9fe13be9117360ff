//! The official OpenAI clients through the proxy: they know nothing of payments.

use compute_futures_protocol::Usdc;
use compute_futures_tests::{Books, World, Worlds};
use serde_json::Value;

use crate::process::{cli, python, script, serve};

/// What both clients were answered.
fn as_openai_does(client: &str, all: &Value) {
    assert!(all["models"].as_array().is_some_and(|models| !models.is_empty()), "{client}: {all}");
    let text = all["text"].as_str().unwrap_or_else(|| panic!("{client}: {all}"));
    assert!(text.contains("Revenue") || text.contains("year"), "{client}: {text}");
    assert_eq!(all["streamed"], text, "{client}: the stream is the answer in pieces");
    assert!(all["chunks"].as_u64().is_some_and(|chunks| chunks > 1), "{client}: {all}");
    assert!(all["usage"]["total_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{client}: {all}");
    let vectors = all["vectors"].as_array().expect("a list");
    assert_eq!(vectors.len(), 2, "{client}");
    for vector in vectors {
        let numbers: Vec<f64> = vector.as_array().expect("a vector").iter().filter_map(Value::as_f64).collect();
        let length = numbers.iter().map(|x| x.powi(2)).sum::<f64>();
        assert!(
            numbers.len() > 10 && (0.99..1.01).contains(&length),
            "{client}: {} numbers of length {length}",
            numbers.len()
        );
    }
    assert_eq!(all["refused"]["code"], "unknown_model", "{client}: {all}");
    assert!(all["refused"]["status"].as_u64().is_some_and(|status| (400..405).contains(&status)), "{client}: {all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_clients_spend_a_budget_through_the_proxy() {
    Worlds::start("ways-in-openai").await.each(spend_a_budget).await;
}

async fn spend_a_budget(world: &World) {
    let agent = world.agent(0, "50", Usdc::MAX).await;
    let start = async |limit: &str| {
        serve(cli(world, 0).args(["proxy", "--port", "0", "--limit", limit, "--account", &agent.futures_id()])).await
    };
    let (mut proxy, said) = start("1").await;
    let (url, key) = (said["baseUrl"].as_str().expect("a URL"), said["apiKey"].as_str().expect("a key"));
    let env = [("OPENAI_BASE_URL", url), ("OPENAI_API_KEY", key)];
    let (node, python) = tokio::join!(script("node", "openai.mjs", &env), script(python(), "openai_client.py", &env));
    as_openai_does("Node", &node);
    as_openai_does("Python", &python);
    proxy.kill().await.expect("it was ours");

    // Each ran two chats at 0.027 and one embedding at 0.0045; the account had one job before.
    let books = Books::balanced(world, &[agent.account]).await;
    assert_eq!(books.jobs(agent.account), 1 + 2 * 3);

    let (mut spent, said) = start("0.03").await;
    let http = reqwest::Client::new();
    let mut codes = Vec::new();
    for _ in 0..2 {
        let body = r#"{"model":"auto","messages":[{"role":"user","content":"One. Two. Three."}]}"#;
        let request = http.post(format!("{}/chat/completions", said["baseUrl"].as_str().expect("a URL")));
        let request = request.bearer_auth(said["apiKey"].as_str().expect("a key")).body(body);
        let answer = request.header("content-type", "application/json").send().await.expect("an answer");
        codes.push((answer.status().as_u16(), answer.json::<Value>().await.expect("JSON")["error"]["code"].clone()));
    }
    assert_eq!(codes[0].0, 200, "{codes:?}");
    assert_eq!((codes[1].0, codes[1].1.as_str()), (402, Some("session_limit")), "{codes:?}");
    spent.kill().await.expect("it was ours");
}
