#!/usr/bin/env bash
# Makes sure of what a target needs, installing what is missing and saying so.
#   scripts/need.sh rust node npm nextest deny postgres python x402_python schemathesis
# Nothing is installed outside the repository except Debian packages (as root or with sudo).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NEXTEST=0.9.151
DENY=0.20.2
X402_PYTHON='x402[evm,svm,httpx]==2.25.0'
SCHEMATHESIS=schemathesis==4.32.5
OPENAI_PYTHON='openai==3.54.0'

# apt <why> <package…>
apt() {
    local why=$1 sudo=''
    shift
    if ! have apt-get; then fail "$why needs: $*" "install it with this system's package manager, then run make again"; fi
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || fail "$why needs the packages: $*" "run as root: apt-get install -y $*"
        sudo=sudo
    fi
    say "installing Debian packages for $why: $*"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

need_rust() {
    have cargo || fail "Rust is not installed" \
        "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal   then open a new shell"
    local missing=()
    have cc || missing+=(gcc libc6-dev)
    have pkg-config || missing+=(pkg-config)
    [ ${#missing[@]} -eq 0 ] || apt "compiling SQLite and secp256k1" "${missing[@]}"
    # rustup fetches the toolchain of rust-toolchain.toml at the first call; this makes it happen here, visibly.
    cargo --version >/dev/null
}

need_node() {
    have node || fail "Node.js 20 or newer is not installed" "https://nodejs.org, or: apt-get install -y nodejs npm (Debian 13, Ubuntu 25.04 and newer)"
    local major
    major=$(node -p 'process.versions.node.split(".")[0]')
    [ "$major" -ge 20 ] || fail "Node.js $major is too old: 20 or newer is needed" "https://nodejs.org"
}

need_npm() {
    need_node
    local wanted
    wanted=$(sha256sum package-lock.json | cut -d' ' -f1)
    if [ "$(cat node_modules/.lock-hash 2>/dev/null || true)" = "$wanted" ]; then return; fi
    say "installing npm packages into node_modules (Foundry, solc, OpenZeppelin, Circle's USDC, x402 clients): npm ci"
    npm ci --no-audit --no-fund
    echo "$wanted" >node_modules/.lock-hash
    if ! have forge || ! have anvil; then fail "npm brought no forge or anvil for this platform" "install Foundry: https://getfoundry.sh"; fi
}

# tool <crate> <version> <flags…>: one on PATH will do; otherwise it is compiled into target/tools.
tool() {
    local crate=$1 version=$2
    shift 2
    if have "$crate"; then return; fi
    say "installing $crate $version into target/tools (compiled once, a few minutes): cargo install"
    # Unoptimised: it compiles in half the time, and neither tool has much to compute.
    cargo install "$crate" --version "$version" --locked --debug --root target/tools --target-dir target/tools/build --quiet "$@"
    rm -rf target/tools/build
}

need_nextest() { need_rust && tool cargo-nextest "$NEXTEST" --no-default-features --features default-no-update; }
need_deny() { need_rust && tool cargo-deny "$DENY"; }

need_postgres() {
    if have initdb && have pg_ctl; then return; fi
    apt "the tests on PostgreSQL" postgresql
}

need_python() {
    if python3 -c 'import ensurepip, venv' 2>/dev/null; then return; fi
    apt 'what comes from PyPI' python3 python3-venv
}

# The stock x402 and OpenAI clients for Python, in an environment of their own.
need_x402_python() {
    need_python
    local venv=target/tools/x402-python wanted="$X402_PYTHON $OPENAI_PYTHON"
    if [ "$(cat "$venv/.installed" 2>/dev/null || true)" = "$wanted" ]; then return; fi
    say "installing $wanted from PyPI into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$X402_PYTHON" "$OPENAI_PYTHON"
    echo "$wanted" >"$venv/.installed"
}

# Requests made up from the OpenAPI document.
need_schemathesis() {
    need_python
    local venv=target/tools/schemathesis
    if [ "$(cat "$venv/.installed" 2>/dev/null || true)" = "$SCHEMATHESIS" ]; then return; fi
    say "installing $SCHEMATHESIS from PyPI into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$SCHEMATHESIS"
    echo "$SCHEMATHESIS" >"$venv/.installed"
}

for thing in "$@"; do
    declare -F "need_$thing" >/dev/null || fail "need.sh knows no '$thing'"
    "need_$thing"
done
