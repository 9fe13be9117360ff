//! Transactions in their bytes: instructions, the message that is signed, and the signatures before it.

use compute_futures_protocol::{B256, Signer, SolanaAddress};

use crate::ChainError;

/// Most bytes of a transaction: what fits one packet.
const MOST_BYTES: usize = 1_232;

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
}

/// Compiles a legacy message: every account once, signers first, writable before read-only.
pub(super) fn compile(payer: SolanaAddress, instructions: &[Instruction], blockhash: B256) -> Message {
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
    // Stable, so that the fee payer stays first.
    metas.sort_by_key(|meta| (!meta.signer, !meta.writable));
    let count = |signer: bool, read_only: bool| {
        metas.iter().filter(|meta| meta.signer == signer && (!read_only || !meta.writable)).count() as u8
    };
    let place = |key: &SolanaAddress| metas.iter().position(|meta| meta.key == *key).unwrap_or_default() as u8;
    let mut bytes = vec![count(true, false), count(true, true), count(false, true)];
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
    let signers = metas.iter().filter(|meta| meta.signer).map(|meta| meta.key).collect();
    Message { signers, bytes }
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
                "the transaction has {} bytes, {MOST_BYTES} at most are taken; post fewer rows at once",
                bytes.len()
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
