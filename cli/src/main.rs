//! `compute-futures`: see `compute-futures --help`.

use std::process::ExitCode;

/// The relayer allocates a few hundred times a job from three threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match compute_futures_cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(compute_futures_cli::run(cli)),
        Err(error) => compute_futures_cli::report_startup(&error),
    }
}
