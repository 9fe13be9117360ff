//! The embedded provider: documents, streaming, and what it cannot do.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use compute_futures_relayer::catalog::Catalog;
use compute_futures_relayer::config::{Config, ProviderKind};
use compute_futures_relayer::providers::local::Local;
use compute_futures_relayer::providers::{JobKind, JobOutput, ProviderError, Providers};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::PATIENCE;

fn relayer() -> (std::sync::Arc<Catalog>, Providers) {
    let config = Config::default();
    let catalog = std::sync::Arc::new(Catalog::from_config(&config).unwrap());
    let mut providers = Providers::from_config(&config.providers, std::sync::Arc::clone(&catalog)).unwrap();
    let local = config.providers.iter().find(|provider| provider.kind == ProviderKind::Local).unwrap();
    // This program is a test and parses nothing.
    let local = Local::new(local).parsing_with(env!("CARGO_BIN_EXE_parse-document").into());
    providers.add(std::sync::Arc::new(local), 1000, Duration::from_secs(1));
    (catalog, providers)
}

async fn read(body: Value) -> Result<JobOutput, ProviderError> {
    let (catalog, providers) = relayer();
    providers.run(&catalog.parse(JobKind::DocumentParsing, &body).unwrap(), PATIENCE).await
}

/// A PDF of one page a text, as plain as one can be, with a right cross-reference table.
fn pdf(pages: &[&str]) -> Vec<u8> {
    let kids: Vec<String> = (0..pages.len()).map(|page| format!("{} 0 R", 4 + 2 * page)).collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), pages.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
    ];
    for (page, text) in pages.iter().enumerate() {
        let content = format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET");
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {} 0 R /Resources << /Font << /F1 3 0 R >> >> >>",
            5 + 2 * page
        ));
        objects.push(format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
    }
    objects.push("<< /Title (A lease) >>".to_owned());
    let info = format!("/Info {} 0 R", objects.len());
    file_of(&objects.into_iter().map(String::into_bytes).collect::<Vec<_>>(), &info)
}

/// These objects, numbered from 1, as a file; the first is its root.
fn file_of(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut file = b"%PDF-1.4\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        places.push(file.len());
        file.extend_from_slice(format!("{} 0 obj\n", number + 1).as_bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let start = file.len();
    file.extend_from_slice(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).as_bytes());
    for place in places {
        file.extend_from_slice(format!("{place:010} 00000 n \n").as_bytes());
    }
    let trailer =
        format!("trailer\n<< /Size {} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n", objects.len() + 1);
    file.extend_from_slice(trailer.as_bytes());
    file
}

#[tokio::test]
async fn a_pdf_becomes_text() {
    let document = STANDARD.encode(pdf(&["The tenant pays rent.", "The landlord repairs."]));
    let output = read(json!({"document": document})).await.unwrap();
    let body = Value::from(output.body);
    let text = body["text"].as_str().unwrap();
    assert!(text.contains("The tenant pays rent.") && text.contains("The landlord repairs."), "{text}");
    assert_eq!((&body["pages"], &body["title"], &body["truncated"]), (&json!(2), &json!("A lease"), &json!(false)));
    assert_eq!((output.usage.characters, output.provider.as_str()), (text.chars().count() as u64, "local"));
}

#[tokio::test]
async fn a_page_of_the_web_becomes_text() {
    let page = "<!DOCTYPE html><html><head><title>A  Lease</title><script>steal()</script><style>p{}</style></head>\
                <body><h1>Rent</h1><p>Due on the <b>first</b> &amp; last.</p><table><tr><td>1</td></tr></table></body></html>";
    let body = Value::from(
        read(json!({"document": format!("data:text/html;base64,{}", STANDARD.encode(page))})).await.unwrap().body,
    );
    let text = body["text"].as_str().unwrap();
    assert!(text.contains("Rent") && text.contains("Due on the first & last."), "{text}");
    assert!(!text.contains("steal") && !text.contains("p{}"), "{text}");
    assert_eq!((&body["title"], &body["contentType"]), (&json!("A Lease"), &json!("text/html")));
}

#[tokio::test]
async fn plain_text_is_tidied() {
    let body = Value::from(
        read(json!({"text": "\u{feff}Größe \u{7}1  \r\n\n\n\n\nend\n"})).await.unwrap_or_else(|_| panic!("text")).body,
    );
    assert_eq!(body["text"], "Größe 1\n\nend");
}

#[tokio::test]
async fn what_cannot_be_read_is_the_requests_fault_and_says_why() {
    let bytes = |bytes: &[u8]| json!({"document": format!("data:application/pdf;base64,{}", STANDARD.encode(bytes))});
    for (body, why) in [
        (bytes(b"%PDF-1.4 and nothing else"), "no PDF"),
        (bytes(&[0x89, b'P', b'N', b'G', 13, 10, 26, 10]), "neither PDF"),
        (bytes(&pdf(&[""])), "no text"),
    ] {
        let error = read(body).await.unwrap_err();
        assert!(matches!(&error, ProviderError::File { reason } if reason.contains(why)), "{why}: {error}");
        assert!(error.is_about_the_request());
    }
}

