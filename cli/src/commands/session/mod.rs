//! `session …`: an escrow's budget, spent with a provider.

mod close;
mod open;
mod receipts;
mod run;

pub(crate) use close::ask as ask_to_close;
pub(crate) use open::relayed as open_by_relayer;
pub(crate) use run::Inference;

use compute_futures_chain::market::{MarketAction, MarketEvent, SessionOnChain};
use compute_futures_protocol::Usdc;
use compute_futures_protocol::market::{SessionId, SessionStatus};
use serde_json::json;

use super::events::post_market;
use super::market::result_of;
use crate::args::SessionCommand;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;

pub(super) async fn run(context: &Context, command: SessionCommand) -> Outcome<()> {
    match command {
        SessionCommand::Open(args) => open::run(context, args).await,
        SessionCommand::Close(args) => close::run(context, args).await,
        SessionCommand::Lapse { sessions } => lapse(context, sessions).await,
        SessionCommand::Show { session } => show(context, session).await,
        SessionCommand::Run(args) => run::run(context, args).await,
        SessionCommand::Receipts { session } => receipts::run(context, session).await,
    }
}

async fn lapse(context: &Context, sessions: Vec<SessionId>) -> Outcome<()> {
    let verb = match sessions.as_slice() {
        [session] => MarketAction::LapseSession { session: *session },
        _ => MarketAction::LapseSessions { sessions },
    };
    let done = post_market(context, verb).await?;
    let released: Vec<(SessionId, Usdc)> = done
        .events
        .iter()
        .filter_map(|event| match event {
            MarketEvent::SessionLapsed { session, released } => Some((*session, *released)),
            _ => None,
        })
        .collect();
    let mut result = result_of(&done);
    result["lapsed"] =
        json!(released.iter().map(|(id, amount)| json!({"sessionId": id, "released": amount})).collect::<Vec<_>>());
    result["rejected"] = close::rejected(&done);
    context.output.result(&result, || {
        let mut rows: Vec<(String, String)> =
            released.iter().map(|(id, amount)| (id.to_string(), format!("lapsed, {amount} USDC released"))).collect();
        rows.extend(close::rejections(&done));
        rows.push(("transaction".into(), done.transaction.to_string()));
        facts(rows)
    });
    Ok(())
}

async fn show(context: &Context, id: SessionId) -> Outcome<()> {
    let reader = context.market().await?.reader();
    let SessionOnChain { status, terms, receipts_root, .. } = reader.session(id).await?.ok_or_else(|| {
        Failure::new("unknown_session", format!("session {id} was never opened"), "check the id and the network")
    })?;
    let history = reader.session_history(id).await?;
    let find = |select: fn(&MarketEvent) -> Option<Usdc>| history.iter().find_map(|event| select(&event.kind));
    let limit = find(|event| match event {
        MarketEvent::SessionOpened { limit, .. } => Some(*limit),
        _ => None,
    });
    let cost = find(|event| match event {
        MarketEvent::SessionClosed { cost, .. } => Some(*cost),
        _ => None,
    });
    let result = json!({
        "sessionId": id,
        "escrowId": id.escrow(),
        "status": status,
        "providerId": terms.map(|terms| terms.provider_id),
        "providerVersion": terms.map(|terms| terms.provider_version),
        "meter": terms.map(|terms| terms.meter),
        "limit": limit.or(terms.map(|terms| terms.limit)),
        "deadline": terms.map(|terms| terms.deadline.to_string()),
        "cost": cost,
        "receiptsRoot": receipts_root,
        "history": history.iter().map(|event| &event.kind).collect::<Vec<_>>(),
    });
    context.output.result(&result, || {
        let status = match status {
            SessionStatus::Open => "open",
            SessionStatus::Closed => "closed",
            SessionStatus::Lapsed => "lapsed",
        };
        let mut rows =
            vec![("session", id.to_string()), ("escrow", id.escrow().to_string()), ("status", status.into())];
        if let Some(terms) = terms {
            rows.push(("provider", format!("{} at version {}", terms.provider_id, terms.provider_version)));
            rows.push(("meter", terms.meter.to_string()));
            rows.push(("deadline", format!("{} (Unix seconds)", terms.deadline)));
        }
        rows.extend(limit.map(|limit| ("limit", format!("{limit} USDC"))));
        rows.extend(cost.map(|cost| ("cost", format!("{cost} USDC"))));
        facts(rows)
    });
    Ok(())
}
