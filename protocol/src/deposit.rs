//! Deposits that somebody else submits: by signature (EIP-3009), or by plain transfer to an address that commits to its terms.

use alloy_primitives::{Address as EvmAddress, B256, U256, keccak256};
use alloy_sol_types::SolValue;
use serde::{Deserialize, Serialize};

use crate::serde_util::u64_string;
use crate::typed_data::uint56;
use crate::{AccountId, Address, ReceiveWithAuthorization, Usdc};

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
    /// On an EVM chain the CREATE2 salt: keccak256(abi.encode(uint32 operatorIndex, address owner, uint56 ceiling, uint56 fee)).
    #[must_use]
    pub fn salt(&self) -> B256 {
        keccak256((self.operator_index, self.owner.into_word(), uint56(self.ceiling), uint56(self.fee)).abi_encode())
    }
}

/// A gasless deposit: the owner signs [`ReceiveWithAuthorization`] with [`DepositAuthorization::nonce`] as its nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DepositAuthorization {
    /// The operator that may charge the account.
    pub operator_index: u32,
    /// Who pays and owns.
    pub owner: EvmAddress,
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
    pub fn to_eip3009(&self, contract: EvmAddress) -> ReceiveWithAuthorization {
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
    owner: EvmAddress,
    account: Option<AccountId>,
    ceiling: Usdc,
    salt: B256,
) -> B256 {
    keccak256((operator_index, owner, account.map_or(0, AccountId::get), uint56(ceiling), salt).abi_encode())
}

/// On an EVM chain, the address of (operator, owner, ceiling, fee) under the ComputeFutures contract at `contract`: an EIP-1167 clone of
/// `vault_implementation`, placed by CREATE2 when first swept.
#[must_use]
pub fn deposit_address(contract: EvmAddress, vault_implementation: EvmAddress, terms: &DepositTerms) -> EvmAddress {
    let mut init_code = Vec::with_capacity(55);
    init_code.extend_from_slice(&alloy_primitives::hex!("3d602d80600a3d3981f3363d3d373d3d3d363d73"));
    init_code.extend_from_slice(vault_implementation.as_slice());
    init_code.extend_from_slice(&alloy_primitives::hex!("5af43d82803e903d91602b57fd5bf3"));
    contract.create2(terms.salt(), keccak256(init_code))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn authorization() -> DepositAuthorization {
        DepositAuthorization {
            operator_index: 1,
            owner: EvmAddress::repeat_byte(1),
            account: None,
            amount: Usdc::from_micros(50_000_000),
            ceiling: Usdc::MAX,
            valid_after: 0,
            valid_before: 1_790_000_000,
            salt: B256::repeat_byte(7),
        }
    }

    /// T-1: nobody who carries the deposit can give it another operator, owner, account or ceiling.
    #[test]
    fn the_nonce_commits_to_what_the_owner_wants() {
        let nonce = authorization().nonce();
        for other in [
            DepositAuthorization { operator_index: 2, ..authorization() },
            DepositAuthorization { owner: EvmAddress::repeat_byte(2), ..authorization() },
            DepositAuthorization { account: Some(AccountId::new(1, 1).unwrap()), ..authorization() },
            DepositAuthorization { ceiling: Usdc::ZERO, ..authorization() },
            DepositAuthorization { salt: B256::ZERO, ..authorization() },
        ] {
            assert_ne!(nonce, other.nonce());
        }
        let signed = authorization().to_eip3009(EvmAddress::repeat_byte(3));
        assert_eq!(
            (signed.from, signed.to, signed.nonce),
            (EvmAddress::repeat_byte(1), EvmAddress::repeat_byte(3), nonce)
        );
        assert_eq!(signed.value, Usdc::from_micros(50_000_000));
    }

    #[test]
    fn every_term_is_another_address() {
        let terms = DepositTerms {
            operator_index: 1,
            owner: Address::repeat_byte(1),
            ceiling: Usdc::MAX,
            fee: Usdc::from_micros(10_000),
        };
        let (contract, vault) = (EvmAddress::repeat_byte(2), EvmAddress::repeat_byte(3));
        let mut addresses = vec![
            deposit_address(contract, vault, &terms),
            deposit_address(vault, vault, &terms),
            deposit_address(contract, contract, &terms),
        ];
        addresses.extend(
            [
                DepositTerms { operator_index: 2, ..terms },
                DepositTerms { owner: contract.into(), ..terms },
                DepositTerms { ceiling: Usdc::ZERO, ..terms },
                DepositTerms { fee: Usdc::ZERO, ..terms },
            ]
            .map(|other| deposit_address(contract, vault, &other)),
        );
        let count = addresses.len();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), count);
    }

    #[test]
    fn json_keeps_every_digit() {
        let json = serde_json::to_value(authorization()).unwrap();
        assert_eq!(json["validBefore"], "1790000000");
        assert_eq!(json["account"], serde_json::Value::Null);
        assert_eq!(serde_json::from_value::<DepositAuthorization>(json).unwrap(), authorization());
    }
}
