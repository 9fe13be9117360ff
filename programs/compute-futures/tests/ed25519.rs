//! `raise_ceiling_with_signature`, and everything that looks like a signature and is none.

use compute_futures::seeds::CLUSTER;
use compute_futures::typed_data::{domain_separator, spend_ceiling_digest};

use crate::support::accounts::key;
use crate::support::substitute::Case;
use crate::support::*;

const ID: u64 = 1 << 32 | 1;

fn digest(account: u64, ceiling: u64) -> [u8; 32] {
    spend_ceiling_digest(&domain_separator(CLUSTER, &compute_futures::ID), account, ceiling)
}

/// Account 1 with a ceiling of 10; raising it to 20 by relayed signature.
fn world() -> (World, Keypair, Instruction) {
    let mut world = World::new();
    let owner = world.owner.insecure_clone();
    world.open(1, &owner, 100 * USDC, 10);
    (world, owner, raise_ceiling_with_signature(account_address(1, 1), 20))
}

#[test]
fn owner_and_delegate_sign_and_anyone_relays() {
    let (mut world, owner, raise) = world();
    let raised: CeilingRaised = event(&world.ok(&[signed(&owner, &digest(ID, 20)), raise.clone()], &[]));
    assert_eq!((raised.account, raised.signer, raised.ceiling), (ID, key(&owner), 20));
    // A replay raises nothing.
    world.refused(&[signed(&owner, &digest(ID, 20)), raise], &[], Refused::CeilingNotRaised);

    let delegate = keypair("delegate");
    world.ok(&[set_delegate(key(&owner), 1, Some(key(&delegate)))], &[&owner]);
    let raise = raise_ceiling_with_signature(account_address(1, 1), 30);
    let raised: CeilingRaised = event(&world.ok(&[signed(&delegate, &digest(ID, 30)), raise], &[]));
    assert_eq!(raised.signer, key(&delegate));
}

#[test]
fn other_signers_and_other_messages_are_refused() {
    let (mut world, owner, raise) = world();
    let operator = world.operator.insecure_clone();
    for stranger in [&operator, &keypair("stranger")] {
        world.refused(&[signed(stranger, &digest(ID, 20)), raise.clone()], &[], Refused::InvalidSignature);
    }
    let other_domain = |cluster, program| spend_ceiling_digest(&domain_separator(cluster, &program), ID, 20);
    let devnet = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
    for message in [
        digest(ID, 21),
        digest(ID + 1, 20),
        digest(2 << 32 | 1, 20),
        other_domain(devnet, compute_futures::ID), // T-2
        other_domain(CLUSTER, key(&operator)),
    ] {
        world.refused(&[signed(&owner, &message), raise.clone()], &[], Refused::InvalidSignature);
    }
    // A delegate that was replaced.
    let old = keypair("old");
    world.ok(&[set_delegate(key(&owner), 1, Some(key(&old)))], &[&owner]);
    world.ok(&[set_delegate(key(&owner), 1, None)], &[&owner]);
    world.refused(&[signed(&old, &digest(ID, 20)), raise.clone()], &[], Refused::InvalidSignature);
    world.ok(&[signed(&owner, &digest(ID, 20)), raise], &[]);
}

#[test]
fn forged_signatures_are_refused() {
    let (mut world, owner, raise) = world();
    let between = verify_receipt(1, 1, [0; 32], vec![], vec![]);
    attack(&mut world, &owner, &digest(ID, 20), &raise, between, 6000 + Refused::InvalidSignature as u32);
}

/// Another precompile verifies the same bytes with a key of another curve, which somebody may well have the secret of.
#[test]
fn a_signature_of_another_curve_is_none() {
    let (mut world, owner, raise) = world();
    let other = OtherCurve::new("delegate of another curve");
    world.ok(&[set_delegate(key(&owner), 1, Some(other.claimed()))], &[&owner]);
    let sign = other.signed(&digest(ID, 20));
    world.ok(std::slice::from_ref(&sign), &[]); // verified, but not by the ed25519 program
    world.refused(&[sign, raise], &[], Refused::InvalidSignature);
}

/// The zero key stands for "no delegate". It is a point of small order, over which signatures can be made up.
#[test]
fn no_delegate_is_nobody() {
    let (mut world, _, raise) = world();
    let mut nobody = signed(&keypair("stranger"), &digest(ID, 20));
    nobody.data[16..112].fill(0);
    assert!(world.send(&[nobody, raise], &[]).is_err());
    let account = world.account(1, 1).unwrap();
    assert!(!account.may_spend(&Pubkey::default()), "whatever the precompile lets through");
}

#[test]
fn every_wrong_account_is_refused() {
    let (mut world, owner, raise) = world();
    let other = keypair("other owner");
    world.fund(key(&other), 100 * USDC);
    world.open(1, &other, 100 * USDC, 10);
    Case {
        name: "raise_ceiling_with_signature",
        instruction: raise,
        signers: &[],
        before: vec![signed(&owner, &digest(ID, 20))],
        twins: vec![("account", account_address(1, 2)), ("account", operator_address(1))],
        free: &[],
    }
    .check(&mut world);
}
