//! A receipt with everything that makes it proof: the operator's signature and the depositor's authorisation.

use alloy_primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::payment::PaymentFault;
use crate::signature::{Signature, SignatureError, signer_among};
use crate::{Address, Domain, ExactPayment, JobAuthorization, Receipt, Signer};

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
        let signature = operator.sign(receipt_hash);
        Self { receipt, receipt_hash, signature, authorization }
    }

    /// Checks what needs neither batch nor chain: the hash, the operator's signature, and that the authorisation is the one
    /// the receipt names and allows what was charged.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn verify(&self, domain: &Domain, operator: Address) -> Result<(), ReceiptFault> {
        let hash = self.receipt.digest(domain);
        if hash != self.receipt_hash {
            return Err(ReceiptFault::Hash(hash));
        }
        self.signature.verify(hash, operator).map_err(|error| match error {
            SignatureError::Stranger(signer) => ReceiptFault::NotTheOperator(signer),
            other => ReceiptFault::Signature(other),
        })?;
        let authorization_hash = self.authorization.hash(domain);
        if authorization_hash != self.receipt.authorization_hash {
            return Err(ReceiptFault::AuthorizationHash(authorization_hash));
        }
        if let Authorization::ComputeFutures { authorization, .. } = &self.authorization {
            if authorization.account_id != self.receipt.account_id {
                return Err(ReceiptFault::NotAuthorized("account"));
            }
            if authorization.request_hash != self.receipt.request_hash {
                return Err(ReceiptFault::NotAuthorized("request"));
            }
            if authorization.max_charge < self.receipt.charged {
                return Err(ReceiptFault::NotAuthorized("amount"));
            }
        }
        Ok(())
    }
}

/// What is wrong with a receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// The stated hash is not the receipt's.
    #[error("has hash {0} when recomputed")]
    Hash(B256),
    /// Listed twice.
    #[error("is listed twice")]
    Duplicate,
    /// The bytes are no signature.
    #[error("is not signed: {0}")]
    Signature(SignatureError),
    /// Signed by somebody else; only secp256k1 tells whom.
    #[error("is {}", not_the_operator(.0))]
    NotTheOperator(Option<Address>),
    /// Of another batch.
    #[error("belongs to batch {0}")]
    BatchNumber(u64),
    /// Of another operator's account.
    #[error("charges an account of operator {0}")]
    OperatorIndex(u32),
    /// The authorisation is not the one the receipt names.
    #[error("names another authorisation than the one next to it, which has hash {0}")]
    AuthorizationHash(B256),
    /// The depositor authorised something else.
    #[error("differs from its authorisation in {0}")]
    NotAuthorized(&'static str),
}

fn not_the_operator(signer: &Option<Address>) -> String {
    match signer {
        Some(signer) => format!("signed by {signer}, not by the operator"),
        None => "not signed by the operator".to_owned(),
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
        /// By owner or delegate: 65 bytes, or whatever a contract wallet accepts; 64 bytes on Solana.
        signature: Bytes,
    },
    /// By paying the gate price from the account's wallet (x402 scheme `exact`).
    #[serde(rename = "exact")]
    Exact {
        /// The payment.
        payment: ExactPayment,
    },
}

/// An authorisation that no key is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    /// Not a signature of the kind the chain knows, or not one of theirs. A contract wallet's has to be checked on chain (EIP-1271).
    #[error("{0}; if the signer is a contract wallet, ask the chain (EIP-1271)")]
    Signature(#[from] SignatureError),
    /// The payment is not what it says.
    #[error("{0}")]
    Payment(PaymentFault),
}

impl From<PaymentFault> for AuthorizationError {
    fn from(fault: PaymentFault) -> Self {
        match fault {
            PaymentFault::Signature(error) => Self::Signature(error),
            other => Self::Payment(other),
        }
    }
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

    /// Which of `spenders` (the account's owner and delegates) authorised the job.
    ///
    /// # Errors
    /// [`SignatureError::Stranger`] when it was none of them; otherwise when the signature is none, or not the payer's.
    pub fn authorizer(&self, domain: &Domain, spenders: &[Address]) -> Result<Address, AuthorizationError> {
        match self {
            Self::ComputeFutures { authorization, signature } => {
                Ok(signer_among(authorization.digest(domain), signature, spenders)?)
            }
            Self::Exact { payment } => {
                let signer = payment.verify()?;
                if spenders.contains(&signer) { Ok(signer) } else { Err(SignatureError::Stranger(Some(signer)).into()) }
            }
        }
    }
}
