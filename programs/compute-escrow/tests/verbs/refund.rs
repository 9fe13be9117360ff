use crate::support::*;

#[test]
fn what_is_unreserved_goes_to_the_creator_any_time() {
    let mut world = World::with_session();
    let creator = world.creator.insecure_clone();
    let before = world.usdc(key(&creator));
    let refunded: EscrowRefunded = event(&world.ok(&[refund(key(&creator), 1, 15 * USDC)], &[&creator]));
    assert_eq!((refunded.escrow, refunded.creator), (1, key(&creator)));
    assert_eq!((refunded.amount, refunded.unreserved), (15 * USDC, 80 * USDC));
    // At most what is there: a session opened just before does not make it fail.
    let refunded: EscrowRefunded = event(&world.ok(&[refund(key(&creator), 1, u64::MAX)], &[&creator]));
    assert_eq!((refunded.amount, refunded.unreserved), (80 * USDC, 0));
    assert_eq!((world.usdc(key(&creator)), world.vault()), (before + 95 * USDC, 5 * USDC));
    world.refused(&[refund(key(&creator), 1, 1)], &[&creator], Refused::NothingToRefund);
    let escrow = world.escrow(1).unwrap();
    assert_eq!((escrow.unreserved, escrow.reserved), (0, 5 * USDC));
    // The session is as good as before.
    assert_eq!(world.close(1 << 32 | 1, 5 * USDC).cost, 5 * USDC);
}

#[test]
fn not_to_anybody_else_and_not_nothing() {
    let mut world = World::with_escrow();
    let (creator, agent) = (world.creator.insecure_clone(), world.agent.insecure_clone());
    world.fund(key(&agent), 0);
    world.refused(&[refund(key(&agent), 1, USDC)], &[&agent], Refused::NotCreator);
    let mut elsewhere = refund(key(&creator), 1, USDC);
    elsewhere.accounts[2].pubkey = address(token_address(key(&agent)));
    world.refused(&[elsewhere], &[&creator], Refused::WrongTokenAccount);
    world.refused(&[refund(key(&creator), 1, 0)], &[&creator], Refused::NothingToRefund);
}

/// A frozen token account (a blacklisted creator) loses nothing: it fails whole and can be tried again.
#[test]
fn a_frozen_creator_loses_nothing() {
    let mut world = World::with_escrow();
    let creator = world.creator.insecure_clone();
    let at = token_address(key(&creator));
    let mut frozen = world.get(at).unwrap();
    frozen.data[108] = 2;
    world.set(at, frozen.clone());
    assert!(world.send(&[refund(key(&creator), 1, USDC)], &[&creator]).is_err());
    assert_eq!(world.escrow(1).unwrap().unreserved, 100 * USDC);
    frozen.data[108] = 1;
    world.set(at, frozen);
    world.ok(&[refund(key(&creator), 1, USDC)], &[&creator]);
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::with_escrow();
    let (creator, stranger) = (world.creator.insecure_clone(), keypair("other creator"));
    world.fund(key(&stranger), USDC);
    let terms = EscrowTerms { creator: key(&stranger), ..world.terms() };
    world.ok(&[create(key(&world.relayer), 2, &terms, USDC)], &[&stranger]);
    let fake_mint = Pubkey::new_from_array([3; 32]);
    world.set(fake_mint, mint(TOKEN));
    Case {
        name: "refund",
        instruction: refund(key(&creator), 1, USDC),
        signers: &[&creator],
        before: vec![],
        twins: vec![
            ("creator", key(&stranger)),
            ("escrow", escrow_address(2)),
            ("creator_token", token_address(key(&stranger))),
            ("vault", token_address(key(&creator))),
            ("vault_authority", key(&creator)),
            ("mint", fake_mint),
            ("token_program", TOKEN_2022),
        ],
        free: &[],
    }
    .check(&mut world);
}
