//! Scheme `compute-futures`, the money side: hold → work → charge, or release (I-8).

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use compute_futures_protocol::{B256, Usdc};

use super::credit::CreditProof;
use super::exact::{IN_PROGRESS_WAIT, Patience, in_progress};
use super::gate::{Charged, Gate, Kept, PaidRequest, detached, facts};
use super::offer::Line;
use super::service::{Payer, Service};
use super::wire::{Payload, Presented};
use crate::error::{ApiError, ApiResult};
use crate::ledger::{ChargeRequest, HoldOutcome, HoldRequest, StoredAnswer, new_job_id};

/// Longest work under a hold.
const WORK: Duration = Duration::from_secs(220);

impl Gate {
    pub(super) async fn spend(
        &self,
        request: &PaidRequest,
        line: &Line,
        presented: Presented,
        service: Arc<dyn Service>,
    ) -> ApiResult<Charged> {
        let Presented { payload: Payload::Credit(payload), version, .. } = presented else {
            return Err(ApiError::internal("a payment of scheme compute-futures was expected"));
        };
        let proof = self.prove_credit(*payload, request).await?;
        let payer =
            Payer { chain: line.settings.chain, address: proof.signer, account: Some(Arc::clone(&proof.account)) };
        let (account, key) = (proof.account.id, proof.nonce);
        let max_list = line.credit.unwrap_or_default();
        service.authorise(&payer).await?;
        let answer = self.hold_and_work(request.request_hash, proof, payer.clone(), max_list, service).await?;
        let kept = Kept::Charge(account, key);
        Ok(Charged { id: key, payer, version, transaction: String::new(), answer, kept })
    }

    async fn hold_and_work(
        &self,
        request_hash: B256,
        proof: CreditProof,
        payer: Payer,
        max_list: Usdc,
        service: Arc<dyn Service>,
    ) -> ApiResult<StoredAnswer> {
        let job_id = new_job_id();
        let hold = HoldRequest {
            account: proof.account.id,
            job_id,
            key: proof.nonce,
            request_hash,
            max_list,
            max_charge: Some(proof.max_charge),
            authorization: proof.authorization,
            spend_ceiling: proof.spend_ceiling,
            kind: service.kind().to_owned(),
            model: service.model().to_owned(),
        };
        let gate = self.clone();
        // The hold too: a client that hangs up right after it must not leave its credit held.
        detached(async move {
            let mut patience = Patience::new(IN_PROGRESS_WAIT);
            loop {
                match gate.ledger().hold(hold.clone()).await? {
                    HoldOutcome::Held { .. } => break,
                    HoldOutcome::Replay(answer) => return Ok(answer),
                    HoldOutcome::InProgress if patience.wait().await => {}
                    HoldOutcome::InProgress => return Err(in_progress()),
                    HoldOutcome::KeyReused => return Err(nonce_reused()),
                }
            }
            crate::failpoint!("job::after_hold");
            let done = gate.work(&*service, &payer, Some(job_id), WORK).await?;
            let charge = ChargeRequest { facts: facts(job_id, &done), render: done.answer.into_render() };
            crate::failpoint!("job::before_charge");
            let charged = gate.ledger().charge(charge).await?;
            crate::failpoint!("job::after_charge");
            Ok(charged.answer)
        })
        .await
    }
}

pub(super) fn nonce_reused() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "nonce_reused",
        "this nonce was used for another request of the account",
        "sign a fresh random nonce for a new request; send the identical request to get its answer again",
    )
}
