use compute_futures_protocol::{B256, ReceiptTree, leaf, verify};

use crate::{load, number, parse, rows};

fn hashes(row: &serde_json::Value, key: &str) -> Vec<B256> {
    row[key].as_array().unwrap().iter().map(|hash| hash.as_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn roots_are_openzeppelins() {
    for row in rows(&load("merkle.json"), "trees") {
        let receipts = hashes(row, "receiptHashes");
        assert_eq!(receipts.len() as u64, number(row, "count"));
        let tree = ReceiptTree::new(&receipts).unwrap();
        assert_eq!(tree.root(), parse::<B256>(row, "root"), "{} receipts", receipts.len());
    }
}

#[test]
fn proofs_are_openzeppelins() {
    let vectors = load("merkle.json");
    for row in rows(&vectors, "proofs") {
        let (root, receipt, proof) = (parse(row, "root"), parse(row, "receiptHash"), hashes(row, "proof"));
        assert_eq!(leaf(receipt), parse::<B256>(row, "leaf"));
        assert!(verify(root, receipt, &proof));
        let tree = rows(&vectors, "trees").iter().find(|tree| tree["root"] == row["root"]).unwrap();
        assert_eq!(ReceiptTree::new(&hashes(tree, "receiptHashes")).unwrap().proof(receipt), Some(proof));
    }
}
