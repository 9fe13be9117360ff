//! `operator …`: what an operator does besides running a relayer.

use compute_futures_chain::{Action, EventKind};
use compute_futures_protocol::{Address, Usdc};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::events::post;
use crate::args::{AdminArgs, OperatorCommand};
use crate::client::Request;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;

pub(super) async fn run(context: &Context, command: OperatorCommand) -> Outcome<()> {
    match command {
        OperatorCommand::Register { config } => register(context, config.as_deref()).await,
        OperatorCommand::Terms => terms(context).await,
        OperatorCommand::Flush(admin) => {
            context.output.progress("sealing and posting the open batch …");
            let answer = call(context, &admin, &Request::post(context.here("/admin/v1/flush"), &json!({}))).await?;
            show(context, &answer);
            Ok(())
        }
        OperatorCommand::Status(admin) => {
            let answer = call(context, &admin, &Request::get(context.here("/admin/v1/status"))).await?;
            show(context, &answer);
            Ok(())
        }
        OperatorCommand::Withdraw { amount, to, admin } => withdraw(context, &admin, amount, to).await,
    }
}

async fn register(context: &Context, config: Option<&std::path::Path>) -> Outcome<()> {
    let config = compute_futures_relayer::config::Config::read(config, std::env::vars()).map_err(|error| {
        Failure::new("configuration", error.to_string(), "compute-futures relayer --print-config documents every key")
    })?;
    let terms = config
        .on_chain_terms()
        .map_err(|error| Failure::new("configuration", error.to_string(), "check [terms] and [[models]]"))?;
    let done = post(context, &Action::SetTerms { terms }).await?;
    let (index, version) = done.find(|event| match event {
        EventKind::TermsSet { operator_index, terms_version, .. } => Some((*operator_index, *terms_version)),
        _ => None,
    })?;
    let mut result = done.json();
    result["operatorIndex"] = json!(index);
    result["termsVersion"] = json!(version);
    context.output.result(&result, || {
        facts([
            ("operator index", index.to_string()),
            ("terms version", version.to_string()),
            ("transaction", done.transaction.to_string()),
        ])
    });
    Ok(())
}

async fn terms(context: &Context) -> Outcome<()> {
    let index = context.operator_index().await?;
    let unknown = || {
        Failure::new("unknown_operator", format!("operator {index} does not exist"), "check --operator and the network")
    };
    let reader = context.reader().await?;
    let operator = reader.operator(index).await?.ok_or_else(unknown)?;
    let terms = reader.terms(index, operator.terms_version).await?.ok_or_else(unknown)?;
    let result = json!({
        "operatorIndex": index,
        "operator": operator.operator,
        "termsVersion": operator.terms_version,
        "lastBatch": operator.last_batch.to_string(),
        "accounts": operator.last_sequence,
        "earnings": operator.earnings,
        "terms": terms,
    });
    context.output.result(&result, || {
        let mut rows = vec![
            ("operator".to_owned(), format!("{index}, {}", operator.operator)),
            ("accounts".to_owned(), operator.last_sequence.to_string()),
            ("batches".to_owned(), operator.last_batch.to_string()),
            ("earnings".to_owned(), format!("{} USDC, not withdrawn", operator.earnings)),
            ("refund delay".to_owned(), format!("{} s", terms.refund_delay)),
            ("minimum deposit".to_owned(), format!("{} USDC", terms.minimum_deposit)),
            ("rate card".to_owned(), terms.rate_card_hash.to_string()),
        ];
        for tier in &terms.tiers {
            let off = format!("{}.{:02} % off", tier.discount_bps / 100, tier.discount_bps % 100);
            rows.push((format!("from {} USDC", tier.minimum_deposit), off));
        }
        facts(rows)
    });
    Ok(())
}

async fn withdraw(context: &Context, admin: &AdminArgs, amount: Usdc, to: Address) -> Outcome<()> {
    let body = json!({ "amount": amount.to_string(), "to": context.named(to)? });
    let answer = call(context, admin, &Request::post("/admin/v1/withdraw", &body)).await?;
    show(context, &answer);
    Ok(())
}

/// Calls the relayer's admin interface, which listens to this machine only and wants the token it wrote at its start.
async fn call(context: &Context, admin: &AdminArgs, request: &Request) -> Outcome<Value> {
    let path =
        admin.token_file.clone().or_else(|| Some(context.devnet()?.admin_token_file.clone())).ok_or_else(|| {
            Failure::new(
                "no_token",
                "the relayer's admin token is not named",
                "--token-file PATH: the relayer logs where it wrote it",
            )
        })?;
    let token = std::fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))?;
    let mut header = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| {
        Failure::new("no_token", "the token file holds no token", "restart the relayer: it writes a new one")
    })?;
    header.set_sensitive(true);
    let headers = HeaderMap::from_iter([(AUTHORIZATION, header)]);
    Ok(context.relayer()?.send(request, &headers).await?.success()?.body)
}

/// One level of an answer, a line each; deeper parts as JSON.
fn show(context: &Context, answer: &Value) {
    context.output.result(answer, || match answer {
        Value::Object(fields) => facts(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))),
        ),
        other => other.to_string(),
    });
}
