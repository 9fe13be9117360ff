//! EIP-3009: transfers of USDC that the payer signs and anyone may submit.

use alloy_primitives::{Address as EvmAddress, B256, U256};
use alloy_sol_types::{Eip712Domain, SolStruct};

use crate::typed_data::eip712_digest;
use crate::{Chain, Usdc};

mod sol_types {
    #![allow(missing_docs, unreachable_pub)]
    alloy_sol_types::sol! {
        struct TransferWithAuthorization {
            address from; address to; uint256 value; uint256 validAfter; uint256 validBefore; bytes32 nonce;
        }
        struct ReceiveWithAuthorization {
            address from; address to; uint256 value; uint256 validAfter; uint256 validBefore; bytes32 nonce;
        }
    }
}

/// EIP-712 domain of a USDC contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenDomain {
    /// `USD Coin`, on some test networks `USDC`.
    pub name: String,
    /// `2`.
    pub version: String,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Address of the token.
    pub token: EvmAddress,
}

impl TokenDomain {
    /// Circle's USDC on mainnets: name `USD Coin`, version `2`.
    #[must_use]
    pub fn usdc(chain_id: u64, token: EvmAddress) -> Self {
        // Base Sepolia's token was deployed under its short name.
        let name = if Some(chain_id) == Chain::BaseSepolia.evm_chain_id() { "USDC" } else { "USD Coin" };
        Self { name: name.to_owned(), version: "2".to_owned(), chain_id, token }
    }

    /// EIP-712 domain separator.
    #[must_use]
    pub fn separator(&self) -> B256 {
        Eip712Domain::new(
            Some(self.name.clone().into()),
            Some(self.version.clone().into()),
            Some(U256::from(self.chain_id)),
            Some(self.token),
            None,
        )
        .separator()
    }
}

macro_rules! authorization {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            /// Who pays and signs.
            pub from: EvmAddress,
            /// Who is paid.
            pub to: EvmAddress,
            /// How much.
            pub value: Usdc,
            /// Unix seconds; valid strictly after.
            pub valid_after: U256,
            /// Unix seconds; valid strictly before.
            pub valid_before: U256,
            /// Random, or a commitment (see [`crate::deposit_nonce`]); used once per payer.
            pub nonce: B256,
        }

        impl $name {
            /// EIP-712 struct hash.
            #[must_use]
            pub fn struct_hash(&self) -> B256 {
                sol_types::$name {
                    from: self.from,
                    to: self.to,
                    value: U256::from(self.value.micros()),
                    validAfter: self.valid_after,
                    validBefore: self.valid_before,
                    nonce: self.nonce,
                }
                .eip712_hash_struct()
            }

            /// What is signed: the EIP-712 digest.
            #[must_use]
            pub fn digest(&self, token: &TokenDomain) -> B256 {
                eip712_digest(token.separator(), self.struct_hash())
            }
        }
    };
}

authorization! {
    /// Anyone may submit it: what x402 `exact` uses. Only safe towards an address that commits to what the money is for (T-1).
    TransferWithAuthorization
}
authorization! {
    /// Only the payee may submit it, so nobody can front-run the deposit it is part of (T-1).
    ReceiveWithAuthorization
}
