//! `compute-futures`: see `compute-futures --help`.

use std::process::ExitCode;

use clap::Parser;
use compute_futures_cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(compute_futures_cli::run(cli)),
        Err(error) => compute_futures_cli::report_startup(&error),
    }
}
