//! Closed-loop HTTP load: N keep-alive connections, each sends its next request when the last one is answered.
//!
//! Requests for the relayer are signed before the clock starts, so that the generator costs the same for every target. Of a stream
//! the time to its first byte is measured too, and its chunks are counted.

use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, keccak256};
use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use compute_futures_protocol::{AccountId, Domain, JobAuthorization, Signer, Usdc, request_hash};
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;

#[derive(Clone, Copy, ValueEnum)]
enum Target {
    /// No credentials (LiteLLM, or the upstream itself).
    Plain,
    /// The bare proxy: one signature header.
    Bare,
    /// The relayer: scheme `compute-futures`, a fresh nonce a request.
    Relayer,
}

#[derive(Parser)]
struct Args {
    #[arg(long)]
    target: Target,
    #[arg(long)]
    address: String,
    #[arg(long, default_value = "POST")]
    method: String,
    #[arg(long, default_value = "/v1/chat/completions")]
    path: String,
    #[arg(long, default_value = "")]
    body: String,
    /// An answer without this text is a failed one.
    #[arg(long, default_value = "")]
    expect: String,
    #[arg(long, default_value_t = 16)]
    connections: usize,
    #[arg(long, default_value_t = 10_000)]
    requests: usize,
    /// Sent and answered before the clock starts.
    #[arg(long, default_value_t = 200)]
    warmup: usize,
    /// Relayer only: `network`, `accounts`, `contract`, `chain id`, key of the owner of all of them.
    #[arg(long, default_value = "eip155:8453")]
    network: String,
    #[arg(long, value_delimiter = ',')]
    accounts: Vec<u64>,
    #[arg(long)]
    contract: Option<Address>,
    #[arg(long, default_value_t = 8453)]
    chain_id: u64,
    #[arg(long, env = "BENCH_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Relayer only: the `accepted` entry of its 402 answer, as JSON.
    #[arg(long)]
    accepted: Option<String>,
}

fn header(args: &Args, index: usize) -> anyhow::Result<Option<(&'static str, String)>> {
    Ok(match args.target {
        Target::Plain => None,
        Target::Bare => {
            let key = secp256k1::SecretKey::from_byte_array([7; 32])?;
            let digest = secp256k1::Message::from_digest(keccak256(b"bench").0);
            let (id, bytes) = secp256k1::SECP256K1.sign_ecdsa_recoverable(digest, &key).serialize_compact();
            let id = u8::try_from(i32::from(id))?;
            Some(("x-signature", alloy_primitives::hex::encode([&bytes[..], &[id]].concat())))
        }
        Target::Relayer => {
            let signer = Signer::from_hex(args.key.as_deref().context("--key or BENCH_KEY is needed")?)?;
            let domain = Domain::evm(args.chain_id, args.contract.context("--contract is needed")?);
            let account = args.accounts[index % args.accounts.len()];
            let mut nonce = [0u8; 32];
            nonce[..8].copy_from_slice(&(index as u64).to_be_bytes());
            nonce[8..24].copy_from_slice(
                &std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos().to_be_bytes(),
            );
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
            let authorization = JobAuthorization {
                account_id: AccountId::try_from(account)?,
                request_hash: request_hash(&args.method, &args.path, args.body.as_bytes()),
                nonce: B256::from(nonce),
                max_charge: Usdc::from_micros(1_000_000),
                valid_until: now + 3600,
            };
            let signature = signer.sign(authorization.digest(&domain));
            let accepted: serde_json::Value =
                serde_json::from_str(args.accepted.as_deref().context("--accepted is needed")?)?;
            let payload = serde_json::json!({
                "x402Version": 2, "accepted": accepted,
                "payload": { "signature": signature, "authorization": authorization },
            });
            Some(("payment-signature", STANDARD.encode(payload.to_string())))
        }
    })
}

/// What was seen, of one connection or of all.
struct Seen {
    latencies: Histogram<u64>,
    first_bytes: Histogram<u64>,
    chunks: usize,
    failed: usize,
}

