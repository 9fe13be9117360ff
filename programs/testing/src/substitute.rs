//! Every account of an instruction, replaced by every kind of wrong one.

use serde_json::Value;
use solana_account::Account;
use solana_address::Address;

use crate::vm::{Vm, address, key, keypair, root};
use crate::{Instruction, Keypair, Pubkey};

/// Names of an instruction's accounts, by the committed interfaces.
fn names(idls: &[&str], instruction: &str) -> Vec<String> {
    let read = |idl: &&str| std::fs::read(root().join(format!("idls/{idl}.json"))).unwrap();
    let idls: Vec<Value> = idls.iter().map(|idl| serde_json::from_slice(&read(idl)).unwrap()).collect();
    let mut all = idls.iter().flat_map(|idl| idl["instructions"].as_array().unwrap());
    let found = all.find(|each| each["name"] == instruction).expect("an instruction of the interfaces");
    found["accounts"].as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap().to_owned()).collect()
}

/// An instruction that works, and what must not take the place of its accounts.
pub struct Case<'a> {
    /// Of the instruction.
    pub name: &'a str,
    /// Well-formed.
    pub instruction: Instruction,
    /// Beside the relayer.
    pub signers: &'a [&'a Keypair],
    /// Instructions that stand before it.
    pub before: Vec<Instruction>,
    /// Genuine accounts of the same kind that are others' (another operator's, another owner's …), by the name of what they replace.
    pub twins: Vec<(&'a str, Pubkey)>,
    /// Accounts that may be anybody's: whoever signs as payer, and `program`, which means nothing.
    pub free: &'a [&'a str],
}

impl Case<'_> {
    /// Refused with any one account replaced, accepted as it is.
    #[track_caller]
    pub fn check<W: Vm>(self, world: &mut W) {
        let names = names(W::IDLS, self.name);
        let mut tried = 0;
        for (place, name) in names.iter().enumerate() {
            if name == "program" || self.free.contains(&name.as_str()) {
                continue;
            }
            let right = self.instruction.accounts[place].pubkey;
            let twins = self.twins.iter().filter(|(of, _)| of == name).map(|(_, twin)| address(*twin));
            let mut wrong: Vec<Address> = twins.collect();
            wrong.extend(forgeries(world, right, place));
            for forged in wrong {
                let mut changed = self.instruction.clone();
                changed.accounts[place].pubkey = forged;
                // A stranger's signature is easily had.
                changed.accounts[place].is_signer = false;
                self.refuses(world, changed, &format!("{}: {forged} as {name}", self.name));
                tried += 1;
            }
            if self.instruction.accounts[place].is_signer {
                let mut unsigned = self.instruction.clone();
                unsigned.accounts[place].is_signer = false;
                self.refuses(world, unsigned, &format!("{}: {name} did not sign", self.name));
                let stranger = keypair("stranger");
                let mut changed = self.instruction.clone();
                changed.accounts[place].pubkey = address(key(&stranger));
                let mut signers = self.signers.to_vec();
                signers.push(&stranger);
                let sent = world.send(&self.transaction(changed), &signed(&self.instruction, place, &signers));
                assert!(sent.is_err(), "{}: a stranger signed as {name}", self.name);
            }
        }
        assert!(tried > 0);
        world.ok(&self.transaction(self.instruction.clone()), self.signers);
    }

    fn transaction(&self, instruction: Instruction) -> Vec<Instruction> {
        self.before.iter().cloned().chain([instruction]).collect()
    }

    #[track_caller]
    fn refuses(&self, world: &mut impl Vm, changed: Instruction, what: &str) {
        let wanted: Vec<Address> =
            changed.accounts.iter().filter(|meta| meta.is_signer).map(|meta| meta.pubkey).collect();
        let signers: Vec<&Keypair> = self
            .signers
            .iter()
            .filter(|signer| wanted.contains(&solana_signer::Signer::pubkey(**signer)))
            .copied()
            .collect();
        assert!(world.send(&self.transaction(changed), &signers).is_err(), "{what} must be refused");
    }
}

/// The signers without the one that stood at this place (unless it stands elsewhere too).
fn signed<'a>(instruction: &Instruction, place: usize, signers: &[&'a Keypair]) -> Vec<&'a Keypair> {
    let gone = instruction.accounts[place].pubkey;
    let elsewhere =
        instruction.accounts.iter().enumerate().any(|(i, meta)| i != place && meta.is_signer && meta.pubkey == gone);
    signers.iter().filter(|signer| elsewhere || solana_signer::Signer::pubkey(**signer) != gone).copied().collect()
}

/// Nothing at all; a wallet; the same bytes owned by another program; the same owner and another first byte (discriminator, or mint);
/// the same with another key in second place (of a token account: its owner).
fn forgeries(world: &mut impl Vm, right: Address, place: usize) -> Vec<Address> {
    let place_for = |kind: u8| {
        let mut bytes = right.to_bytes();
        bytes[0] ^= kind;
        bytes[31] ^= place as u8 + 1;
        Address::new_from_array(bytes)
    };
    let original = world.svm().get_account(&right).unwrap_or_default();
    let mut forged = vec![place_for(1)];
    let mut plant = |kind: u8, account: Account| {
        world.svm_mut().set_account(place_for(kind), account).unwrap();
        forged.push(place_for(kind));
    };
    let lamports = original.lamports.max(10_000_000);
    plant(2, Account { lamports, ..Account::default() });
    if !original.data.is_empty() && !original.executable {
        let stranger = Address::new_from_array([9; 32]);
        plant(3, Account { owner: stranger, lamports, ..original.clone() });
        let mut other = Account { lamports, ..original.clone() };
        other.data[0] ^= 1;
        plant(4, other);
    }
    if original.data.len() == 165 {
        let mut other = Account { lamports, ..original };
        other.data[32] ^= 1;
        plant(5, other);
    }
    forged
}
