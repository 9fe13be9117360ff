//! The `compute-futures` binary, and what it is made of: a client library ([`client`]), a devnet ([`devnet`]) and the verbs.

pub mod args;
pub mod chain;
pub mod client;
mod commands;
mod context;
mod demo;
pub mod devnet;
mod failure;
pub mod keys;
mod local;
pub mod market_args;
mod mcp;
mod output;
mod proxy;
mod serve;
pub mod session_args;
mod shutdown;

use std::process::ExitCode;

pub use args::Cli;
pub use failure::{Failure, Outcome};

/// Reads the command line of this process; ends it when there is only something to show, or something to correct.
///
/// # Errors
/// The exit code after saying what to correct as JSON: programs that ask for `--json` get no prose.
pub fn parse() -> Result<Cli, ExitCode> {
    use clap::Parser;
    Cli::try_parse().map_err(|error| {
        if !error.use_stderr() || !std::env::args_os().any(|arg| arg == "--json") {
            error.exit();
        }
        let text = error.render().to_string();
        let what = text.trim_start_matches("error: ").lines().next().unwrap_or_default();
        let failure = Failure::new("usage", what, "compute-futures <verb> --help shows what it takes");
        output::Output::new(true).failure(&failure);
        ExitCode::from(2)
    })
}

/// Runs a command line to its end.
pub async fn run(cli: Cli) -> ExitCode {
    let output = output::Output::new(cli.global.json);
    match commands::dispatch(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::FAILURE
        }
    }
}

/// Says that the process could not even start.
#[must_use]
pub fn report_startup(error: &std::io::Error) -> ExitCode {
    let failure = Failure::new("startup", format!("cannot start: {error}"), "check this process's limits (ulimit -a)");
    output::Output::new(false).failure(&failure);
    ExitCode::FAILURE
}
