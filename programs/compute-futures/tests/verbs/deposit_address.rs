//! `open_deposit_address`, `sweep` and `close_deposit_address`.

use compute_futures::seeds;
use compute_futures::state::DepositAddress;

use crate::support::accounts::{self, key, token_address, token_amount};
use crate::support::substitute::Case;
use crate::support::*;

const FEE: u64 = 10_000;
const RENT: u64 = 1_224_960;
const TOKEN_RENT: u64 = 2_039_280;

fn committed(world: &World) -> Committed {
    Committed { owner: key(&world.owner), ceiling: UNLIMITED, fee: FEE }
}

/// Opened by the relayer, with this much sent to it.
fn waiting(amount: u64) -> (World, Committed) {
    let mut world = World::new();
    let terms = committed(&world);
    world.ok(&[terms.open(key(&world.relayer))], &[]);
    send_to(&mut world, terms, amount);
    (world, terms)
}

/// A plain transfer, as a stock x402 client makes it.
fn send_to(world: &mut World, terms: Committed, amount: u64) {
    let at = token_address(terms.address());
    let mut account = world.get(at).expect("the address is open");
    let before = token_amount(&account.data);
    account.data[64..72].copy_from_slice(&(before + amount).to_le_bytes());
    world.set(at, account);
}

#[test]
fn opening_is_idempotent_and_paid_by_the_payer() {
    let mut world = World::new();
    let terms = committed(&world);
    let (relayer, before) = (key(&world.relayer), world.lamports(key(&world.relayer)));
    let done = world.ok(&[terms.open(relayer)], &[]);
    assert_eq!(world.lamports(relayer), before - done.fee - RENT - TOKEN_RENT);
    let token = world.get(token_address(terms.address())).unwrap();
    assert_eq!(token.data[32..64], *terms.address().as_ref());
    let again = world.ok(&[terms.open(relayer)], &[]);
    assert_eq!(world.lamports(relayer), before - done.fee - again.fee - RENT - TOKEN_RENT);
}

#[test]
fn a_plain_transfer_becomes_credit_less_the_fee() {
    let (mut world, terms) = waiting(100 * USDC + FEE);
    let swept: Deposited = event(&world.ok(&[terms.sweep(key(&world.relayer), 1)], &[]));
    assert_eq!((swept.account, swept.payer, swept.amount), (1 << 32 | 1, terms.address(), 100 * USDC));
    assert_eq!(swept.swept, Some(Swept { deposit_address: terms.address(), fee: FEE }));
    assert_eq!(swept.opened, Some(Opened { owner: terms.owner, operator_index: 1, terms_version: 1 }));
    assert_eq!(swept.raised, Some(Raised { signer: terms.owner, ceiling: UNLIMITED }));
    let account = world.account(1, 1).unwrap();
    assert_eq!((account.owner, account.ceiling), (terms.owner, UNLIMITED));
    assert_eq!(account.deposit_address, terms.address());
    assert_eq!((world.vault(), world.operator(1).earnings), (100 * USDC + FEE, FEE)); // I-1
    assert_eq!(world.usdc(terms.address()), 0);
}

#[test]
fn the_next_transfer_tops_the_same_account_up() {
    let (mut world, terms) = waiting(100 * USDC + FEE);
    world.ok(&[terms.sweep(key(&world.relayer), 1)], &[]);
    send_to(&mut world, terms, 100 * USDC + FEE);
    // Opening a second account instead, or feeding another one, is not up to who sweeps.
    assert!(world.send(&[terms.sweep(key(&world.relayer), 2)], &[]).is_err());
    let owner = world.owner.insecure_clone();
    world.open(1, &owner, 100 * USDC, 0);
    world.refused(&[terms.sweep(key(&world.relayer), 2)], &[], Refused::WrongDepositAccount);
    let swept: Deposited = event(&world.ok(&[terms.sweep(key(&world.relayer), 1)], &[]));
    assert_eq!((swept.account, swept.amount, swept.credit), (1 << 32 | 1, 100 * USDC, 200 * USDC));
    assert_eq!((swept.opened, swept.raised, swept.discount_bps), (None, None, 1500));
    assert_eq!(world.operator(1).earnings, 2 * FEE);
}

