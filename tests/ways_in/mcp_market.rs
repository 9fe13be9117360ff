//! Providers and creators of escrows over MCP: all that they do on the command line, on both chains, within what the server may.

use std::time::Duration;

use compute_futures_protocol::{Chain, Usdc};
use compute_futures_tests::{World, Worlds, usdc};
use serde_json::{Value, json};

use crate::mcp::Session;
use crate::process::{cli, output};

/// Who they are among the devnet's funded keys.
const CREATOR: usize = 0;
const AGENT: usize = 1;
const PROVIDER: usize = 3;
const METER: usize = 4;
const STRANGER: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn providers_and_creators_do_all_they_do_with_tools() {
    let worlds = Worlds::start("ways-in-mcp-market").await;
    worlds.each(providers_and_creators).await;
}

async fn providers_and_creators(world: &World) {
    let address = |wallet: usize| world.wallet(wallet).address().to_string();
    let before = [held(world, CREATOR).await, held(world, PROVIDER).await];
    let provider = Session::start(world, PROVIDER, &["--deposit-limit", "1"]).await;
    let trusted = ["--deposit-limit", "30", "--agent", &address(AGENT), "--meter", &address(METER)];
    let creator = Session::start(world, CREATOR, &trusted).await;
    hints(&provider).await;

    let id = published(world, &provider, &creator).await;
    let escrow = budgeted(world, &provider, &creator).await;
    let session =
        by(world, AGENT, &["session", "open", &escrow.to_string(), "--provider", &id.to_string(), "--limit", "1"])
            .await;
    let session = session["sessionId"].as_str().expect("a session").to_owned();
    by(world, METER, &["session", "close", &session, "--cost", "0.5"]).await;
    withdrawn(world, &provider, id).await;
    assert_eq!(Some(held(world, PROVIDER).await), before[1].checked_add(usdc("0.5")));

    assert_eq!(provider.refused("provider_retire", json!({ "provider": id, "confirm": false })).await, "not_confirmed");
    provider.ok("provider_retire", json!({ "provider": id, "confirm": true })).await;
    assert_eq!(provider.ok("provider_show", json!({ "provider": id })).await["retired"], true);

    taken_back(world, &creator, escrow).await;
    let after = held(world, CREATOR).await.checked_add(usdc("0.5"));
    assert_eq!(after, Some(before[0]), "all but what was earned is back");

    // Told nothing, a server deposits nothing; told so, it posts no more than that.
    let bounded = Session::start(world, STRANGER, &["--transactions", "1"]).await;
    let create = json!({ "amount": "1", "session_limit": "1", "seconds": 3_600 });
    assert_eq!(bounded.refused("escrow_create", create).await, "deposit_limit");
    bounded.ok("provider_register", json!({ "content": content("0.0003") })).await;
    assert_eq!(
        bounded.refused("provider_register", json!({ "content": content("0.0003") })).await,
        "transaction_limit"
    );
    for session in [provider, creator, bounded] {
        session.0.cancel().await.expect("it ends");
    }
}

/// What clients are told before they call: what only reads, and what cannot be undone.
async fn hints(session: &Session) {
    let tools = session.0.list_all_tools().await.expect("a list");
    for (name, reads, destroys) in [
        ("provider_show", true, None),
        ("provider_metrics", true, None),
        ("escrow_show", true, None),
        ("provider_register", false, Some(false)),
        ("provider_update", false, Some(true)),
        ("provider_retire", false, Some(true)),
        ("provider_withdraw", false, Some(false)),
        ("escrow_create", false, Some(false)),
        ("escrow_expire", false, Some(true)),
    ] {
        let tool = tools.iter().find(|tool| tool.name == name).expect(name);
        let said = tool.annotations.as_ref().expect("annotations");
        assert_eq!((said.read_only_hint, said.destructive_hint), (Some(reads), destroys), "{name}");
    }
    let register = tools.iter().find(|tool| tool.name == "provider_register").expect("it is there");
    let schema = json!(register.input_schema).to_string();
    for field in ["endpoint", "rate_limit", "max_context", "self_hosted"] {
        assert!(schema.contains(field), "a model reads {field}: {schema}");
    }
}

fn content(output_price: &str) -> Value {
    let model = json!({ "name": "m", "input_price": "0.0001", "output_price": output_price, "max_context": 8_192 });
    json!({ "endpoint": "https://inference.example/v1", "type": "self_hosted", "rate_limit": 60, "models": [model] })
}

