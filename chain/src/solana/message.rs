//! Transactions in their bytes: instructions, the message that is signed, and the signatures before it.

use compute_futures_protocol::{B256, Signer, SolanaAddress};

use crate::ChainError;

/// Most bytes of a transaction: what fits one packet.
const MOST_BYTES: usize = 1_232;
/// Most accounts of a transaction.
pub(super) const MOST_ACCOUNTS: usize = 64;
/// First byte of a message with lookup tables.
const VERSION_0: u8 = 0x80;

/// An account that an instruction names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) key: SolanaAddress,
    pub(super) signer: bool,
    pub(super) writable: bool,
}

impl Meta {
    pub(super) const fn reads(key: SolanaAddress) -> Self {
        Self { key, signer: false, writable: false }
    }

    pub(super) const fn writes(key: SolanaAddress) -> Self {
        Self { key, signer: false, writable: true }
    }

    pub(super) const fn signs(key: SolanaAddress) -> Self {
        Self { key, signer: true, writable: false }
    }

    pub(super) const fn pays(key: SolanaAddress) -> Self {
        Self { key, signer: true, writable: true }
    }
}

/// A call of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) program: SolanaAddress,
    pub(super) accounts: Vec<Meta>,
    pub(super) data: Vec<u8>,
}

/// The message of a transaction: what every signer signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Who must sign, the fee payer first.
    pub(super) signers: Vec<SolanaAddress>,
    pub(super) bytes: Vec<u8>,
    /// Accounts it names, those by lookup table among them.
    accounts: usize,
}

/// A lookup table: addresses that a message can name by one byte each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) key: SolanaAddress,
    pub(super) addresses: Vec<SolanaAddress>,
}

/// Compiles a legacy message: every account once, signers first, writable before read-only.
pub(super) fn compile(payer: SolanaAddress, instructions: &[Instruction], blockhash: B256) -> Message {
    compile_with(payer, instructions, blockhash, &[])
}

/// Every account of these instructions once, with all its rights; the fee payer first.
fn metas_of(payer: SolanaAddress, instructions: &[Instruction]) -> Vec<Meta> {
    let mut metas = vec![Meta::pays(payer)];
    let mut add = |meta: Meta| match metas.iter_mut().find(|known| known.key == meta.key) {
        Some(known) => {
            known.signer |= meta.signer;
            known.writable |= meta.writable;
        }
        None => metas.push(meta),
    };
    for instruction in instructions {
        instruction.accounts.iter().copied().for_each(&mut add);
        add(Meta::reads(instruction.program));
    }
    metas
}

/// Accounts that a lookup table may hold: whoever signs and what is called must stand in the message itself.
pub(super) fn in_tables(payer: SolanaAddress, instructions: &[Instruction]) -> Vec<SolanaAddress> {
    let called = |key: &SolanaAddress| instructions.iter().any(|instruction| instruction.program == *key);
    let metas = metas_of(payer, instructions).into_iter();
    metas.filter(|meta| !meta.signer && !called(&meta.key)).map(|meta| meta.key).collect()
}

/// Compiles a message that names by lookup table what `tables` hold (version 0), or a legacy one when they hold nothing of it.
pub(super) fn compile_with(
    payer: SolanaAddress,
    instructions: &[Instruction],
    blockhash: B256,
    tables: &[Table],
) -> Message {
    let may_be_looked_up = in_tables(payer, instructions);
    // Of each table what it gives: place in it, and the account. Writable and read-only.
    let mut found: Vec<[Vec<(u8, SolanaAddress)>; 2]> = vec![Default::default(); tables.len()];
    let mut metas = metas_of(payer, instructions);
    metas.retain(|meta| {
        let held = tables.iter().zip(&mut found).find_map(|(table, found)| {
            let place = table.addresses.iter().position(|address| *address == meta.key)?;
            Some((u8::try_from(place).ok()?, found))
        });
        match held {
            Some((place, found)) if may_be_looked_up.contains(&meta.key) => {
                found[usize::from(!meta.writable)].push((place, meta.key));
                false
            }
            _ => true,
        }
    });
    // Stable, so that the fee payer stays first.
    metas.sort_by_key(|meta| (!meta.signer, !meta.writable));
    let count = |signer: bool, read_only: bool| {
        metas.iter().filter(|meta| meta.signer == signer && (!read_only || !meta.writable)).count() as u8
    };
    let looked_up = |rights: usize| found.iter().flat_map(move |found| found[rights].iter().map(|(_, key)| *key));
    let keys: Vec<SolanaAddress> = metas.iter().map(|meta| meta.key).chain(looked_up(0)).chain(looked_up(1)).collect();
    let place = |key: &SolanaAddress| keys.iter().position(|known| known == key).unwrap_or_default() as u8;
    let versioned = keys.len() > metas.len();
    let mut bytes = if versioned { vec![VERSION_0] } else { Vec::new() };
    bytes.extend([count(true, false), count(true, true), count(false, true)]);
    put_length(&mut bytes, metas.len());
    metas.iter().for_each(|meta| bytes.extend_from_slice(&meta.key.0));
    bytes.extend_from_slice(blockhash.as_slice());
    put_length(&mut bytes, instructions.len());
    for instruction in instructions {
        bytes.push(place(&instruction.program));
        put_length(&mut bytes, instruction.accounts.len());
        bytes.extend(instruction.accounts.iter().map(|meta| place(&meta.key)));
        put_length(&mut bytes, instruction.data.len());
        bytes.extend_from_slice(&instruction.data);
    }
    if versioned {
        let used = tables.iter().zip(&found).filter(|(_, found)| found.iter().any(|places| !places.is_empty()));
        put_length(&mut bytes, used.clone().count());
        for (table, found) in used {
            bytes.extend_from_slice(&table.key.0);
            for places in found {
                put_length(&mut bytes, places.len());
                bytes.extend(places.iter().map(|(place, _)| *place));
            }
        }
    }
    let signers = metas.iter().filter(|meta| meta.signer).map(|meta| meta.key).collect();
    Message { signers, bytes, accounts: keys.len() }
}