/// Without `open_deposit_address`: whoever paid made the token account, and the sweep makes the record.
#[test]
fn an_address_that_nobody_opened_is_swept_as_well() {
    let mut world = World::new();
    let terms = committed(&world);
    world.fund(terms.address(), 5 * USDC + FEE);
    let swept: Deposited = event(&world.ok(&[terms.sweep(key(&world.relayer), 1)], &[]));
    assert_eq!((swept.amount, world.lamports(terms.address())), (5 * USDC, RENT));
}

#[test]
fn after_the_account_closed_a_new_one_opens() {
    let (mut world, terms) = waiting(100 * USDC + FEE);
    let (operator, relayer) = (world.operator.insecure_clone(), key(&world.relayer));
    world.ok(&[terms.sweep(relayer, 1)], &[]);
    let close = |deposit| close_account(key(&operator), 1, terms.owner, relayer, deposit);
    // The account remembers which address feeds it.
    world.refused(&[close(None)], &[&operator], Refused::WrongDepositAddress);
    let other = Committed { fee: FEE + 1, ..terms };
    world.ok(&[other.open(relayer)], &[]);
    world.refused(&[close(Some(other.address()))], &[&operator], Refused::WrongDepositAddress);
    world.ok(&[close(Some(terms.address()))], &[&operator]);
    send_to(&mut world, terms, 2 * USDC + FEE);
    let swept: Deposited = event(&world.ok(&[terms.sweep(relayer, 2)], &[]));
    assert_eq!((swept.account, swept.credit), (1 << 32 | 2, 2 * USDC));
}

#[test]
fn the_owner_leaves_an_account_that_an_address_fed() {
    let (mut world, terms) = waiting(100 * USDC + FEE);
    let (owner, relayer) = (world.owner.insecure_clone(), key(&world.relayer));
    world.ok(&[terms.sweep(relayer, 1)], &[]);
    world.ok(&[request_refund(terms.owner, 1)], &[&owner]);
    send_to(&mut world, terms, 5 * USDC);
    world.refused(&[terms.sweep(relayer, 1)], &[], Refused::RefundAlreadyRequested);
    world.set_time(NOW + i64::from(DELAY));
    // What lies at the address does not stand in the way.
    world.ok(&[refund(terms.owner, 1, relayer, Some(terms.address()))], &[&owner]);
    assert!(world.account(1, 1).is_none());
}

#[test]
fn nothing_to_sweep_and_too_little_are_refused() {
    let (mut world, terms) = waiting(FEE);
    let relayer = key(&world.relayer);
    world.refused(&[terms.sweep(relayer, 1)], &[], Refused::NothingToSweep);
    send_to(&mut world, terms, USDC - 1);
    world.refused(&[terms.sweep(relayer, 1)], &[], Refused::DepositTooSmall);
    send_to(&mut world, terms, 1);
    world.ok(&[terms.sweep(relayer, 1)], &[]);
    send_to(&mut world, terms, FEE);
    world.refused(&[terms.sweep(relayer, 1)], &[], Refused::NothingToSweep);
}

#[test]
fn an_address_commits_to_its_terms() {
    let (mut world, terms) = waiting(100 * USDC);
    let relayer = key(&world.relayer);
    for other in [
        Committed { owner: relayer, ..terms },
        Committed { ceiling: 5, ..terms },
        Committed { fee: 0, ..terms },
        Committed { fee: 50 * USDC, ..terms },
    ] {
        let mut sweep = other.sweep(relayer, 1);
        sweep.accounts[2].pubkey = address(terms.address());
        sweep.accounts[3].pubkey = address(token_address(terms.address()));
        world.refused(&[sweep], &[], Refused::WrongDepositAddress);
    }
    world.refused(&[Committed { fee: 1 << 56, ..terms }.open(relayer)], &[], Refused::AmountTooLarge);
    world.refused(&[Committed { ceiling: 1 << 56, ..terms }.open(relayer)], &[], Refused::AmountTooLarge);
}

