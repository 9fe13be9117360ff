use crate::support::accounts::key;
use crate::support::substitute::Case;
use crate::support::*;

#[test]
fn the_owner_sets_and_clears_it() {
    let mut world = World::with_account();
    let (owner, delegate) = (world.owner.insecure_clone(), key(&keypair("delegate")));
    let set: DelegateSet = event(&world.ok(&[set_delegate(key(&owner), 1, Some(delegate))], &[&owner]));
    assert_eq!((set.account, set.delegate), (1 << 32 | 1, Some(delegate)));
    assert_eq!(world.account(1, 1).unwrap().delegate, delegate);
    for none in [None, Some(Pubkey::default())] {
        let cleared: DelegateSet = event(&world.ok(&[set_delegate(key(&owner), 1, none)], &[&owner]));
        assert_eq!((cleared.delegate, world.account(1, 1).unwrap().delegate), (None, Pubkey::default()));
    }
}

#[test]
fn a_delegate_appoints_and_refunds_nobody() {
    let mut world = World::with_account();
    let (owner, delegate) = (world.owner.insecure_clone(), keypair("delegate"));
    world.ok(&[set_delegate(key(&owner), 1, Some(key(&delegate)))], &[&owner]);
    world.refused(&[set_delegate(key(&delegate), 1, None)], &[&delegate], Refused::NotOwner);
    world.refused(&[request_refund(key(&delegate), 1)], &[&delegate], Refused::NotOwner); // I-4
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::with_account();
    let (owner, other) = (world.owner.insecure_clone(), keypair("other owner"));
    world.fund(key(&other), 100 * USDC);
    world.open(1, &other, 100 * USDC, 10);
    Case {
        name: "set_delegate",
        instruction: set_delegate(key(&owner), 1, Some(key(&other))),
        signers: &[&owner],
        before: vec![],
        twins: vec![("account", account_address(1, 2)), ("account", operator_address(1))],
        free: &[],
    }
    .check(&mut world);
}
