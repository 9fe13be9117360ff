use compute_escrow::seeds::USDC as MINT;

use crate::support::*;

const PLAIN: (Pubkey, Pubkey) = (MINT, TOKEN);

/// 7 USDC at the deposit address of the creator's terms.
fn waiting() -> (World, EscrowTerms) {
    let mut world = World::new();
    let terms = world.terms();
    world.fund(deposit_address(&terms), 7 * USDC);
    (world, terms)
}

fn back(caller: Pubkey, terms: &EscrowTerms) -> Instruction {
    recover(caller, terms, token_address(deposit_address(terms)), token_address(terms.creator), PLAIN)
}

#[test]
fn the_creator_takes_it_back_any_time() {
    let (mut world, terms) = waiting();
    let creator = world.creator.insecure_clone();
    let recovered: Recovered = event(&world.ok(&[back(key(&creator), &terms)], &[&creator]));
    assert_eq!((recovered.deposit_address, recovered.creator), (deposit_address(&terms), key(&creator)));
    assert_eq!((recovered.token, recovered.amount), (MINT, 7 * USDC));
    assert_eq!(world.usdc(key(&creator)), 1_000_007 * USDC);
    world.refused(&[back(key(&creator), &terms)], &[&creator], Refused::NothingToSweep);
}

#[test]
fn anyone_else_only_after_the_expiry_and_only_to_the_creator() {
    let (mut world, terms) = waiting();
    let stranger = keypair("stranger");
    world.fund(key(&stranger), 0);
    world.set_time(EXPIRY as i64);
    world.refused(&[back(key(&stranger), &terms)], &[&stranger], Refused::NotCreator);
    world.set_time(EXPIRY as i64 + 1);
    let mut elsewhere = back(key(&stranger), &terms);
    elsewhere.accounts[3].pubkey = address(token_address(key(&stranger)));
    world.refused(&[elsewhere], &[&stranger], Refused::WrongTokenAccount);
    world.ok(&[back(key(&stranger), &terms)], &[&stranger]);
    assert_eq!(world.usdc(terms.creator), 1_000_007 * USDC);
}

#[test]
fn terms_that_commit_to_somebody_else_take_nothing() {
    let (mut world, terms) = waiting();
    let stranger = keypair("stranger");
    world.fund(key(&stranger), 0);
    let own = EscrowTerms { creator: key(&stranger), ..terms.clone() };
    let mut theirs = back(key(&stranger), &own);
    theirs.accounts[1].pubkey = address(deposit_address(&terms));
    theirs.accounts[2].pubkey = address(token_address(deposit_address(&terms)));
    world.refused(&[theirs], &[&stranger], Refused::WrongDepositAddress);
}

#[test]
fn other_tokens_come_back_too() {
    let (mut world, terms) = waiting();
    let creator = world.creator.insecure_clone();
    for (i, program) in [TOKEN, TOKEN_2022].into_iter().enumerate() {
        let place = |kind: u8| Pubkey::new_from_array([20 + 3 * i as u8 + kind; 32]);
        world.set(place(0), mint(program));
        world.set(place(1), token(deposit_address(&terms), place(0), 5, program));
        world.set(place(2), token(key(&creator), place(0), 0, program));
        let take = recover(key(&creator), &terms, place(1), place(2), (place(0), program));
        let recovered: Recovered = event(&world.ok(&[take], &[&creator]));
        assert_eq!((recovered.token, recovered.amount), (place(0), 5));
    }
    // A mint with extensions may do anything on a transfer.
    let [extended, from, to] = [40, 41, 42].map(|byte| Pubkey::new_from_array([byte; 32]));
    let mut large = mint(TOKEN_2022);
    // Padding up to a token account's length, the kind of account (1: mint), an extension (9: non-transferable) of no bytes.
    large.data.resize(165, 0);
    large.data.extend([1, 9, 0, 0, 0]);
    world.set(extended, large);
    world.set(from, token(deposit_address(&terms), extended, 5, TOKEN_2022));
    world.set(to, token(key(&creator), extended, 0, TOKEN_2022));
    let take = recover(key(&creator), &terms, from, to, (extended, TOKEN_2022));
    world.refused(&[take], &[&creator], Refused::TokenNotPlain);
}

#[test]
fn every_wrong_account_is_refused() {
    let (mut world, terms) = waiting();
    let (creator, stranger) = (world.creator.insecure_clone(), keypair("stranger"));
    world.fund(key(&stranger), 5 * USDC);
    let other = EscrowTerms { expiry: terms.expiry + 1, ..terms.clone() };
    world.fund(deposit_address(&other), USDC);
    let fake_mint = Pubkey::new_from_array([3; 32]);
    world.set(fake_mint, mint(TOKEN));
    Case {
        name: "recover",
        instruction: back(key(&creator), &terms),
        signers: &[&creator],
        before: vec![],
        twins: vec![
            ("caller", key(&stranger)),
            ("deposit_address", deposit_address(&other)),
            ("source", token_address(deposit_address(&other))),
            ("source", token_address(key(&stranger))),
            ("destination", token_address(key(&stranger))),
            ("mint", fake_mint),
            ("token_program", TOKEN_2022),
        ],
        free: &[],
    }
    .check(&mut world);
}
