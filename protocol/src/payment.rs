//! x402 `exact` payments as receipts publish them: enough for anyone to check that the payer signed.

use alloy_primitives::{Address as EvmAddress, B256, Bytes, U256, keccak256};
use serde::{Deserialize, Serialize};

use crate::request::canonical_json_hash;
use crate::serde_util::u256_string;
use crate::signature::{SignatureError, recover};
use crate::solana::{SolanaMessage, associated_token_address, is_signed};
use crate::{Address, Chain, SolanaAddress, TokenDomain, TransferWithAuthorization, Usdc};

/// An x402 `exact` payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ExactPayment {
    /// A transfer that the payer signed for anyone to submit (EIP-3009).
    Evm(EvmPayment),
    /// A transaction that the payer signed, for its fee payer to submit.
    Solana(SolanaPayment),
}

/// A payment on an EVM chain: an EIP-3009 transfer. In JSON, addresses and bytes are lower-case hex and numbers decimal strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvmPayment {
    /// The token.
    pub asset: EvmAddress,
    /// Who paid.
    pub from: EvmAddress,
    /// The chain, always by its CAIP-2 name.
    pub network: Chain,
    /// Of the EIP-3009 authorisation.
    pub nonce: B256,
    /// The payer's: 65 bytes, or whatever a contract wallet accepts.
    pub signature: Bytes,
    /// Who was paid.
    pub to: EvmAddress,
    /// Unix seconds; valid strictly after.
    #[serde(with = "u256_string")]
    pub valid_after: U256,
    /// Unix seconds; valid strictly before.
    #[serde(with = "u256_string")]
    pub valid_before: U256,
    /// How much.
    pub value: Usdc,
}

/// A payment on Solana: a checked transfer in a transaction. In JSON, addresses are base58, bytes lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SolanaPayment {
    /// The mint.
    pub asset: SolanaAddress,
    /// Who paid: the authority of the transfer.
    pub from: SolanaAddress,
    /// The message of the transaction: what the payer signed.
    pub message: Bytes,
    /// The cluster, always by its CAIP-2 name.
    pub network: Chain,
    /// The payer's over the message: 64 bytes.
    pub signature: Bytes,
    /// Who was paid: owner of the associated token account that received.
    pub to: SolanaAddress,
    /// How much.
    pub value: Usdc,
}

/// A payment that no key is behind, or another one than it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaymentFault {
    /// Not a signature of the kind the chain knows, or not the payer's.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// Signed by another key than the one that pays.
    #[error("the payment is from {from} but signed by {signer}")]
    NotThePayer {
        /// Who pays.
        from: EvmAddress,
        /// Who signed.
        signer: EvmAddress,
    },
    /// What was signed is another payment than the one stated, or none.
    #[error("what was signed is not the payment that is stated: {0}")]
    Other(&'static str),
}

impl ExactPayment {
    /// The chain.
    #[must_use]
    pub const fn network(&self) -> Chain {
        match self {
            Self::Evm(payment) => payment.network,
            Self::Solana(payment) => payment.network,
        }
    }

    /// The token.
    #[must_use]
    pub const fn asset(&self) -> Address {
        match self {
            Self::Evm(payment) => Address::Evm(payment.asset),
            Self::Solana(payment) => Address::Solana(payment.asset),
        }
    }

    /// Who paid.
    #[must_use]
    pub const fn from(&self) -> Address {
        match self {
            Self::Evm(payment) => Address::Evm(payment.from),
            Self::Solana(payment) => Address::Solana(payment.from),
        }
    }

    /// How much.
    #[must_use]
    pub const fn value(&self) -> Usdc {
        match self {
            Self::Evm(payment) => payment.value,
            Self::Solana(payment) => payment.value,
        }
    }

    /// What the chain takes once of a payer: the EIP-3009 nonce; on Solana keccak256 of the message, which names the transaction
    /// whoever pays its fee.
    #[must_use]
    pub fn nonce(&self) -> B256 {
        match self {
            Self::Evm(payment) => payment.nonce,
            Self::Solana(payment) => keccak256(&payment.message),
        }
    }

    /// The payer's signature.
    #[must_use]
    pub const fn signature(&self) -> &Bytes {
        match self {
            Self::Evm(payment) => &payment.signature,
            Self::Solana(payment) => &payment.signature,
        }
    }

    /// keccak256 of the canonical JSON of the payment.
    #[must_use]
    pub fn hash(&self) -> B256 {
        match self {
            Self::Evm(payment) => payment.hash(),
            Self::Solana(payment) => payment.hash(),
        }
    }

    /// Digest that the payer signed, where payments are typed data (EVM): what a contract wallet is asked about.
    #[must_use]
    pub fn digest(&self) -> Option<B256> {
        match self {
            Self::Evm(payment) => payment.digest(),
            Self::Solana(_) => None,
        }
    }

    /// Checks that the payer's key signed this very payment.
    ///
    /// # Errors
    /// Says what is wrong. A contract wallet's signature has to be checked on chain (EIP-1271).
    pub fn verify(&self) -> Result<Address, PaymentFault> {
        match self {
            Self::Evm(payment) => payment.verify().map(Address::Evm),
            Self::Solana(payment) => payment.verify().map(Address::Solana),
        }
    }
}

impl EvmPayment {
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

    fn verify(&self) -> Result<EvmAddress, PaymentFault> {
        let digest = self.digest().ok_or(PaymentFault::Other("its network is no EVM chain"))?;
        let signer = recover(digest, &self.signature)?;
        if signer == self.from { Ok(signer) } else { Err(PaymentFault::NotThePayer { from: self.from, signer }) }
    }
}

impl SolanaPayment {
    /// keccak256 of the canonical JSON of the payment.
    #[must_use]
    pub fn hash(&self) -> B256 {
        canonical_json_hash(&serde_json::json!({
            "asset": self.asset,
            "from": self.from,
            "message": self.message,
            "network": self.network,
            "signature": self.signature,
            "to": self.to,
            "value": self.value,
        }))
    }

    /// The token account that is paid.
    #[must_use]
    pub fn destination(&self) -> SolanaAddress {
        associated_token_address(&self.to, &self.asset)
    }

    fn verify(&self) -> Result<SolanaAddress, PaymentFault> {
        let message = SolanaMessage::parse(&self.message).ok_or(PaymentFault::Other("the message cannot be read"))?;
        let destination = self.destination();
        let mut ours = message.transfers().filter(|transfer| transfer.destination == destination);
        match (ours.next(), ours.next()) {
            (Some(transfer), None)
                if transfer.mint == self.asset
                    && transfer.authority == self.from
                    && transfer.amount == self.value.micros() => {}
            (Some(_), None) => return Err(PaymentFault::Other("payer, amount or mint differ")),
            (None, _) => return Err(PaymentFault::Other("it pays somebody else")),
            (Some(_), Some(_)) => return Err(PaymentFault::Other("it pays twice")),
        }
        if message.signer_place(&self.from).is_none() {
            return Err(PaymentFault::Other("the payer does not sign it"));
        }
        let signature = self.signature.as_ref().try_into().map_err(|_| SignatureError::Length(self.signature.len()))?;
        if is_signed(&self.from, &self.message, signature) {
            Ok(self.from)
        } else {
            Err(SignatureError::Stranger(None).into())
        }
    }
}
