//! A cloud that runs every kind of job and does as it is told. It outlives the relayer, as clouds do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use compute_futures_protocol::{JobKind, Usage, Usdc};
use compute_futures_relayer::catalog::Route;
use compute_futures_relayer::config::{Config, ModelConfig, ProviderConfig, ProviderKind, RouteConfig};
use compute_futures_relayer::providers::{
    Answer, Artifact, Blob, Chunk, Chunks, JobInput, Outcome, Pending, Provider, ProviderError,
};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::world::{Setup, World};

pub const FILE: &[u8] = b"\x00\x01 a file that a model made";

/// What becomes of predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Predictions {
    Succeed,
    Fail,
    /// Never end.
    Hang,
}

pub struct Cloud {
    pub predictions: Mutex<Predictions>,
    /// By id: looks so far.
    pub started: Mutex<HashMap<String, usize>>,
    pub cancelled: Mutex<Vec<String>>,
    /// Looks before a prediction ends.
    pub looks: AtomicUsize,
    pub runs: AtomicUsize,
    /// Pieces that a stream may give.
    pub pieces: Semaphore,
    pub pieces_given: AtomicUsize,
    /// A stream breaks off after its pieces.
    pub breaks: Mutex<bool>,
}

impl Cloud {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            predictions: Mutex::new(Predictions::Succeed),
            started: Mutex::default(),
            cancelled: Mutex::default(),
            looks: AtomicUsize::new(1),
            runs: AtomicUsize::new(0),
            pieces: Semaphore::new(1000),
            pieces_given: AtomicUsize::new(0),
            breaks: Mutex::new(false),
        })
    }

    pub fn predictions(&self, what: Predictions) {
        *self.predictions.lock().unwrap() = what;
    }

    pub fn starts(&self) -> usize {
        self.started.lock().unwrap().len()
    }

    /// Waits until the relayer came back to look at a prediction: by then it has written down that it started one.
    pub async fn looked_at(&self) {
        while !self.started.lock().unwrap().values().any(|looks| *looks > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A world with a cloud.
pub async fn world(cloud: &Arc<Cloud>, change: impl Fn(&mut Config) + Send + Sync + 'static) -> World {
    world_with(Arc::clone(cloud) as _, change).await
}

/// A world with a cloud that gives words one by one.
pub async fn world_of_words(cloud: &Arc<Cloud>) -> World {
    world_with(Arc::new(Words(Arc::clone(cloud))), |_| ()).await
}

async fn world_with(cloud: Arc<dyn Provider>, change: impl Fn(&mut Config) + Send + Sync + 'static) -> World {
    let change = Arc::new(move |config: &mut Config| {
        config.providers.push(ProviderConfig {
            name: "cloud".into(),
            // Never called: the scripted one of the same name stands in its place.
            kind: ProviderKind::OpenAi,
            base_url: "https://cloud.test/v1".into(),
            ..ProviderConfig::default()
        });
        config.models.retain(|model| matches!(model.kind, JobKind::TextInference | JobKind::Embeddings));
        config.models.extend(models());
        config.jobs.webhooks_anywhere = true;
        change(config);
    });
    World::with(Setup { change, providers: vec![cloud] }).await
}

fn models() -> Vec<ModelConfig> {
    let model = |id: &str, kind: JobKind, per_call: u64| ModelConfig {
        id: id.into(),
        kind,
        per_call: Usdc::from_micros(per_call),
        routes: vec![RouteConfig { provider: "cloud".into(), ..RouteConfig::default() }],
        auto: true,
        ..ModelConfig::default()
    };
    let mut metered = model("metered", JobKind::TextInference, 0);
    metered.per_1k_output = Usdc::from_micros(1_000_000);
    metered.max_output_tokens = 100;
    metered.auto = false;
    let mut any = model("any-gpu", JobKind::Gpu, 60_000);
    any.routes[0].model = "*".into();
    any.aliases = vec!["flux-pro".into()];
    vec![
        metered,
        any,
        model("image", JobKind::ImageGeneration, 30_000),
        model("film", JobKind::VideoGeneration, 500_000),
        model("voice", JobKind::TextToSpeech, 30_000),
        model("ear", JobKind::SpeechToText, 20_000),
        model("reader", JobKind::DocumentParsing, 2_000),
    ]
}

fn file(at: &str, content_type: &str) -> Artifact {
    Artifact { at: at.into(), blob: Blob { content_type: content_type.into(), bytes: FILE.into() } }
}

fn answer(body: &Value, usage: Usage, artifacts: Vec<Artifact>) -> Answer {
    Answer { body: body.as_object().unwrap().clone(), usage: Some(usage), artifacts }
}

#[async_trait]
impl Provider for Cloud {
    fn name(&self) -> &str {
        "cloud"
    }

    async fn run(&self, _: &Route, job: &JobInput) -> Result<Outcome, ProviderError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let done = match job {
            JobInput::TextInference(job) => {
                if job.messages[0].content.contains("HANG") {
                    std::future::pending::<()>().await;
                }
                if job.messages[0].content.contains("REFUSE") {
                    return Err(ProviderError::Refused { provider: "cloud".into(), status: 422 });
                }
                let message = json!({ "role": "assistant", "content": "forty two" });
                answer(
                    &json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] }),
                    Usage::tokens(3, 2),
                    vec![],
                )
            }
            JobInput::ImageGeneration(job) => {
                let at = if job.inline { "/data/0/b64_json" } else { "/data/0/url" };
                let entry = if job.inline { json!({ "b64_json": null }) } else { json!({ "url": null }) };
                answer(
                    &json!({ "data": [entry] }),
                    Usage { images: 1, ..Usage::default() },
                    vec![file(at, "image/png")],
                )
            }
            JobInput::TextToSpeech(_) => {
                let audio = json!({ "url": null, "contentType": "audio/mpeg" });
                answer(
                    &json!({ "audio": audio }),
                    Usage { characters: 5, ..Usage::default() },
                    vec![file("/audio/url", "audio/mpeg")],
                )
            }
            JobInput::SpeechToText(_) => {
                answer(&json!({ "text": "what was said" }), Usage { seconds: 3, ..Usage::default() }, vec![])
            }
            JobInput::DocumentParsing(_) => {
                answer(&json!({ "text": "what was written" }), Usage { characters: 16, ..Usage::default() }, vec![])
            }
            _ => {
                let id = format!("p-{}", self.starts());
                self.started.lock().unwrap().insert(id.clone(), 0);
                return Ok(Outcome::Pending(Pending { upstream_id: id, poll_after: Duration::from_millis(50) }));
            }
        };
        Ok(done.into())
    }

    async fn poll(&self, id: &str, _: &JobInput) -> Result<Outcome, ProviderError> {
        let looks = {
            let mut started = self.started.lock().unwrap();
            let looks = started.get_mut(id).unwrap();
            *looks += 1;
            *looks
        };
        let predictions = *self.predictions.lock().unwrap();
        if predictions == Predictions::Hang || looks < self.looks.load(Ordering::SeqCst) {
            let pending = Pending { upstream_id: id.to_owned(), poll_after: Duration::from_millis(50) };
            return Ok(Outcome::Pending(pending));
        }
        if predictions == Predictions::Fail {
            return Err(ProviderError::Failed { provider: "cloud".into(), reason: "out of memory".into() });
        }
        let usage = Usage { seconds: 6, ..Usage::default() };
        Ok(answer(&json!({ "output": [null] }), usage, vec![file("/output/0", "video/mp4")]).into())
    }

    async fn cancel(&self, id: &str) -> Result<(), ProviderError> {
        self.cancelled.lock().unwrap().push(id.to_owned());
        Ok(())
    }
}

