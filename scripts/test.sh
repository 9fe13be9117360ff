#!/usr/bin/env bash
# Every test: contracts, gas snapshots, Rust (unit, ledger on both databases, end to end, faults), stock JavaScript clients.
#   scripts/test.sh          the everyday set
#   scripts/test.sh --all    long fuzzing and the slow tests as well
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

profile=default
if [ "${1:-}" = --all ]; then
    profile=ci
    export COMPUTE_FUTURES_SLOW_TESTS=1
fi
logs=target/test-logs
mkdir -p "$logs"
rm -f "$logs"/*.log

# logged <name> <command…>: the output goes to the terminal and to a file, the summary is repeated at the end.
logged() {
    local name=$1
    shift
    "$@" 2>&1 | tee "$logs/$name.log"
}

forge_tests() { FOUNDRY_PROFILE=$profile logged forge forge test --no-match-path 'contracts/test/gas/*'; }
# Fails when a figure differs from contracts/snapshots; `make gas` writes new ones.
gas() { FORGE_SNAPSHOT_CHECK=true logged gas forge test --isolate --match-path 'contracts/test/gas/*'; }
rust() { logged rust cargo nextest run --workspace --locked; }
doc() { logged doc cargo test --workspace --doc --locked; }
clients() { logged clients node --test 'tests/clients/'; }

run 'contracts' forge_tests
run 'gas snapshots' gas
run 'Rust' rust

say 'summary'
grep -hE '^Ran [0-9]+ test suites?' "$logs/forge.log" | sed 's/^/    contracts      /'
grep -hE '^Ran [0-9]+ test suites?' "$logs/gas.log" | sed 's/^/    gas snapshots  /'
grep -hE '^ *Summary \[' "$logs/rust.log" | sed 's/^ */    Rust           /'
say 'test: all passed'
