use crate::support::accounts::{self, key, token_address};
use crate::support::substitute::Case;
use crate::support::*;

#[test]
fn anyone_adds_credit_and_a_higher_tier_binds_after_two_batches() {
    let mut world = World::with_account();
    let friend = keypair("friend");
    world.fund(key(&friend), 500 * USDC);
    world.post(&[]);
    let done = world.ok(&[top_up(key(&friend), None, 1, 100 * USDC, 0)], &[&friend]);
    let deposited: Deposited = event(&done);
    assert_eq!((deposited.account, deposited.payer), (1 << 32 | 1, key(&friend)));
    assert_eq!((deposited.amount, deposited.credit), (100 * USDC, 200 * USDC));
    assert_eq!((deposited.discount_bps, deposited.previous_discount_bps), (1500, 1000));
    assert_eq!(deposited.discount_from_batch, 4);
    assert_eq!((deposited.opened, deposited.raised, deposited.swept), (None, None, None));
    assert_eq!(world.vault(), 200 * USDC);
    // The same tier again leaves what binds when.
    let again: Deposited = event(&world.ok(&[top_up(key(&friend), None, 1, 1, 0)], &[&friend]));
    assert_eq!((again.credit, again.discount_from_batch), (200 * USDC + 1, 4));
}

#[test]
fn the_accounts_own_terms_decide() {
    let mut world = World::with_account();
    let (operator, owner) = (world.operator.insecure_clone(), world.owner.insecure_clone());
    let worse = Terms { tiers: vec![], ..terms() };
    world.ok(&[set_terms(key(&world.relayer), key(&operator), 1, worse)], &[&operator]);
    world.ok(&[top_up(key(&owner), None, 1, 200 * USDC, 0)], &[&owner]);
    assert_eq!(world.account(1, 1).unwrap().discount_bps, 1500);
}

#[test]
fn a_ceiling_needs_owner_or_delegate() {
    let mut world = World::new();
    let (owner, friend, delegate) = (world.owner.insecure_clone(), keypair("friend"), keypair("delegate"));
    world.open(1, &owner, 100 * USDC, 10);
    world.fund(key(&friend), 500 * USDC);
    let with = |spender: Option<&Keypair>, ceiling| top_up(key(&friend), spender.map(key), 1, 1, ceiling);
    world.refused(&[with(None, 11)], &[&friend], Refused::NotSpender);
    world.refused(&[with(Some(&friend), 11)], &[&friend], Refused::NotSpender);
    world.refused(&[with(Some(&delegate), 11)], &[&friend, &delegate], Refused::NotSpender);
    world.ok(&[set_delegate(key(&owner), 1, Some(key(&delegate)))], &[&owner]);
    let raised: Deposited = event(&world.ok(&[with(Some(&delegate), 11)], &[&friend, &delegate]));
    assert_eq!(raised.raised, Some(Raised { signer: key(&delegate), ceiling: 11 }));
    // One that is not higher leaves it.
    let same: Deposited = event(&world.ok(&[with(Some(&owner), 11)], &[&friend, &owner]));
    assert_eq!((same.raised, world.account(1, 1).unwrap().ceiling), (None, 11));
    world.refused(&[with(Some(&owner), 1 << 56)], &[&friend, &owner], Refused::AmountTooLarge);
}

#[test]
fn nothing_and_too_much_are_refused_and_so_is_leaving() {
    let mut world = World::with_account();
    let owner = world.owner.insecure_clone();
    world.fund(key(&owner), u64::MAX);
    world.refused(&[top_up(key(&owner), None, 1, 0, 0)], &[&owner], Refused::DepositTooSmall);
    for amount in [UNLIMITED, u64::MAX] {
        world.refused(&[top_up(key(&owner), None, 1, amount, 0)], &[&owner], Refused::CreditOverflow);
    }
    world.ok(&[request_refund(key(&owner), 1)], &[&owner]);
    world.refused(&[top_up(key(&owner), None, 1, 1, 0)], &[&owner], Refused::RefundAlreadyRequested);
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::with_account();
    world.second_operator();
    let (owner, friend) = (world.owner.insecure_clone(), keypair("friend"));
    world.fund(key(&friend), 500 * USDC);
    world.open(2, &owner, 100 * USDC, 0);
    Case {
        name: "top_up",
        instruction: top_up(key(&friend), Some(key(&owner)), 1, USDC, UNLIMITED),
        signers: &[&friend, &owner],
        before: vec![],
        twins: vec![
            ("operator", operator_address(2)),
            ("account", account_address(2, 1)),
            ("source", token_address(key(&owner))),
            ("vault", token_address(key(&friend))),
            ("token_program", accounts::TOKEN_2022),
        ],
        free: &[],
    }
    .check(&mut world);
}
