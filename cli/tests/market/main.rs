//! The marketplace on a devnet, through the binary: budgets by every way in, and a provider that serves the sessions of its meter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod metering;
mod ordering;
#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_chain::Action;
use compute_futures_cli::devnet::DevnetFile;
use compute_futures_cli::keys::Key;
use compute_futures_protocol::market::{MarketDomain, ProviderCall, SignedProviderCall};
use compute_futures_protocol::{Address, B256, Chain, Signer, keccak256};
use serde_json::{Value, json};
use support::{BINARY, Devnet, Side, text};

/// Who they are among the devnet's funded keys.
const CREATOR: usize = 0;
const AGENT: usize = 1;
const PROVIDER: usize = 3;
const METER: usize = 4;
const STRANGER: usize = 5;
const SPONSOR: usize = 6;

const CONTENT: &str = r#"
endpoint = "https://inference.example/v1"
type = "self_hosted"
rate_limit = 60

[[models]]
name = "m"
input_price = "0.0001"
output_price = "0.0003"
max_context = 8192
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_marketplace_over_the_command_line() {
    let devnet = tokio::task::spawn_blocking(Devnet::start).await.unwrap();
    for side in devnet.sides() {
        budgets(&side).await;
        serving(&side).await;
        ordering::ordering(&side).await;
        metering::metering(&side).await;
    }
}

impl Side<'_> {
    fn devnet(&self) -> DevnetFile {
        serde_json::from_value(self.net.describe()).unwrap()
    }

    fn key(&self, person: usize) -> Signer {
        Key::parse(&self.devnet().funded_keys(self.chain)[person]).unwrap().signer
    }

    fn market(&self) -> MarketDomain {
        let file = self.devnet();
        let contract = match self.chain {
            Chain::Base => Address::from(file.evm.unwrap().compute_escrow),
            _ => Address::from(file.solana.unwrap().compute_escrow),
        };
        MarketDomain::new(self.chain, contract).unwrap()
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path: PathBuf = self.net.folder.path().join(format!("{}-{name}", self.network));
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A plain transfer, as from an exchange.
    async fn transfer(&self, from: usize, to: &str, amount: &str) {
        let connection = self.devnet().deployment(self.chain).unwrap().connect().await.unwrap();
        let transfer = Action::Transfer { to: to.parse().unwrap(), amount: amount.parse().unwrap() };
        let (_, outcome) = connection.writer(self.key(from)).unwrap().execute(&transfer).await.unwrap();
        assert!(outcome.succeeded);
    }

    async fn usdc_of(&self, person: usize) -> u64 {
        let connection = self.devnet().deployment(self.chain).unwrap().connect().await.unwrap();
        connection.reader().token_balance(self.key(person).address(), None).await.unwrap().micros()
    }

    async fn fuel_of(&self, person: usize) -> u128 {
        let connection = self.devnet().deployment(self.chain).unwrap().connect().await.unwrap();
        connection.fuel_of(self.key(person).address()).await.unwrap()
    }
}

fn number(value: &Value) -> String {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}")).to_string()
}

