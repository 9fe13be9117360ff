//! Every paid endpoint of the table, called by stock clients on both chains: per call (`exact`) and from credit (our scheme), with
//! providers that speak OpenAI's and Replicate's wire formats beside the local one. One job of the batch fails.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::{AccountId, B256, Chain, SignedReceipt, TransactionId, Usdc, keccak256};
use compute_futures_relayer::http::endpoints::{ENDPOINTS, Price, Schemes};
use compute_futures_tests::{Agent, Books, Cloud, World, Worlds};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::stock::{python, script};

/// What a script did.
struct Story {
    who: &'static str,
    all: Value,
}

impl Story {
    fn calls(&self) -> &[Value] {
        self.all["calls"].as_array().expect("a list of calls")
    }

    /// The call of an endpoint that was not streamed.
    fn call(&self, endpoint: &str) -> &Value {
        let found = self.calls().iter().find(|call| call["endpoint"] == endpoint && call["text"].is_null());
        found.unwrap_or_else(|| panic!("{}: {endpoint} was not called", self.who))
    }

    /// What a job answered, at once or in the end.
    fn answer(&self, endpoint: &str) -> &Value {
        result(self.call(endpoint))
    }

    fn endpoints(&self) -> BTreeSet<String> {
        self.calls().iter().map(|call| call["endpoint"].as_str().expect("a name").to_owned()).collect()
    }
}

fn result(call: &Value) -> &Value {
    if call["status"] == 202 {
        assert_eq!(call["end"]["status"], "completed", "{call}");
        return &call["end"]["result"];
    }
    call.get("body").unwrap_or(call)
}

/// Everything in the table that has a price and takes one of these schemes.
fn paid(schemes: &[Schemes]) -> BTreeSet<String> {
    let paid = ENDPOINTS.iter().filter(|endpoint| endpoint.price != Price::Free && schemes.contains(&endpoint.schemes));
    paid.map(compute_futures_relayer::http::endpoints::Endpoint::key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_clients_call_every_paid_endpoint() {
    let cloud = Cloud::start().await;
    let worlds = Worlds::start_with("e2e-every-endpoint", &cloud.settings()).await;
    let package = concat!(env!("CARGO_MANIFEST_DIR"), "/../clients/typescript");
    let mut compiler = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../node_modules/.bin/tsc"));
    let built = compiler.args(["-p", package]).output().await.expect("TypeScript is installed");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stdout));
    worlds.each(every_endpoint).await;
    assert_eq!(cloud.seen(), ["chat", "image", "prediction", "speech", "stream", "transcription"]);
}

async fn every_endpoint(world: &World) {
    let agent = world.agent(1, "50", Usdc::MAX).await;
    let before = [0, 1, 2].map(|wallet| world.usdc_of(world.wallet(wallet).address()));
    let before = futures::future::join_all(before).await;
    let credit = [
        ("ACCOUNT", agent.futures_id()),
        ("CONTRACT", world.domain.contract().to_string()),
        ("OPERATOR", world.operator.to_string()),
    ];
    let (exact, credit, python) = tokio::join!(
        script(world, "node", "every-endpoint.mjs", 0, &[]),
        script(world, "node", "every-endpoint.mjs", 1, &credit),
        script(world, python(), "three_endpoints.py", 2, &[]),
    );
    let exact = Story { who: "exact", all: exact };
    let credit = Story { who: "credit", all: credit };

    assert_eq!(exact.endpoints(), paid(&[Schemes::Exact, Schemes::ExactAndCredit]));
    assert_eq!(credit.endpoints(), paid(&[Schemes::ExactAndCredit]));
    for story in [&exact, &credit] {
        answers(world, story).await;
    }
    paid_per_call(world, &exact);
    let opened = exact.call("POST /api/v1/compute-futures/deposit")["body"]["computeFuture"]["accountId"].clone();
    let opened: AccountId = opened.as_str().expect("an id").parse().expect("an id");

    let books = Books::balanced(world, &[opened, agent.account]).await;
    let executes = receipts(world, &exact);
    let posted = &books.receipts[&opened];
    assert_eq!(executes.len(), 8, "every kind of job was executed");
    assert_eq!(posted.len(), executes.len());
    assert!(posted.iter().all(|signed| executes.contains_key(&signed.receipt_hash)));
    from_credit(world, &credit, &agent, &books);

    let spent = async |wallet: usize| {
        let now = world.usdc_of(world.wallet(wallet).address()).await;
        before[wallet].micros().cast_signed() - now.micros().cast_signed()
    };
    let three: i64 = as_python_asked(world, &python);
    let refunded = |story: &Story| micros(&story.call(REFUND)["body"]["refund"]["refundAmountMicroUsdc"]);
    let signed: i64 = exact.calls().iter().map(|call| micros(&call["amount"])).sum();
    assert_eq!(spent(0).await, signed - refunded(&exact), "every payment settled once, and the rest came back");
    assert_eq!(spent(1).await, -refunded(&credit), "credit costs no payments");
    assert_eq!(refunded(&credit), 50_000_000 - books.charged(agent.account).micros().cast_signed());
    assert_eq!(spent(2).await, three);
    let status = world.admin(&compute_futures_cli::client::Request::get(world.here("/admin/v1/status"))).await.body;
    assert_eq!(micros(&status["gateRevenueMicroUsdc"]), signed - 20_000_000 + three, "{status}");
}

