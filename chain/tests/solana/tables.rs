//! Batches that need lookup tables.

use compute_futures_chain::solana::local::PROGRAM;
use compute_futures_chain::solana::{FeeLimits, SolanaWriter};
use compute_futures_chain::{Action, ChainReader, ChainWriter, DebitRow, EventKind, Progress};
use compute_futures_protocol::solana::find_program_address;
use compute_futures_protocol::{B256, Usdc};
use serde_json::Value;

use super::proxy::{Mood, Proxy};
use super::world::{World, id, spammed, usdc};

fn batch(number: u64, accounts: std::ops::RangeInclusive<u32>) -> Action {
    let rows =
        accounts.map(|sequence| DebitRow { account: id(1, sequence), list_amount: usdc(1_000), discount_bps: 0 });
    Action::PostDebits {
        batch_number: number,
        receipts_root: B256::repeat_byte(7),
        receipt_count: 1,
        rows: rows.collect(),
    }
}

#[tokio::test]
async fn a_large_batch_makes_its_table_once() {
    let world = World::new().await;
    let account = world.open(5_000_000, Usdc::MAX).await;
    let operator = world.operator.sender();
    let has = || async { world.reader.lamports(operator).await.unwrap() };
    assert_eq!(world.operator.max_rows(), 58);

    let before = has().await;
    let events = world.events_of(&world.operator, &batch(1, 1..=45)).await;
    assert!(events.contains(&EventKind::Debited {
        account,
        batch_number: 1,
        list_amount: usdc(1_000),
        discount_bps: 0,
        charged: usdc(1_000),
        total_charged: usdc(1_000),
        remainder: 0,
    }));
    assert_eq!(events.len(), 46);
    // Rent of one table with the rows' accounts, the operator's and the event authority.
    let rent = (128 + 56 + 47 * 32) * 6_960;
    let cost = before - has().await;
    assert!((rent..rent + 100_000).contains(&cost), "{cost} lamports, {rent} of them rent");

    // The same accounts again: nothing but the fee, also after a restart.
    let before = has().await;
    world.operator.execute(&batch(2, 1..=45)).await.unwrap();
    let restarted = SolanaWriter::new(world.reader.clone(), world.chain.signer(0)).unwrap();
    restarted.execute(&batch(3, 1..=44)).await.unwrap();
    let cost = before - has().await;
    assert!(cost < 30_000, "{cost} lamports");

    // Others are added to it; as many rows as there may be.
    let before = has().await;
    assert_eq!(world.events_of(&restarted, &batch(4, 3..=60)).await.len(), 59);
    let cost = before - has().await;
    let rent = 15 * 32 * 6_960;
    assert!((rent..rent + 100_000).contains(&cost), "{cost} lamports, {rent} of them rent");
    let error = restarted.estimate(&batch(5, 1..=59)).await.unwrap_err();
    assert!(error.to_string().contains("at most are taken; do it in parts"), "{error}");
    // The first writer knows only what it added itself, and asks the chain before it adds more.
    let before = has().await;
    world.operator.execute(&batch(5, 3..=60)).await.unwrap();
    assert!(before - has().await < 30_000);
}

#[tokio::test]
async fn a_table_that_a_crash_left_behind_is_used() {
    let world = World::new().await;
    let operator = world.operator.sender();
    // A restart between making the table and posting the batch: another batch is posted, by another process.
    world.operator.estimate(&batch(1, 1..=30)).await.unwrap();
    let restarted = SolanaWriter::new(world.reader.clone(), world.chain.signer(0)).unwrap();
    let before = world.reader.lamports(operator).await.unwrap();
    restarted.execute(&batch(1, 1..=30)).await.unwrap();
    assert!(before - world.reader.lamports(operator).await.unwrap() < 30_000);
}

