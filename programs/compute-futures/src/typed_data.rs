//! What people sign. The same vectors as everywhere: `tests/vectors/solana.json`.

use anchor_lang::prelude::Pubkey;
use compute_program_common::typed_data::{digest, structure, word};

const NAME: &str = "ComputeFutures";
const SPEND_CEILING_TYPE: &[u8] = b"SpendCeiling(uint64 accountId,uint56 ceiling)";

/// One deployment: a signature for it means nothing to any other (T-2).
pub fn domain_separator(cluster: &str, program: &Pubkey) -> [u8; 32] {
    compute_program_common::typed_data::domain_separator(NAME, cluster, program)
}

/// "The operator may charge this account up to `ceiling` in all" (I-2): the digest that owner or delegate signs.
pub fn spend_ceiling_digest(domain_separator: &[u8; 32], account: u64, ceiling: u64) -> [u8; 32] {
    digest(domain_separator, &structure(SPEND_CEILING_TYPE, &[&word(account), &word(ceiling)]))
}
