//! A row on its way out of SQL, with the domain's types.

use compute_futures_protocol::{AccountId, Address, B256, TransactionId, Usdc, market::SessionId};
use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};

use crate::error::{IndexerError, Result};

/// One row of either database.
pub enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
}

macro_rules! get {
    ($self:ident, $column:ident) => {
        match $self {
            Row::Sqlite(row) => row.try_get($column)?,
            Row::Postgres(row) => row.try_get($column)?,
        }
    };
}

impl Row {
    /// A signed integer, or null.
    pub fn opt_int(&self, column: &str) -> Result<Option<i64>> {
        Ok(get!(self, column))
    }

    /// An unsigned integer (the bits of the stored one).
    pub fn u64(&self, column: &str) -> Result<u64> {
        self.opt_u64(column)?.ok_or_else(|| corrupt(column))
    }

    /// An unsigned integer, or null.
    pub fn opt_u64(&self, column: &str) -> Result<Option<u64>> {
        Ok(self.opt_int(column)?.map(i64::cast_unsigned))
    }

    /// A 32-bit integer.
    pub fn u32(&self, column: &str) -> Result<u32> {
        u32::try_from(self.u64(column)?).map_err(|_| corrupt(column))
    }

    /// A 16-bit integer.
    pub fn u16(&self, column: &str) -> Result<u16> {
        u16::try_from(self.u64(column)?).map_err(|_| corrupt(column))
    }

    /// A flag.
    pub fn bool(&self, column: &str) -> Result<bool> {
        Ok(self.u64(column)? != 0)
    }

    /// An amount.
    pub fn usdc(&self, column: &str) -> Result<Usdc> {
        self.u64(column).map(Usdc::from_micros)
    }

    /// An account id.
    pub fn account(&self, column: &str) -> Result<AccountId> {
        AccountId::try_from(self.u64(column)?).map_err(|_| corrupt(column))
    }

    /// A session id.
    pub fn session(&self, column: &str) -> Result<SessionId> {
        SessionId::try_from(self.u64(column)?).map_err(|_| corrupt(column))
    }

    /// Bytes, or null.
    pub fn opt_bytes(&self, column: &str) -> Result<Option<Vec<u8>>> {
        Ok(get!(self, column))
    }

    /// Bytes.
    pub fn bytes(&self, column: &str) -> Result<Vec<u8>> {
        self.opt_bytes(column)?.ok_or_else(|| corrupt(column))
    }

    /// A hash.
    pub fn b256(&self, column: &str) -> Result<B256> {
        B256::try_from(self.bytes(column)?.as_slice()).map_err(|_| corrupt(column))
    }

    /// A hash, or null.
    pub fn opt_b256(&self, column: &str) -> Result<Option<B256>> {
        match self.opt_bytes(column)? {
            None => Ok(None),
            Some(bytes) => B256::try_from(bytes.as_slice()).map(Some).map_err(|_| corrupt(column)),
        }
    }

    /// A transaction, or null.
    pub fn opt_transaction(&self, column: &str) -> Result<Option<TransactionId>> {
        match self.opt_bytes(column)? {
            None => Ok(None),
            Some(bytes) => TransactionId::try_from(bytes.as_slice()).map(Some).map_err(|_| corrupt(column)),
        }
    }

    /// A transaction.
    pub fn transaction(&self, column: &str) -> Result<TransactionId> {
        TransactionId::try_from(self.bytes(column)?.as_slice()).map_err(|_| corrupt(column))
    }

    /// An address.
    pub fn address(&self, column: &str) -> Result<Address> {
        Address::try_from(self.bytes(column)?.as_slice()).map_err(|_| corrupt(column))
    }

    /// An address, or null.
    pub fn opt_address(&self, column: &str) -> Result<Option<Address>> {
        match self.opt_bytes(column)? {
            None => Ok(None),
            Some(bytes) => Address::try_from(bytes.as_slice()).map(Some).map_err(|_| corrupt(column)),
        }
    }

    /// Text, or null.
    pub fn opt_text(&self, column: &str) -> Result<Option<String>> {
        Ok(get!(self, column))
    }

    /// Text.
    pub fn text(&self, column: &str) -> Result<String> {
        self.opt_text(column)?.ok_or_else(|| corrupt(column))
    }
}

fn corrupt(column: &str) -> IndexerError {
    IndexerError::Corrupt(format!("column {column}"))
}
