//! What people and operators sign on EVM chains (EIP-712). The contract hashes the same structures.

use alloy_primitives::{Address, B256, U256, Uint, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use serde::{Deserialize, Serialize};

use crate::serde_util::{batch_number, u64_string};
use crate::{AccountId, Usdc};

/// Name in the contract's EIP-712 domain.
const DOMAIN_NAME: &str = "ComputeFutures";
/// Version in the contract's EIP-712 domain.
const DOMAIN_VERSION: &str = "1";
/// Highest batch number: 40 bits.
pub const MAX_BATCH_NUMBER: u64 = (1 << 40) - 1;

mod sol_types {
    #![allow(missing_docs, unreachable_pub)]
    alloy_sol_types::sol! {
        struct SpendCeiling { uint64 accountId; uint56 ceiling; }
        struct JobAuthorization { uint64 accountId; bytes32 requestHash; bytes32 nonce; uint56 maxCharge; uint64 validUntil; }
        struct Receipt {
            uint64 accountId;
            uint40 batchNumber;
            uint64 sequence;
            bytes32 jobId;
            bytes32 authorizationHash;
            bytes32 requestHash;
            bytes32 outputHash;
            uint56 listAmount;
            uint16 discountBps;
            uint56 charged;
            uint64 issuedAt;
        }
    }
}

/// An amount as the contract's uint56; a [`Usdc`] always fits.
pub(crate) fn uint56(amount: Usdc) -> Uint<56, 1> {
    Uint::saturating_from(amount.micros())
}

/// keccak256(0x1901 ‖ domain separator ‖ struct hash).
pub(crate) fn eip712_digest(separator: B256, struct_hash: B256) -> B256 {
    let mut bytes = [0u8; 66];
    bytes[..2].copy_from_slice(&[0x19, 0x01]);
    bytes[2..34].copy_from_slice(separator.as_slice());
    bytes[34..].copy_from_slice(struct_hash.as_slice());
    keccak256(bytes)
}

/// One deployment of the contract: a signature for it means nothing to any other (T-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Domain {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Address of the ComputeFutures contract.
    pub contract: Address,
}

impl Domain {
    /// The contract at this address on this chain.
    #[must_use]
    pub const fn new(chain_id: u64, contract: Address) -> Self {
        Self { chain_id, contract }
    }

    /// EIP-712 domain separator.
    #[must_use]
    pub fn separator(&self) -> B256 {
        self.eip712().separator()
    }

    /// The same for alloy's signing functions.
    #[must_use]
    pub const fn eip712(&self) -> Eip712Domain {
        Eip712Domain::new(
            Some(std::borrow::Cow::Borrowed(DOMAIN_NAME)),
            Some(std::borrow::Cow::Borrowed(DOMAIN_VERSION)),
            Some(U256::from_limbs([self.chain_id, 0, 0, 0])),
            Some(self.contract),
            None,
        )
    }
}

/// "This job may cost me at most `max_charge`": signed by owner or delegate, pays for one request out of credit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobAuthorization {
    /// The account that pays.
    pub account_id: AccountId,
    /// Binds method, path and body, see [`crate::request_hash`].
    pub request_hash: B256,
    /// Idempotency key within the account.
    pub nonce: B256,
    /// Most the job may cost, net of discount.
    pub max_charge: Usdc,
    /// Unix seconds after which the signature is void.
    #[serde(with = "u64_string")]
    pub valid_until: u64,
}

/// "The operator may charge this account up to `ceiling` in all" (I-2): signed by owner or delegate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpendCeiling {
    /// The account.
    pub account_id: AccountId,
    /// Cumulative cap on what was ever charged.
    pub ceiling: Usdc,
}

/// What a job cost and what it was (I-7): signed by the operator, a leaf of its batch's Merkle tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The account that paid.
    pub account_id: AccountId,
    /// The batch the charge is posted with.
    #[serde(with = "batch_number")]
    pub batch_number: u64,
    /// n-th receipt of the account, from 1, no gaps.
    #[serde(with = "u64_string")]
    pub sequence: u64,
    /// The job.
    pub job_id: B256,
    /// The depositor's authorisation, see [`crate::Authorization::hash`].
    pub authorization_hash: B256,
    /// The request, see [`crate::request_hash`].
    pub request_hash: B256,
    /// keccak256 of the answer in canonical JSON.
    pub output_hash: B256,
    /// Before discount.
    pub list_amount: Usdc,
    /// Discount in basis points.
    pub discount_bps: u16,
    /// Net of discount: this job's share, the account's remainder carried in order of `sequence`.
    pub charged: Usdc,
    /// Unix seconds.
    #[serde(with = "u64_string")]
    pub issued_at: u64,
}

macro_rules! typed_data {
    ($type:ty, |$value:ident| $sol:expr) => {
        impl $type {
            /// EIP-712 struct hash.
            #[must_use]
            pub fn struct_hash(&self) -> B256 {
                let $value = self;
                $sol.eip712_hash_struct()
            }

            /// What is signed for `domain`: the EIP-712 digest.
            #[must_use]
            pub fn digest(&self, domain: &Domain) -> B256 {
                eip712_digest(domain.separator(), self.struct_hash())
            }
        }
    };
}

typed_data!(SpendCeiling, |value| sol_types::SpendCeiling {
    accountId: value.account_id.get(),
    ceiling: uint56(value.ceiling),
});

typed_data!(JobAuthorization, |value| sol_types::JobAuthorization {
    accountId: value.account_id.get(),
    requestHash: value.request_hash,
    nonce: value.nonce,
    maxCharge: uint56(value.max_charge),
    validUntil: value.valid_until,
});

typed_data!(Receipt, |value| sol_types::Receipt {
    accountId: value.account_id.get(),
    // The contract has no batch beyond 40 bits, and none is ever deserialised.
    batchNumber: Uint::saturating_from(value.batch_number),
    sequence: value.sequence,
    jobId: value.job_id,
    authorizationHash: value.authorization_hash,
    requestHash: value.request_hash,
    outputHash: value.output_hash,
    listAmount: uint56(value.list_amount),
    discountBps: value.discount_bps,
    charged: uint56(value.charged),
    issuedAt: value.issued_at,
});
