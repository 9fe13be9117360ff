//! The quickstart with the stock JavaScript client, on anvil with Circle's USDC.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::local::{AGENT, Local};
use crate::world::usdc;

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
    let local = Local::start().await;
    let before = local.balance(AGENT).await;
    let all = node("quickstart.mjs", &[&local.url, &local.chain.keys[AGENT]]).await;

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
    // The job and three gate prices are gone, nothing else.
    let spent = before.checked_sub(local.balance(AGENT).await).unwrap();
    assert_eq!(spent, usdc(27_000 + 10_000 + 1_000 + 10_000));
    local.stop().await;
}
