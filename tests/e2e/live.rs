//! What anyone can see: balances as they change, and an indexer that says what the chain says.

use std::time::Duration;

use compute_futures_protocol::{AccountId, Usdc};
use compute_futures_tests::{Agent, Books, World, Worlds, usdc};
use serde_json::Value;

/// Server-sent events of one account.
struct Events {
    response: reqwest::Response,
    buffer: String,
}

impl Events {
    async fn open(world: &World, account: AccountId) -> Self {
        let url = world.indexer.url(&world.here(&format!("/api/v1/accounts/{account}/events")));
        let response = reqwest::get(url).await.expect("the indexer answers");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: String::new() }
    }

    /// Name and data of the next event; heartbeats are comments.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let event = field("event:").zip(field("data:"));
                let event = event.map(|(name, data)| (name.to_owned(), serde_json::from_str(data).expect("JSON")));
                self.buffer = rest.to_owned();
                match event {
                    Some(event) => return event,
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.response.chunk()).await;
            let chunk = chunk.expect("an event within 30 s").expect("the stream goes on").expect("it does not end");
            self.buffer.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The next event that shows this much charged, with nothing between that goes backwards.
    async fn charged(&mut self, expected: Usdc) {
        let mut last = Usdc::ZERO;
        while last < expected {
            let (name, account) = self.next().await;
            assert_eq!(name, "balance", "{account}");
            let now = micros(&account, "/charged/microUsdc");
            assert!(now >= last, "charges only grow: {account}");
            last = now;
        }
        assert_eq!(last, expected);
    }
}

fn micros(value: &Value, pointer: &str) -> Usdc {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.and_then(|text| Usdc::parse_micros(text).ok()).unwrap_or_else(|| panic!("no amount at {pointer} in {value}"))
}

/// Figure by figure, as of a block that both have seen.
async fn says_what_the_chain_says(world: &World, agent: &Agent) {
    let path = world.account_path(agent.account);
    let on_chain = world.reader.account(agent.account).await.expect("the chain answers").expect("it is open");
    let state = on_chain.state;
    let indexed = world
        .until("the indexer to catch up", || async {
            let account = world.indexer.get(&path).await.ok()?;
            (micros(&account, "/charged/microUsdc") == state.charged).then_some(account)
        })
        .await;
    assert_eq!(indexed["owner"].as_str().map(str::to_lowercase), Some(on_chain.owner.to_string().to_lowercase()));
    assert_eq!(micros(&indexed, "/credit/microUsdc"), state.credit, "{indexed}");
    assert_eq!(micros(&indexed, "/unspent/microUsdc"), state.unspent(), "{indexed}");
    assert_eq!(micros(&indexed, "/ceiling/microUsdc"), state.ceiling, "{indexed}");
    assert_eq!(indexed["discountBps"], state.discount.discount_bps, "{indexed}");
    assert_eq!(indexed["remainder"], state.remainder, "{indexed}");
    assert_eq!(indexed["status"], "open", "{indexed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_are_live_and_the_indexer_says_what_the_chain_says() {
    Worlds::start("e2e-live").await.each(async |world| live(world).await).await;
}

async fn live(world: &World) {
    let agents = [world.agent(0, "50", Usdc::MAX).await, world.agent(1, "10", usdc("5")).await];
    world.flush().await;
    says_what_the_chain_says(world, &agents[0]).await;
    let mut events = Events::open(world, agents[0].account).await;
    let (name, snapshot) = events.next().await;
    assert_eq!((name.as_str(), micros(&snapshot, "/charged/microUsdc")), ("snapshot", usdc("0.027")));

    for agent in [&agents[0], &agents[0], &agents[1]] {
        let answer = world.run(agent, &agent.summary("Live. As it happens.")).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    world.flush().await;
    events.charged(usdc("0.081")).await;

    let books = Books::balanced(world, &agents.each_ref().map(|agent| agent.account)).await;
    for agent in &agents {
        says_what_the_chain_says(world, agent).await;
        for signed in &books.receipts[&agent.account] {
            let path = format!("/api/v1/receipts/{}", signed.receipt_hash);
            let found =
                world.until("the indexer to check the receipt", || async { world.indexer.get(&path).await.ok() });
            assert_eq!(found.await["proven"], true, "{path}");
        }
    }
    let solvency = world.until("the indexer's solvency check", || async {
        let body = world.indexer.get(&world.here("/api/v1/solvency")).await.ok()?;
        (body["solvent"] == true).then_some(body)
    });
    solvency.await;
    let never = world.here(&format!("/api/v1/accounts/{}?finality=never", agents[0].account));
    for (path, code) in [
        ("/api/v1/accounts/x", "invalid_account"),
        (&never, "invalid_finality"),
        ("/api/v1/receipts/0x00", "invalid_hash"),
        ("/api/v1/nothing", "unknown_path"),
    ] {
        let response = reqwest::get(world.indexer.url(path)).await.expect("an answer");
        let status = response.status();
        let body: Value = response.json().await.unwrap_or_default();
        assert!(status.is_client_error(), "{path}: {status} {body}");
        assert_eq!(body["code"], code, "{path}: {body}");
        for field in ["error", "code", "hint"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{path}: {field} in {body}");
        }
    }
}
