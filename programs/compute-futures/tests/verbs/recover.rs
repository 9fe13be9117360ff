use compute_futures::seeds;

use crate::support::accounts::{self, TOKEN, TOKEN_2022, key, token_address, token_amount};
use crate::support::substitute::Case;
use crate::support::*;

fn committed(world: &World) -> Committed {
    Committed { owner: key(&world.owner), ceiling: UNLIMITED, fee: 10_000 }
}

/// Token accounts of the address (holding 40) and of the owner, for a mint of this program; `extra` bytes of extensions.
fn other_token(world: &mut World, terms: Committed, program: Pubkey, extra: usize) -> (Pubkey, Pubkey, Pubkey) {
    let [mint, from, to] = [11, 12, 13].map(|byte| Pubkey::new_from_array([byte; 32]));
    let mut account = accounts::mint(program);
    if extra > 0 {
        // An account with extensions: padded to 165 bytes, then the kind of account (1: mint), then the extensions.
        account.data.resize(166 + extra, 0);
        account.data[165] = 1;
    }
    world.set(mint, account);
    world.set(from, accounts::token(terms.address(), mint, 40, program));
    world.set(to, accounts::token(terms.owner, mint, 0, program));
    (mint, from, to)
}

#[test]
fn the_owner_takes_usdc_back_without_a_fee() {
    let mut world = World::new();
    let (terms, owner) = (committed(&world), world.owner.insecure_clone());
    let funds = world.usdc(terms.owner);
    world.fund(terms.address(), 5 * USDC);
    let (from, to) = (token_address(terms.address()), token_address(terms.owner));
    let done = world.ok(&[terms.recover(from, to, seeds::USDC, TOKEN)], &[&owner]);
    let recovered: Recovered = event(&done);
    assert_eq!((recovered.deposit_address, recovered.owner), (terms.address(), terms.owner));
    assert_eq!((recovered.token, recovered.amount), (seeds::USDC, 5 * USDC));
    assert_eq!(world.usdc(terms.owner), funds + 5 * USDC);
    world.refused(&[terms.recover(from, to, seeds::USDC, TOKEN)], &[&owner], Refused::NothingToSweep);
}

#[test]
fn any_plain_token_comes_back() {
    for program in [TOKEN, TOKEN_2022] {
        let mut world = World::new();
        let (terms, owner) = (committed(&world), world.owner.insecure_clone());
        let (mint, from, to) = other_token(&mut world, terms, program, 0);
        let recovered: Recovered = event(&world.ok(&[terms.recover(from, to, mint, program)], &[&owner]));
        assert_eq!((recovered.token, recovered.amount), (mint, 40));
        assert_eq!(token_amount(&world.get(to).unwrap().data), 40);
    }
}

#[test]
fn a_token_2022_mint_with_extensions_is_refused() {
    let mut world = World::new();
    let (terms, owner) = (committed(&world), world.owner.insecure_clone());
    // A close authority extension: type 3, 32 bytes.
    let (mint, from, to) = other_token(&mut world, terms, TOKEN_2022, 36);
    let mut account = world.get(mint).unwrap();
    account.data[166..170].copy_from_slice(&[3, 0, 32, 0]);
    world.set(mint, account);
    world.refused(&[terms.recover(from, to, mint, TOKEN_2022)], &[&owner], Refused::TokenNotPlain);
}

#[test]
fn nobody_else_recovers() {
    let mut world = World::new();
    let (terms, stranger) = (committed(&world), keypair("stranger"));
    world.fund(terms.address(), 5 * USDC);
    let to = world.fund(key(&stranger), 0);
    let from = token_address(terms.address());
    let mut steal = terms.recover(from, to, seeds::USDC, TOKEN);
    steal.accounts[0].pubkey = address(key(&stranger));
    world.refused(&[steal], &[&stranger], Refused::WrongDepositAddress);
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::new();
    let (terms, owner) = (committed(&world), world.owner.insecure_clone());
    let other = Committed { fee: 0, ..terms };
    world.fund(terms.address(), 5 * USDC);
    world.fund(other.address(), 5 * USDC);
    let mine = world.fund(key(&world.relayer), 0);
    let (fake_mint, _, fake_destination) = other_token(&mut world, terms, TOKEN, 0);
    let (from, to) = (token_address(terms.address()), token_address(terms.owner));
    Case {
        name: "recover",
        instruction: terms.recover(from, to, seeds::USDC, TOKEN),
        signers: &[&owner],
        before: vec![],
        twins: vec![
            ("deposit_address", other.address()),
            ("source", token_address(other.address())),
            ("destination", mine),
            ("destination", fake_destination),
            ("mint", fake_mint),
            ("token_program", TOKEN_2022),
        ],
        free: &[],
    }
    .check(&mut world);
}
