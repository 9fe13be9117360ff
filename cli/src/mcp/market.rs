//! The marketplace as tools: an agent spends an escrow's budget with providers, within what this run may spend.

use std::time::Duration;

use compute_futures_protocol::market::SessionId;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::CallToolResult;
use rmcp::schemars::{self, JsonSchema};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::params::{Message, fields};
use super::session::{Session, nothing_charged};
use super::tools::{Tools, amount, encoded, told};
use crate::client::{ClientError, Request};
use crate::commands::{Inference, ask_to_close, open_by_relayer};
use crate::failure::{Failure, Outcome};
use crate::session_args::OpenArgs;

/// How long a session that says nothing else is open.
const HOUR: u64 = 3_600;

/// Which providers.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Providers {
    /// Only those that serve this model.
    model: Option<String>,
    /// At most so many micro-USDC for 1,000 tokens read.
    max_input_price: Option<String>,
    /// At most so many micro-USDC for 1,000 tokens written.
    max_output_price: Option<String>,
    /// At most so many milliseconds to an answer, on average.
    max_latency_ms: Option<u32>,
    /// At least so many percent of the last thirty days, as `99.5`.
    min_uptime: Option<String>,
    /// Only those with this feature.
    feature: Option<String>,
    /// `price`, `latency` or `uptime`.
    sort: Option<String>,
    /// How many.
    limit: Option<u32>,
}

/// A session to be opened.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Open {
    /// Id of the escrow that pays.
    escrow: u32,
    /// Id of the provider; left out: whoever serves `model` best.
    provider: Option<u32>,
    /// A model, when no provider is named.
    model: Option<String>,
    /// Most the session may cost, in USDC, as `0.5`: reserved in the escrow until it is closed.
    limit: String,
    /// How long it stays open, in seconds; an hour when left out.
    seconds: Option<u64>,
}

/// An inference: `prompt`, or `messages`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    /// Id of the escrow that pays.
    escrow: u32,
    /// The model, as the provider names it.
    model: String,
    /// What to ask.
    prompt: Option<String>,
    /// Or the conversation, oldest first.
    messages: Option<Vec<Message>>,
    /// The session that pays; left out: whichever of this agent's fits best.
    session: Option<String>,
    /// Only this provider.
    provider: Option<u32>,
    /// Bound of the answer, in tokens. A lower one costs less.
    max_tokens: Option<u32>,
    /// Most it may cost, in USDC.
    max_cost: Option<String>,
}

/// Which session.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Its id, as `4294967297`.
    session: String,
}

#[tool_router(router = market_router, vis = "pub(super)")]
impl Tools {
    /// Providers of the marketplace: models, prices (micro-USDC for 1,000 tokens), health. Free.
    #[tool(annotations(read_only_hint = true))]
    async fn market_providers(&self, Parameters(wanted): Parameters<Providers>) -> CallToolResult {
        let list = async {
            let mut path = "/api/v1/market/providers?".to_owned();
            for (name, value) in fields(&wanted) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                path.push_str(&format!("{name}={}&", encoded(&value)));
            }
            let path = self.session.context.here(path.trim_end_matches(['&', '?']));
            Ok(self.session.relayer.get(&path).await?)
        };
        told(list.await)
    }

    /// What opening a session would agree to: provider, prices, and what a call costs. Nothing is signed. Free.
    #[tool(annotations(read_only_hint = true))]
    async fn market_quote(&self, Parameters(open): Parameters<Open>) -> CallToolResult {
        told(self.session.quote(&open).await)
    }

    /// Opens a session on an escrow's budget with a provider; the relayer pays the gas. What is not spent goes back to the escrow.
    #[tool]
    async fn market_open(&self, Parameters(open): Parameters<Open>) -> CallToolResult {
        told(self.session.open(&open).await)
    }

    /// Asks a model on an open session. Paid from the session; the receipt is checked.
    #[tool]
    async fn market_run(&self, Parameters(run): Parameters<Run>) -> CallToolResult {
        told(self.session.inference(&run).await)
    }

    /// A session: what it has cost, what is left of it, until when it can be used. Free.
    #[tool(annotations(read_only_hint = true))]
    async fn market_session(&self, Parameters(Which { session }): Parameters<Which>) -> CallToolResult {
        let shown = async {
            let path = format!("/api/v1/market/sessions/{}", id_of(&session)?);
            Ok(self.session.relayer.get(&self.session.context.here(&path)).await?)
        };
        told(shown.await)
    }

    /// Closes a session at what it has cost; the rest goes back to the escrow. Do so when it is not needed any more.
    #[tool]
    async fn market_close(&self, Parameters(Which { session }): Parameters<Which>) -> CallToolResult {
        let closed = async { ask_to_close(&self.session.context, id_of(&session)?).await };
        told(closed.await)
    }
}

