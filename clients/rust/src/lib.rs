//! The x402 scheme `compute-futures`.
