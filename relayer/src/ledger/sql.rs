//! Statements over many rows at once, and rows in the domain's types.
//!
//! The text of a statement depends on its number of rows only, and that number is always a power of two: a handful of texts
//! are prepared once per connection and never again.

use std::sync::OnceLock;

use alloy::primitives::{Address, B256};
use compute_futures_protocol::{AccountId, Usdc};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, Row as _};

use super::LedgerError;
use super::dialect::Engine;

/// A query under construction.
pub(crate) type Bound = Query<'static, Any, AnyArguments>;

/// Most rows in one statement; PostgreSQL allows 65,535 parameters, SQLite 32,766.
const MOST_ROWS: usize = 64;
/// Texts per statement: seven sizes for each engine.
const SIZES: usize = 14;

/// A statement with a list of rows in it: `prefix ($1, $2), ($3, $4) suffix`.
pub(crate) struct Rows {
    prefix: &'static str,
    columns: usize,
    /// Stands between two copies of the list, for the two halves of a UNION.
    middle: Option<&'static str>,
    suffix: &'static str,
    /// Whether each row has its own parentheses (VALUES) or all share one pair (IN).
    tuples: bool,
    texts: [OnceLock<String>; SIZES],
}

impl Rows {
    /// `INSERT INTO t (…) VALUES ` + rows, or `UPDATE … FROM (VALUES ` + rows + `) AS v …`.
    pub(crate) const fn values(prefix: &'static str, columns: usize, suffix: &'static str) -> Self {
        Self { prefix, columns, middle: None, suffix, tuples: true, texts: [const { OnceLock::new() }; SIZES] }
    }

    /// `… IN ` + list.
    pub(crate) const fn list(prefix: &'static str, suffix: &'static str) -> Self {
        Self { prefix, columns: 1, middle: None, suffix, tuples: false, texts: [const { OnceLock::new() }; SIZES] }
    }

    /// `… IN ` + list + `middle` + the same list: the two halves of a UNION.
    pub(crate) const fn list_twice(prefix: &'static str, middle: &'static str) -> Self {
        let texts = [const { OnceLock::new() }; SIZES];
        Self { prefix, columns: 1, middle: Some(middle), suffix: "", tuples: false, texts }
    }

