//! Following events through providers that limit, omit and err.

use compute_futures_chain::evm::EvmReader;
use compute_futures_chain::{Action, ChainError, ChainEvent, ChainReader, ChainWriter};
use compute_futures_protocol::Usdc;
use futures::TryStreamExt;

use super::proxy::{Mood, Proxy, blocks_asked};
use super::world::{World, terms, usdc};

/// Twenty deposits in blocks of their own, with gaps between them; answers the newest block.
async fn busy_world() -> (World, u64) {
    let world = World::new().await;
    world.owner.execute(&Action::Approve { amount: usdc(100_000_000) }).await.unwrap();
    for turn in 0..20 {
        world.open(1_000_000, Usdc::ZERO).await;
        world.chain.mine(turn % 4).await.unwrap();
    }
    let newest = world.reader.heads().await.unwrap().latest.number;
    (world, newest)
}

async fn events_through(world: &World, proxy: &Proxy, to: u64) -> Result<Vec<ChainEvent>, ChainError> {
    let mut config = world.chain.config();
    config.rpc_urls = vec![proxy.url.clone()];
    EvmReader::connect(config).await?.events(0, to).await
}

#[tokio::test]
async fn any_kind_of_limit_gives_the_same_events() {
    let (world, newest) = busy_world().await;
    let expected = world.reader.events(0, newest).await.unwrap();
    assert_eq!(expected.len(), 1 + 20 * 2);
    let limits: [fn() -> Mood; 4] = [
        || Mood::Refuse(-32602, "eth_getLogs is limited to a 7 block range"),
        || Mood::Refuse(-32005, "query returned more than 10 results"),
        || Mood::Refuse(-32000, "Log response size exceeded"),
        || Mood::Status(413),
    ];
    for limit in limits {
        let proxy = Proxy::start(&world.chain.rpc_url, move |method, params| match method {
            "eth_getLogs" if blocks_asked(params) > 7 => limit(),
            _ => Mood::Forward,
        })
        .await;
        assert_eq!(events_through(&world, &proxy, newest).await.unwrap(), expected);
        let least = usize::try_from(newest.div_ceil(7)).unwrap();
        let asked = proxy.seen("eth_getLogs");
        assert!((least..=least * 2).contains(&asked), "{asked} requests, {least} would do");
    }
}

#[tokio::test]
async fn a_provider_that_is_too_slow_is_asked_for_less() {
    let (world, newest) = busy_world().await;
    let proxy = Proxy::start(&world.chain.rpc_url, |method, params| match method {
        "eth_getLogs" if blocks_asked(params) > 20 => Mood::Hang,
        _ => Mood::Forward,
    })
    .await;
    let mut config = world.chain.config();
    config.rpc_urls = vec![proxy.url.clone()];
    config.request_timeout = std::time::Duration::from_millis(250);
    let reader = EvmReader::connect(config).await.unwrap();
    // Whoever follows asks again; the size is remembered from one time to the next.
    let mut attempts = 0;
    let events = loop {
        attempts += 1;
        match reader.events(0, newest).await {
            Ok(events) => break events,
            Err(error) => assert!(attempts < 8 && matches!(error, ChainError::Unavailable(_)), "{error}"),
        }
    };
    assert_eq!(events, world.reader.events(0, newest).await.unwrap());
    assert!(attempts > 1, "it was too slow at first");
}

#[tokio::test]
async fn a_block_that_is_refused_alone_is_an_error() {
    let (world, newest) = busy_world().await;
    let proxy = Proxy::start(&world.chain.rpc_url, |method, _| match method {
        "eth_getLogs" => Mood::Refuse(-32005, "query returned more than 0 results"),
        _ => Mood::Forward,
    })
    .await;
    let error = events_through(&world, &proxy, newest).await.unwrap_err();
    assert!(matches!(&error, ChainError::Unavailable(why) if why.contains("single block 0")), "{error}");
}

#[tokio::test]
async fn times_that_the_node_leaves_out_are_looked_up() {
    let (world, newest) = busy_world().await;
    let proxy = Proxy::start(&world.chain.rpc_url, |method, _| match method {
        "eth_getLogs" => Mood::Change(|logs| {
            for log in logs.as_array_mut().unwrap() {
                log.as_object_mut().unwrap().remove("blockTimestamp");
            }
        }),
        _ => Mood::Forward,
    })
    .await;
    assert_eq!(events_through(&world, &proxy, newest).await.unwrap(), world.reader.events(0, newest).await.unwrap());
    assert_eq!(proxy.seen("eth_getBlockByHash"), 21, "once a block");
}

