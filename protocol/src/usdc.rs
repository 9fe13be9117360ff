//! Amounts. One type, integers only: a micro-USDC is the smallest unit USDC has.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Micro-USDC in one USDC.
const ONE: u64 = 1_000_000;
/// Digits after the decimal point.
const DECIMALS: usize = 6;

/// An amount in micro-USDC (6 decimals), never above [`Usdc::MAX`]: whatever this type holds, the contract can hold.
///
/// In JSON it is a decimal string of micro-USDC (`"27000"`); with `#[serde(with = "usdc::decimal")]` a decimal string of
/// USDC (`"0.027"`), for files that people write. `Display` is the human form.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usdc(u64);

impl Usdc {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The widest amount the contract stores: 2^56 − 1 micro-USDC, 72 billion USDC. As a ceiling it means "unlimited".
    pub const MAX: Self = Self((1 << 56) - 1);

    /// An amount known to fit; above [`Usdc::MAX`] it is clamped. For numbers from outside use `Usdc::try_from`.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        if micros > Self::MAX.0 { Self::MAX } else { Self(micros) }
    }

    /// The amount in micro-USDC.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Whether this is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Sum, or `None` above [`Usdc::MAX`].
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        // Two 56-bit numbers never overflow 64 bits.
        let sum = self.0 + other.0;
        if sum > Self::MAX.0 { None } else { Some(Self(sum)) }
    }

    /// Difference, or `None` below zero.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// Product, or `None` above [`Usdc::MAX`].
    #[must_use]
    pub const fn checked_mul(self, factor: u64) -> Option<Self> {
        match self.0.checked_mul(factor) {
            Some(product) if product <= Self::MAX.0 => Some(Self(product)),
            _ => None,
        }
    }

    /// Difference, or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Sum of many, or `None` above [`Usdc::MAX`].
    pub fn checked_sum<I>(amounts: I) -> Option<Self>
    where
        I: IntoIterator,
        I::Item: Into<Self>,
    {
        amounts.into_iter().try_fold(Self::ZERO, |sum, amount| sum.checked_add(amount.into()))
    }

    /// Reads a decimal string of USDC: `"50"`, `"0.027"`. At most six decimals, no sign, no exponent.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, ParseUsdcError> {
        text.parse()
    }

    /// Reads a decimal string of micro-USDC: `"27000"`.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse_micros(text: &str) -> Result<Self, ParseUsdcError> {
        if text.is_empty() {
            return Err(ParseUsdcError::Empty);
        }
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseUsdcError::NotMicros);
        }
        if text.len() > 1 && text.starts_with('0') {
            return Err(ParseUsdcError::LeadingZero);
        }
        let micros: u64 = text.parse().map_err(|_| ParseUsdcError::TooLarge)?;
        Self::try_from(micros)
    }
}

impl From<&Usdc> for Usdc {
    fn from(amount: &Usdc) -> Self {
        *amount
    }
}

impl TryFrom<u64> for Usdc {
    type Error = ParseUsdcError;

    fn try_from(micros: u64) -> Result<Self, Self::Error> {
        if micros > Self::MAX.0 { Err(ParseUsdcError::TooLarge) } else { Ok(Self(micros)) }
    }
}

impl TryFrom<alloy_primitives::U256> for Usdc {
    type Error = ParseUsdcError;

    fn try_from(micros: alloy_primitives::U256) -> Result<Self, Self::Error> {
        u64::try_from(micros).map_err(|_| ParseUsdcError::TooLarge)?.try_into()
    }
}

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseUsdcError {
    /// Nothing there.
    #[error("the amount is empty; write USDC as a decimal number such as \"0.027\"")]
    Empty,
    /// A sign, an exponent, a separator, a letter, or a point without digits on both sides.
    #[error(
        "the amount is not a plain decimal number; write it like \"50\" or \"0.027\", without sign, exponent or separators"
    )]
    NotDecimal,
    /// Anything but digits where micro-USDC are expected.
    #[error("the amount is not a whole number of micro-USDC; write digits only, such as \"27000\" for 0.027 USDC")]
    NotMicros,
    /// `007`.
    #[error("the amount starts with a needless zero; leave it out")]
    LeadingZero,
    /// Finer than a micro-USDC.
    #[error("the amount has more than 6 decimals; USDC has no smaller unit than 0.000001")]
    TooManyDecimals,
    /// Above [`Usdc::MAX`].
    #[error("the amount is too large; the largest is {} USDC", Usdc::MAX)]
    TooLarge,
}

