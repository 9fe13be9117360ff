//! What the verbs cost, in compute units: `programs/snapshots/compute_futures.json`. A figure above its snapshot fails, and so does one above its bound.
//! `UPDATE_SNAPSHOTS=1` writes new ones.

use std::collections::BTreeMap;

use solana_address_lookup_table_interface::state::{AddressLookupTable, LookupTableMeta};
use solana_message::{AddressLookupTableAccount, Message, VersionedMessage, v0};
use solana_signer::Signer;
use solana_transaction::Transaction;
use solana_transaction::versioned::VersionedTransaction;

use crate::support::accounts::key;
use crate::support::*;

const DEPOSIT_BOUND: u64 = 25_000;
const REFUND_BOUND: u64 = 15_000;
const ROW_BOUND: u64 = 2_500;
/// What fits a packet.
const TRANSACTION_BYTES: usize = 1_232;

/// Both compute budget instructions: what a relayer puts before.
fn budget(units: u32) -> [Instruction; 2] {
    let program = address(Pubkey::from_str_const("ComputeBudget111111111111111111111111111111"));
    let limit = [&[2][..], &units.to_le_bytes()].concat();
    let price = [&[3][..], &1_000u64.to_le_bytes()].concat();
    [limit, price].map(|data| Instruction { program_id: program, accounts: vec![], data })
}

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
    let operator = world.operator.insecure_clone();
    let post = batch(world, count);
    let [limit, price] = budget(200_000);
    let message = Message::new(&[limit, price, post], Some(&operator.pubkey()));
    let transaction = Transaction::new(&[&operator], message, world.svm.latest_blockhash());
    // One signature and its count.
    let bytes = transaction.message.serialize().len() + 65;
    let done = world.svm.send_transaction(transaction).expect("the batch lands");
    (bytes, done.compute_units_consumed)
}

fn post_with_table(world: &mut World, count: u32) -> (usize, u64) {
    let operator = world.operator.insecure_clone();
    let post = batch(world, count);
    let addresses: Vec<_> = (1..=count).map(|sequence| address(account_address(1, sequence))).collect();
    let at = Pubkey::new_from_array([77; 32]);
    let table = AddressLookupTable { meta: LookupTableMeta::default(), addresses: addresses.clone().into() };
    let owner = Pubkey::from_str_const("AddressLookupTab1e1111111111111111111111111");
    let data = table.serialize_for_tests().unwrap();
    let stored = solana_account::Account { lamports: 1 << 40, data, owner: address(owner), ..Default::default() };
    world.set(at, stored);
    let table = AddressLookupTableAccount { key: address(at), addresses };
    let instructions: Vec<Instruction> = budget(400_000).into_iter().chain([post]).collect();
    let blockhash = world.svm.latest_blockhash();
    let message = v0::Message::try_compile(&operator.pubkey(), &instructions, &[table], blockhash).unwrap();
    assert_eq!(message.address_table_lookups.len(), 1);
    let message = VersionedMessage::V0(message);
    let bytes = message.serialize().len() + 65;
    let transaction = VersionedTransaction::try_new(message, &[&operator]).unwrap();
    let done = world.svm.send_transaction(transaction).expect("the batch lands");
    (bytes, done.compute_units_consumed)
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

    let path = root().join("programs/snapshots/compute_futures.json");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&figures).unwrap() + "\n").unwrap();
    }
    let snapshot: BTreeMap<String, u64> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(snapshot.len(), figures.len(), "every figure has a snapshot");
    for (name, figure) in figures {
        assert!(figure <= snapshot[name], "{name} costs {figure} compute units, {} before", snapshot[name]);
    }
}

#[test]
fn a_transaction_holds_20_rows_and_58_with_a_lookup_table() {
    let mut world = with_accounts(21);
    assert_eq!(post_legacy(&mut world, 20).0, TRANSACTION_BYTES);
    let (bytes, units) = post_with_table(&mut with_accounts(58), 58);
    assert!(bytes <= TRANSACTION_BYTES, "{bytes}");
    assert!(units <= ROW_BOUND * 58, "{units}");
}
