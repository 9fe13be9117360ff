//! The Merkle tree of a batch's receipts, bit for bit OpenZeppelin's `StandardMerkleTree` over `["bytes32"]`: leaves hashed
//! twice and sorted, pairs sorted, so that `MerkleProof.verify` needs no position.

use alloy_primitives::{B256, keccak256};

/// A tree of nothing has no root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MerkleError {
    /// No receipts.
    #[error("a batch without receipts has no Merkle tree; post it only once it has one")]
    Empty,
}

/// keccak256(keccak256(abi.encode(receiptHash))). Hashing twice keeps an inner node from passing for a leaf.
#[must_use]
pub fn leaf(receipt_hash: B256) -> B256 {
    keccak256(keccak256(receipt_hash))
}

/// Whether `receipt_hash` is in the tree with this root.
#[must_use]
pub fn verify(root: B256, receipt_hash: B256, proof: &[B256]) -> bool {
    proof.iter().fold(leaf(receipt_hash), |node, sibling| parent(node, *sibling)) == root
}

fn parent(a: B256, b: B256) -> B256 {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut pair = [0; 64];
    pair[..32].copy_from_slice(low.as_slice());
    pair[32..].copy_from_slice(high.as_slice());
    keccak256(pair)
}

/// All nodes of a tree, as OpenZeppelin lays them out: root first, leaves last, in descending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptTree {
    nodes: Vec<B256>,
}

impl ReceiptTree {
    /// The tree over these receipts, in any order.
    ///
    /// # Errors
    /// When there are none.
    pub fn new(receipt_hashes: &[B256]) -> Result<Self, MerkleError> {
        if receipt_hashes.is_empty() {
            return Err(MerkleError::Empty);
        }
        let mut leaves: Vec<B256> = receipt_hashes.iter().copied().map(leaf).collect();
        leaves.sort_unstable_by(|a, b| b.cmp(a));
        let inner = leaves.len() - 1;
        let mut nodes = vec![B256::ZERO; inner];
        nodes.append(&mut leaves);
        for index in (0..inner).rev() {
            nodes[index] = parent(nodes[2 * index + 1], nodes[2 * index + 2]);
        }
        Ok(Self { nodes })
    }

    /// The root, as posted with the batch.
    #[must_use]
    pub fn root(&self) -> B256 {
        self.nodes[0]
    }

    /// Siblings from the leaf up to the root; `None` when the receipt is not in the tree.
    #[must_use]
    pub fn proof(&self, receipt_hash: B256) -> Option<Vec<B256>> {
        let leaf = leaf(receipt_hash);
        let first_leaf = self.nodes.len() / 2;
        // Leaves lie in descending order.
        let position = self.nodes[first_leaf..].binary_search_by(|node| leaf.cmp(node)).ok()?;
        let mut index = first_leaf + position;
        let mut proof = Vec::new();
        while index > 0 {
            let sibling = if index % 2 == 1 { index + 1 } else { index - 1 };
            proof.push(self.nodes[sibling]);
            index = (index - 1) / 2;
        }
        Some(proof)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_has_no_root() {
        assert_eq!(ReceiptTree::new(&[]), Err(MerkleError::Empty));
    }

    #[test]
    fn one_receipt_is_its_own_tree() {
        let receipt = keccak256("receipt");
        let tree = ReceiptTree::new(&[receipt]).unwrap();
        assert_eq!(tree.root(), leaf(receipt));
        assert_eq!(tree.proof(receipt), Some(vec![]));
    }

    proptest! {
        #[test]
        fn i7_every_receipt_is_proved_and_nothing_else(
            receipts in prop::collection::hash_set(any::<[u8; 32]>(), 1..70),
            stranger: [u8; 32],
            flip in any::<prop::sample::Index>(),
        ) {
            let receipts: Vec<B256> = receipts.into_iter().map(B256::from).collect();
            let stranger = B256::from(stranger);
            prop_assume!(!receipts.contains(&stranger));
            let tree = ReceiptTree::new(&receipts).unwrap();
            prop_assert_eq!(tree.proof(stranger), None);
            for &receipt in &receipts {
                let mut proof = tree.proof(receipt).unwrap();
                prop_assert!(verify(tree.root(), receipt, &proof));
                prop_assert!(!verify(tree.root(), stranger, &proof));
                // An inner node is no receipt.
                let inner = proof.iter().fold(leaf(receipt), |node, sibling| parent(node, *sibling));
                prop_assert!(!verify(tree.root(), inner, &[]));
                if !proof.is_empty() {
                    let broken = flip.index(proof.len());
                    proof[broken] = !proof[broken];
                    prop_assert!(!verify(tree.root(), receipt, &proof));
                }
            }
            let mut reversed = receipts.clone();
            reversed.reverse();
            prop_assert_eq!(ReceiptTree::new(&reversed).unwrap(), tree);
        }
    }
}
