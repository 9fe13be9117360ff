//! What the creator of an escrow does, as tools: the verbs of `compute-futures escrow`, as the wallet of this server.

use std::time::Duration;

use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::CallToolResult;
use rmcp::schemars::{self, JsonSchema};
use rmcp::{tool, tool_router};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::session::Session;
use super::tools::{Tools, amount, told};
use crate::commands::escrow;
use crate::failure::Outcome;
use crate::market_args::{CreateArgs, GasArgs};

/// An escrow to be created.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// How much of the wallet's USDC goes in, as `20`.
    amount: String,
    /// Most one session may cost, in USDC.
    session_limit: String,
    /// How long sessions can be open, in seconds from now, as 2592000 for thirty days.
    seconds: u64,
    /// Addresses of the agents that may open sessions: this wallet, or those that the server may let in. None when left out.
    agents: Option<Vec<String>>,
}

/// More money.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fund {
    /// Id of the escrow.
    escrow: u32,
    /// How much of the wallet's USDC, as `5`.
    amount: String,
}

/// An agent of an escrow.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Agent {
    /// Id of the escrow.
    escrow: u32,
    /// The agent's address.
    agent: String,
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refund {
    /// Id of the escrow.
    escrow: u32,
    /// At most how much, in USDC; left out: everything.
    amount: Option<String>,
}

/// Which escrow.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Its id.
    escrow: u32,
}

/// What to show.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Show {
    /// Id of the escrow.
    escrow: u32,
    /// Agents to look up; this wallet when left out.
    agents: Option<Vec<String>>,
}

#[tool_router(router = escrow_router, vis = "pub(super)")]
impl Tools {
    /// Creates an escrow with USDC of this server's wallet: a budget on which agents open sessions with providers. Counts towards the
    /// deposit limit; what is not reserved can be taken back any time. The wallet pays the gas.
    #[tool(annotations(read_only_hint = false, destructive_hint = false))]
    async fn escrow_create(&self, Parameters(create): Parameters<Create>) -> CallToolResult {
        told(self.session.create(&create).await)
    }

    /// Adds USDC of the wallet to an escrow that the wallet created. Counts towards the deposit limit. The wallet pays the gas.
    #[tool(annotations(read_only_hint = false, destructive_hint = false))]
    async fn escrow_fund(&self, Parameters(fund): Parameters<Fund>) -> CallToolResult {
        told(self.session.fund(&fund).await)
    }

    /// Lets an agent open sessions on an escrow of this wallet, and so spend it: the wallet itself, or one that the server was started
    /// with. The wallet pays the gas.
    #[tool(annotations(read_only_hint = false, destructive_hint = false))]
    async fn escrow_allow(&self, Parameters(Agent { escrow, agent }): Parameters<Agent>) -> CallToolResult {
        let allowed = async {
            let agent = self.session.agent(&agent)?;
            self.session.post(escrow::allow(&self.session.context, escrow, agent)).await
        };
        told(allowed.await)
    }

    /// Lets an agent open no more sessions on an escrow of this wallet; those it opened go on. The wallet pays the gas.
    #[tool(annotations(read_only_hint = false, destructive_hint = true))]
    async fn escrow_disallow(&self, Parameters(Agent { escrow, agent }): Parameters<Agent>) -> CallToolResult {
        let disallowed = async {
            let agent = self.session.address("agent", &agent)?;
            self.session.post(escrow::disallow(&self.session.context, escrow, agent)).await
        };
        told(disallowed.await)
    }

    /// Takes what is not reserved out of an escrow of this wallet, back to the wallet. Any time. The wallet pays the gas.
    #[tool(annotations(read_only_hint = false, destructive_hint = false))]
    async fn escrow_refund(&self, Parameters(Refund { escrow, amount: most }): Parameters<Refund>) -> CallToolResult {
        let refunded = async {
            let most = most.as_deref().map(|text| amount("amount", text)).transpose()?;
            self.session.post(escrow::refund(&self.session.context, escrow, most)).await
        };
        told(refunded.await)
    }

    /// Ends an escrow whose expiry is over, for good, and sends all that it holds to its creator. The wallet pays the gas.
    #[tool(annotations(read_only_hint = false, destructive_hint = true))]
    async fn escrow_expire(&self, Parameters(Which { escrow }): Parameters<Which>) -> CallToolResult {
        told(self.session.post(escrow::expire(&self.session.context, escrow)).await)
    }

    /// An escrow as the chain has it: creator, meter, expiry, what is unreserved and reserved (micro-USDC), and whether this wallet, or
    /// the agents that are named, may open sessions. Free.
    #[tool(annotations(read_only_hint = true))]
    async fn escrow_show(&self, Parameters(show): Parameters<Show>) -> CallToolResult {
        let shown = async {
            let session = &self.session;
            let agents = match &show.agents {
                Some(named) => {
                    named.iter().map(|agent| session.address("agents", agent)).collect::<Outcome<Vec<_>>>()?
                }
                None => vec![session.context.address()?],
            };
            Ok(escrow::show(&session.context, show.escrow, &agents).await?.value)
        };
        told(shown.await)
    }
}

impl Session {
    async fn create(&self, create: &Create) -> Outcome<Value> {
        let paid = amount("amount", &create.amount)?;
        let args = CreateArgs {
            amount: Some(paid),
            session_limit: Some(amount("session_limit", &create.session_limit)?),
            lasts: Some(Duration::from_secs(create.seconds)),
            expiry: None,
            agents: create.agents.iter().flatten().map(|agent| self.agent(agent)).collect::<Outcome<_>>()?,
            // Anyone could spend it.
            open_to_all: false,
            // Who meters says what a session cost: not for a model to choose.
            meter: self.meter,
            deposit_address: false,
            gas: GasArgs::default(),
        };
        let payment = async { Ok(escrow::to_create(&self.context, &args).await?.post(&self.context)) };
        self.pay(paid, payment).await
    }

    /// What is put into another's escrow would be theirs, who could take it back.
    async fn fund(&self, fund: &Fund) -> Outcome<Value> {
        let paid = amount("amount", &fund.amount)?;
        let payment = async {
            escrow::is_ours(&self.context, fund.escrow).await?;
            Ok(escrow::to_fund(&self.context, fund.escrow, paid).await?.post(&self.context))
        };
        self.pay(paid, payment).await
    }
}
