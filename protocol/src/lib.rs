//! The domain with no I/O: amounts, tiers, discount maths, ids, receipts, Merkle trees, typed data.
