//! All batch roots of an operator in a few hashes: the Merkle mountain range that the program on Solana keeps, and proofs that a
//! batch is in it (I-7). What it is, in words: docs/adr/010-solana.md.

use alloy_primitives::{B256, keccak256};

/// The roots of batches 1 to n, for whoever knows them all: an indexer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchHistory {
    roots: Vec<B256>,
}

impl BatchHistory {
    /// Of the roots of the batches from the first one on, in order.
    #[must_use]
    pub const fn new(roots: Vec<B256>) -> Self {
        Self { roots }
    }

    /// What the operator's account holds: for each bit that is set in the number of batches, its place and the root of that many
    /// batches, lowest first.
    #[must_use]
    pub fn peaks(&self) -> Vec<(u32, B256)> {
        let count = self.roots.len();
        let mountains = (0..usize::BITS).filter(|height| count >> height & 1 == 1);
        mountains
            .map(|height| (height, node(&self.roots[start(count, height)..start(count, height) + (1 << height)])))
            .collect()
    }

    /// `batch_proof` of the program's `verify_receipt` for a batch among all of these, lowest sibling first; `None` when it is
    /// not among them.
    #[must_use]
    pub fn proof(&self, number: u64) -> Option<Vec<B256>> {
        let (count, index) = (self.roots.len(), usize::try_from(number.checked_sub(1)?).ok()?);
        if index >= count {
            return None;
        }
        // The first bit in which they differ is set in the count, and says in which mountain the batch lies.
        let height = (index ^ count).ilog2();
        let first = start(count, height);
        let siblings = (0..height).map(|level| {
            let place = (index - first) >> level ^ 1;
            node(&self.roots[first + (place << level)..first + ((place + 1) << level)])
        });
        Some(siblings.collect())
    }
}

/// Where the mountain of this height begins: behind all higher ones.
const fn start(count: usize, height: u32) -> usize {
    match count.checked_shr(height + 1) {
        Some(higher) => higher << height << 1,
        None => 0,
    }
}

/// Root of a perfect tree.
fn node(leaves: &[B256]) -> B256 {
    match leaves {
        [root] => *root,
        _ => {
            let (left, right) = leaves.split_at(leaves.len() / 2);
            keccak256([node(left), node(right)].concat())
        }
    }
}

/// Whether `root` is that of batch `number` out of `count`, by the peak of its mountain. The shape of the path is fixed by the two
/// numbers, so an inner node never passes for a root.
#[must_use]
pub fn proves(peaks: &[(u32, B256)], count: u64, number: u64, root: B256, proof: &[B256]) -> bool {
    if number == 0 || number > count {
        return false;
    }
    let index = number - 1;
    let height = (index ^ count).ilog2();
    if u32::try_from(proof.len()) != Ok(height) {
        return false;
    }
    let mut found = root;
    for (level, sibling) in proof.iter().enumerate() {
        let pair = if index >> level & 1 == 1 { [*sibling, found] } else { [found, *sibling] };
        found = keccak256(pair.concat());
    }
    peaks.contains(&(height, found))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_batch_is_proved_at_every_length_and_nothing_else_is() {
        let roots: Vec<B256> = (1..=70_u8).map(B256::repeat_byte).collect();
        for count in 1..=roots.len() {
            let history = BatchHistory::new(roots[..count].to_vec());
            let peaks = history.peaks();
            assert_eq!(peaks.len(), count.count_ones() as usize);
            for number in 1..=count as u64 {
                let (root, proof) = (roots[number as usize - 1], history.proof(number).unwrap());
                assert!(proves(&peaks, count as u64, number, root, &proof), "{number} of {count}");
                assert!(!proves(&peaks, count as u64, number, B256::ZERO, &proof));
                if let Some((_, shorter)) = proof.split_first() {
                    assert!(!proves(&peaks, count as u64, number, root, shorter));
                }
            }
            assert_eq!((history.proof(0), history.proof(count as u64 + 1)), (None, None));
            assert!(!proves(&peaks, count as u64, 0, roots[0], &[]));
        }
        assert_eq!(BatchHistory::default().peaks(), []);
    }
}
