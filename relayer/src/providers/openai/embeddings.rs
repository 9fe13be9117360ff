//! Vectors of texts.

use serde_json::{Map, Value, json};

use super::{OpenAi, read_usage};
use crate::providers::{Answer, Embeddings, ProviderError};

impl OpenAi {
    pub(super) async fn embed(&self, model: &str, job: &Embeddings) -> Result<Answer, ProviderError> {
        let mut body = json!({ "model": model, "input": job.input, "encoding_format": "float" });
        if let (Some(dimensions), Some(object)) = (job.dimensions, body.as_object_mut()) {
            object.insert("dimensions".into(), dimensions.into());
        }
        let answer = self.upstream.json(self.upstream.post("embeddings")?.json(&body)).await?;
        self.read_embeddings(job, &answer)
    }

    /// Passes on one vector a text, in the order of the texts, all of one length.
    fn read_embeddings(&self, job: &Embeddings, answer: &Map<String, Value>) -> Result<Answer, ProviderError> {
        let items = answer.get("data").and_then(Value::as_array).ok_or_else(|| self.upstream.bad("it has no data"))?;
        if items.len() != job.input.len() {
            return Err(self.upstream.bad(&format!("it has {} vectors for {} texts", items.len(), job.input.len())));
        }
        let mut vectors: Vec<Option<&Vec<Value>>> = vec![None; items.len()];
        for (position, item) in items.iter().enumerate() {
            let index = match item.get("index") {
                None => position,
                Some(index) => index.as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(usize::MAX),
            };
            let place = vectors
                .get_mut(index)
                .filter(|place| place.is_none())
                .ok_or_else(|| self.upstream.bad("its vectors are misnumbered"))?;
            *place = Some(
                item.get("embedding")
                    .and_then(Value::as_array)
                    .filter(|vector| vector.iter().all(Value::is_number))
                    .ok_or_else(|| self.upstream.bad("a vector is not a list of numbers"))?,
            );
        }
        let vectors: Vec<&Vec<Value>> = vectors.into_iter().flatten().collect();
        let length = vectors.first().map_or(0, |vector| vector.len());
        if length == 0 || vectors.iter().any(|vector| vector.len() != length) {
            return Err(self.upstream.bad("its vectors differ in length"));
        }
        let data: Vec<Value> = vectors
            .into_iter()
            .enumerate()
            .map(|(index, vector)| json!({ "object": "embedding", "index": index, "embedding": vector }))
            .collect();
        let body = Map::from_iter([("data".to_owned(), Value::Array(data))]);
        Ok(Answer { body, usage: read_usage(answer), artifacts: Vec::new() })
    }
}
