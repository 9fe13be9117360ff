//! `escrow create`: terms, and the money for them: sent, signed, or still to come to a deposit address.

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::Usdc;
use compute_futures_protocol::market::EscrowTerms;
use serde_json::{Value, json};

use super::super::events::{Done, post_market};
use super::super::market::{after, result_of, signed_of};
use super::gasless::{self, Brought, Funding, SignedFunding};
use super::payment::Payment;
use super::{deposit_address, some};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::market_args::CreateArgs;
use crate::output::{Report, facts};

pub(super) async fn run(context: &Context, args: CreateArgs) -> Outcome<()> {
    if let Some(path) = &args.gas.signed {
        let signed: SignedFunding = signed_of(path)?;
        let Funding::Create { .. } = &signed.funding else {
            return Err(Failure::new(
                "bad_signed",
                "that funds an escrow which is there",
                "compute-futures escrow fund --signed",
            ));
        };
        let done = post_market(context, signed.verb()).await?;
        context.output.report(created(&done)?);
        return Ok(());
    }
    if args.deposit_address {
        return deposit_address::make(context, terms(context, &args).await?).await;
    }
    if !args.gas.is_asked() {
        context.output.report(checked(context, &args).await?.post(context).await?);
        return Ok(());
    }
    let (terms, amount) = (terms(context, &args).await?, args.amount.unwrap_or_default());
    some(amount)?;
    match gasless::fund(context, &args.gas, Funding::Create { terms, amount }).await? {
        Brought::Signed => {}
        Brought::Here(done) => context.output.report(created(&done)?),
        Brought::ByRelayer(answer) => relayed(context, &answer),
    }
    Ok(())
}

/// An escrow that the key's own transaction would create. Nothing is sent.
///
/// # Errors
/// When terms or amount would be refused, or the key has not the money.
pub(crate) async fn checked(context: &Context, args: &CreateArgs) -> Outcome<Payment> {
    let (terms, amount) = (terms(context, args).await?, args.amount.unwrap_or_default());
    some(amount)?;
    Payment::checked(context, MarketAction::Create { terms, amount }, amount).await
}

/// What the flags say, as the contract will check it.
async fn terms(context: &Context, args: &CreateArgs) -> Outcome<EscrowTerms> {
    let expiry = match (args.expiry, args.lasts) {
        (Some(expiry), _) => expiry,
        (None, lasts) => after(context, lasts.unwrap_or_default()).await?,
    };
    let terms = EscrowTerms {
        creator: context.address()?,
        expiry,
        session_limit: args.session_limit.unwrap_or_default(),
        meter: args.meter.map(|meter| context.named(meter)).transpose()?,
        open_to_all: args.open_to_all,
        agents: args.agents.iter().map(|agent| context.named(*agent)).collect::<Outcome<_>>()?,
    };
    let now = after(context, std::time::Duration::ZERO).await?;
    terms.check(now).map_err(|fault| {
        Failure::new("bad_terms", fault.to_string(), "compute-futures escrow create --help shows what it takes")
    })?;
    Ok(terms)
}

/// What a transaction of ours created.
pub(super) fn created(done: &Done<MarketEvent>) -> Outcome<Report> {
    let (id, expiry) = done.find(|event| match event {
        MarketEvent::EscrowCreated { escrow_id, expiry, .. } => Some((*escrow_id, *expiry)),
        _ => None,
    })?;
    let funded: Usdc = done.find(|event| match event {
        MarketEvent::EscrowFunded { amount, .. } => Some(*amount),
        _ => None,
    })?;
    let mut result = result_of(done);
    result["escrowId"] = json!(id);
    result["expiry"] = json!(expiry.to_string());
    let text = facts([
        ("escrow", id.to_string()),
        ("funded", format!("{funded} USDC")),
        ("sessions until", format!("{expiry} (Unix seconds)")),
        ("transaction", done.transaction.to_string()),
    ]);
    Ok(Report::new(result, text))
}

/// What the relayer says that it created.
fn relayed(context: &Context, answer: &Value) {
    context.output.result(answer, || {
        let text = |name: &str| answer[name].as_str().map_or_else(|| answer[name].to_string(), str::to_owned);
        facts([("escrow", text("escrowId")), ("transaction", text("transaction"))])
    });
}
