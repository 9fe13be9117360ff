//! Wallets, contracts and tokens on either chain, told apart by the form in which they are written.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Address as EvmAddress, B256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Chain;

/// An address on Solana: a public key, or an address derived from a program. Written in base58.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SolanaAddress(pub [u8; 32]);

impl SolanaAddress {
    /// The key as a DID (`did:key:z6Mk…`), for signatures that are checked away from any chain.
    #[must_use]
    pub fn did_key(&self) -> String {
        // Multicodec `ed25519-pub` as a varint, then the key; `z` says base58.
        let bytes: Vec<u8> = [0xed, 0x01].into_iter().chain(self.0).collect();
        format!("did:key:z{}", bs58::encode(bytes).into_string())
    }

    /// Of 32 bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Of its text; for constants.
    ///
    /// # Panics
    /// When the text is not base58 of 32 bytes: at compile time, if used in a constant.
    #[must_use]
    pub const fn from_str_const(text: &str) -> Self {
        Self(bs58::decode(text.as_bytes()).into_array_const_unwrap::<32>())
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for SolanaAddress {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for SolanaAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        match bs58::decode(text).onto(&mut bytes) {
            Ok(32) => Ok(Self(bytes)),
            _ => Err(AddressError::Form),
        }
    }
}

impl fmt::Display for SolanaAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&bs58::encode(self.0).into_string())
    }
}

impl fmt::Debug for SolanaAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SolanaAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SolanaAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_util::from_text(deserializer, "a Solana address in base58", str::parse)
    }
}

/// A wallet, contract or token. `0x…` is an address on an EVM chain, base58 one on Solana.
///
/// In JSON, EVM addresses are lower-case hex; elsewhere they are printed with their checksum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// 20 bytes.
    Evm(EvmAddress),
    /// 32 bytes.
    Solana(SolanaAddress),
}

/// Not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither form.
    #[error("not an address: write 0x and 40 hex digits (Base), or 32 bytes in base58 (Solana)")]
    Form,
    /// Its capitals are not those of its checksum (EIP-55).
    #[error("the address has a typing error: its checksum does not match; copy it again")]
    Checksum,
    /// Neither 20 nor 32.
    #[error("an address has 20 bytes (Base) or 32 (Solana), not {0}")]
    Length(usize),
}

/// Reads an address. On EVM chains capitals and small letters together are its checksum (EIP-55) and must be right: money sent
/// to a mistyped address is gone. In one case only there is nothing to check. Base58 has no checksum.
///
/// # Errors
/// Says what is wrong.
pub fn parse_address(text: &str) -> Result<Address, AddressError> {
    let address: Address = text.parse()?;
    let Address::Evm(evm) = address else { return Ok(address) };
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mixed = digits.bytes().any(|b| b.is_ascii_uppercase()) && digits.bytes().any(|b| b.is_ascii_lowercase());
    if mixed && evm.to_checksum(None).strip_prefix("0x") != Some(digits) {
        return Err(AddressError::Checksum);
    }
    Ok(address)
}

impl Address {
    /// The zero address of EVM chains. Nobody's: stands for "not known" and "not set".
    pub const ZERO: Self = Self::Evm(EvmAddress::ZERO);

    /// An EVM address of one repeated byte.
    #[must_use]
    pub const fn repeat_byte(byte: u8) -> Self {
        Self::Evm(EvmAddress::repeat_byte(byte))
    }

    /// Whether all bytes are zero, in either form: no key is behind it.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.as_slice().iter().all(|byte| *byte == 0)
    }

    /// The address on an EVM chain, if it is one.
    #[must_use]
    pub const fn evm(self) -> Option<EvmAddress> {
        match self {
            Self::Evm(address) => Some(address),
            Self::Solana(_) => None,
        }
    }

    /// The address on Solana, if it is one.
    #[must_use]
    pub const fn solana(self) -> Option<SolanaAddress> {
        match self {
            Self::Solana(address) => Some(address),
            Self::Evm(_) => None,
        }
    }

    /// Whether addresses of this form exist on `chain`.
    #[must_use]
    pub const fn is_on(self, chain: Chain) -> bool {
        chain.evm_chain_id().is_some() == self.evm().is_some()
    }

    /// The bytes: 20 or 32.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Evm(address) => address.as_slice(),
            Self::Solana(address) => &address.0,
        }
    }

    /// The bytes: 20 or 32.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_slice().to_vec()
    }

    /// As one ABI word: 20 bytes padded on the left, 32 as they are.
    #[must_use]
    pub fn into_word(self) -> B256 {
        match self {
            Self::Evm(address) => address.into_word(),
            Self::Solana(address) => B256::new(address.0),
        }
    }
}

impl Default for Address {
    fn default() -> Self {
        Self::ZERO
    }
}

impl From<EvmAddress> for Address {
    fn from(address: EvmAddress) -> Self {
        Self::Evm(address)
    }
}

