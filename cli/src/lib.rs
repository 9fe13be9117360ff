//! The `compute-futures` binary.
