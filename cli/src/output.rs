//! What commands print: for people, or one JSON object for programs (`--json`). Results go to standard output, everything
//! else to standard error.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};

use compute_futures_protocol::Usdc;
use serde_json::Value;

use crate::failure::Failure;

/// Where results go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    json: bool,
}

/// What a verb has to say: to programs, and to people. Whoever asked for it decides where it goes.
#[derive(Debug)]
pub(crate) struct Report {
    /// For programs.
    pub(crate) value: Value,
    text: String,
}

impl Report {
    /// The same twice.
    #[must_use]
    pub(crate) fn new(value: Value, text: String) -> Self {
        Self { value, text }
    }
}

impl Output {
    /// For programs when `json`, for people otherwise.
    #[must_use]
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// The result: `value` for programs, `text` for people.
    pub(crate) fn result(self, value: &Value, text: impl FnOnce() -> String) {
        if self.json {
            self.raw(&format!("{value:#}\n"));
        } else {
            self.raw(&format!("{}\n", text().trim_end()));
        }
    }

    /// The same of a report.
    pub(crate) fn report(self, Report { value, text }: Report) {
        self.result(&value, || text);
    }

    /// A line of progress for people, on standard error.
    pub(crate) fn progress(self, line: impl Display) {
        if !self.json {
            aside(&line);
        }
    }

    /// The failure, on standard error.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            let said = serde_json::json!({ "error": failure.error, "code": failure.code, "hint": failure.hint });
            aside(&format!("{said:#}"));
        } else {
            aside(&format!("error: {}\n  what to do: {}", failure.error, failure.hint));
        }
    }

    /// Text as it is (completions, configuration files). Who reads may stop early (`| head`): what was done is done, and no failure.
    pub(crate) fn raw(self, text: &str) {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => aside(&format!("standard output: {error}")),
            _ => {}
        }
    }
}

/// On standard error. When nobody reads it, nobody is told.
fn aside(line: &impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// An amount of an answer, for people: micro-USDC as a string, or nothing yet.
pub(crate) fn usdc_text(micros: &Value) -> String {
    let amount = micros.as_str().and_then(|micros| Usdc::parse_micros(micros).ok());
    amount.map_or_else(|| "not yet known".into(), |amount| format!("{amount} USDC"))
}

/// A ceiling for people: the highest one means that the credit itself is the limit.
pub(crate) fn ceiling_text(ceiling: Usdc) -> String {
    if ceiling >= Usdc::MAX { "all of the credit".into() } else { format!("{ceiling} USDC") }
}

/// Two columns: what, and how much.
#[must_use]
pub(crate) fn facts<K: Display, V: Display>(rows: impl IntoIterator<Item = (K, V)>) -> String {
    let rows: Vec<(String, String)> =
        rows.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines = rows.iter().map(|(name, value)| format!("{name:<width$}  {value}"));
    lines.collect::<Vec<_>>().join("\n")
}