impl Seen {
    fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, 600_000_000, 3);
        Ok(Self { latencies: histogram()?, first_bytes: histogram()?, chunks: 0, failed: 0 })
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latencies.add(&other.latencies)?;
        self.first_bytes.add(&other.first_bytes)?;
        self.chunks += other.chunks;
        self.failed += other.failed;
        Ok(())
    }
}

fn count(text: &[u8], wanted: impl AsRef<[u8]>) -> usize {
    memchr::memmem::find_iter(text, wanted.as_ref()).count()
}

async fn connection(address: String, expect: Bytes, requests: Vec<Request<Full<Bytes>>>) -> anyhow::Result<Seen> {
    let stream = tokio::net::TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    let mut seen = Seen::new()?;
    for request in requests {
        let start = Instant::now();
        let micros = || u64::try_from(start.elapsed().as_micros()).map(|micros| micros.max(1));
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let ok = answer.status() == hyper::StatusCode::OK;
        let streams =
            answer.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let mut frames = answer.into_body();
        let mut body = Vec::new();
        while let Some(frame) = frames.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if body.is_empty() && !data.is_empty() {
                seen.first_bytes.record(micros()?)?;
            }
            body.extend_from_slice(&data);
        }
        seen.latencies.record(micros()?)?;
        if streams {
            // Not the whole text, which some repeat at the end.
            seen.chunks += [b"\"content\":\"this \"", b"\"content\":\"that \""]
                .map(|text| count(&body, text))
                .iter()
                .sum::<usize>();
        }
        if !ok || (!expect.is_empty() && count(&body, &expect) == 0) {
            if seen.failed == 0 {
                let shown = body.len().min(2000);
                eprintln!("first refusal: {}", String::from_utf8_lossy(&body[..shown]));
            }
            seen.failed += 1;
        }
    }
    Ok(seen)
}

async fn run(args: &Args, first: usize, count: usize) -> anyhow::Result<(Seen, Duration)> {
    let mut shares: Vec<Vec<Request<Full<Bytes>>>> = (0..args.connections).map(|_| Vec::new()).collect();
    for index in 0..count {
        let mut request = Request::builder()
            .method(args.method.as_str())
            .uri(&args.path)
            .header("host", &args.address)
            .header("content-type", "application/json");
        if let Some((name, value)) = header(args, first + index)? {
            request = request.header(name, value);
        }
        shares[index % args.connections].push(request.body(Full::new(Bytes::from(args.body.clone())))?);
    }
    let start = Instant::now();
    let tasks: Vec<_> = shares
        .into_iter()
        .filter(|share| !share.is_empty())
        .map(|share| tokio::spawn(connection(args.address.clone(), Bytes::from(args.expect.clone()), share)))
        .collect();
    let mut seen = Seen::new()?;
    for task in tasks {
        seen.add(&task.await??)?;
    }
    Ok((seen, start.elapsed()))
}

/// Whole ones, but for what is slow.
fn rate(count: usize, seconds: f64) -> f64 {
    let rate = count as f64 / seconds;
    if rate < 100.0 { (rate * 100.0).round() / 100.0 } else { rate.round() }
}

#[tokio::main(worker_threads = 1)]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if matches!(args.target, Target::Relayer) && args.accounts.is_empty() {
        bail!("--accounts is needed: the account ids to charge, comma separated");
    }
    run(&args, 0, args.warmup).await?;
    let (seen, elapsed) = run(&args, args.warmup, args.requests).await?;
    let seconds = elapsed.as_secs_f64();
    println!(
        "{}",
        serde_json::json!({
            "connections": args.connections,
            "requests": args.requests,
            "failed": seen.failed,
            "requestsPerSecond": rate(args.requests, seconds),
            "p50Micros": seen.latencies.value_at_quantile(0.5),
            "p99Micros": seen.latencies.value_at_quantile(0.99),
            "firstByteP50Micros": seen.first_bytes.value_at_quantile(0.5),
            "firstByteP99Micros": seen.first_bytes.value_at_quantile(0.99),
            "chunks": seen.chunks,
            "chunksPerSecond": rate(seen.chunks, seconds),
        })
    );
    Ok(())
}
