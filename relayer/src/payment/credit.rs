//! Scheme `compute-futures`: who signed a job authorisation, and whether that may spend the account.
//!
//! The signature is recovered here (no I/O on the way for ordinary wallets); whether the credit suffices is the ledger's to say.

use std::sync::Arc;
use std::time::Duration;

use compute_futures_chain::ChainReader;
use compute_futures_protocol::{
    AccountId, Address, Authorization, B256, SignatureError, SpendCeiling, keccak256, signer_among,
};
use serde_json::json;
use tokio::sync::Semaphore;

use super::gate::{Gate, PaidRequest};
use super::offer::payment_required;
use super::wire::{CreditPayload, SpendCeilingPayload};
use crate::error::{ApiError, ApiResult};
use crate::ledger::{AccountView, SignedCeiling};

/// A job authorisation is valid at most this far ahead, in seconds: an old signature must not be a standing debit.
pub const MAX_VALIDITY_SECONDS: u64 = 24 * 60 * 60;
/// Contract wallets asked at once (EIP-1271): a flood of bad signatures must not become a flood of chain calls.
const CONTRACT_CHECKS: usize = 16;
/// How long a request waits for its turn to ask a contract wallet.
const CONTRACT_CHECK_WAIT: Duration = Duration::from_secs(3);
/// How long a contract wallet's answer counts: it may change its mind.
const CONTRACT_ANSWER_SECONDS: u64 = 30;

/// A proven job authorisation.
#[derive(Debug, Clone)]
pub struct CreditProof {
    /// The account, as the ledger knows it now.
    pub account: Arc<AccountView>,
    /// Owner or delegate, whoever signed.
    pub signer: Address,
    /// Idempotency key.
    pub nonce: B256,
    /// What was signed, for hold and receipt.
    pub authorization: Authorization,
    /// Signed bound on the net charge.
    pub max_charge: compute_futures_protocol::Usdc,
    /// A higher ceiling that came along, verified.
    pub spend_ceiling: Option<SignedCeiling>,
}

/// Asks the chain whether a signature is a wallet's (EIP-1271 where it has code), sparingly.
#[derive(Clone)]
pub(super) struct ContractWallets {
    reader: Arc<dyn ChainReader>,
    turns: Arc<Semaphore>,
    answers: moka::future::Cache<B256, bool>,
}

impl ContractWallets {
    pub(super) fn new(reader: Arc<dyn ChainReader>) -> Self {
        let answers = moka::future::Cache::builder()
            .max_capacity(10_000)
            .time_to_live(Duration::from_secs(CONTRACT_ANSWER_SECONDS));
        Self { reader, turns: Arc::new(Semaphore::new(CONTRACT_CHECKS)), answers: answers.build() }
    }

    pub(super) async fn accepts(&self, wallet: Address, digest: B256, signature: &[u8]) -> ApiResult<bool> {
        let key = keccak256([wallet.as_slice(), digest.as_slice(), signature].concat());
        if let Some(answer) = self.answers.get(&key).await {
            return Ok(answer);
        }
        let busy = || ApiError::unavailable("busy", "too many contract wallets are being checked", "retry in a moment");
        let _turn = tokio::time::timeout(CONTRACT_CHECK_WAIT, self.turns.acquire())
            .await
            .map_err(|_| busy())?
            .map_err(|_| busy())?;
        let answer = self.reader.is_valid_signature(wallet, digest, signature).await.map_err(|error| {
            tracing::warn!(%wallet, %error, "a contract wallet could not be asked");
            ApiError::unavailable(
                "chain_unavailable",
                "the chain could not be asked about this signature",
                "retry in a moment",
            )
        })?;
        self.answers.insert(key, answer).await;
        Ok(answer)
    }
}

