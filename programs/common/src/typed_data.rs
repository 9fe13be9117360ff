//! What people sign, hashed as EIP-712 does; only the domain is Solana's (docs/adr/010-solana.md).

use anchor_lang::prelude::Pubkey;
use solana_keccak_hasher::{hash, hashv};

const DOMAIN_TYPE: &[u8] = b"EIP712Domain(string name,string version,string cluster,bytes32 program)";
const VERSION: &[u8] = b"1";

/// One deployment: a signature for it means nothing to any other (T-2).
pub fn domain_separator(name: &str, cluster: &str, program: &Pubkey) -> [u8; 32] {
    let [kind, name, version, cluster] = [DOMAIN_TYPE, name.as_bytes(), VERSION, cluster.as_bytes()].map(hash);
    hashv(&[kind.as_ref(), name.as_ref(), version.as_ref(), cluster.as_ref(), program.as_ref()]).to_bytes()
}

/// What is signed: a struct hash in a domain.
pub fn digest(domain_separator: &[u8; 32], structure: &[u8; 32]) -> [u8; 32] {
    hashv(&[&[0x19, 0x01], domain_separator, structure]).to_bytes()
}

/// The struct hash of a type and its encoded fields, 32 bytes each.
pub fn structure(kind: &[u8], fields: &[&[u8; 32]]) -> [u8; 32] {
    let kind = hash(kind).to_bytes();
    let mut words: Vec<&[u8]> = Vec::with_capacity(fields.len() + 1);
    words.push(&kind);
    words.extend(fields.iter().map(|field| field.as_slice()));
    hashv(&words).to_bytes()
}

/// An unsigned integer in ABI encoding.
pub fn word(value: u64) -> [u8; 32] {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&value.to_be_bytes());
    word
}
