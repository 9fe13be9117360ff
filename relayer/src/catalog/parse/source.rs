//! A file in a request: base64, a data URL, or a stranger's address.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::Value;
use url::Url;

use super::fields::{Fields, invalid};
use crate::error::{ApiError, ApiResult};
use crate::providers::{Blob, Source};

/// Standard alphabet, padding or not: both are sent.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the file in `name` (base64 or a data URL) or at `<name>_url` / `url`. `accepted` are the beginnings of content types.
pub(super) fn source(
    fields: Fields<'_>,
    name: &'static str,
    url_names: &[&'static str],
    accepted: &[&str],
    most_bytes: usize,
    example: &str,
) -> ApiResult<Source> {
    match (fields.get(name), fields.first(url_names)) {
        (Some(_), Some((other, _))) => {
            Err(invalid(format!("both `{name}` and `{other}` are given"), format!("send `{name}` alone")))
        }
        (None, None) => Err(invalid(format!("`{name}` is missing"), example)),
        (Some(Value::String(text)), None) => {
            let stated = fields.first(&["content_type", "contentType"]);
            inline(name, text, stated.and_then(|(_, value)| value.as_str()), accepted, most_bytes, example)
        }
        (Some(_), None) => Err(invalid(format!("`{name}` is not a text"), example)),
        (None, Some((name, Value::String(text)))) => address(name, text, example),
        (None, Some((name, _))) => Err(invalid(format!("`{name}` is not a text"), example)),
    }
}

fn inline(
    name: &str,
    text: &str,
    stated: Option<&str>,
    accepted: &[&str],
    most_bytes: usize,
    example: &str,
) -> ApiResult<Source> {
    let (declared, encoded) = match text.strip_prefix("data:") {
        None => (stated.map(str::to_owned), text),
        Some(rest) => {
            let (head, encoded) =
                rest.split_once(',').ok_or_else(|| invalid(format!("`{name}` is not a whole data URL"), example))?;
            let kind = head
                .strip_suffix(";base64")
                .ok_or_else(|| invalid(format!("`{name}` is a data URL without base64"), example))?;
            (Some(kind.split(';').next().unwrap_or_default().to_owned()), encoded)
        }
    };
    // Before decoding, so that a large text costs nothing more.
    if encoded.len() / 4 * 3 > most_bytes.saturating_add(2) {
        return Err(too_large(name, most_bytes));
    }
    let bytes = BASE64.decode(encoded.trim()).map_err(|_| invalid(format!("`{name}` is not base64"), example))?;
    if bytes.is_empty() {
        return Err(invalid(format!("`{name}` is empty"), example));
    }
    if bytes.len() > most_bytes {
        return Err(too_large(name, most_bytes));
    }
    let found = declared
        .map(|kind| kind.trim().to_ascii_lowercase())
        .filter(|kind| !kind.is_empty())
        .or_else(|| sniff(&bytes).map(str::to_owned))
        .ok_or_else(|| {
            invalid(
                format!("what `{name}` is cannot be told from its bytes"),
                "send a data URL, as data:audio/mpeg;base64,…",
            )
        })?;
    if !accepted.iter().any(|start| found.starts_with(start)) {
        let shown: String = found.chars().take(64).collect();
        return Err(invalid(format!("`{name}` is {shown:?}"), format!("send one of: {}", accepted.join(", "))));
    }
    Ok(Source::Inline(Blob { content_type: found, bytes: bytes.into() }))
}

/// https and a name; where it leads is checked when it is fetched.
fn address(name: &str, text: &str, example: &str) -> ApiResult<Source> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| text.len() <= 2048 && url.scheme() == "https" && url.has_host())
        .filter(|url| url.username().is_empty() && url.password().is_none())
        .ok_or_else(|| {
            invalid(
                format!("`{name}` is not an https address without user and password, of at most 2048 bytes"),
                example,
            )
        })?;
    Ok(Source::Url(url))
}

fn too_large(name: &str, most_bytes: usize) -> ApiError {
    ApiError::new(
        axum::http::StatusCode::PAYLOAD_TOO_LARGE,
        "input_too_large",
        format!("`{name}` is larger than {most_bytes} bytes"),
        "send a smaller file",
    )
}

/// What a file is, by its first bytes; only what we serve.
pub(crate) fn sniff(bytes: &[u8]) -> Option<&'static str> {
    let at = |place: usize, mark: &[u8]| bytes.get(place..).is_some_and(|rest| rest.starts_with(mark));
    let start = |text: &str| {
        let head = bytes.get(..bytes.len().min(1024)).unwrap_or_default();
        String::from_utf8_lossy(head).trim_start().to_ascii_lowercase().starts_with(text)
    };
    Some(match bytes {
        _ if at(0, b"%PDF-") => "application/pdf",
        _ if at(0, b"RIFF") && at(8, b"WAVE") => "audio/wav",
        _ if at(0, b"RIFF") && at(8, b"WEBP") => "image/webp",
        _ if at(0, b"ID3") => "audio/mpeg",
        [0xFF, second, ..] if second & 0xE0 == 0xE0 => "audio/mpeg",
        _ if at(0, b"fLaC") => "audio/flac",
        _ if at(0, b"OggS") => "audio/ogg",
        _ if at(0, &[0x1A, 0x45, 0xDF, 0xA3]) => "audio/webm",
        _ if at(4, b"ftypM4A") => "audio/mp4",
        _ if at(4, b"ftyp") => "video/mp4",
        _ if at(0, b"\x89PNG\r\n\x1a\n") => "image/png",
        _ if at(0, &[0xFF, 0xD8, 0xFF]) => "image/jpeg",
        _ if start("<!doctype html") || start("<html") => "text/html",
        _ if std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0')) => "text/plain",
        _ => return None,
    })
}
