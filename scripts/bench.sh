#!/usr/bin/env bash
# Release builds of the product and of the benchmarks' own tools, then the benchmarks: scripts/bench.sh [gas] [relayer] [compute] [indexer] [solana]
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

run 'release build' cargo build --release --locked \
    -p compute-futures-cli --bin compute-futures -p compute-futures-indexer --example backfill --example backfill_solana \
    -p compute-futures-chain --example solana_cost
run 'benchmark tools' cargo build --release --locked --manifest-path bench/Cargo.toml --target-dir target/bench
node bench/run.mjs "$@"
say 'figures: bench/results/*.json, docs/benchmarks.md'
