//! Names of accounts: the number the contract uses, and the short text that people read to each other.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Chain;

/// Highest account sequence of an operator: 28 bits, so that every account has a futures id.
pub const MAX_SEQUENCE: u32 = (1 << 28) - 1;
const PREFIX: &str = "CFE-";
const LENGTH: usize = 8;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Not the name of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Operators count from 1.
    #[error("the operator index is 0; operators count from 1")]
    NoOperator,
    /// Accounts count from 1 to 2^28 − 1.
    #[error("the account sequence {0} is outside 1..={MAX_SEQUENCE}")]
    SequenceOutOfRange(u32),
    /// Not a decimal u64.
    #[error("the account id is not a decimal number; it looks like \"4294967297\"")]
    NotAnAccountId,
    /// No `CFE-`, or not eight characters after it.
    #[error("the futures id does not have the form CFE-XXXXXXXX (8 characters after the dash)")]
    NotAFuturesId,
    /// A character outside Crockford base32.
    #[error("the futures id contains {0:?}, which is not a letter or digit it can hold (U is never used)")]
    BadCharacter(char),
    /// Mistyped.
    #[error("the futures id has a typing error: its checksum does not match; compare it with the original")]
    BadChecksum,
    /// A chain number that means nothing.
    #[error("the futures id names chain number {0}, which does not exist")]
    UnknownChain(u8),
}

/// An account in the contract: operator index (high 32 bits) | sequence (low 32 bits), both from 1. In JSON a decimal string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(u64);

impl AccountId {
    /// The `sequence`-th account of an operator.
    ///
    /// # Errors
    /// When either is zero or the sequence exceeds 28 bits.
    pub const fn new(operator_index: u32, sequence: u32) -> Result<Self, IdError> {
        if operator_index == 0 {
            return Err(IdError::NoOperator);
        }
        if sequence == 0 || sequence > MAX_SEQUENCE {
            return Err(IdError::SequenceOutOfRange(sequence));
        }
        Ok(Self(((operator_index as u64) << 32) | sequence as u64))
    }

    /// Index of the operator the account belongs to.
    #[must_use]
    pub const fn operator_index(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Place among the operator's accounts.
    #[must_use]
    pub const fn sequence(self) -> u32 {
        self.0 as u32
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The account's short name on `chain`, among the accounts of its operator.
    #[must_use]
    pub const fn futures_id(self, chain: Chain) -> FuturesId {
        FuturesId { chain, sequence: self.sequence() }
    }
}

impl TryFrom<u64> for AccountId {
    type Error = IdError;

    fn try_from(id: u64) -> Result<Self, Self::Error> {
        Self::new((id >> 32) as u32, id as u32)
    }
}

impl From<AccountId> for u64 {
    fn from(id: AccountId) -> Self {
        id.0
    }
}

impl FromStr for AccountId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        crate::serde_util::parse_digits(text).map_err(|_| IdError::NotAnAccountId)?.try_into()
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountId({}/{})", self.operator_index(), self.sequence())
    }
}

impl Serialize for AccountId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_util::from_text(deserializer, "an account id, such as \"4294967297\"", str::parse)
    }
}

/// An account's short name within one operator: `CFE-` + 8 Crockford base32 characters = chain (4 bits) | sequence (28) |
/// CRC-8 (8).
///
/// The checksum catches every single mistyped character and every swap of two characters, next to each other or not; of
/// other errors it lets one in 256 through.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FuturesId {
    chain: Chain,
    sequence: u32,
}

impl FuturesId {
    /// The `sequence`-th account of some operator on `chain`.
    ///
    /// # Errors
    /// When the sequence is zero or exceeds 28 bits.
    pub const fn new(chain: Chain, sequence: u32) -> Result<Self, IdError> {
        if sequence == 0 || sequence > MAX_SEQUENCE {
            return Err(IdError::SequenceOutOfRange(sequence));
        }
        Ok(Self { chain, sequence })
    }

    /// The chain the account lives on.
    #[must_use]
    pub const fn chain(self) -> Chain {
        self.chain
    }

    /// Place among the operator's accounts.
    #[must_use]
    pub const fn sequence(self) -> u32 {
        self.sequence
    }

    /// The account this names with the operator of that index.
    ///
    /// # Errors
    /// When the operator index is zero.
    pub const fn account_id(self, operator_index: u32) -> Result<AccountId, IdError> {
        AccountId::new(operator_index, self.sequence)
    }
}

/// CRC-8 with polynomial x^8 + x^2 + x + 1 over the four bytes, most significant bit first, from zero.
///
/// Its factor of degree 7 has order 127 and divides neither a burst of 5 bits nor x^(5k) + 1 times one for k < 8, which is
/// why single characters and swaps are always caught.
fn crc8(payload: u32) -> u8 {
    payload.to_be_bytes().iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x07 })
    })
}

impl fmt::Display for FuturesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = (u32::from(self.chain.number()) << 28) | self.sequence;
        let code = (u64::from(payload) << 8) | u64::from(crc8(payload));
        let mut text = String::from(PREFIX);
        for place in (0..LENGTH).rev() {
            text.push(char::from(ALPHABET[(code >> (5 * place)) as usize & 31]));
        }
        f.pad(&text)
    }
}

