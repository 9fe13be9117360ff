use crate::support::*;

#[test]
fn after_the_expiry_anyone_sends_everything_home() {
    let mut world = World::with_session();
    let relayer = key(&world.relayer);
    world.open(2 * USDC, EXPIRY);
    world.close(1 << 32 | 1, USDC);
    let expire = expire(1, key(&world.creator), relayer, None);
    world.set_time(EXPIRY as i64);
    world.refused(std::slice::from_ref(&expire), &[], Refused::NotExpired);
    world.set_time(EXPIRY as i64 + 1);
    let (before, lamports) = (world.usdc(key(&world.creator)), world.lamports(relayer));
    let rent = world.lamports(escrow_address(1));
    let done = world.ok(std::slice::from_ref(&expire), &[]);
    let expired: EscrowExpired = event(&done);
    // Reservations too: 97 unreserved and 2 reserved.
    assert_eq!((expired.escrow, expired.creator, expired.amount), (1, key(&world.creator), 99 * USDC));
    assert_eq!((world.usdc(key(&world.creator)), world.vault()), (before + 99 * USDC, USDC));
    assert_eq!(world.lamports(relayer), lamports + rent - done.fee);
    assert!(world.escrow(1).is_none());
    world.fails(&[expire], &[], 3007); // once
}

#[test]
fn an_empty_escrow_ends_as_well() {
    let mut world = World::with_escrow();
    let creator = world.creator.insecure_clone();
    world.ok(&[refund(key(&creator), 1, u64::MAX)], &[&creator]);
    world.set_time(EXPIRY as i64 + 1);
    let expired: EscrowExpired = event(&world.ok(&[expire(1, key(&creator), key(&world.relayer), None)], &[]));
    assert_eq!(expired.amount, 0);
    assert!(world.escrow(1).is_none());
}

/// Numbers never come back, so neither does the escrow, nor anything signed for it.
#[test]
fn what_is_over_stays_over() {
    let mut world = World::with_escrow();
    let (creator, agent, relayer) = (world.creator.insecure_clone(), world.agent.insecure_clone(), key(&world.relayer));
    world.set_time(EXPIRY as i64 + 1);
    world.ok(&[expire(1, key(&creator), relayer, None)], &[]);
    let terms = EscrowTerms { expiry: EXPIRY + 100 * DAY, ..world.terms() };
    world.refused(&[create(relayer, 1, &terms, USDC)], &[&creator], Refused::WrongAddress);
    let deadline = EXPIRY + DAY;
    let request = world.request(USDC, deadline);
    let sign = signed(&agent, &opening_digest(&request, key(&agent), 0));
    world.fails(&[sign, open_session_with_signature(relayer, key(&agent), &request, 1)], &[], 3007);
    world.fails(&[fund(key(&creator), 1, USDC)], &[&creator], 3007);
    world.fails(&[refund(key(&creator), 1, USDC)], &[&creator], 3007);
    world.fails(&[add_agent(relayer, key(&creator), 1, key(&creator))], &[&creator], 3007);
}

#[test]
fn only_to_the_creator() {
    let mut world = World::with_escrow();
    let agent = key(&world.agent);
    world.fund(agent, 0);
    world.set_time(EXPIRY as i64 + 1);
    let mut elsewhere = expire(1, key(&world.creator), key(&world.relayer), None);
    elsewhere.accounts[1].pubkey = address(token_address(agent));
    world.refused(&[elsewhere], &[], Refused::WrongTokenAccount);
    // Any USDC account the creator owns will do.
    let second = Pubkey::new_from_array([6; 32]);
    world.set(second, token(key(&world.creator), compute_escrow::seeds::USDC, 0, TOKEN));
    let mut there = expire(1, key(&world.creator), key(&world.relayer), None);
    there.accounts[1].pubkey = address(second);
    world.ok(&[there], &[]);
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::with_session();
    let (relayer, stranger) = (key(&world.relayer), keypair("other creator"));
    world.fund(key(&stranger), USDC);
    let terms = EscrowTerms { creator: key(&stranger), expiry: EXPIRY + 7, ..world.terms() };
    world.ok(&[create(relayer, 2, &terms, USDC)], &[&stranger]);
    world.ok(&[open_deposit_address(relayer, &terms)], &[]);
    let fake_mint = Pubkey::new_from_array([3; 32]);
    world.set(fake_mint, mint(TOKEN));
    world.set_time(EXPIRY as i64 + 1);
    Case {
        name: "expire",
        instruction: expire(1, key(&world.creator), relayer, None),
        signers: &[],
        before: vec![],
        twins: vec![
            ("escrow", escrow_address(2)),
            ("escrow", session_address(1, 1)),
            ("creator_token", token_address(key(&stranger))),
            ("rent_payer", key(&stranger)),
            ("deposit_address", deposit_address(&terms)),
            ("vault", token_address(key(&stranger))),
            ("vault_authority", key(&stranger)),
            ("mint", fake_mint),
            ("token_program", TOKEN_2022),
        ],
        free: &[],
    }
    .check(&mut world);
}