/// A provider, corrected once, by its owner only.
async fn published(world: &World, provider: &Session, other: &Session) -> u64 {
    let mut bad = content("0.0003");
    bad["rate_limit"] = json!(0);
    let mut binary = content("0.0003");
    binary["models"][0]["input_price"] = json!(0.0001);
    for content in [bad, binary, content("-1"), json!({}), json!("endpoint"), Value::Null] {
        assert_eq!(provider.refused("provider_register", json!({ "content": content })).await, "bad_content");
    }
    let registered = provider.ok("provider_register", json!({ "content": content("0.0002") })).await;
    let id = registered["providerId"].as_u64().expect("an id");
    let update = json!({ "provider": id, "content": content("0.0003") });
    assert_eq!(other.refused("provider_update", update.clone()).await, "refused_by_contract");
    let updated = provider.ok("provider_update", update).await;
    assert_eq!(updated["version"], 2, "{updated}");
    assert_eq!(
        other.refused("provider_retire", json!({ "provider": id, "confirm": true })).await,
        "refused_by_contract"
    );
    let shown = other.ok("provider_show", json!({ "provider": id })).await;
    assert_eq!((&shown["contentHash"], &shown["earnings"]), (&updated["contentHash"], &json!("0")), "{shown}");
    assert_eq!(shown["content"]["models"][0]["outputPrice"], "300", "{shown}");
    assert_eq!(shown["owner"], json!(world.wallet(PROVIDER).address()), "{shown}");
    assert_eq!(provider.refused("provider_show", json!({ "provider": 99 })).await, "unknown_provider");
    id
}

/// 24 USDC for one agent, of 30 that may be deposited.
async fn budgeted(world: &World, other: &Session, creator: &Session) -> u64 {
    let address = |wallet: usize| world.wallet(wallet).address().to_string();
    let create = |amount: &str, limit: &str, agent: &str| {
        let agents = json!([agent]);
        json!({ "amount": amount, "session_limit": limit, "seconds": 3_600, "agents": agents })
    };
    for (amount, limit, agent, code) in [
        ("-1", "5", address(AGENT), "invalid_amount"),
        ("20", "-5", address(AGENT), "invalid_amount"),
        ("0", "5", address(AGENT), "usage"),
        ("20", "0", address(AGENT), "bad_terms"),
        ("30.000001", "5", address(AGENT), "deposit_limit"),
        ("20", "5", "somebody".into(), "invalid_address"),
        ("20", "5", address(STRANGER), "agent_not_named"),
    ] {
        assert_eq!(creator.refused("escrow_create", create(amount, limit, &agent)).await, code, "{amount} {limit}");
    }
    let mut metered = create("20", "5", &address(AGENT));
    metered["meter"] = json!(address(STRANGER));
    assert!(creator.fails("escrow_create", metered).await, "who meters is not for a model to choose");
    let created = creator.ok("escrow_create", create("20", "5", &address(AGENT))).await;
    assert_eq!(created["session"]["depositLeftUsdc"], "10", "what was refused is not counted: {created}");
    let escrow = created["escrowId"].as_u64().expect("an id");

    assert_eq!(creator.refused("escrow_fund", json!({ "escrow": 99, "amount": "1" })).await, "unknown_escrow");
    assert_eq!(creator.refused("escrow_fund", json!({ "escrow": escrow, "amount": "-1" })).await, "invalid_amount");
    let much = json!({ "escrow": escrow, "amount": "10.000001" });
    assert_eq!(creator.refused("escrow_fund", much).await, "deposit_limit");
    let funded = creator.ok("escrow_fund", json!({ "escrow": escrow, "amount": "4" })).await;
    assert_eq!((&funded["unreserved"], &funded["session"]["depositLeftUsdc"]), (&json!("24000000"), &json!("6")));

    let agent = |agent: String| json!({ "escrow": escrow, "agent": agent });
    assert_eq!(creator.refused("escrow_allow", agent(address(STRANGER))).await, "agent_not_named");
    creator.ok("escrow_allow", agent(address(CREATOR))).await;
    let shown = async || creator.ok("escrow_show", json!({ "escrow": escrow })).await;
    assert_eq!(shown().await["agents"][0]["allowed"], true, "the wallet itself");
    creator.ok("escrow_disallow", agent(address(CREATOR))).await;
    assert_eq!(shown().await["agents"][0]["allowed"], false);

    // What is another's: no money into it, none out of it, nobody let in.
    assert_eq!(other.refused("escrow_fund", json!({ "escrow": escrow, "amount": "1" })).await, "not_creator");
    assert_eq!(other.refused("escrow_allow", agent(address(PROVIDER))).await, "refused_by_contract");
    assert_eq!(other.refused("escrow_disallow", agent(address(AGENT))).await, "refused_by_contract");
    assert_eq!(other.refused("escrow_refund", json!({ "escrow": escrow })).await, "refused_by_contract");
    let agents = json!([address(AGENT), address(PROVIDER)]);
    let shown = other.ok("escrow_show", json!({ "escrow": escrow, "agents": agents })).await;
    assert_eq!((&shown["agents"][0]["allowed"], &shown["agents"][1]["allowed"]), (&json!(true), &json!(false)));
    assert_eq!((&shown["unreserved"], &shown["meter"]), (&json!("24000000"), &json!(world.wallet(METER).address())));
    escrow
}

