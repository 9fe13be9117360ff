#!/usr/bin/env bash
# Every test: contracts, gas snapshots, Rust (unit, ledger on both databases, end to end, faults), stock clients in JavaScript, Python and Rust, the Solana programs.
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

# Test files that forge would run. After a filtered run its cache may know only some of them.
known() { forge test --list --json 2>/dev/null | node -e 'console.log(Object.keys(JSON.parse(require("fs").readFileSync(0))).length)'; }

contracts() {
    # First everything: tests deploy the artifact of the contract, which a filtered run would not build.
    forge build --quiet
    local there
    there=$(git ls-files 'contracts/test/*.t.sol' | wc -l)
    if [ "$(known)" -lt "$there" ]; then
        note 'the cache of forge is not whole; building again'
        forge build --force --quiet
    fi
    FOUNDRY_PROFILE=$profile logged contracts forge test --no-match-contract GasTest
}
# Fails when a figure differs from contracts/snapshots; `make gas` writes new ones.
gas() { FORGE_SNAPSHOT_CHECK=true logged gas forge test --isolate --match-contract GasTest; }
rust() { logged rust cargo nextest run --workspace --locked; }
# The committed programs in litesvm: no sBPF compiler needed. The packages of tests have lock files of their own, so their builds of the
# programs are others, under the same names: they need a folder of their own.
programs() {
    logged programs cargo test --manifest-path programs/Cargo.toml --locked --lib \
        -p compute-program-common -p compute-futures-program -p provider-registry-program -p compute-escrow-program
    local program
    for program in compute-futures compute-escrow; do
        CARGO_TARGET_DIR=programs/target/tests logged "programs_$program" \
            cargo test --manifest-path "programs/$program/tests/Cargo.toml" --locked --lib
    done
}

run 'contracts' contracts
run 'gas snapshots' gas
run 'Rust: unit, both databases, end to end, faults, stock clients' rust
run 'Solana programs: rules, every verb in litesvm, compute units' programs

say 'summary'
grep -hE '^Ran [0-9]+ test suites?' "$logs/contracts.log" | sed 's/^/    contracts      /'
grep -hE '^Ran [0-9]+ test suites?' "$logs/gas.log" | sed 's/^/    gas snapshots  /'
grep -hE '^ *Summary \[' "$logs/rust.log" | sed 's/^ */    Rust           /'
grep -hE '^test result:' "$logs"/programs*.log | sed 's/^test result: /    Solana programs /'
say 'test: all passed'
