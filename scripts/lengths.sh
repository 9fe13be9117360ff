#!/usr/bin/env bash
# One subject a file: no source file is longer than 500 lines.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

long=$(git ls-files '*.rs' '*.sol' '*.mjs' '*.sh' '*.sql' | while read -r file; do
    if [ -f "$file" ]; then
        lines=$(wc -l <"$file")
        if [ "$lines" -gt 500 ]; then echo "$file: $lines lines"; fi
    fi
done)
[ -z "$long" ] || fail 'source files above 500 lines; split them by subject' "$long"
