//! What the verbs cost, in compute units: `programs/snapshots/compute_futures.json`. A figure above its snapshot fails, and so does one above its bound.
//! `UPDATE_SNAPSHOTS=1` writes new ones.

use std::collections::BTreeMap;

use compute_program_testing::units::{TRANSACTION_BYTES, check, legacy, with_table};

use crate::support::accounts::key;
use crate::support::*;

const DEPOSIT_BOUND: u64 = 25_000;
const REFUND_BOUND: u64 = 15_000;
const ROW_BOUND: u64 = 2_500;
/// With as many accounts of 100 USDC.
fn with_accounts(count: u32) -> World {
    let mut world = World::new();
    let owner = world.owner.insecure_clone();
    for _ in 0..count {
        world.open(1, &owner, 100 * USDC, UNLIMITED);
    }
    world
}

fn batch(world: &World, count: u32) -> Instruction {
    let operator = key(&world.operator);
    let rows: Vec<Row> =
        (1..=count).map(|sequence| Row { sequence, list_amount: 1_234_567, discount_bps: 1000 }).collect();
    post_debits(operator, 1, world.operator(1).last_batch + 1, [7; 32], &rows)
}

/// The operator pays its own fees, as the relayer's key does. Returns bytes and units.
fn post_legacy(world: &mut World, count: u32) -> (usize, u64) {
    let (operator, post) = (world.operator.insecure_clone(), batch(world, count));
    legacy(world, &operator, post)
}

fn post_with_table(world: &mut World, count: u32) -> (usize, u64) {
    let (operator, post) = (world.operator.insecure_clone(), batch(world, count));
    let addresses: Vec<_> = (1..=count).map(|sequence| account_address(1, sequence)).collect();
    with_table(world, &operator, post, &addresses)
}

fn verbs(figures: &mut BTreeMap<&'static str, u64>) {
    let mut world = World::new();
    let (operator, owner, relayer) =
        (world.operator.insecure_clone(), world.owner.insecure_clone(), key(&world.relayer));
    let terms_again = set_terms(relayer, key(&operator), 1, terms());
    figures.insert("set_terms", world.ok(&[terms_again], &[&operator]).compute_units_consumed);
    let deposit = Deposit::by(&world, 1, &owner).instruction();
    figures.insert("deposit", world.ok(&[deposit], &[&owner]).compute_units_consumed);
    let more = top_up(key(&owner), Some(key(&owner)), 1, USDC, UNLIMITED);
    figures.insert("top_up", world.ok(&[more], &[&owner]).compute_units_consumed);
    let delegate = set_delegate(key(&owner), 1, Some(relayer));
    figures.insert("set_delegate", world.ok(&[delegate], &[&owner]).compute_units_consumed);
    world.open(1, &owner, 100 * USDC, 1);
    let raise = raise_ceiling(key(&owner), 2, 2);
    figures.insert("raise_ceiling", world.ok(&[raise], &[&owner]).compute_units_consumed);
    world.post(&[Row { sequence: 1, list_amount: 10 * USDC, discount_bps: 1000 }]);
    world.fund(key(&operator), 0);
    let take = withdraw_earnings(key(&operator), key(&operator), USDC);
    figures.insert("withdraw_earnings", world.ok(&[take], &[&operator]).compute_units_consumed);
    let request = request_refund(key(&owner), 1);
    figures.insert("request_refund", world.ok(&[request], &[&owner]).compute_units_consumed);
    world.set_time(NOW + i64::from(DELAY));
    let leave = refund(key(&owner), 1, relayer, None);
    figures.insert("refund", world.ok(&[leave], &[&owner]).compute_units_consumed);
    let close = close_account(key(&operator), 2, key(&owner), relayer, None);
    figures.insert("close_account", world.ok(&[close], &[&operator]).compute_units_consumed);

    let committed = Committed { owner: key(&owner), ceiling: UNLIMITED, fee: 10_000 };
    figures.insert("open_deposit_address", world.ok(&[committed.open(relayer)], &[]).compute_units_consumed);
    world.fund(committed.address(), 100 * USDC);
    figures.insert("sweep_open", world.ok(&[committed.sweep(relayer, 3)], &[]).compute_units_consumed);
    world.fund(committed.address(), 100 * USDC);
    figures.insert("sweep_top_up", world.ok(&[committed.sweep(relayer, 3)], &[]).compute_units_consumed);
}

#[test]
fn nothing_costs_more_than_its_snapshot() {
    let mut figures = BTreeMap::new();
    verbs(&mut figures);
    for (name, count) in [("post_debits_1_row", 1), ("post_debits_20_rows", 20)] {
        figures.insert(name, post_legacy(&mut with_accounts(count), count).1);
    }
    figures.insert("post_debits_40_rows_lookup_table", post_with_table(&mut with_accounts(40), 40).1);

    assert!(figures["deposit"] <= DEPOSIT_BOUND, "deposit: {}", figures["deposit"]);
    assert!(figures["refund"] <= REFUND_BOUND, "refund: {}", figures["refund"]);
    for (name, rows) in [("post_debits_20_rows", 20), ("post_debits_40_rows_lookup_table", 40)] {
        assert!(figures[name] <= ROW_BOUND * rows, "{name}: {}", figures[name]);
    }

    check("compute_futures", &figures);
}

#[test]
fn a_transaction_holds_20_rows_and_58_with_a_lookup_table() {
    let mut world = with_accounts(21);
    assert_eq!(post_legacy(&mut world, 20).0, TRANSACTION_BYTES);
    let (bytes, units) = post_with_table(&mut with_accounts(58), 58);
    assert!(bytes <= TRANSACTION_BYTES, "{bytes}");
    assert!(units <= ROW_BOUND * 58, "{units}");
}
