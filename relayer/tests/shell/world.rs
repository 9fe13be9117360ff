//! A chain, a relayer on it, and a client.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use compute_futures_chain::{KeySource, evm::local::LocalChain};
use compute_futures_protocol::Chain;
use compute_futures_relayer::{Running, config::Config, start};
use reqwest::{Client, Method, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Development keys by number.
pub(crate) const OPERATOR: usize = 0;
pub(crate) const FACILITATOR: usize = 1;
pub(crate) const AGENT: usize = 2;

pub(crate) struct World {
    pub(crate) chain: LocalChain,
    pub(crate) config: Config,
    pub(crate) url: String,
    pub(crate) client: Client,
    /// Holds ledger, keys and token until the end.
    _folder: TempDir,
    running: Option<(Running, CancellationToken)>,
}

impl World {
    /// A fresh chain and a relayer with these changes to its settings.
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let chain = LocalChain::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.bind = "127.0.0.1:0".into();
        config.base.rpc_urls = vec![chain.rpc_url.to_string()];
        config.base.contract = chain.contract.into();
        config.base.token = chain.usdc.into();
        config.base.deployment_block = chain.deployment_block;
        config.base.poll_interval_ms = 50;
        config.base.ledger_url = format!("sqlite://{}", folder.path().join("ledger.db").display());
        config.admin.token_file = folder.path().join("admin-token").display().to_string();
        config.base.operator_key = key_file(&folder, &chain, OPERATOR);
        config.base.facilitator_key = key_file(&folder, &chain, FACILITATOR);
        config.log.filter = "warn,compute_futures_relayer=info".into();
        change(&mut config);
        let mut world =
            Self { chain, config, url: String::new(), client: Client::new(), _folder: folder, running: None };
        world.boot().await;
        world
    }

    /// Starts the relayer on the present settings.
    pub(crate) async fn boot(&mut self) {
        let shutdown = CancellationToken::new();
        let running = start(self.config.clone(), shutdown.clone()).await.unwrap();
        self.url = format!("http://{}", running.addr);
        self.running = Some((running, shutdown));
    }

    /// Stops it gracefully.
    pub(crate) async fn stop(&mut self) {
        let (running, shutdown) = self.running.take().unwrap();
        shutdown.cancel();
        running.finished().await.unwrap();
    }

    pub(crate) fn operator_index(&self) -> u32 {
        self.running.as_ref().unwrap().0.networks.operator_index(Chain::Base).unwrap()
    }

    pub(crate) fn admin_token(&self) -> String {
        std::fs::read_to_string(&self.config.admin.token_file).unwrap().trim().to_owned()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.url)).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.client.post(format!("{}{path}", self.url)).json(body).send().await.unwrap()
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Response {
        self.client.request(method, format!("{}{path}", self.url)).body(body).send().await.unwrap()
    }

    /// Waits until /ready says so.
    pub(crate) async fn ready(&self) -> Value {
        for _ in 0..200 {
            let response = self.get("/ready").await;
            if response.status() == 200 {
                return response.json().await.unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("not ready: {}", self.get("/ready").await.text().await.unwrap());
    }
}

/// A key in a file that only its owner can read.
fn key_file(folder: &TempDir, chain: &LocalChain, number: usize) -> KeySource {
    use std::os::unix::fs::PermissionsExt;
    static FILES: AtomicU32 = AtomicU32::new(0);
    let file: PathBuf = folder.path().join(format!("key-{number}-{}", FILES.fetch_add(1, Ordering::Relaxed)));
    std::fs::write(&file, &chain.keys[number]).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    KeySource::File { file }
}
