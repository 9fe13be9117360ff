//! Deposits that somebody else submits: by signature (EIP-3009), or by plain transfer to an address that commits to its terms.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolValue;
use serde::{Deserialize, Serialize};

use crate::serde_util::u64_string;
use crate::typed_data::uint56;
use crate::{AccountId, ReceiveWithAuthorization, Usdc};

/// What a deposit address commits to: another owner, operator, ceiling or fee is another address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DepositTerms {
    /// The operator that may charge the account.
    pub operator_index: u32,
    /// Who owns what arrives.
    pub owner: Address,
    /// Ceiling of the account that the first sweep opens; [`Usdc::MAX`] lets it spend all it ever receives.
    pub ceiling: Usdc,
    /// Goes to the operator's earnings at each sweep.
    pub fee: Usdc,
}

impl DepositTerms {
    /// CREATE2 salt: keccak256(abi.encode(uint32 operatorIndex, address owner, uint56 ceiling, uint56 fee)).
    #[must_use]
    pub fn salt(&self) -> B256 {
        keccak256((self.operator_index, self.owner, uint56(self.ceiling), uint56(self.fee)).abi_encode())
    }
}

/// A gasless deposit: the owner signs [`ReceiveWithAuthorization`] with [`DepositAuthorization::nonce`] as its nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DepositAuthorization {
    /// The operator that may charge the account.
    pub operator_index: u32,
    /// Who pays and owns.
    pub owner: Address,
    /// `None` opens an account; otherwise the open account to top up.
    pub account: Option<AccountId>,
    /// How much.
    pub amount: Usdc,
    /// New ceiling, or zero to leave it.
    pub ceiling: Usdc,
    /// Unix seconds; valid strictly after.
    #[serde(with = "u64_string")]
    pub valid_after: u64,
    /// Unix seconds; valid strictly before.
    #[serde(with = "u64_string")]
    pub valid_before: u64,
    /// Makes the nonce unique.
    pub salt: B256,
}

impl DepositAuthorization {
    /// The EIP-3009 nonce, which commits to operator, owner, account and ceiling.
    #[must_use]
    pub fn nonce(&self) -> B256 {
        deposit_nonce(self.operator_index, self.owner, self.account, self.ceiling, self.salt)
    }

    /// What the owner signs, towards the ComputeFutures contract at `contract`.
    #[must_use]
    pub fn to_eip3009(&self, contract: Address) -> ReceiveWithAuthorization {
        ReceiveWithAuthorization {
            from: self.owner,
            to: contract,
            value: self.amount,
            valid_after: U256::from(self.valid_after),
            valid_before: U256::from(self.valid_before),
            nonce: self.nonce(),
        }
    }
}

/// keccak256(abi.encode(operatorIndex, owner, accountId, ceiling, salt)); a new account has id 0 here.
#[must_use]
pub fn deposit_nonce(
    operator_index: u32,
    owner: Address,
    account: Option<AccountId>,
    ceiling: Usdc,
    salt: B256,
) -> B256 {
    keccak256(
        (
            operator_index,
            owner,
            account.map_or(0, AccountId::get),
            uint56(ceiling),
            salt,
        )
            .abi_encode(),
    )
}

/// The address of (operator, owner, ceiling, fee) under the ComputeFutures contract at `contract`: an EIP-1167 clone of
/// `vault_implementation`, placed by CREATE2 when first swept.
#[must_use]
pub fn deposit_address(contract: Address, vault_implementation: Address, terms: &DepositTerms) -> Address {
    let mut init_code = Vec::with_capacity(55);
    init_code.extend_from_slice(&alloy_primitives::hex!("3d602d80600a3d3981f3363d3d373d3d3d363d73"));
    init_code.extend_from_slice(vault_implementation.as_slice());
    init_code.extend_from_slice(&alloy_primitives::hex!("5af43d82803e903d91602b57fd5bf3"));
    contract.create2(terms.salt(), keccak256(init_code))
}
