//! MCP clients that are not ours: `rmcp` over standard input and output, the official JavaScript client over streamable HTTP.

use compute_futures_cli::args::Only;
use compute_futures_protocol::{Chain, Usdc};
use compute_futures_tests::{Books, World, Worlds, usdc};
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::TokioChildProcess;
use rmcp::{ServiceExt, service::ServiceError};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::process::{cli, script, serve};

const TOOLS: [&str; 35] = [
    "balance",
    "batch",
    "deposit",
    "document",
    "embeddings",
    "escrow_allow",
    "escrow_create",
    "escrow_disallow",
    "escrow_expire",
    "escrow_fund",
    "escrow_refund",
    "escrow_show",
    "estimate",
    "history",
    "image",
    "market_close",
    "market_open",
    "market_providers",
    "market_quote",
    "market_run",
    "market_session",
    "models",
    "provider_metrics",
    "provider_register",
    "provider_retire",
    "provider_show",
    "provider_update",
    "provider_withdraw",
    "refund",
    "speech",
    "status",
    "text",
    "transcription",
    "verify",
    "video",
];

/// A session over standard input and output.
pub(crate) struct Session(pub(crate) RunningService<RoleClient, ()>);

impl Session {
    pub(crate) async fn start(world: &World, wallet: usize, args: &[&str]) -> Self {
        let mut command = cli(world, wallet);
        command.arg("mcp").args(args);
        Self::of(command).await
    }

    /// With the server that a command starts.
    pub(crate) async fn of(server: Command) -> Self {
        let transport = TokioChildProcess::new(server).expect("the server starts");
        Self(().serve(transport).await.expect("it speaks the protocol"))
    }

    async fn call(&self, tool: &'static str, args: Value) -> Result<CallToolResult, ServiceError> {
        let args = args.as_object().cloned().unwrap_or_default();
        self.0.call_tool(CallToolRequestParams::new(tool).with_arguments(args)).await
    }

    /// A call that must succeed.
    pub(crate) async fn ok(&self, tool: &'static str, args: Value) -> Value {
        let result = self.call(tool, args).await.expect("an answer");
        assert_ne!(result.is_error, Some(true), "{tool}: {result:?}");
        result.structured_content.expect("structured content")
    }

    /// Whether a call fails, be it by the tool or by the protocol.
    pub(crate) async fn fails(&self, tool: &'static str, args: Value) -> bool {
        self.call(tool, args).await.map_or(true, |result| result.is_error == Some(true))
    }

