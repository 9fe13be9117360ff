//! The verbs and flags of sessions, documented where they are declared.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use compute_futures_protocol::market::SessionId;
use compute_futures_protocol::{Address, B256, Usdc, parse_address};

use crate::market_args::duration;

/// `session …`
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Open a session: its limit is reserved.
    Open(OpenArgs),
    /// Close a session at its cost, signed by its meter; several signed ones in one transaction.
    Close(CloseArgs),
    /// After their deadline: give the reservations of sessions nobody closed back to their escrows.
    Lapse {
        /// The sessions' ids.
        #[arg(required = true)]
        sessions: Vec<SessionId>,
    },
    /// A session, and what happened to it.
    Show {
        /// The session's id.
        session: SessionId,
    },
    /// Have an inference answered on an open session; prints the answer and its checked receipt.
    Run(SessionRunArgs),
    /// Every receipt of a session from its meter, checked: signatures, sum, and the root on chain once it is closed.
    Receipts {
        /// The session's id.
        session: SessionId,
    },
}

/// `session run`
#[derive(Debug, Args)]
pub struct SessionRunArgs {
    /// The escrow that pays.
    pub escrow: u32,
    /// The model, as the provider names it.
    #[arg(long)]
    pub model: String,
    /// What to ask; `-` reads standard input.
    #[arg(long)]
    pub prompt: String,
    /// The session that pays; default: whichever of the key's in this escrow fits best.
    #[arg(long)]
    pub session: Option<SessionId>,
    /// Only this provider.
    #[arg(long)]
    pub provider: Option<u32>,
    /// Bound of the answer, in tokens.
    #[arg(long)]
    pub max_tokens: Option<u32>,
    /// Most it may cost, in USDC: fewer tokens are asked for when it does not pay for all. Default: what is offered.
    #[arg(long, allow_negative_numbers = true)]
    pub max_cost: Option<Usdc>,
    /// Write the receipt to this file.
    #[arg(long, value_name = "PATH")]
    pub receipt: Option<PathBuf>,
}

/// `session open`
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// The escrow that pays.
    #[arg(required_unless_present = "signed")]
    pub escrow: Option<u32>,
    /// Who serves (its id), at the prices it publishes now.
    #[arg(long, required_unless_present_any = ["signed", "model"])]
    pub provider: Option<u32>,
    /// With --relay instead of --provider: whoever serves this model best, as the relayer sees it.
    #[arg(long, requires = "relay", conflicts_with = "provider")]
    pub model: Option<String>,
    /// Only sign it; the relayer, which is the meter then, brings it and pays the gas.
    #[arg(long, conflicts_with_all = ["sign", "signed"])]
    pub relay: bool,
    /// Most the session may cost, in USDC.
    #[arg(long, allow_negative_numbers = true, required_unless_present = "signed")]
    pub limit: Option<Usdc>,
    /// How long it can be closed: 90s, 45m, 12h or 30d from now.
    #[arg(long = "for", value_parser = duration, value_name = "DURATION", default_value = "1h")]
    pub lasts: Duration,
    /// Who will sign the cost; default: the meter that the escrow names.
    #[arg(long, value_parser = parse_address)]
    pub meter: Option<Address>,
    /// Refuse when the provider's content is another than this one (its hash, see `provider show`).
    #[arg(long)]
    pub content: Option<B256>,
    /// Only sign it as the agent and print it; anyone can bring it with --signed.
    #[arg(long)]
    pub sign: bool,
    /// Bring an opening that its agent signed: a file, `-` reads standard input.
    #[arg(long, conflicts_with_all = ["escrow", "provider", "limit", "meter", "content", "sign"], value_name = "PATH")]
    pub signed: Option<PathBuf>,
}

/// `session close`
#[derive(Debug, Args)]
pub struct CloseArgs {
    /// The session; the key is its meter's.
    #[arg(required_unless_present = "signed")]
    pub session: Option<SessionId>,
    /// Ask its meter to close it at what it cost, as its agent or its provider's owner.
    #[arg(long, conflicts_with_all = ["cost", "receipts", "root", "sign", "signed"])]
    pub ask: bool,
    /// What it cost, in USDC.
    #[arg(long, allow_negative_numbers = true, required_unless_present_any = ["signed", "ask"])]
    pub cost: Option<Usdc>,
    /// How many receipts there are.
    #[arg(long, default_value_t = 0)]
    pub receipts: u32,
    /// Merkle root of the receipts; default: zero, for none.
    #[arg(long)]
    pub root: Option<B256>,
    /// Only sign it as the meter and print it; anyone can bring it with --signed.
    #[arg(long)]
    pub sign: bool,
    /// Bring a cost that its meter signed; several times for several in one transaction, where no bad one blocks the others (on Solana
    /// the key must then be their meter's).
    #[arg(long, conflicts_with_all = ["session", "cost", "receipts", "root", "sign"], value_name = "PATH")]
    pub signed: Vec<PathBuf>,
}
