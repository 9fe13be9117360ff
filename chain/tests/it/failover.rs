//! Endpoints that fail, and what counts as failing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use compute_futures_chain::evm::local::LocalChain;
use compute_futures_chain::evm::{EvmReader, EvmWriter};
use compute_futures_chain::{Action, ChainError, ChainReader, ChainWriter};
use compute_futures_protocol::Usdc;
use url::Url;

use super::proxy::{Mood, Proxy};
use super::world::{id, stranger};

async fn reader_over(chain: &LocalChain, urls: &[&Url]) -> Arc<EvmReader> {
    let mut config = chain.config();
    config.rpc_urls = urls.iter().map(|url| (*url).clone()).collect();
    config.request_timeout = Duration::from_millis(500);
    EvmReader::connect(config).await.unwrap()
}

#[tokio::test]
async fn a_dead_first_endpoint_is_passed_over() {
    let chain = LocalChain::start().await.unwrap();
    let dead: Url = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", free.local_addr().unwrap()).parse().unwrap()
    };
    let reader = reader_over(&chain, &[&dead, &chain.rpc_url]).await;
    assert_eq!(reader.heads().await.unwrap().latest.number, chain.deployment_block);
}

#[tokio::test]
async fn a_hanging_first_endpoint_costs_one_timeout_only() {
    let chain = LocalChain::start().await.unwrap();
    let hanging = Proxy::start(&chain.rpc_url, |_, _| Mood::Hang).await;
    let start = Instant::now();
    let reader = reader_over(&chain, &[&hanging.url, &chain.rpc_url]).await;
    for _ in 0..5 {
        reader.heads().await.unwrap();
    }
    assert_eq!(hanging.seen(""), 1);
    assert!(start.elapsed() < Duration::from_millis(1_400), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_failing_endpoint_is_asked_again_after_its_rest() {
    let chain = LocalChain::start().await.unwrap();
    let failing = Proxy::start(&chain.rpc_url, |_, _| Mood::Status(503)).await;
    let reader = reader_over(&chain, &[&failing.url, &chain.rpc_url]).await;
    assert_eq!(failing.seen(""), 1);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    reader.heads().await.unwrap();
    assert_eq!(failing.seen(""), 2);
}

#[tokio::test]
async fn limits_garbage_and_inner_troubles_are_failures() {
    let chain = LocalChain::start().await.unwrap();
    let moods: [fn() -> Mood; 5] = [
        || Mood::Status(429),
        || Mood::Status(502),
        || Mood::Garbage,
        || Mood::Refuse(-32005, "daily request count exceeded, request rate limited"),
        || Mood::Refuse(-32603, "upstream timed out"),
    ];
    for mood in moods {
        let moody = Proxy::start(&chain.rpc_url, move |_, _| mood()).await;
        let reader = reader_over(&chain, &[&moody.url, &chain.rpc_url]).await;
        assert!(moody.seen("") >= 1);
        reader.heads().await.unwrap();
    }
}

#[tokio::test]
async fn a_verdict_is_not_asked_for_twice() {
    let chain = LocalChain::start().await.unwrap();
    let first = Proxy::start(&chain.rpc_url, |_, _| Mood::Forward).await;
    let second = Proxy::start(&chain.rpc_url, |_, _| Mood::Forward).await;
    let reader = reader_over(&chain, &[&first.url, &second.url]).await;
    let writer = EvmWriter::new(reader, chain.signer(0).unwrap()).unwrap();
    let error = writer.estimate(&Action::CloseAccount { account: id(1, 1) }).await.unwrap_err();
    assert!(
        matches!(&error, ChainError::Reverted { name, detail } if name == "ComputeFutures_UnknownAccount" && detail == "accountId: 4294967297"),
        "{error}"
    );
    assert_eq!(second.seen(""), 0);
}

#[tokio::test]
async fn an_endpoint_behind_the_others_gives_no_heads_and_no_logs() {
    let chain = LocalChain::start().await.unwrap();
    chain.mine(100).await.unwrap();
    chain.mint(stranger(), Usdc::from_micros(1)).await.unwrap();
    // Stands at block 2 for ever, and finds no logs beyond it.
    let behind = Proxy::start(&chain.rpc_url, |method, params| match method {
        "eth_blockNumber" => Mood::Change(|result| *result = "0x2".into()),
        "eth_getBlockByNumber" if params[0] == "latest" => Mood::Change(|block| block["number"] = "0x2".into()),
        "eth_getBlockByNumber" => Mood::Change(|block| *block = serde_json::Value::Null),
        "eth_getLogs" => Mood::Change(|logs| *logs = serde_json::json!([])),
        _ => Mood::Forward,
    })
    .await;
    let reader = reader_over(&chain, &[&behind.url, &chain.rpc_url]).await;
    let writer = EvmWriter::new(reader.clone(), chain.signer(0).unwrap()).unwrap();
    let terms = super::world::terms();
    let (_, outcome) = writer.execute(&Action::SetTerms { terms }).await.unwrap();
    // Nobody told us of a higher block yet; the range itself does.
    assert_eq!(reader.events(0, outcome.block_number).await.unwrap().len(), 1);
    assert_eq!(behind.seen("eth_getLogs"), 0);
    let heads = reader.heads().await.unwrap();
    assert_eq!(heads.latest.number, outcome.block_number);
    assert_eq!(reader.block(outcome.block_number).await.unwrap().unwrap().hash, outcome.block_hash);
}

#[tokio::test]
async fn without_the_tags_blocks_are_counted() {
    let chain = LocalChain::start().await.unwrap();
    chain.mine(1_000).await.unwrap();
    let old = Proxy::start(&chain.rpc_url, |method, params| match (method, params[0].as_str()) {
        ("eth_getBlockByNumber", Some("safe" | "finalized")) => Mood::Refuse(-32602, "invalid block tag"),
        _ => Mood::Forward,
    })
    .await;
    let reader = reader_over(&chain, &[&old.url]).await;
    let heads = reader.heads().await.unwrap();
    assert_eq!((heads.latest.number - heads.safe, heads.latest.number - heads.finalized), (300, 900));
    let asked = old.seen("eth_getBlockByNumber");
    chain.mine(1).await.unwrap();
    reader.heads().await.unwrap();
    reader.heads().await.unwrap();
    assert_eq!(old.seen("eth_getBlockByNumber"), asked + 2, "the tags are not asked for again");
}

#[tokio::test]
async fn with_nobody_left_it_says_so_and_recovers() {
    let chain = LocalChain::start().await.unwrap();
    let reader = reader_over(&chain, &[&chain.rpc_url]).await;
    chain.pause().unwrap();
    let error = reader.heads().await.unwrap_err();
    assert!(matches!(&error, ChainError::Unavailable(why) if why.contains("no answer in time")), "{error}");
    chain.resume().unwrap();
    reader.heads().await.unwrap();
}

#[tokio::test]
async fn wrong_settings_are_named() {
    let chain = LocalChain::start().await.unwrap();
    let connect = |change: fn(&mut compute_futures_chain::evm::EvmConfig)| {
        let mut config = chain.config();
        change(&mut config);
        async move {
            match EvmReader::connect(config).await {
                Err(ChainError::Config(message)) => message,
                other => panic!("{other:?}"),
            }
        }
    };
    let message = connect(|config| config.chain = compute_futures_protocol::Chain::BaseSepolia).await;
    assert!(message.contains("serves chain 8453"), "{message}");
    let message = connect(|config| config.contract = stranger().evm().unwrap()).await;
    assert!(message.contains("no contract at"), "{message}");
    let message = connect(|config| config.contract = config.token).await;
    assert!(message.contains("is not a ComputeFutures contract"), "{message}");
    let message = connect(|config| config.token = stranger().evm().unwrap()).await;
    assert!(message.contains("holds the token 0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"), "{message}");
    let message = connect(|config| config.rpc_urls.clear()).await;
    assert!(message.contains("at least one"), "{message}");
}