#[test]
fn closing_returns_both_rents_to_who_opened_it() {
    let (mut world, terms) = waiting(0);
    let relayer = key(&world.relayer);
    let stranger = keypair("stranger");
    world.svm.airdrop(&address(key(&stranger)), 1 << 30).unwrap();
    world.refused(&[terms.close(key(&stranger), None)], &[&stranger], Refused::WrongRentPayer);
    let before = world.lamports(relayer);
    let done = world.ok(&[terms.close(relayer, None)], &[]);
    assert!(recorded(&done).is_empty());
    assert_eq!(world.lamports(relayer), before - done.fee + RENT + TOKEN_RENT);
    assert!(world.get(terms.address()).is_none());
    assert!(world.get(token_address(terms.address())).is_none());
    // And it can be opened again.
    world.ok(&[terms.open(relayer)], &[]);
}

/// T-37: a record without its token account would give its maker the rent that somebody else lays out for the other.
#[test]
fn nobody_lays_out_rent_that_another_takes() {
    let mut world = World::new();
    let terms = committed(&world);
    let (relayer, thief) = (key(&world.relayer), keypair("thief"));
    world.svm.airdrop(&address(key(&thief)), 1 << 30).unwrap();
    // At the address, but not in the token account that payments go to.
    let elsewhere = Pubkey::new_from_array([5; 32]);
    world.set(elsewhere, accounts::token(terms.address(), seeds::USDC, 5 * USDC + FEE, accounts::TOKEN));
    let mut sweep = terms.sweep(key(&thief), 1);
    sweep.accounts[3].pubkey = address(elsewhere);
    world.refused(std::slice::from_ref(&sweep), &[&thief], Refused::WrongTokenAccount);
    assert!(world.get(terms.address()).is_none());
    // It stands in nobody's way: whoever opens the address gets both rents back, and then it is swept as well, by anybody.
    let before = world.lamports(relayer);
    let done = world.ok(&[terms.open(relayer)], &[]);
    assert_eq!(world.lamports(relayer), before - done.fee - RENT - TOKEN_RENT);
    let swept: Deposited = event(&world.ok(&[sweep], &[&thief]));
    assert_eq!((swept.amount, swept.opened.is_some()), (5 * USDC, true));
    let stored = world.get(terms.address()).unwrap();
    let record: DepositAddress = anchor_lang::AccountDeserialize::try_deserialize(&mut stored.data.as_slice()).unwrap();
    assert_eq!((record.account, record.rent_payer), (1 << 32 | 1, relayer));
}

/// A token account that was made without its record: who makes the record gets both rents back. So the product opens one with
/// `open_deposit_address` only.
#[test]
fn a_bare_token_account_is_a_gift_to_who_makes_the_record() {
    let mut world = World::new();
    let terms = committed(&world);
    let stranger = keypair("stranger");
    world.svm.airdrop(&address(key(&stranger)), 1 << 30).unwrap();
    let gift = world.fund(terms.address(), 0);
    let rent = world.lamports(gift);
    let before = world.lamports(key(&stranger));
    world.ok(&[terms.open(key(&stranger)), terms.close(key(&stranger), None)], &[&stranger]);
    assert_eq!(world.lamports(key(&stranger)), before + rent);
}

#[test]
fn closing_gives_what_lies_there_to_the_owner() {
    let (mut world, terms) = waiting(7);
    let (relayer, funds) = (key(&world.relayer), world.usdc(key(&world.owner)));
    world.refused(&[terms.close(relayer, None)], &[], Refused::WrongTokenAccount);
    let mine = world.fund(relayer, 0);
    world.refused(&[terms.close(relayer, Some(mine))], &[], Refused::WrongTokenAccount);
    let done = world.ok(&[terms.close(relayer, Some(token_address(terms.owner)))], &[]);
    let recovered: Recovered = event(&done);
    assert_eq!((recovered.deposit_address, recovered.owner), (terms.address(), terms.owner));
    assert_eq!((recovered.token, recovered.amount), (seeds::USDC, 7));
    assert_eq!(world.usdc(terms.owner), funds + 7);
}

