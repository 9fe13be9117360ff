//! `deposit`: four ways to the same credit.

use std::time::{SystemTime, UNIX_EPOCH};

use compute_futures_chain::{Action, ChainReader, EventKind};
use compute_futures_protocol::{AccountId, DepositTerms, Usdc};
use serde_json::{Value, json};

use super::events::{Done, post};
use crate::args::DepositArgs;
use crate::client::{ExactPayer, Request, sign_gasless};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;

/// Most that a deposit over HTTP may cost on top of its amount: ten times the usual gate price.
const MOST_FEE: Usdc = Usdc::from_micros(100_000);
/// How long a gasless authorisation stays valid.
const VALID_SECONDS: u64 = 3600;

pub(super) async fn run(context: &Context, args: DepositArgs) -> Outcome<()> {
    let account = match &args.account {
        Some(text) => Some(context.account(text).await?),
        None => None,
    };
    if args.gasless {
        gasless(context, &args, account).await
    } else if args.transfer {
        transfer(context, &args, account).await
    } else if args.x402 {
        x402(context, &args, account).await
    } else {
        direct(context, &args, account).await
    }
}

/// By the owner's own transaction.
async fn direct(context: &Context, args: &DepositArgs, account: Option<AccountId>) -> Outcome<()> {
    let amount = args.amount;
    let owner = context.address()?;
    let action = match account {
        // Zero leaves the ceiling as it is.
        Some(account) => Action::TopUp { account, amount, ceiling: args.ceiling.unwrap_or(Usdc::ZERO) },
        None => Action::Deposit {
            operator_index: context.operator_index().await?,
            owner,
            amount,
            ceiling: args.ceiling.unwrap_or(Usdc::MAX),
        },
    };
    let held = context.reader().await?.token_balance(owner, None).await?;
    if held < amount {
        return Err(Failure::new(
            "insufficient_usdc",
            format!("{owner} holds {held} USDC, the deposit is {amount} USDC"),
            "send USDC to that address on this network, or deposit less",
        ));
    }
    context.output.progress("approving the contract to take the deposit …");
    post(context, &Action::Approve { amount }).await?;
    context.output.progress("depositing …");
    let done = post(context, &action).await?;
    credited(context, &done)
}

/// By a signature; the relayer sends the transaction.
async fn gasless(context: &Context, args: &DepositArgs, account: Option<AccountId>) -> Outcome<()> {
    let key = context.key()?;
    let valid_before = unix_now() + VALID_SECONDS;
    let deposit = sign_gasless(
        &key.signer,
        &context.token_domain()?,
        context.domain()?.contract,
        context.operator_index().await?,
        account,
        args.amount,
        args.ceiling.unwrap_or(if account.is_some() { Usdc::ZERO } else { Usdc::MAX }),
        valid_before,
    );
    let body = deposit.body();
    over_http(context, &body, Usdc::ZERO).await
}

/// By a plain transfer to an address that commits to what it is for; then anyone may sweep it.
async fn transfer(context: &Context, args: &DepositArgs, account: Option<AccountId>) -> Outcome<()> {
    if account.is_some() {
        return Err(Failure::new(
            "usage",
            "a deposit address knows its own account; --account cannot choose another",
            "leave --account out: the first sweep opens an account, later ones top it up",
        ));
    }
    let terms = DepositTerms {
        operator_index: context.operator_index().await?,
        owner: context.address()?,
        ceiling: args.ceiling.unwrap_or(Usdc::MAX),
        fee: Usdc::ZERO,
    };
    let reader = context.reader().await?;
    let address = reader.deposit_address(&terms);
    if args.print {
        let result = json!({ "depositAddress": address, "terms": terms, "amount": args.amount });
        context.output.result(&result, || {
            facts([
                ("send USDC to", address.to_string()),
                ("owner", terms.owner.to_string()),
                (
                    "then",
                    "compute-futures deposit AMOUNT --transfer sweeps it once it is there, or anyone calls sweep"
                        .into(),
                ),
            ])
        });
        return Ok(());
    }
    if reader.token_balance(address, None).await? < args.amount {
        context.output.progress(format!("transferring {} USDC to {address} …", args.amount));
        post(context, &Action::Transfer { to: address, amount: args.amount }).await?;
    }
    context.output.progress("sweeping it into credit …");
    let done = post(context, &Action::Sweep { terms }).await?;
    credited(context, &done)
}

/// As a stock x402 client does: the 402 asks for amount and gate price, the payment goes to the deposit address.
async fn x402(context: &Context, args: &DepositArgs, account: Option<AccountId>) -> Outcome<()> {
    if account.is_some() {
        return Err(Failure::new(
            "usage",
            "a deposit over x402 goes to the owner's deposit address; --account cannot choose another",
            "use --gasless or no flag for a top-up of a given account",
        ));
    }
    let mut body = json!({ "depositor": context.address()?, "amount": args.amount.to_string() });
    if let Some(ceiling) = args.ceiling {
        body["ceiling"] = json!(ceiling.to_string());
    }
    over_http(context, &body, args.amount).await
}

async fn over_http(context: &Context, body: &Value, amount: Usdc) -> Outcome<()> {
    let key = context.key()?;
    let most =
        amount.checked_add(MOST_FEE).ok_or_else(|| Failure::new("usage", "the amount is too large", "deposit less"))?;
    let payer = ExactPayer::new(&key.wallet, most);
    let answer = payer.send(&context.relayer()?, &Request::post("/api/v1/compute-futures/deposit", body)).await?;
    context.output.result(&answer.body, || {
        let text = |name: &str| {
            answer.body.pointer(&format!("/computeFuture/{name}")).and_then(Value::as_str).unwrap_or("?").to_owned()
        };
        facts([
            ("futures id", text("id")),
            ("account", text("accountId")),
            ("tier", format!("{} ({})", text("tier"), text("discount"))),
            ("balance", text("balanceRemaining")),
        ])
    });
    Ok(())
}

fn credited(context: &Context, done: &Done) -> Outcome<()> {
    let (account, amount, credit, bps) = done.find(|event| match event {
        EventKind::Deposited { account, amount, credit, discount_bps, .. } => {
            Some((*account, *amount, *credit, *discount_bps))
        }
        _ => None,
    })?;
    let futures_id = account.futures_id(context.chain());
    let mut result = done.json();
    result["accountId"] = json!(account);
    result["futuresId"] = json!(futures_id);
    result["amount"] = json!(amount);
    result["credit"] = json!(credit);
    result["discountBps"] = json!(bps);
    context.output.result(&result, || {
        facts([
            ("futures id", futures_id.to_string()),
            ("account", account.to_string()),
            ("deposited", format!("{amount} USDC (credit {credit} USDC)")),
            ("discount", format!("{}.{:02} %", bps / 100, bps % 100)),
            ("transaction", done.transaction.to_string()),
        ])
    });
    Ok(())
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
