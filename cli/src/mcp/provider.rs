//! What a provider of the marketplace does, as tools: the verbs of `compute-futures provider`, as the wallet of this server.

use clap::ValueEnum;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::CallToolResult;
use rmcp::schemars::{self, JsonSchema};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tools::{Tools, amount, told};
use crate::commands::provider::{self, Content};
use crate::failure::{Failure, Outcome};
use crate::market_args::Interval;

/// A provider to be registered.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Register {
    /// What is served, where and at what price. Everyone can read it.
    #[schemars(with = "Content")]
    content: Value,
}

/// What it publishes from now on.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    /// Id of the provider.
    provider: u32,
    /// All that it publishes: what is left out is gone.
    #[schemars(with = "Content")]
    content: Value,
}

/// Taking it out of the market.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retire {
    /// Id of the provider.
    provider: u32,
    /// Must be true: it cannot come back.
    confirm: bool,
}

/// Which earnings.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Withdraw {
    /// Id of the provider.
    provider: u32,
    /// How much, in USDC, as `1.5`; left out: everything.
    amount: Option<String>,
}

/// Which provider.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Its id.
    provider: u32,
}

/// Which figures.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    /// Id of the provider.
    provider: u32,
    /// Length of an entry: `hour` or `day`; a day when left out.
    interval: Option<String>,
    /// From this second on (Unix seconds); left out: thirty days ago.
    from: Option<u64>,
    /// Up to this second (Unix seconds); left out: now.
    to: Option<u64>,
}

#[tool_router(router = provider_router, vis = "pub(super)")]
impl Tools {
    /// Registers a provider of the marketplace that this server's wallet owns. The wallet pays the gas.
    #[tool(annotations(read_only_hint = false, destructive_hint = false))]
    async fn provider_register(&self, Parameters(Register { content }): Parameters<Register>) -> CallToolResult {
        let registered = async {
            let content = provider::read_content(content)?;
            self.session.post(provider::register(&self.session.context, content)).await
        };
        told(registered.await)
    }

    /// Replaces what a provider of this wallet publishes; sessions that are open keep their prices. The wallet pays the gas.
    #[tool(annotations(read_only_hint = false, destructive_hint = true))]
    async fn provider_update(&self, Parameters(Update { provider, content }): Parameters<Update>) -> CallToolResult {
        let updated = async {
            let content = provider::read_content(content)?;
            self.session.post(provider::update(&self.session.context, provider, content)).await
        };
        told(updated.await)
    }

    /// Takes a provider of this wallet out of the market, for good; earnings stay. The wallet pays the gas.
    #[tool(annotations(read_only_hint = false, destructive_hint = true))]
    async fn provider_retire(&self, Parameters(Retire { provider, confirm }): Parameters<Retire>) -> CallToolResult {
        let retired = async {
            if !confirm {
                let hint = "send \"confirm\": true if the provider shall leave the market";
                return Err(Failure::new("not_confirmed", "nothing was done: who retires cannot come back", hint));
            }
            self.session.post(provider::retire(&self.session.context, provider)).await
        };
        told(retired.await)
    }

    /// Takes earnings of a provider of this wallet, to the wallet itself. The wallet pays the gas.
    #[tool(annotations(read_only_hint = false, destructive_hint = false))]
    async fn provider_withdraw(&self, Parameters(wanted): Parameters<Withdraw>) -> CallToolResult {
        let withdrawn = async {
            let some = wanted.amount.as_deref().map(|text| amount("amount", text)).transpose()?;
            // To the key's own address, whatever was asked.
            self.session.post(provider::withdraw(&self.session.context, wanted.provider, some, None)).await
        };
        told(withdrawn.await)
    }

    /// What a provider publishes, and what it has earned and not withdrawn (micro-USDC), as the chain has it. Free.
    #[tool(annotations(read_only_hint = true))]
    async fn provider_show(&self, Parameters(Which { provider }): Parameters<Which>) -> CallToolResult {
        let shown = async { Ok(provider::show(&self.session.context, provider).await?.value) };
        told(shown.await)
    }

    /// What an indexer has counted of a provider: requests, tokens, earnings, latency, uptime. Free.
    #[tool(annotations(read_only_hint = true))]
    async fn provider_metrics(&self, Parameters(wanted): Parameters<Metrics>) -> CallToolResult {
        let metrics = async {
            let interval = wanted.interval.as_deref().map_or(Ok(Interval::Day), interval)?;
            let metrics =
                provider::metrics(&self.session.context, wanted.provider, interval, wanted.from, wanted.to).await?;
            Ok(metrics.value)
        };
        told(metrics.await)
    }
}

fn interval(text: &str) -> Outcome<Interval> {
    Interval::from_str(text, false)
        .map_err(|_| Failure::new("usage", format!("`interval`: {text:?} is none"), "send `hour` or `day`"))
}
