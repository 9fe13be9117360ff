//! Verbs of an owner whose fee the relayer pays (Solana): it offers a transaction, the owner signs it, the relayer posts it.
//!
//! What is offered is compiled anew here and compared byte for byte before it is signed, so a relayer can refuse, and nothing else.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_chain::Action;
use compute_futures_protocol::{Chain, TransactionId, Usdc};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::events::{self, Done};
use crate::chain::name_of;
use crate::client::{Answer, ClientError, Relayer, Request};
use crate::context::Context;
use crate::failure::{Failure, Outcome, revert_hint};

const OFFER: &str = "/api/v1/compute-futures/sponsor";
const SUBMIT: &str = "/api/v1/compute-futures/sponsor/submit";
/// How long it waits for the chain.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_secs(2);
/// Lamports without which a wallet cannot pay for a transaction: the fee, and what every wallet must keep.
const FEE: u128 = 10_000 + 890_880;
/// And for one that opens an account: its rent.
const RENT: u128 = 2_449_920;

/// Posts an owner's verb: by the wallet itself, or by the relayer when the wallet has no SOL for it, or when it is told to.
pub(super) async fn post(context: &Context, action: &Action, asked: bool) -> Outcome<Done> {
    if context.chain().evm_chain_id().is_some() {
        if asked {
            return Err(Failure::new(
                "not_sponsored",
                format!("the relayer pays for no transactions of others on {}", name_of(context.chain())),
                "leave --sponsored out; deposit --gasless, ceiling --sign and refund without flags need no gas of yours",
            ));
        }
        return events::post(context, action).await;
    }
    if asked {
        return by_relayer(context, &context.relayer()?, action).await;
    }
    let needed = FEE + if matches!(action, Action::Deposit { .. }) { RENT } else { 0 };
    match context.relayer() {
        Ok(relayer) if context.fuel().await? < needed => {
            context.output.progress("the wallet has too little SOL: the relayer pays the fee …");
            by_relayer(context, &relayer, action).await
        }
        _ => events::post(context, action).await,
    }
}

async fn by_relayer(context: &Context, relayer: &Relayer, action: &Action) -> Outcome<Done> {
    let mut body = described(action, context.chain())?;
    body["owner"] = json!(context.address()?);
    let offer = answer(relayer, &Request::post(OFFER, &body)).await?.body;
    let unusable = |reason: &str| ClientError::BadAnswer { url: relayer.url(OFFER), reason: reason.into() };
    let offered = offer["transaction"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let offered = offered.ok_or_else(|| unusable("it holds no transaction"))?;
    let signed = context.writer().await?.countersign(action, &offered).await?;
    body["transaction"] = json!(STANDARD.encode(&signed));
    let (request, started) = (Request::post(SUBMIT, &body), Instant::now());
    loop {
        let answer = answer(relayer, &request).await?;
        if answer.status == 200 {
            let id: Option<TransactionId> = answer.body["transaction"].as_str().and_then(|text| text.parse().ok());
            return events::done(context, id.ok_or_else(|| unusable("it names no transaction"))?).await;
        }
        if started.elapsed() >= PATIENCE {
            return Err(Failure::new(
                "pending",
                "the relayer has posted it, and it is not confirmed yet",
                "look at the account in a moment: compute-futures balance",
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the contract refuses is said as if it had been asked directly.
async fn answer(relayer: &Relayer, request: &Request) -> Outcome<Answer> {
    relayer.send(request, &HeaderMap::new()).await?.success().map_err(|refused| match &refused {
        ClientError::Refused { code, error, extra: Some(extra), .. } if code == "refused_by_contract" => {
            let name = extra["refusal"].as_str().unwrap_or_default();
            Failure::new(code, error.clone(), revert_hint(name))
        }
        _ => refused.into(),
    })
}

/// A verb as the relayer's interface has it.
fn described(action: &Action, chain: Chain) -> Outcome<Value> {
    Ok(match action {
        Action::Deposit { amount, ceiling, .. } => {
            let mut body = json!({ "verb": "deposit", "amount": amount.to_string() });
            if *ceiling < Usdc::MAX {
                body["ceiling"] = json!(ceiling.to_string());
            }
            body
        }
        Action::TopUp { account, amount, ceiling } => {
            let id = account.futures_id(chain);
            let mut body = json!({ "verb": "topUp", "futuresId": id, "amount": amount.to_string() });
            if !ceiling.is_zero() {
                body["ceiling"] = json!(ceiling.to_string());
            }
            body
        }
        Action::RaiseCeiling { account, ceiling } => {
            json!({ "verb": "raiseCeiling", "futuresId": account.futures_id(chain), "ceiling": ceiling.to_string() })
        }
        Action::SetDelegate { account, delegate: Some(delegate) } => {
            json!({ "verb": "setDelegate", "futuresId": account.futures_id(chain), "delegate": delegate })
        }
        Action::SetDelegate { account, delegate: None } => {
            json!({ "verb": "clearDelegate", "futuresId": account.futures_id(chain) })
        }
        Action::RequestRefund { account } => {
            json!({ "verb": "requestRefund", "futuresId": account.futures_id(chain) })
        }
        Action::Refund { account } => json!({ "verb": "refund", "futuresId": account.futures_id(chain) }),
        _ => return Err(Failure::broken("a relayer was asked to pay for something that nobody pays for")),
    })
}
