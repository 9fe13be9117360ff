//! `session open`: by the agent itself, signed and brought by anyone, or signed and brought by the relayer that meters.

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::market::{OpenSession, SessionRequest};
use compute_futures_protocol::{Address, Bytes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::events::{Done, post_market};
use super::super::market::{after, escrow, provider, relayed as until_confirmed, result_of, signed_of};
use crate::client::{ClientError, Request};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{facts, usdc_text};
use crate::session_args::OpenArgs;

const SESSIONS: &str = "/api/v1/market/sessions";

/// An opening with its agent's signature, as `--sign` prints it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignedOpen {
    open: OpenSession,
    signature: Bytes,
}

pub(super) async fn run(context: &Context, args: OpenArgs) -> Outcome<()> {
    if let Some(path) = &args.signed {
        let SignedOpen { open, signature } = signed_of(path)?;
        let done = post_market(context, MarketAction::OpenSessionWithSignature { open, signature }).await?;
        return opened(context, &done);
    }
    if args.relay {
        let answer = relayed(context, &args).await?;
        context.output.result(&answer, || {
            let text = |name: &str| answer[name].as_str().map_or_else(|| answer[name].to_string(), str::to_owned);
            facts([
                ("session", text("sessionId")),
                ("provider", text("providerId")),
                ("reserved", usdc_text(&answer["limit"])),
                ("close it until", format!("{} (Unix seconds)", text("deadline"))),
                ("transaction", text("transaction")),
            ])
        });
        return Ok(());
    }
    let request = request(context, &args, None).await?;
    if !args.sign {
        let done = post_market(context, MarketAction::OpenSession { request }).await?;
        return opened(context, &done);
    }
    let signed = json!(sign(context, request).await?);
    context.output.result(&signed, || format!("{signed:#}"));
    Ok(())
}

/// What was chosen for an agent that names no provider.
struct Chosen {
    provider: u32,
    meter: Address,
}

/// Signs and has the relayer bring it; its answer.
///
/// # Errors
/// What was refused, by whom, and what to do.
pub(crate) async fn relayed(context: &Context, args: &OpenArgs) -> Outcome<Value> {
    let chosen = quote(context, args).await?;
    let signed = sign(context, request(context, args, Some(chosen)).await?).await?;
    let mut body = json!(signed);
    body["network"] = json!(context.chain().caip2());
    until_confirmed(context, SESSIONS, &body).await
}

/// Asks the relayer whom it would choose, and what its meter is. Of its answer nothing else is taken: prices, nonce and limit are read
/// from the chain, and by the agent.
async fn quote(context: &Context, args: &OpenArgs) -> Outcome<Chosen> {
    let (Some(escrow_id), Some(limit)) = (args.escrow, args.limit) else { return Err(incomplete()) };
    let mut body = json!({
        "network": context.chain().caip2(),
        "escrowId": escrow_id,
        "agent": context.address()?,
        "limit": limit,
        "seconds": args.lasts.as_secs(),
    });
    if let Some(provider) = args.provider {
        body["providerId"] = json!(provider);
    }
    if let Some(model) = &args.model {
        body["model"] = json!(model);
    }
    let (relayer, path) = (context.relayer()?, format!("{SESSIONS}/quote"));
    let quote = relayer.send(&Request::post(&path, &body), &Default::default()).await?.success()?.body;
    let open: OpenSession = serde_json::from_value(quote["open"].clone())
        .map_err(|error| ClientError::BadAnswer { url: relayer.url(&path), reason: format!("`open`: {error}") })?;
    Ok(Chosen { provider: open.provider_id, meter: open.meter })
}

fn incomplete() -> Failure {
    Failure::new("usage", "escrow, --provider and --limit are needed", "or bring one with --signed")
}

/// What the flags and the chain say.
async fn request(context: &Context, args: &OpenArgs, chosen: Option<Chosen>) -> Outcome<SessionRequest> {
    let (Some(escrow_id), Some(limit)) = (args.escrow, args.limit) else { return Err(incomplete()) };
    let named = args.provider.or(chosen.as_ref().map(|chosen| chosen.provider));
    let provider_id = named.ok_or_else(incomplete)?;
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
    let meter = args.meter.map(|meter| context.named(meter)).transpose()?.or(budget.meter);
    let meter = meter.or(chosen.as_ref().map(|chosen| chosen.meter)).ok_or_else(|| {
        Failure::new(
            "no_meter",
            format!("escrow {escrow_id} names no meter"),
            "name who will sign the cost: --meter ADDRESS",
        )
    })?;
    if let Some(chosen) = chosen.filter(|chosen| chosen.meter != meter) {
        return Err(Failure::new(
            "other_meter",
            format!("the relayer meters as {}, the session is to be metered by {meter}", chosen.meter),
            "ask the relayer of that meter (--relayer), or open it yourself: leave --relay out",
        ));
    }
    let deadline = after(context, args.lasts).await?.min(budget.state.expiry);
    Ok(SessionRequest { escrow_id, provider_id, content_hash, meter, limit, deadline })
}

/// Signs as the agent, with the nonce that is next on chain.
async fn sign(context: &Context, request: SessionRequest) -> Outcome<SignedOpen> {
    let (market, key) = (context.market().await?.reader(), context.key()?);
    let escrow_id = request.escrow_id;
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
    Ok(SignedOpen { open, signature })
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
