//! `run`: a job from credit. The signature is the payment; the receipt is checked before it is shown.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use compute_futures_protocol::AccountId;
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{JobType, RunArgs};
use crate::client::{ClientError, CreditPayer, Limits, Paid, Request};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;

pub(super) async fn run(context: &Context, args: RunArgs) -> Outcome<()> {
    let account = context.account(&args.account).await?;
    let on_chain = context.open(account).await?;
    let payer = payer(context, account).await?;
    let limits = Limits {
        max_charge: args.max,
        raise_ceiling_to: if args.yes { Some(on_chain.state.credit) } else { args.raise_ceiling },
    };
    let request = Request::post("/api/v1/compute-futures/execute", &body(context, account, &args)?);
    // Before anything is paid: a receipt that cannot be kept is no reason to find out afterwards.
    let file = args.receipt.as_deref().map(ReceiptFile::create).transpose()?;
    let paid = payer.send(&context.relayer()?, &request, &limits).await.map_err(in_our_flags)?;
    let mut result = paid.answer.body.clone();
    result["receiptChecked"] = json!(true);
    result["ceilingRaised"] = json!(paid.ceiling_raised);
    context.output.result(&result, || describe(&paid));
    file.map_or(Ok(()), |file| file.write(&paid.receipt.signed))
}

/// Where the receipt goes; taken away again when there is none.
pub(super) struct ReceiptFile<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> ReceiptFile<'a> {
    pub(super) fn create(path: &'a Path) -> Outcome<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self { path, file: file.map_err(|error| Failure::file(path, &error))? })
    }

    pub(super) fn write(mut self, receipt: &impl Serialize) -> Outcome<()> {
        let text = serde_json::to_string_pretty(receipt).map_err(|error| Failure::broken(error.to_string()))?;
        let written = self.file.set_len(0).and_then(|()| self.file.write_all((text + "\n").as_bytes()));
        written.map_err(|error| Failure::file(self.path, &error))
    }
}

impl Drop for ReceiptFile<'_> {
    fn drop(&mut self) {
        if self.file.metadata().is_ok_and(|file| file.len() == 0) {
            // Nothing depends on it.
            let _ = std::fs::remove_file(self.path);
        }
    }
}

/// The relayer speaks of what is signed; who types flags is told the flag.
fn in_our_flags(error: ClientError) -> Failure {
    let failure = Failure::from(error);
    match failure.code.as_str() {
        "max_charge_too_low" => {
            Failure { hint: "raise --max if the price is right; nothing was charged".into(), ..failure }
        }
        _ => failure,
    }
}

/// Pays from `account` with the user's key, trusting the operator that the chain names.
pub(crate) async fn payer(context: &Context, account: AccountId) -> Outcome<CreditPayer> {
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
