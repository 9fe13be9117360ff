//! What the verbs cost, in compute units: `programs/snapshots/{provider_registry,compute_escrow}.json`. A figure above its snapshot fails.
//! `UPDATE_SNAPSHOTS=1` writes new ones.

use std::collections::BTreeMap;

use compute_program_testing::units::{TRANSACTION_BYTES, check, legacy, with_table};

use crate::support::*;

/// What a row of a batch may cost.
const ROW_BOUND: u64 = 2_500;
/// As many rows as fit a transaction with both compute budget instructions, without and with a lookup table.
const ROWS: u32 = 10;
const ROWS_WITH_TABLE: u32 = 17;

#[test]
fn the_registry_costs_no_more_than_its_snapshot() {
    let mut world = World::new();
    let (owner, relayer) = (world.provider.insecure_clone(), key(&world.relayer));
    let mut figures = BTreeMap::new();
    let mut units = |name, instruction| {
        figures.insert(name, world.ok(&[instruction], &[&owner]).compute_units_consumed);
    };
    units("register", register(relayer, key(&owner), 2, content("https://provider.example/v1")));
    units("update", update(key(&owner), 2, content("https://provider.example/v2")));
    units("retire", retire(key(&owner), 2));
    check("provider_registry", &figures);
}

/// With as many open sessions of escrow 1. The meter can pay fees.
fn with_sessions(count: u32) -> World {
    let mut world = World::with_escrow();
    world.svm.airdrop(&address(key(&world.meter)), 1 << 30).unwrap();
    for _ in 0..count {
        world.open(USDC, DEADLINE);
    }
    world
}

/// The meter pays its own fees, as a relayer's key does. Returns bytes and units.
fn batch(count: u32, table: bool) -> (usize, u64) {
    let mut world = with_sessions(count);
    let meter = world.meter.insecure_clone();
    let ids = (1..=count).map(|sequence| session_id(1, sequence));
    let rows: Vec<Row> = ids
        .clone()
        .map(|session_id| Row { session_id, cost: 400_000, receipt_count: 9, receipts_root: [9; 32] })
        .collect();
    let of: Vec<_> = ids.map(|id| of_session(id, 1, key(&world.relayer))).collect();
    let close = close_sessions(key(&meter), &rows, &of);
    let used = if table {
        with_table(&mut world, &meter, close, of.as_flattened())
    } else {
        legacy(&mut world, &meter, close)
    };
    assert_eq!(world.earnings(1).unwrap().closed, u64::from(count), "every row closes its session");
    used
}

fn verbs(figures: &mut BTreeMap<&'static str, u64>) {
    let mut world = World::with_escrow();
    let (creator, agent) = (world.creator.insecure_clone(), world.agent.insecure_clone());
    let (owner, relayer) = (world.provider.insecure_clone(), key(&world.relayer));
    let (terms, request) = (world.terms(), world.request(5 * USDC, DEADLINE));
    let mut units = |world: &mut World, name, instructions: &[Instruction], signers: &[&Keypair]| {
        figures.insert(name, world.ok(instructions, signers).compute_units_consumed);
    };
    units(&mut world, "create", &[create(relayer, 2, &terms, USDC)], &[&creator]);
    units(&mut world, "fund", &[fund(key(&creator), 1, USDC)], &[&creator]);
    units(&mut world, "add_agent", &[add_agent(relayer, key(&creator), 1, key(&creator))], &[&creator]);
    units(&mut world, "remove_agent", &[remove_agent(key(&creator), 1, key(&creator))], &[&creator]);
    let open = |sequence| open_session(relayer, key(&agent), &request, sequence);
    units(&mut world, "open_session_first_of_provider", &[open(1)], &[&agent]);
    units(&mut world, "open_session", &[open(2)], &[&agent]);
    let sign = signed(&agent, &opening_digest(&request, key(&agent), 0));
    let relayed = open_session_with_signature(relayer, key(&agent), &request, 3);
    units(&mut world, "open_session_with_signature", &[sign, relayed], &[]);
    let closing = world.closing(&world.cost(session_id(1, 1), 4 * USDC));
    units(&mut world, "close_session", &closing, &[]);
    units(&mut world, "refund", &[refund(key(&creator), 1, USDC)], &[&creator]);
    units(&mut world, "withdraw", &[withdraw(key(&owner), 1, USDC)], &[&owner]);
    let cost = world.cost(session_id(1, 1), 4 * USDC);
    let ask = verify_receipt(1, &cost, 1, [1; 32], vec![[2; 32]; 4], vec![]);
    units(&mut world, "verify_receipt", &[ask], &[]);

    let committed = EscrowTerms { expiry: terms.expiry + 1, ..terms.clone() };
    let at = deposit_address(&committed);
    units(&mut world, "open_deposit_address", &[open_deposit_address(relayer, &committed)], &[]);
    world.fund(at, USDC);
    units(&mut world, "sweep_create", &[sweep(relayer, 3, &committed)], &[]);
    world.fund(at, USDC);
    units(&mut world, "sweep_fund", &[sweep(relayer, 3, &committed)], &[]);

    world.set_time(DEADLINE as i64 + 1);
    units(&mut world, "lapse_session", &[lapse_session(session_id(1, 2), relayer)], &[]);
    world.set_time(EXPIRY as i64 + 2);
    units(&mut world, "expire", &[expire(1, key(&creator), relayer, None)], &[]);
    let recover =
        recover(key(&creator), &terms, world.fund(deposit_address(&terms), 1), token_address(key(&creator)), PLAIN);
    units(&mut world, "recover", &[recover], &[&creator]);
}

const PLAIN: (Pubkey, Pubkey) = (compute_escrow::seeds::USDC, TOKEN);

/// Ten in one transaction.
fn lapses() -> u64 {
    let mut world = with_sessions(10);
    world.set_time(DEADLINE as i64 + 1);
    let of: Vec<_> = (1..=10)
        .map(|sequence| {
            let [session, escrow, _, rent_payer] = of_session(session_id(1, sequence), 1, key(&world.relayer));
            [session, escrow, rent_payer]
        })
        .collect();
    world.ok(&[lapse_sessions(&of)], &[]).compute_units_consumed
}

#[test]
fn the_escrow_costs_no_more_than_its_snapshot() {
    let mut figures = BTreeMap::new();
    verbs(&mut figures);
    for (name, count, table) in [
        ("close_sessions_1_row", 1, false),
        ("close_sessions_10_rows", ROWS, false),
        ("close_sessions_17_rows_lookup_table", ROWS_WITH_TABLE, true),
    ] {
        let (_, units) = batch(count, table);
        assert!(units <= 5_000 + ROW_BOUND * u64::from(count), "{name}: {units}");
        figures.insert(name, units);
    }
    figures.insert("lapse_sessions_10_rows", lapses());
    check("compute_escrow", &figures);
}

#[test]
fn a_transaction_holds_10_rows_and_17_with_a_lookup_table() {
    for (count, table) in [(ROWS, false), (ROWS_WITH_TABLE, true)] {
        let (bytes, _) = batch(count, table);
        // A row: its 50 bytes, the places of four accounts, and the session's address, or its place in the table.
        let more = 50 + 4 + if table { 1 } else { 32 };
        assert!(bytes <= TRANSACTION_BYTES && bytes + more > TRANSACTION_BYTES, "{bytes}");
    }
}