/// T-19: each of these takes gigabytes, minutes or the whole stack. It ends its own parser, and the next document is read.
#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_parser_ends_nothing_else() {
    let bolds: String = (0..256).map(|number| format!("<b a={number}>")).collect();
    let documents = [
        ("nodes", format!("<html><p>{bolds}{}", "<p>x".repeat(40_000)).into_bytes()),
        ("depth", format!("<html>{}", "<div></x>".repeat(400_000)).into_bytes()),
        ("object streams", object_streams(3)),
    ];
    futures::future::join_all(documents.map(async |(name, document)| {
        let started = Instant::now();
        let body = json!({"document": format!("data:text/html;base64,{}", STANDARD.encode(&document))});
        let error = match read(body).await {
            Err(error) => error,
            Ok(output) => panic!("{name}: {} characters", output.usage.characters),
        };
        assert!(matches!(error, ProviderError::File { .. }) && error.is_about_the_request(), "{name}: {error}");
        assert!(started.elapsed() < Duration::from_secs(40), "{name}: {error}");
    }))
    .await;
    assert!(read(json!({"text": "the next one"})).await.is_ok());
}

/// A PDF of some kilobytes whose object streams each hold an array of eight million numbers.
fn object_streams(count: usize) -> Vec<u8> {
    let numbers = format!("9 0 [{}]", "0 ".repeat(8_000_000));
    let mut stream = lopdf::Stream::new(lopdf::Dictionary::new(), numbers.into_bytes());
    stream.compress().unwrap();
    let mut objects =
        vec![b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(), b"<< /Type /Pages /Kids [] /Count 0 >>".to_vec()];
    for _ in 0..count {
        let length = stream.content.len();
        let mut object =
            format!("<< /Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /Length {length} >>\nstream\n").into_bytes();
        object.extend_from_slice(&stream.content);
        object.extend_from_slice(b"\nendstream");
        objects.push(object);
    }
    file_of(&objects, "")
}

#[tokio::test]
async fn addresses_inside_are_not_fetched() {
    for inside in ["https://127.0.0.1/a.pdf", "https://169.254.169.254/latest/meta-data", "https://localhost/a"] {
        let error = read(json!({"url": inside})).await.unwrap_err();
        assert!(matches!(&error, ProviderError::File { .. }), "{inside}: {error}");
    }
}

#[tokio::test]
async fn a_summary_streams_sentence_by_sentence() {
    let (catalog, providers) = relayer();
    let text = "Rent is due monthly. The tenant pays rent on the first day. Pets are not allowed. Rent rises with the index. The landlord repairs the roof.";
    let body =
        json!({"messages": [{"role": "user", "content": text}], "model": "local/extractive-summary", "stream": true});
    let job = catalog.parse(JobKind::TextInference, &body).unwrap();
    let whole = providers.run(&job, PATIENCE).await.unwrap();
    let mut stream = providers.stream(&job).await.unwrap();
    let mut pieces = 0;
    while stream.next().await.is_some() {
        pieces += 1;
    }
    assert!(pieces > 1 && stream.is_complete(), "{pieces}");
    assert_eq!(stream.finish().unwrap(), whole, "the same answer and the same usage");
}

#[test]
fn what_nobody_here_runs_is_refused_before_any_payment() {
    // None of the remote providers has a key in a test.
    let (catalog, _) = relayer();
    let refused = |kind, body| catalog.parse(kind, &body).unwrap_err();
    for (kind, body) in [
        (JobKind::TextInference, json!({"model": "llama-3.1-405b", "prompt": "hi"})),
        (JobKind::ImageGeneration, json!({"prompt": "a lake"})),
        (JobKind::VideoGeneration, json!({"prompt": "a lake", "model": "wan-2.1"})),
        (JobKind::SpeechToText, json!({"audio": STANDARD.encode(b"ID3 audio")})),
        (JobKind::Gpu, json!({"model": "flux-pro", "input": {}})),
        (JobKind::Gpu, json!({"model": "black-forest-labs/flux-1.1-pro", "input": {}})),
    ] {
        let error = refused(kind, body);
        assert_eq!((error.status.as_u16(), error.code), (503, "model_unavailable"), "{kind}: {error}");
        assert!(error.hint.contains("nothing was charged"), "{error}");
    }
    assert_eq!(refused(JobKind::ImageGeneration, json!({"prompt": "x", "model": "none"})).code, "unknown_model");
    assert_eq!(refused(JobKind::Gpu, json!({"model": "owner/model", "input": {}})).code, "unknown_model");
    // Text, embeddings and documents need no key.
    for (kind, body) in [
        (JobKind::TextInference, json!({"prompt": "hi"})),
        (JobKind::Embeddings, json!({"input": "hi"})),
        (JobKind::DocumentParsing, json!({"text": "hi"})),
    ] {
        assert!(catalog.parse(kind, &body).is_ok(), "{kind}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Strangers' bytes never take the process with them, whatever they say they are.
    #[test]
    fn no_document_is_a_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 1..600),
        start in prop::sample::select(vec!["", "%PDF-1.7\n", "<html>", "<!doctype html>", "plain "]),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        damaged in any::<bool>(),
    ) {
        let mut document = start.as_bytes().to_vec();
        if damaged {
            bytes = pdf(&["One page", "Two pages"]);
            for (place, byte) in cuts {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            document.clear();
        }
        document.append(&mut bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let body = json!({"document": format!("data:application/pdf;base64,{}", STANDARD.encode(&document))});
        match runtime.block_on(read(body)) {
            Ok(output) => prop_assert!(output.usage.characters > 0),
            Err(error) => prop_assert!(error.is_about_the_request(), "{}", error),
        }
    }
}
