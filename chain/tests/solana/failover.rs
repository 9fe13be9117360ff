//! Nodes that fail, lag, prune or disagree, and what is made of their answers.

use std::time::{Duration, Instant};

use compute_futures_chain::{ChainError, ChainReader, EventKind};
use compute_futures_protocol::{AccountId, B256};
use url::Url;

use super::cluster::{Block, Node, Sent, hash, reader};
use super::proxy::{Mood, Proxy};
use super::world::id;

fn block(hash: u8, parent: u8, sent: Vec<Sent>) -> Block {
    Block { hash, parent, sent }
}

fn sets(id: u8, accounts: &[AccountId]) -> Sent {
    Sent { id, failed: false, accounts: accounts.iter().map(|account| account.get()).collect() }
}

/// Slots 10 to 14 without 12.
fn chain() -> Vec<(u64, Block)> {
    vec![
        (10, block(10, 9, vec![sets(1, &[id(1, 1)])])),
        (11, block(11, 10, vec![])),
        (
            13,
            block(13, 11, vec![sets(3, &[id(1, 3), id(1, 4)]), sets(2, &[id(1, 2)]), failed(4), sets(5, &[id(1, 5)])]),
        ),
        (14, block(14, 13, vec![sets(6, &[id(1, 6)])])),
    ]
}

fn failed(id: u8) -> Sent {
    Sent { failed: true, ..sets(id, &[super::world::id(1, 9)]) }
}

fn b256(byte: u8) -> B256 {
    B256::new(hash(byte).0)
}

fn dead() -> Url {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", free.local_addr().unwrap()).parse().unwrap()
}

#[tokio::test]
async fn blocks_hang_together_over_skipped_slots() {
    let node = Node::start(&chain(), 14, 11).await;
    let reader = reader(&[&node.url]).await;
    for slot in 11..=14 {
        let (this, below) =
            (reader.block(slot).await.unwrap().unwrap(), reader.block(slot - 1).await.unwrap().unwrap());
        assert_eq!((this.number, this.parent_hash), (slot, below.hash), "slot {slot}");
    }
    assert_eq!(reader.block(12).await.unwrap().unwrap().hash, b256(11), "a skipped slot stands for the one before it");
    assert_eq!(reader.block(15).await.unwrap(), None);
    let heads = reader.heads().await.unwrap();
    assert_eq!((heads.latest.number, heads.safe, heads.finalized), (14, 14, 11));
    // Slot 13 was on a fork that died: what is built on it now shows that.
    let before = reader.block(13).await.unwrap().unwrap();
    node.change(|ledger| {
        ledger.blocks.insert(13, block(23, 11, vec![]));
        ledger.blocks.insert(14, block(24, 23, vec![]));
    });
    assert_ne!(reader.block(14).await.unwrap().unwrap().parent_hash, before.hash);
}

#[tokio::test]
async fn events_stand_in_the_order_they_ran_in() {
    let node = Node::start(&chain(), 14, 11).await;
    let reader = reader(&[&node.url]).await;
    let events = reader.events(0, 14).await.unwrap();
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.meta.block_number, event.meta.log_index, event.kind.account().unwrap().sequence()))
        .collect();
    // In slot 13: two instructions of one transaction, then two more transactions; the one that failed says nothing.
    assert_eq!(seen, [(10, 0, 1), (13, 0, 3), (13, 1, 4), (13, 2, 2), (13, 3, 5), (14, 0, 6)]);
    assert!(events.iter().all(|event| matches!(event.kind, EventKind::DelegateSet { delegate: None, .. })));
    assert!(events.iter().filter(|event| event.meta.block_number == 13).all(|event| event.meta.block_hash == b256(13)));
    assert_eq!(reader.events(11, 13).await.unwrap().len(), 4);
    assert_eq!(reader.events(11, 12).await.unwrap(), []);
    // Nothing is read that may still go away, and nothing is waited for longer than for the votes.
    let asked = node.ledger.lock().unwrap().asked.clone();
    let read = ["getBlock", "getBlocks", "getSignaturesForAddress", "getTransaction", "getAccountInfo"];
    assert!(asked.iter().filter(|(method, _)| read.contains(&method.as_str())).all(|(_, level)| level == "confirmed"));
}

#[tokio::test]
async fn a_transaction_that_moved_is_asked_for_again() {
    let node = Node::start(&chain(), 14, 11).await;
    // Its signature is still said to be in slot 10, the block says otherwise.
    let moody = Proxy::start(&node.url, |method, _| match method {
        "getTransaction" => Mood::Change(|found| found["slot"] = 11.into()),
        _ => Mood::Forward,
    })
    .await;
    let reader = reader(&[&moody.url]).await;
    let error = reader.events(10, 10).await.unwrap_err();
    assert!(matches!(&error, ChainError::Unavailable(why) if why.contains("moved")), "{error}");
}

