//! `audit`: re-derive every charge of an account from receipts and chain, and say what does not add up.

use compute_futures_indexer::audit::{AuditReport, audit};
use compute_futures_indexer::config::OperatorSource;
use serde_json::json;

use crate::args::AuditArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;

mod prices;

use prices::Prices;

pub(super) async fn run(context: &Context, args: AuditArgs) -> Outcome<()> {
    let account = context.account(&args.account).await?;
    let url = match args.receipts {
        Some(url) => url,
        None => context.relayer()?.base().clone(),
    };
    // A relayer on this machine is reached by plain http; the host is the user's own choice.
    let source = OperatorSource { allow_insecure: url.scheme() == "http", url };
    let report = audit(context.reader().await?, account, &source)
        .await
        .map_err(|error| Failure::new("audit", error.to_string(), "check --rpc, --relayer and the account"))?;
    let prices = if args.prices { Some(prices::check(context, account).await?) } else { None };
    let mut result = json!(report);
    if let Some(prices) = &prices {
        result["prices"] = json!(prices);
    }
    context.output.result(&result, || describe(&report, prices.as_ref()));
    let found = report.findings.len() + prices.map_or(0, |prices| prices.findings.len());
    if found == 0 {
        return Ok(());
    }
    Err(Failure::new(
        "does_not_add_up",
        format!("{found} findings, see above"),
        "a batch not yet published resolves itself; anything else is evidence to take up with the operator",
    ))
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn describe(report: &AuditReport, prices: Option<&Prices>) -> String {
    let mut rows = vec![
        ("account", format!("{} ({}) of {}", report.futures_id, report.account_id, report.owner)),
        ("operator", format!("{} (index {})", report.operator, report.operator_index)),
        ("as of block", report.block.to_string()),
        ("deposited", format!("{} USDC", report.deposited)),
        ("charged on-chain", format!("{} USDC in {}", report.charged, count(report.batches, "batch", "batches"))),
        (
            "charged by receipts",
            format!(
                "{} USDC in {} (list {} USDC)",
                report.receipts_charged,
                count(report.receipts, "receipt", "receipts"),
                report.listed
            ),
        ),
        ("not covered", format!("{} USDC", report.uncovered)),
        ("backed", if report.backed { "yes".into() } else { "NO".to_owned() }),
    ];
    for finding in &report.findings {
        rows.push((finding.code, finding.detail.clone()));
    }
    if let Some(prices) = prices {
        let (checked, other) = (count(prices.checked, "charge", "charges"), prices.not_on_card);
        rows.push((
            "rate card",
            format!("{}: {checked} within it, {other} for what it has no price for", prices.rate_card_hash),
        ));
        for finding in &prices.findings {
            rows.push((finding.code, finding.detail.clone()));
        }
    }
    facts(rows)
}