#[tokio::test]
async fn logs_that_contradict_the_question_are_refused() {
    let (world, newest) = busy_world().await;
    type Lie = fn(&mut serde_json::Value);
    let lies: [(Lie, &str); 6] = [
        (|logs| logs[3]["removed"] = true.into(), "removed"),
        (|logs| logs[3]["address"] = "0x00000000000000000000000000000000000000ff".into(), "instead of"),
        (|logs| logs[3]["blockNumber"] = "0xffff".into(), "of block 65535"),
        (|logs| logs[3] = logs[2].clone(), "two logs with number"),
        (|logs| logs[3]["data"] = "0x00".into(), "cannot be decoded"),
        (|logs| logs[3]["topics"][1] = format!("0x{}", "ff".repeat(32)).into(), "cannot be decoded"),
    ];
    for (lie, complaint) in lies {
        let proxy = Proxy::start(&world.chain.rpc_url, move |method, _| match method {
            "eth_getLogs" => Mood::Change(lie),
            _ => Mood::Forward,
        })
        .await;
        let error = events_through(&world, &proxy, newest).await.unwrap_err();
        assert!(matches!(&error, ChainError::Inconsistent(why) if why.contains(complaint)), "{complaint}: {error}");
    }
}

#[tokio::test]
async fn events_of_later_contracts_are_skipped() {
    let (world, newest) = busy_world().await;
    let proxy = Proxy::start(&world.chain.rpc_url, |method, _| match method {
        "eth_getLogs" => Mood::Change(|logs| {
            if let [first, second, ..] = logs.as_array_mut().unwrap().as_mut_slice() {
                first["topics"] = serde_json::json!([format!("0x{}", "ab".repeat(32))]);
                second["topics"] = serde_json::json!([]);
            }
        }),
        _ => Mood::Forward,
    })
    .await;
    let expected = world.reader.events(0, newest).await.unwrap();
    assert!(newest < 64, "one range");
    assert_eq!(events_through(&world, &proxy, newest).await.unwrap(), expected[2..]);
}

#[tokio::test]
async fn a_stream_gives_every_range_in_order() {
    let (world, newest) = busy_world().await;
    let proxy = Proxy::start(&world.chain.rpc_url, |method, params| match method {
        "eth_getLogs" if blocks_asked(params) > 9 => Mood::Refuse(-32600, "block range is too large"),
        _ => Mood::Forward,
    })
    .await;
    let mut config = world.chain.config();
    config.rpc_urls = vec![proxy.url.clone()];
    let reader = EvmReader::connect(config).await.unwrap();
    let ranges: Vec<_> = reader.events_stream(0, newest, 4).try_collect().await.unwrap();
    let mut next = 0;
    for range in &ranges {
        assert_eq!(range.from, next);
        assert!(range.events.iter().all(|event| (range.from..=range.to).contains(&event.meta.block_number)));
        next = range.to + 1;
    }
    assert_eq!(next, newest + 1);
    let streamed: Vec<_> = ranges.into_iter().flat_map(|range| range.events).collect();
    assert_eq!(streamed, world.reader.events(0, newest).await.unwrap());
    assert!(reader.events_stream(5, 4, 4).try_collect::<Vec<_>>().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_reorganised_event_is_gone_and_its_block_has_another_hash() {
    let world = World::new().await;
    let account = world.open(5_000_000, Usdc::ZERO).await;
    let newest = world.reader.heads().await.unwrap().latest.number;
    let before = world.reader.events(newest, newest).await.unwrap();
    assert_eq!(before.len(), 2);
    world.chain.reorg(1).await.unwrap();
    assert_eq!(world.reader.events(newest, newest).await.unwrap(), []);
    assert_ne!(world.reader.block(newest).await.unwrap().unwrap().hash, before[0].meta.block_hash);
    assert_eq!(world.reader.account(account).await.unwrap(), None);
    // The chain goes on, and so does the operator.
    world.operator.execute(&Action::SetTerms { terms: terms() }).await.unwrap();
}
