//! A cloud that does every kind of job: OpenAI's API for what answers at once, Replicate's for what takes a while.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Looks at a film before it is done.
const LOOKS: usize = 1;
/// A picture of one pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const MP3: &[u8] = b"ID3\x04\x00\x00\x00\x00\x00\x00 a voice";
const MP4: &[u8] = b"\x00\x00\x00\x18ftypmp42 a film";

#[derive(Default)]
struct Shared {
    /// Predictions by id: how often they were looked at.
    predictions: Mutex<HashMap<String, usize>>,
    /// Kinds of request so far, in their order.
    seen: Mutex<Vec<&'static str>>,
}

/// A provider on a free port; it lives as long as the test.
#[derive(Clone)]
pub struct Cloud {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Cloud {
    /// What a transcription answers.
    pub const HEARD: &str = "What was said.";
    /// A message that it refuses.
    pub const REFUSED: &str = "REFUSE this";

    /// Starts it.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let cloud = Self { address: listener.local_addr().expect("an address"), shared };
        let app = Router::new()
            .route("/v1/chat/completions", post(chat))
            .route("/v1/embeddings", post(embed))
            .route("/v1/images/generations", post(draw))
            .route("/v1/audio/speech", post(speak))
            .route("/v1/audio/transcriptions", post(transcribe))
            .route("/replicate/predictions", post(predict))
            .route("/replicate/predictions/{id}", get(look))
            .route("/replicate/files/film.mp4", get(|| async { ([(header::CONTENT_TYPE, "video/mp4")], MP4) }))
            .with_state(cloud.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        cloud
    }

    /// Which kinds of request came, each once.
    #[must_use]
    pub fn seen(&self) -> Vec<&'static str> {
        let mut seen = self.shared.seen.lock().expect("no panic").clone();
        seen.sort_unstable();
        seen.dedup();
        seen
    }

    /// The picture that it makes.
    #[must_use]
    pub fn picture() -> Vec<u8> {
        STANDARD.decode(PNG).expect("base64")
    }

