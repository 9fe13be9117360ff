//! The fee payer's side of x402 `exact` on Solana: completing transactions that payers signed, and opening token accounts that are paid.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::solana::{SolanaTransaction, associated_token_address};
use compute_futures_protocol::{Bytes, DepositTerms, Signer, SolanaAddress, TransactionId};
use serde_json::json;

use super::instruction::{compute_budget, create_wallet};
use super::message::{Instruction, compile};
use super::{SolanaReader, solana};
use crate::ChainError;

/// Compute units that opening a deposit address may use; a price for them is not offered.
const OPENING_UNITS: u32 = 100_000;

/// A key that pays the fees of other people's transactions. What it signs is its owner's to check first.
pub struct FeePayer {
    reader: Arc<SolanaReader>,
    key: Signer,
    address: SolanaAddress,
}

impl fmt::Debug for FeePayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FeePayer").field(&self.address).finish()
    }
}

impl FeePayer {
    /// A fee payer on the cluster of `reader`.
    ///
    /// # Errors
    /// [`ChainError::Config`] for a key of another chain.
    pub fn new(reader: Arc<SolanaReader>, key: Signer) -> Result<Self, ChainError> {
        let address = solana(key.address()).map_err(|_| {
            ChainError::Config("the key is a secp256k1 key; fees on Solana are paid with a Solana keypair".into())
        })?;
        Ok(Self { reader, key, address })
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> SolanaAddress {
        self.address
    }

    /// The cluster it pays on.
    #[must_use]
    pub fn reader(&self) -> &SolanaReader {
        &self.reader
    }

    /// The transaction with our signature in the first place, and its name: the same each time, because the signature is.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] when somebody else pays its fee.
    pub fn complete(&self, mut transaction: SolanaTransaction) -> Result<(TransactionId, Bytes), ChainError> {
        let signature = self.key.sign_message(&transaction.message.bytes);
        match (transaction.signatures.first_mut(), signature) {
            (Some(first), Some(signature)) if transaction.message.fee_payer() == self.address => {
                *first = signature;
                Ok((TransactionId::Solana(signature), transaction.to_bytes().into()))
            }
            _ => Err(ChainError::Rejected(format!("{} does not pay the fee of this transaction", self.address))),
        }
    }

    /// Runs a signed transaction as it stands without sending it; answers its compute units.
    ///
    /// # Errors
    /// Why it would fail now, also when its blockhash ran out.
    pub async fn simulate(&self, raw: &[u8]) -> Result<u64, ChainError> {
        self.reader.simulate_signed(raw).await?.units()
    }

    /// Sends a signed transaction, without running it first. Sending it again is harmless.
    ///
    /// # Errors
    /// When no endpoint takes it.
    pub async fn send(&self, raw: &[u8]) -> Result<(), ChainError> {
        let settings = json!({"encoding": "base64", "skipPreflight": true});
        let sent = self.reader.rpc.call::<_, TransactionId>("sendTransaction", json!([STANDARD.encode(raw), settings]));
        match sent.await.map_err(ChainError::from) {
            Ok(_) => Ok(()),
            // The status tells the rest.
            Err(ChainError::Rejected(words)) if words.contains("already been processed") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the associated USDC account of an owner exists.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn has_account(&self, owner: &SolanaAddress) -> Result<bool, ChainError> {
        let address = associated_token_address(owner, &self.reader.program.mint);
        self.reader.exists(&address).await
    }

    /// Signs the creation of an owner's associated USDC account, whose rent is the owner's from then on. Creating one that exists
    /// changes nothing.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn opening_wallet(&self, owner: SolanaAddress) -> Result<(TransactionId, Bytes), ChainError> {
        self.signed(create_wallet(self.address, owner, self.reader.program.mint)).await
    }

    /// Signs the opening of a deposit address: its record and its USDC account at once. The record says who gets both rents back
    /// (T-37), so the account alone would be a gift to whoever makes the record.
    ///
    /// # Errors
    /// When no endpoint answers, or the terms are of another chain.
    pub async fn opening_address(&self, terms: &DepositTerms) -> Result<(TransactionId, Bytes), ChainError> {
        let address = self.reader.address_of(terms)?;
        self.signed(self.reader.program.open_deposit_address(self.address, &address)).await
    }

    async fn signed(&self, instruction: Instruction) -> Result<(TransactionId, Bytes), ChainError> {
        let instructions: Vec<_> = compute_budget(OPENING_UNITS, 0).into_iter().chain([instruction]).collect();
        let blockhash = self.reader.newest_blockhash().await?.0;
        let (signature, raw) = compile(self.address, &instructions, blockhash).sign(&self.key)?;
        Ok((TransactionId::Solana(signature), raw.into()))
    }
}
