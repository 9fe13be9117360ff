//! `compute-futures`: see `compute-futures --help`.

use std::process::ExitCode;

use compute_futures_relayer::providers::local::parser;

/// The relayer allocates a few hundred times a job from three threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Not for people: the relayer has documents of strangers read in a process of their own.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == parser::ARGUMENT) {
        return parser::serve();
    }
    let cli = match compute_futures_cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(compute_futures_cli::run(cli)),
        Err(error) => compute_futures_cli::report_startup(&error),
    }
}