impl From<SolanaAddress> for Address {
    fn from(address: SolanaAddress) -> Self {
        Self::Solana(address)
    }
}

impl PartialEq<EvmAddress> for Address {
    fn eq(&self, other: &EvmAddress) -> bool {
        self.evm() == Some(*other)
    }
}

impl PartialEq<Address> for EvmAddress {
    fn eq(&self, other: &Address) -> bool {
        other == self
    }
}

impl TryFrom<&[u8]> for Address {
    type Error = AddressError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        match bytes.len() {
            20 => Ok(Self::Evm(EvmAddress::from_slice(bytes))),
            32 => {
                bytes.try_into().map(|bytes| Self::Solana(SolanaAddress(bytes))).map_err(|_| AddressError::Length(32))
            }
            other => Err(AddressError::Length(other)),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Hex with or without `0x`, in any case; otherwise base58. No text is both: 40 hex digits are no 32 bytes of base58
    /// unless they begin with ten ones.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.starts_with("0x") || text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hex {
            return text.parse().map(Self::Evm).map_err(|_| AddressError::Form);
        }
        text.parse().map(Self::Solana)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evm(address) => address.fmt(f),
            Self::Solana(address) => address.fmt(f),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evm(address) => fmt::Debug::fmt(address, f),
            Self::Solana(address) => fmt::Debug::fmt(address, f),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Evm(address) => address.serialize(serializer),
            Self::Solana(address) => address.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_util::from_text(deserializer, "an address, 0x… or base58", str::parse)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const EVM: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
    const MINT: &str = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";

    #[test]
    fn the_form_says_the_chain() {
        let evm: Address = EVM.parse().unwrap();
        let mint: Address = MINT.parse().unwrap();
        assert_eq!((evm.to_string(), mint.to_string()), (EVM.to_owned(), MINT.to_owned()));
        assert!(evm.is_on(Chain::Base) && evm.is_on(Chain::BaseSepolia) && !evm.is_on(Chain::Solana));
        assert!(mint.is_on(Chain::Solana) && mint.is_on(Chain::SolanaDevnet) && !mint.is_on(Chain::Base));
        for same in [EVM.to_lowercase(), EVM[2..].to_owned(), EVM[2..].to_uppercase()] {
            assert_eq!(same.parse(), Ok(evm), "{same}");
        }
        assert_eq!("11111111111111111111111111111111".parse(), Ok(Address::Solana(SolanaAddress::default())));
        assert!(Address::ZERO.is_zero() && Address::Solana(SolanaAddress::default()).is_zero());
    }

    #[test]
    fn capitals_are_a_checksum() {
        let address = parse_address(EVM);
        assert!(address.is_ok());
        assert_eq!(parse_address(&EVM.to_lowercase()), address);
        assert_eq!(parse_address(&format!("0x{}", EVM[2..].to_uppercase())), address);
        assert_eq!(parse_address(&EVM[2..]), address);
        assert_eq!(parse_address(&EVM.replace("cffFb9", "cfffb9")), Err(AddressError::Checksum));
        // One digit mistyped: the capitals give it away.
        assert_eq!(parse_address(&EVM.replace("8827", "8828")), Err(AddressError::Checksum));
        assert_eq!(parse_address(MINT), MINT.parse());
    }

    #[test]
    fn what_is_neither_is_refused() {
        let long = format!("{MINT}1");
        for bad in ["", "0x", &EVM[..41], "0xzz", &MINT[4..], &long, "0OIl", "é", &"1".repeat(31), &"1".repeat(200)] {
            assert_eq!(bad.parse::<Address>(), Err(AddressError::Form), "{bad}");
        }
        assert_eq!(Address::try_from(&[0; 31][..]), Err(AddressError::Length(31)));
        assert!(serde_json::from_str::<Address>("7").is_err());
    }

    #[test]
    fn json_is_lower_case_hex_or_base58() {
        let evm: Address = EVM.parse().unwrap();
        assert_eq!(serde_json::to_string(&evm).unwrap(), format!("\"{}\"", EVM.to_lowercase()));
        let mint: Address = MINT.parse().unwrap();
        assert_eq!(serde_json::to_string(&mint).unwrap(), format!("\"{MINT}\""));
    }

    proptest! {
        #[test]
        fn every_spelling_leads_back(bytes: [u8; 32], solana: bool) {
            let address = Address::try_from(if solana { &bytes[..] } else { &bytes[..20] }).unwrap();
            prop_assert_eq!(address.to_string().parse(), Ok(address));
            prop_assert_eq!(Address::try_from(address.as_slice()), Ok(address));
            let json = serde_json::to_string(&address).unwrap();
            prop_assert_eq!(serde_json::from_str::<Address>(&json).unwrap(), address);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,50}") {
            let _: Result<Address, _> = text.parse();
        }
    }
}
