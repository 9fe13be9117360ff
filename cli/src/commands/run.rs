//! `run`: a job from credit. The signature is the payment; the receipt is checked before it is shown.

use std::io::Read;

use compute_futures_chain::ChainReader;
use compute_futures_protocol::AccountId;
use serde_json::{Value, json};

use crate::args::{JobType, RunArgs};
use crate::client::{CreditPayer, Limits, Paid, Request};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;

pub(super) async fn run(context: &Context, args: RunArgs) -> Outcome<()> {
    let account = context.account(&args.account).await?;
    let reader = context.reader().await?;
    let on_chain = reader.account(account).await?.ok_or_else(|| {
        Failure::new("unknown_account", format!("account {account} does not exist"), "check the id and the network")
    })?;
    let payer = payer(context, account).await?;
    let limits = Limits {
        max_charge: args.max,
        raise_ceiling_to: if args.yes { Some(on_chain.state.credit) } else { args.raise_ceiling },
    };
    let request = Request::post("/api/v1/compute-futures/execute", &body(context, account, &args)?);
    let paid = payer.send(&context.relayer()?, &request, &limits).await?;
    if let Some(path) = &args.receipt {
        let text =
            serde_json::to_string_pretty(&paid.receipt.signed).map_err(|error| Failure::broken(error.to_string()))?;
        std::fs::write(path, text + "\n").map_err(|error| Failure::file(path, &error))?;
    }
    let mut result = paid.answer.body.clone();
    result["receiptChecked"] = json!(true);
    result["ceilingRaised"] = json!(paid.ceiling_raised);
    context.output.result(&result, || describe(&paid));
    Ok(())
}

/// Pays from `account` with the user's key, trusting the operator that the chain names.
pub(super) async fn payer(context: &Context, account: AccountId) -> Outcome<CreditPayer> {
    let operator = context.reader().await?.operator(account.operator_index()).await?.ok_or_else(|| {
        Failure::new("unknown_operator", "the account's operator does not exist", "check the id and the network")
    })?;
    Ok(CreditPayer { signer: context.key()?.signer, account, domain: context.domain()?, operator: operator.operator })
}

fn body(context: &Context, account: AccountId, args: &RunArgs) -> Outcome<Value> {
    let prompt = if args.prompt == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Failure::new("usage", format!("standard input: {error}"), "pipe UTF-8 text into it"))?;
        text
    } else {
        args.prompt.clone()
    };
    let futures_id = account.futures_id(context.chain());
    let mut body = match args.job {
        JobType::TextInference => json!({
            "futuresId": futures_id,
            "type": "text-inference",
            "model": args.model,
            "messages": [{ "role": "user", "content": prompt }],
        }),
        JobType::Embeddings => json!({
            "futuresId": futures_id,
            "type": "embeddings",
            "model": args.model,
            "input": prompt.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>(),
        }),
    };
    if let Some(max_tokens) = args.max_tokens {
        body["max_tokens"] = json!(max_tokens);
    }
    Ok(body)
}

fn describe(paid: &Paid) -> String {
    let compute = &paid.answer.body["compute"];
    let answer = compute
        .pointer("/choices/0/message/content")
        .and_then(Value::as_str)
        .map_or_else(|| compute.to_string(), str::to_owned);
    let receipt = &paid.receipt.signed.receipt;
    let balance = paid.answer.body.pointer("/billing/balanceRemaining").and_then(Value::as_str).unwrap_or("?");
    let mut rows = vec![
        (
            "charged",
            format!("{} USDC (list {} USDC, {} bps off)", receipt.charged, receipt.list_amount, receipt.discount_bps),
        ),
        ("balance", balance.to_owned()),
        ("receipt", format!("{} (checked; batch {})", paid.receipt.signed.receipt_hash, receipt.batch_number)),
    ];
    if let Some(ceiling) = paid.ceiling_raised {
        rows.push(("ceiling", format!("raised to {} USDC", ceiling)));
    }
    format!("{answer}\n\n{}", facts(rows))
}
