//! Clients that are not ours: `@x402/fetch` with V2 and V1, `x402` for Python, `x402-reqwest`, each on both chains. Only base URL and
//! wallet are given to them, on Solana the RPC as well.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;

use compute_futures_cli::client::Request;
use compute_futures_protocol::{AccountId, Chain, TransactionId};
use compute_futures_tests::{Books, World, Worlds, usdc};
use serde_json::{Value, json};

/// The interpreter that has the stock client for Python.
pub(crate) fn python() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/tools/x402-python/bin/python");
    assert!(path.is_file(), "the stock x402 client for Python is not installed: run `scripts/need.sh x402_python`");
    path
}

/// Runs a script of `tests/clients` with the `wallet`-th funded key, and with this environment besides.
pub(crate) async fn script(
    world: &World,
    program: impl AsRef<OsStr>,
    script: &str,
    wallet: usize,
    env: &[(&str, String)],
) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/").to_owned() + script;
    let output = tokio::process::Command::new(&program)
        .arg(&script)
        .env("RELAYER", world.file.relayer.as_str().trim_end_matches('/'))
        .env("KEY", world.key_text(wallet))
        .env("NETWORK", world.chain.caip2())
        .envs(env.iter().map(|(name, value)| (*name, value.as_str())))
        .env("SOLANA_RPC", world.file.solana.as_ref().map(|net| net.rpc.to_string()).unwrap_or_default())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display()));
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

/// The same three calls with the stock client in Rust, in the shape of the scripts' output.
async fn reqwest(world: &World, wallet: usize) -> Value {
    let key = world.key(wallet);
    let payer = world.stock(&key);
    let call = async |path: &str, body: Value| {
        let request = Request::post(format!("/api/v1/compute-futures/{path}"), &body);
        let answer = payer.send(&world.relayer, &request).await.expect("the call is paid and answered");
        json!({ "answer": answer.body, "payment": answer.payment })
    };
    let deposit = call("deposit", json!({ "depositor": key.address(), "amount": "50" })).await;
    let futures_id = deposit["answer"]["computeFuture"]["id"].clone();
    let messages = json!([{ "role": "user", "content": "Summarize this filing: Revenue rose. Costs fell." }]);
    let execute =
        call("execute", json!({ "futuresId": futures_id, "type": "text-inference", "messages": messages })).await;
    let refund = call("refund", json!({ "futuresId": futures_id, "caller": key.address() })).await;
    json!({ "futuresId": futures_id, "deposit": deposit, "execute": execute, "refund": refund })
}

/// What the quickstart promises, whoever makes the calls. Returns the account.
fn as_promised(chain: Chain, client: &str, network: &str, all: &Value) -> AccountId {
    let account = &all["deposit"]["answer"]["computeFuture"];
    assert!(account["id"].as_str().is_some_and(|id| id.starts_with("CFE-") && id.len() == 12), "{client}: {account}");
    assert_eq!(account["tier"], "scale", "{client}: {account}");
    assert_eq!(account["discount"], "10% discount", "{client}: {account}");
    assert_eq!(account["balanceRemaining"], "50 USDC", "{client}: {account}");

    let job = &all["execute"]["answer"];
    assert!(job["compute"]["choices"][0]["message"]["content"].is_string(), "{client}: {job}");
    assert_eq!(job["billing"]["charged"], "$0.027", "{client}: {job}");
    assert_eq!(job["billing"]["balanceRemaining"], "$49.973 USDC", "{client}: {job}");
    assert_eq!(job["receipt"]["charged"], "27000", "{client}: {job}");

    let refund = &all["refund"]["answer"]["refund"];
    assert_eq!(refund["refundAmount"], "49.973 USDC", "{client}: {refund}");
    assert_eq!(refund["status"], "completed", "{client}: {refund}");
    assert_eq!(refund["jobsExecuted"], 1, "{client}: {refund}");

    for call in ["deposit", "execute", "refund"] {
        let payment = &all[call]["payment"];
        assert_eq!(payment["success"], true, "{client}, {call}: {payment}");
        assert_eq!(payment["network"], network, "{client}, {call}: {payment}");
        let transaction: Option<TransactionId> = payment["transaction"].as_str().and_then(|text| text.parse().ok());
        let there = transaction.is_some_and(|id| id.evm().is_some() == chain.evm_chain_id().is_some());
        assert!(there, "{client}, {call}: {payment}");
    }
    account["accountId"].as_str().expect("an account id").parse().expect("an account id")
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_clients_deposit_run_a_job_and_take_the_rest_back() {
    Worlds::start("e2e-stock").await.each(async |world| stock_clients(world).await).await;
}

async fn stock_clients(world: &World) {
    let before = [0, 1, 2, 3].map(|wallet| world.usdc_of(world.wallet(wallet).address()));
    let before = futures::future::join_all(before).await;

    let on = if world.chain == Chain::Solana { "-solana" } else { "" };
    let scripts = [".mjs", "-v1.mjs", ".py"].map(|end| format!("quickstart{on}{end}"));
    let (v2, v1, rust, python) = tokio::join!(
        script(world, "node", &scripts[0], 0, &[]),
        script(world, "node", &scripts[1], 1, &[]),
        reqwest(world, 2),
        script(world, python(), &scripts[2], 3, &[]),
    );
    let (network, name) = (world.chain.caip2(), world.chain.v1_name());
    let accounts = [
        as_promised(world.chain, "@x402/fetch V2", network, &v2),
        as_promised(world.chain, "@x402/fetch V1", name, &v1),
        as_promised(world.chain, "x402-reqwest", network, &rust),
        as_promised(world.chain, "x402 for Python", network, &python),
    ];
    for (wallet, before) in before.into_iter().enumerate() {
        let spent = before.checked_sub(world.usdc_of(world.wallet(wallet).address()).await).expect("it paid");
        // The job, and the prices of the three calls: 0.027 + 0.01 + 0.001 + 0.01.
        assert_eq!(spent, usdc("0.048"), "wallet {wallet}");
    }
    let status = world.admin(&Request::get(world.here("/admin/v1/status"))).await.body;
    // Four times 0.01 + 0.001 + 0.01: what became credit is not the operator's.
    assert_eq!(status["gateRevenueMicroUsdc"], "84000", "{status}");
    assert_eq!(status["leader"], true, "{status}");
    let books = Books::balanced(world, &accounts).await;
    for account in accounts {
        assert_eq!(books.jobs(account), 1);
        assert_eq!(books.charged(account), usdc("0.027"));
    }
}