/// The same cloud, whose streams give a word at a time. It holds the cloud, because streams outlive a borrow.
pub struct Words(pub Arc<Cloud>);

#[async_trait]
impl Provider for Words {
    fn name(&self) -> &str {
        "cloud"
    }

    async fn run(&self, route: &Route, job: &JobInput) -> Result<Outcome, ProviderError> {
        self.0.run(route, job).await
    }

    async fn stream(&self, _: &Route, _: &JobInput) -> Result<Chunks, ProviderError> {
        let cloud = Arc::clone(&self.0);
        cloud.runs.fetch_add(1, Ordering::SeqCst);
        let words = futures::stream::unfold(0_usize, move |at| {
            let cloud = Arc::clone(&cloud);
            async move {
                if at == 10 {
                    let broken = *cloud.breaks.lock().unwrap();
                    let usage = Some(Usage::tokens(3, 10));
                    return (!broken).then_some((Ok(Chunk::End { finish_reason: "stop", usage }), 11));
                }
                if at > 10 {
                    return None;
                }
                cloud.pieces.acquire().await.unwrap().forget();
                cloud.pieces_given.fetch_add(1, Ordering::SeqCst);
                Some((Ok(Chunk::Delta { content: format!("word{at} "), reasoning: String::new() }), at + 1))
            }
        });
        Ok(words.boxed())
    }
}
