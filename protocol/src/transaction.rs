//! What names a transaction on either chain.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::B256;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a transaction: its hash on an EVM chain (`0x` + hex), its first signature on Solana (base58).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionId {
    /// 32 bytes.
    Evm(B256),
    /// 64 bytes.
    Solana([u8; 64]),
}

/// Not a transaction's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a transaction; write 0x and 64 hexadecimal digits (Base), or 64 bytes in base58 (Solana)")]
pub struct NotATransaction;

impl TransactionId {
    /// The hash, on an EVM chain.
    #[must_use]
    pub const fn evm(self) -> Option<B256> {
        match self {
            Self::Evm(hash) => Some(hash),
            Self::Solana(_) => None,
        }
    }

    /// The signature, on Solana.
    #[must_use]
    pub const fn solana(self) -> Option<[u8; 64]> {
        match self {
            Self::Solana(signature) => Some(signature),
            Self::Evm(_) => None,
        }
    }

    /// The bytes: 32 or 64.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Evm(hash) => hash.as_slice(),
            Self::Solana(signature) => signature,
        }
    }

    /// The bytes: 32 or 64.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_slice().to_vec()
    }
}

impl Default for TransactionId {
    fn default() -> Self {
        Self::Evm(B256::ZERO)
    }
}

impl From<B256> for TransactionId {
    fn from(hash: B256) -> Self {
        Self::Evm(hash)
    }
}

impl TryFrom<&[u8]> for TransactionId {
    type Error = NotATransaction;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        if let Ok(hash) = B256::try_from(bytes) {
            return Ok(Self::Evm(hash));
        }
        bytes.try_into().map(Self::Solana).map_err(|_| NotATransaction)
    }
}

impl FromStr for TransactionId {
    type Err = NotATransaction;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("0x") || text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return text.parse().map(Self::Evm).map_err(|_| NotATransaction);
        }
        let mut bytes = [0; 64];
        match bs58::decode(text).onto(&mut bytes) {
            Ok(64) => Ok(Self::Solana(bytes)),
            _ => Err(NotATransaction),
        }
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evm(hash) => hash.fmt(f),
            Self::Solana(signature) => f.pad(&bs58::encode(signature).into_string()),
        }
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evm(hash) => fmt::Debug::fmt(hash, f),
            Self::Solana(_) => fmt::Display::fmt(self, f),
        }
    }
}

impl Serialize for TransactionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Evm(hash) => hash.serialize(serializer),
            Self::Solana(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for TransactionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_util::from_text(deserializer, "a transaction, 0x… or base58", str::parse)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_neither_is_refused() {
        for bad in ["", "0x", "0xzz", "11111111111111111111111111111111", &"1".repeat(65), &"z".repeat(88)] {
            assert_eq!(bad.parse::<TransactionId>(), Err(NotATransaction), "{bad}");
        }
        assert_eq!("1".repeat(64).parse(), Ok(TransactionId::Evm(B256::repeat_byte(0x11))), "hex comes first");
        assert_eq!(TransactionId::try_from(&[0; 33][..]), Err(NotATransaction));
    }

    proptest! {
        #[test]
        fn every_spelling_leads_back(bytes in prop::array::uniform32(1u8..), solana: bool) {
            let bytes = if solana { bytes.repeat(2) } else { bytes.to_vec() };
            let id = TransactionId::try_from(bytes.as_slice()).unwrap();
            prop_assert_eq!(id.as_slice(), bytes.as_slice());
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<TransactionId>(&json).unwrap(), id);
            if let Some(hash) = id.evm() {
                prop_assert_eq!(json, serde_json::to_string(&hash).unwrap());
            }
        }
    }
}
