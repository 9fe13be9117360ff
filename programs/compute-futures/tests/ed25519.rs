//! `raise_ceiling_with_signature`, and everything that looks like a signature and is none.

use compute_futures::seeds::CLUSTER;
use compute_futures::typed_data::{domain_separator, spend_ceiling_digest};
use ed25519_dalek::{Signer as _, SigningKey};

use crate::support::accounts::key;
use crate::support::substitute::Case;
use crate::support::*;

const PRECOMPILE: Pubkey = Pubkey::from_str_const("Ed25519SigVerify111111111111111111111111111");
const ID: u64 = 1 << 32 | 1;

fn digest(account: u64, ceiling: u64) -> [u8; 32] {
    spend_ceiling_digest(&domain_separator(CLUSTER, &compute_futures::ID), account, ceiling)
}

fn signing_key(keypair: &Keypair) -> SigningKey {
    SigningKey::from_bytes(keypair.secret_bytes())
}

fn precompile(data: Vec<u8>) -> Instruction {
    Instruction { program_id: address(PRECOMPILE), accounts: vec![], data }
}

/// The fields of one signature in the precompile's header.
struct Offsets {
    signature: (u16, u16),
    key: (u16, u16),
    message: (u16, u16, u16),
}

const HERE: u16 = u16::MAX;
const CANONICAL: Offsets = Offsets { signature: (48, HERE), key: (16, HERE), message: (112, 32, HERE) };

impl Offsets {
    fn bytes(&self) -> Vec<u8> {
        let Self { signature, key, message } = self;
        let fields = [signature.0, signature.1, key.0, key.1, message.0, message.1, message.2];
        fields.iter().flat_map(|field| field.to_le_bytes()).collect()
    }
}

fn data(offsets: &Offsets, signer: &Keypair, message: &[u8]) -> Vec<u8> {
    let secret = signing_key(signer);
    let mut data = vec![1, 0];
    data.extend(offsets.bytes());
    data.extend(secret.verifying_key().to_bytes());
    data.extend(secret.sign(message).to_bytes());
    data.extend(message);
    data
}

