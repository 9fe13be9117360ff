//! Any number of hashes in a few: a Merkle mountain range, so that adding one costs no rent and every one of them can still be proved on
//! chain for ever (I-7). What it is, in words: docs/adr/010-solana.md. `N` peaks are enough for 2^N − 1 leaves.

use solana_keccak_hasher::hashv;

/// Appends leaf number `count + 1`. One hash a leaf on average, `N` − 1 at most.
pub fn append<const N: usize>(peaks: &mut [[u8; 32]; N], count: u64, root: [u8; 32]) {
    let mut node = root;
    let mut height = 0;
    while count >> height & 1 == 1 {
        node = parent(&peaks[height], &node);
        height += 1;
    }
    peaks[height] = node;
}

/// Whether `root` is leaf `number` out of `count`. `proof` holds the siblings, lowest first. The shape of the path is fixed by the two
/// numbers, so an inner node never passes for a leaf.
pub fn proves<const N: usize>(
    peaks: &[[u8; 32]; N],
    count: u64,
    number: u64,
    root: [u8; 32],
    proof: &[[u8; 32]],
) -> bool {
    if number == 0 || number > count || count >> N != 0 {
        return false;
    }
    let index = number - 1;
    // The first bit in which they differ is set in `count`, and says in which mountain the leaf lies.
    let height = (index ^ count).ilog2() as usize;
    if proof.len() != height {
        return false;
    }
    let mut node = root;
    for (level, sibling) in proof.iter().enumerate() {
        node = if index >> level & 1 == 1 { parent(sibling, &node) } else { parent(&node, sibling) };
    }
    node == peaks[height]
}

fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    hashv(&[left, right]).to_bytes()
}

/// Siblings of leaf `number` among all `roots`, for whoever knows them (an indexer).
pub fn proof(roots: &[[u8; 32]], number: u64) -> Option<Vec<[u8; 32]>> {
    let count = roots.len() as u64;
    if number == 0 || number > count {
        return None;
    }
    let index = number - 1;
    let height = (index ^ count).ilog2();
    let start = (index >> height << height) as usize;
    let mut level: Vec<[u8; 32]> = roots[start..start + (1 << height)].to_vec();
    let mut place = index as usize - start;
    let mut siblings = Vec::with_capacity(height as usize);
    while level.len() > 1 {
        siblings.push(level[place ^ 1]);
        level = level.chunks_exact(2).map(|pair| parent(&pair[0], &pair[1])).collect();
        place /= 2;
    }
    Some(siblings)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MAX_PEAKS: usize = 40;

    fn roots(count: u64) -> Vec<[u8; 32]> {
        (0..count).map(|i| hashv(&[&i.to_le_bytes()]).to_bytes()).collect()
    }

    fn range(roots: &[[u8; 32]]) -> [[u8; 32]; MAX_PEAKS] {
        let mut peaks = [[0; 32]; MAX_PEAKS];
        for (count, root) in roots.iter().enumerate() {
            append(&mut peaks, count as u64, *root);
        }
        peaks
    }

    #[test]
    fn every_batch_is_proved_and_nothing_else() {
        for count in 1..=70 {
            let roots = roots(count);
            let peaks = range(&roots);
            for number in 1..=count {
                let root = roots[number as usize - 1];
                let path = proof(&roots, number).unwrap();
                assert!(proves(&peaks, count, number, root, &path), "batch {number} of {count}");
                for other in (0..=count + 1).filter(|other| *other != number) {
                    assert!(!proves(&peaks, count, other, root, &path), "batch {number} for {other} of {count}");
                }
                let mut longer = path.clone();
                longer.push([0; 32]);
                assert!(!proves(&peaks, count, number, root, &longer));
                if let Some((_, shorter)) = path.split_last() {
                    assert!(!proves(&peaks, count, number, root, shorter));
                    // The node above the root is no root.
                    assert!(!proves(&peaks, count, number, parent(&root, &path[0]), &path[1..]));
                    let mut changed = path.clone();
                    changed[0][31] ^= 1;
                    assert!(!proves(&peaks, count, number, root, &changed));
                }
            }
        }
    }

    #[test]
    fn nothing_is_proved_before_the_first_batch() {
        assert!(!proves(&[[0; 32]; MAX_PEAKS], 0, 0, [0; 32], &[]));
        assert!(!proves(&[[0; 32]; MAX_PEAKS], 0, 1, [0; 32], &[]));
        assert_eq!(proof(&[], 1), None);
    }

    #[test]
    fn the_last_batch_of_all_has_its_place() {
        let mut peaks = [[1; 32]; MAX_PEAKS];
        append(&mut peaks, (1 << MAX_PEAKS) - 2, [2; 32]);
        assert!(proves(&peaks, (1 << MAX_PEAKS) - 1, (1 << MAX_PEAKS) - 1, [2; 32], &[]));
    }
}
