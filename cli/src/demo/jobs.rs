//! Jobs: the stock JavaScript client, and many at once by signature.

use std::path::Path;
use std::sync::Arc;

use compute_futures_protocol::{Chain, Usdc};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::stage::Stage;
use super::texts::excerpt;
use super::world::{Agent, World};
use crate::client::{ClientError, CreditPayer, Limits, Request};
use crate::failure::{Failure, Outcome};

/// The quickstart with the stock client, from the repository: the script, and the package that signs.
const fn quickstart_on(chain: Chain) -> (&'static str, &'static str) {
    match chain {
        Chain::Solana | Chain::SolanaDevnet => ("tests/clients/quickstart-solana.mjs", "node_modules/@x402/svm"),
        _ => ("tests/clients/quickstart.mjs", "node_modules/@x402/evm"),
    }
}
/// Jobs in flight at once.
const CONCURRENCY: usize = 64;
/// One job in this many computes embeddings.
const EMBEDDINGS_EVERY: usize = 5;

/// Deposit, execute, refund with `@x402/fetch`: three calls, no code of ours.
pub(super) async fn quickstart(world: &World, stage: &mut Stage) -> Outcome<()> {
    let (script, package) = quickstart_on(world.chain);
    if !Path::new(script).is_file() || !Path::new(package).is_dir() {
        return Err(Failure::new(
            "no_stock_client",
            format!("{script} or its npm packages are not here"),
            "run the demo from the repository's root, after npm ci (`make demo` does both)",
        ));
    }
    let key = world.file.funded_keys(world.chain).get(3).cloned().unwrap_or_default();
    let rpc = world.file.solana.as_ref().map(|net| net.rpc.to_string()).unwrap_or_default();
    let output = Command::new("node")
        .arg(script)
        .env("RELAYER", world.relayer.base().as_str().trim_end_matches('/'))
        .env("KEY", key)
        .env("SOLANA_RPC", rpc)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| Failure::new("no_node", format!("node: {error}"), "install Node.js 20 or newer"))?;
    if !output.status.success() {
        return Err(Failure::broken(format!("the stock client failed:\n{}", String::from_utf8_lossy(&output.stderr))));
    }
    let answer: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::broken(format!("the stock client's output: {error}")))?;
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
    stage.says(format!("deposit → {} ({})", text("/futuresId"), text("/deposit/answer/computeFuture/discount")));
    stage.says(format!("execute → charged {}", text("/execute/answer/billing/charged")));
    stage.says(format!("refund  → {}", text("/refund/answer/refund/refundAmount")));
    stage.holds(
        "the stock client was charged $0.027: the list price of $0.03 less 10 %",
        text("/execute/answer/billing/charged") == "$0.027",
    )?;
    stage.holds(
        "the stock client got 49.973 USDC back",
        text("/refund/answer/refund/refundAmount").starts_with("49.973"),
    )
}

/// Many jobs at once on one account. Every answer comes with a receipt that was checked before it counts.
pub(super) async fn concurrent(world: &World, stage: &mut Stage, agent: &mut Agent, count: u32) -> Outcome<()> {
    let payer = Arc::new(world.payer(agent)?);
    let futures_id = agent.account()?.futures_id(world.chain).to_string();
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    let bar = stage.bar(u64::from(count), "jobs");
    let started = std::time::Instant::now();
    let mut jobs = JoinSet::new();
    for number in 0..count as usize {
        let (payer, relayer, permits) = (payer.clone(), world.relayer.clone(), permits.clone());
        let request = job(&futures_id, number);
        jobs.spawn(async move {
            let _permit = permits.acquire_owned().await;
            payer.send(&relayer, &request, &Limits::default()).await
        });
    }
    while let Some(done) = jobs.join_next().await {
        let paid = done.map_err(|error| Failure::broken(error.to_string()))??;
        agent.receipts.push(paid.receipt.signed);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let took = started.elapsed();
    let mut sequences: Vec<u64> = agent.receipts.iter().map(|signed| signed.receipt.sequence).collect();
    sequences.sort_unstable();
    let in_order = sequences.iter().zip(1..).all(|(sequence, expected)| *sequence == expected);
    stage.says(format!("{count} jobs, {CONCURRENCY} at a time, in {} ms", took.as_millis()));
    stage
        .holds(format!("{count} answers, {count} receipts signed by the operator, numbered without a gap"), in_order)?;
    once(world, stage, agent, &payer, &futures_id).await?;
    foreign(world, stage, &payer, &futures_id).await
}

/// One job of an agent.
pub(super) async fn one(world: &World, agent: &mut Agent, number: usize) -> Outcome<Usdc> {
    let futures_id = agent.account()?.futures_id(world.chain).to_string();
    let paid = world.payer(agent)?.send(&world.relayer, &job(&futures_id, number), &Limits::default()).await?;
    let charged = paid.receipt.signed.receipt.charged;
    agent.receipts.push(paid.receipt.signed);
    Ok(charged)
}

/// The same payment twice is one job: same answer, one charge (I-5).
async fn once(
    world: &World,
    stage: &mut Stage,
    agent: &mut Agent,
    payer: &CreditPayer,
    futures_id: &str,
) -> Outcome<()> {
    let request = job(futures_id, 1);
    let offer = world.relayer.offer(&request).await?;
    let terms = payer.terms(Some(&offer))?;
    let authorization = payer.authorization(&request, terms.max_list);
    let headers = payer.headers(&terms, &authorization, None)?;
    let first = world.relayer.send(&request, &headers).await?.success()?;
    let again = world.relayer.send(&request, &headers).await?.success()?;
    stage.holds(
        "the same payment sent twice: the same answer, byte for byte, charged once",
        first.bytes == again.bytes,
    )?;
    agent.receipts.push(crate::client::receipt_of(&first)?);
    Ok(())
}

/// Somebody else's signature spends nothing.
async fn foreign(world: &World, stage: &mut Stage, payer: &CreditPayer, futures_id: &str) -> Outcome<()> {
    let thief = CreditPayer { signer: world.stranger()?.signer, ..payer.clone() };
    let refused = thief.send(&world.relayer, &job(futures_id, 2), &Limits::default()).await;
    let code = match refused {
        Err(ClientError::Refused { status: 403, code, .. }) => code,
        other => return Err(Failure::broken(format!("a stranger's signature was not refused with 403: {other:?}"))),
    };
    stage.holds(format!("a stranger's signature is refused: 403 {code}"), code == "not_account_spender")
}

fn job(futures_id: &str, number: usize) -> Request {
    let text = excerpt(number);
    let body = if number % EMBEDDINGS_EVERY == EMBEDDINGS_EVERY - 1 {
        json!({ "futuresId": futures_id, "type": "embeddings", "model": "auto", "input": text.split("\n\n").collect::<Vec<_>>() })
    } else {
        json!({
            "futuresId": futures_id,
            "type": "text-inference",
            "model": "auto",
            "messages": [{ "role": "user", "content": text }],
        })
    };
    Request::post("/api/v1/compute-futures/execute", &body)
}
