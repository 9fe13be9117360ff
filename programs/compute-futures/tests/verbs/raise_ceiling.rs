use crate::support::accounts::key;
use crate::support::substitute::Case;
use crate::support::*;

#[test]
fn owner_and_delegate_raise_it_and_it_never_falls() {
    let mut world = World::new();
    let (owner, delegate) = (world.owner.insecure_clone(), keypair("delegate"));
    world.open(1, &owner, 100 * USDC, 10);
    let raised: CeilingRaised = event(&world.ok(&[raise_ceiling(key(&owner), 1, 20)], &[&owner]));
    assert_eq!((raised.account, raised.signer, raised.ceiling), (1 << 32 | 1, key(&owner), 20));
    for lower in [0, 19, 20] {
        world.refused(&[raise_ceiling(key(&owner), 1, lower)], &[&owner], Refused::CeilingNotRaised);
    }
    world.ok(&[set_delegate(key(&owner), 1, Some(key(&delegate)))], &[&owner]);
    let raised: CeilingRaised = event(&world.ok(&[raise_ceiling(key(&delegate), 1, UNLIMITED)], &[&delegate]));
    assert_eq!((raised.signer, world.account(1, 1).unwrap().ceiling), (key(&delegate), UNLIMITED));
    world.refused(&[raise_ceiling(key(&owner), 1, 1 << 56)], &[&owner], Refused::AmountTooLarge);
}

#[test]
fn nobody_else_does() {
    let mut world = World::new();
    let (owner, old, operator) =
        (world.owner.insecure_clone(), keypair("old delegate"), world.operator.insecure_clone());
    world.open(1, &owner, 100 * USDC, 10);
    world.ok(&[set_delegate(key(&owner), 1, Some(key(&old)))], &[&owner]);
    world.ok(&[set_delegate(key(&owner), 1, Some(key(&keypair("new delegate"))))], &[&owner]);
    for stranger in [&operator, &old, &keypair("stranger")] {
        world.refused(&[raise_ceiling(key(stranger), 1, 20)], &[stranger], Refused::NotSpender);
    }
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::new();
    let (owner, other) = (world.owner.insecure_clone(), keypair("other owner"));
    world.fund(key(&other), 100 * USDC);
    world.open(1, &owner, 100 * USDC, 10);
    world.open(1, &other, 100 * USDC, 10);
    Case {
        name: "raise_ceiling",
        instruction: raise_ceiling(key(&owner), 1, 20),
        signers: &[&owner],
        before: vec![],
        twins: vec![("account", account_address(1, 2)), ("account", operator_address(1))],
        free: &[],
    }
    .check(&mut world);
}
