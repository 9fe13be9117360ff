//! Closed-loop HTTP load: N keep-alive connections, each sends its next request when the last one is answered.
//!
//! Requests for the relayer are signed before the clock starts, so that the generator costs the same for every target.

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
    #[arg(long, default_value = "/v1/chat/completions")]
    path: String,
    #[arg(long)]
    body: String,
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
            let (id, bytes) = secp256k1::SECP256K1
                .sign_ecdsa_recoverable(digest, &key)
                .serialize_compact();
            let id = u8::try_from(i32::from(id))?;
            Some((
                "x-signature",
                alloy_primitives::hex::encode([&bytes[..], &[id]].concat()),
            ))
        }
        Target::Relayer => {
            let signer = Signer::from_hex(args.key.as_deref().context("--key or BENCH_KEY is needed")?)?;
            let domain = Domain::evm(args.chain_id, args.contract.context("--contract is needed")?);
            let account = args.accounts[index % args.accounts.len()];
            let mut nonce = [0u8; 32];
            nonce[..8].copy_from_slice(&(index as u64).to_be_bytes());
            nonce[8..24].copy_from_slice(
                &std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)?
                    .as_nanos()
                    .to_be_bytes(),
            );
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)?
                .as_secs();
            let authorization = JobAuthorization {
                account_id: AccountId::try_from(account)?,
                request_hash: request_hash("POST", &args.path, args.body.as_bytes()),
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

async fn connection(address: String, requests: Vec<Request<Full<Bytes>>>) -> anyhow::Result<(Histogram<u64>, usize)> {
    let stream = tokio::net::TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    let mut latencies = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    let mut failed = 0;
    for request in requests {
        let start = Instant::now();
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let ok = answer.status().is_success();
        let body = answer.into_body().collect().await?.to_bytes();
        latencies.record(u64::try_from(start.elapsed().as_micros())?.max(1))?;
        if !ok {
            if failed == 0 {
                eprintln!("first refusal: {}", String::from_utf8_lossy(&body));
            }
            failed += 1;
        }
    }
    Ok((latencies, failed))
}

async fn run(args: &Args, first: usize, count: usize) -> anyhow::Result<(Histogram<u64>, usize, Duration)> {
    let mut shares: Vec<Vec<Request<Full<Bytes>>>> = (0..args.connections).map(|_| Vec::new()).collect();
    for index in 0..count {
        let mut request = Request::post(&args.path)
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
        .map(|share| tokio::spawn(connection(args.address.clone(), share)))
        .collect();
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    let mut failed = 0;
    for task in tasks {
        let (one, refused) = task.await??;
        latencies.add(one)?;
        failed += refused;
    }
    Ok((latencies, failed, start.elapsed()))
}

#[tokio::main(worker_threads = 1)]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if matches!(args.target, Target::Relayer) && args.accounts.is_empty() {
        bail!("--accounts is needed: the account ids to charge, comma separated");
    }
    run(&args, 0, args.warmup).await?;
    let (latencies, failed, elapsed) = run(&args, args.warmup, args.requests).await?;
    println!(
        "{}",
        serde_json::json!({
            "connections": args.connections,
            "requests": args.requests,
            "failed": failed,
            "requestsPerSecond": (args.requests as f64 / elapsed.as_secs_f64()).round(),
            "p50Micros": latencies.value_at_quantile(0.5),
            "p99Micros": latencies.value_at_quantile(0.99),
        })
    );
    Ok(())
}
