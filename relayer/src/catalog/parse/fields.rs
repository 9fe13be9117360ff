//! The fields of a body, read one by one: what nobody asked for is refused, not ignored.

use serde_json::{Map, Number, Value};

use crate::error::{ApiError, ApiResult};

/// Fields that concern the call, or that change nothing about the work, and are left alone.
const ALWAYS: [&str; 7] = ["model", "type", "service", "futuresId", "user", "metadata", "webhookUrl"];

/// The fields of one body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) const fn of(map: &'a Map<String, Value>) -> Self {
        Self { map }
    }

    /// Refuses every field that is none of `known`.
    pub(super) fn only(self, known: &[&str]) -> ApiResult<Self> {
        let names = || known.iter().chain(&ALWAYS).copied();
        match self.map.keys().find(|key| !names().any(|name| name == key.as_str())) {
            None => Ok(self),
            Some(key) => {
                let key: String = key.chars().take(64).collect();
                let near =
                    names().max_by(|a, b| strsim::jaro_winkler(a, &key).total_cmp(&strsim::jaro_winkler(b, &key)));
                let hint = match near.filter(|name| strsim::jaro_winkler(name, &key) > 0.85) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("leave it out; known fields: {}", known.join(", ")),
                };
                Err(ApiError::bad_request(
                    "unsupported_parameter",
                    format!("`{key}` is not a parameter of this job"),
                    hint,
                ))
            }
        }
    }

    /// A field that is there and not null.
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// The first of several names of the same thing.
    pub(super) fn first(self, names: &[&'static str]) -> Option<(&'static str, &'a Value)> {
        names.iter().find_map(|name| self.get(name).map(|value| (*name, value)))
    }

    /// A text of at most `most` characters that is not blank.
    pub(super) fn text(self, names: &[&'static str], most: usize, example: &str) -> ApiResult<String> {
        let name = names.first().copied().unwrap_or_default();
        match self.first(names) {
            None => Err(invalid(format!("`{name}` is missing"), example)),
            Some((name, Value::String(text))) => {
                if text.trim().is_empty() {
                    return Err(invalid(format!("`{name}` is empty"), example));
                }
                let characters = text.chars().count();
                if characters > most {
                    let hint = format!("send at most {most} characters");
                    return Err(invalid(format!("`{name}` has {characters} characters"), hint));
                }
                Ok(text.clone())
            }
            Some((name, _)) => Err(invalid(format!("`{name}` is not a text"), example)),
        }
    }

    /// A short word: letters, digits and `-_.:`, as names of voices and languages are.
    pub(super) fn word(self, name: &'static str, most: usize) -> ApiResult<Option<String>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(word))
                if !word.is_empty()
                    && word.len() <= most
                    && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)) =>
            {
                Ok(Some(word.clone()))
            }
            Some(_) => Err(invalid(
                format!("`{name}` is not a word of at most {most} letters, digits and -_.:"),
                "leave it out for the model's own",
            )),
        }
    }

    /// One of a few words.
    pub(super) fn one_of(self, name: &'static str, words: &[&'static str]) -> ApiResult<Option<&'static str>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_str().and_then(|given| words.iter().find(|word| **word == given)).copied().map(Some).ok_or_else(|| {
            invalid(format!("`{name}` is not one of {}", words.join(", ")), "leave it out, or use one of these")
        })
    }

    /// A whole number in a range; `3.0` is none.
    pub(super) fn whole(self, names: &[&'static str], low: u32, high: u32) -> ApiResult<Option<u32>> {
        let Some((name, value)) = self.first(names) else { return Ok(None) };
        whole(value).filter(|number| (low..=high).contains(number)).map(Some).ok_or_else(|| {
            invalid(
                format!("`{name}` is not a whole number from {low} to {high}"),
                "leave it out, or stay in that range",
            )
        })
    }

    /// A number from `low` to `high`, passed on as it was written.
    pub(super) fn number(self, name: &str, low: f64, high: f64) -> ApiResult<Option<Number>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) if number.as_f64().is_some_and(|value| (low..=high).contains(&value)) => {
                Ok(Some(number.clone()))
            }
            Some(_) => Err(invalid(
                format!("`{name}` is not a number from {low} to {high}"),
                "leave it out, or stay in that range",
            )),
        }
    }

    /// A seed.
    pub(super) fn seed(self) -> ApiResult<Option<i64>> {
        self.get("seed")
            .map(|value| value.as_i64().ok_or_else(|| invalid("`seed` is not a whole number", "leave it out")))
            .transpose()
    }

    /// A yes or no; no when left out.
    pub(super) fn flag(self, name: &str) -> ApiResult<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(value) => {
                value.as_bool().ok_or_else(|| invalid(format!("`{name}` is not true or false"), "leave it out"))
            }
        }
    }
}

/// A whole number that fits; `3.0` is none.
pub(super) fn whole(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

pub(super) fn invalid(error: impl Into<String>, hint: impl Into<String>) -> ApiError {
    ApiError::bad_request("invalid_request", error, hint)
}