impl fmt::Debug for FuturesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Value of a character, ignoring case; O reads as 0, I and L as 1.
fn digit(character: char) -> Result<u64, IdError> {
    let upper = match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    ALPHABET
        .iter()
        .position(|&symbol| char::from(symbol) == upper)
        .map(|value| value as u64)
        .ok_or(IdError::BadCharacter(character))
}

impl FromStr for FuturesId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = match text.get(..PREFIX.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => &text[PREFIX.len()..],
            _ => return Err(IdError::NotAFuturesId),
        };
        if code.chars().count() != LENGTH {
            return Err(IdError::NotAFuturesId);
        }
        let code = code.chars().try_fold(0, |code, character| Ok((code << 5) | digit(character)?))?;
        let payload = (code >> 8) as u32;
        if crc8(payload) != code as u8 {
            return Err(IdError::BadChecksum);
        }
        let number = (payload >> 28) as u8;
        Self::new(Chain::from_number(number).ok_or(IdError::UnknownChain(number))?, payload & MAX_SEQUENCE)
    }
}

impl Serialize for FuturesId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FuturesId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_util::from_text(deserializer, "a futures id, such as \"CFE-00000087\"", str::parse)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn chains() -> impl Strategy<Value = Chain> {
        prop::sample::select(Chain::ALL.to_vec())
    }

    #[test]
    fn account_ids() {
        let first = AccountId::new(1, 1).unwrap();
        assert_eq!(first.to_string(), "4294967297");
        assert_eq!("4294967297".parse(), Ok(first));
        assert_eq!(serde_json::to_string(&first).unwrap(), "\"4294967297\"");
        assert!(serde_json::from_str::<AccountId>("4294967297").is_err());
        assert_eq!(AccountId::new(0, 1), Err(IdError::NoOperator));
        assert_eq!(AccountId::new(1, 0), Err(IdError::SequenceOutOfRange(0)));
        assert_eq!(AccountId::new(1, MAX_SEQUENCE + 1), Err(IdError::SequenceOutOfRange(MAX_SEQUENCE + 1)));
        for bad in ["", "0", "1", "-1", "+4294967297", "04294967297", "4294967297 ", "18446744073709551616", "0x1"] {
            assert!(bad.parse::<AccountId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn futures_ids_say_what_is_wrong() {
        for (text, error) in [
            ("CFE-00000087", None),
            ("CFE-00000088", Some(IdError::BadChecksum)),
            ("CFE-0000008", Some(IdError::NotAFuturesId)),
            ("CFE-000000877", Some(IdError::NotAFuturesId)),
            ("CFE000000087", Some(IdError::NotAFuturesId)),
            ("ÄFE-0000087", Some(IdError::NotAFuturesId)),
            ("CFE", Some(IdError::NotAFuturesId)),
            ("", Some(IdError::NotAFuturesId)),
            ("CFE-000000U7", Some(IdError::BadCharacter('U'))),
            ("CFE-0000 087", Some(IdError::BadCharacter(' '))),
            ("CFE-000000é7", Some(IdError::BadCharacter('é'))),
            ("CFE-00000000", Some(IdError::SequenceOutOfRange(0))),
        ] {
            assert_eq!(text.parse::<FuturesId>().err(), error, "{text:?}");
        }
        // Chain number 4 with a right checksum.
        let payload = (4u32 << 28) | 1;
        let code = (u64::from(payload) << 8) | u64::from(crc8(payload));
        let text: String =
            (0..8).rev().map(|place| char::from(ALPHABET[(code >> (5 * place)) as usize & 31])).collect();
        assert_eq!(format!("CFE-{text}").parse::<FuturesId>(), Err(IdError::UnknownChain(4)));
    }

    proptest! {
        #[test]
        fn every_account_has_a_futures_id(operator in 1u32.., sequence in 1..=MAX_SEQUENCE, chain in chains()) {
            let account = AccountId::new(operator, sequence).unwrap();
            prop_assert_eq!((account.operator_index(), account.sequence()), (operator, sequence));
            prop_assert_eq!(account.to_string().parse::<AccountId>(), Ok(account));
            let id = account.futures_id(chain);
            let text = id.to_string();
            prop_assert_eq!(text.len(), 12);
            prop_assert_eq!(text.parse::<FuturesId>(), Ok(id));
            prop_assert_eq!(text.to_lowercase().parse::<FuturesId>(), Ok(id));
            prop_assert_eq!(text.replace('0', "o").replace('1', "l").replace("CFE", "cfe").parse::<FuturesId>(), Ok(id));
            prop_assert_eq!(id.account_id(operator), Ok(account));
        }

        /// Every single wrong character and every swap of two characters, for every place.
        #[test]
        fn typing_errors_are_caught(sequence in 1..=MAX_SEQUENCE, chain in chains()) {
            let text = FuturesId::new(chain, sequence).unwrap().to_string().into_bytes();
            for place in PREFIX.len()..text.len() {
                for &other in ALPHABET {
                    let mut wrong = text.clone();
                    wrong[place] = other;
                    prop_assert!(wrong == text || String::from_utf8(wrong).unwrap().parse::<FuturesId>().is_err());
                }
                for second in place + 1..text.len() {
                    let mut wrong = text.clone();
                    wrong.swap(place, second);
                    prop_assert!(wrong == text || String::from_utf8(wrong).unwrap().parse::<FuturesId>().is_err());
                }
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(CFE-)?.{0,10}") {
            let _: Result<FuturesId, _> = text.parse();
            let _: Result<AccountId, _> = text.parse();
        }
    }
}
