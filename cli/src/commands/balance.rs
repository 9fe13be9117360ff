//! `balance`: what the chain says, and on request what the relayer has charged beyond it.

use std::time::{Duration, Instant};

use compute_futures_chain::AccountOnChain;
use compute_futures_protocol::{AccountId, Address};
use serde_json::{Value, json};

use super::run::payer;
use crate::args::BalanceArgs;
use crate::client::{Limits, Relayer, Request};
use crate::context::{Context, Found};
use crate::failure::{Failure, Outcome};
use crate::output::{ceiling_text, facts};

/// How long to wait for the indexer, and how often to look.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(150);

pub(super) async fn run(context: &Context, args: BalanceArgs) -> Outcome<()> {
    let (wallet, accounts) = match &args.account {
        Some(text) => (None, vec![context.account(text).await?]),
        None => {
            let owner = match args.owner {
                Some(owner) => context.named(owner)?,
                None => context.address()?,
            };
            let held = context.reader().await?.token_balance(owner, None).await?;
            (Some((owner, held)), of_owner(context, owner).await?)
        }
    };
    let mut found = Vec::new();
    for account in accounts {
        match context.found(account).await? {
            Found::Open(on_chain) | Found::Closed(Some(on_chain)) => found.push(on_chain),
            // Deleted from the chain: nothing is left in it.
            Found::Closed(None) if args.account.is_none() => {}
            Found::Closed(None) => {
                return Err(Failure::new(
                    "account_closed",
                    format!("account {account} is closed, and gone from the chain"),
                    format!("its history: compute-futures audit {account}"),
                ));
            }
        }
    }
    let pending = match (args.pending, found.first()) {
        (true, Some(account)) => Some(from_relayer(context, account.id).await?),
        _ => None,
    };
    let result = json!({
        "wallet": wallet.map(|(address, held)| json!({ "address": address, "usdc": held })),
        "accounts": found.iter().map(|account| as_json(context, account)).collect::<Vec<_>>(),
        "relayer": pending,
    });
    context.output.result(&result, || {
        let mut parts: Vec<String> = Vec::new();
        if let Some((address, held)) = wallet {
            parts.push(facts([("wallet", address.to_string()), ("holds", format!("{held} USDC"))]));
        }
        parts.extend(found.iter().map(|account| as_text(context, account)));
        if found.is_empty() {
            parts.push("no accounts; open one with: compute-futures deposit 50".into());
        }
        if let Some(pending) = &pending {
            parts.push(format!("at the relayer:\n{pending:#}"));
        }
        parts.join("\n\n")
    });
    Ok(())
}

async fn of_owner(context: &Context, owner: Address) -> Outcome<Vec<AccountId>> {
    let indexer = context.indexer()?;
    caught_up(context, &indexer).await?;
    let answer = indexer.get(&format!("/api/v1/accounts?owner={owner}&limit=500")).await?;
    let items = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| {
            item.get("accountId").and_then(Value::as_str).and_then(|id| id.parse().ok()).ok_or_else(|| {
                Failure::new("bad_answer", "the indexer's list of accounts cannot be read", "check --indexer")
            })
        })
        .collect()
}

/// Waits a little for the indexer: whoever deposits and looks at once should find the account.
async fn caught_up(context: &Context, indexer: &Relayer) -> Outcome<()> {
    let head = context.reader().await?.heads().await?.latest.number;
    let until = Instant::now() + PATIENCE;
    loop {
        let status = indexer.get(&context.here("/api/v1/status")).await?;
        let stored = status.pointer("/asOf/block").and_then(Value::as_u64).unwrap_or_default();
        if stored >= head {
            return Ok(());
        }
        if Instant::now() >= until {
            let behind = head - stored;
            context
                .output
                .progress(format!("the indexer is {behind} blocks behind: the newest accounts may be missing"));
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The relayer's own view, paid from credit and proven by the account's signature.
async fn from_relayer(context: &Context, account: AccountId) -> Outcome<Value> {
    let payer = payer(context, account).await?;
    let futures_id = account.futures_id(context.chain());
    let request = Request::get(format!("/api/v1/compute-futures/balance?futuresId={futures_id}"));
    Ok(payer.send(&context.relayer()?, &request, &Limits::default()).await?.answer.body)
}

fn as_json(context: &Context, account: &AccountOnChain) -> Value {
    let state = &account.state;
    json!({
        "accountId": account.id,
        "futuresId": account.id.futures_id(context.chain()),
        "owner": account.owner,
        "delegate": account.delegate,
        "credit": state.credit,
        "charged": state.charged,
        "unspent": state.unspent(),
        "available": state.available(),
        "ceiling": state.ceiling,
        "discountBps": state.discount.discount_bps,
        "refundableAt": account.refundable_at,
        "closed": account.closed,
    })
}

fn as_text(context: &Context, account: &AccountOnChain) -> String {
    let state = &account.state;
    let status = match (account.closed, account.refundable_at) {
        (true, _) => "closed".to_owned(),
        (_, Some(at)) => format!("refund requested, due at {at} (Unix seconds)"),
        _ => "open".to_owned(),
    };
    facts([
        ("account", format!("{} ({})", account.id.futures_id(context.chain()), account.id)),
        ("owner", account.owner.to_string()),
        ("delegate", account.delegate.map_or_else(|| "none".into(), |delegate| delegate.to_string())),
        ("credit", format!("{} USDC", state.credit)),
        ("charged", format!("{} USDC (on-chain)", state.charged)),
        ("left", format!("{} USDC", state.unspent())),
        ("ceiling", ceiling_text(state.ceiling)),
        ("discount", format!("{}.{:02} %", state.discount.discount_bps / 100, state.discount.discount_bps % 100)),
        ("status", status),
    ])
}
