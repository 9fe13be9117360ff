//! From the body of a request to a checked job. Nothing is guessed: what we do not serve is refused, not ignored.

use compute_futures_protocol::JobKind;
use serde_json::{Map, Number, Value};

use super::{AUTO, Catalog};
use crate::{
    error::{ApiError, ApiResult},
    providers::{Embeddings, JobInput, Message, Role, TextInference},
};

/// Parameters that change what an answer means and that are not served yet.
const NOT_SERVED: [&str; 9] = [
    "stream",
    "n",
    "tools",
    "functions",
    "tool_choice",
    "logprobs",
    "response_format",
    "modalities",
    "encoding_format",
];

/// Whether such a parameter asks for what is served anyway.
fn asks_for_nothing(name: &str, value: &Value) -> bool {
    match (name, value) {
        (_, Value::Null | Value::Bool(false)) => true,
        ("tools" | "functions", Value::Array(items)) => items.is_empty(),
        ("n", value) => value.as_u64() == Some(1),
        ("tool_choice", Value::String(choice)) => choice == "none",
        ("encoding_format", Value::String(format)) => format == "float",
        ("response_format", Value::Object(format)) => format.get("type").is_some_and(|kind| kind == "text"),
        ("modalities", Value::Array(items)) => items.iter().all(|item| item == "text"),
        _ => false,
    }
}

impl Catalog {
    /// Reads a job of `kind` from a request's body. Fields that concern the call and not the job (`futuresId`, `type`, `user` …)
    /// are left alone.
    ///
    /// # Errors
    /// 400 that says which field, what is wrong and what to write.
    pub fn parse(&self, kind: JobKind, body: &Value) -> ApiResult<JobInput> {
        let Some(fields) = body.as_object() else {
            return Err(invalid("the body is not a JSON object", example(kind)));
        };
        if let Some(name) =
            NOT_SERVED.into_iter().find(|name| fields.get(*name).is_some_and(|value| !asks_for_nothing(name, value)))
        {
            return Err(ApiError::bad_request(
                "unsupported_parameter",
                format!("`{name}` is not supported here"),
                format!("leave `{name}` out"),
            ));
        }
        let model = match fields.get("model") {
            None | Some(Value::Null) => AUTO.to_owned(),
            Some(Value::String(model)) => model.clone(),
            Some(_) => return Err(invalid("`model` is not a string", "write \"auto\" or the id of a model")),
        };
        let job = match kind {
            JobKind::TextInference => JobInput::TextInference(self.text(model, fields)?),
            JobKind::Embeddings => JobInput::Embeddings(self.embeddings(model, fields)?),
            other => {
                return Err(ApiError::bad_request(
                    "unsupported_job_type",
                    format!("jobs of type {other} are not served here"),
                    "use \"text-inference\" or \"embeddings\"",
                ));
            }
        };
        if self.candidates(&job).next().is_none() {
            return Err(self.unknown_model(kind, job.model()));
        }
        Ok(job)
    }

    fn text(&self, model: String, fields: &Map<String, Value>) -> ApiResult<TextInference> {
        let messages = match (fields.get("messages"), fields.get("prompt")) {
            (Some(Value::Array(items)), None) => {
                items.iter().enumerate().map(|(at, item)| message(at, item)).collect::<ApiResult<Vec<_>>>()?
            }
            (None, Some(Value::String(prompt))) => vec![Message { role: Role::User, content: prompt.clone() }],
            (Some(_), Some(_)) => {
                return Err(invalid("both `messages` and `prompt` are given", "send `messages` alone"));
            }
            _ => return Err(invalid("`messages` is not a list", example(JobKind::TextInference))),
        };
        if messages.len() > self.limits.max_messages {
            return Err(invalid(
                format!("there are {} messages", messages.len()),
                format!("send at most {}", self.limits.max_messages),
            ));
        }
        if messages.iter().all(|message| message.content.trim().is_empty()) {
            return Err(invalid("the messages hold no text", example(JobKind::TextInference)));
        }
        self.check_size(messages.iter().map(|message| message.content.len()).sum())?;
        let max_tokens = self.max_tokens(&model, fields)?;
        Ok(TextInference {
            model,
            messages,
            max_tokens,
            temperature: number_between(fields, "temperature", 0, 2)?,
            top_p: number_between(fields, "top_p", 0, 1)?,
            seed: seed(fields)?,
            stop: stop(fields)?,
        })
    }

