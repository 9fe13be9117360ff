//! A receipt with everything that makes it proof: the operator's signature and the depositor's authorisation.

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};

use crate::request::canonical_json_hash;
use crate::serde_util::u256_string;
use crate::signature::{Signature, SignatureError, Signer, recover};
use crate::{Chain, Domain, JobAuthorization, Receipt, TokenDomain, TransferWithAuthorization, Usdc};

/// A receipt as published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedReceipt {
    /// What was charged for what.
    #[serde(flatten)]
    pub receipt: Receipt,
    /// EIP-712 digest of the receipt.
    pub receipt_hash: B256,
    /// The operator's, over `receipt_hash`.
    pub signature: Signature,
    /// The depositor's.
    pub authorization: Authorization,
}

impl SignedReceipt {
    /// Signs a receipt as its operator.
    #[must_use]
    pub fn sign(receipt: Receipt, authorization: Authorization, domain: &Domain, operator: &Signer) -> Self {
        let receipt_hash = receipt.digest(domain);
        let signature = operator.sign(receipt_hash).into();
        Self {
            receipt,
            receipt_hash,
            signature,
            authorization,
        }
    }
}

/// How the depositor authorised a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scheme")]
pub enum Authorization {
    /// Out of credit, by signature (x402 scheme `compute-futures`).
    #[serde(rename = "compute-futures")]
    ComputeFutures {
        /// What was signed.
        authorization: JobAuthorization,
        /// By owner or delegate: 65 bytes, or whatever a contract wallet accepts.
        signature: Bytes,
    },
    /// By paying the gate price from the account's wallet (x402 scheme `exact`).
    #[serde(rename = "exact")]
    Exact {
        /// The payment.
        payment: ExactPayment,
    },
}

/// An x402 `exact` payment: an EIP-3009 transfer. In JSON, addresses and bytes are lower-case hex and numbers decimal strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExactPayment {
    /// The token.
    pub asset: Address,
    /// Who paid.
    pub from: Address,
    /// The chain, always by its CAIP-2 name.
    pub network: Chain,
    /// Of the EIP-3009 authorisation.
    pub nonce: B256,
    /// The payer's: 65 bytes, or whatever a contract wallet accepts.
    pub signature: Bytes,
    /// Who was paid.
    pub to: Address,
    /// Unix seconds; valid strictly after.
    #[serde(with = "u256_string")]
    pub valid_after: U256,
    /// Unix seconds; valid strictly before.
    #[serde(with = "u256_string")]
    pub valid_before: U256,
    /// How much.
    pub value: Usdc,
}

impl ExactPayment {
    /// keccak256 of the canonical JSON of the payment.
    #[must_use]
    pub fn hash(&self) -> B256 {
        canonical_json_hash(&serde_json::json!({
            "asset": self.asset,
            "from": self.from,
            "network": self.network,
            "nonce": self.nonce,
            "signature": self.signature,
            "to": self.to,
            "validAfter": self.valid_after.to_string(),
            "validBefore": self.valid_before.to_string(),
            "value": self.value,
        }))
    }

    /// Digest that the payer signed; `None` on a chain without EIP-712.
    #[must_use]
    pub fn digest(&self) -> Option<B256> {
        let token = TokenDomain::usdc(self.network.evm_chain_id()?, self.asset);
        let transfer = TransferWithAuthorization {
            from: self.from,
            to: self.to,
            value: self.value,
            valid_after: self.valid_after,
            valid_before: self.valid_before,
            nonce: self.nonce,
        };
        Some(transfer.digest(&token))
    }
}

/// An authorisation that no key is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    /// Not a 65-byte ECDSA signature. A contract wallet's has to be checked on chain (EIP-1271).
    #[error("{0}; if the signer is a contract wallet, ask the chain (EIP-1271)")]
    Signature(#[from] SignatureError),
    /// Signed by another key than the one that pays.
    #[error("the payment is from {from} but signed by {signer}")]
    NotThePayer {
        /// Who pays.
        from: Address,
        /// Who signed.
        signer: Address,
    },
    /// No EIP-712 there.
    #[error("payments on {0} are not signed with EIP-712; check them on that chain")]
    NotEvm(Chain),
}

impl Authorization {
    /// What the receipt's `authorization_hash` must be.
    #[must_use]
    pub fn hash(&self, domain: &Domain) -> B256 {
        match self {
            Self::ComputeFutures { authorization, .. } => authorization.digest(domain),
            Self::Exact { payment } => payment.hash(),
        }
    }

    /// Who authorised the job: compare with the account's owner and delegate.
    ///
    /// # Errors
    /// When the signature is not an ECDSA signature, or not the payer's.
    pub fn authorizer(&self, domain: &Domain) -> Result<Address, AuthorizationError> {
        match self {
            Self::ComputeFutures {
                authorization,
                signature,
            } => Ok(recover(authorization.digest(domain), signature)?),
            Self::Exact { payment } => {
                let digest = payment.digest().ok_or(AuthorizationError::NotEvm(payment.network))?;
                let signer = recover(digest, &payment.signature)?;
                if signer != payment.from {
                    return Err(AuthorizationError::NotThePayer {
                        from: payment.from,
                        signer,
                    });
                }
                Ok(signer)
            }
        }
    }
}
