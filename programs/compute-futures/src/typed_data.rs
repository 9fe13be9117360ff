//! What people sign, hashed as EIP-712 does; only the domain is Solana's (docs/adr/010-solana.md). The same vectors as
//! everywhere: `tests/vectors/solana.json`.

use anchor_lang::prelude::Pubkey;
use solana_keccak_hasher::{hash, hashv};

const DOMAIN_TYPE: &[u8] = b"EIP712Domain(string name,string version,string cluster,bytes32 program)";
const SPEND_CEILING_TYPE: &[u8] = b"SpendCeiling(uint64 accountId,uint56 ceiling)";
const NAME: &[u8] = b"ComputeFutures";
const VERSION: &[u8] = b"1";

/// One deployment: a signature for it means nothing to any other (T-2).
pub fn domain_separator(cluster: &str, program: &Pubkey) -> [u8; 32] {
    let [kind, name, version, cluster] = [DOMAIN_TYPE, NAME, VERSION, cluster.as_bytes()].map(hash);
    hashv(&[kind.as_ref(), name.as_ref(), version.as_ref(), cluster.as_ref(), program.as_ref()]).to_bytes()
}

/// "The operator may charge this account up to `ceiling` in all" (I-2): the digest that owner or delegate signs.
pub fn spend_ceiling_digest(domain_separator: &[u8; 32], account: u64, ceiling: u64) -> [u8; 32] {
    let kind = hash(SPEND_CEILING_TYPE);
    let structure = hashv(&[kind.as_ref(), &word(account), &word(ceiling)]);
    hashv(&[&[0x19, 0x01], domain_separator, structure.as_ref()]).to_bytes()
}

/// An unsigned integer in ABI encoding.
fn word(value: u64) -> [u8; 32] {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&value.to_be_bytes());
    word
}
