//! Instructions of the ed25519 precompile: the one form that is taken, and those that verify something else than they show.

use ed25519_dalek::{Signer as _, SigningKey};

use crate::vm::{Vm, address, keypair};
use crate::{Instruction, Keypair, Pubkey};

const PRECOMPILE: Pubkey = Pubkey::from_str_const("Ed25519SigVerify111111111111111111111111111");
const HERE: u16 = u16::MAX;
/// The one form: one signature; its fields are those of [`CANONICAL`].
pub(crate) const HEADER: [u8; 16] = [1, 0, 48, 0, 0xff, 0xff, 16, 0, 0xff, 0xff, 112, 0, 32, 0, 0xff, 0xff];

/// The fields of one signature in the precompile's header: offset and instruction of signature and key; offset, size and instruction of
/// the message.
#[derive(Clone, Copy)]
struct Offsets {
    signature: (u16, u16),
    key: (u16, u16),
    message: (u16, u16, u16),
}

const CANONICAL: Offsets = Offsets { signature: (48, HERE), key: (16, HERE), message: (112, 32, HERE) };

impl Offsets {
    fn bytes(&self) -> Vec<u8> {
        let Self { signature, key, message } = self;
        let fields = [signature.0, signature.1, key.0, key.1, message.0, message.1, message.2];
        fields.iter().flat_map(|field| field.to_le_bytes()).collect()
    }
}

fn signing_key(keypair: &Keypair) -> SigningKey {
    SigningKey::from_bytes(keypair.secret_bytes())
}

fn precompile(data: Vec<u8>) -> Instruction {
    Instruction { program_id: address(PRECOMPILE), accounts: vec![], data }
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

/// `signer` signed `message`, in the one form.
pub fn signed(signer: &Keypair, message: &[u8]) -> Instruction {
    precompile(data(&CANONICAL, signer, message))
}

/// Every way in which `then`, which wants `wanted` signed by `signer` directly before it, is refused with `code`; at last it is accepted.
/// `between` is an instruction that works and has nothing to do with it.
#[track_caller]
pub fn attack(
    world: &mut impl Vm,
    signer: &Keypair,
    wanted: &[u8; 32],
    then: &Instruction,
    between: Instruction,
    code: u32,
) {
    let sign = signed(signer, wanted);
    let refused = |world: &mut _, before: Vec<Instruction>| refuse(world, before, then, code);

    // Not there, after it, not directly before it, broken. (Of another program: `secp256r1`.)
    refused(world, vec![]);
    assert!(world.send(&[then.clone(), sign.clone()], &[]).is_err());
    refused(world, vec![sign.clone(), between]);
    let mut broken = sign;
    broken.data[60] ^= 1;
    assert!(world.send(&[broken, then.clone()], &[]).is_err());

    // By somebody else; over something else.
    let stranger = keypair("stranger");
    refused(world, vec![signed(&stranger, wanted)]);
    let mut other = *wanted;
    other[31] ^= 1;
    refused(world, vec![signed(signer, &other)]);

    for form in forms(signer, &stranger, wanted) {
        refused(world, form);
    }
    // A signature that is none fails in the precompile.
    let first = data(&CANONICAL, signer, wanted);
    let mut none = first.clone();
    none[0] = 0;
    for bytes in [none, vec![0, 0], first[..143].to_vec()] {
        assert!(world.send(&[precompile(bytes), then.clone()], &[]).is_err());
    }
    world.ok(&[precompile(first), then.clone()], &[]);
}

#[track_caller]
fn refuse(world: &mut impl Vm, mut before: Vec<Instruction>, then: &Instruction, code: u32) {
    before.push(then.clone());
    world.fails(&before, &[], code);
}

/// Valid for the precompile, all of them; none in the one form that is taken.
fn forms(signer: &Keypair, stranger: &Keypair, wanted: &[u8; 32]) -> Vec<Vec<Instruction>> {
    let theirs = signing_key(stranger);
    let mut forms = Vec::new();

    // The bytes where we look are the signer's and the wanted message; what is verified stands further on.
    let mut shown = data(&CANONICAL, signer, wanted);
    shown[48..112].fill(0); // no signature of the signer over it exists
    let at = shown.len() as u16;
    shown.extend(theirs.verifying_key().to_bytes());
    shown.extend(theirs.sign(b"anything").to_bytes());
    shown.extend(b"anything");
    let moved = Offsets { signature: (at + 32, HERE), key: (at, HERE), message: (at + 96, 8, HERE) };
    shown[2..16].copy_from_slice(&moved.bytes());
    forms.push(vec![precompile(shown)]);

    // What is verified stands in another instruction (0: the stranger's own), shown bytes as wanted: everything from there; key and
    // signature from there, message from here; the index of this instruction written out.
    let elsewhere = [
        Offsets { signature: (48, 0), key: (16, 0), message: (112, 32, 0) },
        Offsets { signature: (48, 0), key: (16, 0), message: (112, 32, HERE) },
        Offsets { signature: (48, 1), key: (16, 1), message: (112, 32, 1) },
    ];
    for (place, offsets) in elsewhere.iter().enumerate() {
        let mut bytes = data(&CANONICAL, signer, wanted);
        if place < 2 {
            bytes[48..112].fill(0);
        }
        bytes[2..16].copy_from_slice(&offsets.bytes());
        forms.push(vec![signed(stranger, wanted), precompile(bytes)]);
    }

    // Two signatures, both genuine and over the wanted message.
    let first = data(&CANONICAL, signer, wanted);
    let mut two = vec![2, 0];
    let each = Offsets { signature: (62, HERE), key: (30, HERE), message: (126, 32, HERE) };
    two.extend(each.bytes());
    two.extend(each.bytes());
    two.extend(&first[16..]);
    forms.push(vec![precompile(two)]);

    // Longer than the one form, a longer message, a message that only begins as wanted, a padding byte that is not zero.
    forms.push(vec![precompile([first.as_slice(), &[0]].concat())]);
    let whole = Offsets { message: (112, 33, HERE), ..CANONICAL };
    forms.push(vec![precompile(data(&whole, signer, &[wanted.as_slice(), &[0]].concat()))]);
    let part = Offsets { message: (112, 31, HERE), ..CANONICAL };
    forms.push(vec![precompile([data(&part, signer, &wanted[..31]).as_slice(), &wanted[31..]].concat())]);
    let mut padded = first;
    padded[1] = 1;
    forms.push(vec![precompile(padded)]);
    forms
}