impl FromStr for Usdc {
    type Err = ParseUsdcError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(ParseUsdcError::Empty);
        }
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(ParseUsdcError::NotDecimal),
            None => (text, ""),
        };
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(ParseUsdcError::NotDecimal);
        }
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(ParseUsdcError::LeadingZero);
        }
        if fraction.len() > DECIMALS {
            return Err(ParseUsdcError::TooManyDecimals);
        }
        // Both parts are digits only, so a failure to parse can only mean too many of them.
        let whole: u64 = whole.parse().map_err(|_| ParseUsdcError::TooLarge)?;
        let fraction: u64 = format!("{fraction:0<DECIMALS$}").parse().map_err(|_| ParseUsdcError::TooLarge)?;
        whole
            .checked_mul(ONE)
            .and_then(|micros| micros.checked_add(fraction))
            .ok_or(ParseUsdcError::TooLarge)?
            .try_into()
    }
}

impl fmt::Display for Usdc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / ONE, self.0 % ONE);
        if fraction == 0 {
            return f.pad(&whole.to_string());
        }
        let fraction = format!("{fraction:0>DECIMALS$}");
        f.pad(&format!("{whole}.{}", fraction.trim_end_matches('0')))
    }
}

impl fmt::Debug for Usdc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} USDC")
    }
}

impl Serialize for Usdc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Usdc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_util::from_text(
            deserializer,
            "a decimal string of micro-USDC, such as \"27000\"",
            Self::parse_micros,
        )
    }
}

/// `#[serde(with = "usdc::decimal")]`: the human form (`"0.027"`), for configuration files and command lines.
pub mod decimal {
    use serde::{Deserializer, Serializer};

    use super::Usdc;

