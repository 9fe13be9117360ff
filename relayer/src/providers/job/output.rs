//! What comes back from a provider.

use compute_futures_protocol::Usage;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Blob;

/// A file that a job made. Providers' own addresses expire and are not passed on: the bytes are here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Where its address belongs: a JSON pointer (RFC 6901) into [`JobOutput::body`], as `/data/0/url`. There is a `null` there
    /// until [`JobOutput::place`].
    pub at: String,
    /// Its bytes.
    pub blob: Blob,
}

/// What a provider answered, checked and clamped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobOutput {
    /// Name of the provider that did the work.
    pub provider: String,
    /// Id of the catalog model that did the work (never `auto`).
    pub model: String,
    /// The fields of the answer that depend on the kind: `choices`, `data`, `output`, `audio` or `text`. Merge them into the
    /// answer's `compute` object.
    pub body: Map<String, Value>,
    /// Units used; never more than the request allows.
    pub usage: Usage,
    /// Files that belong to the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
}

impl JobOutput {
    /// Writes the address of every file to where it belongs in the body, and takes the files out. `address` is told the
    /// file's place in order and the file, and returns what to write: a URL, base64, an object.
    pub fn place(&mut self, mut address: impl FnMut(usize, &Artifact) -> Value) -> Vec<Artifact> {
        let artifacts = std::mem::take(&mut self.artifacts);
        let mut body = Value::Object(std::mem::take(&mut self.body));
        for (number, artifact) in artifacts.iter().enumerate() {
            if let Some(place) = body.pointer_mut(&artifact.at) {
                *place = address(number, artifact);
            }
        }
        if let Value::Object(body) = body {
            self.body = body;
        }
        artifacts
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_go_where_the_files_belong() {
        let blob = |text: &'static str| Blob { content_type: "text/plain".into(), bytes: text.as_bytes().into() };
        let body = json!({"data": [{"url": null}, {"url": null}], "text": "/data/0/url"});
        let mut output = JobOutput {
            provider: "p".into(),
            model: "m".into(),
            body: body.as_object().unwrap().clone(),
            usage: Usage::default(),
            artifacts: vec![
                Artifact { at: "/data/1/url".into(), blob: blob("b") },
                Artifact { at: "/data/0/url".into(), blob: blob("a") },
            ],
        };
        let stored: JobOutput = serde_json::from_str(&serde_json::to_string(&output).unwrap()).unwrap();
        assert_eq!(stored, output, "survives storage");
        let taken = output.place(|number, artifact| json!(format!("{number}{:?}", artifact.blob.bytes)));
        assert_eq!(taken.len(), 2);
        let expected = json!({"data": [{"url": "1b\"a\""}, {"url": "0b\"b\""}], "text": "/data/0/url"});
        assert_eq!(Value::Object(output.body), expected);
    }
}
