//! The parser of documents as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    compute_futures_relayer::providers::local::parser::serve()
}
