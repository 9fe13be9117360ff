//! The relayer: x402 gate, jobs, ledger and settlement.
