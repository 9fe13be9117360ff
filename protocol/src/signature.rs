//! Signatures over digests: ECDSA over secp256k1 as Ethereum does it (65 bytes r ‖ s ‖ v, low s only), ed25519 as Solana does it
//! (64 bytes, strictly verified).

use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Address as EvmAddress, B256, Bytes, keccak256};
use ed25519_dalek::VerifyingKey;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SECP256K1};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Address, SolanaAddress};

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
    /// Not an ed25519 signature.
    #[error("the signature has {0} bytes; on Solana send the 64 bytes of an ed25519 signature as 0x-prefixed hex")]
    SolanaLength(usize),
    /// Made by a key that may not sign this. Only secp256k1 tells which.
    #[error("the signature is {}not by the key that should have signed", by(.0))]
    Stranger(Option<Address>),
    /// No key can have made it.
    #[error("the signature does not belong to any key; sign again")]
    Unrecoverable,
    /// Not `0x` + hex.
    #[error("not 0x-prefixed hex")]
    NotHex,
    /// Zero, or not below the order of the curve, or not 32 bytes.
    #[error("not a private key; a private key is 32 bytes of hex, above zero and below the order of secp256k1")]
    InvalidKey,
    /// Neither 32 bytes in hex nor a Solana keypair.
    #[error(
        "not a private key; write 32 bytes in hex (Base), or a Solana keypair: the 64 numbers of a solana-keygen file, or 64 bytes in base58"
    )]
    NotAKey,
}

fn by(signer: &Option<Address>) -> String {
    signer.map(|signer| format!("by {signer}, ")).unwrap_or_default()
}

/// The EVM address whose key signed `digest`.
///
/// # Errors
/// When the bytes are not a canonical 65-byte signature. Any well-formed one recovers to *some* address: compare it.
pub fn recover(digest: B256, signature: &[u8]) -> Result<EvmAddress, SignatureError> {
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

/// Which of `candidates` signed `digest`: on an EVM chain by recovery, on Solana by verification with each key.
///
/// # Errors
/// [`SignatureError::Stranger`] when it was none of them; otherwise says why the bytes are no signature of their kind.
pub fn signer_among(digest: B256, signature: &[u8], candidates: &[Address]) -> Result<Address, SignatureError> {
    if candidates.iter().any(|candidate| candidate.solana().is_some()) {
        let bytes = signature.try_into().map_err(|_| SignatureError::SolanaLength(signature.len()))?;
        let signature = ed25519_dalek::Signature::from_bytes(bytes);
        let signed = |key: SolanaAddress| {
            // Strictly, as the ed25519 program of Solana: no weak keys, no second spelling of a signature (T-3).
            VerifyingKey::from_bytes(&key.0).is_ok_and(|key| key.verify_strict(digest.as_slice(), &signature).is_ok())
        };
        let found = candidates.iter().find(|candidate| candidate.solana().is_some_and(signed));
        return found.copied().ok_or(SignatureError::Stranger(None));
    }
    let recovered = Address::from(recover(digest, signature)?);
    if candidates.contains(&recovered) { Ok(recovered) } else { Err(SignatureError::Stranger(Some(recovered))) }
}

/// Whether `signature` (64 bytes in base58) is a Solana wallet's over a text, as wallets sign messages.
#[must_use]
pub fn signed_message(wallet: SolanaAddress, message: &[u8], signature: &str) -> bool {
    let mut bytes = [0; 64];
    if bs58::decode(signature).onto(&mut bytes) != Ok(64) {
        return false;
    }
    let signature = ed25519_dalek::Signature::from_bytes(&bytes);
    VerifyingKey::from_bytes(&wallet.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

pub(crate) fn address_of(key: &PublicKey) -> EvmAddress {
    // The first byte says "uncompressed" and is not part of the key.
    EvmAddress::from_slice(&keccak256(&key.serialize_uncompressed()[1..])[12..])
}

/// A signature; in JSON `0x` + hex on both chains. Never a key in a map or table: the same act can be signed many times.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// r ‖ s ‖ v.
    Secp256k1([u8; 65]),
    /// R ‖ s.
    Ed25519([u8; 64]),
}

impl Signature {
    /// The bytes: 65 or 64.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Secp256k1(bytes) => bytes,
            Self::Ed25519(bytes) => bytes,
        }
    }

    /// The bytes: 65 or 64.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    /// Whether `signer` signed `digest`.
    ///
    /// # Errors
    /// See [`signer_among`].
    pub fn verify(&self, digest: B256, signer: Address) -> Result<(), SignatureError> {
        signer_among(digest, self.as_bytes(), &[signer]).map(drop)
    }
}

