//! Receipts and their batch's Merkle tree: OpenZeppelin's, sorted pairs over double-hashed leaves (I-7).

use solana_keccak_hasher::{hash, hashv};

/// keccak256(keccak256(abi.encode(receiptHash))): hashed twice, so that no inner node passes for a receipt.
pub fn leaf(receipt_hash: &[u8; 32]) -> [u8; 32] {
    hash(hash(receipt_hash).as_ref()).to_bytes()
}

/// The root that `proof` leads to.
pub fn root(receipt_hash: &[u8; 32], proof: &[[u8; 32]]) -> [u8; 32] {
    proof.iter().fold(leaf(receipt_hash), |node, sibling| {
        let (low, high) = if node < *sibling { (&node, sibling) } else { (sibling, &node) };
        hashv(&[low, high]).to_bytes()
    })
}