/// Anybody may name the address by which tables are found again.
#[tokio::test]
async fn who_names_our_tables_keeps_no_batch_waiting() {
    let world = World::new().await;
    let operator = world.operator.sender().solana().unwrap();
    let proxy = Proxy::start(&world.chain.rpc_url, |_, _| Mood::Forward).await;
    let reader = world.reader_over(&proxy.url).await;
    let writer = SolanaWriter::new(reader, world.chain.signer(0)).unwrap();
    writer.execute(&batch(1, 1..=30)).await.unwrap();
    let marker = find_program_address(&[b"lookup-tables", &operator.0], &PROGRAM).0;
    world.owner.execute(&Action::Transfer { to: marker.into(), amount: usdc(1) }).await.unwrap();
    // What is known is read again, not looked for again.
    let looked = proxy.seen("getSignaturesForAddress");
    writer.execute(&batch(2, 2..=31)).await.unwrap();
    assert_eq!(proxy.seen("getSignaturesForAddress"), looked);

    // After a restart its history has no end: tables are made anew, after a look at one page each time.
    let rule = |method: &str, _: &Value| match method {
        "getSignaturesForAddress" => Mood::Change(spammed),
        _ => Mood::Forward,
    };
    let endless = Proxy::start(&world.chain.rpc_url, rule).await;
    let reader = world.reader_over(&endless.url).await;
    let restarted = SolanaWriter::new(reader, world.chain.signer(0)).unwrap();
    let (large, patience) = (batch(3, 1..=30), std::time::Duration::from_secs(20));
    tokio::time::timeout(patience, restarted.execute(&large)).await.unwrap().unwrap();
    assert_eq!(endless.seen("getSignaturesForAddress"), 2);
}

#[tokio::test]
async fn without_tables_twenty_rows_are_the_most() {
    let world = World::new().await;
    let plain = SolanaWriter::new(world.reader.clone(), world.chain.signer(0)).unwrap().without_tables();
    assert_eq!(plain.max_rows(), 20);
    let error = plain.estimate(&batch(1, 1..=21)).await.unwrap_err();
    assert!(error.to_string().contains("1232 at most"), "{error}");
    assert_eq!(world.events_of(&plain, &batch(1, 1..=20)).await.len(), 21);
}

#[tokio::test]
async fn the_fee_stays_within_its_limits() {
    let world = World::new().await;
    let limits = FeeLimits { micro_lamports: 2_000_000, lamports: 7 };
    let writer = SolanaWriter::new(world.reader.clone(), world.chain.signer(0)).unwrap().with_limits(limits);
    let action = batch(1, 1..=1);
    let units = writer.estimate(&action).await.unwrap();
    let fees = compute_futures_chain::Fees { max_fee: u128::MAX, max_priority_fee: u128::MAX };
    let lifetime = writer.lifetime(Progress::BlockHeight(0)).await.unwrap();
    let transaction = writer.sign(&action, lifetime, units, fees).unwrap();
    writer.broadcast(&transaction).await.unwrap();
    let outcome = loop {
        match writer.outcome(transaction.id).await.unwrap() {
            Some(outcome) => break outcome,
            None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    assert!(outcome.succeeded && (5_000..=5_007).contains(&outcome.effective_fee), "{outcome:?}");
    assert!(writer.fees_for(&action).await.unwrap().max_fee <= 2_000_000);
}

/// Every account is another one, so that each table fills: four batches a table. The seventeenth batch needs a fifth table, which
/// the first has to make room for; the twenty-first a sixth, and by then the first can be closed.
#[tokio::test]
async fn the_oldest_table_makes_room_and_its_rent_comes_back() {
    let world = World::on_slots_of(20).await;
    let operator = world.operator.sender();
    let has = || async { world.reader.lamports(operator).await.unwrap() };
    let batch = |number: u64| {
        let first = u32::try_from((number - 1) * 58 + 1).unwrap();
        batch(number, first..=first + 57)
    };
    for number in 1..=17 {
        world.operator.execute(&batch(number)).await.unwrap();
    }
    // Out of use it is not named any more: the first accounts stand in no table, and go into the newest.
    let again = self::batch(18, 1..=58);
    let before = has().await;
    world.operator.execute(&again).await.unwrap();
    assert_eq!((before - has().await) / 6_960 / 32, 58, "as many addresses were added");
    for number in 19..=20 {
        world.operator.execute(&batch(number)).await.unwrap();
    }
    let slot = || async { world.reader.heads().await.unwrap().latest.number };
    let until = slot().await + 520;
    while slot().await < until {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let before = has().await;
    // After a restart: what is to be closed is found on chain.
    let restarted = SolanaWriter::new(world.reader.clone(), world.chain.signer(0)).unwrap();
    restarted.execute(&batch(21)).await.unwrap();
    let after = has().await;
    // The first table held the operator, the event authority and four batches; the new one holds one.
    let (closed, made) = ((128 + 56 + (2 + 4 * 58) * 32) * 6_960, (128 + 56 + 58 * 32) * 6_960);
    let expected = before + closed - made;
    assert!(after <= expected && expected - after < 100_000, "{after} lamports, {expected} less fees were expected");
}
