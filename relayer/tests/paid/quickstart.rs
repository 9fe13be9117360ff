//! The quickstart with the stock JavaScript client, on anvil with Circle's USDC.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use compute_futures_chain::ChainReader;
use compute_futures_chain::evm::KeySource;
use compute_futures_chain::evm::local::LocalChain;
use compute_futures_protocol::Usdc;
use compute_futures_relayer::Running;
use compute_futures_relayer::config::Config;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Which of the development keys is whose.
const AGENT: usize = 1;
const OPERATOR: usize = 2;
const FACILITATOR: usize = 3;

fn usdc(micros: u64) -> Usdc {
    Usdc::from_micros(micros)
}

fn key_file(folder: &Path, name: &str, key: &str) -> KeySource {
    use std::io::Write;
    let path = folder.join(name);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(key.as_bytes()).unwrap();
    KeySource::File { file: path }
}

async fn relayer(chain: &LocalChain, folder: &Path, stop: CancellationToken) -> Running {
    let mut config = Config::default();
    config.server.bind = "127.0.0.1:0".into();
    config.chain.rpc_urls = vec![chain.rpc_url.to_string()];
    config.chain.contract = chain.contract;
    config.chain.token = chain.usdc;
    config.chain.deployment_block = chain.deployment_block;
    config.chain.poll_interval_ms = 100;
    config.keys.operator = key_file(folder, "operator", &chain.keys[OPERATOR]);
    config.keys.facilitator = key_file(folder, "facilitator", &chain.keys[FACILITATOR]);
    config.ledger.url = format!("sqlite://{}/ledger.db", folder.display());
    compute_futures_relayer::start(config, stop).await.unwrap()
}

async fn node(script: &str, arguments: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/paid").join(script);
    let output = tokio::process::Command::new("node")
        .arg(script)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quickstart_runs_with_the_stock_client() {
    let chain = LocalChain::start().await.unwrap();
    let agent = chain.signer(AGENT).unwrap().address();
    chain.mint(agent, usdc(60_000_000)).await.unwrap();
    let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let running = relayer(&chain, folder.path(), stop.clone()).await;

    let url = format!("http://{}", running.addr);
    let all = node("quickstart.mjs", &[&url, &chain.keys[AGENT]]).await;

    let account = &all["acct"]["computeFuture"];
    assert!(account["id"].as_str().unwrap().starts_with("CFE-"), "{account}");
    assert_eq!(account["tier"], "scale");
    assert_eq!(account["discount"], "10% discount");
    assert_eq!(account["balanceRemaining"], "50 USDC");
    assert_eq!(account["balanceRemainingMicroUsdc"], "50000000");

    let job = &all["job"];
    assert_eq!(job["billing"]["charged"], "$0.027");
    assert_eq!(job["billing"]["balanceRemaining"], "$49.973 USDC");
    assert_eq!(job["receipt"]["charged"], "27000");
    assert!(job["compute"]["choices"][0]["message"]["content"].is_string(), "{job}");

    let refund = &all["refund"]["refund"];
    assert_eq!(refund["refundAmount"], "49.973 USDC");
    assert_eq!(refund["jobsExecuted"], 1);
    assert_eq!(refund["status"], "completed");

    // Every second answer is the paid one, and says what settled.
    let answers = all["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 6);
    for (place, answer) in answers.iter().enumerate() {
        let paid = place % 2 == 1;
        assert_eq!(answer["status"], if paid { 200 } else { 402 }, "{answer}");
        assert_eq!(answer["report"]["success"], if paid { json!(true) } else { Value::Null }, "{answer}");
    }
    // 60 − 50.01 − 0.001 − 0.01 + 49.973: the job and three gate prices are gone, nothing else.
    let reader = chain.reader().await.unwrap();
    assert_eq!(reader.token_balance(agent, None).await.unwrap(), usdc(60_000_000 - 27_000 - 10_000 - 1_000 - 10_000));
    stop.cancel();
    running.finished().await.unwrap();
}
