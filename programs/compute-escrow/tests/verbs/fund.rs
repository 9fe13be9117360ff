use crate::support::*;

#[test]
fn anyone_adds_money_and_it_is_the_creators_then() {
    let mut world = World::with_session();
    let other = keypair("funder");
    world.fund(key(&other), 10 * USDC);
    let funded: EscrowFunded = event(&world.ok(&[fund(key(&other), 1, 4 * USDC)], &[&other]));
    assert_eq!((funded.escrow, funded.payer, funded.amount), (1, key(&other), 4 * USDC));
    assert_eq!((funded.unreserved, funded.created, funded.swept), (99 * USDC, None, None));
    let escrow = world.escrow(1).unwrap();
    assert_eq!((escrow.unreserved, escrow.reserved), (99 * USDC, 5 * USDC));
    assert_eq!((world.vault(), world.usdc(key(&other))), (104 * USDC, 6 * USDC));
}

#[test]
fn not_nothing_not_too_much_not_too_late() {
    let mut world = World::with_session();
    let creator = world.creator.insecure_clone();
    world.fund(key(&creator), 1 << 60);
    let put = |amount| fund(key(&creator), 1, amount);
    world.refused(&[put(0)], &[&creator], Refused::NothingToFund);
    let room = (1 << 56) - 1 - 100 * USDC;
    world.refused(&[put(room + 1)], &[&creator], Refused::BudgetOverflow);
    world.refused(&[put(u64::MAX)], &[&creator], Refused::BudgetOverflow);
    world.ok(&[put(room - 1)], &[&creator]);
    world.set_time(EXPIRY as i64);
    world.ok(&[put(1)], &[&creator]);
    world.set_time(EXPIRY as i64 + 1);
    world.refused(&[put(1)], &[&creator], Refused::Expired);
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::with_escrow();
    let (creator, other) = (world.creator.insecure_clone(), keypair("funder"));
    world.fund(key(&other), 10 * USDC);
    let fake_mint = Pubkey::new_from_array([3; 32]);
    world.set(fake_mint, mint(TOKEN));
    Case {
        name: "fund",
        instruction: fund(key(&creator), 1, USDC),
        signers: &[&creator],
        before: vec![],
        // Another escrow is no mistake but another wish.
        twins: vec![
            ("escrow", agent_address(1, key(&world.agent))),
            ("source", token_address(key(&other))),
            ("vault", token_address(key(&other))),
            ("mint", fake_mint),
            ("token_program", TOKEN_2022),
        ],
        free: &[],
    }
    .check(&mut world);
}
