use compute_futures::seeds;
use proptest::prelude::*;
use solana_account::Account;

use crate::support::accounts::{self, key, token_address};
use crate::support::substitute::Case;
use crate::support::*;

#[test]
fn the_owner_pays_and_the_relayer_pays_the_rent() {
    let mut world = World::new();
    let owner = world.owner.insecure_clone();
    let funds = world.usdc(key(&owner));
    let deposit = Deposit::by(&world, 1, &owner).instruction();
    let deposited: Deposited = event(&world.ok(&[deposit], &[&owner]));
    let id = 1 << 32 | 1;
    assert_eq!((deposited.account, deposited.payer), (id, key(&owner)));
    assert_eq!((deposited.amount, deposited.credit, deposited.discount_bps), (100 * USDC, 100 * USDC, 1000));
    assert_eq!((deposited.previous_discount_bps, deposited.discount_from_batch), (1000, 0));
    assert_eq!(deposited.opened, Some(Opened { owner: key(&owner), operator_index: 1, terms_version: 1 }));
    assert_eq!(deposited.raised, Some(Raised { signer: key(&owner), ceiling: UNLIMITED }));
    assert_eq!(deposited.swept, None);

    let account = world.account(1, 1).unwrap();
    assert_eq!((account.id, account.owner, account.credit, account.charged), (id, key(&owner), 100 * USDC, 0));
    assert_eq!((account.ceiling, account.discount_bps, account.terms_version), (UNLIMITED, 1000, 1));
    assert_eq!((account.refund_delay, account.rent_payer), (DELAY, key(&world.relayer)));
    assert_eq!((account.delegate, account.deposit_address), (Pubkey::default(), Pubkey::default()));
    assert_eq!((world.vault(), world.usdc(key(&owner))), (100 * USDC, funds - 100 * USDC));
    assert_eq!(world.lamports(key(&owner)), 0, "no SOL needed");
    assert_eq!(world.lamports(account_address(1, 1)), 2_449_920);
}

#[test]
fn somebody_else_may_pay_but_not_set_a_ceiling() {
    let mut world = World::new();
    let (owner, friend) = (world.owner.insecure_clone(), keypair("friend"));
    world.fund(key(&friend), 500 * USDC);
    let gift = Deposit { funder: key(&friend), ceiling: 0, ..Deposit::by(&world, 1, &owner) };
    let deposited: Deposited = event(&world.ok(&[gift.instruction()], &[&friend]));
    assert_eq!((deposited.payer, deposited.raised), (key(&friend), None));
    assert_eq!(world.account(1, 1).unwrap().ceiling, 0);

    let mut pushy = Deposit { funder: key(&friend), sequence: 2, ceiling: 1, ..gift }.instruction();
    pushy.accounts[2].is_signer = false;
    world.refused(&[pushy], &[&friend], Refused::NotOwner); // I-2
    // Unless the owner signs as well.
    let agreed = Deposit { funder: key(&friend), ceiling: 5, ..Deposit::by(&world, 1, &owner) };
    world.ok(&[agreed.instruction()], &[&friend, &owner]);
    assert_eq!(world.account(1, 2).unwrap().ceiling, 5);
}

#[test]
fn amounts_out_of_bounds_are_refused() {
    let mut world = World::new();
    let owner = world.owner.insecure_clone();
    world.fund(key(&owner), u64::MAX);
    let deposit = Deposit::by(&world, 1, &owner);
    for (amount, ceiling, error) in [
        (USDC - 1, 0, Refused::DepositTooSmall),
        (0, 0, Refused::DepositTooSmall),
        (1 << 56, 0, Refused::CreditOverflow),
        (u64::MAX, 0, Refused::CreditOverflow),
        (USDC, 1 << 56, Refused::AmountTooLarge),
    ] {
        let wrong = Deposit { amount, ceiling, ..Deposit::by(&world, 1, &owner) };
        world.refused(&[wrong.instruction()], &[&owner], error);
    }
    let most = Deposit { amount: UNLIMITED, ..deposit };
    world.ok(&[most.instruction()], &[&owner]);
    assert_eq!(world.account(1, 1).unwrap().credit, UNLIMITED);
}

#[test]
fn owners_nobody_could_be_are_refused() {
    let mut world = World::new();
    let friend = keypair("friend");
    world.fund(key(&friend), 500 * USDC);
    for nobody in [Pubkey::default(), compute_futures::ID, seeds::VAULT_AUTHORITY] {
        let deposit = Deposit { owner: nobody, ceiling: 0, ..Deposit::by(&world, 1, &friend) };
        world.refused(&[deposit.instruction()], &[&friend], Refused::InvalidOwner);
    }
}

