use crate::support::accounts::{self, key, token_address};
use crate::support::substitute::Case;
use crate::support::*;

#[test]
fn the_operator_pays_the_owner_at_once() {
    let mut world = World::with_account();
    let (operator, owner) = (world.operator.insecure_clone(), world.owner.insecure_clone());
    let relayer = key(&world.relayer);
    world.post(&[Row { sequence: 1, list_amount: 10 * USDC, discount_bps: 1000 }]);
    let (funds, lamports) = (world.usdc(key(&owner)), world.lamports(relayer));
    let close = close_account(key(&operator), 1, key(&owner), relayer, None);
    let done = world.ok(&[close], &[&operator]);
    let refunded: Refunded = event(&done);
    assert_eq!((refunded.owner, refunded.amount, refunded.by_operator), (key(&owner), 91 * USDC, true));
    assert_eq!((world.usdc(key(&owner)), world.vault()), (funds + 91 * USDC, 9 * USDC));
    assert!(world.account(1, 1).is_none());
    assert_eq!(world.lamports(relayer), lamports - done.fee + 2_449_920);
}

#[test]
fn an_account_that_is_spent_closes_for_nothing() {
    let mut world = World::with_account();
    let (operator, owner) = (world.operator.insecure_clone(), world.owner.insecure_clone());
    world.post(&[Row { sequence: 1, list_amount: 500 * USDC, discount_bps: 0 }]);
    let close = close_account(key(&operator), 1, key(&owner), key(&world.relayer), None);
    let refunded: Refunded = event(&world.ok(&[close], &[&operator]));
    assert_eq!((refunded.amount, world.vault()), (0, 100 * USDC));
}

#[test]
fn another_operator_closes_nothing() {
    let mut world = World::with_account();
    let (other, owner) = (world.second_operator(), world.owner.insecure_clone());
    let relayer = key(&world.relayer);
    let close = close_account(key(&other), 1, key(&owner), relayer, None);
    world.refused(std::slice::from_ref(&close), &[&other], Refused::NotOperator);
    let mut with_its_own = close;
    with_its_own.accounts[1].pubkey = address(operator_address(2));
    world.refused(&[with_its_own], &[&other], Refused::NotAccountOperator);
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::with_account();
    let (operator, owner) = (world.operator.insecure_clone(), world.owner.insecure_clone());
    let relayer = key(&world.relayer);
    world.second_operator();
    world.open(2, &owner, 100 * USDC, 0);
    let other = keypair("other owner");
    world.fund(key(&other), 0);
    let fake_mint = Pubkey::new_from_array([3; 32]);
    world.set(fake_mint, accounts::mint(accounts::TOKEN));
    Case {
        name: "close_account",
        instruction: close_account(key(&operator), 1, key(&owner), relayer, None),
        signers: &[&operator],
        before: vec![],
        twins: vec![
            ("operator", operator_address(2)),
            ("account", account_address(2, 1)),
            ("rent_payer", key(&operator)),
            ("owner_token", token_address(key(&other))),
            ("vault", token_address(key(&owner))),
            ("vault_authority", key(&operator)),
            ("mint", fake_mint),
            ("token_program", accounts::TOKEN_2022),
        ],
        free: &[],
    }
    .check(&mut world);
}
