//! An OpenAI-compatible upstream that answers at once: what is measured in front of it is overhead and nothing else.

use axum::{Router, body::Bytes, http::header, response::IntoResponse, routing::post};
use clap::Parser;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "127.0.0.1:9101")]
    listen: String,
}

const CHAT: &str = r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1790000000,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"The quick brown fox jumps over the lazy dog."},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":10,"total_tokens":22}}"#;

async fn chat(_body: Bytes) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], CHAT)
}

#[tokio::main(worker_threads = 1)]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let app = Router::new().route("/v1/chat/completions", post(chat));
    let listener = tokio::net::TcpListener::bind(&args.listen).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
