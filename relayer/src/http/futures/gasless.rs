//! A deposit by signature: EIP-3009 `ReceiveWithAuthorization` towards the contract, whose nonce commits to operator, owner,
//! account and ceiling. Only the contract can take the money, and only for what was signed (T-1).

use std::time::Duration;

use compute_futures_protocol::{AccountId, Address, B256, Bytes, DepositAuthorization, Usdc};
use serde::Deserialize;

use super::deposit::check_minimum;
use crate::error::{ApiError, ApiResult};
use crate::http::paid::{find_account, invalid};
use crate::http::state::At;
use crate::payment::credit::unix_now;
use crate::settlement::{Purpose, SettlementError};

/// Must be valid this much longer, so that the deposit can be mined.
const MARGIN_SECONDS: u64 = 60;

/// `depositAuthorization` of a deposit's body; amount, owner and ceiling are the body's.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DepositAuthorizationBody {
    /// The open account to top up; left out: open one.
    pub(super) account_id: Option<AccountId>,
    #[serde(with = "compute_futures_protocol::serde_util::u64_string")]
    pub(super) valid_after: u64,
    #[serde(with = "compute_futures_protocol::serde_util::u64_string")]
    pub(super) valid_before: u64,
    pub(super) salt: B256,
    pub(super) signature: Bytes,
}

/// Checks everything the contract and the token would check, so that nothing is paid for a deposit that cannot be.
///
/// # Errors
/// 400 and 402, saying what to sign anew.
pub(super) async fn check_authorization(
    at: &At,
    owner: Address,
    amount: Usdc,
    ceiling: Option<Usdc>,
    signed: &DepositAuthorizationBody,
) -> ApiResult<DepositAuthorization> {
    // A new account without a ceiling could spend nothing; a top-up leaves the ceiling as it is.
    let ceiling = ceiling.unwrap_or(if signed.account_id.is_none() { Usdc::MAX } else { Usdc::ZERO });
    let settings = at.gate.settings();
    let (Some(payer), Some(contract), Some(token)) =
        (owner.evm(), settings.domain.contract().evm(), settings.token.evm())
    else {
        return Err(invalid(
            "`depositAuthorization` is for EVM chains",
            "leave it out: a payment to the deposit address needs no gas of yours either",
        ));
    };
    let authorization = DepositAuthorization {
        operator_index: at.operator.operator_index,
        owner: payer,
        account: signed.account_id,
        amount,
        ceiling,
        valid_after: signed.valid_after,
        valid_before: signed.valid_before,
        salt: signed.salt,
    };
    match signed.account_id {
        None if ceiling.is_zero() => {
            return Err(invalid(
                "`ceiling` is zero: nothing could be spent",
                "leave it out, or send an amount of USDC",
            ));
        }
        None => check_minimum(at, amount)?,
        Some(id) => {
            let account = find_account(at, id).await?;
            if account.owner != owner {
                return Err(ApiError::new(
                    axum::http::StatusCode::FORBIDDEN,
                    "not_account_owner",
                    format!("account {id} belongs to somebody else"),
                    "leave accountId out to open an account of your own; nothing was taken",
                ));
            }
            super::crediting::require_takes_deposits(&account)?;
            if amount.is_zero() {
                return Err(invalid("`amount` is zero", "deposit something"));
            }
        }
    }
    let nonce = authorization.nonce();
    if at.reader.payment_used(owner, nonce).await.map_err(chain)? {
        // Used by a deposit of ours: the same one is asked for again, and its payment decides, not these checks. Else the owner cancelled
        // it, or had it carried by somebody else: nothing will come of it any more.
        return match at.settlement.wait(&Purpose::deposit(owner, nonce), Duration::ZERO).await {
            Ok(_) | Err(SettlementError::Pending { .. }) => Ok(authorization),
            Err(SettlementError::Ledger(error)) => Err(error.into()),
            Err(_) => Err(ApiError::bad_request(
                "invalid_deposit_authorization",
                "the depositAuthorization is used up: cancelled, or deposited by somebody else",
                "look at the account with /api/v1/compute-futures/balance?depositor=…, or sign a new one with another salt; nothing was taken",
            )),
        };
    }
    let now = unix_now();
    if authorization.valid_after >= now || authorization.valid_before <= now + MARGIN_SECONDS {
        return Err(invalid(
            "the depositAuthorization is not valid now, or not for long enough",
            "sign a new one with validAfter 0 and validBefore at least a few minutes ahead",
        ));
    }
    let digest = authorization.to_eip3009(contract).digest(token);
    if !at.reader.is_valid_signature(owner, digest, &signed.signature).await.map_err(chain)? {
        return Err(ApiError::bad_request(
            "invalid_deposit_authorization",
            "the depositAuthorization is not signed by the depositor over these very terms",
            "sign ReceiveWithAuthorization towards the contract with nonce depositNonce(operatorIndex, owner, accountId or 0, ceiling, salt)",
        ));
    }
    let balance = at.reader.token_balance(owner, None).await.map_err(chain)?;
    if balance < amount {
        return Err(ApiError::bad_request(
            "insufficient_funds",
            format!("the wallet holds {balance} USDC, the deposit is {amount} USDC"),
            "send USDC to the wallet, or deposit less",
        ));
    }
    Ok(authorization)
}

/// 503: the chain could not be asked.
pub(super) fn chain(error: compute_futures_chain::ChainError) -> ApiError {
    tracing::warn!(%error, "the chain could not be asked");
    ApiError::unavailable("chain_unavailable", "the chain does not answer", "retry in a moment; nothing was taken")
}
