//! The promises I-1 to I-7 for every sequence of calls: the program in the VM and the model of `protocol/` side by side. After each call
//! both must have come to the same, and every promise must hold.

mod actions;
mod pair;

use proptest::prelude::*;

use self::actions::Action;
use self::pair::Pair;
use crate::support::cases;

proptest! {
    #![proptest_config(cases(48))]
    #[test]
    fn every_promise_holds_after_every_call(actions in prop::collection::vec(actions::any(), 1..60)) {
        let mut pair = Pair::new();
        for action in actions {
            pair.act(&action);
            pair.i1_solvency();
            pair.i2_ceiling();
            pair.i3_the_same_figures();
        }
        pair.i7_receipts();
        pair.i4_everybody_leaves();
    }
}

/// A known life, so that the property above is seen to do something: most of its calls succeed.
#[test]
fn a_plain_life_comes_to_what_it_should() {
    let mut pair = Pair::new();
    let life = [
        Action::Deposit { operator: 0, owner: 0, amount: 100_000_000, ceiling: 60_000_000 },
        Action::Send { owner: 1, amount: 250_010_000 },
        Action::Sweep { owner: 1 },
        Action::Post { operator: 0, rows: vec![(0, 50_000_000, 1000), (1, 100_000_000, 0), (1, 1, 0)] },
        Action::Withdraw { operator: 0, amount: 130_000_000 },
        Action::Request { account: 0, by_owner: true },
        Action::Wait { seconds: 7200 },
        Action::Refund { account: 0, by_owner: true },
        Action::Post { operator: 0, rows: vec![(0, 5_000_000, 0)] },
        Action::Close { account: 1, by_its_operator: true },
    ];
    for action in &life {
        assert!(pair.act(action), "{action:?}");
        pair.i1_solvency();
        pair.i2_ceiling();
        pair.i3_the_same_figures();
    }
    assert_eq!(pair.paid_out(), [55_000_000, 165_000_000]);
    pair.i7_receipts();
}
