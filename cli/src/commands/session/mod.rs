//! `session …`: an escrow's budget, spent with a provider.

mod close;

use compute_futures_chain::market::{MarketAction, MarketEvent, SessionOnChain};
use compute_futures_protocol::market::{OpenSession, SessionId, SessionRequest, SessionStatus};
use compute_futures_protocol::{Bytes, Usdc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::events::{Done, post_market};
use super::market::{after, escrow, provider, result_of, signed_of};
use crate::args::SessionCommand;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::market_args::OpenArgs;
use crate::output::facts;

/// An opening with its agent's signature, as `--sign` prints it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignedOpen {
    open: OpenSession,
    signature: Bytes,
}

pub(super) async fn run(context: &Context, command: SessionCommand) -> Outcome<()> {
    match command {
        SessionCommand::Open(args) => match &args.signed {
            Some(path) => {
                let SignedOpen { open, signature } = signed_of(path)?;
                let done = post_market(context, MarketAction::OpenSessionWithSignature { open, signature }).await?;
                opened(context, &done)
            }
            None => open(context, args).await,
        },
        SessionCommand::Close(args) => close::run(context, args).await,
        SessionCommand::Lapse { sessions } => lapse(context, sessions).await,
        SessionCommand::Show { session } => show(context, session).await,
    }
}

async fn open(context: &Context, args: OpenArgs) -> Outcome<()> {
    let (Some(escrow_id), Some(provider_id), Some(limit)) = (args.escrow, args.provider, args.limit) else {
        return Err(Failure::new("usage", "escrow, --provider and --limit are needed", "or bring one with --signed"));
    };
    let budget = escrow(context, escrow_id).await?;
    let seller = provider(context, provider_id).await?;
    let content_hash = seller.content_hash.ok_or_else(|| {
        Failure::new("provider_retired", format!("provider {provider_id} has retired"), "choose another provider")
    })?;
    if args.content.is_some_and(|agreed| agreed != content_hash) {
        return Err(Failure::new(
            "provider_changed",
            format!("provider {provider_id} now publishes {content_hash}"),
            "look at its prices again: compute-futures provider show",
        ));
    }
    let meter = args.meter.map(|meter| context.named(meter)).transpose()?.or(budget.meter).ok_or_else(|| {
        Failure::new(
            "no_meter",
            format!("escrow {escrow_id} names no meter"),
            "name who will sign the cost: --meter ADDRESS",
        )
    })?;
    let deadline = after(context, args.lasts).await?.min(budget.state.expiry);
    let request = SessionRequest { escrow_id, provider_id, content_hash, meter, limit, deadline };
    if !args.sign {
        let done = post_market(context, MarketAction::OpenSession { request }).await?;
        return opened(context, &done);
    }
    let (market, key) = (context.market().await?.reader(), context.key()?);
    let agent = market.agent(escrow_id, key.address()).await?;
    if !agent.allowed {
        return Err(Failure::new(
            "not_agent",
            format!("{} is not on the list of escrow {escrow_id}", key.address()),
            "the creator lets an agent in: compute-futures escrow allow ESCROW AGENT",
        ));
    }
    let open = request.by(key.address(), agent.nonce);
    let signature = key.signer.sign(open.digest(&market.domain())).to_vec().into();
    let result = json!(SignedOpen { open, signature });
    context.output.result(&result, || format!("{result:#}"));
    Ok(())
}

fn opened(context: &Context, done: &Done<MarketEvent>) -> Outcome<()> {
    let (session, limit, deadline) = done.find(|event| match event {
        MarketEvent::SessionOpened { session, limit, deadline, .. } => Some((*session, *limit, *deadline)),
        _ => None,
    })?;
    let mut result = result_of(done);
    result["sessionId"] = json!(session);
    result["limit"] = json!(limit);
    result["deadline"] = json!(deadline.to_string());
    context.output.result(&result, || {
        facts([
            ("session", session.to_string()),
            ("reserved", format!("{limit} USDC")),
            ("close it until", format!("{deadline} (Unix seconds)")),
            ("transaction", done.transaction.to_string()),
        ])
    });
    Ok(())
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