impl Gate {
    /// Checks a job authorisation for a request.
    ///
    /// # Errors
    /// 402 `request_hash_mismatch`, `expired`, `unknown_account`, `invalid_signature`; 403 `not_account_spender`.
    pub async fn prove_credit(&self, payload: CreditPayload, request: &PaidRequest) -> ApiResult<CreditProof> {
        let request_hash = request.request_hash;
        let CreditPayload { signature, authorization, spend_ceiling } = payload;
        if authorization.request_hash != request_hash {
            return Err(payment_required(
                "request_hash_mismatch",
                "the authorisation was signed for another request",
                "sign the requestHash of `accepts`: keccak256 of method, space, path with query, newline, body",
            )
            .with_extra(json!({ "requestHash": request_hash })));
        }
        check_validity(authorization.valid_until, unix_now())?;
        let account = self.paying_account(authorization.account_id).await?;
        let digest = authorization.digest(&self.settings().domain);
        let signer = self.spender_of(&account, digest, &signature).await?;
        request.proven.mark();
        let spend_ceiling = match spend_ceiling {
            Some(raise) if raise.ceiling > account.ceiling => Some(self.check_ceiling(&account, raise).await?),
            _ => None,
        };
        Ok(CreditProof {
            account,
            signer,
            nonce: authorization.nonce,
            max_charge: authorization.max_charge,
            authorization: Authorization::ComputeFutures { authorization, signature },
            spend_ceiling,
        })
    }

    /// A ceiling is relayed on chain later, so the chain judges it now, in the contract's own order: a wallet with code decides
    /// itself, even over its own key (EIP-7702). Otherwise work could be done for a ceiling that the contract then refuses.
    async fn check_ceiling(&self, account: &AccountView, raise: SpendCeilingPayload) -> ApiResult<SignedCeiling> {
        let signed = SpendCeiling { account_id: account.id, ceiling: raise.ceiling };
        let digest = signed.digest(&self.settings().domain);
        for spender in [Some(account.owner), account.delegate].into_iter().flatten() {
            if self.contract_wallets().accepts(spender, digest, &raise.signature).await? {
                return Ok(SignedCeiling { ceiling: raise.ceiling, signature: raise.signature.0 });
            }
        }
        Err(payment_required(
            "invalid_signature",
            "the spendCeiling is not signed by the account's owner or delegate",
            "sign the EIP-712 SpendCeiling(accountId, ceiling) with the same domain as the JobAuthorization",
        ))
    }

    /// Owner or delegate, whoever made the signature.
    async fn spender_of(&self, account: &AccountView, digest: B256, signature: &[u8]) -> ApiResult<Address> {
        let spenders: Vec<Address> = [Some(account.owner), account.delegate].into_iter().flatten().collect();
        let error = match signer_among(digest, signature, &spenders) {
            Ok(signer) => return Ok(signer),
            Err(error) => error,
        };
        for spender in spenders {
            if self.contract_wallets().accepts(spender, digest, signature).await? {
                return Ok(spender);
            }
        }
        match error {
            SignatureError::Stranger(Some(signer)) => Err(not_spender(account.id, signer)),
            // An ed25519 signature does not say whose it is.
            SignatureError::Stranger(None) => Err(not_spender(account.id, "whoever made this signature")),
            error => Err(payment_required(
                "invalid_signature",
                error.to_string(),
                "sign the EIP-712 JobAuthorization with the account's owner or delegate; the domain is in `accepts`",
            )),
        }
    }
}

/// 403: somebody else than owner or delegate.
#[must_use]
pub fn not_spender(account: AccountId, signer: impl std::fmt::Display) -> ApiError {
    ApiError::new(
        axum::http::StatusCode::FORBIDDEN,
        "not_account_spender",
        format!("{signer} may not spend account {account}"),
        "pay or sign with the account's owner, or with the delegate that the owner set on chain; nothing was taken",
    )
}

fn check_validity(valid_until: u64, now: u64) -> ApiResult<()> {
    if valid_until <= now {
        return Err(payment_required(
            "expired",
            format!("the authorisation was valid until {valid_until}; it is {now} now"),
            "sign a new one with validUntil a few minutes ahead",
        ));
    }
    if valid_until > now.saturating_add(MAX_VALIDITY_SECONDS) {
        return Err(payment_required(
            "validity_too_long",
            "the authorisation is valid for more than 24 hours",
            "sign a new one with validUntil a few minutes ahead",
        ));
    }
    Ok(())
}

/// Unix seconds.
#[must_use]
pub fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn validity_is_bounded_on_both_sides() {
        let now = 1_800_000_000;
        assert!(check_validity(now + 1, now).is_ok());
        assert!(check_validity(now + MAX_VALIDITY_SECONDS, now).is_ok());
        assert_eq!(check_validity(now, now).unwrap_err().code, "expired");
        assert_eq!(check_validity(0, now).unwrap_err().code, "expired");
        assert_eq!(check_validity(now + MAX_VALIDITY_SECONDS + 1, now).unwrap_err().code, "validity_too_long");
        assert_eq!(check_validity(u64::MAX, now).unwrap_err().code, "validity_too_long");
    }
}
