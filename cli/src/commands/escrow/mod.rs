//! `escrow …`: a budget for agents that never hold the money.

mod create;
mod deposit_address;
mod fund;
mod gasless;
mod payment;

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::{Address, Usdc};
use serde_json::json;

use super::events::post_market;
use super::market::{escrow, or, result_of};
use crate::args::EscrowCommand;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{Report, facts};

pub(crate) use create::checked as to_create;
pub(crate) use fund::checked as to_fund;

pub(super) async fn run(context: &Context, command: EscrowCommand) -> Outcome<()> {
    let report = match command {
        EscrowCommand::Allow { escrow, agent } => allow(context, escrow, agent).await?,
        EscrowCommand::Disallow { escrow, agent } => disallow(context, escrow, agent).await?,
        EscrowCommand::Refund { escrow, amount } => refund(context, escrow, amount).await?,
        EscrowCommand::Expire { escrow } => expire(context, escrow).await?,
        EscrowCommand::Show { escrow, agents } => show(context, escrow, &agents).await?,
        EscrowCommand::CloseAgent { escrow, agent } => close_agent(context, escrow, agent).await?,
        EscrowCommand::Create(args) => return create::run(context, args).await,
        EscrowCommand::Fund(args) => return fund::run(context, args).await,
        EscrowCommand::Sweep { terms } => return deposit_address::sweep(context, &terms).await,
        EscrowCommand::Recover { terms, token } => return deposit_address::recover(context, &terms, token).await,
        EscrowCommand::CloseDepositAddress { terms } => return deposit_address::close(context, &terms).await,
    };
    context.output.report(report);
    Ok(())
}

/// Lets an agent open sessions.
///
/// # Errors
/// When the key is not the creator's, or the chain does not answer.
pub(crate) async fn allow(context: &Context, escrow_id: u32, agent: Address) -> Outcome<Report> {
    let agent = context.named(agent)?;
    list(context, escrow_id, agent, MarketAction::AddAgent { escrow_id, agent }, "allowed").await
}

/// Lets an agent open no more sessions.
///
/// # Errors
/// As [`allow`].
pub(crate) async fn disallow(context: &Context, escrow_id: u32, agent: Address) -> Outcome<Report> {
    let agent = context.named(agent)?;
    list(context, escrow_id, agent, MarketAction::RemoveAgent { escrow_id, agent }, "disallowed").await
}

async fn list(context: &Context, id: u32, agent: Address, verb: MarketAction, what: &'static str) -> Outcome<Report> {
    let done = post_market(context, verb).await?;
    let mut result = result_of(&done);
    result["escrowId"] = json!(id);
    result[what] = json!(agent);
    let text = facts([(what, agent.to_string()), ("transaction", done.transaction.to_string())]);
    Ok(Report::new(result, text))
}

/// Solana: the rent of an agent's account, once its escrow is gone.
async fn close_agent(context: &Context, id: u32, agent: Address) -> Outcome<Report> {
    let agent = context.named(agent)?;
    let done = post_market(context, MarketAction::CloseAgent { escrow_id: id, agent }).await?;
    let mut result = result_of(&done);
    result["escrowId"] = json!(id);
    result["closed"] = json!(agent);
    let text = facts([("rent is back of", agent.to_string()), ("transaction", done.transaction.to_string())]);
    Ok(Report::new(result, text))
}

/// An escrow that the key created.
///
/// # Errors
/// `not_creator` when another did: money that is put there is theirs.
pub(crate) async fn is_ours(context: &Context, id: u32) -> Outcome<()> {
    let (creator, ours) = (escrow(context, id).await?.creator, context.address()?);
    if creator != ours {
        return Err(Failure::new(
            "not_creator",
            format!("escrow {id} is of {creator}, this is {ours}"),
            "name an escrow that this wallet created",
        ));
    }
    Ok(())
}

/// Money that there must be some of.
fn some(amount: Usdc) -> Outcome<()> {
    if amount.is_zero() {
        return Err(Failure::new("usage", "there is nothing to fund it with", "name an amount above zero"));
    }
    Ok(())
}

/// Takes back what is not reserved: all of it, or at most `amount`. It goes to the creator.
///
/// # Errors
/// As [`allow`]; also when nothing is unreserved.
pub(crate) async fn refund(context: &Context, id: u32, amount: Option<Usdc>) -> Outcome<Report> {
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
    let text = facts([
        ("refunded", format!("{refunded} USDC")),
        ("unreserved", format!("{unreserved} USDC")),
        ("transaction", done.transaction.to_string()),
    ]);
    Ok(Report::new(result, text))
}

/// After the expiry: sends everything to the creator.
///
/// # Errors
/// When it is too early, or done already.
pub(crate) async fn expire(context: &Context, id: u32) -> Outcome<Report> {
    let done = post_market(context, MarketAction::Expire { escrow_id: id }).await?;
    let (creator, paid) = done.find(|event| match event {
        MarketEvent::EscrowExpired { creator, amount, .. } => Some((*creator, *amount)),
        _ => None,
    })?;
    let mut result = result_of(&done);
    result["escrowId"] = json!(id);
    result["creator"] = json!(creator);
    result["paid"] = json!(paid);
    let text = facts([
        ("paid", format!("{paid} USDC")),
        ("to", creator.to_string()),
        ("transaction", done.transaction.to_string()),
    ]);
    Ok(Report::new(result, text))
}

/// Terms, budget, and what these agents may do, as the chain has it.
///
/// # Errors
/// When there is no such escrow, or none any more.
pub(crate) async fn show(context: &Context, id: u32, agents: &[Address]) -> Outcome<Report> {
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
    Ok(Report::new(result, facts(rows)))
}