const REFUND: &str = "POST /api/v1/compute-futures/refund";

fn micros(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no amount"));
    text.parse().expect("an amount")
}

/// What was asked for was answered, whoever asked and however it was paid.
async fn answers(world: &World, story: &Story) {
    let who = story.who;
    let file = async |url: &Value| {
        let path = url.as_str().and_then(|url| url.strip_prefix(world.file.relayer.as_str().trim_end_matches('/')));
        let path = path.unwrap_or_else(|| panic!("{who}: {url} is no address of the relayer"));
        let hash: B256 = path.rsplit('/').next().expect("a hash").parse().expect("a hash");
        let bytes = reqwest::get(world.relayer.url(path)).await.expect("it is served").bytes().await.expect("bytes");
        assert_eq!(keccak256(&bytes), hash, "{who}: {url}");
        bytes
    };
    let content = |answer: &Value| answer["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned();
    for endpoint in ["POST /api/v1/compute/text-inference", "POST /run", "POST /v1/chat/completions"] {
        assert!(content(story.answer(endpoint)).contains("the year was good"), "{who}: {}", story.answer(endpoint));
    }
    let picture = story.answer("POST /api/v1/compute/image-generation");
    assert_eq!(file(&picture["data"][0]["url"]).await, Cloud::picture(), "{who}");
    let film = story.answer("POST /api/v1/compute/video-generation");
    assert_eq!(story.call("POST /api/v1/compute/video-generation")["status"], 202, "{who}: it outlives its request");
    assert_eq!(file(&film["output"][0]).await, Cloud::film(), "{who}");
    let voice = story.answer("POST /api/v1/compute/text-to-speech");
    assert_eq!(file(&voice["audio"]["url"]).await, Cloud::voice(), "{who}");
    assert_eq!(story.answer("POST /api/v1/compute/speech-to-text")["text"], Cloud::HEARD, "{who}");
    let vectors = story.answer("POST /api/v1/compute/embeddings");
    assert_eq!(vectors["data"].as_array().map(Vec::len), Some(2), "{who}: {vectors}");
    let document = story.answer("POST /api/v1/compute/document-parsing");
    assert!(document["text"].as_str().is_some_and(|text| text.contains("Hello, document.")), "{who}: {document}");
    let gpu = story.answer("POST /api/v1/gpu/run");
    assert_eq!(file(&gpu["output"][0]).await, Cloud::film(), "{who}");
    let batch = story.answer("POST /api/v1/compute/batch");
    let statuses: Vec<&Value> = batch["jobs"].as_array().expect("a list").iter().map(|job| &job["status"]).collect();
    assert_eq!(statuses, ["completed", "failed", "completed"], "{who}: {batch}");
    assert_eq!(batch["jobs"][1]["error"]["code"], "provider_refused", "{who}: {batch}");

    let text = story.calls().iter().find_map(|call| call["text"].as_str());
    let text = text.unwrap_or_else(|| panic!("{who}: nothing was streamed"));
    assert!(text.contains("Revenue ") && text.ends_with("data: [DONE]\n\n"), "{who}: {text}");
    let vectors = story.answer("POST /v1/embeddings");
    assert!(vectors["data"][0]["embedding"].is_string(), "{who}: base64 was asked for: {vectors}");
    let picture = story.answer("POST /v1/images/generations");
    assert_eq!(picture["data"][0]["b64_json"], STANDARD.encode(Cloud::picture()), "{who}");
    assert_eq!(story.call("POST /v1/audio/speech")["base64"], STANDARD.encode(Cloud::voice()), "{who}");
    assert_eq!(story.answer("POST /v1/audio/transcriptions")["text"], Cloud::HEARD, "{who}");

    let balance = story.answer("GET /api/v1/compute-futures/balance");
    let futures_id = story.all["futuresId"].as_str().expect("an id");
    assert!(balance.to_string().contains(futures_id), "{who}: {balance}");
    let history = story.answer("GET /api/v1/compute-futures/history");
    assert!(history["history"].as_array().is_some_and(|entries| entries.len() >= 8), "{who}: {history}");
    assert!(story.answer("GET /api/v1/compute-futures/pricing").to_string().contains("films/film"), "{who}");
    assert_eq!(story.answer(REFUND)["refund"]["status"], "completed", "{who}: {}", story.answer(REFUND));
}

/// Each call of a stock client settled on its own chain.
fn paid_per_call(world: &World, story: &Story) {
    for call in story.calls() {
        if call["status"] == 202 {
            continue;
        }
        let payment = &call["payment"];
        assert_eq!((&payment["success"], &payment["network"]), (&json!(true), &json!(world.chain.caip2())), "{call}");
        settled_on(world.chain, payment);
    }
}

fn settled_on(chain: Chain, payment: &Value) {
    let transaction: Option<TransactionId> = payment["transaction"].as_str().and_then(|text| text.parse().ok());
    assert!(transaction.is_some_and(|id| id.evm().is_some() == chain.evm_chain_id().is_some()), "{payment}");
}

/// Every receipt that a story was given, by its hash; each is the operator's, and attests what stands next to it.
fn receipts(world: &World, story: &Story) -> BTreeMap<B256, SignedReceipt> {
    let mut found = BTreeMap::new();
    let mut keep = |receipt: &Value, output: Option<&Value>| {
        let Ok(signed) = serde_json::from_value::<SignedReceipt>(receipt.clone()) else { return };
        signed.verify(&world.domain, world.operator).expect("the operator signed it");
        if let Some(output) = output {
            assert_eq!(signed.receipt.output_hash, keccak256(output.to_string()), "{output}");
        }
        found.insert(signed.receipt_hash, signed);
    };
    for call in story.calls() {
        // Of what the client had checked already, byte by byte, only the signature is looked at again.
        keep(&call["payment"]["extra"]["receipt"], None);
        keep(&call["body"]["receipt"], call["body"].get("compute"));
        keep(&call["end"]["receipt"], Some(&call["end"]["result"]));
        if let Some(stream) = call["text"].as_str() {
            let receipt = stream.split("event: receipt\ndata: ").nth(1).and_then(|event| event.lines().next());
            let receipt = receipt.and_then(|event| serde_json::from_str::<Value>(event).ok()).unwrap_or_default();
            keep(&receipt["payment"]["receipt"], None);
        }
    }
    found
}

/// What the client believed is what was posted, no more and no less.
fn from_credit(world: &World, story: &Story, agent: &Agent, books: &Books) {
    let known = receipts(world, story);
    let posted = &books.receipts[&agent.account];
    // One job before, when the relayer learned of the account.
    assert_eq!(posted.len(), known.len() + 1);
    let ours = posted.iter().filter(|signed| known.contains_key(&signed.receipt_hash)).count();
    assert_eq!(ours, known.len(), "every receipt was posted");
    // A job that outlived its request is checked by whoever looks it up.
    let later = story.calls().iter().filter(|call| call["status"] == 202).count();
    assert_eq!(story.all["checked"], json!(known.len() - later), "each was checked by the client as it came");
}

/// Returns what the three calls cost.
fn as_python_asked(world: &World, all: &Value) -> i64 {
    for (path, call) in all.as_object().expect("calls by path") {
        assert_eq!(call["status"], 200, "Python, {path}: {call}");
        assert_eq!(call["payment"]["success"], true, "Python, {path}: {call}");
        settled_on(world.chain, &call["payment"]);
    }
    assert!(all["text-inference"]["body"]["choices"][0]["message"]["content"].is_string(), "{all}");
    assert!(all["image-generation"]["body"]["data"][0]["url"].is_string(), "{all}");
    assert_eq!(all["speech-to-text"]["body"]["text"], Cloud::HEARD, "{all}");
    all.as_object().expect("calls").values().map(|call| micros(&call["body"]["priceMicroUsdc"])).sum()
}
