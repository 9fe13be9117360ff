//! Speech through the local proxy, both ways, with the official OpenAI clients: bytes out (whole and piece by piece), a form in. The
//! provider speaks OpenAI's wire format.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::Usdc;
use compute_futures_tests::{Books, Cloud, World, Worlds, usdc};
use serde_json::{Value, json};

use crate::process::{cli, python, script, serve};

#[tokio::test(flavor = "multi_thread")]
async fn the_official_clients_speak_and_listen_through_the_proxy() {
    let cloud = Cloud::start().await;
    Worlds::start_with("ways-in-speech", &cloud.settings()).await.each(speak_and_listen).await;
    let seen = cloud.seen();
    assert!(seen.contains(&"speech") && seen.contains(&"transcription"), "{seen:?}");
}

async fn speak_and_listen(world: &World) {
    let agent = world.agent(0, "50", Usdc::MAX).await;
    let args = ["proxy", "--port", "0", "--limit", "1", "--account", &agent.futures_id()];
    let (mut proxy, said) = serve(cli(world, 0).args(args)).await;
    let (url, key) = (said["baseUrl"].as_str().expect("a URL"), said["apiKey"].as_str().expect("a key"));
    let env = [("OPENAI_BASE_URL", url), ("OPENAI_API_KEY", key)];
    let (node, python) = tokio::join!(script("node", "speech.mjs", &env), script(python(), "speech_client.py", &env));
    for (client, all) in [("Node", &node), ("Python", &python)] {
        heard(client, all);
    }
    // The proxy took the bytes for good only because they are those that the receipt names: one byte less, and the connection breaks
    // (`cli::proxy::tests`). What its own limit refuses is never sent.
    proxy.kill().await.expect("it was ours");
    let (mut poor, said) = serve(cli(world, 0).args(args).args(["--max", "0.02"])).await;
    let http = reqwest::Client::new().post(format!("{}/audio/speech", said["baseUrl"].as_str().expect("a URL")));
    let http = http.bearer_auth(said["apiKey"].as_str().expect("a key"));
    let refused = http.json(&json!({ "model": "auto", "input": "Hello." })).send().await.expect("an answer");
    assert_eq!(refused.status(), 402);
    poor.kill().await.expect("it was ours");

    // Each client was charged for one speech and two transcriptions at 10% off, for nothing that was refused.
    let books = Books::balanced(world, &[agent.account]).await;
    let mut charged: Vec<Usdc> =
        books.receipts[&agent.account].iter().skip(1).map(|signed| signed.receipt.charged).collect();
    charged.sort();
    let (ear, voice) = (usdc("0.018"), usdc("0.027"));
    assert_eq!(charged, [ear, ear, ear, ear, voice, voice]);
}

fn heard(client: &str, all: &Value) {
    assert_eq!(all["audio"], STANDARD.encode(Cloud::voice()), "{client}: {all}");
    assert_eq!(all["type"], "audio/mpeg", "{client}");
    assert_eq!(all["heard"], Cloud::HEARD, "{client}");
    assert_eq!(all["plain"].as_str().map(str::trim), Some(Cloud::HEARD), "{client}: {all}");
    assert!(all["refused"]["status"].as_u64().is_some_and(|status| (400..503).contains(&status)), "{client}: {all}");
    assert_eq!(all["refused"]["code"], "provider_refused", "{client}: {all}");
}