    fn embeddings(&self, model: String, fields: &Map<String, Value>) -> ApiResult<Embeddings> {
        let input: Vec<String> = match fields.get("input") {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(at, item)| {
                    item.as_str().map(str::to_owned).ok_or_else(|| {
                        invalid(format!("`input[{at}]` is not a string"), "send texts, not token numbers")
                    })
                })
                .collect::<ApiResult<_>>()?,
            _ => {
                return Err(invalid("`input` is neither a string nor a list of strings", example(JobKind::Embeddings)));
            }
        };
        if input.is_empty() || input.len() > self.limits.max_embedding_inputs {
            return Err(invalid(
                format!("`input` holds {} texts", input.len()),
                format!("send 1 to {}", self.limits.max_embedding_inputs),
            ));
        }
        if let Some(at) = input.iter().position(|text| text.trim().is_empty()) {
            return Err(invalid(format!("`input[{at}]` is empty"), "leave empty texts out"));
        }
        self.check_size(input.iter().map(String::len).sum())?;
        let dimensions = match fields.get("dimensions") {
            None | Some(Value::Null) => None,
            Some(value) => {
                Some(whole(value).filter(|dimensions| (1..=4096).contains(dimensions)).ok_or_else(|| {
                    invalid("`dimensions` is not a whole number from 1 to 4096", "leave it out for the model's own")
                })?)
            }
        };
        Ok(Embeddings { model, input, dimensions })
    }

    fn check_size(&self, bytes: usize) -> ApiResult<()> {
        if bytes <= self.limits.max_input_bytes {
            return Ok(());
        }
        Err(ApiError::new(
            axum::http::StatusCode::PAYLOAD_TOO_LARGE,
            "input_too_large",
            format!("the job holds {bytes} bytes of text"),
            format!("send at most {} bytes in one job", self.limits.max_input_bytes),
        ))
    }

    /// The bound on the answer: what the client says, else the operator's default, within what the model can write.
    fn max_tokens(&self, model: &str, fields: &Map<String, Value>) -> ApiResult<u32> {
        let most = self
            .models
            .iter()
            .filter(|entry| {
                entry.rate.kind == JobKind::TextInference
                    && if model == AUTO { entry.auto } else { entry.rate.id == model }
            })
            .map(|entry| u32::try_from(entry.rate.max_output_tokens).unwrap_or(u32::MAX))
            .max()
            .ok_or_else(|| self.unknown_model(JobKind::TextInference, model))?;
        let given = ["max_tokens", "max_completion_tokens"]
            .into_iter()
            .find_map(|name| fields.get(name).filter(|value| !value.is_null()).map(|value| (name, value)));
        match given {
            None => Ok(self.limits.default_max_tokens.min(most)),
            Some((name, value)) => whole(value).filter(|tokens| (1..=most).contains(tokens)).ok_or_else(|| {
                invalid(
                    format!("`{name}` is not a whole number from 1 to {most}"),
                    "leave it out, or stay in that range",
                )
            }),
        }
    }
}

fn message(at: usize, item: &Value) -> ApiResult<Message> {
    let role = match item.get("role").and_then(Value::as_str) {
        Some("system") => Role::System,
        Some("developer") => Role::Developer,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => {
            return Err(invalid(
                format!("`messages[{at}].role` is not one of system, developer, user, assistant"),
                example(JobKind::TextInference),
            ));
        }
    };
    let content = match item.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .map(|part| match (part.get("type").and_then(Value::as_str), part.get("text").and_then(Value::as_str)) {
                (Some("text"), Some(text)) => Ok(text),
                _ => Err(invalid(
                    format!("`messages[{at}].content` holds a part that is not text"),
                    "send text parts only",
                )),
            })
            .collect::<ApiResult<Vec<_>>>()?
            .join("\n"),
        _ => return Err(invalid(format!("`messages[{at}].content` is not a text"), example(JobKind::TextInference))),
    };
    Ok(Message { role, content })
}

/// A whole number that fits; `3.0` is none.
fn whole(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

fn number_between(fields: &Map<String, Value>, name: &str, low: u8, high: u8) -> ApiResult<Option<Number>> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number))
            if number.as_f64().is_some_and(|value| (f64::from(low)..=f64::from(high)).contains(&value)) =>
        {
            Ok(Some(number.clone()))
        }
        Some(_) => Err(invalid(
            format!("`{name}` is not a number from {low} to {high}"),
            "leave it out, or stay in that range",
        )),
    }
}

fn seed(fields: &Map<String, Value>) -> ApiResult<Option<i64>> {
    match fields.get("seed") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| invalid("`seed` is not a whole number", "leave it out")),
    }
}

fn stop(fields: &Map<String, Value>) -> ApiResult<Vec<String>> {
    let wrong = || invalid("`stop` is not a text or a list of at most 4 texts", "leave it out");
    match fields.get("stop") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) if !text.is_empty() => Ok(vec![text.clone()]),
        Some(Value::Array(items)) if items.len() <= 4 => items
            .iter()
            .map(|item| item.as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

fn invalid(error: impl Into<String>, hint: impl Into<String>) -> ApiError {
    ApiError::bad_request("invalid_request", error, hint)
}

fn example(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Embeddings => "send {\"model\": \"auto\", \"input\": [\"a text\"]}",
        _ => "send {\"model\": \"auto\", \"messages\": [{\"role\": \"user\", \"content\": \"a text\"}]}",
    }
}
