//! How numbers travel in JSON: anything that can exceed 2^32 is a decimal string, so that no reader loses digits.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserializer, Visitor};

/// Deserialises a string through `parse`; other types are refused with `expected` in the message.
pub(crate) fn from_text<'de, D, T, E, F>(deserializer: D, expected: &'static str, parse: F) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: fmt::Display,
    F: FnOnce(&str) -> Result<T, E>,
{
    struct Text<T, F>(&'static str, F, PhantomData<T>);

    impl<T, E, F> Visitor<'_> for Text<T, F>
    where
        E: fmt::Display,
        F: FnOnce(&str) -> Result<T, E>,
    {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<V: de::Error>(self, text: &str) -> Result<T, V> {
            (self.1)(text).map_err(V::custom)
        }
    }

    deserializer.deserialize_str(Text(expected, parse, PhantomData))
}

/// `u64` as a decimal string.
pub mod u64_string {
    use serde::{Deserializer, Serializer};

    /// Writes `"1790000000"`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads digits only.
    ///
    /// # Errors
    /// When the value is not a string of digits, or does not fit in 64 bits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        super::from_text(deserializer, "a decimal string, such as \"1790000000\"", super::parse_digits)
    }
}

/// A batch number (at most 40 bits) as a decimal string.
pub mod batch_number {
    use serde::Deserializer;

    use crate::MAX_BATCH_NUMBER;

    pub use super::u64_string::serialize;

    /// Reads digits only.
    ///
    /// # Errors
    /// When the value is not a string of digits, or exceeds 2^40 − 1.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        super::from_text(deserializer, "a decimal string, such as \"12\"", |text| match super::parse_digits(text)? {
            number if number > MAX_BATCH_NUMBER => Err("a batch number has at most 40 bits".to_owned()),
            number => Ok(number),
        })
    }
}

/// `U256` as a decimal string.
pub mod u256_string {
    use alloy_primitives::U256;
    use serde::{Deserializer, Serializer};

    /// Writes `"1790000000"`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &U256, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads digits only.
    ///
    /// # Errors
    /// When the value is not a string of digits, or does not fit in 256 bits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<U256, D::Error> {
        super::from_text(deserializer, "a decimal string, such as \"1790000000\"", |text| {
            super::check_digits(text)?;
            U256::from_str_radix(text, 10).map_err(|_| "the number does not fit in 256 bits".to_owned())
        })
    }
}

pub(crate) fn parse_digits(text: &str) -> Result<u64, String> {
    check_digits(text)?;
    text.parse().map_err(|_| "the number does not fit in 64 bits".to_owned())
}

fn check_digits(text: &str) -> Result<(), String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("write a whole number as a string of digits, without sign or exponent".to_owned());
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err("the number starts with a needless zero; leave it out".to_owned());
    }
    Ok(())
}
