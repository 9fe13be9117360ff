#!/usr/bin/env bash
# docs/INVARIANTS.md names the tests behind each promise: every file it names exists, and every test is in its file.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

stale=()
while IFS= read -r line; do
    file=$(sed -E 's/^- `([^`]+)`: .*/\1/' <<<"$line")
    if [ ! -f "$file" ]; then
        stale+=("$file is not there")
        continue
    fi
    for name in $(sed -E 's/^- `[^`]+`: //' <<<"$line" | grep -oE '`[A-Za-z0-9_]+`' | tr -d '`'); do
        grep -qE "(fn|function) $name\b" "$file" || stale+=("$file has no test $name")
    done
done < <(grep -E '^- `(contracts|protocol|chain|relayer|indexer|cli|tests)/[^`]+`: ' docs/INVARIANTS.md)
[ "${#stale[@]}" -eq 0 ] || fail 'docs/INVARIANTS.md names tests that are not there; correct it' "${stale[@]}"