/// Half a USDC of earnings, to the wallet.
async fn withdrawn(world: &World, provider: &Session, id: u64) {
    let wanted = |amount: &str| json!({ "provider": id, "amount": amount });
    assert_eq!(provider.refused("provider_withdraw", wanted("-0.2")).await, "invalid_amount");
    assert_eq!(provider.refused("provider_withdraw", wanted("0.500001")).await, "insufficient_earnings");
    let elsewhere = json!({ "provider": id, "to": world.wallet(STRANGER).address() });
    assert!(provider.fails("provider_withdraw", elsewhere).await, "there is no other address");
    let some = provider.ok("provider_withdraw", wanted("0.2")).await;
    assert_eq!((&some["withdrawn"], &some["to"]), (&json!("200000"), &json!(world.wallet(PROVIDER).address())));
    assert_eq!(provider.ok("provider_withdraw", json!({ "provider": id })).await["withdrawn"], "300000");
    assert_eq!(provider.refused("provider_withdraw", json!({ "provider": id })).await, "insufficient_earnings");

    assert_eq!(provider.refused("provider_metrics", json!({ "provider": id, "interval": "week" })).await, "usage");
    let none = json!({ "provider": id, "from": 2, "to": 2 });
    assert_eq!(provider.refused("provider_metrics", none).await, "usage");
    world
        .until("the indexer to count the session", || async {
            let metrics = provider.ok("provider_metrics", json!({ "provider": id, "interval": "hour" })).await;
            metrics.to_string().contains("500000").then_some(())
        })
        .await;
}

/// A part at once, the rest after the expiry; what comes back raises no limit.
async fn taken_back(world: &World, creator: &Session, escrow: u64) {
    assert_eq!(creator.refused("escrow_refund", json!({ "escrow": escrow, "amount": "-1" })).await, "invalid_amount");
    let refunded = creator.ok("escrow_refund", json!({ "escrow": escrow, "amount": "3.5" })).await;
    assert_eq!((&refunded["refunded"], &refunded["unreserved"]), (&json!("3500000"), &json!("20000000")));
    let again = json!({ "escrow": escrow, "amount": "6.000001" });
    assert_eq!(creator.refused("escrow_fund", again).await, "deposit_limit");
    let which = json!({ "escrow": escrow });
    assert_eq!(creator.refused("escrow_expire", which.clone()).await, "refused_by_contract", "it is too early");
    world.cheats.advance_time(Duration::from_secs(4_000)).await;
    let expired = creator.ok("escrow_expire", which.clone()).await;
    assert_eq!((&expired["paid"], &expired["creator"]), (&json!("20000000"), &json!(world.wallet(CREATOR).address())));
    if world.chain == Chain::Base {
        assert_eq!(creator.ok("escrow_show", which).await["closed"], true);
    } else {
        assert_eq!(creator.refused("escrow_show", which).await, "escrow_closed");
    }
}

async fn held(world: &World, wallet: usize) -> Usdc {
    world.usdc_of(world.wallet(wallet).address()).await
}

/// The command line as somebody else.
async fn by(world: &World, wallet: usize, args: &[&str]) -> Value {
    serde_json::from_str(&output(cli(world, wallet).args(args)).await).expect("JSON")
}
