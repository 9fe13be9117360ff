use compute_program_common::{history, receipts};

use crate::support::*;

/// Whether the program says yes, by its return data.
fn says(world: &mut World, ask: Instruction) -> bool {
    match world.ok(&[ask], &[]).return_data.data.as_slice() {
        // Trailing zero bytes of return data are cut: false is a single zero, or nothing.
        [1] => true,
        [] | [0] => false,
        other => panic!("{other:?}"),
    }
}

/// As many closed sessions, the n-th with the two receipts n and 100 + n, at a limit below what was signed every third time.
fn closed(count: u64) -> (World, Vec<SessionCost>) {
    let mut world = World::with_escrow();
    let mut paid = Vec::new();
    for number in 1..=count {
        let id = world.open(1_000, DEADLINE);
        let [first, second] = receipts_of(number);
        let receipts_root = receipts::root(&first, &[receipts::leaf(&second)]);
        let cost = if number % 3 == 0 { 2_000 } else { number };
        let signed = SessionCost { receipts_root, receipt_count: 2, ..world.cost(id, cost) };
        world.ok(&world.closing(&signed), &[]);
        paid.push(SessionCost { cost: cost.min(1_000), ..signed });
    }
    (world, paid)
}

fn receipts_of(number: u64) -> [[u8; 32]; 2] {
    [[number as u8; 32], [100 + number as u8; 32]]
}

/// I-7
#[test]
fn every_receipt_is_proved_for_ever_and_nothing_else() {
    let (mut world, paid) = closed(11);
    let leaves: Vec<[u8; 32]> = paid.iter().map(SessionCost::struct_hash).collect();
    for (cost, number) in paid.iter().zip(1..) {
        let [first, second] = receipts_of(number);
        let (proof, range) = (vec![receipts::leaf(&second)], history::proof(&leaves, number).unwrap());
        let ask = |cost: &SessionCost, number, receipt, proof: &Vec<_>, range: &Vec<_>| {
            verify_receipt(1, cost, number, receipt, proof.clone(), range.clone())
        };
        assert!(says(&mut world, ask(cost, number, first, &proof, &range)), "{number}");
        assert!(says(&mut world, ask(cost, number, second, &vec![receipts::leaf(&first)], &range)), "{number}");
        assert!(!says(&mut world, ask(cost, number, [99; 32], &proof, &range)));
        assert!(!says(&mut world, ask(cost, number % 11 + 1, first, &proof, &range)));
        assert!(!says(&mut world, ask(cost, 0, first, &proof, &range)));
        assert!(!says(&mut world, ask(cost, u64::MAX, first, &proof, &range)));
        assert!(!says(&mut world, ask(cost, number, first, &vec![], &range)));
        let longer = range.iter().copied().chain([[0; 32]]).collect();
        assert!(!says(&mut world, ask(cost, number, first, &proof, &longer)));
        let changes: [fn(&mut SessionCost); 4] =
            [|c| c.cost += 1, |c| c.receipt_count += 1, |c| c.session_id += 1, |c| c.provider += 1];
        for change in changes {
            let mut other = cost.clone();
            change(&mut other);
            assert!(!says(&mut world, ask(&other, number, first, &proof, &range)));
        }
    }
}

#[test]
fn nothing_is_proved_before_the_first_close() {
    let mut world = World::with_session();
    let cost = world.cost(1 << 32 | 1, 0);
    for number in [0, 1] {
        assert!(!says(&mut world, verify_receipt(1, &cost, number, [0; 32], vec![], vec![])));
    }
}

#[test]
fn every_wrong_account_is_refused() {
    let (mut world, paid) = closed(1);
    let [first, second] = receipts_of(1);
    let instruction = verify_receipt(1, &paid[0], 1, first, vec![receipts::leaf(&second)], vec![]);
    assert!(says(&mut world, instruction.clone()));
    Case {
        name: "verify_receipt",
        instruction,
        signers: &[],
        before: vec![],
        twins: vec![("earnings", escrow_address(1))],
        free: &[],
    }
    .check(&mut world);
}
