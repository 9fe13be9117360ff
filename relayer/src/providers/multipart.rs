//! A form with a file in it (RFC 7578), as transcription APIs take it.

use bytes::Bytes;

use super::Blob;

/// A form that is being written.
pub(super) struct Form {
    boundary: String,
    body: Vec<u8>,
}

impl Form {
    /// An empty form. The boundary is random, so that no file can hold it.
    pub(super) fn new() -> Self {
        Self { boundary: format!("compute-futures-{}", uuid::Uuid::new_v4().simple()), body: Vec::new() }
    }

    /// Adds a text. `name` is ours.
    pub(super) fn text(mut self, name: &str, value: &str) -> Self {
        self.head(&format!("form-data; name=\"{name}\""), None);
        self.body.extend_from_slice(value.as_bytes());
        self.body.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a file under a name of ours.
    pub(super) fn file(mut self, name: &str, blob: &Blob) -> Self {
        let file = format!("file.{}", blob.extension());
        // The type was stated by a stranger: only a plain one goes into a header.
        let plain = blob.content_type.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/+-.".contains(&byte));
        let kind = if plain { blob.content_type.as_str() } else { "application/octet-stream" };
        self.head(&format!("form-data; name=\"{name}\"; filename=\"{file}\""), Some(kind));
        self.body.extend_from_slice(&blob.bytes);
        self.body.extend_from_slice(b"\r\n");
        self
    }

    /// Content type and body.
    pub(super) fn finish(mut self) -> (String, Bytes) {
        self.body.extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        (format!("multipart/form-data; boundary={}", self.boundary), self.body.into())
    }

    fn head(&mut self, disposition: &str, content_type: Option<&str>) {
        let mut head = format!("--{}\r\nContent-Disposition: {disposition}\r\n", self.boundary);
        if let Some(content_type) = content_type {
            head.push_str(&format!("Content-Type: {content_type}\r\n"));
        }
        head.push_str("\r\n");
        self.body.extend_from_slice(head.as_bytes());
    }
}
