#!/usr/bin/env bash
# Compiles programs to sBPF v3 with the toolchain of setup.sh.
#   scripts/solana/build.sh <program folder> <out file>
# Paths are remapped: the same sources give the same bytes wherever they are built, and no local path is inside.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

SBF_HOME=${SBF_HOME:-$ROOT/target/tools/sbf}
program=$(cd "$1" && pwd) out=$2
target=${SBF_TARGET_DIR:-$ROOT/programs/target/sbf}
workspace=${program%/*}
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
library=$(sed -n '/^\[lib\]/,/^\[/s/^name *= *"\(.*\)"/\1/p' "$program/Cargo.toml")

unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$target
# Cargo puts the folder of std into every symbol, unless it is inside the workspace.
mkdir -p "$workspace/target"
ln -sfn "$SBF_HOME/rust-src" "$workspace/target/rust-src"
export __CARGO_TESTS_ONLY_SRC_ROOT=$workspace/target/rust-src/library
flags=(-C "linker=$SBF_HOME/bin/sbpf-ld" -C target-cpu=v4 -C target-feature=+allows-misaligned-mem-access -C passes=lower-atomic
    "--remap-path-prefix=$workspace=source" "--remap-path-prefix=$registry=registry"
    "--remap-path-prefix=$workspace/target/rust-src=rust" "--remap-path-prefix=$SBF_HOME/rust-src=rust" "--remap-path-prefix=$target=target")
export CARGO_TARGET_BPFEL_SOLANA_RUSTFLAGS="${flags[*]}"
(cd "$program" && /usr/bin/cargo build --release --locked --target "$SBF_HOME/bpfel-solana.json" -Zjson-target-spec \
    -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size)
mkdir -p "$(dirname "$out")"
cp "$target/bpfel-solana/release/lib$library.so" "$out"