fn signed(signer: &Keypair, message: &[u8]) -> Instruction {
    precompile(data(&CANONICAL, signer, message))
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
fn without_a_signature_directly_before_it_is_refused() {
    let (mut world, owner, raise) = world();
    let sign = signed(&owner, &digest(ID, 20));
    world.refused(std::slice::from_ref(&raise), &[], Refused::InvalidSignature);
    world.refused(&[raise.clone(), sign.clone()], &[], Refused::InvalidSignature);
    let between = verify_receipt(1, 1, [0; 32], vec![], vec![]);
    world.refused(&[sign.clone(), between, raise.clone()], &[], Refused::InvalidSignature);
    // The same bytes to another program than the ed25519 one verify nothing: a program that takes any data.
    let mut elsewhere = sign.clone();
    elsewhere.program_id = address(Pubkey::from_str_const("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"));
    assert!(world.send(&[elsewhere, raise.clone()], &[]).is_err());
    // A signature that is none fails in the precompile.
    let mut broken = sign.clone();
    broken.data[60] ^= 1;
    assert!(world.send(&[broken, raise.clone()], &[]).is_err());
    world.ok(&[sign, raise], &[]);
}

/// Valid for the precompile, all of them; none in the one form that is taken.
#[test]
fn forms_that_verify_something_else_are_refused() {
    let (mut world, owner, raise) = world();
    let stranger = keypair("stranger");
    let wanted = digest(ID, 20);
    let theirs = signing_key(&stranger);
    let genuine = signed(&owner, &digest(ID, 5)); // the owner did sign something

    // 1. The bytes where we look are the owner's and the wanted message; what is verified stands further on.
    let mut shown = data(&CANONICAL, &owner, &wanted);
    shown[48..112].fill(0); // no signature of the owner over it exists
    let at = shown.len() as u16;
    shown.extend(theirs.verifying_key().to_bytes());
    shown.extend(theirs.sign(b"anything").to_bytes());
    shown.extend(b"anything");
    let moved = Offsets { signature: (at + 32, HERE), key: (at, HERE), message: (at + 96, 8, HERE) };
    shown[2..16].copy_from_slice(&moved.bytes());
    world.refused(&[precompile(shown.clone()), raise.clone()], &[], Refused::InvalidSignature);

    // 2. What is verified stands in another instruction (0: the stranger's own), shown bytes as wanted.
    for place in 0..3 {
        let other = signed(&stranger, &wanted);
        let mut bytes = data(&CANONICAL, &owner, &wanted);
        let offsets = match place {
            // Everything from instruction 0.
            0 => Offsets { signature: (48, 0), key: (16, 0), message: (112, 32, 0) },
            // Key and signature from instruction 0, message from here.
            1 => Offsets { signature: (48, 0), key: (16, 0), message: (112, 32, HERE) },
            // The index of this instruction written out.
            _ => Offsets { signature: (48, 1), key: (16, 1), message: (112, 32, 1) },
        };
        if place < 2 {
            bytes[48..112].fill(0);
        }
        bytes[2..16].copy_from_slice(&offsets.bytes());
        world.refused(&[other, precompile(bytes), raise.clone()], &[], Refused::InvalidSignature);
    }

    // 3. Several signatures, the first of them genuine and over the wanted message; or none at all.
    let first = data(&CANONICAL, &owner, &wanted);
    let mut two = vec![2, 0];
    let shift = |offset: u16| offset + 14;
    let each = Offsets { signature: (shift(48), HERE), key: (shift(16), HERE), message: (shift(112), 32, HERE) };
    two.extend(each.bytes());
    two.extend(each.bytes());
    two.extend(&first[16..]);
    world.refused(&[precompile(two), raise.clone()], &[], Refused::InvalidSignature);
    let mut none = first.clone();
    none[0] = 0;
    assert!(world.send(&[precompile(none), raise.clone()], &[]).is_err());
    assert!(world.send(&[precompile(vec![0, 0]), raise.clone()], &[]).is_err());

    // 4. Longer than the one form, shorter, a longer message, a message that only begins as wanted.
    let mut longer = first.clone();
    longer.push(0);
    world.refused(&[precompile(longer), raise.clone()], &[], Refused::InvalidSignature);
    assert!(world.send(&[precompile(first[..143].to_vec()), raise.clone()], &[]).is_err());
    let message: Vec<u8> = wanted.iter().copied().chain([0]).collect();
    let whole = Offsets { message: (112, 33, HERE), ..CANONICAL };
    world.refused(&[precompile(data(&whole, &owner, &message)), raise.clone()], &[], Refused::InvalidSignature);
    let part = Offsets { message: (112, 31, HERE), ..CANONICAL };
    let mut shorter = data(&part, &owner, &wanted[..31]);
    shorter.push(wanted[31]);
    world.refused(&[precompile(shorter), raise.clone()], &[], Refused::InvalidSignature);

    // 5. A padding byte that is not zero: the precompile does not mind.
    let mut padded = first.clone();
    padded[1] = 1;
    world.refused(&[precompile(padded), raise.clone()], &[], Refused::InvalidSignature);

    // 6. Something else that the owner signed.
    world.refused(&[genuine, raise.clone()], &[], Refused::InvalidSignature);

    world.ok(&[precompile(first), raise], &[]);
}

/// The zero key stands for "no delegate". It is a point of small order, over which signatures can be made up.
#[test]
fn no_delegate_is_nobody() {
    let (mut world, _, raise) = world();
    let mut nobody = data(&CANONICAL, &keypair("stranger"), &digest(ID, 20));
    nobody[16..48].fill(0);
    nobody[48..112].fill(0);
    assert!(world.send(&[precompile(nobody), raise], &[]).is_err());
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