    /// Writes `"0.027"`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(amount: &Usdc, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(amount)
    }

    /// Reads `"0.027"`.
    ///
    /// # Errors
    /// When the value is not a string, or not an amount.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Usdc, D::Error> {
        crate::serde_util::from_text(deserializer, "a decimal string of USDC, such as \"0.027\"", Usdc::parse)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_prints_decimal_usdc() {
        for (text, micros) in [
            ("0", 0),
            ("0.0", 0),
            ("0.000001", 1),
            ("0.027", 27_000),
            ("0.027000", 27_000),
            ("50", 50_000_000),
            ("72057594037.927935", Usdc::MAX.micros()),
        ] {
            assert_eq!(Usdc::parse(text), Ok(Usdc::from_micros(micros)), "{text}");
        }
        assert_eq!(Usdc::from_micros(27_000).to_string(), "0.027");
        assert_eq!(Usdc::from_micros(50_000_000).to_string(), "50");
        assert_eq!(format!("{:>8}|", Usdc::from_micros(1)), "0.000001|");
        assert_eq!(format!("{:>6}|", Usdc::from_micros(2_500_000)), "   2.5|");
    }

    #[test]
    fn refuses_what_is_not_a_plain_decimal() {
        use ParseUsdcError::{Empty, LeadingZero, NotDecimal, TooLarge, TooManyDecimals};
        for (text, error) in [
            ("", Empty),
            ("-1", NotDecimal),
            ("+1", NotDecimal),
            ("1e3", NotDecimal),
            ("1.", NotDecimal),
            (".5", NotDecimal),
            (".", NotDecimal),
            ("1.2.3", NotDecimal),
            ("1.+2", NotDecimal),
            ("1 000", NotDecimal),
            (" 1", NotDecimal),
            ("1,5", NotDecimal),
            ("0x10", NotDecimal),
            ("١", NotDecimal),
            ("NaN", NotDecimal),
            ("$5", NotDecimal),
            ("007", LeadingZero),
            ("00", LeadingZero),
            ("0.0000001", TooManyDecimals),
            ("72057594037.927936", TooLarge),
            ("18446744073709.551616", TooLarge),
            ("99999999999999999999999999", TooLarge),
        ] {
            assert_eq!(Usdc::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn never_exceeds_what_the_contract_stores() {
        assert_eq!(Usdc::MAX.micros(), 72_057_594_037_927_935);
        assert_eq!(Usdc::from_micros(u64::MAX), Usdc::MAX);
        assert_eq!(Usdc::try_from(Usdc::MAX.micros() + 1), Err(ParseUsdcError::TooLarge));
        assert_eq!(Usdc::try_from(alloy_primitives::U256::MAX), Err(ParseUsdcError::TooLarge));
        assert_eq!(Usdc::MAX.checked_add(Usdc::from_micros(1)), None);
        assert_eq!(Usdc::ZERO.checked_sub(Usdc::from_micros(1)), None);
        assert_eq!(Usdc::MAX.checked_mul(2), None);
        assert_eq!(Usdc::ZERO.saturating_sub(Usdc::MAX), Usdc::ZERO);
        assert_eq!(Usdc::checked_sum([Usdc::MAX, Usdc::from_micros(1)]), None);
        assert_eq!(Usdc::checked_sum::<[Usdc; 0]>([]), Some(Usdc::ZERO));
    }

    #[test]
    fn json_is_a_string_of_micros() {
        assert_eq!(serde_json::to_string(&Usdc::from_micros(27_000)).unwrap(), "\"27000\"");
        assert_eq!(serde_json::from_str::<Usdc>("\"27000\"").unwrap(), Usdc::from_micros(27_000));
        for bad in
            ["27000", "\"0.027\"", "\"-1\"", "\"\"", "\"1e3\"", "\"00\"", "27000.0", "null", "\"72057594037927936\""]
        {
            assert!(serde_json::from_str::<Usdc>(bad).is_err(), "{bad}");
        }
        let message = serde_json::from_str::<Usdc>("0.027").unwrap_err().to_string();
        assert!(message.contains("a decimal string of micro-USDC"), "{message}");
    }

    #[test]
    fn json_for_people_is_a_string_of_usdc() {
        #[derive(Serialize, Deserialize, Debug, PartialEq)]
        struct Config {
            #[serde(with = "crate::usdc::decimal")]
            price: Usdc,
        }
        let config = Config { price: Usdc::from_micros(27_000) };
        assert_eq!(serde_json::to_string(&config).unwrap(), r#"{"price":"0.027"}"#);
        assert_eq!(serde_json::from_str::<Config>(r#"{"price":"0.027"}"#).unwrap(), config);
        assert!(serde_json::from_str::<Config>(r#"{"price":0.027}"#).is_err());
    }

    proptest! {
        #[test]
        fn every_amount_reads_back(micros in 0..=Usdc::MAX.micros()) {
            let amount = Usdc::from_micros(micros);
            prop_assert_eq!(amount.to_string().parse::<Usdc>(), Ok(amount));
            prop_assert_eq!(Usdc::parse_micros(&micros.to_string()), Ok(amount));
            let json = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<Usdc>(&json).unwrap(), amount);
        }

        #[test]
        fn whatever_is_read_prints_to_the_same_value(text in "[0-9]{1,12}(\\.[0-9]{1,7})?") {
            if let Ok(amount) = Usdc::parse(&text) {
                prop_assert_eq!(Usdc::parse(&amount.to_string()), Ok(amount));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _: Result<Usdc, _> = Usdc::parse(&text);
            let _: Result<Usdc, _> = Usdc::parse_micros(&text);
        }
    }
}
