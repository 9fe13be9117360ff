#!/usr/bin/env bash
# An sBPF toolchain out of Debian packages and crates.io, for machines that cannot fetch Solana's platform-tools.
#   SBF_HOME=<folder> scripts/solana/setup.sh          default target/tools/sbf; about 80 s, most of it sbpf-linker
# Needs Debian 12 on x86-64, root (or sudo) and cargo. Does nothing where it was done before.
#
# rustc comes from Debian's rustc-web (a newer rustc than Debian's own, with bpf targets), std from its sources, the code generator
# from Debian unstable's LLVM, unpacked beside the system. Unofficial: a program for a real cluster is built with the official tools
# (docs/programs.md), and the tests compare its arithmetic with the native one.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

SBF_HOME=${SBF_HOME:-$ROOT/target/tools/sbf}
LINKER=0.2.6
BUILTINS=0.3.0
packages=(rustc-web cargo-web rust-web-src libstd-rust-web-dev-bpf)
libraries=(libllvm23 libc6 libstdc++6 libgcc-s1 libedit2 libbsd0 libmd0 libtinfo6 libffi8 libxml2-16 libz3-4 libzstd1 zlib1g)
here=$ROOT/scripts/solana
wanted=$(cat "$here/setup.sh" "$here"/patch_*.py "$here/bpfel-solana.json" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$SBF_HOME/.setup" 2>/dev/null || true)" = "$wanted" ]; then exit 0; fi
mkdir -p "$SBF_HOME/bin"

compiler() {
    if dpkg -s "${packages[@]}" >/dev/null 2>&1; then return; fi
    have apt-get || fail "the sBPF toolchain is built from Debian packages: ${packages[*]}" \
        "on another system install Solana's own tools (https://docs.anza.xyz/cli/install); scripts/programs.sh uses cargo-build-sbf when it is on PATH"
    local sudo=''
    if [ "$(id -u)" -ne 0 ]; then sudo=sudo; fi
    say "installing Debian packages for the sBPF compiler: ${packages[*]}"
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
}

# LLVM and the libraries it needs, of one release, never installed: apt checks their signatures, dpkg-deb unpacks them.
code_generator() {
    if [ -e "$SBF_HOME/llvm/libLLVM.so" ]; then return; fi
    say "unpacking LLVM from Debian unstable into $SBF_HOME"
    local apt=$SBF_HOME/apt mirror
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs"
    mirror=$(apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' | grep -v security | head -1)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$apt/sources.list"
    local options=(-q -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update
    (cd "$apt/debs" && apt-get "${options[@]}" download "${libraries[@]}")
    for package in "$apt"/debs/*.deb; do dpkg-deb -x "$package" "$SBF_HOME/sid"; done
    mkdir -p "$SBF_HOME/llvm" # the linker takes the first libLLVM* it finds here: there is exactly one
    ln -sf "$SBF_HOME"/sid/usr/lib/x86_64-linux-gnu/libLLVM.so.23.* "$SBF_HOME/llvm/libLLVM.so"
}

linker() {
    if [ ! -x "$SBF_HOME/bin/sbpf-linker" ]; then
        say "installing sbpf-linker $LINKER into $SBF_HOME"
        cargo install --locked --quiet --root "$SBF_HOME" "sbpf-linker@$LINKER"
    fi
    cp "$here/sbpf-ld.sh" "$SBF_HOME/bin/sbpf-ld"
}

libraries_of_rust() {
    local sources vendor=$SBF_HOME/vendor
    sources=$(find /usr/src -maxdepth 2 -path '*/rustc-*/library' | sort -V | tail -1)
    python3 "$here/patch_std.py" "$sources" "$SBF_HOME/rust-src"
    cp "$here/bpfel-solana.json" "$SBF_HOME/"
    rm -rf "$vendor"
    mkdir -p "$vendor/src"
    : >"$vendor/src/lib.rs"
    printf '[package]\nname="v"\nversion="0.0.0"\nedition="2021"\n[dependencies]\nsolana-compiler-builtins="=%s"\n[workspace]\n' "$BUILTINS" >"$vendor/Cargo.toml"
    (cd "$vendor" && cargo vendor -q vendored >/dev/null)
    python3 "$here/patch_builtins.py" "$vendor/vendored/solana-compiler-builtins/src" "$SBF_HOME/builtins"
    RUSTC_BOOTSTRAP=1 /usr/bin/rustc --edition 2021 --crate-name sbf_builtins --crate-type rlib \
        --target bpfel-unknown-none -C opt-level=3 -C codegen-units=1 -C panic=abort -C overflow-checks=off \
        -A internal_features --emit=obj -o "$SBF_HOME/solana_compiler_builtins_sbf.o" "$SBF_HOME/builtins/lib.rs"
}

compiler
code_generator
linker
libraries_of_rust
echo "$wanted" >"$SBF_HOME/.setup"
say "sBPF toolchain ready in $SBF_HOME"
