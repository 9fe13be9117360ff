//! `escrow …`: a budget for agents that never hold the money.

mod create;
mod deposit_address;
mod fund;
mod gasless;

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::{Address, Usdc};
use serde_json::json;

use super::events::post_market;
use super::market::{escrow, or, result_of};
use crate::args::EscrowCommand;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;

pub(super) async fn run(context: &Context, command: EscrowCommand) -> Outcome<()> {
    match command {
        EscrowCommand::Create(args) => create::run(context, args).await,
        EscrowCommand::Fund(args) => fund::run(context, args).await,
        EscrowCommand::Allow { escrow, agent } => {
            let agent = context.named(agent)?;
            list(context, escrow, agent, MarketAction::AddAgent { escrow_id: escrow, agent }, "allowed").await
        }
        EscrowCommand::Disallow { escrow, agent } => {
            let agent = context.named(agent)?;
            list(context, escrow, agent, MarketAction::RemoveAgent { escrow_id: escrow, agent }, "disallowed").await
        }
        EscrowCommand::Refund { escrow, amount } => refund(context, escrow, amount).await,
        EscrowCommand::Expire { escrow } => expire(context, escrow).await,
        EscrowCommand::Show { escrow, agents } => show(context, escrow, &agents).await,
        EscrowCommand::Sweep { terms } => deposit_address::sweep(context, &terms).await,
        EscrowCommand::Recover { terms, token } => deposit_address::recover(context, &terms, token).await,
        EscrowCommand::CloseDepositAddress { terms } => deposit_address::close(context, &terms).await,
        EscrowCommand::CloseAgent { escrow, agent } => close_agent(context, escrow, agent).await,
    }
}

async fn list(context: &Context, id: u32, agent: Address, verb: MarketAction, what: &'static str) -> Outcome<()> {
    let done = post_market(context, verb).await?;
    let mut result = result_of(&done);
    result["escrowId"] = json!(id);
    result[what] = json!(agent);
    context
        .output
        .result(&result, || facts([(what, agent.to_string()), ("transaction", done.transaction.to_string())]));
    Ok(())
}

/// Solana: the rent of an agent's account, once its escrow is gone.
async fn close_agent(context: &Context, id: u32, agent: Address) -> Outcome<()> {
    let agent = context.named(agent)?;
    let done = post_market(context, MarketAction::CloseAgent { escrow_id: id, agent }).await?;
    let mut result = result_of(&done);
    result["escrowId"] = json!(id);
    result["closed"] = json!(agent);
    context.output.result(&result, || {
        facts([("rent is back of", agent.to_string()), ("transaction", done.transaction.to_string())])
    });
    Ok(())
}

/// Money that there must be some of.
fn some(amount: Usdc) -> Outcome<()> {
    if amount.is_zero() {
        return Err(Failure::new("usage", "there is nothing to fund it with", "name an amount above zero"));
    }
    Ok(())
}

async fn refund(context: &Context, id: u32, amount: Option<Usdc>) -> Outcome<()> {
    let amount = amount.unwrap_or(Usdc::MAX);
    let done = post_market(context, MarketAction::Refund { escrow_id: id, amount }).await?;
    let (refunded, unreserved) = done.find(|event| match event {
        MarketEvent::EscrowRefunded { amount, unreserved, .. } => Some((*amount, *unreserved)),
        _ => None,
    })?;
    let mut result = result_of(&done);
    result["escrowId"] = json!(id);
    result["refunded"] = json!(refunded);
    result["unreserved"] = json!(unreserved);
    context.output.result(&result, || {
        facts([
            ("refunded", format!("{refunded} USDC")),
            ("unreserved", format!("{unreserved} USDC")),
            ("transaction", done.transaction.to_string()),
        ])
    });
    Ok(())
}

async fn expire(context: &Context, id: u32) -> Outcome<()> {
    let done = post_market(context, MarketAction::Expire { escrow_id: id }).await?;
    let (creator, paid) = done.find(|event| match event {
        MarketEvent::EscrowExpired { creator, amount, .. } => Some((*creator, *amount)),
        _ => None,
    })?;
    let mut result = result_of(&done);
    result["escrowId"] = json!(id);
    result["creator"] = json!(creator);
    result["paid"] = json!(paid);
    context.output.result(&result, || {
        facts([
            ("paid", format!("{paid} USDC")),
            ("to", creator.to_string()),
            ("transaction", done.transaction.to_string()),
        ])
    });
    Ok(())
}

async fn show(context: &Context, id: u32, agents: &[Address]) -> Outcome<()> {
    let found = escrow(context, id).await?;
    let reader = context.market().await?.reader();
    let mut listed = Vec::with_capacity(agents.len());
    for agent in agents {
        let agent = context.named(*agent)?;
        listed.push((agent, reader.agent(id, agent).await?));
    }
    let state = &found.state;
    let result = json!({
        "escrowId": id,
        "creator": found.creator,
        "meter": found.meter,
        "openToAll": found.open_to_all,
        "expiry": state.expiry.to_string(),
        "sessionLimit": state.session_limit,
        "sessions": state.session_count,
        "unreserved": state.unreserved,
        "reserved": state.reserved,
        "closed": state.closed,
        "agents": listed.iter().map(|(agent, state)| {
            json!({ "agent": agent, "allowed": state.allowed, "nonce": state.nonce })
        }).collect::<Vec<_>>(),
    });
    context.output.result(&result, || {
        let mut rows = vec![
            ("escrow".to_owned(), id.to_string()),
            ("creator".to_owned(), found.creator.to_string()),
            ("meter".to_owned(), or(found.meter, "whom agents choose")),
            ("agents".to_owned(), if found.open_to_all { "anyone".into() } else { "those on the list".to_owned() }),
            ("sessions until".to_owned(), format!("{} (Unix seconds)", state.expiry)),
            ("session limit".to_owned(), format!("{} USDC", state.session_limit)),
            ("sessions so far".to_owned(), state.session_count.to_string()),
            ("unreserved".to_owned(), format!("{} USDC", state.unreserved)),
            ("reserved".to_owned(), format!("{} USDC", state.reserved)),
        ];
        if state.closed {
            rows.push(("closed".to_owned(), "emptied after its expiry".to_owned()));
        }
        rows.extend(listed.iter().map(|(agent, state)| {
            let may = if state.allowed { "may open sessions" } else { "may not open sessions" };
            (agent.to_string(), format!("{may}; next nonce {}", state.nonce))
        }));
        facts(rows)
    });
    Ok(())
}
