//! `GET /api/v1/compute-futures/history`: deposits, charges and refunds of an account. For its owner and delegate only: it says
//! what jobs ran when, though never what was asked or answered.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use compute_futures_protocol::Address;
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::usdc;
use super::balance::read;
use crate::error::ApiResult;
use crate::http::paid::{find_account, futures_id, invalid, parse_account, query, require_spender};
use crate::http::siwx::{self, Read};
use crate::http::state::AppState;
use crate::ledger::{AccountView, HistoryEntry, HistoryKind};
use crate::payment::gates::refuse;
use crate::payment::{Done, Draw, Gates, PaidRequest, Payer, Service};

const EXAMPLE: &str = "?futuresId=CFE-XXXXXXXX&limit=50&before=<nextBefore of the page before>";
const DEFAULT_LIMIT: u32 = 50;
const MOST: u32 = 200;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Query {
    #[serde(alias = "id", alias = "accountId")]
    futures_id: Option<String>,
    limit: Option<String>,
    before: Option<String>,
    /// Where several networks are served: the one of an account that is named by its number.
    network: Option<String>,
}

struct History {
    state: AppState,
    account: Option<Arc<AccountView>>,
    before: Option<u64>,
    limit: u32,
}

/// One page of an account's history, newest first.
pub async fn history(State(state): State<AppState>, request: PaidRequest) -> Response {
    match prepare(&state, &request).await {
        Ok((service, gates)) => {
            let price = state.config.gates.history;
            let offer = gates.offer("an account's history", price, Some(price));
            siwx::or_paid(&state, &gates, &request, offer, service).await
        }
        Err(error) => refuse(&request, error),
    }
}

async fn prepare(state: &AppState, request: &PaidRequest) -> ApiResult<(History, Gates)> {
    let query: Query = query(request, EXAMPLE)?;
    let (account, gates) = match query.futures_id {
        // Only a wallet of the account's own network can be its owner or delegate.
        Some(id) => {
            let (at, id) = parse_account(state, &id, query.network.as_deref())?;
            (Some(Arc::new(find_account(&at, id).await?)), at.gates())
        }
        None if query.network.is_some() => {
            return Err(invalid("`network` is named, and no account on it", EXAMPLE));
        }
        None => (None, state.gates()?),
    };
    let number = |name: &str, text: Option<String>| match text {
        None => Ok(None),
        Some(text) => {
            text.parse::<u64>().map(Some).map_err(|_| invalid(format!("`{name}` is not a whole number"), EXAMPLE))
        }
    };
    let limit = match number("limit", query.limit)? {
        None => DEFAULT_LIMIT,
        Some(limit) => u32::try_from(limit)
            .ok()
            .filter(|limit| (1..=MOST).contains(limit))
            .ok_or_else(|| invalid(format!("`limit` is not from 1 to {MOST}"), EXAMPLE))?,
    };
    // The ledger's cursor is a signed 64-bit number.
    let before = number("before", query.before)?.filter(|before| i64::try_from(*before).is_ok());
    Ok((History { state: state.clone(), account, before, limit }, gates))
}

impl History {
    /// The account asked for, or the one that pays.
    fn account(&self, payer: &Payer) -> ApiResult<Arc<AccountView>> {
        self.account
            .clone()
            .or_else(|| payer.account.clone())
            .ok_or_else(|| invalid("no account is named", format!("use {EXAMPLE}")))
    }
}

#[async_trait::async_trait]
impl Read for History {
    /// Who may not read it is refused by the service itself.
    async fn is_mine(&self, _: Address) -> ApiResult<()> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl Service for History {
    fn kind(&self) -> &str {
        "history"
    }

    async fn authorise(&self, payer: &Payer) -> ApiResult<Option<Draw>> {
        require_spender(&*self.account(payer)?, payer.address)?;
        Ok(None)
    }

    async fn work(&self, payer: &Payer) -> ApiResult<Done> {
        let account = self.account(payer)?;
        let at = self.state.on(self.state.networks.get(payer.chain)?);
        let entries = at.ledger.history(account.id, self.before, self.limit).await?;
        let full = entries.len() == self.limit as usize;
        let next = entries.last().filter(|_| full).map(|entry| entry.cursor.to_string());
        let body = json!({
            "futuresId": futures_id(&at, account.id),
            "accountId": account.id,
            "history": entries.iter().map(entry_json).collect::<Vec<_>>(),
            "nextBefore": next,
        });
        read(self.state.config.gates.history, &body)
    }
}

fn entry_json(entry: &HistoryEntry) -> Value {
    let mut line = match &entry.kind {
        HistoryKind::Deposit { amount, transaction } => {
            json!({ "type": "deposit", "amount": usdc(*amount), "amountMicroUsdc": amount, "transaction": transaction })
        }
        HistoryKind::Charge {
            job_id,
            kind,
            model,
            usage,
            list_amount,
            discount_bps,
            charged,
            sequence,
            receipt_hash,
            batch_number,
            transaction,
        } => json!({
            "type": "charge",
            "jobId": job_id,
            "jobType": kind,
            "model": model,
            "usage": usage,
            "listPriceMicroUsdc": list_amount,
            "discountBps": discount_bps,
            "charged": format!("${charged}"),
            "chargedMicroUsdc": charged,
            "sequence": sequence.to_string(),
            "receiptHash": receipt_hash,
            "batchNumber": batch_number.to_string(),
            "transaction": transaction,
        }),
        HistoryKind::Ceiling { ceiling, transaction } => {
            json!({ "type": "ceiling", "ceilingMicroUsdc": ceiling, "transaction": transaction })
        }
        HistoryKind::Shortfall { uncovered, batch_number, transaction } => json!({
            "type": "shortfall",
            "uncoveredMicroUsdc": uncovered,
            "batchNumber": batch_number.to_string(),
            "transaction": transaction,
        }),
        HistoryKind::RefundRequested { refundable_at, transaction } => {
            json!({ "type": "refundRequested", "refundableAt": refundable_at, "transaction": transaction })
        }
        HistoryKind::Refund { amount, transaction } => {
            json!({ "type": "refund", "amount": usdc(*amount), "amountMicroUsdc": amount, "transaction": transaction })
        }
    };
    line["at"] = json!(entry.at);
    line["cursor"] = json!(entry.cursor.to_string());
    line
}
