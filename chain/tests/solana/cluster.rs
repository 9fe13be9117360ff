//! A node that answers what a test writes down: skipped slots, pruned blocks, forks; none of which Surfpool has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use compute_futures_chain::solana::local::PROGRAM;
use compute_futures_chain::solana::{SolanaConfig, SolanaReader};
use compute_futures_protocol::solana::find_program_address;
use compute_futures_protocol::{Chain, SolanaAddress};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

/// One of our transactions.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) id: u8,
    pub(crate) failed: bool,
    /// Accounts whose delegate it sets: an event each, by an instruction each.
    pub(crate) accounts: Vec<u64>,
}

#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) hash: u8,
    pub(crate) parent: u8,
    pub(crate) sent: Vec<Sent>,
}

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) blocks: BTreeMap<u64, Block>,
    pub(crate) confirmed: u64,
    pub(crate) finalized: u64,
    /// Blocks below are not kept.
    pub(crate) first: u64,
    /// Method and commitment of each request.
    pub(crate) asked: Vec<(String, String)>,
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) url: Url,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
}

pub(crate) fn hash(byte: u8) -> SolanaAddress {
    SolanaAddress::new([byte; 32])
}

fn signature(id: u8) -> String {
    bs58::encode([id; 64]).into_string()
}

impl Node {
    pub(crate) async fn start(blocks: &[(u64, Block)], confirmed: u64, finalized: u64) -> Self {
        let blocks = blocks.iter().cloned().collect();
        let ledger = Ledger { blocks, confirmed, finalized, ..Ledger::default() };
        let ledger = Arc::new(Mutex::new(ledger));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&ledger));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, ledger }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Ledger)) {
        change(&mut self.ledger.lock().unwrap());
    }

    pub(crate) fn asked(&self, method: &str) -> usize {
        self.ledger.lock().unwrap().asked.iter().filter(|(asked, _)| asked == method).count()
    }
}

/// A reader over these endpoints, in this order.
pub(crate) async fn reader(urls: &[&Url]) -> Arc<SolanaReader> {
    let urls = urls.iter().map(|url| (*url).clone()).collect();
    let mut config = SolanaConfig::new(Chain::Solana, urls, PROGRAM);
    config.request_timeout = std::time::Duration::from_millis(500);
    config.max_head_lag = 2;
    SolanaReader::connect(config).await.unwrap()
}

async fn answer(State(ledger): State<Arc<Mutex<Ledger>>>, body: String) -> axum::Json<Value> {
    let request: Value = serde_json::from_str(&body).unwrap();
    let (method, params) = (request["method"].as_str().unwrap(), &request["params"]);
    let mut ledger = ledger.lock().unwrap();
    let settings = params.as_array().and_then(|params| params.iter().rev().find(|param| param.is_object()));
    let commitment = settings.and_then(|settings| settings["commitment"].as_str()).unwrap_or("").to_owned();
    ledger.asked.push((method.to_owned(), commitment.clone()));
    let least = settings.and_then(|settings| settings["minContextSlot"].as_u64()).unwrap_or_default();
    let answer = if least > ledger.confirmed {
        Err((-32016, "Minimum context slot has not been reached".to_owned()))
    } else {
        ledger.answer(method, params, &commitment)
    };
    axum::Json(match answer {
        Ok(result) => json!({"jsonrpc": "2.0", "id": request["id"], "result": result}),
        Err((code, message)) => {
            json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": message}})
        }
    })
}

