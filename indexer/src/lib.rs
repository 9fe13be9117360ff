//! The indexer: follows the contracts and serves balances, history, proofs.
