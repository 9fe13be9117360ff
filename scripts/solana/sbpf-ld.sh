#!/usr/bin/env bash
# What rustc calls as its linker: sbpf-linker, driven by the LLVM beside it. Copied to $SBF_HOME/bin by setup.sh.
set -euo pipefail
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
args=("$@") symbols='' out=''
for ((i = 0; i < $#; i++)); do
    case "${args[i]}" in
    --export-symbols) symbols=${args[i + 1]} ;;
    -Os | -Oz) args[i]=-O2 ;; # rustc has set optsize and minsize already
    -o)
        out=${args[i + 1]}
        args[i + 1]=${out%.so}.o # keeps the BPF object beside the .so
        ;;
    esac
done
# Dependencies that are cdylibs but no programs get an empty file.
if [ -n "$symbols" ] && ! grep -qx entrypoint "$symbols"; then
    : >"$out"
    exit 0
fi
LD_LIBRARY_PATH=$home/llvm exec "$home/sid/usr/lib64/ld-linux-x86-64.so.2" \
    --library-path "$home/sid/usr/lib/x86_64-linux-gnu" "$home/bin/sbpf-linker" \
    "${args[@]}" "$home/solana_compiler_builtins_sbf.o" --deploy=false --arch=v3 \
    --llvm-args=--bpf-stack-size=4096,--disable-movsx,--disable-ldsx,--disable-gotox,--disable-bswap,--disable-gotol
