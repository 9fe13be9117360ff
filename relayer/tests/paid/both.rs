//! A relayer as it is started in production on both networks: anvil with Circle's USDC, Surfpool with the program.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use compute_futures_chain::evm::local::LocalChain;
use compute_futures_chain::solana::local::{PROGRAM, SolanaLocal, dev_seed};
use compute_futures_chain::solana::{FeePayer, SolanaReader};
use compute_futures_chain::{ChainReader, KeySource};
use compute_futures_protocol::solana::SolanaTransaction;
use compute_futures_protocol::{Address, Chain, Signer, TransactionId, Usdc};
use compute_futures_relayer::Running;
use compute_futures_relayer::config::Config;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::world::{decode, encode, usdc};

/// Development keys on Solana.
pub const OPERATOR: u8 = 1;
pub const FACILITATOR: u8 = 2;
pub const AGENT: u8 = 3;
pub const FRIEND: u8 = 4;

pub struct Both {
    _base: LocalChain,
    pub solana: SolanaLocal,
    pub reader: Arc<SolanaReader>,
    pub url: String,
    pub http: reqwest::Client,
    running: Running,
    stop: CancellationToken,
    pub folder: tempfile::TempDir,
}

fn key_file(folder: &Path, name: &str, key: &str) -> KeySource {
    use std::io::Write;
    let path = folder.join(name);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(key.as_bytes()).unwrap();
    KeySource::File { file: path }
}

/// What `solana-keygen` writes.
fn keypair(index: u8) -> String {
    let seed = dev_seed(index);
    let public = Signer::ed25519(&seed).address().solana().unwrap();
    serde_json::to_string(&[&seed[..], public.as_bytes()].concat()).unwrap()
}

impl Both {
    pub async fn start() -> Self {
        let both = Self::start_with(|_| {}).await;
        both.until_ready("base").await;
        both.until_ready("solana").await;
        both
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let base = LocalChain::start().await.unwrap();
        let solana = SolanaLocal::start(Duration::from_millis(50)).await.expect("Surfpool starts: run `npm ci` first");
        for key in [AGENT, FRIEND] {
            solana.cheats().set_usdc(solana.signer(key).address(), usdc(1_000_000_000)).await.unwrap();
        }
        let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let mut config = Config::default();
        config.server.bind = "127.0.0.1:0".into();
        config.server.free_requests_per_second = 0;
        config.admin.token_file = folder.path().join("token").display().to_string();
        config.base.rpc_urls = vec![base.rpc_url.to_string()];
        config.base.contract = base.contract.into();
        config.base.token = base.usdc.into();
        config.base.deployment_block = base.deployment_block;
        config.base.poll_interval_ms = 100;
        config.base.operator_key = key_file(folder.path(), "operator", &base.keys[2]);
        config.base.facilitator_key = key_file(folder.path(), "facilitator", &base.keys[3]);
        config.base.ledger_url = format!("sqlite://{}/base.db", folder.path().display());
        config.solana.enabled = true;
        config.solana.rpc_urls = vec![solana.rpc_url.to_string()];
        config.solana.contract = PROGRAM.into();
        config.solana.deployment_block = solana.deployment_slot;
        config.solana.poll_interval_ms = 100;
        config.solana.operator_key = key_file(folder.path(), "solana-operator", &keypair(OPERATOR));
        config.solana.facilitator_key = key_file(folder.path(), "solana-facilitator", &keypair(FACILITATOR));
        config.solana.ledger_url = format!("sqlite://{}/solana.db", folder.path().display());
        change(&mut config);
        let running = compute_futures_relayer::start(config, stop.clone()).await.unwrap();
        let reader = solana.reader().await.unwrap();
        let url = format!("http://{}", running.addr);
        Self { _base: base, solana, reader, url, http: reqwest::Client::new(), running, stop, folder }
    }