impl Message {
    /// The transaction with the signatures of `signer`, and its name. Nobody else may be needed.
    pub(super) fn sign(&self, signer: &Signer) -> Result<([u8; 64], Vec<u8>), ChainError> {
        let ours = signer.address().solana();
        if let Some(other) = self.signers.iter().find(|key| Some(**key) != ours) {
            return Err(ChainError::Rejected(format!(
                "the transaction needs the signature of {other}; send it with that key"
            )));
        }
        let signature = signer
            .sign_message(&self.bytes)
            .ok_or_else(|| ChainError::Config("transactions on Solana need a Solana keypair".into()))?;
        Ok((signature, self.transaction(&[signature])?))
    }

    /// The transaction with the signature of `signer` alone; zeros stand where others sign later.
    pub(super) fn sign_in_part(&self, signer: &Signer) -> Result<Vec<u8>, ChainError> {
        let ours = signer.address().solana();
        let signature = signer
            .sign_message(&self.bytes)
            .ok_or_else(|| ChainError::Config("transactions on Solana need a Solana keypair".into()))?;
        let signatures: Vec<[u8; 64]> =
            self.signers.iter().map(|key| if Some(*key) == ours { signature } else { [0; 64] }).collect();
        self.transaction(&signatures)
    }

    /// The transaction with zeros for signatures, to be simulated.
    pub(super) fn unsigned(&self) -> Result<Vec<u8>, ChainError> {
        self.transaction(&vec![[0; 64]; self.signers.len()])
    }

    fn transaction(&self, signatures: &[[u8; 64]]) -> Result<Vec<u8>, ChainError> {
        let mut bytes = Vec::with_capacity(MOST_BYTES);
        put_length(&mut bytes, signatures.len());
        signatures.iter().for_each(|signature| bytes.extend_from_slice(signature));
        bytes.extend_from_slice(&self.bytes);
        if bytes.len() > MOST_BYTES {
            return Err(ChainError::Rejected(format!(
                "the transaction has {} bytes, {MOST_BYTES} at most are taken; do it in parts",
                bytes.len()
            )));
        }
        if self.accounts > MOST_ACCOUNTS {
            return Err(ChainError::Rejected(format!(
                "the transaction names {} accounts, {MOST_ACCOUNTS} at most are taken; do it in parts",
                self.accounts
            )));
        }
        Ok(bytes)
    }
}

/// The message inside the bytes of a transaction.
pub(super) fn message_of(transaction: &[u8]) -> Option<&[u8]> {
    let (&count, rest) = transaction.split_first()?;
    // More than 127 signatures do not fit a packet.
    rest.get(usize::from(count).checked_mul(64)?..)
}

