//! ECDSA over secp256k1, as Ethereum does it: 65 bytes r ‖ s ‖ v, low s only.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Address, B256, keccak256};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Half the order of the curve: the highest `s` that counts. The other half is the same signature in another spelling, so
/// accepting it would give every signature a twin (T-3).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e,
    0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// Not a signature, or not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Compact, contract-wallet or truncated signatures.
    #[error("the signature has {0} bytes; send 65 bytes r, s, v as 0x-prefixed hex")]
    Length(usize),
    /// v outside 27, 28, 0, 1.
    #[error("the signature's recovery byte is {0}; it must be 27 or 28 (or 0 or 1)")]
    RecoveryByte(u8),
    /// The malleable twin.
    #[error("the signature's s is in the upper half of the curve order; sign with low s, as every wallet does")]
    HighS,
    /// No key can have made it.
    #[error("the signature does not belong to any key; sign again")]
    Unrecoverable,
    /// Not `0x` + hex.
    #[error("not 0x-prefixed hex")]
    NotHex,
    /// Zero, or not below the order of the curve, or not 32 bytes.
    #[error("not a private key; a private key is 32 bytes of hex, above zero and below the order of secp256k1")]
    InvalidKey,
}

/// The address whose key signed `digest`.
///
/// # Errors
/// When the bytes are not a canonical 65-byte signature. Any well-formed one recovers to *some* address: compare it.
pub fn recover(digest: B256, signature: &[u8]) -> Result<Address, SignatureError> {
    let bytes: &[u8; 65] = signature.try_into().map_err(|_| SignatureError::Length(signature.len()))?;
    let recovery = match bytes[64] {
        v @ (0 | 1) => v,
        v @ (27 | 28) => v - 27,
        v => return Err(SignatureError::RecoveryByte(v)),
    };
    if bytes[32..64] > HALF_ORDER[..] {
        return Err(SignatureError::HighS);
    }
    let recovery = RecoveryId::try_from(i32::from(recovery)).map_err(|_| SignatureError::RecoveryByte(recovery))?;
    let signature =
        RecoverableSignature::from_compact(&bytes[..64], recovery).map_err(|_| SignatureError::Unrecoverable)?;
    let key = SECP256K1
        .recover_ecdsa(Message::from_digest(digest.0), &signature)
        .map_err(|_| SignatureError::Unrecoverable)?;
    Ok(address_of(&key))
}

fn address_of(key: &PublicKey) -> Address {
    // The first byte says "uncompressed" and is not part of the key.
    Address::from_slice(&keccak256(&key.serialize_uncompressed()[1..])[12..])
}

/// A 65-byte signature; in JSON `0x` + hex. Never a key in a map or table: the same act can be signed many times.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 65]);

impl Signature {
    /// The bytes r ‖ s ‖ v.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    /// See [`recover`].
    ///
    /// # Errors
    /// See [`recover`].
    pub fn recover(&self, digest: B256) -> Result<Address, SignatureError> {
        recover(digest, &self.0)
    }
}

impl From<[u8; 65]> for Signature {
    fn from(bytes: [u8; 65]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = SignatureError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self).map_err(|_| SignatureError::Length(bytes.len()))
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix("0x").ok_or(SignatureError::NotHex)?;
        let bytes = alloy_primitives::hex::decode(text).map_err(|_| SignatureError::NotHex)?;
        Self::try_from(bytes.as_slice())
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&alloy_primitives::hex::encode_prefixed(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_util::from_text(deserializer, "a 65-byte signature as 0x-prefixed hex", str::parse)
    }
}

/// A private key that signs digests. Printing it shows the address only; the key is erased when dropped.
#[derive(Clone)]
pub struct Signer {
    key: SecretKey,
    address: Address,
}

