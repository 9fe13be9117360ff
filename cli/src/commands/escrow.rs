//! `escrow …`: a budget for agents that never hold the money.

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::market::EscrowTerms;
use compute_futures_protocol::{Address, Usdc};
use serde_json::json;

use super::events::post_market;
use super::market::{after, escrow, or, result_of};
use crate::args::EscrowCommand;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::market_args::CreateArgs;
use crate::output::facts;

pub(super) async fn run(context: &Context, command: EscrowCommand) -> Outcome<()> {
    match command {
        EscrowCommand::Create(args) => create(context, args).await,
        EscrowCommand::Fund { escrow, amount } => fund(context, escrow, amount).await,
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
    }
}

async fn create(context: &Context, args: CreateArgs) -> Outcome<()> {
    let expiry = match (args.expiry, args.lasts) {
        (Some(expiry), _) => expiry,
        (None, lasts) => after(context, lasts.unwrap_or_default()).await?,
    };
    let agents = args.agents.into_iter().map(|agent| context.named(agent)).collect::<Outcome<_>>()?;
    let terms = EscrowTerms {
        creator: context.address()?,
        expiry,
        session_limit: args.session_limit,
        meter: args.meter.map(|meter| context.named(meter)).transpose()?,
        open_to_all: args.open_to_all,
        agents,
    };
    let now = after(context, std::time::Duration::ZERO).await?;
    terms.check(now).map_err(|fault| {
        Failure::new("bad_terms", fault.to_string(), "compute-futures escrow create --help shows what it takes")
    })?;
    some(args.amount)?;
    let done = post_market(context, MarketAction::Create { terms, amount: args.amount }).await?;
    let id = done.find(|event| match event {
        MarketEvent::EscrowCreated { escrow_id, .. } => Some(*escrow_id),
        _ => None,
    })?;
    let mut result = result_of(&done);
    result["escrowId"] = json!(id);
    result["expiry"] = json!(expiry.to_string());
    context.output.result(&result, || {
        facts([
            ("escrow", id.to_string()),
            ("funded", format!("{} USDC", args.amount)),
            ("sessions until", format!("{expiry} (Unix seconds)")),
            ("transaction", done.transaction.to_string()),
        ])
    });
    Ok(())
}

fn some(amount: Usdc) -> Outcome<()> {
    if amount.is_zero() {
        return Err(Failure::new("usage", "there is nothing to fund it with", "name an amount above zero"));
    }
    Ok(())
}

async fn fund(context: &Context, id: u32, amount: Usdc) -> Outcome<()> {
    some(amount)?;
    escrow(context, id).await?;
    let done = post_market(context, MarketAction::Fund { escrow_id: id, amount }).await?;
    let unreserved = done.find(|event| match event {
        MarketEvent::EscrowFunded { unreserved, .. } => Some(*unreserved),
        _ => None,
    })?;
    let mut result = result_of(&done);
    result["escrowId"] = json!(id);
    result["unreserved"] = json!(unreserved);
    context.output.result(&result, || {
        facts([("unreserved", format!("{unreserved} USDC")), ("transaction", done.transaction.to_string())])
    });
    Ok(())
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
