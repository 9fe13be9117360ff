//! `compute-futures-idl <program folder>` prints the program's interface. Called by scripts/programs.sh.
//!
//! It runs `cargo test` with the feature `idl-build` in that folder; `CARGO_TARGET_DIR` says where.
#![allow(clippy::print_stdout)]

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).context("say which program folder")?;
    let idl = anchor_lang_idl::build::IdlBuilder::new()
        .program_path(folder.into())
        .skip_lint(true)
        .cargo_args(vec!["--lib".into(), "--locked".into()])
        .build()?;
    println!("{}", serde_json::to_string_pretty(&idl)?);
    Ok(())
}