impl Signer {
    /// From 32 bytes.
    ///
    /// # Errors
    /// When they are not a private key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SignatureError> {
        let key = SecretKey::from_byte_array(*bytes).map_err(|_| SignatureError::InvalidKey)?;
        Ok(Self { key, address: address_of(&key.public_key(SECP256K1)) })
    }

    /// From hex, with or without `0x`.
    ///
    /// # Errors
    /// When it is not a private key. The message never shows the text.
    pub fn from_hex(text: &str) -> Result<Self, SignatureError> {
        let mut bytes = [0; 32];
        alloy_primitives::hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| SignatureError::InvalidKey)?;
        Self::from_bytes(&bytes)
    }

    /// Address of the key.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Signs a digest: r ‖ s ‖ v, v 27 or 28, low s, deterministic (RFC 6979).
    #[must_use]
    pub fn sign(&self, digest: B256) -> [u8; 65] {
        let signature = SECP256K1.sign_ecdsa_recoverable(Message::from_digest(digest.0), &self.key);
        let (recovery, compact) = signature.serialize_compact();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&compact);
        bytes[64] = 27 + u8::from(i32::from(recovery) & 1 == 1);
        bytes
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.key.non_secure_erase();
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}, key hidden)", self.address)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// anvil's first key, known to everybody.
    const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    fn signer() -> Signer {
        Signer::from_hex(KEY).unwrap()
    }

    #[test]
    fn address_of_a_known_key() {
        assert_eq!(signer().address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(Signer::from_hex(&KEY[2..]).unwrap().address(), signer().address());
    }

    #[test]
    fn keys_are_checked_and_never_shown() {
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        for bad in ["", "0x", "zz", order, &"00".repeat(32), &KEY[..64], &format!("{KEY}00")] {
            let error = Signer::from_hex(bad).unwrap_err();
            assert_eq!(error, SignatureError::InvalidKey);
            assert!(bad.len() < 8 || !error.to_string().contains(bad));
        }
        let debug = format!("{:?}", signer());
        assert!(debug.contains("0xf39F") && !debug.to_lowercase().contains("ac0974"), "{debug}");
    }

    #[test]
    fn only_canonical_signatures_count() {
        let digest = keccak256("message");
        let good = signer().sign(digest);
        assert_eq!(recover(digest, &good), Ok(signer().address()));

        let mut zero_or_one = good;
        zero_or_one[64] -= 27;
        assert_eq!(recover(digest, &zero_or_one), Ok(signer().address()));

        assert_eq!(recover(digest, &good[..64]), Err(SignatureError::Length(64)));
        assert_eq!(recover(digest, &[&good[..], &[0]].concat()), Err(SignatureError::Length(66)));
        for v in [2, 26, 29, 255] {
            let mut bad = good;
            bad[64] = v;
            assert_eq!(recover(digest, &bad), Err(SignatureError::RecoveryByte(v)));
        }
        for range in [0..32, 32..64] {
            let mut bad = good;
            bad[range].fill(0);
            assert_eq!(recover(digest, &bad), Err(SignatureError::Unrecoverable));
        }
        let mut bad = good;
        bad[..32].fill(0xff);
        assert_eq!(recover(digest, &bad), Err(SignatureError::Unrecoverable));
    }

    #[test]
    fn the_twin_with_high_s_is_refused() {
        let digest = keccak256("message");
        let mut twin = signer().sign(digest);
        // s' = n − s with the other v recovers to the same key in libsecp256k1 itself.
        let order = alloy_primitives::uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
        let s = alloy_primitives::U256::from_be_slice(&twin[32..64]);
        twin[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
        twin[64] = 27 + 28 - twin[64];
        assert_eq!(recover(digest, &twin), Err(SignatureError::HighS));
        let recovery = RecoveryId::try_from(i32::from(twin[64] - 27)).unwrap();
        let raw = RecoverableSignature::from_compact(&twin[..64], recovery).unwrap();
        let key = SECP256K1.recover_ecdsa(Message::from_digest(digest.0), &raw).unwrap();
        assert_eq!(address_of(&key), signer().address());

        // The bound itself: half the order counts, one more does not.
        let mut bound = signer().sign(digest);
        bound[32..64].copy_from_slice(&HALF_ORDER);
        assert_ne!(recover(digest, &bound), Err(SignatureError::HighS));
        bound[63] += 1;
        assert_eq!(recover(digest, &bound), Err(SignatureError::HighS));
        assert_eq!(alloy_primitives::U256::from_be_bytes(HALF_ORDER), order >> 1);
    }

    #[test]
    fn json_is_prefixed_hex() {
        let signature = Signature::from(signer().sign(keccak256("message")));
        let json = serde_json::to_string(&signature).unwrap();
        assert_eq!(json.len(), 2 + 2 + 130);
        assert_eq!(serde_json::from_str::<Signature>(&json).unwrap(), signature);
        assert!(serde_json::from_str::<Signature>(&json.replace("0x", "")).is_err());
        assert!(serde_json::from_str::<Signature>("\"0x00\"").is_err());
        assert!(serde_json::from_str::<Signature>("\"0xzz\"").is_err());
    }

    proptest! {
        #[test]
        fn signatures_recover_to_their_signer(key in prop::array::uniform32(1u8..255), digest: [u8; 32]) {
            let signer = Signer::from_bytes(&key).unwrap();
            let signature = signer.sign(digest.into());
            prop_assert!(signature[64] == 27 || signature[64] == 28);
            prop_assert_eq!(recover(digest.into(), &signature), Ok(signer.address()));
            let other = keccak256(digest);
            prop_assert_ne!(recover(other, &signature), Ok(signer.address()));
        }

        #[test]
        fn any_bytes_are_recovered_or_refused(digest: [u8; 32], bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            let _: Result<Address, _> = recover(digest.into(), &bytes);
        }
    }
}
