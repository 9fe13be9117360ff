//! One module a verb. Each ends in one result; what it checks it says.

mod audit;
mod balance;
mod ceiling;
mod delegate;
mod deposit;
pub(crate) mod escrow;
mod events;
mod market;
mod operator;
pub(crate) mod provider;
mod refund;
mod run;
mod service;
mod session;
mod sponsored;
mod verify;

use crate::args::{Cli, Command};
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::Output;
use crate::{demo, devnet, mcp, proxy};
pub(crate) use deposit::{MOST_FEE as MOST_DEPOSIT_FEE, sign as sign_deposit};
pub(crate) use events::changed_nothing;
pub(crate) use run::payer;
pub(crate) use session::{Inference, ask_to_close, open_by_relayer};
pub(crate) use verify::of as verify_receipt;

/// Runs one command.
///
/// # Errors
/// What happened and what to do.
pub(crate) async fn dispatch(cli: Cli) -> Outcome<()> {
    let Cli { global, command } = cli;
    let output = Output::new(global.json);
    match command {
        // These make their own surroundings.
        Command::Relayer(args) => service::relayer(args, output).await,
        Command::Indexer(args) => service::indexer(args, output).await,
        Command::Devnet(args) => devnet::command(args, &global.devnet, output).await,
        Command::Demo(args) => demo::command(args, output).await,
        Command::Guard { command } => devnet::guard(&command),
        Command::Completions { shell } => {
            completions(shell, output);
            Ok(())
        }
        Command::Deposit(args) => deposit::run(&Context::new(global)?, args).await,
        Command::Balance(args) => balance::run(&Context::new(global)?, args).await,
        Command::Run(args) => run::run(&Context::new(global)?, args).await,
        Command::Refund(args) => refund::run(&Context::new(global)?, args).await,
        Command::Verify(args) => verify::run(&Context::new(global)?, args).await,
        Command::Ceiling(args) => ceiling::run(&Context::new(global)?, args).await,
        Command::Delegate(args) => delegate::run(&Context::new(global)?, args).await,
        Command::Audit(args) => audit::run(&Context::new(global)?, args).await,
        Command::Proxy(args) => proxy::run(&Context::new(global)?, args).await,
        Command::Mcp(args) => mcp::run(Context::new(global)?, args).await,
        Command::Operator(args) => operator::run(&Context::new(global)?, args).await,
        Command::Provider(args) => provider::run(&Context::new(global)?, args).await,
        Command::Escrow(args) => escrow::run(&Context::new(global)?, args).await,
        Command::Session(args) => session::run(&Context::new(global)?, args).await,
    }
}

fn completions(shell: clap_complete::Shell, output: Output) {
    use clap::CommandFactory;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "compute-futures", &mut script);
    output.raw(&String::from_utf8_lossy(&script));
}
