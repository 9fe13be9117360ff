//! `escrow fund`: more money for an escrow, whoever created it.

use compute_futures_chain::market::{MarketAction, MarketEvent};
use serde_json::json;

use super::super::events::{Done, post_market};
use super::super::market::{escrow, result_of, signed_of};
use super::gasless::{self, Brought, Funding, SignedFunding};
use super::some;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::market_args::FundArgs;
use crate::output::facts;

pub(super) async fn run(context: &Context, args: FundArgs) -> Outcome<()> {
    if let Some(path) = &args.gas.signed {
        let signed: SignedFunding = signed_of(path)?;
        let Funding::Fund { .. } = &signed.funding else {
            return Err(Failure::new("bad_signed", "that creates an escrow", "compute-futures escrow create --signed"));
        };
        return funded(context, &post_market(context, signed.verb()).await?);
    }
    let (Some(id), Some(amount)) = (args.escrow, args.amount) else {
        return Err(Failure::new("usage", "escrow and amount are needed", "or bring what was signed with --signed"));
    };
    some(amount)?;
    let creator = escrow(context, id).await?.creator;
    if !args.gas.is_asked() {
        return funded(context, &post_market(context, MarketAction::Fund { escrow_id: id, amount }).await?);
    }
    let funding = Funding::Fund { escrow_id: id, payer: context.address()?, creator, amount };
    match gasless::fund(context, &args.gas, funding).await? {
        Brought::Signed => Ok(()),
        Brought::Here(done) => funded(context, &done),
        Brought::ByRelayer(answer) => {
            let transaction = answer["transaction"].as_str().unwrap_or_default().to_owned();
            context
                .output
                .result(&answer, || facts([("funded", format!("{amount} USDC")), ("transaction", transaction)]));
            Ok(())
        }
    }
}

fn funded(context: &Context, done: &Done<MarketEvent>) -> Outcome<()> {
    let (id, unreserved) = done.find(|event| match event {
        MarketEvent::EscrowFunded { escrow_id, unreserved, .. } => Some((*escrow_id, *unreserved)),
        _ => None,
    })?;
    let mut result = result_of(done);
    result["escrowId"] = json!(id);
    result["unreserved"] = json!(unreserved);
    context.output.result(&result, || {
        facts([("unreserved", format!("{unreserved} USDC")), ("transaction", done.transaction.to_string())])
    });
    Ok(())
}
