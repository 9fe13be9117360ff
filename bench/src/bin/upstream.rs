//! An OpenAI-compatible upstream that answers at once: what is measured in front of it is overhead and nothing else.
//!
//! With `stream: true` it answers in chunks of one token: as many as `max_tokens` says, and `seed` milliseconds apart (without it at
//! once), so that the same request paces it through every proxy.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
    routing::post,
    serve::ListenerExt,
};
use clap::Parser;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "127.0.0.1:9101")]
    listen: String,
}

const CHAT: &str = r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1790000000,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"The quick brown fox jumps over the lazy dog."},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":10,"total_tokens":22}}"#;
/// Two that take turns: some proxies take a model that repeats itself for one that hangs.
const CHUNKS: [&str; 2] = [
    concat!(
        r#"data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench","choices":[{"index":0,"delta":{"content":"this "},"finish_reason":null}]}"#,
        "\n\n"
    ),
    concat!(
        r#"data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench","choices":[{"index":0,"delta":{"content":"that "},"finish_reason":null}]}"#,
        "\n\n"
    ),
];
const STOP: &str = concat!(
    r#"data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "\n\n"
);

/// What a request for a stream says.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    stream: bool,
    max_tokens: Option<u64>,
    seed: Option<u64>,
}

async fn chat(body: Bytes) -> Response {
    // Whole answers cost no parsing, so that the upstream is never what is measured.
    let may_stream = body.windows(8).any(|bytes| bytes == b"\"stream\"");
    if may_stream
        && let Ok(asked) = serde_json::from_slice::<Asked>(&body)
        && asked.stream
    {
        return stream(&asked);
    }
    ([(header::CONTENT_TYPE, "application/json")], CHAT).into_response()
}

fn stream(asked: &Asked) -> Response {
    let chunks = asked.max_tokens.unwrap_or(16);
    let pace = asked.seed.map(Duration::from_millis).filter(|pace| !pace.is_zero());
    let end = Bytes::from(format!(
        "{STOP}data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"bench\",\"choices\":[],\
         \"usage\":{{\"prompt_tokens\":12,\"completion_tokens\":{chunks},\"total_tokens\":{}}}}}\n\ndata: [DONE]\n\n",
        chunks + 12
    ));
    let start = Instant::now();
    let body = futures_util::stream::unfold(0, move |sent: u64| {
        let end = end.clone();
        async move {
            if sent > chunks {
                return None;
            }
            // By the clock, not after the last chunk: nothing that is slow in between makes the stream longer.
            if let (Some(pace), 1..) = (pace, sent) {
                sleep_until(start + pace * u32::try_from(sent).unwrap_or(u32::MAX)).await;
            }
            let piece =
                if sent < chunks { Bytes::from_static(CHUNKS[usize::from(sent % 2 == 1)].as_bytes()) } else { end };
            Some((Ok::<_, Infallible>(piece), sent + 1))
        }
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
}

#[tokio::main(worker_threads = 1)]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let app = Router::new().route("/v1/chat/completions", post(chat));
    let listener = tokio::net::TcpListener::bind(&args.listen).await?.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
    });
    axum::serve(listener, app).await?;
    Ok(())
}
