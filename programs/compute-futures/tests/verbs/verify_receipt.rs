use compute_program_common::{history, receipts};

use crate::support::accounts::key;
use crate::support::substitute::Case;
use crate::support::*;

/// Whether the program says yes, by its return data.
fn says(world: &mut World, ask: Instruction) -> bool {
    let done = world.ok(&[ask], &[]);
    match done.return_data.data.as_slice() {
        // Trailing zero bytes of return data are cut: false is a single zero, or nothing.
        [1] => true,
        [] | [0] => false,
        other => panic!("{other:?}"),
    }
}

/// Posts as many batches, each of one receipt whose hash is the number.
fn posted(count: u64) -> (World, Vec<[u8; 32]>) {
    let mut world = World::new();
    let operator = world.operator.insecure_clone();
    let mut roots = Vec::new();
    for number in 1..=count {
        let root = receipts::root(&[number as u8; 32], &[]);
        world.ok(&[post_debits(key(&operator), 1, number, root, &[])], &[&operator]);
        roots.push(root);
    }
    (world, roots)
}

#[test]
fn a_receipt_is_in_its_batch_and_in_no_other() {
    let mut world = World::new();
    let operator = world.operator.insecure_clone();
    let [first, second, third] = [[1; 32], [2; 32], [3; 32]];
    let (left, right) = (receipts::leaf(&first), receipts::leaf(&second));
    let root = receipts::root(&first, &[right]);
    world.ok(&[post_debits(key(&operator), 1, 1, root, &[])], &[&operator]);
    assert!(says(&mut world, verify_receipt(1, 1, first, vec![right], vec![])));
    assert!(says(&mut world, verify_receipt(1, 1, second, vec![left], vec![])));
    assert!(!says(&mut world, verify_receipt(1, 1, third, vec![left], vec![])));
    assert!(!says(&mut world, verify_receipt(1, 1, first, vec![left], vec![])));
    assert!(!says(&mut world, verify_receipt(1, 1, first, vec![], vec![])));
    assert!(!says(&mut world, verify_receipt(1, 2, first, vec![right], vec![])));
    assert!(!says(&mut world, verify_receipt(1, 0, first, vec![right], vec![])));
    // The root itself is no receipt.
    assert!(!says(&mut world, verify_receipt(1, 1, root, vec![], vec![])));
}

#[test]
fn old_batches_are_proved_by_the_mountain_range() {
    let (mut world, roots) = posted(70);
    for number in [1, 2, 5, 6, 7, 33, 64, 65, 66, 69, 70] {
        let receipt = [number as u8; 32];
        let path = history::proof(&roots, number).unwrap();
        assert!(says(&mut world, verify_receipt(1, number, receipt, vec![], path.clone())), "{number}");
        // Without a path only the newest 64.
        assert_eq!(says(&mut world, verify_receipt(1, number, receipt, vec![], vec![])), number > 6, "{number}");
        assert!(!says(&mut world, verify_receipt(1, number, [0; 32], vec![], path.clone())));
        assert!(!says(&mut world, verify_receipt(1, number % 70 + 1, receipt, vec![], path)));
    }
    assert!(!says(&mut world, verify_receipt(1, u64::MAX, [70; 32], vec![], vec![])));
}

#[test]
fn every_wrong_account_is_refused() {
    let (mut world, _) = posted(1);
    let ask = verify_receipt(1, 1, [1; 32], vec![], vec![]);
    // Another operator's is no mistake but another question.
    world.second_operator();
    assert!(!says(&mut world, verify_receipt(2, 1, [1; 32], vec![], vec![])));
    Case { name: "verify_receipt", instruction: ask, signers: &[], before: vec![], twins: vec![], free: &[] }
        .check(&mut world);
}