impl From<[u8; 65]> for Signature {
    fn from(bytes: [u8; 65]) -> Self {
        Self::Secp256k1(bytes)
    }
}

impl From<[u8; 64]> for Signature {
    fn from(bytes: [u8; 64]) -> Self {
        Self::Ed25519(bytes)
    }
}

impl From<Signature> for Bytes {
    fn from(signature: Signature) -> Self {
        Self::copy_from_slice(signature.as_bytes())
    }
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = SignatureError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        if let Ok(bytes) = bytes.try_into() {
            return Ok(Self::Secp256k1(bytes));
        }
        bytes.try_into().map(Self::Ed25519).map_err(|_| SignatureError::Length(bytes.len()))
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
        f.write_str(&alloy_primitives::hex::encode_prefixed(self.as_bytes()))
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
        crate::serde_util::from_text(deserializer, "a signature of 65 or 64 bytes as 0x-prefixed hex", str::parse)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::Signer;

    /// anvil's first key, known to everybody.
    const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    fn signer() -> EvmAddress {
        key().address().evm().unwrap()
    }

    fn key() -> Signer {
        Signer::from_hex(KEY).unwrap()
    }

    fn sign(digest: B256) -> [u8; 65] {
        key().sign(digest).as_bytes().try_into().unwrap()
    }

    fn solana() -> Signer {
        Signer::ed25519(&[7; 32])
    }

    #[test]
    fn only_canonical_signatures_count() {
        let digest = keccak256("message");
        let good = sign(digest);
        assert_eq!(recover(digest, &good), Ok(signer()));

        let mut zero_or_one = good;
        zero_or_one[64] -= 27;
        assert_eq!(recover(digest, &zero_or_one), Ok(signer()));

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
        let mut twin = sign(digest);
        // s' = n − s with the other v recovers to the same key in libsecp256k1 itself.
        let order = alloy_primitives::uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
        let s = alloy_primitives::U256::from_be_slice(&twin[32..64]);
        twin[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
        twin[64] = 27 + 28 - twin[64];
        assert_eq!(recover(digest, &twin), Err(SignatureError::HighS));
        let recovery = RecoveryId::try_from(i32::from(twin[64] - 27)).unwrap();
        let raw = RecoverableSignature::from_compact(&twin[..64], recovery).unwrap();
        let key = SECP256K1.recover_ecdsa(Message::from_digest(digest.0), &raw).unwrap();
        assert_eq!(address_of(&key), signer());

        // The bound itself: half the order counts, one more does not.
        let mut bound = sign(digest);
        bound[32..64].copy_from_slice(&HALF_ORDER);
        assert_ne!(recover(digest, &bound), Err(SignatureError::HighS));
        bound[63] += 1;
        assert_eq!(recover(digest, &bound), Err(SignatureError::HighS));
        assert_eq!(alloy_primitives::U256::from_be_bytes(HALF_ORDER), order >> 1);
    }

    #[test]
    fn solana_keys_verify_and_nothing_else_does() {
        let digest = keccak256("message");
        let good = solana().sign(digest);
        let me = solana().address();
        let others = [Signer::ed25519(&[8; 32]).address(), Address::Solana(SolanaAddress::default())];
        assert_eq!(good.as_bytes().len(), 64);
        assert_eq!(good.verify(digest, me), Ok(()));
        assert_eq!(signer_among(digest, good.as_bytes(), &[others[0], me]), Ok(me));
        assert_eq!(signer_among(digest, good.as_bytes(), &others), Err(SignatureError::Stranger(None)));
        assert_eq!(good.verify(keccak256("other"), me), Err(SignatureError::Stranger(None)));
        for length in [0, 63, 65] {
            let bytes = vec![1; length];
            assert_eq!(signer_among(digest, &bytes, &[me]), Err(SignatureError::SolanaLength(length)));
        }
        for position in 0..64 {
            let mut bad: [u8; 64] = good.as_bytes().try_into().unwrap();
            bad[position] ^= 1;
            assert_eq!(Signature::from(bad).verify(digest, me), Err(SignatureError::Stranger(None)));
        }
    }

    /// T-3: s + L is the same number to a careless verifier.
    #[test]
    fn an_ed25519_signature_has_one_spelling() {
        let digest = keccak256("message");
        let mut twin: [u8; 64] = solana().sign(digest).as_bytes().try_into().unwrap();
        let order = alloy_primitives::uint!(0x1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed_U256);
        let s = alloy_primitives::U256::from_le_slice(&twin[32..]) + order;
        twin[32..].copy_from_slice(&s.to_le_bytes::<32>());
        assert_eq!(Signature::from(twin).verify(digest, solana().address()), Err(SignatureError::Stranger(None)));
    }

    /// The neutral point as key and as R with s = 0 satisfies the equation for any message; strict verification knows it.
    #[test]
    fn a_weak_key_signs_nothing() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let weak = Address::Solana(SolanaAddress::new(neutral));
        assert_eq!(Signature::from(bytes).verify(keccak256("any"), weak), Err(SignatureError::Stranger(None)));
    }

