//! What people and operators sign (EIP-712, on both chains). The contracts hash the same structures.
//!
//! On Solana the structures and their hashes are the same; the domain names the cluster and the program instead of chain id and
//! contract, and the signature is ed25519 over the digest.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::LazyLock;

use alloy_primitives::{Address as EvmAddress, B256, U256, Uint, keccak256};
use alloy_sol_types::{SolStruct, SolValue};
use serde::{Deserialize, Serialize};

use crate::serde_util::{batch_number, u64_string};
use crate::{AccountId, Address, Chain, SolanaAddress, Usdc};

/// Name in the contract's EIP-712 domain.
const DOMAIN_NAME: &str = "ComputeFutures";
/// Version in the contract's EIP-712 domain.
const DOMAIN_VERSION: &str = "1";
/// Separators that a thread remembers: of the three contracts of two chains, say.
const SEPARATORS: usize = 8;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// On an EVM chain.
    Evm {
        /// EIP-155 chain id.
        chain_id: u64,
        /// Address of the ComputeFutures contract.
        contract: EvmAddress,
    },
    /// On a Solana cluster.
    Solana {
        /// The cluster: [`Chain::Solana`] or [`Chain::SolanaDevnet`].
        cluster: Chain,
        /// Address of the ComputeFutures program.
        program: SolanaAddress,
    },
}

/// A contract's address in the form of another chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{contract} is no address on {chain}")]
pub struct WrongChain {
    /// The chain.
    pub chain: Chain,
    /// The address.
    pub contract: Address,
}

impl Domain {
    /// The contract (on Solana: the program) at this address on this chain.
    ///
    /// # Errors
    /// When the address has another chain's form.
    pub fn new(chain: Chain, contract: Address) -> Result<Self, WrongChain> {
        match (chain.evm_chain_id(), contract) {
            (Some(chain_id), Address::Evm(contract)) => Ok(Self::Evm { chain_id, contract }),
            (None, Address::Solana(program)) => Ok(Self::Solana { cluster: chain, program }),
            _ => Err(WrongChain { chain, contract }),
        }
    }

    /// The contract at this address on this EVM chain.
    #[must_use]
    pub const fn evm(chain_id: u64, contract: EvmAddress) -> Self {
        Self::Evm { chain_id, contract }
    }

    /// Address of the contract.
    #[must_use]
    pub const fn contract(&self) -> Address {
        match *self {
            Self::Evm { contract, .. } => Address::Evm(contract),
            Self::Solana { program, .. } => Address::Solana(program),
        }
    }

    /// CAIP-2 name of the network.
    #[must_use]
    pub fn network(&self) -> String {
        match self {
            Self::Evm { chain_id, .. } => format!("eip155:{chain_id}"),
            Self::Solana { cluster, .. } => cluster.caip2().to_owned(),
        }
    }

    /// EIP-712 domain separator.
    #[must_use]
    pub fn separator(&self) -> B256 {
        self.separator_named(DOMAIN_NAME)
    }