/// Signed and brought by others, swept from plain transfers, and rent that comes back.
async fn budgets(net: &Side<'_>) {
    let on_base = net.chain == Chain::Base;
    let agent = net.address(AGENT);
    let create = ["escrow", "create", "20", "--session-limit", "5", "--for", "2h", "--agent", &agent];
    let sponsor = format!("devnet:{SPONSOR}");
    let (money, fuel) = (net.usdc_of(CREATOR).await, net.fuel_of(CREATOR).await);
    let gasless = net.ok(CREATOR, &[&create[..], &["--gasless", "--payer-of-gas", &sponsor]].concat());
    let escrow = number(&gasless["escrowId"]);
    let more = ["escrow", "fund", &escrow, "2", "--gasless", "--payer-of-gas", &sponsor];
    assert_eq!(text(&net.ok(CREATOR, &more), "/unreserved"), "22000000");
    assert_eq!(net.fuel_of(CREATOR).await, fuel, "the creator paid no fee");
    assert_eq!(net.usdc_of(CREATOR).await, money - 22_000_000);
    let shown = net.ok(CREATOR, &["escrow", "show", &escrow, "--agent", &agent]);
    assert_eq!(text(&shown, "/creator").parse::<Address>().unwrap(), net.key(CREATOR).address());
    assert_eq!(shown["agents"][0]["allowed"], true);
    let sign = [&create[..], &["--sign"]].concat();
    if on_base {
        let signed = net.file("create.json", &net.ok(CREATOR, &sign).to_string());
        let wrong = ["escrow", "fund", "--signed", &signed];
        assert_eq!(net.refused(SPONSOR, &wrong), "bad_signed");
        let brought = net.ok(SPONSOR, &["escrow", "create", "--signed", &signed]);
        assert_ne!(number(&brought["escrowId"]), escrow);
        assert_eq!(net.refused(SPONSOR, &["escrow", "create", "--signed", &signed]), "refused_by_contract", "once");
        let fund = net.ok(AGENT, &["escrow", "fund", &escrow, "1", "--sign"]);
        // Whoever brings it cannot send it elsewhere.
        let mut elsewhere = fund.clone();
        elsewhere["escrowId"] = brought["escrowId"].clone();
        let elsewhere = net.file("elsewhere.json", &elsewhere.to_string());
        assert_eq!(net.refused(SPONSOR, &["escrow", "fund", "--signed", &elsewhere]), "refused_by_contract");
        let fund = net.file("fund.json", &fund.to_string());
        assert_eq!(text(&net.ok(SPONSOR, &["escrow", "fund", "--signed", &fund]), "/unreserved"), "23000000");
    } else {
        assert_eq!(net.refused(CREATOR, &sign), "usage");
    }
    let too_much = ["escrow", "fund", &escrow, "99000000", "--gasless", "--payer-of-gas", &sponsor];
    assert!(!net.refused(CREATOR, &too_much).is_empty());

    // By plain transfers to an address that commits to the terms.
    let terms = ["escrow", "create", "--deposit-address", "--session-limit", "5", "--for", "1h", "--agent", &agent];
    let address = net.ok(CREATOR, &terms);
    let file = net.file("terms.json", &address.to_string());
    assert_eq!(net.refused(STRANGER, &["escrow", "sweep", &file]), "refused_by_contract", "nothing is there yet");
    let mut changed = address.clone();
    changed["terms"]["sessionLimit"] = json!("6000000");
    let changed = net.file("changed.json", &changed.to_string());
    assert_eq!(net.refused(STRANGER, &["escrow", "sweep", &changed]), "bad_terms");
    net.transfer(STRANGER, text(&address, "/depositAddress"), "7").await;
    let swept = net.ok(SPONSOR, &["escrow", "sweep", &file]);
    let fed = number(&swept["escrowId"]);
    net.transfer(STRANGER, text(&address, "/depositAddress"), "3").await;
    assert_eq!(text(&net.ok(SPONSOR, &["escrow", "sweep", &file]), "/unreserved"), "10000000");
    net.transfer(STRANGER, text(&address, "/depositAddress"), "0.000009").await;
    assert_eq!(net.refused(STRANGER, &["escrow", "recover", &file]), "refused_by_contract");
    assert_eq!(text(&net.ok(CREATOR, &["escrow", "recover", &file]), "/recovered"), "9");

    // Rent, where there is such a thing.
    let close_agent = ["escrow", "close-agent", &fed, &agent];
    if on_base {
        assert_eq!(net.refused(CREATOR, &close_agent), "refused_by_node");
        assert_eq!(net.refused(CREATOR, &["escrow", "close-deposit-address", &file]), "refused_by_node");
        return;
    }
    assert_eq!(net.refused(SPONSOR, &close_agent), "refused_by_contract", "the escrow is there");
    assert_eq!(
        net.refused(CREATOR, &["escrow", "close-deposit-address", &file]),
        "refused_by_contract",
        "it feeds one"
    );
    let other = ["escrow", "create", "--deposit-address", "--session-limit", "4", "--for", "1h"];
    let other = net.ok(CREATOR, &other);
    let file = net.file("other.json", &other.to_string());
    net.transfer(STRANGER, text(&other, "/depositAddress"), "0.5").await;
    assert_eq!(net.refused(STRANGER, &["escrow", "close-deposit-address", &file]), "refused_by_contract");
    let (money, fuel) = (net.usdc_of(CREATOR).await, net.fuel_of(CREATOR).await);
    assert_eq!(text(&net.ok(CREATOR, &["escrow", "close-deposit-address", &file]), "/recovered"), "500000");
    assert_eq!(net.usdc_of(CREATOR).await, money + 500_000);
    assert!(net.fuel_of(CREATOR).await > fuel + 3_000_000, "both rents came back");
}

/// A process that serves; its standard input keeps it alive.
struct Serving {
    process: Child,
    url: String,
}