    #[test]
    fn a_stranger_is_named_where_the_signature_tells() {
        let digest = keccak256("message");
        let error = key().sign(digest).verify(digest, Address::repeat_byte(1)).unwrap_err();
        assert_eq!(error, SignatureError::Stranger(Some(key().address())));
        assert!(error.to_string().starts_with("the signature is by 0xf39F"), "{error}");
        assert_eq!(solana().sign(digest).verify(digest, key().address()), Err(SignatureError::Length(64)));
        assert_eq!(key().sign(digest).verify(digest, solana().address()), Err(SignatureError::SolanaLength(65)));
    }

    #[test]
    fn json_is_prefixed_hex() {
        let signature = key().sign(keccak256("message"));
        let json = serde_json::to_string(&signature).unwrap();
        assert_eq!(json.len(), 2 + 2 + 130);
        assert_eq!(serde_json::from_str::<Signature>(&json).unwrap(), signature);
        let ed25519 = solana().sign(keccak256("message"));
        let text = serde_json::to_string(&ed25519).unwrap();
        assert_eq!((text.len(), serde_json::from_str::<Signature>(&text).unwrap()), (2 + 2 + 128, ed25519));
        assert!(serde_json::from_str::<Signature>(&json.replace("0x", "")).is_err());
        assert!(serde_json::from_str::<Signature>("\"0x00\"").is_err());
        assert!(serde_json::from_str::<Signature>("\"0xzz\"").is_err());
    }

    proptest! {
        #[test]
        fn signatures_recover_to_their_signer(key in prop::array::uniform32(1u8..255), digest: [u8; 32]) {
            let signer = Signer::from_bytes(&key).unwrap();
            let signature = signer.sign(digest.into());
            let v = signature.as_bytes()[64];
            prop_assert!(v == 27 || v == 28);
            prop_assert_eq!(signature.verify(digest.into(), signer.address()), Ok(()));
            prop_assert!(signature.verify(keccak256(digest), signer.address()).is_err());
        }

        #[test]
        fn any_bytes_are_recovered_or_refused(digest: [u8; 32], bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            let _: Result<EvmAddress, _> = recover(digest.into(), &bytes);
            let _: Result<Address, _> = signer_among(digest.into(), &bytes, &[solana().address()]);
        }
    }
}
