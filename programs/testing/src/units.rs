//! What verbs cost, in compute units, and what fits a transaction.

use std::collections::BTreeMap;

use solana_account::Account;
use solana_address_lookup_table_interface::state::{AddressLookupTable, LookupTableMeta};
use solana_message::{AddressLookupTableAccount, Message, VersionedMessage, v0};
use solana_signer::Signer;
use solana_transaction::Transaction;
use solana_transaction::versioned::VersionedTransaction;

use crate::vm::{Vm, address, root};
use crate::{Instruction, Keypair, Pubkey};

/// What fits a packet.
pub const TRANSACTION_BYTES: usize = 1_232;
const SIGNATURE: usize = 64;

/// Both compute budget instructions: what a relayer puts before.
fn budget(units: u32) -> [Instruction; 2] {
    let program = address(Pubkey::from_str_const("ComputeBudget111111111111111111111111111111"));
    let limit = [&[2][..], &units.to_le_bytes()].concat();
    let price = [&[3][..], &1_000u64.to_le_bytes()].concat();
    [limit, price].map(|data| Instruction { program_id: program, accounts: vec![], data })
}

/// Sends with the compute budget and `payer` as fee payer and only signer. Returns bytes and units.
pub fn legacy(world: &mut impl Vm, payer: &Keypair, instruction: Instruction) -> (usize, u64) {
    let [limit, price] = budget(400_000);
    let message = Message::new(&[limit, price, instruction], Some(&payer.pubkey()));
    let transaction = Transaction::new(&[payer], message, world.svm().latest_blockhash());
    // One signature and its count.
    let bytes = transaction.message.serialize().len() + SIGNATURE + 1;
    let done = world.svm_mut().send_transaction(transaction).expect("it lands");
    (bytes, done.compute_units_consumed)
}

/// The same with a lookup table of these addresses.
pub fn with_table(
    world: &mut impl Vm,
    payer: &Keypair,
    instruction: Instruction,
    addresses: &[Pubkey],
) -> (usize, u64) {
    let addresses: Vec<_> = addresses.iter().copied().map(address).collect();
    let at = Pubkey::new_from_array([77; 32]);
    let table = AddressLookupTable { meta: LookupTableMeta::default(), addresses: addresses.clone().into() };
    let owner = Pubkey::from_str_const("AddressLookupTab1e1111111111111111111111111");
    let data = table.serialize_for_tests().unwrap();
    world.set(at, Account { lamports: 1 << 40, data, owner: address(owner), ..Default::default() });
    let table = AddressLookupTableAccount { key: address(at), addresses };
    let instructions: Vec<Instruction> = budget(400_000).into_iter().chain([instruction]).collect();
    let blockhash = world.svm().latest_blockhash();
    let message = v0::Message::try_compile(&payer.pubkey(), &instructions, &[table], blockhash).unwrap();
    assert_eq!(message.address_table_lookups.len(), 1);
    let message = VersionedMessage::V0(message);
    let bytes = message.serialize().len() + SIGNATURE + 1;
    let transaction = VersionedTransaction::try_new(message, &[payer]).unwrap();
    let done = world.svm_mut().send_transaction(transaction).expect("it lands");
    (bytes, done.compute_units_consumed)
}

/// Fails when a figure is above its snapshot in `programs/snapshots`. `UPDATE_SNAPSHOTS=1` writes new ones.
#[track_caller]
pub fn check(program: &str, figures: &BTreeMap<&'static str, u64>) {
    let path = root().join(format!("programs/snapshots/{program}.json"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(figures).unwrap() + "\n").unwrap();
    }
    let snapshot: BTreeMap<String, u64> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(snapshot.len(), figures.len(), "every figure has a snapshot");
    for (name, figure) in figures {
        assert!(*figure <= snapshot[*name], "{name} costs {figure} compute units, {} before", snapshot[*name]);
    }
}