#[tokio::test]
async fn a_node_that_keeps_no_such_block_is_passed_over() {
    let pruned = Node::start(&chain(), 14, 11).await;
    pruned.change(|ledger| ledger.first = 12);
    let archive = Node::start(&chain(), 14, 11).await;
    let both = reader(&[&pruned.url, &archive.url]).await;
    assert_eq!(both.events(0, 14).await.unwrap().len(), 6);
    assert_eq!(both.block(10).await.unwrap().unwrap().hash, b256(10));
    assert!(archive.asked("getBlock") >= 1);
    // Alone it says what it lacks: an empty answer would be a gap.
    let alone = reader(&[&pruned.url]).await;
    for error in [alone.events(0, 14).await.unwrap_err(), alone.block(10).await.unwrap_err()] {
        assert!(matches!(&error, ChainError::Unavailable(why) if why.contains("cleaned up")), "{error}");
    }
}

#[tokio::test]
async fn a_node_behind_the_others_gives_no_heads_and_no_events() {
    let behind = Node::start(&chain(), 10, 10).await;
    let good = Node::start(&chain(), 14, 11).await;
    let both = reader(&[&behind.url, &good.url]).await;
    // Nobody told of a higher slot yet; the range itself does.
    assert_eq!(both.events(0, 14).await.unwrap().len(), 6);
    assert_eq!(behind.asked("getSignaturesForAddress"), 0);
    assert_eq!(both.heads().await.unwrap().latest.number, 14);
    let alone = reader(&[&behind.url]).await;
    assert!(alone.events(0, 14).await.is_err(), "with nobody there the range is not empty but unknown");
}

/// One URL, several nodes: the next request may come to one that has not got as far as the one before.
#[tokio::test]
async fn a_node_that_goes_back_answers_no_range_that_it_has_not_got() {
    let balancer = Node::start(&chain(), 14, 11).await;
    let alone = reader(&[&balancer.url]).await;
    assert_eq!(alone.heads().await.unwrap().latest.number, 14);
    assert_eq!(alone.events(0, 14).await.unwrap().len(), 6);
    balancer.change(|ledger| ledger.confirmed = 11);
    let error = alone.events(12, 14).await.unwrap_err();
    assert!(matches!(&error, ChainError::Unavailable(why) if why.contains("ontext slot")), "{error}");
    // What it has got it answers, and once it is there again, all.
    assert_eq!(alone.events(0, 11).await.unwrap().len(), 1);
    balancer.change(|ledger| ledger.confirmed = 14);
    assert_eq!(alone.events(12, 14).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_dead_or_hanging_node_is_passed_over() {
    let good = Node::start(&chain(), 14, 11).await;
    let over_dead = reader(&[&dead(), &good.url]).await;
    assert_eq!(over_dead.events(0, 14).await.unwrap().len(), 6);
    let hanging = Proxy::start(&good.url, |_, _| Mood::Hang).await;
    let start = Instant::now();
    let over_hanging = reader(&[&hanging.url, &good.url]).await;
    for _ in 0..3 {
        over_hanging.heads().await.unwrap();
    }
    assert_eq!(hanging.seen(""), 1, "it rests after the first timeout");
    assert!(start.elapsed() < Duration::from_millis(1_400), "{:?}", start.elapsed());
}

#[tokio::test]
async fn limits_garbage_and_inner_troubles_are_failures() {
    let good = Node::start(&chain(), 14, 11).await;
    let moods: [fn() -> Mood; 5] = [
        || Mood::Status(429),
        || Mood::Status(502),
        || Mood::Garbage,
        || Mood::Refuse(-32005, "Node is behind by 150 slots"),
        || Mood::Refuse(-32603, "upstream timed out"),
    ];
    for mood in moods {
        let moody = Proxy::start(&good.url, move |_, _| mood()).await;
        let reader = reader(&[&moody.url, &good.url]).await;
        assert!(moody.seen("") >= 1);
        assert_eq!(reader.events(0, 14).await.unwrap().len(), 6);
    }
}

#[tokio::test]
async fn with_nobody_left_it_says_so_and_recovers() {
    let node = Node::start(&chain(), 14, 11).await;
    let down = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = std::sync::Arc::clone(&down);
    let moody = Proxy::start(&node.url, move |_, _| {
        if switch.load(std::sync::atomic::Ordering::SeqCst) { Mood::Status(503) } else { Mood::Forward }
    })
    .await;
    let reader = reader(&[&moody.url]).await;
    down.store(true, std::sync::atomic::Ordering::SeqCst);
    let error = reader.heads().await.unwrap_err();
    assert!(matches!(error, ChainError::Unavailable(_)), "{error}");
    down.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(reader.heads().await.unwrap().latest.number, 14);
}
