#!/usr/bin/env bash
# The story on a fresh devnet. ONCE=1: exit after it, non-zero if anything did not hold.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

flags=()
case "${ONCE:-}" in '' | 0 | false) ;; *) flags+=(--once) ;; esac
exec target/debug/compute-futures demo "${flags[@]}" "$@"