fn id_of(text: &str) -> Outcome<SessionId> {
    text.parse().map_err(|error| {
        Failure::new("invalid_session_id", format!("`session`: {error}"), "send the `sessionId` as it was answered")
    })
}

impl Session {
    async fn quote(&self, open: &Open) -> Outcome<Value> {
        let mut body = json!({
            "network": self.context.chain().caip2(),
            "escrowId": open.escrow,
            "agent": self.context.address()?,
            "limit": amount("limit", &open.limit)?,
            "seconds": open.seconds.unwrap_or(HOUR),
        });
        if let Some(provider) = open.provider {
            body["providerId"] = json!(provider);
        }
        if let Some(model) = &open.model {
            body["model"] = json!(model);
        }
        let request = Request::post("/api/v1/market/sessions/quote", &body);
        Ok(self.relayer.send(&request, &Default::default()).await?.success()?.body)
    }

    /// A session may reserve no more than this run may still spend.
    async fn open(&self, open: &Open) -> Outcome<Value> {
        let (limit, left) = (amount("limit", &open.limit)?, self.budget.left());
        if limit > left {
            return Err(ClientError::SessionLimit { limit: self.budget.limit(), needed: limit }.into());
        }
        if open.provider.is_none() && open.model.is_none() {
            return Err(Failure::new("usage", "neither provider nor model is named", "name one: `market_providers`"));
        }
        let args = OpenArgs {
            escrow: Some(open.escrow),
            provider: open.provider,
            model: open.model.clone().filter(|_| open.provider.is_none()),
            relay: true,
            limit: Some(limit),
            lasts: Duration::from_secs(open.seconds.unwrap_or(HOUR)),
            meter: None,
            content: None,
            sign: false,
            signed: None,
        };
        Ok(self.told(open_by_relayer(&self.context, &args).await?))
    }

    async fn inference(&self, run: &Run) -> Outcome<Value> {
        let messages = match (&run.prompt, &run.messages) {
            (Some(prompt), None) => json!([{ "role": "user", "content": prompt }]),
            (None, Some(messages)) => json!(messages),
            _ => return Err(Failure::new("usage", "send `prompt` or `messages`", "one of the two")),
        };
        let mut body = json!({ "model": run.model, "messages": messages });
        if let Some(provider) = run.provider {
            body["providerId"] = json!(provider);
        }
        if let Some(tokens) = run.max_tokens {
            body["maxTokens"] = json!(tokens);
        }
        let session = run.session.as_deref().map(id_of).transpose()?;
        let most = run.max_cost.as_deref().map(|most| amount("maxCost", most)).transpose()?;
        let asked = Inference { escrow: run.escrow, session }.ask(&self.context, body).await?;
        let price = most.map_or(asked.price(), |most| most.min(asked.price()));
        let hold = self.budget.hold(price)?;
        let bounded = hold.amount();
        let paid = match asked.order(bounded).await {
            Ok(paid) => paid,
            Err(error) => {
                if nothing_charged(&error) {
                    hold.release();
                }
                let clipped = error.code() == "max_cost_too_low" && bounded < price;
                let limit = self.budget.limit();
                return Err(if clipped { ClientError::SessionLimit { limit, needed: price } } else { error }.into());
            }
        };
        hold.settle(paid.receipt.receipt.cost);
        Ok(self.told(asked.check(&self.context, paid).await?.json()))
    }
}
