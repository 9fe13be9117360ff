//! Receipts of closed sessions, with their proofs.

use axum::{Json, extract::State};
use compute_futures_protocol::{
    B256, Bytes, ReceiptTree, keccak256,
    market::{SessionReceipt, SessionStatus},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{
    Api,
    answer::{self, Amount, AsOf, Page, Place},
    choose::NetworkParams,
    error::{ApiError, ApiResult, ErrorBody},
    input::{self, At, PageParams, Params},
    networks::{first, in_time},
};
use super::sessions;
use crate::{
    error::{IndexerError, Result},
    market::{SessionRow, receipts::PublishedReceipt},
    network::Network,
    store::Row,
};

/// A verified receipt of a session, and everything needed to check it without this service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct ProvenSessionReceipt {
    /// As the meter published it: receipt, model, digest, signature.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub published: PublishedReceipt,
    /// What the execution cost.
    pub cost: Amount,
    /// Its session's root on chain.
    pub receipts_root: String,
    /// Siblings from its leaf to the root.
    pub proof: Vec<String>,
    /// Whether the proof leads to the root (recomputed for this answer).
    pub proven: bool,
    /// How to ask the contract itself.
    pub verify: VerifySessionReceipt,
    /// Where its session was closed.
    pub at: Place,
    /// Which block this answer speaks of.
    pub as_of: AsOf,
}

/// How to ask ComputeEscrow whether a receipt is of a closed session. On Solana the session's account is gone by then: the event of
/// its closing holds the root, in the transaction of `at`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct VerifySessionReceipt {
    /// ComputeEscrow; on Solana the program.
    pub contract: String,
    /// The function; absent on Solana.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<&'static str>,
    /// First argument.
    pub session_id: String,
    /// Second argument.
    pub receipt_hash: String,
    /// Third argument, in the form explorers take.
    pub proof: String,
}

fn published(row: &Row) -> Result<PublishedReceipt> {
    let model = row.text("model")?;
    let receipt = SessionReceipt {
        session_id: row.session("session_id")?,
        sequence: row.u32("sequence")?,
        execution_id: row.b256("execution_id")?,
        model_hash: keccak256(model.as_bytes()),
        request_hash: row.b256("request_hash")?,
        output_hash: row.b256("output_hash")?,
        input_tokens: row.u32("input_tokens")?,
        output_tokens: row.u32("output_tokens")?,
        cost: row.usdc("cost")?,
        latency_ms: row.u32("latency_ms")?,
        issued_at: row.u64("issued_at")?,
    };
    Ok(PublishedReceipt {
        receipt,
        model,
        digest: row.b256("digest")?,
        signature: Bytes::from(row.bytes("signature")?),
    })
}

/// Verified receipts of a session, newest first.
#[utoipa::path(get, path = "/api/v1/market/sessions/{session}/receipts", tag = "market", params(("session" = String, Path), PageParams),
    responses((status = 200, body = Page<Object>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn of_session(
    State(api): State<Api>,
    At(session): At<String>,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<PublishedReceipt>>> {
    let id = super::session_id(&session)?;
    let (before, limit) = params.read(i64::MAX.cast_unsigned())?;
    let (mut tx, now) = super::open(api.market(params.network.as_deref())?).await?;
    sessions::load(&mut tx, id).await?;
    let rows = tx
        .all(
            "SELECT * FROM market_receipts WHERE session_id = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3",
            &[id.into(), before.into(), (limit as u64 + 1).into()],
        )
        .await?;
    let item = |row: &Row| published(row).map(|published| (u64::from(published.receipt.sequence), published));
    let items = rows.iter().map(item).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}

/// A receipt of a session by its digest.
#[utoipa::path(get, path = "/api/v1/market/receipts/{digest}", tag = "market",
    params(("digest" = String, Path, description = "0x and 64 hex digits"), NetworkParams),
    responses((status = 200, body = ProvenSessionReceipt), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn get(
    State(api): State<Api>,
    At(digest): At<String>,
    Params(which): Params<NetworkParams>,
) -> ApiResult<Json<ProvenSessionReceipt>> {
    let digest = input::hash(&digest)?;
    let unknown = || {
        let hint = "receipts appear once their session is closed, and they are published and verified; see `receipts` of the session";
        ApiError::not_found("unknown_receipt", "no verified receipt of a session has this digest", hint)
    };
    if which.name().is_some() {
        return proven(api.market(which.name())?, digest).await?.map(Json).ok_or_else(unknown);
    }
    // A digest covers its chain.
    let looks = api.networks.iter().filter(|network| network.market.is_some());
    let looks = looks.map(|network| in_time(network, proven(network, digest)));
    first(looks).await?.map(Json).ok_or_else(unknown)
}

/// The receipt, if this network has it.
async fn proven(network: &Network, digest: B256) -> ApiResult<Option<ProvenSessionReceipt>> {
    let (mut tx, now) = super::open(network).await?;
    let Some(row) = tx.first("SELECT * FROM market_receipts WHERE digest = $1", &[digest.into()]).await? else {
        return Ok(None);
    };
    let published = published(&row)?;
    let session = SessionRow::read(&sessions::load(&mut tx, published.receipt.session_id).await?)?;
    let root = session.receipts_root.filter(|_| session.state.status == SessionStatus::Closed);
    let root = root.ok_or_else(|| IndexerError::Corrupt("a receipt of a session that is not closed".into()))?;
    let leaves = tx.all("SELECT digest FROM market_receipts WHERE session_id = $1", &[session.id.into()]).await?;
    let leaves = leaves.iter().map(|row| row.b256("digest")).collect::<Result<Vec<_>>>()?;
    let proof = ReceiptTree::new(&leaves).ok().and_then(|tree| tree.proof(digest));
    let proof = proof.ok_or_else(|| IndexerError::Corrupt("a receipt outside its own session".into()))?;
    let siblings: Vec<String> = proof.iter().map(ToString::to_string).collect();
    let contract = network.market.map(|market| answer::address(market.escrow)).unwrap_or_default();
    let evm = network.chain.evm_chain_id().is_some();
    Ok(Some(ProvenSessionReceipt {
        cost: published.receipt.cost.into(),
        receipts_root: root.to_string(),
        proven: compute_futures_protocol::verify(root, digest, &proof),
        verify: VerifySessionReceipt {
            contract,
            function: evm.then_some("verifyReceipt(uint64,bytes32,bytes32[])"),
            session_id: session.id.to_string(),
            receipt_hash: digest.to_string(),
            proof: format!("[{}]", siblings.join(",")),
        },
        proof: siblings,
        at: Place::new(row.u64("position")?, session.ended_time, session.ended_tx, &now),
        as_of: (&now).into(),
        published,
    }))
}