impl Ledger {
    fn answer(&self, method: &str, params: &Value, commitment: &str) -> Result<Value, (i64, String)> {
        let slot = params[0].as_u64().unwrap_or_default();
        Ok(match method {
            "getAccountInfo" => {
                let account = json!({"data": ["", "base64"], "owner": hash(1), "executable": true, "lamports": 1});
                json!({"context": {"slot": 1}, "value": account})
            }
            "getVersion" => json!({"solana-core": "4.1.2", "feature-set": 1}),
            "getSlot" => json!(if commitment == "finalized" { self.finalized } else { self.confirmed }),
            "getBlockTime" => json!(1_700_000_000 + slot),
            "getBlocks" => {
                let range = slot.max(self.first)..=params[1].as_u64().unwrap().min(self.confirmed);
                json!(self.blocks.range(range).map(|(slot, _)| *slot).collect::<Vec<_>>())
            }
            // The words and codes of Agave.
            "getBlock" if slot > self.confirmed => {
                return Err((-32004, format!("Block not available for slot {slot}")));
            }
            "getBlock" if slot < self.first => {
                let words =
                    format!("Block {slot} cleaned up, does not exist on node. First available block: {}", self.first);
                return Err((-32001, words));
            }
            "getBlock" => match self.blocks.get(&slot) {
                None => {
                    let words = format!("Slot {slot} was skipped, or missing due to ledger jump to recent snapshot");
                    return Err((-32007, words));
                }
                Some(block) => json!({
                    "blockhash": hash(block.hash), "previousBlockhash": hash(block.parent), "parentSlot": slot - 1,
                    "signatures": block.sent.iter().map(|sent| signature(sent.id)).collect::<Vec<_>>(),
                }),
            },
            "getSignaturesForAddress" => json!(self.signatures(&params[1])),
            "getTransaction" => {
                let wanted = params[0].as_str().unwrap();
                let all = self.blocks.iter().flat_map(|(slot, block)| block.sent.iter().map(|sent| (*slot, sent)));
                let found = all.clone().find(|(slot, sent)| *slot <= self.confirmed && signature(sent.id) == wanted);
                found.map_or(Value::Null, |(slot, sent)| transaction(slot, sent))
            }
            other => return Err((-32601, format!("no method {other}"))),
        })
    }

    /// Newest slot first; in a slot the wrong way round, as some nodes have it.
    fn signatures(&self, settings: &Value) -> Vec<Value> {
        let known = self.blocks.range(..=self.confirmed).rev();
        let all = known.flat_map(|(slot, block)| block.sent.iter().map(move |sent| (*slot, sent)));
        let told = all.map(|(slot, sent)| {
            let err = if sent.failed { json!({"InstructionError": [0, {"Custom": 6016}]}) } else { Value::Null };
            json!({"signature": signature(sent.id), "slot": slot, "err": err, "blockTime": 1_700_000_000 + slot})
        });
        let before = settings["before"].as_str().map(str::to_owned);
        let mut seen = before.is_none();
        told.filter(|told| {
            let was = seen;
            seen = seen || told["signature"].as_str() == before.as_deref();
            was
        })
        .take(settings["limit"].as_u64().unwrap() as usize)
        .collect()
    }
}

fn transaction(slot: u64, sent: &Sent) -> Value {
    let authority = find_program_address(&[b"__event_authority"], &PROGRAM).0;
    let inner = |account: &u64| {
        let name = Sha256::digest("event:DelegateSet");
        let tag = [0xe4, 0x45, 0xa5, 0x2e, 0x51, 0xcb, 0x9a, 0x1d];
        let data = [&tag[..], &name[..8], &account.to_le_bytes(), &[0]].concat();
        json!({"programIdIndex": 1, "accounts": [2], "data": bs58::encode(data).into_string()})
    };
    let calls = sent.accounts.iter().map(|_| json!({"programIdIndex": 1, "accounts": [0], "data": ""}));
    let inner =
        sent.accounts.iter().enumerate().map(|(at, account)| json!({"index": at, "instructions": [inner(account)]}));
    let err = if sent.failed { json!({"InstructionError": [0, {"Custom": 6016}]}) } else { Value::Null };
    json!({
        "slot": slot, "blockTime": 1_700_000_000 + slot,
        "transaction": {"message": {
            "accountKeys": [hash(3), PROGRAM, authority], "instructions": calls.collect::<Vec<_>>(),
        }},
        "meta": {"err": err, "innerInstructions": inner.collect::<Vec<_>>()},
    })
}
