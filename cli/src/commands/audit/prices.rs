//! Whether the operator kept its prices: every list amount against the rate card whose hash stands in the terms that the account was opened
//! under. The card is checked by its hash, each list amount is the signed receipt's; only what a job used is the relayer's word, the same that
//! stood in the job's answer.

use std::collections::HashMap;

use compute_futures_protocol::{AccountId, B256, BatchDocument, JobKind, RateCard, Usage, Usdc, keccak256};
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::{CreditPayer, Limits, Relayer, Request};
use crate::commands::{payer, verify};
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Entries of a page.
const PAGE: u32 = 200;

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Prices {
    /// In the terms on chain.
    pub(super) rate_card_hash: B256,
    /// Charges that the card has a price for, and that keep to it.
    pub(super) checked: usize,
    /// Charges for calls, batches, and models that came later.
    pub(super) not_on_card: usize,
    pub(super) findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    pub(super) code: &'static str,
    pub(super) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt_hash: Option<B256>,
}

/// A charge as the relayer's history tells it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Charge {
    job_type: String,
    model: String,
    #[serde(default)]
    usage: Option<Usage>,
    list_price_micro_usdc: Usdc,
    receipt_hash: B256,
    batch_number: String,
    transaction: Option<Value>,
}

pub(super) async fn check(context: &Context, account: AccountId) -> Outcome<Prices> {
    let relayer = context.relayer()?;
    let hash = card_hash(context, account).await?;
    let mut prices = Prices { rate_card_hash: hash, checked: 0, not_on_card: 0, findings: Vec::new() };
    let card = match card(&relayer, hash).await? {
        Ok(card) => card,
        Err(finding) => {
            prices.findings.push(finding);
            return Ok(prices);
        }
    };
    let mut documents = HashMap::new();
    for charge in history(context, &relayer, account).await? {
        let listed = match receipt(context, account, &charge, &mut documents).await? {
            Ok(listed) => listed,
            Err(finding) => {
                prices.findings.push(finding);
                continue;
            }
        };
        let kind: Option<JobKind> = charge.job_type.parse().ok();
        let Some((kind, usage)) = kind.zip(charge.usage).filter(|(kind, _)| card.rate(*kind, &charge.model).is_some())
        else {
            prices.not_on_card += 1;
            continue;
        };
        match card.check_list_amount(kind, &charge.model, &usage, listed) {
            Ok(()) => prices.checked += 1,
            Err(fault) => prices.findings.push(Finding {
                code: "above_rate_card",
                detail: format!("{}: {listed} USDC listed, the card asks for {}", fault.model, fault.listed),
                receipt_hash: Some(charge.receipt_hash),
            }),
        }
    }
    Ok(prices)
}

async fn card_hash(context: &Context, account: AccountId) -> Outcome<B256> {
    let reader = context.reader().await?;
    let missing = |what: &str| Failure::new("unknown_account", what, "check the account and the network");
    let on_chain = reader.account(account).await?.ok_or_else(|| missing("the account is not on chain"))?;
    let terms = reader.terms(account.operator_index(), on_chain.terms_version).await?;
    Ok(terms.ok_or_else(|| missing("the terms that the account was opened under are not on chain"))?.rate_card_hash)
}

/// The card with that hash, or what is wrong.
async fn card(relayer: &Relayer, hash: B256) -> Outcome<Result<RateCard, Finding>> {
    let answer = relayer.send(&Request::get(format!("/api/v1/rate-cards/{hash}")), &HeaderMap::new()).await?;
    let finding = |code, detail: &str| Err(Finding { code, detail: detail.to_owned(), receipt_hash: None });
    if answer.status == 404 {
        return Ok(finding("rate_card_missing", "the operator does not publish the card that its terms name"));
    }
    let answer = answer.success()?;
    if keccak256(&answer.bytes) != hash {
        return Ok(finding("rate_card", "the card that the operator publishes is not the one that its terms name"));
    }
    match serde_json::from_slice(&answer.bytes) {
        Ok(card) => Ok(Ok(card)),
        Err(error) => Ok(finding("rate_card", &format!("the card cannot be read: {error}"))),
    }
}

/// Every charge whose batch is posted.
async fn history(context: &Context, relayer: &Relayer, account: AccountId) -> Outcome<Vec<Charge>> {
    let payer: CreditPayer = payer(context, account).await?;
    let futures_id = account.futures_id(context.chain());
    let (mut charges, mut before) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/compute-futures/history?futuresId={futures_id}&limit={PAGE}{before}");
        let page = payer.send(relayer, &Request::get(path), &Limits::default()).await?.answer.body;
        for entry in page["history"].as_array().into_iter().flatten().filter(|entry| entry["type"] == "charge") {
            let charge = Charge::deserialize(entry).map_err(|error| {
                Failure::new(
                    "bad_answer",
                    format!("an entry of the history cannot be read: {error}"),
                    "check --relayer",
                )
            })?;
            if charge.transaction.is_some() {
                charges.push(charge);
            }
        }
        match page["nextBefore"].as_str() {
            Some(cursor) => before = format!("&before={cursor}"),
            None => return Ok(charges),
        }
    }
}

/// The list amount that the operator signed for a charge, which must be the one that its history tells.
async fn receipt(
    context: &Context,
    account: AccountId,
    charge: &Charge,
    documents: &mut HashMap<u64, Option<BatchDocument>>,
) -> Outcome<Result<Usdc, Finding>> {
    let finding = |detail: String| Err(Finding { code: "history", detail, receipt_hash: Some(charge.receipt_hash) });
    let Ok(number) = charge.batch_number.parse::<u64>() else {
        return Ok(finding(format!("the history names batch {:?}", charge.batch_number)));
    };
    let document = match documents.entry(number) {
        std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(verify::batch(context, account.operator_index(), number).await?)
        }
    };
    let domain = context.domain()?;
    let signed = document.as_ref().and_then(|document| {
        let mut receipts = document.receipts.iter();
        receipts.find(|signed| {
            signed.receipt.account_id == account && signed.receipt.digest(&domain) == charge.receipt_hash
        })
    });
    Ok(match signed.map(|signed| signed.receipt.list_amount) {
        None => finding(format!("the history names a receipt that batch {number} does not hold")),
        Some(listed) if listed != charge.list_price_micro_usdc => {
            finding(format!("the history says {} USDC listed, the receipt {listed}", charge.list_price_micro_usdc))
        }
        Some(listed) => Ok(listed),
    })
}
