#!/usr/bin/env bash
# The Solana programs as they are committed: programs/fixtures/*.so and idls/*.json, so that nobody needs an sBPF compiler to run tests.
#   scripts/programs.sh check    fails when they are not those of the sources (hashes only: needs nothing)
#   scripts/programs.sh build    builds all of them and writes the hashes (sets up the compiler where there is none)
#   scripts/programs.sh deploy <folder>    programs for a real cluster, official tools only: those of COMPUTE_FUTURES_PROGRAM_ID,
#                                          PROVIDER_REGISTRY_PROGRAM_ID and COMPUTE_ESCROW_PROGRAM_ID that are set
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

programs=(compute-futures provider-registry compute-escrow)
hashes=programs/fixtures/SHA256SUMS

# Everything that decides what is built.
sources() {
    git ls-files --cached --others --exclude-standard \
        programs/Cargo.toml programs/Cargo.lock programs/build.rs ':(glob)programs/*/Cargo.toml' ':(glob)programs/*/src/**' scripts/solana \
        ':(exclude)programs/testing' | LC_ALL=C sort -u
}
# Sources are one hash; the built files have one each.
state() {
    printf '%s  sources\n' "$(sources | while read -r file; do if [ -f "$file" ]; then sha256sum "$file"; fi; done | sha256sum | cut -d' ' -f1)"
    for program in "${programs[@]}"; do
        sha256sum "programs/fixtures/${program//-/_}.so" "idls/${program//-/_}.json"
    done
}

check() {
    local difference
    difference=$(diff <(state 2>/dev/null) "$hashes" | sed -n 's/^[<>] *[0-9a-f]* *//p' | sort -u)
    [ -z "$difference" ] || fail "the committed Solana programs are not those of their sources; they differ in: ${difference//$'\n'/, }" \
        'make programs builds programs/fixtures and idls again; commit them with the sources'
}

idl() {
    local program=$1
    cargo build --manifest-path programs/Cargo.toml --locked --quiet -p compute-futures-idl
    # Its cargo must be the one that is here: no toolchain is fetched for it.
    env -u RUSTUP_TOOLCHAIN -u RUSTUP_HOME CARGO_TARGET_DIR="$ROOT/programs/target/idl" \
        programs/target/debug/compute-futures-idl "programs/$program" >"programs/target/$program.json"
    cp "programs/target/$program.json" "idls/${program//-/_}.json"
}

build() {
    mkdir -p programs/fixtures idls programs/target
    scripts/solana/setup.sh
    for program in "${programs[@]}"; do
        say "building $program for sBPF"
        scripts/solana/build.sh "programs/$program" "programs/fixtures/${program//-/_}.so"
        say "interface of $program"
        idl "$program"
    done
    state >"$hashes"
}

# Real clusters get what the official compiler makes (cargo-build-sbf, of Solana's tools), under ids of their own: those of the fixtures
# have public keys. Builds the programs whose id is set.
deploy() {
    local out=${1:?say into which folder} program id built=0
    have cargo-build-sbf || fail 'cargo-build-sbf is not on PATH' \
        'install the Solana tools (https://docs.anza.xyz/cli/install): only they are for real clusters'
    for program in "${programs[@]}"; do
        id=${program//-/_}
        id=${id^^}_PROGRAM_ID
        if [ -z "${!id:-}" ]; then continue; fi
        if [ "$program" = compute-escrow ]; then
            : "${PROVIDER_REGISTRY_PROGRAM_ID:?set it to the id of the registry: compute-escrow has it inside}"
        fi
        cargo build-sbf --manifest-path "programs/$program/Cargo.toml" --sbf-out-dir "$out" -- --locked
        built=$((built + 1))
    done
    [ "$built" -gt 0 ] || fail 'no program has an id to deploy under' \
        'set COMPUTE_FUTURES_PROGRAM_ID, PROVIDER_REGISTRY_PROGRAM_ID and COMPUTE_ESCROW_PROGRAM_ID, or those that are to be built'
}

case "${1:-}" in
check | build) "$1" ;;
deploy) deploy "${2:-}" ;;
*) fail 'usage: scripts/programs.sh check | build | deploy <folder>' ;;
esac
