//! Conversations and embeddings.

use serde_json::Value;

use super::fields::{Fields, invalid};
use super::{Catalog, example};
use crate::error::{ApiError, ApiResult};
use crate::providers::{Embeddings, JobKind, Message, Role, TextInference};

/// Parameters of a conversation.
const TEXT: [&str; 12] = [
    "messages",
    "prompt",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "frequency_penalty",
    "presence_penalty",
];
/// Parameters that change what an answer means and that are not served; harmless values pass.
const NOT_SERVED: [&str; 9] = [
    "n",
    "tools",
    "functions",
    "tool_choice",
    "parallel_tool_calls",
    "logprobs",
    "response_format",
    "modalities",
    "store",
];

/// Whether such a parameter asks for what is served anyway.
fn asks_for_nothing(name: &str, value: &Value) -> bool {
    match (name, value) {
        (_, Value::Null | Value::Bool(false)) => true,
        ("tools" | "functions", Value::Array(items)) => items.is_empty(),
        ("n", value) => value.as_u64() == Some(1),
        ("tool_choice", Value::String(choice)) => choice == "none",
        ("parallel_tool_calls", Value::Bool(_)) => true,
        ("response_format", Value::Object(format)) => format.get("type").is_some_and(|kind| kind == "text"),
        ("modalities", Value::Array(items)) => items.iter().all(|item| item == "text"),
        _ => false,
    }
}

impl Catalog {
    pub(super) fn text(&self, model: String, fields: Fields<'_>) -> ApiResult<TextInference> {
        if let Some(name) =
            NOT_SERVED.into_iter().find(|name| fields.get(name).is_some_and(|value| !asks_for_nothing(name, value)))
        {
            return Err(ApiError::bad_request(
                "unsupported_parameter",
                format!("`{name}` is not supported here"),
                format!("leave `{name}` out"),
            ));
        }
        let fields = fields.only(&[TEXT.as_slice(), &NOT_SERVED].concat())?;
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
            temperature: fields.number("temperature", 0.0, 2.0)?,
            top_p: fields.number("top_p", 0.0, 1.0)?,
            seed: fields.seed()?,
            frequency_penalty: fields.number("frequency_penalty", -2.0, 2.0)?,
            presence_penalty: fields.number("presence_penalty", -2.0, 2.0)?,
            stop: stop(fields)?,
            stream: fields.flag("stream")?,
        })
    }

    pub(super) fn embeddings(&self, model: String, fields: Fields<'_>) -> ApiResult<Embeddings> {
        let fields = fields.only(&["input", "dimensions", "encoding_format"])?;
        // base64 is packed by the endpoint that speaks OpenAI's dialect; here vectors are lists.
        fields.one_of("encoding_format", &["float"])?;
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
        let dimensions = fields.whole(&["dimensions"], 1, 4096)?;
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
    fn max_tokens(&self, model: &str, fields: Fields<'_>) -> ApiResult<u32> {
        let most = self
            .named(JobKind::TextInference, model)
            .map(|entry| u32::try_from(entry.rate.max_output_tokens).unwrap_or(u32::MAX))
            .max()
            .ok_or_else(|| self.not_on_offer(JobKind::TextInference, model))?;
        let given = fields.whole(&["max_tokens", "max_completion_tokens"], 1, most)?;
        Ok(given.unwrap_or(self.limits.default_max_tokens.min(most)))
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

fn stop(fields: Fields<'_>) -> ApiResult<Vec<String>> {
    let wrong = || invalid("`stop` is not a text or a list of at most 4 texts", "leave it out");
    match fields.get("stop") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) if !text.is_empty() => Ok(vec![text.clone()]),
        Some(Value::Array(items)) if items.len() <= 4 => items
            .iter()
            .map(|item| item.as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}
