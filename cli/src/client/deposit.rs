//! Gasless deposits: the owner signs, anyone submits (EIP-3009 `receiveWithAuthorization`, T-1).

use compute_futures_protocol::{AccountId, Address, B256, DepositAuthorization, Signature, Signer, TokenDomain, Usdc};
use serde::Serialize;
use serde_json::{Value, json};

use super::ClientError;

/// A signed deposit, ready for a relayer or for `depositWithAuthorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GaslessDeposit {
    /// What was signed.
    pub authorization: DepositAuthorization,
    /// By the owner.
    pub signature: Signature,
}

impl GaslessDeposit {
    /// Body of `POST /api/v1/compute-futures/deposit`, which then asks for its gate price alone.
    #[must_use]
    pub fn body(&self) -> Value {
        let signed = &self.authorization;
        let mut authorization = json!({
            "validAfter": signed.valid_after.to_string(),
            "validBefore": signed.valid_before.to_string(),
            "salt": signed.salt,
            "signature": self.signature,
        });
        if let Some(account) = signed.account {
            authorization["accountId"] = json!(account);
        }
        let mut body = json!({
            "depositor": signed.owner,
            "amount": signed.amount.to_string(),
            "depositAuthorization": authorization,
        });
        // Left out means what was signed by default: everything for a new account, as it is for a top-up.
        let usual = if signed.account.is_some() { Usdc::ZERO } else { Usdc::MAX };
        if signed.ceiling != usual {
            body["ceiling"] = json!(signed.ceiling.to_string());
        }
        body
    }
}

/// Signs a deposit that only `contract` can take, once, for the signer's own account.
///
/// # Errors
/// [`ClientError::Signing`] with a key or a contract of another chain: there is no EIP-3009.
#[allow(clippy::too_many_arguments)] // each is a separate commitment of the signature
pub fn sign_gasless(
    signer: &Signer,
    token: &TokenDomain,
    contract: Address,
    operator_index: u32,
    account: Option<AccountId>,
    amount: Usdc,
    ceiling: Usdc,
    valid_before: u64,
) -> Result<GaslessDeposit, ClientError> {
    let (Some(owner), Some(contract)) = (signer.address().evm(), contract.evm()) else {
        return Err(ClientError::Signing("deposits are signed with EIP-3009 on EVM chains only".into()));
    };
    let authorization = DepositAuthorization {
        operator_index,
        owner,
        account,
        amount,
        ceiling,
        valid_after: 0,
        valid_before,
        salt: B256::from(rand::random::<[u8; 32]>()),
    };
    let digest = authorization.to_eip3009(contract).digest(token);
    Ok(GaslessDeposit { authorization, signature: signer.sign(digest) })
}
