use crate::support::accounts::{self, key, token_address};
use crate::support::substitute::Case;
use crate::support::*;

/// Account 1, of 100 USDC, 9 of them charged, due.
fn leaving() -> (World, Keypair) {
    let mut world = World::with_account();
    let owner = world.owner.insecure_clone();
    world.post(&[Row { sequence: 1, list_amount: 10 * USDC, discount_bps: 1000 }]);
    world.ok(&[request_refund(key(&owner), 1)], &[&owner]);
    world.set_time(NOW + i64::from(DELAY));
    (world, owner)
}

#[test]
fn it_pays_the_owner_and_returns_the_rent() {
    let (mut world, owner) = leaving();
    let relayer = key(&world.relayer);
    let (funds, lamports) = (world.usdc(key(&owner)), world.lamports(relayer));
    let done = world.ok(&[refund(key(&owner), 1, relayer, None)], &[&owner]);
    let refunded: Refunded = event(&done);
    assert_eq!((refunded.account, refunded.owner), (1 << 32 | 1, key(&owner)));
    assert_eq!((refunded.amount, refunded.by_operator), (91 * USDC, false));
    assert_eq!((world.usdc(key(&owner)), world.vault()), (funds + 91 * USDC, 9 * USDC));
    assert!(world.account(1, 1).is_none());
    assert_eq!(world.lamports(relayer), lamports - done.fee + 2_449_920);
}

#[test]
fn a_closed_account_stays_closed() {
    let (mut world, owner) = leaving();
    let relayer = key(&world.relayer);
    world.ok(&[refund(key(&owner), 1, relayer, None)], &[&owner]);
    assert!(world.send(&[refund(key(&owner), 1, relayer, None)], &[&owner]).is_err());
    assert!(world.send(&[top_up(key(&owner), None, 1, USDC, 0)], &[&owner]).is_err());
    let again = Deposit { sequence: 1, ..Deposit::by(&world, 1, &owner) };
    world.refused(&[again.instruction()], &[&owner], Refused::WrongAccountAddress);
    assert_eq!(world.open(1, &owner, USDC, 0), 2);
    // A row that comes late is written off, not charged to anybody (I-6).
    let posted = world.post(&[Row { sequence: 1, list_amount: 10 * USDC, discount_bps: 1000 }]);
    assert_eq!((posted.charged, posted.rows[0].kind, posted.rows[0].uncovered), (0, RowKind::Missing, 9 * USDC));
    assert_eq!(posted.rows[0].account, 1 << 32 | 1);
}

#[test]
fn not_before_it_is_due_and_not_unasked() {
    let mut world = World::with_account();
    let owner = world.owner.insecure_clone();
    let relayer = key(&world.relayer);
    world.refused(&[refund(key(&owner), 1, relayer, None)], &[&owner], Refused::RefundNotRequested);
    world.ok(&[request_refund(key(&owner), 1)], &[&owner]);
    world.set_time(NOW + i64::from(DELAY) - 1);
    world.refused(&[refund(key(&owner), 1, relayer, None)], &[&owner], Refused::RefundNotDue);
    world.set_time(NOW + i64::from(DELAY));
    world.ok(&[refund(key(&owner), 1, relayer, None)], &[&owner]);
}

/// A frozen token account (a blacklisted owner) loses nothing: the refund fails whole and can be tried again.
#[test]
fn a_frozen_owner_loses_nothing() {
    let (mut world, owner) = leaving();
    let relayer = key(&world.relayer);
    let at = token_address(key(&owner));
    let mut frozen = world.get(at).unwrap();
    frozen.data[108] = 2;
    world.set(at, frozen.clone());
    assert!(world.send(&[refund(key(&owner), 1, relayer, None)], &[&owner]).is_err());
    assert_eq!(world.account(1, 1).unwrap().credit, 100 * USDC);
    frozen.data[108] = 1;
    world.set(at, frozen);
    world.ok(&[refund(key(&owner), 1, relayer, None)], &[&owner]);
}

#[test]
fn every_wrong_account_is_refused() {
    let (mut world, owner) = leaving();
    let relayer = key(&world.relayer);
    let other = keypair("other owner");
    world.fund(key(&other), 100 * USDC);
    world.open(1, &other, 100 * USDC, 10);
    let somebodys = Committed { owner: key(&other), ceiling: 0, fee: 0 };
    world.ok(&[somebodys.open(relayer)], &[]);
    let fake_mint = Pubkey::new_from_array([3; 32]);
    world.set(fake_mint, accounts::mint(accounts::TOKEN));
    Case {
        name: "refund",
        instruction: refund(key(&owner), 1, relayer, None),
        signers: &[&owner],
        before: vec![],
        twins: vec![
            ("account", account_address(1, 2)),
            ("rent_payer", key(&owner)),
            ("rent_payer", key(&other)),
            ("deposit_address", somebodys.address()),
            ("owner_token", token_address(key(&other))),
            ("vault", token_address(key(&owner))),
            ("vault_authority", key(&owner)),
            ("mint", fake_mint),
            ("token_program", accounts::TOKEN_2022),
        ],
        free: &[],
    }
    .check(&mut world);
}
