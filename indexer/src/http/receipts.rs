//! Receipts with their proofs: by hash, by account, by batch.

use axum::{Json, extract::State};
use compute_futures_chain::Finality;
use compute_futures_protocol::{B256, Chain, ReceiptTree, SignedReceipt, TransactionId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, accounts,
    answer::{self, Amount, AsOf, Page, Place},
    choose::NetworkParams,
    error::{ApiError, ApiResult, ErrorBody},
    input::{self, At, Params},
    networks::{first, in_time},
    view,
};
use crate::{
    error::{IndexerError, Result},
    network::Network,
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

/// How to ask the contract whether a receipt belongs to its batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerifyCall {
    /// Address of the contract; on Solana of the program.
    pub contract: String,
    /// Where to look, when the chain has an explorer: the contract's "Read Contract", to paste the arguments into; on Solana the
    /// transaction that posted the batch, whose event holds the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explorer: Option<String>,
    /// The function; on Solana the instruction, to be simulated.
    pub function: &'static str,
    /// Whether the contract can still tell: on Solana it holds the roots of an operator's newest 64 batches.
    pub in_state: bool,
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
    params(("hash" = String, Path, description = "0x and 64 hex digits"), NetworkParams),
    responses((status = 200, body = ProvenReceipt), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn get(
    State(api): State<Api>,
    At(hash): At<String>,
    Params(which): Params<NetworkParams>,
) -> ApiResult<Json<ProvenReceipt>> {
    let hash = input::hash(&hash)?;
    let unknown = || {
        ApiError::not_found(
            "unknown_receipt",
            "no verified receipt has this hash",
            "receipts appear once their batch is posted, published and verified; see `receipts` of the batch",
        )
    };
    if which.name().is_some() {
        return proven(api.named(which.name())?, hash).await?.map(Json).ok_or_else(unknown);
    }
    // A receipt's hash covers its chain.
    let looks = api.networks.iter().map(|network| in_time(network, proven(network, hash)));
    first(looks).await?.map(Json).ok_or_else(unknown)
}

/// The receipt, if this network has it.
async fn proven(network: &Network, hash: B256) -> ApiResult<Option<ProvenReceipt>> {
    let (mut tx, now) = view::open(network).await?;
    let row = tx
        .first(
            "SELECT r.*, b.receipts_root, b.tx, b.operator_index, o.last_batch, k.timestamp
             FROM receipts r JOIN batches b ON b.position = r.position JOIN operators o ON o.id = b.operator_index
             LEFT JOIN blocks k ON k.number = r.position / 1048576 WHERE r.receipt_hash = $1",
            &[hash.into()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let position = row.u64("position")?;
    let receipt = signed_receipt(&row)?;
    let root = row.b256("receipts_root")?;
    let leaves = tx.all("SELECT receipt_hash FROM receipts WHERE position = $1", &[position.into()]).await?;
    let leaves = leaves.iter().map(|row| row.b256("receipt_hash")).collect::<Result<Vec<_>>>()?;
    let proof = ReceiptTree::new(&leaves).ok().and_then(|tree| tree.proof(hash));
    let proof = proof.ok_or_else(|| IndexerError::Corrupt("a receipt outside its own batch".into()))?;
    let siblings: Vec<String> = proof.iter().map(ToString::to_string).collect();
    let (operator_index, transaction) = (row.u32("operator_index")?, row.transaction("tx")?);
    let newer = row.u64("last_batch")?.saturating_sub(receipt.receipt.batch_number);
    let evm = network.chain.evm_chain_id().is_some();
    Ok(Some(ProvenReceipt {
        charged: receipt.receipt.charged.into(),
        list_amount: receipt.receipt.list_amount.into(),
        receipts_root: root.to_string(),
        proven: compute_futures_protocol::verify(root, hash, &proof),
        verify: VerifyCall {
            contract: answer::address(network.contract),
            explorer: explorer(network, transaction),
            function: if evm { ON_EVM } else { ON_SOLANA },
            in_state: evm || newer < ROOTS_ON_SOLANA,
            operator_index,
            batch_number: receipt.receipt.batch_number,
            receipt_hash: hash.to_string(),
            proof: format!("[{}]", siblings.join(",")),
        },
        proof: siblings,
        at: Place::new(position, row.opt_u64("timestamp")?, Some(transaction), &now),
        as_of: (&now).into(),
        receipt,
    }))
}

/// Names of `verify_receipt` and its arguments.
const ON_EVM: &str = "verifyReceipt(uint32,uint40,bytes32,bytes32[])";
const ON_SOLANA: &str =
    "verify_receipt(batch_number: u64, receipt_hash: [u8; 32], proof: Vec<[u8; 32]>, batch_proof: Vec<[u8; 32]>)";
/// Roots the program keeps of an operator (docs/adr/010-solana.md).
const ROOTS_ON_SOLANA: u64 = 64;

/// Where people look.
fn explorer(network: &Network, transaction: TransactionId) -> Option<String> {
    let contract = answer::address(network.contract);
    match network.chain {
        Chain::Base => Some(format!("https://basescan.org/address/{contract}#readContract")),
        Chain::BaseSepolia => Some(format!("https://sepolia.basescan.org/address/{contract}#readContract")),
        Chain::Solana => Some(format!("https://explorer.solana.com/tx/{transaction}")),
        Chain::SolanaDevnet => Some(format!("https://explorer.solana.com/tx/{transaction}?cluster=devnet")),
        _ => None,
    }
}

/// `?operator=&network=&cursor=&limit=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReceiptParams {
    /// Operator index: needed with a futures id.
    pub operator: Option<u32>,
    /// CAIP-2 name of the network; needed where several are followed and nothing else names one.
    pub network: Option<String>,
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
    let (network, id) = api.account(&id, params.operator, params.network.as_deref())?;
    let (before, limit) = input::page(params.cursor.as_deref(), params.limit, i64::MAX.cast_unsigned())?;
    let (mut tx, now) = view::open(network).await?;
    accounts::load(&mut tx, id).await?.ok_or_else(|| accounts::unknown(id, Finality::Latest))?;
    let rows = tx
        .all(
            "SELECT * FROM receipts WHERE account_id = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3",
            &[id.into(), before.into(), (limit as u64 + 1).into()],
        )
        .await?;
    let items =
        rows.iter().map(|row| signed_receipt(row).map(|r| (r.receipt.sequence, r))).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}

/// All receipts of a batch, in the form in which the operator publishes them.
#[utoipa::path(get, path = "/api/v1/receipts/{operatorIndex}/{batchNumber}", tag = "receipts",
    params(("operatorIndex" = u32, Path), ("batchNumber" = u64, Path), NetworkParams),
    responses((status = 200, body = Object), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn of_batch(
    State(api): State<Api>,
    At((index, number)): At<(String, String)>,
    Params(which): Params<NetworkParams>,
) -> ApiResult<Json<compute_futures_protocol::BatchDocument>> {
    let index: u32 = input::number("operator index", &index)?;
    let number: u64 = input::number("batch number", &number)?;
    let mut tx = api.named(which.name())?.store.snapshot().await?;
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
