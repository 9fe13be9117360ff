//! The domain's types as SQL holds them: parameters ([`session::Value`]), rows ([`Columns`]), statements over many rows ([`Rows`]).

mod rows;
pub(crate) mod session;

use std::borrow::Cow;

use compute_futures_protocol::{AccountId, Address, B256, TransactionId, Usdc};
use rusqlite::types::Value as Stored;
use sqlx::Row as _;

pub(crate) use rows::Rows;
pub(crate) use session::{Session, Source};

use super::LedgerError;

/// A number as SQL holds it. Amounts, times and counters stay far below 2^63; account ids use all 64 bits.
pub(crate) const fn int(value: u64) -> i64 {
    value.cast_signed()
}

/// An amount as SQL holds it.
pub(crate) const fn micros(value: Usdc) -> i64 {
    int(value.micros())
}

/// 32 bytes as SQL holds them.
pub(crate) fn bytes(value: B256) -> Vec<u8> {
    value.to_vec()
}

/// Reads a row's columns from left to right.
pub(crate) struct Columns<'r> {
    row: Source<'r>,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(crate) fn of(row: impl Into<Source<'r>>) -> Self {
        Self { row: row.into(), next: 0 }
    }

    fn at(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    pub(crate) fn int(&mut self) -> Result<u64, LedgerError> {
        self.optional_int()?.ok_or_else(|| self.misfit("a number"))
    }

    pub(crate) fn optional_int(&mut self) -> Result<Option<u64>, LedgerError> {
        let at = self.at();
        match self.row {
            Source::Pooled(row) => Ok(row.try_get::<Option<i64>, _>(at)?.map(i64::cast_unsigned)),
            Source::Own(row) => match row.get(at) {
                Some(Stored::Integer(value)) => Ok(Some(value.cast_unsigned())),
                Some(Stored::Null) => Ok(None),
                _ => Err(self.misfit("a number")),
            },
        }
    }

    fn misfit(&self, wanted: &str) -> LedgerError {
        LedgerError::Corrupt(format!("column {} of a row is not {wanted}", self.next))
    }

    pub(crate) fn small(&mut self) -> Result<u16, LedgerError> {
        let value = self.int()?;
        u16::try_from(value).map_err(|_| LedgerError::Corrupt(format!("{value} where a basis-point figure belongs")))
    }

    /// A number of 32 bits.
    pub(crate) fn number(&mut self) -> Result<u32, LedgerError> {
        let value = self.int()?;
        u32::try_from(value).map_err(|_| LedgerError::Corrupt(format!("{value} where a number of 32 bits belongs")))
    }

    pub(crate) fn status(&mut self) -> Result<u16, LedgerError> {
        self.small()
    }

    pub(crate) fn flag(&mut self) -> Result<bool, LedgerError> {
        Ok(self.int()? != 0)
    }

    pub(crate) fn usdc(&mut self) -> Result<Usdc, LedgerError> {
        let value = self.int()?;
        Usdc::try_from(value).map_err(|_| LedgerError::Corrupt(format!("{value} where an amount belongs")))
    }

    pub(crate) fn account(&mut self) -> Result<AccountId, LedgerError> {
        let value = self.int()?;
        AccountId::try_from(value).map_err(|_| LedgerError::Corrupt(format!("{value} where an account id belongs")))
    }

    pub(crate) fn bytes(&mut self) -> Result<Cow<'r, [u8]>, LedgerError> {
        self.optional_bytes()?.ok_or_else(|| self.misfit("bytes"))
    }

    pub(crate) fn optional_bytes(&mut self) -> Result<Option<Cow<'r, [u8]>>, LedgerError> {
        let at = self.at();
        match self.row {
            Source::Pooled(row) => Ok(row.try_get::<Option<Vec<u8>>, _>(at)?.map(Cow::Owned)),
            Source::Own(row) => match row.get(at) {
                Some(Stored::Blob(value)) => Ok(Some(Cow::Borrowed(value))),
                Some(Stored::Null) => Ok(None),
                _ => Err(self.misfit("bytes")),
            },
        }
    }

    pub(crate) fn hash(&mut self) -> Result<B256, LedgerError> {
        let value = self.bytes()?;
        B256::try_from(value.as_ref()).map_err(|_| LedgerError::Corrupt("a hash that is not 32 bytes".into()))
    }

    pub(crate) fn optional_hash(&mut self) -> Result<Option<B256>, LedgerError> {
        self.optional_bytes()?
            .map(|value| {
                B256::try_from(value.as_ref()).map_err(|_| LedgerError::Corrupt("a hash that is not 32 bytes".into()))
            })
            .transpose()
    }

    pub(crate) fn address(&mut self) -> Result<Address, LedgerError> {
        address(&self.bytes()?)
    }

    pub(crate) fn optional_address(&mut self) -> Result<Option<Address>, LedgerError> {
        self.optional_bytes()?.as_deref().map(address).transpose()
    }

    pub(crate) fn transaction(&mut self) -> Result<TransactionId, LedgerError> {
        transaction(&self.bytes()?)
    }

    pub(crate) fn optional_transaction(&mut self) -> Result<Option<TransactionId>, LedgerError> {
        self.optional_bytes()?.as_deref().map(transaction).transpose()
    }

    pub(crate) fn text(&mut self) -> Result<String, LedgerError> {
        self.optional_text()?.ok_or_else(|| self.misfit("text"))
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<String>, LedgerError> {
        let at = self.at();
        match self.row {
            Source::Pooled(row) => Ok(row.try_get::<Option<String>, _>(at)?),
            Source::Own(row) => match row.get(at) {
                Some(Stored::Text(value)) => Ok(Some(value.clone())),
                Some(Stored::Null) => Ok(None),
                _ => Err(self.misfit("text")),
            },
        }
    }

    /// A column that holds JSON of a type of ours.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, LedgerError> {
        from_json(&self.text()?)
    }
}

fn address(bytes: &[u8]) -> Result<Address, LedgerError> {
    Address::try_from(bytes).map_err(|_| LedgerError::Corrupt("an address that is neither 20 nor 32 bytes".into()))
}

fn transaction(bytes: &[u8]) -> Result<TransactionId, LedgerError> {
    TransactionId::try_from(bytes)
        .map_err(|_| LedgerError::Corrupt("a transaction's name that is neither 32 nor 64 bytes".into()))
}

/// Reads JSON that we stored.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|error| LedgerError::Corrupt(format!("stored JSON does not parse: {error}")))
}

/// Writes a type of ours as JSON.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, LedgerError> {
    serde_json::to_string(value).map_err(|error| LedgerError::Corrupt(format!("a value has no JSON form: {error}")))
}