    /// The separator of the contract of this name at this address. Every digest needs one and few are ever used, so each thread
    /// remembers those it used last.
    pub(crate) fn separator_named(&self, name: &'static str) -> B256 {
        thread_local! {
            static LAST: RefCell<VecDeque<(Domain, &'static str, B256)>> = const { RefCell::new(VecDeque::new()) };
        }
        LAST.with_borrow_mut(|last| {
            if let Some((.., separator)) = last.iter().find(|(domain, of, _)| domain == self && *of == name) {
                return *separator;
            }
            let separator = self.hash_named(name);
            last.truncate(SEPARATORS - 1);
            last.push_front((*self, name, separator));
            separator
        })
    }

    fn hash_named(&self, name: &str) -> B256 {
        static VERSION: LazyLock<B256> = LazyLock::new(|| keccak256(DOMAIN_VERSION));
        let (name, version) = (keccak256(name), *VERSION);
        match *self {
            Self::Evm { chain_id, contract } => {
                static TYPE: LazyLock<B256> = LazyLock::new(|| {
                    keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
                });
                keccak256((*TYPE, name, version, U256::from(chain_id), contract).abi_encode())
            }
            Self::Solana { cluster, program } => {
                static TYPE: LazyLock<B256> = LazyLock::new(|| {
                    keccak256("EIP712Domain(string name,string version,string cluster,bytes32 program)")
                });
                let (cluster, program) = (keccak256(cluster.reference()), B256::new(program.0));
                keccak256((*TYPE, name, version, cluster, program).abi_encode())
            }
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            account_id: AccountId::new(1, 1).unwrap(),
            batch_number: 7,
            sequence: 3,
            job_id: B256::repeat_byte(1),
            authorization_hash: B256::repeat_byte(2),
            request_hash: B256::repeat_byte(3),
            output_hash: B256::repeat_byte(4),
            list_amount: Usdc::from_micros(30_000),
            discount_bps: 1000,
            charged: Usdc::from_micros(27_000),
            issued_at: 1_790_000_000,
        }
    }

    #[test]
    fn types_are_spelled_as_documented() {
        use sol_types as t;
        assert_eq!(t::SpendCeiling::eip712_encode_type(), "SpendCeiling(uint64 accountId,uint56 ceiling)");
        assert_eq!(
            t::JobAuthorization::eip712_encode_type(),
            "JobAuthorization(uint64 accountId,bytes32 requestHash,bytes32 nonce,uint56 maxCharge,uint64 validUntil)"
        );
        assert_eq!(
            t::Receipt::eip712_encode_type(),
            "Receipt(uint64 accountId,uint40 batchNumber,uint64 sequence,bytes32 jobId,bytes32 authorizationHash,\
             bytes32 requestHash,bytes32 outputHash,uint56 listAmount,uint16 discountBps,uint56 charged,uint64 issuedAt)"
        );
    }

    #[test]
    fn authorization_json_is_the_schemes() {
        let json = r#"{"accountId":"4294967297","requestHash":"0x0303030303030303030303030303030303030303030303030303030303030303","nonce":"0x0505050505050505050505050505050505050505050505050505050505050505","maxCharge":"30000","validUntil":"1790000000"}"#;
        let authorization: JobAuthorization = serde_json::from_str(json).unwrap();
        assert_eq!(authorization.account_id, AccountId::new(1, 1).unwrap());
        assert_eq!(authorization.valid_until, 1_790_000_000);
        assert_eq!(serde_json::to_string(&authorization).unwrap(), json);
        for (good, bad) in [
            ("\"1790000000\"", "1790000000"),
            ("\"1790000000\"", "\"-1\""),
            ("\"30000\"", "\"0.03\""),
            ("\"30000\"", "\"72057594037927936\""),
            ("\"4294967297\"", "\"1\""),
            ("0x0303", "0x03"),
        ] {
            assert!(serde_json::from_str::<JobAuthorization>(&json.replacen(good, bad, 1)).is_err(), "{bad}");
        }
    }

    #[test]
    fn batch_numbers_have_forty_bits() {
        let mut json = serde_json::to_value(receipt()).unwrap();
        assert_eq!(json["batchNumber"], "7");
        assert_eq!(json["discountBps"], 1000);
        json["batchNumber"] = MAX_BATCH_NUMBER.to_string().into();
        assert!(serde_json::from_value::<Receipt>(json.clone()).is_ok());
        json["batchNumber"] = (MAX_BATCH_NUMBER + 1).to_string().into();
        assert!(serde_json::from_value::<Receipt>(json).is_err());
    }

    fn solana(cluster: Chain, byte: u8) -> Domain {
        Domain::new(cluster, SolanaAddress::new([byte; 32]).into()).unwrap()
    }

    #[test]
    fn a_domain_needs_an_address_of_its_chain() {
        let (evm, solana) = (Address::repeat_byte(1), Address::Solana(SolanaAddress::new([1; 32])));
        assert_eq!(Domain::new(Chain::Base, evm).unwrap().contract(), evm);
        assert_eq!(Domain::new(Chain::Solana, solana).unwrap().contract(), solana);
        assert_eq!(Domain::new(Chain::Base, evm).unwrap().network(), Chain::Base.caip2());
        assert_eq!(Domain::new(Chain::SolanaDevnet, solana).unwrap().network(), Chain::SolanaDevnet.caip2());
        for (chain, contract) in [(Chain::Base, solana), (Chain::Solana, evm)] {
            assert_eq!(Domain::new(chain, contract), Err(WrongChain { chain, contract }));
        }
    }

    /// keccak256(abi.encode(type hash, keccak256(name), keccak256(version), keccak256(cluster), program)).
    #[test]
    fn the_solana_domain_is_spelled_as_documented() {
        let words = [
            keccak256("EIP712Domain(string name,string version,string cluster,bytes32 program)"),
            keccak256("ComputeFutures"),
            keccak256("1"),
            keccak256("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
            B256::repeat_byte(7),
        ];
        assert_eq!(solana(Chain::Solana, 7).separator(), keccak256(words.concat()));
    }

    /// A signature for one deployment, account or message is none for another (T-2).
    #[test]
    fn every_field_and_the_domain_change_the_digest() {
        let domain = Domain::evm(8453, EvmAddress::repeat_byte(9));
        let mut digests = vec![
            receipt().digest(&domain),
            receipt().digest(&Domain::evm(84532, EvmAddress::repeat_byte(9))),
            receipt().digest(&Domain::evm(8453, EvmAddress::repeat_byte(8))),
            receipt().digest(&solana(Chain::Solana, 9)),
            receipt().digest(&solana(Chain::SolanaDevnet, 9)),
            receipt().digest(&solana(Chain::Solana, 8)),
        ];
        let changes: [fn(&mut Receipt); 11] = [
            |r| r.account_id = AccountId::new(2, 1).unwrap(),
            |r| r.batch_number += 1,
            |r| r.sequence += 1,
            |r| r.job_id = B256::ZERO,
            |r| r.authorization_hash = B256::ZERO,
            |r| r.request_hash = B256::ZERO,
            |r| r.output_hash = B256::ZERO,
            |r| r.list_amount = Usdc::ZERO,
            |r| r.discount_bps = 0,
            |r| r.charged = Usdc::ZERO,
            |r| r.issued_at = 0,
        ];
        digests.extend(changes.map(|change| {
            let mut changed = receipt();
            change(&mut changed);
            changed.digest(&domain)
        }));
        let count = digests.len();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), count);
    }

    proptest! {
        #[test]
        fn alloys_own_signing_hash_agrees(chain_id: u64, contract: [u8; 20], sequence in 1u32..1 << 28, ceiling in 0u64..1 << 56) {
            let contract = EvmAddress::from(contract);
            let domain = Domain::evm(chain_id, contract);
            let message = SpendCeiling { account_id: AccountId::new(1, sequence).unwrap(), ceiling: Usdc::from_micros(ceiling) };
            let theirs = sol_types::SpendCeiling { accountId: message.account_id.get(), ceiling: uint56(message.ceiling) };
            let name = alloy_sol_types::eip712_domain! {
                name: DOMAIN_NAME, version: DOMAIN_VERSION, chain_id: chain_id, verifying_contract: contract,
            };
            prop_assert_eq!(message.digest(&domain), theirs.eip712_signing_hash(&name));
        }
    }
}