#[test]
fn an_address_that_feeds_an_account_stays() {
    let (mut world, terms) = waiting(100 * USDC);
    let relayer = key(&world.relayer);
    world.ok(&[terms.sweep(relayer, 1)], &[]);
    world.refused(&[terms.close(relayer, None)], &[], Refused::DepositAddressInUse);
}

#[test]
fn every_wrong_account_of_open_is_refused() {
    let mut world = World::new();
    let terms = committed(&world);
    let fake_mint = Pubkey::new_from_array([3; 32]);
    world.set(fake_mint, accounts::mint(accounts::TOKEN));
    Case {
        name: "open_deposit_address",
        instruction: terms.open(key(&world.relayer)),
        signers: &[],
        before: vec![],
        twins: vec![
            ("deposit_address", Committed { fee: 0, ..terms }.address()),
            ("deposit_token", token_address(key(&world.owner))),
            ("mint", fake_mint),
            ("token_program", accounts::TOKEN_2022),
            ("associated_token_program", accounts::TOKEN),
            ("system_program", accounts::TOKEN),
        ],
        free: &["payer"],
    }
    .check(&mut world);
}

#[test]
fn every_wrong_account_of_sweep_is_refused() {
    for already_fed in [false, true] {
        let (mut world, terms) = waiting(100 * USDC);
        let (owner, relayer) = (world.owner.insecure_clone(), key(&world.relayer));
        if already_fed {
            world.ok(&[terms.sweep(relayer, 1)], &[]);
            send_to(&mut world, terms, 100 * USDC);
        }
        world.second_operator();
        world.open(2, &owner, 100 * USDC, 0);
        let other = Committed { fee: 0, ..terms };
        world.ok(&[other.open(relayer)], &[]);
        send_to(&mut world, other, 100 * USDC);
        let fake_mint = Pubkey::new_from_array([3; 32]);
        world.set(fake_mint, accounts::mint(accounts::TOKEN));
        Case {
            name: "sweep",
            instruction: terms.sweep(relayer, 1),
            signers: &[],
            before: vec![],
            twins: vec![
                ("operator", operator_address(2)),
                ("deposit_address", other.address()),
                ("deposit_token", token_address(other.address())),
                ("account", account_address(2, 1)),
                ("account", account_address(1, 2)),
                ("vault", token_address(key(&owner))),
                ("mint", fake_mint),
                ("token_program", accounts::TOKEN_2022),
            ],
            free: &["payer"],
        }
        .check(&mut world);
    }
}

#[test]
fn every_wrong_account_of_close_is_refused() {
    let mut world = World::new();
    let terms = committed(&world);
    let other = Committed { fee: 0, ..terms };
    let payer = keypair("payer");
    world.svm.airdrop(&address(key(&payer)), 1 << 30).unwrap();
    for each in [terms, other] {
        world.ok(&[each.open(key(&payer))], &[&payer]);
        send_to(&mut world, each, 7);
    }
    let mine = world.fund(key(&payer), 0);
    let fake_mint = Pubkey::new_from_array([3; 32]);
    world.set(fake_mint, accounts::mint(accounts::TOKEN));
    Case {
        name: "close_deposit_address",
        instruction: terms.close(key(&payer), Some(token_address(terms.owner))),
        signers: &[&payer],
        before: vec![],
        twins: vec![
            ("deposit_address", other.address()),
            ("deposit_token", token_address(other.address())),
            ("owner_token", mine),
            ("mint", fake_mint),
            ("token_program", accounts::TOKEN_2022),
        ],
        free: &[],
    }
    .check(&mut world);
}
