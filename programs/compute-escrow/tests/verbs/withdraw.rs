use compute_escrow::seeds;

use crate::support::*;

/// Provider 1 earned 5 USDC.
fn earned() -> World {
    let mut world = World::with_session();
    world.close(1 << 32 | 1, 5 * USDC);
    world
}

#[test]
fn it_pays_what_was_earned_and_no_more() {
    let mut world = earned();
    let owner = world.provider.insecure_clone();
    let withdrawn: EarningsWithdrawn = event(&world.ok(&[withdraw(key(&owner), 1, 2 * USDC)], &[&owner]));
    assert_eq!((withdrawn.provider, withdrawn.to, withdrawn.amount), (1, key(&owner), 2 * USDC));
    assert_eq!(withdrawn.token_account, token_address(key(&owner)));
    assert_eq!((world.earnings(1).unwrap().earnings, world.usdc(key(&owner))), (3 * USDC, 2 * USDC));
    for more in [3 * USDC + 1, u64::MAX] {
        world.refused(&[withdraw(key(&owner), 1, more)], &[&owner], Refused::InsufficientEarnings);
    }
    world.ok(&[withdraw(key(&owner), 1, 3 * USDC)], &[&owner]);
    assert_eq!((world.vault(), world.earnings(1).unwrap().earnings), (95 * USDC, 0));
}

#[test]
fn a_retired_provider_takes_its_earnings_too() {
    let mut world = earned();
    let owner = world.provider.insecure_clone();
    world.ok(&[retire(key(&owner), 1)], &[&owner]);
    world.ok(&[withdraw(key(&owner), 1, 5 * USDC)], &[&owner]);
}

#[test]
fn to_any_account_but_the_vault() {
    let mut world = earned();
    let (owner, agent) = (world.provider.insecure_clone(), key(&world.agent));
    let to = |at: Pubkey| {
        let mut there = withdraw(key(&owner), 1, USDC);
        there.accounts[3].pubkey = address(at);
        there
    };
    world.refused(&[to(seeds::VAULT_TOKEN_ACCOUNT)], &[&owner], Refused::InvalidRecipient);
    world.fund(agent, 0);
    let withdrawn: EarningsWithdrawn = event(&world.ok(&[to(token_address(agent))], &[&owner]));
    assert_eq!((withdrawn.to, world.usdc(agent)), (agent, USDC));
}

#[test]
fn only_the_owner_and_only_its_own() {
    let mut world = earned();
    let other = keypair("other provider");
    world.fund(key(&other), 0);
    world.refused(&[withdraw(key(&other), 1, USDC)], &[&other], Refused::NotProviderOwner);
    // The owner of provider 2 at the earnings of provider 1.
    world.register(&other, "https://b.example");
    let mut mixed = withdraw(key(&other), 2, USDC);
    mixed.accounts[2].pubkey = address(earnings_address(1));
    world.refused(&[mixed], &[&other], Refused::WrongEarnings);
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = earned();
    let (owner, other) = (world.provider.insecure_clone(), keypair("other provider"));
    world.fund(key(&other), 0);
    let second = world.register(&other, "https://b.example");
    let content_hash = world.provider_state(second).content_hash;
    let request = SessionRequest { provider_id: second, content_hash, ..world.request(USDC, DEADLINE) };
    let agent = world.agent.insecure_clone();
    world.ok(&[open_session(key(&world.relayer), key(&agent), &request, 2)], &[&agent]);
    let fake_mint = Pubkey::new_from_array([3; 32]);
    world.set(fake_mint, mint(TOKEN));
    let other_token = Pubkey::new_from_array([4; 32]);
    world.set(other_token, token(key(&owner), fake_mint, 0, TOKEN));
    let mut forged = world.get(provider_address(1)).unwrap();
    forged.owner = address(compute_escrow::ID);
    let forged_provider = Pubkey::new_from_array([5; 32]);
    world.set(forged_provider, forged);
    Case {
        name: "withdraw",
        instruction: withdraw(key(&owner), 1, USDC),
        signers: &[&owner],
        before: vec![],
        twins: vec![
            ("owner", key(&other)),
            ("provider", provider_address(2)),
            ("provider", forged_provider),
            ("earnings", earnings_address(2)),
            ("earnings", escrow_address(1)),
            ("destination", seeds::VAULT_TOKEN_ACCOUNT),
            ("destination", other_token),
            ("vault", token_address(key(&other))),
            ("vault_authority", key(&owner)),
            ("mint", fake_mint),
            ("token_program", TOKEN_2022),
        ],
        free: &["destination"],
    }
    .check(&mut world);
    for wrong in [seeds::VAULT_TOKEN_ACCOUNT, other_token, key(&owner)] {
        let mut elsewhere = withdraw(key(&owner), 1, USDC);
        elsewhere.accounts[3].pubkey = address(wrong);
        assert!(world.send(&[elsewhere], &[&owner]).is_err());
    }
}