    /// A call that must be refused, with a hint. Returns the code.
    pub(crate) async fn refused(&self, tool: &'static str, args: Value) -> String {
        let result = self.call(tool, args).await.expect("an answer");
        assert_eq!(result.is_error, Some(true), "{tool}: {result:?}");
        let error = result.structured_content.expect("structured content");
        assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{tool}: {error}");
        error["code"].as_str().expect("a code").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mcp_client_runs_jobs_within_its_limits() {
    Worlds::start("ways-in-mcp").await.each(runs_jobs_within_limits).await;
}

async fn runs_jobs_within_limits(world: &World) {
    let agent = world.agent(0, "50", Usdc::MAX).await;
    let futures_id = agent.futures_id();
    let session = Session::start(world, 0, &["--account", &futures_id, "--limit", "0.2"]).await;
    let mut tools: Vec<String> =
        session.0.list_all_tools().await.expect("a list").into_iter().map(|tool| tool.name.into_owned()).collect();
    tools.sort();
    assert_eq!(tools, TOOLS);

    let models = session.ok("models", json!({ "kind": "embeddings" })).await;
    assert!(models["models"].as_array().is_some_and(|models| !models.is_empty()), "{models}");
    let job = json!({ "prompt": "Revenue rose. Costs fell. The year was good.", "max_tokens": 64 });
    let estimate = session.ok("estimate", json!({ "type": "text-inference", "prompt": "Revenue rose." })).await;
    assert_eq!(estimate["priceMicroUsdc"], "30000", "{estimate}");
    let text = session.ok("text", job.clone()).await;
    assert!(text["compute"]["choices"][0]["message"]["content"].is_string(), "{text}");
    assert_eq!((&text["session"]["spentUsdc"], &text["session"]["leftUsdc"]), (&json!("0.027"), &json!("0.173")));
    let vectors = session.ok("embeddings", json!({ "input": ["one", "two"] })).await;
    assert_eq!(vectors["compute"]["data"].as_array().map(Vec::len), Some(2), "{vectors}");
    let document = json!({ "document": "SGVsbG8sIGRvY3VtZW50Lg==", "content_type": "text/plain" });
    let document = session.ok("document", document).await;
    assert!(document["compute"]["text"].as_str().is_some_and(|text| text.contains("Hello, document")), "{document}");
    let balance = session.ok("balance", json!({})).await;
    assert!(balance.to_string().contains(&futures_id), "{balance}");
    let history = session.ok("history", json!({ "limit": 10 })).await;
    assert!(history.to_string().contains("text-inference"), "{history}");
    let batch = json!({ "jobs": [
        { "type": "text-inference", "prompt": "One. Two. Three." }, { "type": "embeddings", "input": ["a"] },
    ] });
    let batch = session.ok("batch", batch).await;
    assert!(batch.to_string().contains("jobId"), "{batch}");

    // What has no provider here is said so before anything is paid; what is wrong too.
    assert_eq!(session.refused("video", json!({ "prompt": "a lake" })).await, "model_unavailable");
    assert_eq!(session.refused("text", json!({ "prompt": "a", "model": "no/such" })).await, "unknown_model");
    assert_eq!(session.refused("status", json!({ "job_id": "../balance" })).await, "invalid_job_id");
    assert_eq!(session.refused("refund", json!({ "confirm": false })).await, "not_confirmed");
    assert_eq!(session.refused("deposit", json!({ "amount": "20", "pay": true })).await, "deposit_limit");
    assert!(session.fails("text", json!({ "prompt": "a", "surprise": 1 })).await, "no unknown fields");
    let address = session.ok("deposit", json!({ "amount": "20" })).await;
    assert!(address["depositAddress"].is_string() && address["instructions"].is_string(), "{address}");

    let mut runs = 0;
    while session.call("text", job.clone()).await.expect("an answer").is_error != Some(true) {
        runs += 1;
        assert!(runs < 10, "the limit ends it");
    }
    assert_eq!(session.refused("text", job).await, "session_limit");

    world.flush().await;
    let receipt = text["receipt"].clone();
    let verified = world
        .until("the receipt to be on-chain", || async {
            let verified = session.ok("verify", json!({ "receipt": receipt })).await;
            (verified["holds"] == true).then_some(verified)
        })
        .await;
    assert!(verified["checks"].as_array().is_some_and(|checks| checks.len() > 3), "{verified}");
    let mut forged = receipt;
    forged["charged"] = json!("1");
    assert_eq!(session.ok("verify", json!({ "receipt": forged })).await["holds"], false);
    session.0.cancel().await.expect("it ends");
    Books::balanced(world, &[agent.account]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_opens_an_account_spends_and_takes_the_rest_back() {
    Worlds::start("ways-in-mcp-account").await.each(opens_spends_and_takes_back).await;
}

async fn opens_spends_and_takes_back(world: &World) {
    let session = Session::start(world, 1, &["--deposit-limit", "25"]).await;
    assert_eq!(session.refused("text", json!({ "prompt": "Too early." })).await, "no_account");
    let opened = session.ok("deposit", json!({ "amount": "20", "pay": true })).await;
    assert_eq!(opened["computeFuture"]["balanceRemaining"], "20 USDC", "{opened}");
    assert_eq!(session.refused("deposit", json!({ "amount": "6", "pay": true })).await, "deposit_limit");
    session.ok("text", json!({ "prompt": "Revenue rose. Costs fell. The year was good." })).await;
    let before = world.usdc_of(world.wallet(1).address()).await;
    let refund = session.ok("refund", json!({ "confirm": true })).await;
    assert!(["completed", "pending"].contains(&refund["refund"]["status"].as_str().unwrap_or_default()), "{refund}");
    // 20 less the job at 0.0285 and the order of the refund at 0.0095.
    let all = before.checked_add(usdc("19.962")).expect("an amount");
    world
        .until("the rest to be back", || async {
            (world.usdc_of(world.wallet(1).address()).await == all).then_some(())
        })
        .await;
    session.0.cancel().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_speaks_streamable_http_and_strangers_do_not() {
    let worlds = Worlds::start_on(Some(Only::Base), "ways-in-mcp-http", &[]).await;
    let world = &worlds.on(Chain::Base);
    let agent = world.agent(0, "10", Usdc::MAX).await;
    let (mut server, said) = serve(cli(world, 0).args(["mcp", "--http", "0", "--account", &agent.futures_id()])).await;
    let (url, key) = (said["url"].as_str().expect("a URL"), said["key"].as_str().expect("a key"));
    let all = script("node", "mcp.mjs", &[("URL", url), ("KEY", key)]).await;
    assert_eq!(all["tools"].as_array().map(Vec::len), Some(TOOLS.len()), "{all}");
    assert_ne!(all["text"]["isError"], true, "{all}");
    assert!(all["text"]["structuredContent"]["receipt"].is_object(), "{all}");
    let http = reqwest::Client::new();
    for (name, value, status) in [
        ("origin", "https://evil.example".to_owned(), 403),
        ("host", "evil.example".to_owned(), 403),
        ("authorization", "Bearer another".to_owned(), 401),
    ] {
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {key}").parse().expect("a header"));
        headers.insert(name, value.parse().expect("a header"));
        let request = http.post(url).headers(headers).header("content-type", "application/json");
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
        let answer = request.header("accept", "application/json, text/event-stream").body(body).send().await;
        assert_eq!(answer.expect("an answer").status().as_u16(), status, "{name}");
    }
    server.kill().await.expect("it was ours");
}
