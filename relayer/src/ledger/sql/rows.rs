//! Statements over many rows at once.
//!
//! The text of a statement depends on its number of rows only, and that number is always a power of two: a handful of texts
//! are prepared once per connection and never again.

use std::sync::OnceLock;

use super::session::{Record, Session, Value};
use crate::ledger::LedgerError;
use crate::ledger::dialect::Engine;

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
    pub(crate) async fn insert<'v, S: Session, T, const N: usize>(
        &'static self,
        session: &mut S,
        rows: &'v [T],
        bind: impl Fn(&'v T) -> [Value<'v>; N],
    ) -> Result<(), LedgerError> {
        let mut values = Vec::with_capacity(rows.len() * self.columns);
        let mut rest = rows;
        while !rest.is_empty() {
            let size = previous_power_of_two(rest.len().min(S::ROWS));
            let (chunk, after) = rest.split_at(size);
            values.clear();
            values.extend(chunk.iter().flat_map(&bind));
            session.execute(self.text(size, session.engine()), &values).await?;
            rest = after;
        }
        Ok(())
    }

    /// Runs the statement over sets: the last row is repeated up to the next power of two. For UPDATE and DELETE.
    pub(crate) async fn update<'v, S: Session, T, const N: usize>(
        &'static self,
        session: &mut S,
        rows: &'v [T],
        bind: impl Fn(&'v T) -> [Value<'v>; N],
    ) -> Result<u64, LedgerError> {
        let mut affected = 0;
        for chunk in rows.chunks(S::ROWS) {
            let (text, values) = self.padded(chunk, session.engine(), &bind);
            affected += session.execute(text, &values).await?;
        }
        Ok(affected)
    }

    /// The same for SELECT.
    pub(crate) async fn fetch<'v, S: Session, T, const N: usize>(
        &'static self,
        session: &mut S,
        rows: &'v [T],
        bind: impl Fn(&'v T) -> [Value<'v>; N],
    ) -> Result<Vec<Record>, LedgerError> {
        let mut found = Vec::new();
        for chunk in rows.chunks(S::ROWS) {
            let (text, values) = self.padded(chunk, session.engine(), &bind);
            found.append(&mut session.fetch(text, &values).await?);
        }
        Ok(found)
    }

    fn padded<'v, T, const N: usize>(
        &'static self,
        chunk: &'v [T],
        engine: Engine,
        bind: impl Fn(&'v T) -> [Value<'v>; N],
    ) -> (&'static str, Vec<Value<'v>>) {
        let size = chunk.len().next_power_of_two();
        // Question marks are counted anew in the second half of a UNION, numbers are not.
        let times = if self.middle.is_some() && engine == Engine::Sqlite { 2 } else { 1 };
        let mut values = Vec::with_capacity(size * self.columns * times);
        for _ in 0..times {
            values.extend((0..size).filter_map(|index| chunk.get(index).or(chunk.last())).flat_map(&bind));
        }
        (self.text(size, engine), values)
    }
}

const fn previous_power_of_two(rows: usize) -> usize {
    1 << rows.ilog2()
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
        let sizes: Vec<usize> = [1, 2, 3, 5, 63, 64].map(previous_power_of_two).to_vec();
        assert_eq!(sizes, [1, 2, 2, 4, 32, 64]);
    }
}
