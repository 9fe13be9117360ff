//! `GET /api/v1/market/sessions/{id}/receipts` and one of them, for anyone (I-7).

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use compute_futures_protocol::{B256, ReceiptTree, Usdc};

use super::sessions::named;
use super::shapes::{ReceiptProof, SessionReceipts, SignedReceipt};
use crate::error::{ApiError, ApiResult};
use crate::http::paid::invalid;
use crate::http::state::AppState;
use crate::market::{ChainStatus, Market, SessionState, StoredReceipt};
use crate::payment::PaidRequest;

fn digests(market: &Market, receipts: &[StoredReceipt]) -> Vec<B256> {
    receipts.iter().map(|stored| stored.receipt.digest(&market.domain)).collect()
}

/// Every receipt of a session, in order, with the root that they make.
pub async fn receipts(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: PaidRequest,
) -> ApiResult<Json<SessionReceipts>> {
    let id = path.map(|Path(text)| text).unwrap_or_default();
    let (market, session) = named(&state, &id, &request).await?;
    let stored = market.receipts_of(session.id).await?;
    let digests = digests(&market, &stored);
    let cost = stored.iter().map(|stored| stored.receipt.cost.micros()).fold(0, u64::saturating_add);
    Ok(Json(SessionReceipts {
        network: market.chain().caip2(),
        contract: market.domain.contract(),
        session_id: session.id,
        escrow_id: session.id.escrow(),
        agent: session.agent,
        provider_id: session.provider,
        content_hash: session.content_hash,
        meter: market.meter_address(),
        status: session.status(),
        limit: session.limit,
        cost: Usdc::try_from(cost).map_err(ApiError::internal)?,
        receipt_count: u32::try_from(stored.len()).map_err(ApiError::internal)?,
        receipts_root: ReceiptTree::new(&digests).map_or(B256::ZERO, |tree| tree.root()),
        receipts: stored
            .into_iter()
            .zip(digests)
            .map(|(StoredReceipt { receipt, signature, model }, digest)| SignedReceipt {
                receipt,
                model,
                digest,
                signature,
            })
            .collect(),
    }))
}

/// One receipt; with its proof once the cost is signed.
pub async fn receipt(
    State(state): State<AppState>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: PaidRequest,
) -> ApiResult<Json<ReceiptProof>> {
    let Path((id, sequence)) = path.unwrap_or_else(|_| Path(Default::default()));
    let digits = !sequence.is_empty() && sequence.bytes().all(|byte| byte.is_ascii_digit());
    let sequence: u32 =
        sequence.parse().ok().filter(|_| digits).ok_or_else(|| {
            invalid("the receipt's number is not a whole number", "receipts of a session count from 1")
        })?;
    let (market, session) = named(&state, &id, &request).await?;
    let stored = market.receipts_of(session.id).await?;
    let digests = digests(&market, &stored);
    let found = stored.into_iter().zip(&digests).find(|(stored, _)| stored.receipt.sequence == sequence);
    let (StoredReceipt { receipt, signature, model }, digest) = found.ok_or_else(|| {
        ApiError::not_found(
            "unknown_receipt",
            format!("session {} has {} receipts", session.id, digests.len()),
            "receipts of a session count from 1",
        )
    })?;
    let fixed = session.state == SessionState::Closed;
    let proof = ReceiptTree::new(&digests).ok().filter(|_| fixed).and_then(|tree| tree.proof(*digest));
    Ok(Json(ReceiptProof {
        receipt,
        model,
        digest: *digest,
        signature,
        proof: proof.unwrap_or_default(),
        cost: session.signed_cost.map(|signed| signed.cost),
        transaction: session
            .transaction
            .filter(|_| session.chain_status == ChainStatus::Closed)
            .map(|transaction| transaction.to_string()),
    }))
}
