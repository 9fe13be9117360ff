//! Documents to text: PDF, HTML, plain text. The bytes are a stranger's: pages, decompressed bytes and characters are bounded here;
//! memory and time cannot be, so this runs in a process of its own ([`super::parser`]).

use std::time::{Duration, Instant};

use lopdf::{Document, LoadOptions};
use serde_json::{Map, Value, json};

use crate::catalog::MAX_DOCUMENT_CHARACTERS;
use crate::providers::Blob;

/// Time for the pages of a PDF; what was read by then is answered.
const PAGES_TIME: Duration = Duration::from_secs(6);
/// Pages that are read.
const MAX_PAGES: usize = 2000;
/// Bytes that one stream of a PDF may inflate to.
const MAX_INFLATED: usize = 16 * 1024 * 1024;
/// Bytes of HTML that are read: its tree takes many times as much.
const MAX_HTML: usize = 4 * 1024 * 1024;
/// Lines are not wrapped.
const WIDTH: usize = 100_000;

/// A document's text.
#[derive(Debug)]
struct Parsed {
    text: String,
    pages: Option<usize>,
    title: Option<String>,
    truncated: bool,
}

/// Reads a document: the fields of its answer. An error says what is wrong with it.
pub(super) fn parse(blob: &Blob) -> Result<Map<String, Value>, &'static str> {
    let kind = crate::catalog::parse::sniff(&blob.bytes).unwrap_or("application/octet-stream");
    let declared_html = blob.content_type.contains("html");
    let parsed = match kind {
        "application/pdf" => pdf(&blob.bytes, Instant::now() + PAGES_TIME)?,
        "text/html" => html(&blob.bytes)?,
        "text/plain" if declared_html => html(&blob.bytes)?,
        "text/plain" => plain(&blob.bytes)?,
        _ => return Err("it is neither PDF nor HTML nor text"),
    };
    let content_type = match kind {
        "text/plain" if declared_html => "text/html",
        kind => kind,
    };
    let (text, cut) = within(tidy(&parsed.text));
    if text.is_empty() {
        return Err("it holds no text; scanned pages are pictures and cannot be read");
    }
    let characters = text.chars().count() as u64;
    let mut body = Map::from_iter([
        ("text".to_owned(), Value::from(text)),
        ("contentType".to_owned(), content_type.into()),
        ("characters".to_owned(), json!(characters)),
        ("truncated".to_owned(), (cut || parsed.truncated).into()),
    ]);
    if let Some(pages) = parsed.pages {
        body.insert("pages".to_owned(), json!(pages));
    }
    if let Some(title) = parsed.title {
        body.insert("title".to_owned(), title.into());
    }
    Ok(body)
}

fn pdf(bytes: &[u8], until: Instant) -> Result<Parsed, &'static str> {
    let options = LoadOptions { max_decompressed_size: Some(MAX_INFLATED), ..LoadOptions::default() };
    let document = Document::load_mem_with_options(bytes, options).map_err(|_| "it is no PDF that can be read")?;
    if document.is_encrypted() {
        return Err("it is encrypted");
    }
    let numbers: Vec<u32> = document.get_pages().into_keys().collect();
    let mut parsed =
        Parsed { text: String::new(), pages: Some(numbers.len()), title: title(&document), truncated: false };
    for (place, number) in numbers.iter().enumerate() {
        if place >= MAX_PAGES || Instant::now() >= until || parsed.text.len() as u64 > MAX_DOCUMENT_CHARACTERS * 4 {
            parsed.truncated = true;
            break;
        }
        // A page that cannot be read leaves a gap, and says so.
        match document.extract_text_with_limit(&[*number], MAX_INFLATED) {
            Ok(text) => parsed.text.push_str(&text),
            Err(_) => parsed.truncated = true,
        }
        parsed.text.push('\n');
    }
    Ok(parsed)
}

/// The title that a PDF states, where it is plain text.
fn title(document: &Document) -> Option<String> {
    let info = document.trailer.get(b"Info").ok()?;
    let (_, info) = document.dereference(info).ok()?;
    let title = info.as_dict().ok()?.get(b"Title").ok()?;
    let title = lopdf::decode_text_string(title).ok()?;
    let title: String = title.trim().chars().filter(|c| !c.is_control()).take(300).collect();
    (!title.is_empty()).then_some(title)
}

fn html(bytes: &[u8]) -> Result<Parsed, &'static str> {
    let (bytes, truncated) = match bytes.get(..MAX_HTML) {
        Some(head) if bytes.len() > MAX_HTML => (head, true),
        _ => (bytes, false),
    };
    let text = html2text::config::plain_no_decorate()
        .string_from_read(bytes, WIDTH)
        .map_err(|_| "it is no HTML that can be read")?;
    Ok(Parsed { text, pages: None, title: html_title(bytes), truncated })
}

/// What stands between the first `<title>` and its end, without markup.
fn html_title(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(bytes.get(..bytes.len().min(64 * 1024))?);
    let lower = head.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower.get(start..)?.find('>')? + 1;
    let end = start + lower.get(start..)?.find("</title")?;
    let title = head.get(start..end)?;
    let title: String = title.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    (!title.is_empty()).then_some(title)
}

fn plain(bytes: &[u8]) -> Result<Parsed, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text")?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
    Ok(Parsed { text, pages: None, title: None, truncated: false })
}

/// Without control characters, blanks at the ends of lines, and more than one empty line at a time.
fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines() {
        let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        let line = line.trim_end();
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty <= 1 {
            tidy.push_str(line);
            tidy.push('\n');
        }
    }
    tidy.trim().to_owned()
}

/// At most as many characters as are charged for.
fn within(text: String) -> (String, bool) {
    let most = usize::try_from(MAX_DOCUMENT_CHARACTERS).unwrap_or(usize::MAX);
    match text.char_indices().nth(most) {
        None => (text, false),
        Some((at, _)) => (text.get(..at).unwrap_or_default().to_owned(), true),
    }
}