#[test]
fn more_than_the_funder_has_fails_whole() {
    let mut world = World::new();
    let owner = world.owner.insecure_clone();
    let deposit = Deposit { amount: 1_000_001 * USDC, ..Deposit::by(&world, 1, &owner) };
    assert!(world.send(&[deposit.instruction()], &[&owner]).is_err());
    assert!(world.account(1, 1).is_none());
    assert_eq!((world.operator(1).last_sequence, world.vault()), (0, 0));
}

#[test]
fn sequences_are_taken_in_order() {
    let mut world = World::new();
    let owner = world.owner.insecure_clone();
    let ahead = Deposit { sequence: 2, ..Deposit::by(&world, 1, &owner) };
    world.refused(&[ahead.instruction()], &[&owner], Refused::WrongAccountAddress);
    world.open(1, &owner, USDC, 0);
    let again = Deposit { sequence: 1, ..Deposit::by(&world, 1, &owner) };
    world.refused(&[again.instruction()], &[&owner], Refused::WrongAccountAddress);

    // The last account of all.
    let mut stored = world.get(operator_address(1)).unwrap();
    stored.data[92..96].copy_from_slice(&((1u32 << 28) - 2).to_le_bytes());
    world.set(operator_address(1), stored);
    assert_eq!(world.open(1, &owner, USDC, 0), (1 << 28) - 1);
    let beyond = Deposit::by(&world, 1, &owner);
    world.refused(&[beyond.instruction()], &[&owner], Refused::SequenceExhausted);
}

/// Whoever sends lamports to the next account's address beforehand stops nobody.
#[test]
fn lamports_in_the_way_do_not_stop_a_deposit() {
    let mut world = World::new();
    let owner = world.owner.insecure_clone();
    for (sequence, lamports) in [(1, 890_880), (2, 5_000_000)] {
        world.set(account_address(1, sequence), Account { lamports, ..Account::default() });
        assert_eq!(world.open(1, &owner, USDC, 0), sequence);
        assert_eq!(world.lamports(account_address(1, sequence)), lamports.max(2_449_920));
    }
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::new();
    world.second_operator();
    let (owner, friend) = (world.owner.insecure_clone(), keypair("friend"));
    world.fund(key(&friend), 500 * USDC);
    let fake_mint = Pubkey::new_from_array([3; 32]);
    world.set(fake_mint, accounts::mint(accounts::TOKEN));
    Case {
        name: "deposit",
        instruction: Deposit { funder: key(&friend), ..Deposit::by(&world, 1, &owner) }.instruction(),
        signers: &[&friend, &owner],
        before: vec![],
        twins: vec![
            ("operator", operator_address(2)),
            ("account", account_address(2, 1)),
            ("source", token_address(key(&owner))),
            ("vault", token_address(key(&friend))),
            ("mint", fake_mint),
            ("token_program", accounts::TOKEN_2022),
        ],
        // Anybody may be given an account; that an owner signs its ceiling: see above.
        free: &["payer", "owner"],
    }
    .check(&mut world);
}

/// Token-2022 is refused altogether, with extensions or without: USDC is the one mint, SPL Token its program.
#[test]
fn a_token_2022_mint_is_no_usdc() {
    for extensions in [0, 120] {
        let mut world = World::new();
        let owner = world.owner.insecure_clone();
        let mint = Pubkey::new_from_array([4; 32]);
        let mut account = accounts::mint(accounts::TOKEN_2022);
        account.data.resize(82 + extensions, 0);
        world.set(mint, account);
        let source = token_address(key(&owner));
        world.set(source, accounts::token(key(&owner), mint, 500 * USDC, accounts::TOKEN_2022));
        let mut deposit = Deposit::by(&world, 1, &owner).instruction();
        deposit.accounts[7].pubkey = address(mint);
        world.refused(&[deposit.clone()], &[&owner], Refused::WrongMint);
        deposit.accounts[8].pubkey = address(accounts::TOKEN_2022);
        assert!(world.send(&[deposit], &[&owner]).is_err());
    }
}

proptest! {
    #![proptest_config(cases(24))]
    /// I-3: the tier follows the amount, as in `protocol/`.
    #[test]
    fn the_tier_follows_the_amount(amount in prop_oneof![USDC..300 * USDC, USDC..1u64 << 56]) {
        let mut world = World::new();
        let owner = world.owner.insecure_clone();
        world.fund(key(&owner), amount);
        world.open(1, &owner, amount, 0);
        let dollars = amount / USDC;
        let expected = if dollars >= 200 { 1500 } else if dollars >= 50 { 1000 } else if dollars >= 10 { 500 } else { 0 };
        let account = world.account(1, 1).unwrap();
        prop_assert_eq!((account.discount_bps, account.previous_discount_bps), (expected, expected));
    }
}
