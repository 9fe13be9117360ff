//! From the body of a request to a checked job. Nothing is guessed: what we do not serve is refused, not ignored.

mod fields;
mod media;
mod source;
mod text;

use compute_futures_protocol::JobKind;
use serde_json::Value;

use self::fields::{Fields, invalid};
pub(crate) use self::source::sniff;
use super::{AUTO, Catalog};
use crate::{error::ApiResult, providers::JobInput};

impl Catalog {
    /// Reads a job of `kind` from a request's body. Fields that concern the call and not the job (`futuresId`, `type`, `user` …)
    /// are left alone; any other that the kind does not know is refused.
    ///
    /// # Errors
    /// 400 that says which field, what is wrong and what to write; 413 for too much; 503 when no provider of the model is
    /// configured here. All of it before any payment.
    pub fn parse(&self, kind: JobKind, body: &Value) -> ApiResult<JobInput> {
        let Some(fields) = body.as_object() else {
            return Err(invalid("the body is not a JSON object", example(kind)));
        };
        let fields = Fields::of(fields);
        let model = match fields.get("model") {
            None => AUTO.to_owned(),
            Some(Value::String(model)) => model.clone(),
            Some(_) => return Err(invalid("`model` is not a string", "write \"auto\" or the id of a model")),
        };
        let job = match kind {
            JobKind::TextInference => JobInput::TextInference(self.text(model, fields)?),
            JobKind::Embeddings => JobInput::Embeddings(self.embeddings(model, fields)?),
            JobKind::ImageGeneration => JobInput::ImageGeneration(self.image(model, fields)?),
            JobKind::VideoGeneration => JobInput::VideoGeneration(self.video(model, fields)?),
            JobKind::TextToSpeech => JobInput::TextToSpeech(self.speech(model, fields)?),
            JobKind::SpeechToText => JobInput::SpeechToText(self.transcription(model, fields)?),
            JobKind::DocumentParsing => JobInput::DocumentParsing(self.document(model, fields)?),
            _ => JobInput::Gpu(self.gpu(model, fields)?),
        };
        if self.candidates(&job).next().is_none() {
            return Err(self.not_on_offer(kind, job.model()));
        }
        Ok(job)
    }
}

/// What a job of that kind looks like, for hints.
pub(crate) const fn example(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Embeddings => "send {\"model\": \"auto\", \"input\": [\"a text\"]}",
        JobKind::ImageGeneration => {
            "send {\"model\": \"auto\", \"prompt\": \"a lake at sunset\", \"size\": \"1024x1024\"}"
        }
        JobKind::VideoGeneration => "send {\"model\": \"auto\", \"prompt\": \"waves on a shore\"}",
        JobKind::TextToSpeech => "send {\"model\": \"auto\", \"input\": \"a text to read\"}",
        JobKind::SpeechToText => "send {\"model\": \"auto\", \"audio\": \"data:audio/wav;base64,…\"} or \"audio_url\"",
        JobKind::DocumentParsing => {
            "send {\"document\": \"data:application/pdf;base64,…\"}, {\"url\": \"https://…\"} or {\"text\": \"…\"}"
        }
        JobKind::Gpu => "send {\"model\": \"flux-pro\", \"input\": {\"prompt\": \"a lake at sunset\"}}",
        _ => "send {\"model\": \"auto\", \"messages\": [{\"role\": \"user\", \"content\": \"a text\"}]}",
    }
}