impl Serving {
    fn start(net: &Side<'_>, provider: &str, meter: &str, upstream: &str) -> Self {
        let mut process = Command::new(BINARY)
            .args(["--json", "--network", net.network, "--devnet"])
            .arg(net.net.file())
            .args(["provider", "serve", "--provider", provider, "--meter", meter, "--bind", "127.0.0.1:0"])
            .args(["--upstream", upstream, "--upstream-key-env", "S1_UPSTREAM_KEY", "--with-parent"])
            .env("S1_UPSTREAM_KEY", "sk-of-the-upstream")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut announced = String::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            announced += &line;
            if line == "}" {
                break;
            }
        }
        let announced: Value = serde_json::from_str(&announced).expect("it says where it serves");
        assert_eq!(announced["models"], json!(["m"]));
        Self { process, url: text(&announced, "/url").to_owned() }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What was asked of the server behind: key and body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

async fn upstream() -> (String, Asked) {
    let asked = Asked::default();
    let seen = asked.clone();
    let app = Router::new().fallback(async move |request: Request| {
        let key = request.headers()["authorization"].to_str().unwrap().to_owned();
        let body = to_bytes(request.into_body(), 100_000).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if body["slow"] == true {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        seen.lock().unwrap().push((key, body));
        let message = json!({ "role": "assistant", "content": "Served." });
        Json(json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] })).into_response()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

/// Sends an order to a provider as the meter does.
async fn order(net: &Side<'_>, url: &str, by: usize, session: &str, provider: &str, body: &str) -> (u16, Value) {
    let call = ProviderCall {
        session_id: session.parse().unwrap(),
        provider_id: provider.parse().unwrap(),
        execution_id: B256::from(rand::random::<[u8; 32]>()),
        body_hash: keccak256(body),
        issued_at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(),
    };
    let domain = net.market();
    let signed = SignedProviderCall {
        network: domain.network(),
        contract: domain.contract(),
        signature: net.key(by).sign(call.digest(&domain)).to_vec().into(),
        call,
    };
    let answer = reqwest::Client::new()
        .post(format!("{url}/chat/completions"))
        .header(SignedProviderCall::HEADER, STANDARD.encode(serde_json::to_vec(&signed).unwrap()))
        .body(body.to_owned())
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// A provider serves what its meter orders on sessions that are open on this very chain.
async fn serving(net: &Side<'_>) {
    let content = net.file("content.toml", CONTENT);
    let provider = number(&net.ok(PROVIDER, &["provider", "register", &content])["providerId"]);
    let (agent, meter) = (net.address(AGENT), net.address(METER));
    let create =
        ["escrow", "create", "20", "--session-limit", "5", "--for", "2h", "--agent", &agent, "--meter", &meter];
    let escrow = number(&net.ok(CREATOR, &create)["escrowId"]);
    let open = ["session", "open", &escrow, "--provider", &provider, "--limit", "1"];
    let [first, second] = [0, 1].map(|_| text(&net.ok(AGENT, &open), "/sessionId").to_owned());
    let close = ["session", "close", &second, "--cost", "0.5"];
    net.ok(METER, &close);

    assert_eq!(net.refused(0, &["provider", "serve", "--provider", "99", "--upstream", "local"]), "unknown_provider");
    let no_url = ["provider", "serve", "--provider", &provider, "--upstream", "ftp://example"];
    assert_eq!(net.refused(0, &no_url), "usage");

    let (upstream, asked) = upstream().await;
    let mut serving = Serving::start(net, &provider, &meter, &upstream);
    let url = serving.url.clone();
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hello." }] }).to_string();
    let (status, answer) = order(net, &url, METER, &first, &provider, &body).await;
    assert_eq!((status, text(&answer, "/choices/0/message/content")), (200, "Served."), "{answer}");
    for (by, session, code) in [
        (STRANGER, &first, "meter_not_accepted"),
        (AGENT, &first, "meter_not_accepted"),
        (METER, &second, "session_not_open"),
        (METER, &"4294967196000".to_owned(), "session_not_open"),
    ] {
        let (status, answer) = order(net, &url, by, session, &provider, &body).await;
        assert_eq!((status, text(&answer, "/error/code")), (403, code), "{by} {session}");
    }
    {
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 1, "only the meter of an open session is served");
        assert_eq!(asked[0].0, "Bearer sk-of-the-upstream");
    }
    // Asked to stop, it answers what is on its way.
    let slow = json!({ "model": "m", "slow": true, "messages": [] }).to_string();
    let pid = serving.process.id().to_string();
    let (answered, ()) = tokio::join!(order(net, &url, METER, &first, &provider, &slow), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    });
    assert_eq!(answered.0, 200, "{}", answered.1);
    let ended = tokio::task::spawn_blocking(move || serving.process.wait().unwrap()).await.unwrap();
    assert!(ended.success(), "{ended}");
}
