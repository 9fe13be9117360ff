#!/usr/bin/env bash
# Formatting, lints, licences and advisories, generated files. `make fmt` and `make gen` repair what can be repaired.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

advisories() {
    local log=target/deny-fetch.log
    # The advisory database is a git repository on github.com; everything else is checked without a network.
    if timeout 120 cargo deny fetch db >"$log" 2>&1; then
        cargo deny --workspace check
        programs_deny
    else
        printf '%s!!  the RustSec advisory database could not be fetched: advisories are NOT checked in this run%s\n' "$RED" "$RESET" >&2
        sed 's/^/    /' "$log" | tail -3 >&2
        cargo deny --workspace check bans licenses sources
        programs_deny bans licenses sources
    fi
}

# The tests of the Solana programs are packages with lock files of their own; `testing` is a library of theirs, checked with them.
program_tests=(compute-futures/tests compute-escrow/tests)

# What the Solana programs are made of, by the same rules. They need fewer of the licences. Their tests reach nobody: no advisories, and
# the chain that they run in (litesvm) has OpenSSL for a precompile.
programs_deny() {
    local package
    cargo deny --manifest-path programs/Cargo.toml --workspace --config deny.toml check --allow license-not-encountered "$@"
    for package in "${program_tests[@]}"; do
        cargo deny --manifest-path "programs/$package/Cargo.toml" --config deny.toml \
            check --allow license-not-encountered --allow banned bans licenses sources
    done
}

programs_fmt() {
    local package
    cargo fmt --manifest-path programs/Cargo.toml --all --check
    for package in testing "${program_tests[@]}"; do
        cargo fmt --manifest-path "programs/$package/Cargo.toml" --check
    done
}

shells() {
    if have shellcheck; then
        git ls-files '*.sh' .ci/run | xargs shellcheck -x
    else
        note 'shellcheck is not installed: shell scripts are checked for syntax only (apt-get install shellcheck)'
        git ls-files '*.sh' .ci/run | xargs -n1 bash -n
    fi
}

mkdir -p target
run 'rustfmt' cargo fmt --all --check
run 'rustfmt: Solana programs' programs_fmt
run 'forge fmt' forge fmt --check
run 'forge lint' forge lint --deny warnings
run 'shell scripts' shells
run 'file lengths' scripts/lengths.sh
run 'promises' scripts/promises.sh
run 'generated files' node contracts/script/gen.mjs --check
run 'fixtures' node contracts/script/fixtures.mjs --check
run 'Solana programs' scripts/programs.sh check
run 'vectors' node tests/vectors/generate.mjs --check
run 'OpenAPI document' cargo test --quiet --locked --workspace --test compute the_committed_document
run 'reference of the skill' node skills/gen.mjs --check
run 'clippy' cargo clippy --workspace --all-targets --locked -- -D warnings
run 'clippy: Solana programs' cargo clippy --manifest-path programs/Cargo.toml --workspace --all-targets --locked -- -D warnings
# The benchmarks are a workspace of their own, with crates of ours in it.
run 'lock file of the benchmarks' cargo metadata --locked --format-version 1 --manifest-path bench/Cargo.toml >/dev/null
run 'cargo deny' advisories
say 'lint: all clean'