    /// Waits until a network is served and followed.
    pub async fn until_ready(&self, network: &str) {
        for _ in 0..300 {
            if self.get(&format!("/ready?network={network}")).await.0 == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{network} is not served: {}", self.get("/ready").await.1);
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.running.finished().await.unwrap();
    }

    pub fn signer(&self, key: u8) -> Signer {
        self.solana.signer(key)
    }

    pub async fn balance(&self, key: u8) -> Usdc {
        self.reader.token_balance(self.signer(key).address(), None).await.unwrap()
    }

    pub async fn get(&self, target: &str) -> (u16, Value) {
        let response = self.http.get(format!("{}{target}", self.url)).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Sends with a header, if any; `GET` when there is no body.
    pub async fn send(
        &self,
        target: &str,
        body: Option<&Value>,
        header: Option<(&str, &str)>,
    ) -> (u16, HeaderMap, Value) {
        let url = format!("{}{target}", self.url);
        let mut request = match body {
            Some(body) => self.http.post(url).header("content-type", "application/json").body(body.to_string()),
            None => self.http.get(url),
        };
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.json().await.unwrap())
    }

    /// Asks without paying; answers the entry of `accepts` of a scheme on a network.
    pub async fn offer(&self, target: &str, body: Option<&Value>, scheme: &str, chain: Chain, version: u8) -> Value {
        let (status, headers, answer) = self.send(target, body, None).await;
        assert_eq!(status, 402, "{answer}");
        let (accepts, name) = match version {
            1 => (answer["accepts"].clone(), chain.v1_name()),
            _ => (decode(&headers["payment-required"])["accepts"].clone(), chain.caip2()),
        };
        let found =
            accepts.as_array().unwrap().iter().find(|entry| entry["scheme"] == scheme && entry["network"] == name);
        found.unwrap_or_else(|| panic!("no {scheme} on {name} among {accepts}")).clone()
    }

    /// Signs a payment on Solana for an entry of `accepts`, in the version that the entry is of.
    pub async fn sign(&self, offer: &Value, payer: u8, memo: &str) -> (&'static str, String) {
        let address = |value: &Value| value.as_str().unwrap().parse::<Address>().unwrap();
        let amount = offer["amount"].as_str().or(offer["maxAmountRequired"].as_str()).unwrap();
        let signer = self.signer(payer);
        let signed = self.reader.sign_payment(
            &signer,
            address(&offer["extra"]["feePayer"]),
            address(&offer["payTo"]),
            Usdc::parse_micros(amount).unwrap(),
            memo,
        );
        payment(offer, &signed.await.unwrap())
    }

    /// Asks, and signs for what is asked.
    pub async fn pay(&self, target: &str, body: Option<&Value>, payer: u8, version: u8) -> (&'static str, String) {
        let offer = self.offer(target, body, "exact", Chain::Solana, version).await;
        self.sign(&offer, payer, &format!("{}", compute_futures_relayer::ledger::new_job_id())).await
    }

    /// A transfer of one's own, with a memo; answers its signature.
    pub async fn transfer(&self, from: u8, to: Address, amount: Usdc, memo: &str) -> String {
        let signer = self.signer(from);
        let raw = self.reader.sign_payment(&signer, signer.address(), to, amount, memo).await.unwrap();
        let id = TransactionId::Solana(SolanaTransaction::parse(&raw).unwrap().signatures[0]);
        FeePayer::new(Arc::clone(&self.reader), signer).unwrap().send(&raw).await.unwrap();
        for _ in 0..200 {
            if self.reader.payment_status(id).await.unwrap().is_some() {
                return id.to_string();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the transfer never landed");
    }
}

/// A payment header around a transaction.
pub fn payment(offer: &Value, transaction: &[u8]) -> (&'static str, String) {
    use base64::Engine;
    let payload = json!({ "transaction": base64::engine::general_purpose::STANDARD.encode(transaction) });
    if offer.get("maxAmountRequired").is_some() {
        let document =
            json!({ "x402Version": 1, "scheme": offer["scheme"], "network": offer["network"], "payload": payload });
        return ("x-payment", encode(&document));
    }
    ("payment-signature", encode(&json!({ "x402Version": 2, "accepted": offer, "payload": payload })))
}
