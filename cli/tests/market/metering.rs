//! The whole of it: a provider that serves, the devnet's relayer that meters, an agent without gas or USDC.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{AGENT, CONTENT, CREATOR, PROVIDER, STRANGER, Serving, number, text};
use crate::support::{Mcp, Side};

/// From a budget to a closed session whose receipts are under the root on chain.
pub(crate) async fn metering(net: &Side<'_>) {
    let content = net.file("metering.toml", CONTENT);
    let provider = number(&net.ok(PROVIDER, &["provider", "register", &content])["providerId"]);
    let meter = net.devnet().operator(net.chain).unwrap().0.to_string();
    let serving = Serving::start(net, &provider, &meter, "local");
    let endpoint = CONTENT.replace("https://inference.example/v1", &serving.url);
    net.ok(PROVIDER, &["provider", "update", &provider, &net.file("metering.toml", &endpoint)]);

    let agent = net.address(AGENT);
    let create =
        ["escrow", "create", "20", "--session-limit", "5", "--for", "2h", "--agent", &agent, "--meter", &meter];
    let created = if net.network == "local" {
        net.ok(CREATOR, &[&create[..], &["--gasless"]].concat())
    } else {
        net.ok(CREATOR, &create)
    };
    let escrow = number(&created["escrowId"]);
    let listed = net.eventually(STRANGER, &["provider", "list", "--sort", "price", "--max-output-price", "0.0003"]);
    assert!(listed["providers"].as_array().is_some_and(|all| !all.is_empty()), "{listed}");
    let open = ["session", "open", &escrow, "--provider", &provider, "--limit", "1", "--for", "1h", "--relay"];
    let opened = net.eventually(AGENT, &open);
    let session = text(&opened, "/sessionId").to_owned();

    let prompt = "Rivers carry water to the sea. Rivers begin in mountains. I had lunch.";
    let run =
        ["session", "run", &escrow, "--model", "m", "--prompt", prompt, "--session", &session, "--max-tokens", "64"];
    let answer = net.eventually(AGENT, &run);
    assert!(text(&answer, "/choices/0/message/content").contains("Rivers"), "{answer}");
    assert_eq!((&answer["receiptChecked"], &answer["pricesChecked"]), (&json!(true), &json!(true)), "{answer}");
    let routed = ["session", "run", &escrow, "--model", "m", "--prompt", prompt];
    assert_eq!(text(&net.ok(AGENT, &routed), "/cost/sessionId"), session);
    assert_eq!(net.refused(STRANGER, &run), "not_session_agent");
    let mut mcp = Mcp::start(net, AGENT, &["mcp", "--limit", "0.5"]);
    let id: u32 = escrow.parse().unwrap();
    assert_eq!(mcp.ok("escrow_show", json!({ "escrow": id }))["reserved"], "1000000");
    mcp.ok("market_quote", json!({ "escrow": id, "model": "m", "limit": "0.1" }));
    mcp.ok("market_run", json!({ "escrow": id, "model": "m", "prompt": prompt, "session": session }));
    assert_eq!(mcp.ok("market_session", json!({ "session": session }))["receiptCount"], 3);

    let receipts = net.ok(STRANGER, &["session", "receipts", &session]);
    assert_eq!((&receipts["checked"]["signatures"], &receipts["checked"]["onChain"]), (&json!(3), &json!(false)));
    assert_eq!(net.refused(STRANGER, &["session", "close", &session, "--ask"]), "not_session_agent");
    net.ok(AGENT, &["session", "close", &session, "--ask"]);
    let closed = until_closed(net, &session).await;
    assert_eq!(closed["receipts"].as_array().map(Vec::len), Some(3), "{closed}");
    let earned = net.ok(STRANGER, &["provider", "show", &provider]);
    assert_eq!(earned["earnings"], closed["checked"]["sum"], "the provider has what the receipts say");
}

async fn until_closed(net: &Side<'_>, session: &str) -> Value {
    let started = Instant::now();
    loop {
        let receipts = net.ok(STRANGER, &["session", "receipts", session]);
        if receipts["checked"]["onChain"] == true {
            return receipts;
        }
        assert!(started.elapsed() < Duration::from_secs(90), "not closed: {receipts}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
