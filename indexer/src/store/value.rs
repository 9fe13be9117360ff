//! The three kinds of value a column holds, and how the domain's types become them.

use compute_futures_protocol::{AccountId, Address, B256, TransactionId, Usdc, market::SessionId};
use sqlx::{Postgres, Sqlite, postgres::PgArguments, query::Query, sqlite::SqliteArguments};

/// A value on its way into SQL. Typed even when null: PostgreSQL wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `BIGINT`.
    Int(Option<i64>),
    /// `BYTEA`.
    Bytes(Option<Vec<u8>>),
    /// `TEXT`.
    Text(Option<String>),
}

impl Value {
    pub(super) fn bind_sqlite<'q>(
        self,
        query: Query<'q, Sqlite, SqliteArguments>,
    ) -> Query<'q, Sqlite, SqliteArguments> {
        match self {
            Self::Int(v) => query.bind(v),
            Self::Bytes(v) => query.bind(v),
            Self::Text(v) => query.bind(v),
        }
    }

    pub(super) fn bind_postgres<'q>(self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments> {
        match self {
            Self::Int(v) => query.bind(v),
            Self::Bytes(v) => query.bind(v),
            Self::Text(v) => query.bind(v),
        }
    }
}

impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Self::Int(Some(v))
    }
}

/// Counts, block numbers and amounts stay far below 2^63; an account id of an operator index above 2^31 wraps to a negative number and back.
impl From<u64> for Value {
    fn from(v: u64) -> Self {
        Self::Int(Some(v.cast_signed()))
    }
}

impl From<u32> for Value {
    fn from(v: u32) -> Self {
        Self::Int(Some(i64::from(v)))
    }
}

impl From<u16> for Value {
    fn from(v: u16) -> Self {
        Self::Int(Some(i64::from(v)))
    }
}

impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Self::Int(Some(i64::from(v)))
    }
}

impl From<Usdc> for Value {
    fn from(v: Usdc) -> Self {
        v.micros().into()
    }
}

impl From<AccountId> for Value {
    fn from(v: AccountId) -> Self {
        v.get().into()
    }
}

impl From<SessionId> for Value {
    fn from(v: SessionId) -> Self {
        v.get().into()
    }
}

impl From<Option<u64>> for Value {
    fn from(v: Option<u64>) -> Self {
        Self::Int(v.map(u64::cast_signed))
    }
}

impl From<B256> for Value {
    fn from(v: B256) -> Self {
        Self::Bytes(Some(v.to_vec()))
    }
}

impl From<Option<B256>> for Value {
    fn from(v: Option<B256>) -> Self {
        Self::Bytes(v.map(|hash| hash.to_vec()))
    }
}

impl From<Option<TransactionId>> for Value {
    fn from(v: Option<TransactionId>) -> Self {
        Self::Bytes(v.map(|id| id.to_vec()))
    }
}

impl From<TransactionId> for Value {
    fn from(v: TransactionId) -> Self {
        Self::Bytes(Some(v.to_vec()))
    }
}

impl From<Address> for Value {
    fn from(v: Address) -> Self {
        Self::Bytes(Some(v.to_vec()))
    }
}

impl From<Option<Address>> for Value {
    fn from(v: Option<Address>) -> Self {
        Self::Bytes(v.map(|a| a.to_vec()))
    }
}

impl From<Vec<u8>> for Value {
    fn from(v: Vec<u8>) -> Self {
        Self::Bytes(Some(v))
    }
}

impl From<String> for Value {
    fn from(v: String) -> Self {
        Self::Text(Some(v))
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Self::Text(Some(v.to_owned()))
    }
}

impl From<Option<String>> for Value {
    fn from(v: Option<String>) -> Self {
        Self::Text(v)
    }
}
