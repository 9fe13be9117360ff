//! `escrow create --deposit-address`, `sweep`, `recover`, `close-deposit-address`: a budget by plain transfers, from any wallet or
//! exchange. The address commits to the terms, so whoever sweeps can do nothing else with the money.

use std::path::Path;

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::Address;
use compute_futures_protocol::market::EscrowTerms;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::events::{Done, post_market};
use super::super::market::{result_of, text_of};
use super::create;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;

/// What is printed, and read again: without the terms nobody can sweep.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Committed {
    deposit_address: Address,
    terms: EscrowTerms,
}

/// Shows the address; on Solana lays out its rent, so that plain transfers arrive.
pub(super) async fn make(context: &Context, terms: EscrowTerms) -> Outcome<()> {
    let address = context.market().await?.reader().deposit_address(&terms)?;
    let opened = match context.chain().evm_chain_id() {
        Some(_) => None,
        None => Some(post_market(context, MarketAction::OpenDepositAddress { terms: terms.clone() }).await?),
    };
    let mut result = json!(Committed { deposit_address: address, terms: terms.clone() });
    if let Some(done) = &opened {
        result["transaction"] = json!(done.transaction);
    }
    context.output.result(&result, || {
        // Whoever loses the terms loses the way to the money, so they are shown in any case.
        format!(
            "{}\n\nkeep this in a file:\n{result:#}",
            facts([
                ("send USDC to", address.to_string()),
                ("until", format!("{} (Unix seconds)", terms.expiry)),
                ("then", "compute-futures escrow sweep FILE, by anyone".to_owned()),
            ])
        )
    });
    Ok(())
}

/// The terms in a file, for the address that they say: a changed term is another address.
async fn read(context: &Context, path: &Path) -> Outcome<EscrowTerms> {
    let bad = |what: String| {
        Failure::new(
            "bad_terms",
            format!("{}: {what}", path.display()),
            "give what escrow create --deposit-address printed, unchanged",
        )
    };
    let committed: Committed = serde_json::from_str(&text_of(path)?).map_err(|error| bad(error.to_string()))?;
    let address = context.market().await?.reader().deposit_address(&committed.terms)?;
    if address != committed.deposit_address {
        return Err(bad(format!("the deposit address of these terms is {address}, not {}", committed.deposit_address)));
    }
    Ok(committed.terms)
}

pub(super) async fn sweep(context: &Context, path: &Path) -> Outcome<()> {
    let terms = read(context, path).await?;
    let done = post_market(context, MarketAction::Sweep { terms }).await?;
    if done.events.iter().any(|event| matches!(event, MarketEvent::EscrowCreated { .. })) {
        context.output.report(create::created(&done)?);
        return Ok(());
    }
    let (id, swept, unreserved) = done.find(|event| match event {
        MarketEvent::EscrowFunded { escrow_id, amount, unreserved, .. } => Some((*escrow_id, *amount, *unreserved)),
        _ => None,
    })?;
    let mut result = result_of(&done);
    result["escrowId"] = json!(id);
    result["swept"] = json!(swept);
    result["unreserved"] = json!(unreserved);
    context.output.result(&result, || {
        facts([
            ("escrow", id.to_string()),
            ("swept", format!("{swept} USDC")),
            ("unreserved", format!("{unreserved} USDC")),
            ("transaction", done.transaction.to_string()),
        ])
    });
    Ok(())
}

pub(super) async fn recover(context: &Context, path: &Path, token: Option<Address>) -> Outcome<()> {
    let terms = read(context, path).await?;
    let token = match token {
        Some(token) => context.named(token)?,
        None => context.deployment().token(),
    };
    let done = post_market(context, MarketAction::Recover { terms, token }).await?;
    let amount = recovered(&done).unwrap_or_default();
    let mut result = result_of(&done);
    result["recovered"] = json!(amount);
    result["token"] = json!(token);
    context.output.result(&result, || {
        facts([
            ("recovered", format!("{amount} (smallest units)")),
            ("of token", token.to_string()),
            ("transaction", done.transaction.to_string()),
        ])
    });
    Ok(())
}

/// Solana: both rents, while the address feeds no escrow.
pub(super) async fn close(context: &Context, path: &Path) -> Outcome<()> {
    let terms = read(context, path).await?;
    let creator = terms.creator;
    let done = post_market(context, MarketAction::CloseDepositAddress { terms }).await?;
    let sent_home = recovered(&done);
    let mut result = result_of(&done);
    result["recovered"] = json!(sent_home);
    context.output.result(&result, || {
        let mut rows = vec![("closed", "its rent is back".to_owned())];
        rows.extend(sent_home.map(|amount| ("to its creator", format!("{amount} micro-USDC, {creator}"))));
        rows.push(("transaction", done.transaction.to_string()));
        facts(rows)
    });
    Ok(())
}

fn recovered(done: &Done<MarketEvent>) -> Option<String> {
    done.events.iter().find_map(|event| match event {
        MarketEvent::Recovered { amount, .. } => Some(amount.clone()),
        _ => None,
    })
}
