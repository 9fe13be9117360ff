use compute_futures::seeds;

use crate::support::accounts::{self, key, token_address};
use crate::support::substitute::Case;
use crate::support::*;

fn with_earnings() -> World {
    let mut world = World::with_account();
    let posted = world.post(&[Row { sequence: 1, list_amount: 10 * USDC, discount_bps: 1000 }]);
    assert_eq!(posted.charged, 9 * USDC);
    world
}

#[test]
fn it_pays_what_was_earned_and_no_more() {
    let mut world = with_earnings();
    let (operator, payee) = (world.operator.insecure_clone(), key(&keypair("payee")));
    world.fund(payee, 0);
    let take = |amount| withdraw_earnings(key(&operator), payee, amount);
    world.refused(&[take(9 * USDC + 1)], &[&operator], Refused::InsufficientEarnings); // I-1
    let withdrawn: EarningsWithdrawn = event(&world.ok(&[take(4 * USDC)], &[&operator]));
    assert_eq!((withdrawn.operator_index, withdrawn.to, withdrawn.amount), (1, payee, 4 * USDC));
    assert_eq!(withdrawn.token_account, token_address(payee));
    world.ok(&[take(5 * USDC)], &[&operator]);
    world.refused(&[take(1)], &[&operator], Refused::InsufficientEarnings);
    assert_eq!((world.usdc(payee), world.vault(), world.operator(1).earnings), (9 * USDC, 91 * USDC, 0));
}

#[test]
fn the_vault_is_no_recipient() {
    let mut world = with_earnings();
    let operator = world.operator.insecure_clone();
    let take = withdraw_earnings(key(&operator), seeds::VAULT_AUTHORITY, 1);
    world.refused(&[take], &[&operator], Refused::InvalidRecipient);
}

#[test]
fn another_operator_takes_nothing() {
    let mut world = with_earnings();
    let other = world.second_operator();
    world.fund(key(&other), 0);
    let take = withdraw_earnings(key(&other), key(&other), 1);
    world.refused(std::slice::from_ref(&take), &[&other], Refused::NotOperator);
    let mut own = take;
    own.accounts[1].pubkey = address(operator_address(2));
    world.refused(&[own], &[&other], Refused::InsufficientEarnings);
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = with_earnings();
    world.second_operator();
    let (operator, payee) = (world.operator.insecure_clone(), key(&keypair("payee")));
    world.fund(payee, 0);
    let fake_mint = Pubkey::new_from_array([3; 32]);
    world.set(fake_mint, accounts::mint(accounts::TOKEN));
    let mut case = Case {
        name: "withdraw_earnings",
        instruction: withdraw_earnings(key(&operator), payee, USDC),
        signers: &[&operator],
        before: vec![],
        twins: vec![
            ("operator", operator_address(2)),
            ("destination", seeds::VAULT_TOKEN_ACCOUNT),
            ("vault", token_address(payee)),
            ("vault_authority", key(&operator)),
            ("mint", fake_mint),
            ("token_program", accounts::TOKEN_2022),
        ],
        free: &["destination"],
    };
    // Any USDC account will do as destination, so forgeries of one are tried by hand.
    let other_mint = Pubkey::new_from_array([5; 32]);
    world.set(other_mint, accounts::token(payee, fake_mint, 0, accounts::TOKEN));
    let stranger = Pubkey::new_from_array([6; 32]);
    world.set(stranger, accounts::token(payee, seeds::USDC, 0, accounts::TOKEN_2022));
    for wrong in [other_mint, stranger, payee, operator_address(1)] {
        let mut changed = case.instruction.clone();
        changed.accounts[2].pubkey = address(wrong);
        assert!(world.send(&[changed], &[&operator]).is_err(), "{wrong}");
    }
    case.twins.retain(|(name, _)| *name != "destination");
    case.check(&mut world);
}
