//! The promises of the escrow (I-1, I-4 to I-7, I-10, I-11) for every sequence of calls: the programs in the VM and the model of `protocol/`
//! side by side. After each call both must have come to the same, and every promise must hold.

mod actions;
mod pair;
mod verbs;

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
            pair.the_same_figures();
        }
        pair.i7_receipts();
        pair.i4_everybody_leaves();
    }
}

/// A known life, so that the property above is seen to do something: all of its calls succeed.
#[test]
fn a_plain_life_comes_to_what_it_should() {
    let mut pair = Pair::new();
    let open = |escrow, agent, signed| Action::Open {
        escrow,
        agent,
        provider: escrow % 2,
        meter: 0,
        limit: 5_000_000,
        after: 3_600,
        stale: false,
        nonce: signed,
    };
    let life = [
        Action::Create { open_to_all: false, amount: 100_000_000, days: 20 },
        Action::Create { open_to_all: true, amount: 10_000_000, days: 10 },
        Action::Send { amount: 7_000_000 },
        Action::Sweep,
        open(0, 0, None),
        open(0, 0, Some(0)),
        open(1, 2, None),
        open(1, 2, Some(0)),
        open(2, 0, None),
        Action::Agent { escrow: 0, agent: 1, add: true, by_creator: true },
        open(0, 1, Some(0)),
        Action::Close { session: 0, cost: 4_000_000, by_meter: true },
        Action::CloseMany { meter: 0, rows: vec![(1, 6_000_000), (0, 1), (2, 1_000_000)] },
        Action::Content { provider: 0 },
        open(0, 0, None),
        Action::Refund { escrow: 0, amount: u64::MAX, by_creator: true },
        Action::Wait { seconds: 3_601 },
        Action::Lapse { session: 3 },
        Action::LapseMany { sessions: vec![4, 5, 1] },
        Action::Withdraw { provider: 0, amount: 9_000_000, by_owner: true },
        Action::Wait { seconds: 10 * 24 * 3600 },
        Action::Expire { escrow: 1 },
    ];
    for action in &life {
        assert!(pair.act(action), "{action:?}");
        pair.i1_solvency();
        pair.the_same_figures();
    }
    // 4 and 5 (cut from 6) of escrow 1 with provider 1, 1 of escrow 2 with provider 2.
    assert_eq!((pair.earned(0), pair.earned(1)), (9_000_000, 1_000_000));
    pair.i7_receipts();
    pair.i4_everybody_leaves();
}
