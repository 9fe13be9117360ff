#!/usr/bin/env python3
"""Copies the sources of Rust's standard library and teaches the copy about target_os = "solana".

usage: patch_std.py SOURCE_LIBRARY_DIR OUT_DIR        (result: OUT_DIR/library)

Every change must find what it changes, as often as expected: another version of the library stops here, not in a program.
"""
import pathlib
import shutil
import sys

source, out = map(pathlib.Path, sys.argv[1:3])
shutil.rmtree(out, ignore_errors=True)
library = out / "library"
shutil.copytree(source, library)
std = library / "std"


def edit(path: pathlib.Path, *changes: tuple[str, str]) -> None:
    """Applies each change once, at its first place from the end of the previous one."""
    text, done = path.read_text(), 0
    for old, new in changes:
        at = text.find(old, done)
        if at < 0:
            sys.exit(f"patch_std: {path} has no {old!r} (any more): another version of Rust?")
        text = text[:at] + new + text[at + len(old):]
        done = at + len(new)
    path.write_text(text)


def add_target(path: pathlib.Path, beside: str, times: int) -> None:
    """Adds target_os = "solana" to every list of targets that has `beside` on a line of its own."""
    lines, found = [], 0
    for line in path.read_text().splitlines(keepends=True):
        lines.append(line)
        if line.strip() == f'target_os = "{beside}",':
            lines.append(line.replace(beside, "solana"))
            found += 1
    if found != times:
        sys.exit(f"patch_std: {path} names {beside} {found} times, not {times}: another version of Rust?")
    path.write_text("".join(lines))


# A regular std, not a restricted one.
edit(std / "build.rs", ('|| target_os == "vexos"\n', '|| target_os == "vexos"\n        || target_os == "solana"\n'))

# Programs bring their own #[global_allocator]; System only has to exist.
edit(
    std / "src/sys/alloc/mod.rs",
    ('target_arch = "x86_64",', 'target_arch = "x86_64",\n    target_arch = "bpf",'),
    ('    target_os = "xous" => {\n', '    target_os = "solana" => {\n        mod solana;\n    }\n    target_os = "xous" => {\n'),
)
(std / "src/sys/alloc/solana.rs").write_text("""use crate::alloc::{GlobalAlloc, Layout, System};
use crate::ptr;

#[stable(feature = "alloc_system_type", since = "1.28.0")]
unsafe impl GlobalAlloc for System {
    #[inline]
    unsafe fn alloc(&self, _layout: Layout) -> *mut u8 {
        ptr::null_mut()
    }
    #[inline]
    unsafe fn dealloc(&self, _ptr: *mut u8, _layout: Layout) {}
}
""")

# No randomness, no errno, no threads.
add_target(std / "src/sys/random/mod.rs", "vexos", 2)
add_target(std / "src/sys/io/error/mod.rs", "zkvm", 1)
add_target(std / "src/sys/thread_local/mod.rs", "vexos", 2)

# Panics go to the program's custom_panic, as in Solana's own std, then abort; no counter, for writable statics are refused.
handler = """/// Entry point of panics from the core crate (`panic_impl` lang item).
#[cfg(target_os = "solana")]
#[panic_handler]
pub fn panic_handler(info: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "Rust" {
        fn custom_panic(info: &core::panic::PanicInfo<'_>);
    }
    unsafe extern "C" {
        fn abort() -> !;
    }
    unsafe {
        custom_panic(info);
        abort();
    }
}

/// Entry point of panics from the core crate (`panic_impl` lang item).
#[cfg(not(any(test, doctest, target_os = "solana")))]
#[panic_handler]
"""
panicking = std / "src/panicking.rs"
edit(
    panicking,
    ('#[cfg(panic = "immediate-abort")]\n#[unstable(feature = "update_panic_count"', '#[cfg(any(panic = "immediate-abort", target_os = "solana"))]\n#[unstable(feature = "update_panic_count"'),
    ('#[cfg(not(panic = "immediate-abort"))]\n#[unstable(feature = "update_panic_count"', '#[cfg(not(any(panic = "immediate-abort", target_os = "solana")))]\n#[unstable(feature = "update_panic_count"'),
)
edit(
    panicking,
    ("/// Entry point of panics from the core crate (`panic_impl` lang item).\n#[cfg(not(any(test, doctest)))]\n#[panic_handler]\n", handler),
)
abort = '    if cfg!(panic = "immediate-abort") {\n        intrinsics::abort()\n    }\n\n    struct Payload<A> {'
edit(panicking, (abort, '    #[cfg(target_os = "solana")]\n    core::panicking::panic("std panic");\n' + abort))

# Hash maps with fixed keys: there is no entropy.
new = "    pub fn new() -> RandomState {\n"
fixed = '        // no thread locals and no entropy: fixed keys\n        #[cfg(target_os = "solana")]\n        return RandomState { k0: 1, k1: 2 };\n'
edit(std / "src/hash/random.rs", (new, new + fixed))

oom = "pub fn rust_oom(layout: Layout) -> ! {\n"
edit(std / "src/alloc.rs", (oom, oom + '    #[cfg(target_os = "solana")]\n    panic!("out of memory");\n'))

# slice::sort keeps a scratch buffer of 4 KiB on the stack, where a frame has 4 KiB in all.
smaller = ("AlignedStorage::<T, 4096>", "AlignedStorage::<T, 512>")
edit(library / "core/src/slice/sort/stable/mod.rs", smaller, smaller)
