//! `escrow fund`: more money for an escrow, whoever created it.

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::Usdc;
use serde_json::json;

use super::super::events::{Done, post_market};
use super::super::market::{escrow, result_of, signed_of};
use super::gasless::{self, Brought, Funding, SignedFunding};
use super::payment::Payment;
use super::some;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::market_args::FundArgs;
use crate::output::{Report, facts};

pub(super) async fn run(context: &Context, args: FundArgs) -> Outcome<()> {
    if let Some(path) = &args.gas.signed {
        let signed: SignedFunding = signed_of(path)?;
        let Funding::Fund { .. } = &signed.funding else {
            return Err(Failure::new("bad_signed", "that creates an escrow", "compute-futures escrow create --signed"));
        };
        context.output.report(funded(&post_market(context, signed.verb()).await?)?);
        return Ok(());
    }
    let (Some(id), Some(amount)) = (args.escrow, args.amount) else {
        return Err(Failure::new("usage", "escrow and amount are needed", "or bring what was signed with --signed"));
    };
    some(amount)?;
    let creator = escrow(context, id).await?.creator;
    if !args.gas.is_asked() {
        context.output.report(checked(context, id, amount).await?.post(context).await?);
        return Ok(());
    }
    let funding = Funding::Fund { escrow_id: id, payer: context.address()?, creator, amount };
    match gasless::fund(context, &args.gas, funding).await? {
        Brought::Signed => {}
        Brought::Here(done) => context.output.report(funded(&done)?),
        Brought::ByRelayer(answer) => {
            let transaction = answer["transaction"].as_str().unwrap_or_default().to_owned();
            context
                .output
                .result(&answer, || facts([("funded", format!("{amount} USDC")), ("transaction", transaction)]));
        }
    }
    Ok(())
}

/// More money for an escrow by the key's own transaction. Nothing is sent.
///
/// # Errors
/// When the amount is nothing, or the key has not so much.
pub(crate) async fn checked(context: &Context, escrow_id: u32, amount: Usdc) -> Outcome<Payment> {
    some(amount)?;
    Payment::checked(context, MarketAction::Fund { escrow_id, amount }, amount).await
}

pub(super) fn funded(done: &Done<MarketEvent>) -> Outcome<Report> {
    let (id, unreserved) = done.find(|event| match event {
        MarketEvent::EscrowFunded { escrow_id, unreserved, .. } => Some((*escrow_id, *unreserved)),
        _ => None,
    })?;
    let mut result = result_of(done);
    result["escrowId"] = json!(id);
    result["unreserved"] = json!(unreserved);
    let text = facts([("unreserved", format!("{unreserved} USDC")), ("transaction", done.transaction.to_string())]);
    Ok(Report::new(result, text))
}
