# shellcheck shell=bash
# Sourced by the other scripts: where things are, and how to talk. Tools of this repository come first on PATH.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
export PATH="$ROOT/target/tools/bin:$ROOT/node_modules/.bin:$PATH"
# Debian keeps initdb and postgres out of PATH.
for folder in /usr/lib/postgresql/*/bin; do
    if [ -d "$folder" ]; then export PATH="$PATH:$folder"; fi
done

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' RESET=$'\e[0m'; else BOLD='' DIM='' RED='' RESET=''; fi

say() { printf '%s==> %s%s\n' "$BOLD" "$*" "$RESET"; }
note() { printf '%s    %s%s\n' "$DIM" "$*" "$RESET"; }
fail() {
    printf '%serror: %s%s\n' "$RED" "$1" "$RESET" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# run <label> <command…>: says what runs, and how long it took.
run() {
    local label=$1 started=$SECONDS
    shift
    say "$label"
    "$@"
    note "$label: $((SECONDS - started)) s"
}
