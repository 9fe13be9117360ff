use compute_futures::seeds;

use crate::support::accounts::key;
use crate::support::substitute::Case;
use crate::support::*;

#[test]
fn the_first_call_registers() {
    let mut world = World::bare();
    let operator = world.operator.insecure_clone();
    let before = world.lamports(key(&operator));
    let done = world.ok(&[set_terms(key(&world.relayer), key(&operator), 1, terms())], &[&operator]);
    let set: TermsSet = event(&done);
    assert_eq!((set.operator_index, set.operator, set.terms_version), (1, key(&operator), 1));
    assert_eq!((set.refund_delay, set.minimum_deposit, set.rate_card_hash), (DELAY, USDC, [7; 32]));
    assert_eq!(set.tiers, terms().tiers);
    let stored = world.operator(1);
    assert_eq!((stored.authority, stored.index, stored.terms_version), (key(&operator), 1, 1));
    assert_eq!((stored.last_sequence, stored.last_batch, stored.earnings), (0, 0, 0));
    // The operator paid nothing: the payer did.
    assert_eq!(world.lamports(key(&operator)), before);
}

#[test]
fn later_calls_make_versions_and_operators_do_not_mix() {
    let mut world = World::new();
    let (operator, other) = (world.operator.insecure_clone(), world.second_operator());
    let better = Terms { refund_delay: 60, tiers: vec![], ..terms() };
    let set: TermsSet = event(&world.ok(&[set_terms(key(&world.relayer), key(&operator), 1, better)], &[&operator]));
    assert_eq!((set.operator_index, set.terms_version, set.refund_delay), (1, 2, 60));
    let [first, second] = [1, 2].map(|index| world.operator(index));
    assert_eq!((first.terms_version, first.refund_delay), (2, 60));
    assert_eq!((second.terms_version, second.refund_delay, second.authority), (1, DELAY, key(&other)));
    assert!(first.tiers.iter().all(|tier| *tier == Default::default()));
}

#[test]
fn an_index_is_not_chosen() {
    let mut world = World::new();
    let other = keypair("operator 2");
    let relayer = key(&world.relayer);
    world.refused(&[set_terms(relayer, key(&other), 3, terms())], &[&other], Refused::WrongOperatorAddress);
    // Not even that of somebody else.
    world.refused(&[set_terms(relayer, key(&other), 1, terms())], &[&other], Refused::WrongOperatorAddress);
    world.ok(&[set_terms(relayer, key(&other), 2, terms())], &[&other]);
    world.refused(&[set_terms(relayer, key(&other), 1, terms())], &[&other], Refused::NotOperator);
}

/// As `testFuzz_RevertWhen…` of contracts/test/setTerms.
#[test]
fn terms_out_of_bounds_are_refused() {
    let mut world = World::bare();
    let operator = world.operator.insecure_clone();
    let relayer = key(&world.relayer);
    let tier = |minimum_deposit, discount_bps| Tier { minimum_deposit, discount_bps };
    let with = |tiers: &[Tier]| Terms { tiers: tiers.to_vec(), ..terms() };
    for (wrong, error) in [
        (Terms { refund_delay: 30 * 86_400 + 1, ..terms() }, Refused::InvalidRefundDelay),
        (Terms { minimum_deposit: 0, ..terms() }, Refused::InvalidMinimumDeposit),
        (Terms { minimum_deposit: 1 << 48, ..terms() }, Refused::InvalidMinimumDeposit),
        (with(&[tier(1, 1), tier(2, 2), tier(3, 3), tier(4, 4)]), Refused::TooManyTiers),
        (with(&[tier(1 << 48, 1)]), Refused::InvalidTierThreshold),
        (with(&[tier(5, 1), tier(5, 2)]), Refused::InvalidTierThreshold),
        (with(&[tier(5, 0)]), Refused::InvalidTierDiscount),
        (with(&[tier(5, 100), tier(6, 100)]), Refused::InvalidTierDiscount),
        (with(&[tier(5, 10_000)]), Refused::InvalidTierDiscount),
    ] {
        world.refused(&[set_terms(relayer, key(&operator), 1, wrong)], &[&operator], error);
    }
    let extreme = Terms {
        refund_delay: 30 * 86_400,
        minimum_deposit: (1 << 48) - 1,
        rate_card_hash: [0; 32],
        tiers: vec![tier(0, 1), tier(1, 2), tier((1 << 48) - 1, 9_999)],
    };
    world.ok(&[set_terms(relayer, key(&operator), 1, extreme)], &[&operator]);
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::new();
    world.second_operator();
    let operator = world.operator.insecure_clone();
    Case {
        name: "set_terms",
        instruction: set_terms(key(&world.relayer), key(&operator), 1, terms()),
        signers: &[&operator],
        before: vec![],
        twins: vec![
            ("operator", operator_address(2)),
            ("operator_of", pda(&[seeds::OPERATOR_OF, key(&keypair("operator 2")).as_ref()])),
            ("registry", operator_address(1)),
            ("authority", key(&keypair("operator 2"))),
        ],
        free: &["payer"],
    }
    .check(&mut world);
}
