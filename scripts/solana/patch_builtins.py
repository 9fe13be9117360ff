#!/usr/bin/env python3
"""Patches a copy of the crate solana-compiler-builtins 0.3.0 for rustc 1.96 with LLVM 23.

usage: patch_builtins.py CRATE_SRC_DIR OUT_DIR

rustc 1.96 returns 128-bit integers on bpf through a hidden pointer, while LLVM's library calls expect them in r0:r2.
Without the patch programs link and 128-bit results are silently wrong. Signed division is added for the same reason.
"""
import pathlib, re, shutil, sys

src, out = map(pathlib.Path, sys.argv[1:3])
shutil.rmtree(out, ignore_errors=True)
shutil.copytree(src, out)
lib = out / "lib.rs"
text = lib.read_text()


def swap(pattern: str, replacement: str, count: int) -> None:
    global text
    text, done = re.subn(pattern, replacement, text)
    if done != count:
        sys.exit(f"patch_builtins: {pattern!r} matched {done} times, not {count}: another version of the crate?")


swap(r"pub unsafe fn (__(?:multi3|udivti3|umodti3))\(", r'pub unsafe extern "unadjusted" fn \1(', 3)
swap(r"= un32 / vn1;", "= udiv(un32, vn1);", 1)
swap(r"= un21 / vn1;", "= udiv(un21, vn1);", 1)
swap(r"\{ nt / \(dt \+ 1\) \}", "{ udiv(nt, dt + 1) }", 1)
head = "#![feature(abi_unadjusted)]\n#![allow(improper_ctypes_definitions)]\n"
tail = '''
#[cfg(target_arch = "bpf")]
#[unsafe(no_mangle)]
pub unsafe extern "unadjusted" fn __divti3(n: i128, d: i128) -> i128 {
    let q = udivmod128(n.unsigned_abs(), d.unsigned_abs()).0 as i128;
    if (n < 0) != (d < 0) { q.wrapping_neg() } else { q }
}

#[cfg(target_arch = "bpf")]
#[unsafe(no_mangle)]
pub unsafe extern "unadjusted" fn __modti3(n: i128, d: i128) -> i128 {
    let r = udivmod128(n.unsigned_abs(), d.unsigned_abs()).1 as i128;
    if n < 0 { r.wrapping_neg() } else { r }
}

/// Division by a divisor known to be non-zero: no panic path, so no recursion into the formatter.
#[cfg(target_arch = "bpf")]
#[inline(always)]
fn udiv(a: u64, b: u64) -> u64 {
    if b == 0 {
        unsafe { core::hint::unreachable_unchecked() }
    }
    a / b
}
'''
lib.write_text(head + text + tail)