    /// The voice that it makes.
    #[must_use]
    pub fn voice() -> &'static [u8] {
        MP3
    }

    /// The film that it makes.
    #[must_use]
    pub fn film() -> &'static [u8] {
        MP4
    }

    fn film_url(&self) -> String {
        format!("http://{}/replicate/files/film.mp4", self.address)
    }

    fn saw(&self, what: &'static str) {
        self.shared.seen.lock().expect("no panic").push(what);
    }

    /// Settings of a relayer that has a model of every kind: this cloud's, and those of the local provider beside them. `auto` of text
    /// is the cloud's, whose prices by token do not divide evenly.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let http = format!("http://{}", self.address);
        let providers = format!(
            r#"[{{name="cloud",kind="openai",base_url="{http}/v1",allow_insecure=true,files_anywhere=true}},
            {{name="films",kind="replicate",base_url="{http}/replicate",allow_insecure=true,files_anywhere=true}},{{name="local",kind="local"}}]"#
        );
        let model = |id: &str, kind: &str, provider: &str, price: &str| {
            format!(r#"{{id="{id}",kind="{kind}",routes=[{{provider="{provider}"}}],{price},auto=true}}"#)
        };
        let metered = r#"per_call="0.000777",per_1k_input="0.00313",per_1k_output="0.00717",max_output_tokens=256"#;
        let models = [
            model("cloud/chat", "text-inference", "cloud", metered),
            model("local/extractive-summary", "text-inference", "local", r#"per_call="0.03",max_output_tokens=256"#),
            model("local/hashed-embeddings", "embeddings", "local", r#"per_call="0.005""#),
            model("cloud/embeddings", "embeddings", "cloud", r#"per_call="0.005""#),
            model("cloud/image", "image-generation", "cloud", r#"per_image="0.03""#),
            model("films/film", "video-generation", "films", r#"per_call="0.50",max_seconds=6"#),
            model("cloud/voice", "text-to-speech", "cloud", r#"per_call="0.03""#),
            model("cloud/ear", "speech-to-text", "cloud", r#"per_call="0.02""#),
            model("local/document-text", "document-parsing", "local", r#"per_call="0.002""#),
            r#"{id="films/any",kind="gpu",routes=[{provider="films",model="*"}],per_call="0.06"}"#.to_owned(),
        ];
        let setting = |name: &str, value: String| {
            (format!("COMPUTE_FUTURES_RELAYER__{name}"), value.replace('\n', "").replace("            ", ""))
        };
        vec![
            setting("PROVIDERS", providers),
            setting("MODELS", format!("[{}]", models.join(","))),
            // A film outlives its request: it is looked at after two seconds, and again after four.
            setting("JOBS__WAIT_SECONDS", "2".to_owned()),
        ]
    }
}

fn usage(input: u64, output: u64) -> Value {
    json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output })
}

async fn chat(State(cloud): State<Cloud>, Json(request): Json<Value>) -> Response {
    cloud.saw("chat");
    let said = request["messages"][0]["content"].as_str().unwrap_or_default();
    if said == Cloud::REFUSED {
        let error = json!({ "error": { "message": "no", "type": "invalid_request_error" } });
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(error)).into_response();
    }
    let words = ["Revenue ", "rose, ", "and the year ", "was good."];
    let usage = usage(said.len() as u64 / 4 + 1, words.len() as u64);
    let head = |object: &str| json!({ "id": "chatcmpl-1", "object": object, "created": 1, "model": request["model"] });
    if request["stream"] != true {
        let message = json!({ "role": "assistant", "content": words.concat() });
        let mut answer = head("chat.completion");
        answer["choices"] = json!([{ "index": 0, "message": message, "finish_reason": "stop" }]);
        answer["usage"] = usage;
        return Json(answer).into_response();
    }
    cloud.saw("stream");
    let chunk = |delta: Value, finish_reason: Value| {
        let mut chunk = head("chat.completion.chunk");
        chunk["choices"] = json!([{ "index": 0, "delta": delta, "finish_reason": finish_reason }]);
        chunk
    };
    let mut chunks: Vec<Value> = words.iter().map(|word| chunk(json!({ "content": word }), Value::Null)).collect();
    chunks.push(chunk(json!({}), json!("stop")));
    let mut last = head("chat.completion.chunk");
    (last["choices"], last["usage"]) = (json!([]), usage);
    chunks.push(last);
    let events = chunks.into_iter().map(|chunk| chunk.to_string()).chain(["[DONE]".to_owned()]);
    let events = events.map(|data| Ok::<_, Infallible>(Event::default().data(data)));
    Sse::new(futures::stream::iter(events.collect::<Vec<_>>())).into_response()
}

async fn embed(State(cloud): State<Cloud>, Json(request): Json<Value>) -> Json<Value> {
    cloud.saw("embeddings");
    let texts = request["input"].as_array().map_or(1, Vec::len);
    let data: Vec<Value> =
        (0..texts).map(|index| json!({ "object": "embedding", "index": index, "embedding": [0.6, 0.8] })).collect();
    Json(json!({ "object": "list", "data": data, "model": request["model"], "usage": usage(2, 0) }))
}

async fn draw(State(cloud): State<Cloud>, Json(request): Json<Value>) -> Json<Value> {
    cloud.saw("image");
    let images = request["n"].as_u64().unwrap_or(1);
    let data: Vec<Value> = (0..images).map(|_| json!({ "b64_json": PNG })).collect();
    Json(json!({ "created": 1, "data": data }))
}

async fn speak(State(cloud): State<Cloud>) -> impl IntoResponse {
    cloud.saw("speech");
    ([(header::CONTENT_TYPE, "audio/mpeg")], MP3)
}

async fn transcribe(State(cloud): State<Cloud>, form: Bytes) -> Response {
    cloud.saw("transcription");
    if !form.windows(4).any(|bytes| bytes == b"RIFF") {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": { "message": "no recording" } }))).into_response();
    }
    Json(json!({ "text": Cloud::HEARD, "language": "english", "duration": 2.5 })).into_response()
}

async fn predict(State(cloud): State<Cloud>, Json(request): Json<Value>) -> (StatusCode, Json<Value>) {
    let mut predictions = cloud.shared.predictions.lock().expect("no panic");
    let id = format!("prediction{}", predictions.len());
    if request["input"]["prompt"] == "at once" {
        cloud.saw("prediction");
        let done = json!({ "id": id, "status": "succeeded", "output": [cloud.film_url()] });
        return (StatusCode::CREATED, Json(done));
    }
    predictions.insert(id.clone(), 0);
    (StatusCode::CREATED, Json(json!({ "id": id, "status": "starting", "input": request["input"], "output": null })))
}

async fn look(State(cloud): State<Cloud>, Path(id): Path<String>) -> Response {
    let looks = {
        let mut predictions = cloud.shared.predictions.lock().expect("no panic");
        let Some(looks) = predictions.get_mut(&id) else { return StatusCode::NOT_FOUND.into_response() };
        *looks += 1;
        *looks
    };
    if looks <= LOOKS {
        return Json(json!({ "id": id, "status": "processing", "output": null })).into_response();
    }
    cloud.saw("prediction");
    Json(json!({ "id": id, "status": "succeeded", "output": [cloud.film_url()] })).into_response()
}
