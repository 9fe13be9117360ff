//! Receipts with their proofs: by hash, by account, by batch.

use axum::{Json, extract::State};
use compute_futures_chain::Finality;
use compute_futures_protocol::{ReceiptTree, SignedReceipt};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, accounts,
    answer::{self, Amount, AsOf, Page, Place},
    error::{ApiError, ApiResult, ErrorBody},
    input::{self, At, Params},
};
use crate::{
    error::{IndexerError, Result},
    receipts::{document, signed_receipt},
};

/// A verified receipt, and everything needed to check it without this service.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProvenReceipt {
    /// The receipt as published: what was charged for what, the operator's signature, the depositor's authorisation.
    #[schema(value_type = Object)]
    pub receipt: SignedReceipt,
    /// What was charged.
    pub charged: Amount,
    /// Before discount.
    pub list_amount: Amount,
    /// Its batch's root on chain.
    pub receipts_root: String,
    /// Siblings from its leaf to the root.
    pub proof: Vec<String>,
    /// Whether the proof leads to the root (recomputed for this answer).
    pub proven: bool,
    /// How to ask the contract itself.
    pub verify: VerifyCall,
    /// Where its batch was posted.
    pub at: Place,
    /// Which block this answer speaks of.
    pub as_of: AsOf,
}

/// What to paste into a block explorer ("Read Contract") to check a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerifyCall {
    /// Address of the contract.
    pub contract: String,
    /// Where to paste, when the chain has an explorer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explorer: Option<String>,
    /// The function.
    pub function: &'static str,
    /// First argument.
    pub operator_index: u32,
    /// Second argument.
    pub batch_number: u64,
    /// Third argument.
    pub receipt_hash: String,
    /// Fourth argument, in the form explorers take.
    pub proof: String,
}

/// A receipt by its hash.
#[utoipa::path(get, path = "/api/v1/receipts/{hash}", tag = "receipts",
    params(("hash" = String, Path, description = "0x and 64 hex digits")),
    responses((status = 200, body = ProvenReceipt), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn get(State(api): State<Api>, At(hash): At<String>) -> ApiResult<Json<ProvenReceipt>> {
    let hash = input::hash(&hash)?;
    let mut tx = api.store.snapshot().await?;
    let progress = super::progress(&mut tx).await?;
    let row = tx
        .first(
            "SELECT r.*, b.receipts_root, b.tx, b.operator_index, k.timestamp FROM receipts r JOIN batches b ON b.position = r.position
             LEFT JOIN blocks k ON k.number = r.position / 1048576 WHERE r.receipt_hash = $1",
            &[hash.into()],
        )
        .await?;
    let row = row.ok_or_else(|| {
        ApiError::not_found(
            "unknown_receipt",
            "no verified receipt has this hash",
            "receipts appear once their batch is posted, published and verified; see `receipts` of the batch",
        )
    })?;
    let position = row.u64("position")?;
    let receipt = signed_receipt(&row)?;
    let root = row.b256("receipts_root")?;
    let leaves = tx.all("SELECT receipt_hash FROM receipts WHERE position = $1", &[position.into()]).await?;
    let leaves = leaves.iter().map(|row| row.b256("receipt_hash")).collect::<Result<Vec<_>>>()?;
    let proof = ReceiptTree::new(&leaves).ok().and_then(|tree| tree.proof(hash));
    let proof = proof.ok_or_else(|| IndexerError::Corrupt("a receipt outside its own batch".into()))?;
    let siblings: Vec<String> = proof.iter().map(ToString::to_string).collect();
    let operator_index = row.u32("operator_index")?;
    Ok(Json(ProvenReceipt {
        charged: receipt.receipt.charged.into(),
        list_amount: receipt.receipt.list_amount.into(),
        receipts_root: root.to_string(),
        proven: compute_futures_protocol::verify(root, hash, &proof),
        verify: VerifyCall {
            contract: answer::address(api.contract),
            explorer: api.explorer(),
            function: "verifyReceipt(uint32,uint40,bytes32,bytes32[])",
            operator_index,
            batch_number: receipt.receipt.batch_number,
            receipt_hash: hash.to_string(),
            proof: format!("[{}]", siblings.join(",")),
        },
        proof: siblings,
        at: Place::new(position, row.opt_u64("timestamp")?, Some(row.transaction("tx")?), &progress),
        as_of: (&progress).into(),
        receipt,
    }))
}

/// `?operator=&cursor=&limit=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReceiptParams {
    /// Operator index: needed with a futures id.
    pub operator: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Entries on a page: 1 to 500, 50 unless given.
    pub limit: Option<u32>,
}

/// Verified receipts of an account, newest first.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/receipts", tag = "receipts",
    params(("id" = String, Path, description = "account id, or futures id with ?operator="), ReceiptParams),
    responses((status = 200, body = Page<Object>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn of_account(
    State(api): State<Api>,
    At(id): At<String>,
    Params(params): Params<ReceiptParams>,
) -> ApiResult<Json<Page<SignedReceipt>>> {
    let id = input::account_id(&id, params.operator, api.chain)?;
    let (before, limit) = input::page(params.cursor.as_deref(), params.limit, i64::MAX.cast_unsigned())?;
    let mut tx = api.store.snapshot().await?;
    let progress = super::progress(&mut tx).await?;
    accounts::load(&mut tx, id).await?.ok_or_else(|| accounts::unknown(id, Finality::Latest))?;
    let rows = tx
        .all(
            "SELECT * FROM receipts WHERE account_id = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3",
            &[id.into(), before.into(), (limit as u64 + 1).into()],
        )
        .await?;
    let items =
        rows.iter().map(|row| signed_receipt(row).map(|r| (r.receipt.sequence, r))).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &progress)))
}

/// All receipts of a batch, in the form in which the operator publishes them.
#[utoipa::path(get, path = "/api/v1/receipts/{operatorIndex}/{batchNumber}", tag = "receipts",
    params(("operatorIndex" = u32, Path), ("batchNumber" = u64, Path)),
    responses((status = 200, body = Object), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn of_batch(
    State(api): State<Api>,
    At((index, number)): At<(String, String)>,
) -> ApiResult<Json<compute_futures_protocol::BatchDocument>> {
    let index: u32 = input::number("operator index", &index)?;
    let number: u64 = input::number("batch number", &number)?;
    let mut tx = api.store.snapshot().await?;
    let found = document(&mut tx, index, number.min(compute_futures_protocol::MAX_BATCH_NUMBER)).await?;
    found.map(Json).ok_or_else(|| {
        ApiError::not_found(
            "no_receipts",
            format!("no verified receipts of batch {number} of operator {index}"),
            format!(
                "/api/v1/operators/{index}/batches/{number} says whether they are pending or were refused, and why"
            ),
        )
    })
}