    /// SQLite looks numbered parameters up by name, one by one through a list, so it gets plain question marks.
    fn text(&'static self, rows: usize, engine: Engine) -> &'static str {
        let size = rows.trailing_zeros() as usize;
        let index = match engine {
            Engine::Sqlite => 2 * size,
            Engine::Postgres => 2 * size + 1,
        };
        self.texts[index].get_or_init(|| {
            let list = self.list_of(rows, engine);
            let mut text = format!("{}{list}", self.prefix);
            if let Some(middle) = self.middle {
                text.push_str(middle);
                text.push_str(&list);
            }
            text.push_str(self.suffix);
            text
        })
    }

    fn list_of(&self, rows: usize, engine: Engine) -> String {
        let parameter = |number: usize| match engine {
            Engine::Sqlite => "?".to_owned(),
            Engine::Postgres => format!("${number}"),
        };
        let tuple = |row: usize| {
            let parameters: Vec<String> =
                (1..=self.columns).map(|column| parameter(row * self.columns + column)).collect();
            parameters.join(", ")
        };
        let tuples: Vec<String> = (0..rows).map(tuple).collect();
        if self.tuples { format!("({})", tuples.join("), (")) } else { format!("({})", tuples.join(", ")) }
    }

    /// Runs the statement once per row exactly: chunks of powers of two. For INSERT.
    pub(crate) async fn insert<T>(
        &'static self,
        connection: &mut AnyConnection,
        rows: &[T],
        bind: impl Fn(Bound, &T) -> Bound,
    ) -> Result<(), sqlx::Error> {
        let engine = Engine::behind(connection);
        let mut rest = rows;
        while !rest.is_empty() {
            let size = previous_power_of_two(rest.len());
            let (chunk, after) = rest.split_at(size);
            let query = chunk.iter().fold(sqlx::query(self.text(size, engine)), &bind);
            query.execute(&mut *connection).await?;
            rest = after;
        }
        Ok(())
    }

    /// Runs the statement over sets: the last row is repeated up to the next power of two. For UPDATE and DELETE.
    pub(crate) async fn update<T>(
        &'static self,
        connection: &mut AnyConnection,
        rows: &[T],
        bind: impl Fn(Bound, &T) -> Bound,
    ) -> Result<u64, sqlx::Error> {
        let engine = Engine::behind(connection);
        let mut affected = 0;
        for chunk in rows.chunks(MOST_ROWS) {
            affected += self.padded(chunk, engine, &bind).execute(&mut *connection).await?.rows_affected();
        }
        Ok(affected)
    }

    /// The same for SELECT.
    pub(crate) async fn fetch<T>(
        &'static self,
        connection: &mut AnyConnection,
        rows: &[T],
        bind: impl Fn(Bound, &T) -> Bound,
    ) -> Result<Vec<AnyRow>, sqlx::Error> {
        let engine = Engine::behind(connection);
        let mut found = Vec::new();
        for chunk in rows.chunks(MOST_ROWS) {
            found.append(&mut self.padded(chunk, engine, &bind).fetch_all(&mut *connection).await?);
        }
        Ok(found)
    }

    fn padded<T>(&'static self, chunk: &[T], engine: Engine, bind: impl Fn(Bound, &T) -> Bound) -> Bound {
        let size = chunk.len().next_power_of_two();
        // Question marks are counted anew in the second half of a UNION, numbers are not.
        let times = if self.middle.is_some() && engine == Engine::Sqlite { 2 } else { 1 };
        let mut query = sqlx::query(self.text(size, engine));
        for _ in 0..times {
            for row in (0..size).filter_map(|index| chunk.get(index).or(chunk.last())) {
                query = bind(query, row);
            }
        }
        query
    }
}

const fn previous_power_of_two(rows: usize) -> usize {
    let most = if rows > MOST_ROWS { MOST_ROWS } else { rows };
    1 << most.ilog2()
}

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
    row: &'r AnyRow,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(crate) const fn of(row: &'r AnyRow) -> Self {
        Self { row, next: 0 }
    }

    fn at(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    pub(crate) fn int(&mut self) -> Result<u64, LedgerError> {
        let at = self.at();
        Ok(self.row.try_get::<i64, _>(at)?.cast_unsigned())
    }

    pub(crate) fn optional_int(&mut self) -> Result<Option<u64>, LedgerError> {
        let at = self.at();
        Ok(self.row.try_get::<Option<i64>, _>(at)?.map(i64::cast_unsigned))
    }

    pub(crate) fn small(&mut self) -> Result<u16, LedgerError> {
        let value = self.int()?;
        u16::try_from(value).map_err(|_| LedgerError::Corrupt(format!("{value} where a basis-point figure belongs")))
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

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, LedgerError> {
        let at = self.at();
        Ok(self.row.try_get::<Vec<u8>, _>(at)?)
    }

    pub(crate) fn optional_bytes(&mut self) -> Result<Option<Vec<u8>>, LedgerError> {
        let at = self.at();
        Ok(self.row.try_get::<Option<Vec<u8>>, _>(at)?)
    }

    pub(crate) fn hash(&mut self) -> Result<B256, LedgerError> {
        let value = self.bytes()?;
        B256::try_from(value.as_slice()).map_err(|_| LedgerError::Corrupt("a hash that is not 32 bytes".into()))
    }

    pub(crate) fn optional_hash(&mut self) -> Result<Option<B256>, LedgerError> {
        self.optional_bytes()?
            .map(|value| {
                B256::try_from(value.as_slice()).map_err(|_| LedgerError::Corrupt("a hash that is not 32 bytes".into()))
            })
            .transpose()
    }

    pub(crate) fn address(&mut self) -> Result<Address, LedgerError> {
        let value = self.bytes()?;
        Address::try_from(value.as_slice()).map_err(|_| LedgerError::Corrupt("an address that is not 20 bytes".into()))
    }

    pub(crate) fn optional_address(&mut self) -> Result<Option<Address>, LedgerError> {
        self.optional_bytes()?
            .map(|value| {
                Address::try_from(value.as_slice())
                    .map_err(|_| LedgerError::Corrupt("an address that is not 20 bytes".into()))
            })
            .transpose()
    }

    pub(crate) fn text(&mut self) -> Result<String, LedgerError> {
        let at = self.at();
        Ok(self.row.try_get::<String, _>(at)?)
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<String>, LedgerError> {
        let at = self.at();
        Ok(self.row.try_get::<Option<String>, _>(at)?)
    }

    /// A column that holds JSON of a type of ours.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, LedgerError> {
        from_json(&self.text()?)
    }
}

/// Reads JSON that we stored.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|error| LedgerError::Corrupt(format!("stored JSON does not parse: {error}")))
}

/// Writes a type of ours as JSON.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, LedgerError> {
    serde_json::to_string(value).map_err(|error| LedgerError::Corrupt(format!("a value has no JSON form: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    static INSERT: Rows = Rows::values("INSERT INTO t (a, b) VALUES ", 2, "");
    static LIST: Rows = Rows::list("SELECT a FROM t WHERE a IN ", " ORDER BY a");
    static TWICE: Rows = Rows::list_twice("SELECT a FROM t WHERE a IN ", " UNION ALL SELECT a FROM u WHERE a IN ");

    #[test]
    fn each_engine_gets_its_own_parameters() {
        assert_eq!(INSERT.text(2, Engine::Postgres), "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)");
        assert_eq!(INSERT.text(2, Engine::Sqlite), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)");
        assert_eq!(LIST.text(4, Engine::Postgres), "SELECT a FROM t WHERE a IN ($1, $2, $3, $4) ORDER BY a");
        assert_eq!(LIST.text(1, Engine::Sqlite), "SELECT a FROM t WHERE a IN (?) ORDER BY a");
        assert_eq!(
            TWICE.text(2, Engine::Postgres),
            "SELECT a FROM t WHERE a IN ($1, $2) UNION ALL SELECT a FROM u WHERE a IN ($1, $2)"
        );
    }

    #[test]
    fn chunks_are_powers_of_two() {
        let sizes: Vec<usize> = [1, 2, 3, 5, 63, 64, 65, 1000].map(previous_power_of_two).to_vec();
        assert_eq!(sizes, [1, 2, 2, 4, 32, 64, 64, 64]);
    }
}
