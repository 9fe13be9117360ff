//! An agent: a wallet and its account.

use compute_futures_cli::client::Request;
use compute_futures_protocol::{AccountId, Address, Chain, Signer};
use serde_json::{Value, json};

/// A wallet and its account.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Signs.
    pub signer: Signer,
    /// Pays.
    pub account: AccountId,
    /// On which chain.
    pub chain: Chain,
}

impl Agent {
    /// An agent that spends from `account`.
    #[must_use]
    pub fn new(signer: Signer, account: AccountId, chain: Chain) -> Self {
        Self { signer, account, chain }
    }

    /// Its wallet.
    #[must_use]
    pub fn address(&self) -> Address {
        self.signer.address()
    }

    /// Its futures id.
    #[must_use]
    pub fn futures_id(&self) -> String {
        self.account.futures_id(self.chain).to_string()
    }

    /// `execute` with this body beside the futures id.
    #[must_use]
    pub fn execute(&self, mut body: Value) -> Request {
        body["futuresId"] = json!(self.futures_id());
        Request::post("/api/v1/compute-futures/execute", &body)
    }

    /// A summary by the flat-priced default model.
    #[must_use]
    pub fn summary(&self, text: &str) -> Request {
        self.job("auto", text)
    }

    /// A text job by `model`.
    #[must_use]
    pub fn job(&self, model: &str, text: &str) -> Request {
        self.execute(json!({
            "type": "text-inference", "model": model, "max_tokens": 64, "messages": [{ "role": "user", "content": text }],
        }))
    }
}