/// "compact-u16": seven bits a byte, the lowest first.
fn put_length(bytes: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(byte: u8) -> SolanaAddress {
        SolanaAddress::new([byte; 32])
    }

    #[test]
    fn every_account_stands_once_with_all_its_rights() {
        let payer = Signer::ed25519(&[1; 32]);
        let me = payer.address().solana().unwrap();
        let first = Instruction {
            program: key(9),
            accounts: vec![Meta::reads(key(5)), Meta::writes(key(4)), Meta::signs(me)],
            data: vec![7; 200],
        };
        let second = Instruction { program: key(9), accounts: vec![Meta::writes(key(5))], data: vec![] };
        let message = compile(me, &[first, second], B256::repeat_byte(3));
        assert_eq!(message.signers, [me]);
        // One signer, no read-only signer, one read-only account: the program.
        assert_eq!(message.bytes[..4], [1, 0, 1, 4]);
        let keys: Vec<_> = message.bytes[4..4 + 4 * 32].chunks(32).collect();
        assert_eq!(keys, [&me.0[..], &[5; 32], &[4; 32], &[9; 32]]);
        let rest = &message.bytes[4 + 4 * 32 + 32..];
        // Two instructions; program 3 with accounts 1, 2, 0 and 200 bytes (two bytes of length).
        assert_eq!(rest[..8], [2, 3, 3, 1, 2, 0, 0xc8, 1]);
        assert_eq!(rest[rest.len() - 4..], [3, 1, 1, 0]);
        let (signature, raw) = message.sign(&payer).unwrap();
        assert_eq!((raw[0], &raw[1..65], message_of(&raw).unwrap()), (1, &signature[..], &message.bytes[..]));
    }

    /// A payment that somebody else pays the fee of: the payer's signature stands in the payer's place.
    #[test]
    fn what_others_complete_is_signed_in_part() {
        let payer = Signer::ed25519(&[1; 32]);
        let me = payer.address().solana().unwrap();
        let call = Instruction { program: key(9), accounts: vec![Meta::signs(me)], data: vec![] };
        let message = compile(key(7), &[call], B256::ZERO);
        assert_eq!(message.signers, [key(7), me]);
        let raw = message.sign_in_part(&payer).unwrap();
        let signature = payer.sign_message(&message.bytes).unwrap();
        assert_eq!((raw[0], &raw[1..65], &raw[65..129]), (2, &[0; 64][..], &signature[..]));
        assert_eq!(message_of(&raw).unwrap(), &message.bytes[..]);
    }

    #[test]
    fn what_tables_hold_is_named_by_one_byte() {
        let payer = Signer::ed25519(&[1; 32]);
        let me = payer.address().solana().unwrap();
        let call = Instruction {
            program: key(9),
            accounts: vec![Meta::reads(key(5)), Meta::writes(key(4)), Meta::signs(me), Meta::writes(key(6))],
            data: vec![],
        };
        let tables = [
            Table { key: key(20), addresses: vec![key(77), key(5), me, key(9)] },
            Table { key: key(21), addresses: vec![key(88)] },
            Table { key: key(22), addresses: vec![key(5), key(4), key(6)] },
        ];
        let message = compile_with(me, std::slice::from_ref(&call), B256::repeat_byte(3), &tables);
        // Version, header, two keys: whoever signs and what is called.
        assert_eq!(message.bytes[..5], [0x80, 1, 0, 1, 2]);
        let rest = &message.bytes[5 + 2 * 32 + 32..];
        // 0 me, 1 program; then 2 and 3 writable, of the third table; 4 read-only, of the first.
        assert_eq!(rest[..8], [1, 1, 4, 4, 2, 0, 3, 0]);
        let lookups = [&[2][..], &[20; 32], &[0, 1, 1], &[22; 32], &[2, 1, 2, 0]].concat();
        assert_eq!(rest[8..], lookups, "the second table gives nothing and is left out");
        assert_eq!((message.accounts, message.signers.as_slice()), (5, &[me][..]));
        assert_eq!(
            compile_with(me, std::slice::from_ref(&call), B256::ZERO, &tables[1..2]),
            compile(me, &[call], B256::ZERO)
        );
    }

    #[test]
    fn more_accounts_than_are_taken_are_refused() {
        let payer = Signer::ed25519(&[1; 32]);
        let me = payer.address().solana().unwrap();
        let many: Vec<SolanaAddress> = (100..163).map(key).collect();
        let table = [Table { key: key(20), addresses: many.clone() }];
        let call = |count: usize| Instruction {
            program: key(9),
            accounts: many[..count].iter().map(|key| Meta::writes(*key)).collect(),
            data: vec![],
        };
        assert!(compile_with(me, &[call(62)], B256::ZERO, &table).sign(&payer).is_ok());
        let error = compile_with(me, &[call(63)], B256::ZERO, &table).sign(&payer).unwrap_err();
        assert!(error.to_string().contains("names 65 accounts"), "{error}");
    }

    #[test]
    fn what_others_must_sign_or_what_is_too_long_is_refused() {
        let payer = Signer::ed25519(&[1; 32]);
        let me = payer.address().solana().unwrap();
        let long = Instruction { program: key(9), accounts: vec![], data: vec![0; 1_200] };
        let foreign = Instruction { program: key(9), accounts: vec![Meta::signs(key(4))], data: vec![] };
        for (instruction, words) in [(long, "1232 at most"), (foreign, "needs the signature of")] {
            let error = compile(me, &[instruction], B256::ZERO).sign(&payer).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
