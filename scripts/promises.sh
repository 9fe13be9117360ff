#!/usr/bin/env bash
# docs/INVARIANTS.md and docs/THREATS.md name the tests behind each promise and answer: each is in the file it is said to be in.
# shellcheck disable=SC2016 # the backticks are Markdown
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
done < <(grep -hE '^- `(contracts|programs|protocol|chain|relayer|indexer|cli|tests)/[^`]+`: ' docs/INVARIANTS.md docs/THREATS.md)
[ "${#stale[@]}" -eq 0 ] || fail 'docs/INVARIANTS.md or docs/THREATS.md name tests that are not there; correct them' "${stale[@]}"
