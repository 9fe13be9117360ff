//! Private keys of both chains.

use std::fmt;

use alloy_primitives::{B256, hex};
use ed25519_dalek::{Signer as _, SigningKey};
use secp256k1::{Message, SECP256K1, SecretKey};
use zeroize::Zeroizing;

use crate::signature::address_of;
use crate::{Address, Signature, SignatureError, SolanaAddress};

/// A private key that signs digests. Printing it shows the address only; the key is erased when dropped.
#[derive(Clone)]
pub struct Signer {
    key: Key,
    address: Address,
}

#[derive(Clone)]
enum Key {
    /// EVM chains.
    Secp256k1(SecretKey),
    /// Solana. Erases itself.
    Ed25519(Box<SigningKey>),
}

impl Signer {
    /// A secp256k1 key from its 32 bytes.
    ///
    /// # Errors
    /// When they are not a private key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SignatureError> {
        let key = SecretKey::from_byte_array(*bytes).map_err(|_| SignatureError::InvalidKey)?;
        let address = address_of(&key.public_key(SECP256K1)).into();
        Ok(Self { key: Key::Secp256k1(key), address })
    }

    /// A secp256k1 key from hex, with or without `0x`.
    ///
    /// # Errors
    /// When it is not a private key. The message never shows the text.
    pub fn from_hex(text: &str) -> Result<Self, SignatureError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| SignatureError::InvalidKey)?;
        Self::from_bytes(&bytes)
    }

    /// An ed25519 key from its seed, the first half of a Solana keypair.
    #[must_use]
    pub fn ed25519(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let address = SolanaAddress::new(key.verifying_key().to_bytes()).into();
        Self { key: Key::Ed25519(Box::new(key)), address }
    }

    /// An ed25519 key from a Solana keypair: seed and public key.
    ///
    /// # Errors
    /// When the second half is not the public key of the first.
    pub fn from_keypair(bytes: &[u8; 64]) -> Result<Self, SignatureError> {
        let key = SigningKey::from_keypair_bytes(bytes).map_err(|_| SignatureError::NotAKey)?;
        Ok(Self::ed25519(key.as_bytes()))
    }

    /// Reads a key of either chain: 32 bytes in hex are secp256k1; a list of 64 numbers (the file that `solana-keygen` writes) or
    /// 64 bytes in base58 (what wallets export) are a Solana keypair.
    ///
    /// # Errors
    /// When it is none of these. The message never shows the text.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let text = text.trim();
        let mut bytes = Zeroizing::new([0; 64]);
        if text.starts_with('[') {
            let listed: Vec<u8> = serde_json::from_str(text).map_err(|_| SignatureError::NotAKey)?;
            let listed = Zeroizing::new(listed);
            *bytes = listed.as_slice().try_into().map_err(|_| SignatureError::NotAKey)?;
            return Self::from_keypair(&bytes);
        }
        match Self::from_hex(text) {
            Err(SignatureError::InvalidKey) if !text.starts_with("0x") && text.len() > 66 => {
                match bs58::decode(text).onto(bytes.as_mut_slice()) {
                    Ok(64) => Self::from_keypair(&bytes),
                    _ => Err(SignatureError::NotAKey),
                }
            }
            Err(SignatureError::InvalidKey) => Err(SignatureError::NotAKey),
            other => other,
        }
    }

    /// Address of the key.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Signs a digest, deterministically: r ‖ s ‖ v with v 27 or 28 and low s (RFC 6979), or ed25519.
    #[must_use]
    pub fn sign(&self, digest: B256) -> Signature {
        match &self.key {
            Key::Secp256k1(key) => {
                let signature = SECP256K1.sign_ecdsa_recoverable(Message::from_digest(digest.0), key);
                let (recovery, compact) = signature.serialize_compact();
                let mut bytes = [0; 65];
                bytes[..64].copy_from_slice(&compact);
                bytes[64] = 27 + u8::from(i32::from(recovery) & 1 == 1);
                bytes.into()
            }
            Key::Ed25519(key) => key.sign(digest.as_slice()).to_bytes().into(),
        }
    }

    /// Signs the message of a Solana transaction; `None` with a key of an EVM chain.
    #[must_use]
    pub fn sign_message(&self, message: &[u8]) -> Option<[u8; 64]> {
        match &self.key {
            Key::Secp256k1(_) => None,
            Key::Ed25519(key) => Some(key.sign(message).to_bytes()),
        }
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        if let Key::Secp256k1(key) = &mut self.key {
            key.non_secure_erase();
        }
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
    use super::*;

    /// anvil's first key, known to everybody.
    const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    fn evm() -> Signer {
        Signer::from_hex(KEY).unwrap()
    }

    fn keypair() -> [u8; 64] {
        SigningKey::from_bytes(&[7; 32]).to_keypair_bytes()
    }

    #[test]
    fn address_of_a_known_key() {
        assert_eq!(evm().address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(Signer::from_hex(&KEY[2..]).unwrap().address(), evm().address());
    }

    #[test]
    fn keys_are_checked_and_never_shown() {
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        for bad in ["", "0x", "zz", order, &"00".repeat(32), &KEY[..64], &format!("{KEY}00")] {
            let error = Signer::from_hex(bad).unwrap_err();
            assert_eq!(error, SignatureError::InvalidKey);
            assert!(bad.len() < 8 || !error.to_string().contains(bad));
        }
        let debug = format!("{:?}", evm());
        assert!(debug.contains("0xf39F") && !debug.to_lowercase().contains("ac0974"), "{debug}");
    }

    /// RFC 8032, section 7.1, test 1.
    #[test]
    fn ed25519_is_the_standards() {
        let seed =
            hex::const_decode_to_array(b"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let signer = Signer::ed25519(&seed);
        let key = hex!("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(signer.address(), Address::Solana(SolanaAddress::new(key)));
        let signature = hex!(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        );
        assert_eq!(signer.sign_message(&[]), Some(signature));
        assert_eq!(evm().sign_message(&[]), None);
    }

    #[test]
    fn keys_are_read_in_the_form_of_their_chain() {
        let solana = Signer::ed25519(&[7; 32]).address();
        let listed = serde_json::to_string(&keypair()[..]).unwrap();
        let base58 = bs58::encode(keypair()).into_string();
        for (text, address) in
            [(KEY, evm().address()), (&KEY[2..], evm().address()), (&listed, solana), (&base58, solana)]
        {
            assert_eq!(Signer::parse(&format!(" {text}\n")).unwrap().address(), address);
        }
        let mut torn = keypair();
        torn[63] ^= 1;
        let torn = [serde_json::to_string(&torn[..]).unwrap(), bs58::encode(torn).into_string()];
        for bad in
            ["", "[", "[1,2]", "[256]", &KEY[..64], &format!("[{}]", "0,".repeat(64)), &base58[1..], &torn[0], &torn[1]]
        {
            let error = Signer::parse(bad).unwrap_err();
            assert!(bad.len() < 8 || !error.to_string().contains(bad), "{error}");
        }
    }
}
