//! A relayer as it is started in production, on anvil with Circle's USDC and the embedded facilitator.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use compute_futures_chain::ChainReader;
use compute_futures_chain::KeySource;
use compute_futures_chain::evm::EvmReader;
use compute_futures_chain::evm::local::LocalChain;
use compute_futures_protocol::{B256, Chain, EvmPayment, Signer, U256, Usdc};
use compute_futures_relayer::Running;
use compute_futures_relayer::config::Config;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::world::{encode, now, random, usdc};

/// Which of the development keys is whose.
pub const AGENT: usize = 1;
const OPERATOR: usize = 2;
const FACILITATOR: usize = 3;
/// Somebody else.
pub const FRIEND: usize = 4;

fn key_file(folder: &Path, name: &str, key: &str) -> KeySource {
    use std::io::Write;
    let path = folder.join(name);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(key.as_bytes()).unwrap();
    KeySource::File { file: path }
}

pub struct Local {
    pub chain: LocalChain,
    pub reader: std::sync::Arc<EvmReader>,
    pub url: String,
    pub http: reqwest::Client,
    running: Running,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Local {
    pub async fn start() -> Self {
        let chain = LocalChain::start().await.unwrap();
        for key in [AGENT, FRIEND] {
            let holder = chain.signer(key).unwrap().address();
            chain.mint(holder, usdc(1_000_000_000)).await.unwrap();
        }
        let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let mut config = Config::default();
        config.server.bind = "127.0.0.1:0".into();
        config.base.rpc_urls = vec![chain.rpc_url.to_string()];
        config.base.contract = chain.contract.into();
        config.base.token = chain.usdc.into();
        config.base.deployment_block = chain.deployment_block;
        config.base.poll_interval_ms = 100;
        config.base.operator_key = key_file(folder.path(), "operator", &chain.keys[OPERATOR]);
        config.base.facilitator_key = key_file(folder.path(), "facilitator", &chain.keys[FACILITATOR]);
        config.base.ledger_url = format!("sqlite://{}/ledger.db", folder.path().display());
        let running = compute_futures_relayer::start(config, stop.clone()).await.unwrap();
        let reader = chain.reader().await.unwrap();
        let url = format!("http://{}", running.addr);
        Self { chain, reader, url, http: reqwest::Client::new(), running, stop, _folder: folder }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.running.finished().await.unwrap();
    }

    pub fn signer(&self, key: usize) -> Signer {
        self.chain.signer(key).unwrap()
    }

    pub async fn balance(&self, key: usize) -> Usdc {
        self.reader.token_balance(self.signer(key).address(), None).await.unwrap()
    }

    pub async fn get(&self, target: &str) -> (u16, Value) {
        let response = self.http.get(format!("{}{target}", self.url)).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn post(&self, target: &str, body: &Value, payment: Option<&str>) -> (u16, Value) {
        let mut request = self.http.post(format!("{}{target}", self.url)).json(body);
        if let Some(payment) = payment {
            request = request.header("payment-signature", payment);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Asks, and signs an `exact` payment for what is asked.
    pub async fn pay(&self, target: &str, body: &Value, payer: &Signer) -> String {
        let response = self.http.post(format!("{}{target}", self.url)).json(body).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 402, "{}", response.text().await.unwrap());
        let required = crate::world::decode(&response.headers()["payment-required"]);
        let offer = &required["accepts"][0];
        let payment = EvmPayment {
            asset: self.chain.usdc,
            from: payer.address().evm().unwrap(),
            network: Chain::Base,
            nonce: random(),
            signature: vec![].into(),
            to: offer["payTo"].as_str().unwrap().parse().unwrap(),
            valid_after: U256::ZERO,
            valid_before: U256::from(now() + 300),
            value: Usdc::parse_micros(offer["amount"].as_str().unwrap()).unwrap(),
        };
        let signature = payer.sign(payment.digest().unwrap());
        encode(&json!({
            "x402Version": 2,
            "accepted": offer,
            "payload": { "signature": format!("0x{}", hex::encode(signature)), "authorization": {
                "from": payment.from, "to": payment.to, "value": payment.value, "nonce": payment.nonce,
                "validAfter": "0", "validBefore": payment.valid_before.to_string(),
            } }
        }))
    }
}

/// 32 random bytes.
pub fn salt() -> B256 {
    random()
}
