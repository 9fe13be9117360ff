//! The whole indexer on a free port.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use compute_futures_chain::ChainReader;
use compute_futures_indexer::{Config, Options, Result, follow::Source, run_on};
use compute_futures_protocol::Chain;
use serde_json::Value;
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub struct App {
    pub address: SocketAddr,
    pub client: reqwest::Client,
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl App {
    pub async fn start(chain: Arc<dyn ChainReader>, config: Config) -> Self {
        Self::start_on(vec![chain], config).await
    }

    /// Over several chains, in the order of the configuration's networks.
    pub async fn start_on(chains: Vec<impl Into<Source>>, config: Config) -> Self {
        let (on_bound, bound) = oneshot::channel();
        let stop = CancellationToken::new();
        let chains = chains.into_iter().map(Into::into).collect();
        let options = Options { on_bound: Some(on_bound), metrics: None };
        let task = tokio::spawn(run_on(config, chains, options, stop.clone()));
        let address = bound.await.expect("the indexer starts");
        Self { address, client: reqwest::Client::new(), stop, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.client.get(self.url(path)).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A 200 answer.
    pub async fn ok(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let (_, body) = self.get(path).await;
            if wanted(&body) {
                return body;
            }
            if tokio::time::Instant::now() > deadline {
                let (_, networks) = self.get("/api/v1/networks").await;
                panic!("{path} stays {body}; {networks}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until block `height` is stored and nothing is left to do.
    pub async fn at(&self, height: u64) -> Value {
        self.until("/api/v1/status", |s| s["inSync"] == true && s["asOf"]["block"].as_u64() >= Some(height)).await
    }

    /// As [`App::at`], of one of several networks.
    pub async fn at_on(&self, chain: Chain, height: u64) -> Value {
        let path = format!("/api/v1/status?network={chain}");
        self.until(&path, |s| s["inSync"] == true && s["asOf"]["block"].as_u64() >= Some(height)).await
    }

    /// Graceful: every part ends by itself.
    pub async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task).await.expect("stops in time").unwrap().unwrap();
    }
}
